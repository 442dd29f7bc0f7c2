//! `inet_sock_set_state`: a connection from outside is established, and waits to be accepted; or it is closed.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{kernel::Sock, queue};

/// Entry.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn socket_state(ctx: BtfTracePointContext) -> i32 {
    let sock: *const Sock = ctx.arg(0);
    // SAFETY: an argument of the tracepoint.
    unsafe { queue::changed(sock, ctx.arg::<i32>(1), ctx.arg::<i32>(2)) };
    0
}
