//! Programs that do nothing: what the hooks alone cost. For `cargo xtask bench` only.
#![no_std]
#![no_main]

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

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // SAFETY: no program has a path that panics; a verifier would refuse it.
    unsafe { core::hint::unreachable_unchecked() }
}
