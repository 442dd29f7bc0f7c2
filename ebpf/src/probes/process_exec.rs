//! `sched_process_exec`: a process runs a new program. One that a watched process started is followed as a program
//! from here on; if it serves HTTP itself, it is a worker like any other.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext};
use whyslow_abi::{
    record::{LifecycleKind, ProgramEvent},
    thread::{NESTED, PROGRAM, ThreadSlot, ThreadState},
};

use crate::{
    emit::{self, Life},
    interpreter,
    kernel::{self, ALL_PROGRAMS, SELF_TGID, Task, current_task},
    program::{self, Told},
    thread::{self, Line, NO_SLOT},
};

/// Entry.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn process_exec(ctx: BtfTracePointContext) -> i32 {
    let task = current_task();
    // Another thread than the first has taken over the id of the process: its own is free now.
    let before = ctx.arg::<i32>(1) as u32;
    let image = ctx.arg::<u64>(2);
    let mark = if before == kernel::pid(task) {
        thread::mark(task)
    } else {
        thread::take_mark(before)
    };
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let Some(mark) = mark else {
        return unknown(task, Line::NONE, image, now);
    };
    interpreter::forget(kernel::tgid(task));
    let line = thread::line(task);
    let Some((index, slot)) = thread::slot_of(mark) else {
        thread::make_candidate(task, line);
        return unknown(task, line, image, now);
    };
    let was_program = slot.flags & PROGRAM != 0;
    let stays = was_program || program::take_leave();
    if !was_program {
        let life = Life {
            event: LifecycleKind::Exec,
            other: before,
            code: 0,
            last: 0,
            slot: if stays { index } else { NO_SLOT },
        };
        emit::lifecycle(task, Some(slot), &life, now);
    }
    if !stays || !thread::move_mark(task, index, slot) {
        thread::make_candidate(task, line);
        if stays && !was_program {
            program::give_back();
        }
        thread::release(index);
        return 0;
    }
    let nested = slot.flags & NESTED;
    begin(task, slot, (index, PROGRAM | nested), (before, image), now);
    0
}

/// A process that no watched one started runs a program.
#[inline(always)]
fn unknown(task: *const Task, line: Line, image: u64, now: u64) -> i32 {
    if ALL_PROGRAMS.load() == 0
        || u64::from(kernel::tgid(task)) == SELF_TGID.load()
        || !program::take_leave()
    {
        return 0;
    }
    let Some(index) = thread::watch(task, line, ThreadState::Running, now) else {
        program::give_back();
        return 0;
    };
    if let Some(slot) = thread::slot_at(index) {
        begin(task, slot, (index, PROGRAM), (0, image), now);
    }
    0
}

/// The slot is that of the program from now on.
#[inline(always)]
fn begin(
    task: *const Task,
    slot: &mut ThreadSlot,
    (index, flags): (u32, u32),
    (before, image): (u32, u64),
    now: u64,
) {
    slot.flags = flags;
    slot.first_output_ns = 0;
    slot.connection = 0;
    slot.request = 0;
    slot.name_socket = 0;
    let told = Told {
        event: ProgramEvent::Exec,
        other: before,
        code: 0,
        last: 0,
        slot: index,
        parent: 0,
        image,
    };
    program::tell(task, slot, &told, now);
}
