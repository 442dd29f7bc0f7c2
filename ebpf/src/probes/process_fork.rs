//! `sched_process_fork`: new threads and processes of watched ones are watched from their first
//! instruction.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext};
use whyslow_abi::{
    record::{LIFE_FOLLOWED, LifecycleKind},
    thread::{FOLLOWED, ThreadState},
};

use crate::{
    emit::{self, Life},
    interpreter,
    kernel::{self, Task},
    thread::{self, Line},
    turn,
};

/// Entry.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn process_fork(ctx: BtfTracePointContext) -> i32 {
    let parent: *const Task = ctx.arg(0);
    let child: *const Task = ctx.arg(1);
    let Some(mark) = thread::mark(parent) else {
        return 0;
    };
    let Some(link) = thread::link(parent) else {
        return 0;
    };
    let watched = mark.slot().is_some();
    let process = kernel::tgid(parent) != kernel::tgid(child);
    if process {
        interpreter::inherit(kernel::tgid(parent), kernel::tgid(child));
    }
    let line = if process && watched {
        Line {
            origin: kernel::tgid(parent),
            ancestor: link.origin,
        }
    } else {
        Line::of(link)
    };
    if !watched {
        thread::make_candidate(child, line);
        return 0;
    }
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    // It is about to be woken for the first time; until then it waits for a CPU.
    let Some(index) = thread::watch(child, line, ThreadState::Runnable, now) else {
        return 0;
    };
    let Some(slot) = thread::watched(child) else {
        return 0;
    };
    let followed = thread::slot_of(mark).is_some_and(|(_, parent)| turn::is_followed(parent));
    if followed {
        slot.flags = FOLLOWED;
    }
    let life = Life {
        event: LifecycleKind::Fork,
        other: kernel::pid(parent),
        code: if followed { LIFE_FOLLOWED } else { 0 },
        last: 0,
        slot: index,
    };
    emit::lifecycle(child, Some(slot), &life, now);
    0
}
