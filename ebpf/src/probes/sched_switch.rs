//! `sched_switch`: one thread leaves a CPU, another gets it.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    kernel::{self, OFF_TASK_STATE, PREV_STATE_ARGUMENT, Task},
    ledger::{self, Leaves},
    thread,
};

/// `__TASK_STOPPED | __TASK_TRACED`.
const STOPPED: u32 = 0x4 | 0x8;

/// Entry.
#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    let previous: *const Task = ctx.arg(1);
    let next: *const Task = ctx.arg(2);
    if let Some(slot) = thread::watched(previous) {
        let preempted = ctx.arg::<u64>(0) & 0xff != 0;
        let state = if preempted { 0 } else { state(&ctx, previous) };
        let leaves = Leaves {
            voluntary: state != 0,
            stopped: state & STOPPED != 0,
        };
        // SAFETY: no preconditions.
        ledger::switch_out(slot, previous, leaves, unsafe { bpf_ktime_get_ns() });
    }
    if let Some(slot) = thread::watched(next) {
        // SAFETY: no preconditions.
        ledger::switch_in(slot, next, unsafe { bpf_ktime_get_ns() });
    }
    0
}

/// State of the thread that leaves: 0 when it is still runnable. An argument of the tracepoint
/// since Linux 5.18; before, only the task has it.
#[inline(always)]
fn state(ctx: &BtfTracePointContext, previous: *const Task) -> u32 {
    if PREV_STATE_ARGUMENT.load() == 3 {
        ctx.arg::<u64>(3) as u32
    } else {
        // SAFETY: the pointer is the tracepoint's argument.
        unsafe { kernel::load(previous, OFF_TASK_STATE.load()) }
    }
}
