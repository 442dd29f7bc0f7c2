//! SQLite: a statement is prepared, a step of it is executed, it is reset or finalized. On the functions of
//! each mapped library, with the number of the function as the cookie. Returns are probed where a
//! function ends, also in others that it ends with, so a call is asked what it is.

use aya_ebpf::{
    EbpfContext as _, helpers::generated::bpf_get_attach_cookie, macros::uprobe,
    programs::ProbeContext,
};
use whyslow_abi::library::{Library, STEP};

use crate::{
    library::{self, Caller, Purpose},
    sqlite,
    thread::{write_begin, write_end},
};

/// Begin of a function that is given a text.
#[uprobe]
pub fn sqlite_text_call(ctx: ProbeContext) -> u32 {
    let Some(caller) = Caller::current() else {
        return 0;
    };
    // SAFETY: the context is the program's own.
    let function = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
    sqlite::note_early(caller);
    if let Some((slot, call)) = caller.early() {
        let purpose = slot.map_or(Purpose::NONE, |slot| Purpose::of(slot));
        library::enter(call, &ctx, function, purpose);
    }
    0
}

/// Its return.
#[uprobe]
pub fn sqlite_text_return(ctx: ProbeContext) -> u32 {
    let Some(caller) = Caller::current() else {
        return 0;
    };
    if let Some((slot, call)) = caller.early()
        && call.function != STEP
        && let Some(result) = library::leave(call, &ctx)
    {
        sqlite::given(caller, slot, call, result);
    }
    0
}

/// Begin of a step.
#[uprobe]
pub fn sqlite_step_call(ctx: ProbeContext) -> u32 {
    let Some(caller) = Caller::current() else {
        return 0;
    };
    if let Some((slot, call)) = caller.watched(Library::Sqlite)
        && slot.data_budget != 0
    {
        let purpose = Purpose::of(slot);
        if !library::enter(call, &ctx, STEP, purpose) && library::is_applications_own(&ctx) {
            // It is not told.
            call.missed = 1;
        }
    }
    0
}

/// Its return.
#[uprobe]
pub fn sqlite_step_return(ctx: ProbeContext) -> u32 {
    let Some(caller) = Caller::current() else {
        return 0;
    };
    if let Some((slot, call)) = caller.watched(Library::Sqlite)
        && call.function == STEP
        && let Some(result) = library::leave(call, &ctx)
    {
        write_begin(slot);
        sqlite::stepped(caller, slot, call, result);
        write_end(slot);
    }
    0
}

/// A statement is reset or finalized.
#[uprobe]
pub fn sqlite_end(ctx: ProbeContext) -> u32 {
    let Some(caller) = Caller::current() else {
        return 0;
    };
    if let Some((slot, _)) = caller.watched(Library::Sqlite) {
        write_begin(slot);
        sqlite::ended(caller, slot, ctx.arg(0).unwrap_or(0));
        write_end(slot);
    }
    0
}
