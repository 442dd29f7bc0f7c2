//! `sched_process_fork`: new threads and processes of watched ones are watched from their first
//! instruction.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext};
use whyslow_abi::{
    record::{LIFE_FOLLOWED, LifecycleKind, ProgramEvent},
    thread::{FOLLOWED, NESTED, PROGRAM, ThreadState},
};

use crate::{
    emit::{self, Life},
    interpreter,
    kernel::{self, Task},
    program::{self, Told},
    thread::{self, Line},
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
    let above =
        thread::slot_of(mark).map_or(0, |(_, slot)| slot.flags & (PROGRAM | NESTED | FOLLOWED));
    let watched = mark.slot().is_some() && (above & PROGRAM == 0 || program::take_leave());
    let process = kernel::tgid(parent) != kernel::tgid(child);
    if process {
        interpreter::inherit(kernel::tgid(parent), kernel::tgid(child));
    }
    let line = if process && watched {
        Line {
            origin: kernel::tgid(parent),
            // Of programs, the watched process that started the first one.
            ancestor: if above & NESTED != 0 {
                link.ancestor
            } else {
                link.origin
            },
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
        if above & PROGRAM != 0 {
            program::give_back();
        }
        return 0;
    };
    let Some(slot) = thread::watched(child) else {
        return 0;
    };
    if above & PROGRAM != 0 {
        let nested = if process { NESTED } else { above & NESTED };
        slot.flags = PROGRAM | nested;
        if process {
            let told = Told {
                event: ProgramEvent::Fork,
                other: kernel::pid(parent),
                code: 0,
                last: 0,
                slot: index,
                parent: kernel::tgid(parent),
                image: 0,
            };
            program::tell(child, slot, &told, now);
        }
        return 0;
    }
    slot.flags = above & FOLLOWED;
    let life = Life {
        event: LifecycleKind::Fork,
        other: kernel::pid(parent),
        code: if above & FOLLOWED != 0 {
            LIFE_FOLLOWED
        } else {
            0
        },
        last: 0,
        slot: index,
    };
    emit::lifecycle(child, Some(slot), &life, now);
    0
}
