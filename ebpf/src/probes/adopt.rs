//! The adoption pass: a task iterator that the agent runs to start or stop watching processes that
//! run already. It goes through all threads once and does what `TARGETS` says of their process.

use whyslow_abi::{
    record::{LIFE_FOLLOWED, LifecycleKind},
    thread::{Adoption, FOLLOWED, PROGRAM, ThreadSlot, ThreadState},
};

use crate::{
    emit::{self, Life},
    kernel::{self, OFF_TASK_FLAGS, SELF_TGID, Task, TaskIteration},
    library::clock,
    maps::TARGETS,
    program,
    thread::{self, Line, Mark, PF_EXITING},
};

const PF_KTHREAD: u32 = 0x0020_0000;

/// Entry.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub fn adopt(ctx: *const TaskIteration) -> i32 {
    // SAFETY: the context of a task iterator; the task is null at the end.
    let task = unsafe { core::ptr::read_volatile(&raw const (*ctx).task) };
    if task.is_null() {
        return 0;
    }
    let tgid = kernel::tgid(task);
    // SAFETY: the value is copied at once.
    let Some(action) = (unsafe { TARGETS.get(tgid) }).copied() else {
        return 0;
    };
    // SAFETY: the task comes from the kernel.
    let flags: u32 = unsafe { kernel::load(task, OFF_TASK_FLAGS.load()) };
    if flags & (PF_EXITING | PF_KTHREAD) != 0 || u64::from(tgid) == SELF_TGID.load() {
        return 0;
    }
    let mark = thread::mark(task);
    let index = mark.and_then(Mark::slot);
    if action == Adoption::Drop as u32 {
        if mark.is_some() {
            thread::forget(task);
        }
        if let Some(index) = index {
            thread::release(index);
        }
    } else if action == Adoption::Watch as u32
        && let Some((index, slot)) = mark.and_then(thread::slot_of)
    {
        if slot.flags & PROGRAM != 0 {
            program::unmark(slot);
            tell(task, slot, index, clock());
        }
    } else if index.is_none() {
        let line = thread::link(task).map_or(Line::NONE, |link| Line::of(link));
        if action == Adoption::Watch as u32 || action == Adoption::Follow as u32 {
            start(task, line, action == Adoption::Follow as u32);
        } else if mark.is_none() {
            thread::make_candidate(task, line);
        }
    }
    0
}

#[inline(always)]
fn start(task: *const Task, line: Line, follow: bool) {
    let now = clock();
    let Some(index) = thread::watch(task, line, ThreadState::Unknown, now) else {
        return;
    };
    if let Some(slot) = thread::watched(task) {
        if follow {
            slot.flags = FOLLOWED;
        }
        tell(task, slot, index, now);
    }
}

#[inline(always)]
fn tell(task: *const Task, slot: &mut ThreadSlot, index: u32, now: u64) {
    let followed = slot.flags & FOLLOWED != 0;
    let life = Life {
        event: LifecycleKind::Adopted,
        other: 0,
        code: if followed { LIFE_FOLLOWED } else { 0 },
        last: 0,
        slot: index,
    };
    emit::lifecycle(task, Some(slot), &life, now);
}
