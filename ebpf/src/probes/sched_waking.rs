//! `sched_waking`: a thread is made runnable. Its wait ends here; what follows is waiting for a
//! CPU. (`sched_wakeup` comes about 10 us later where the CPU was idle.)

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    kernel::{self, Task, current_task},
    limits, thread,
};

/// Entry.
#[btf_tracepoint(function = "sched_waking")]
pub fn sched_waking(ctx: BtfTracePointContext) -> i32 {
    let woken: *const Task = ctx.arg(0);
    let Some(slot) = thread::watched(woken) else {
        return 0;
    };
    // Only the first waking after the switch-out ends the wait.
    if slot.wake_ns > slot.since_ns {
        return 0;
    }
    let waker = current_task();
    let process = kernel::tgid(waker);
    slot.waker = u64::from(process) << 32 | u64::from(kernel::pid(waker));
    slot.woken_by_child = u32::from(process != slot.tgid && thread::descends(waker, slot.tgid));
    slot.woken_throttled = limits::wakes_throttled(woken);
    // SAFETY: no preconditions.
    slot.wake_ns = unsafe { bpf_ktime_get_ns() };
    0
}
