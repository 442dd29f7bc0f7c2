//! Programs that do nothing: what the hooks alone cost. For `cargo xtask bench` only.
#![no_std]
#![no_main]

mod frame;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

/// Nothing.
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// Nothing.
#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// Nothing.
#[btf_tracepoint(function = "sched_waking")]
pub fn sched_waking(_ctx: BtfTracePointContext) -> i32 {
    0
}
