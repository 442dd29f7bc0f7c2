//! SQLite: a statement is prepared, a step of it is executed, it is reset or finalized. On the functions of
//! each mapped library, with the number of the function as the cookie.

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::bpf_get_attach_cookie,
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use whyslow_abi::library::Library;

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
#[uretprobe]
pub fn sqlite_text_return(ctx: RetProbeContext) -> u32 {
    let Some(caller) = Caller::current() else {
        return 0;
    };
    if let Some((slot, call)) = caller.early()
        && library::leave(call, &ctx)
    {
        sqlite::given(caller, slot, call, ctx.ret::<i32>());
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
        library::enter(call, &ctx, whyslow_abi::library::STEP, Purpose::of(slot));
    }
    0
}

/// Its return.
#[uretprobe]
pub fn sqlite_step_return(ctx: RetProbeContext) -> u32 {
    let Some(caller) = Caller::current() else {
        return 0;
    };
    if let Some((slot, call)) = caller.watched(Library::Sqlite)
        && library::leave(call, &ctx)
    {
        write_begin(slot);
        sqlite::stepped(caller, slot, call, ctx.ret::<i32>());
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
