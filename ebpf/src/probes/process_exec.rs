//! `sched_process_exec`: a process runs a new program. A helper that a worker started is not a
//! worker any more; if it serves HTTP itself, it will be found like any other.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext};
use whyslow_abi::record::LifecycleKind;

use crate::{
    emit::{self, Life},
    interpreter,
    kernel::{self, current_task},
    thread::{self, NO_SLOT},
};

/// Entry.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn process_exec(ctx: BtfTracePointContext) -> i32 {
    let task = current_task();
    // Another thread than the first has taken over the id of the process: its own is free now.
    let before = ctx.arg::<i32>(1) as u32;
    let mark = if before == kernel::pid(task) {
        thread::mark(task)
    } else {
        thread::take_mark(before)
    };
    let Some(mark) = mark else {
        return 0;
    };
    interpreter::forget(kernel::tgid(task));
    let line = thread::line(task);
    let Some((index, slot)) = thread::slot_of(mark) else {
        thread::make_candidate(task, line);
        return 0;
    };
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let life = Life {
        event: LifecycleKind::Exec,
        other: before,
        code: 0,
        last: 0,
        slot: NO_SLOT,
    };
    emit::lifecycle(task, Some(slot), &life, now);
    thread::make_candidate(task, line);
    thread::release(index);
    0
}
