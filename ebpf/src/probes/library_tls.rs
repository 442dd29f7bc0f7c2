//! OpenSSL: a function that moves bytes begins and returns, a connection of it is freed. On the functions of
//! each mapped library, with the number of the function as the cookie. Returns are probed where a
//! function ends.

use aya_ebpf::{
    EbpfContext as _, helpers::generated::bpf_get_attach_cookie, macros::uprobe,
    programs::ProbeContext,
};
use whyslow_abi::{library::Library, thread::ENCRYPTS};

use crate::{
    library::{self, Caller, Purpose},
    maps::ENCRYPTED,
    thread::{write_begin, write_end},
    tls,
};

/// Begin.
#[uprobe]
pub fn tls_call(ctx: ProbeContext) -> u32 {
    let Some(caller) = Caller::current() else {
        return 0;
    };
    let Some((slot, call)) = caller.watched(Library::OpenSsl) else {
        return 0;
    };
    // SAFETY: the context is the program's own.
    let function = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
    if library::enter(call, &ctx, function, Purpose::of(slot)) {
        write_begin(slot);
        slot.flags |= ENCRYPTS;
        write_end(slot);
    }
    0
}

/// Return.
#[uprobe]
pub fn tls_return(ctx: ProbeContext) -> u32 {
    let Some(caller) = Caller::current() else {
        return 0;
    };
    if let Some((slot, call)) = caller.watched(Library::OpenSsl)
        && let Some(result) = library::leave(call, &ctx)
    {
        write_begin(slot);
        slot.flags &= !ENCRYPTS;
        tls::returned(caller, slot, call, result);
        write_end(slot);
    }
    0
}

/// The address of the connection may come to another.
#[uprobe]
pub fn tls_free(ctx: ProbeContext) -> u32 {
    if let Some(caller) = Caller::current() {
        let _ = ENCRYPTED.remove(caller.object(ctx.arg(0).unwrap_or(0)));
    }
    0
}
