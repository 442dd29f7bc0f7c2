//! `sched_process_exec`: a process runs a new program. A helper that a worker started is not a
//! worker any more; if it serves HTTP itself, it will be found like any other.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext};
use whyslow_abi::record::LifecycleKind;

use crate::{
    emit::{self, Life},
    kernel::current_task,
    thread::{self, Mark},
};

/// Entry.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn process_exec(_ctx: BtfTracePointContext) -> i32 {
    let task = current_task();
    let Some(index) = thread::mark(task).and_then(Mark::slot) else {
        return 0;
    };
    let (Some(slot), Some(link)) = (thread::slot_at(index), thread::link(task)) else {
        return 0;
    };
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let life = Life {
        event: LifecycleKind::Exec,
        other: 0,
        code: 0,
        last: 0,
        slot: index,
    };
    emit::lifecycle(task, Some(slot), &life, now);
    link.strikes = 0;
    thread::make_candidate(task, link.origin);
    thread::release(index);
    0
}
