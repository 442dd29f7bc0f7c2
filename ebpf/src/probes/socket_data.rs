//! `sk_data_ready` (Linux 6.3): bytes came for a socket.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{kernel::Sock, queue};

/// Entry.
#[btf_tracepoint(function = "sk_data_ready")]
pub fn socket_data(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: an argument of the tracepoint.
    unsafe { queue::arrived(ctx.arg::<*const Sock>(0)) };
    0
}
