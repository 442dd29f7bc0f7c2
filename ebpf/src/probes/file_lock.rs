//! `flock_lock_inode` and `posix_lock_inode`: a lock on a file is asked for, taken or released. The thread is the current
//! one.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    kernel::{OFF_LOCKS_FLOCK, OFF_LOCKS_POSIX},
    lock,
};

/// Entry: `flock`.
#[btf_tracepoint(function = "flock_lock_inode")]
pub fn flock_lock_inode(ctx: BtfTracePointContext) -> i32 {
    lock::seen(ctx.arg(0), ctx.arg(1), ctx.arg(2), OFF_LOCKS_FLOCK.load());
    0
}

/// Entry: locks of parts of files, those of processes and those of open files.
#[btf_tracepoint(function = "posix_lock_inode")]
pub fn posix_lock_inode(ctx: BtfTracePointContext) -> i32 {
    lock::seen(ctx.arg(0), ctx.arg(1), ctx.arg(2), OFF_LOCKS_POSIX.load());
    0
}
