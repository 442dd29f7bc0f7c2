//! Which threads are watched: marks by thread id, links in task storage, slots in the mapped array.

use whyslow_abi::{
    loss::LossReason,
    record::DATA_BETWEEN,
    settings::MARKS_PER_ENTRY,
    thread::{MARK_CANDIDATE, MARK_NONE, MARK_SLOTS, ThreadLink, ThreadSlot, ThreadState},
};

use crate::{
    kernel::{self, OFF_TASK_FLAGS, Task},
    maps::{FREE_SLOTS, LINKS, MARKS, THREADS, ZERO_THREAD, count_loss},
    program,
};

/// `task_struct.flags`: it is ending.
pub const PF_EXITING: u32 = 0x4;
/// Slot index that stands for none.
pub const NO_SLOT: u32 = u32::MAX;

/// Watched processes that a process descends from; 0: none.
#[derive(Clone, Copy)]
pub struct Line {
    /// That started it.
    pub origin: u32,
    /// That started the one that started it.
    pub ancestor: u32,
}

impl Line {
    /// Of nobody that is watched.
    pub const NONE: Self = Self {
        origin: 0,
        ancestor: 0,
    };

    /// As a link has it.
    #[inline(always)]
    pub fn of(link: &ThreadLink) -> Self {
        Self {
            origin: link.origin,
            ancestor: link.ancestor,
        }
    }
}

/// What is done with a thread.
#[derive(Clone, Copy)]
pub struct Mark(u16);

impl Mark {
    /// Its first read of an HTTP request makes it watched.
    #[inline(always)]
    pub fn is_candidate(self) -> bool {
        self.0 == MARK_CANDIDATE
    }

    /// The slot of a watched thread.
    #[inline(always)]
    pub fn slot(self) -> Option<u32> {
        (self.0 >= MARK_SLOTS).then(|| u32::from(self.0 - MARK_SLOTS))
    }
}

/// The mark of a thread; `None`: nothing is done with it.
#[inline(always)]
pub fn mark(task: *const Task) -> Option<Mark> {
    // SAFETY: a live array value; its owner and its parent alone write it.
    let mark = unsafe { *place_of_mark(task)? };
    (mark != MARK_NONE).then_some(Mark(mark))
}

/// The mark of the thread with that id; `None`: nothing is done with it.
#[inline(always)]
pub fn mark_of(tid: u32) -> Option<Mark> {
    // SAFETY: as in `mark`.
    let mark = unsafe { *place_of(tid)? };
    (mark != MARK_NONE).then_some(Mark(mark))
}

#[inline(always)]
fn place_of_mark(task: *const Task) -> Option<*mut u16> {
    place_of(kernel::pid(task))
}

#[inline(always)]
fn place_of(tid: u32) -> Option<*mut u16> {
    let entry = MARKS.get_ptr_mut(tid / MARKS_PER_ENTRY)?;
    // SAFETY: the offset is below the entry's length.
    Some(unsafe {
        entry
            .cast::<u16>()
            .add((tid & (MARKS_PER_ENTRY - 1)) as usize)
    })
}

#[inline(always)]
fn set_mark(task: *const Task, value: u16) -> bool {
    let Some(place) = place_of_mark(task) else {
        return false;
    };
    // SAFETY: as in `mark`.
    unsafe { *place = value }
    true
}

/// The link of a thread that has a mark.
#[inline(always)]
pub fn link(task: *const Task) -> Option<&'static mut ThreadLink> {
    mark(task)?;
    LINKS.get(task)
}

/// Marks the task and makes its link, or keeps the one it has; whether both are there now.
#[inline(always)]
fn set(task: *const Task, line: Line, value: u16) -> bool {
    let mut fresh = ThreadLink {
        origin: line.origin,
        ancestor: line.ancestor,
        strikes: 0,
    };
    let Some(link) = LINKS.get_or_insert(task, &mut fresh) else {
        count_loss(LossReason::TaskStorageFull);
        return false;
    };
    link.origin = line.origin;
    link.ancestor = line.ancestor;
    if !set_mark(task, value) {
        count_loss(LossReason::ThreadSlotsFull);
        LINKS.remove(task);
        return false;
    }
    true
}

/// Forgets the task altogether.
#[inline(always)]
pub fn forget(task: *const Task) {
    set_mark(task, MARK_NONE);
    LINKS.remove(task);
}

/// The task ends: its id may come to another. What it descends from is still asked for while it closes its
/// files; the kernel frees that with the task.
#[inline(always)]
pub fn ended(task: *const Task) {
    set_mark(task, MARK_NONE);
}

/// Takes the mark of an id that its thread has given up.
#[inline(always)]
pub fn take_mark(tid: u32) -> Option<Mark> {
    let place = place_of(tid)?;
    // SAFETY: a live array value.
    let mark = unsafe { *place };
    // SAFETY: as above.
    unsafe { *place = MARK_NONE }
    (mark != MARK_NONE).then_some(Mark(mark))
}

/// Whom a task descends from, with a mark or without.
#[inline(always)]
pub fn line(task: *const Task) -> Line {
    match LINKS.get(task) {
        Some(link) => {
            link.strikes = 0;
            Line::of(link)
        }
        None => Line::NONE,
    }
}

/// Whether a thread descends from that process.
#[inline(always)]
pub fn descends(task: *const Task, process: u32) -> bool {
    // SAFETY: the task comes from the kernel.
    let flags: u32 = unsafe { kernel::load(task, OFF_TASK_FLAGS.load()) };
    if mark(task).is_none() && flags & PF_EXITING == 0 {
        return false;
    }
    match LINKS.get(task) {
        Some(link) => link.origin == process || link.ancestor == process,
        None => false,
    }
}

/// The slot of a watched thread.
#[inline(always)]
pub fn watched(task: *const Task) -> Option<&'static mut ThreadSlot> {
    Some(slot_of(mark(task)?)?.1)
}

/// The slot that a mark names, with its number.
#[inline(always)]
pub fn slot_of(mark: Mark) -> Option<(u32, &'static mut ThreadSlot)> {
    let index = mark.slot()?;
    Some((index, slot_at(index)?))
}

/// The slot of that number.
#[inline(always)]
pub fn slot_at(index: u32) -> Option<&'static mut ThreadSlot> {
    // SAFETY: array values live as long as the map; a thread writes its own slot only.
    unsafe { THREADS.get_ptr_mut(index)?.as_mut() }
}

/// Number of the slot of a watched thread.
#[inline(always)]
pub fn index_of(task: *const Task) -> u32 {
    match mark(task).and_then(Mark::slot) {
        Some(index) => index,
        None => NO_SLOT,
    }
}

/// Begins a write that readers of the mapped array must not see half of.
#[inline(always)]
pub fn write_begin(slot: &mut ThreadSlot) {
    // SAFETY: a live field; volatile so that the order of the stores stays.
    unsafe { core::ptr::write_volatile(&raw mut slot.sequence, slot.sequence | 1) }
}

/// Ends it.
#[inline(always)]
pub fn write_end(slot: &mut ThreadSlot) {
    // SAFETY: as in `write_begin`.
    unsafe {
        core::ptr::write_volatile(&raw mut slot.sequence, (slot.sequence | 1).wrapping_add(1));
    }
}

/// Gives `task` a slot and publishes it. `line`: whom it descends from.
#[inline(always)]
pub fn watch(task: *const Task, line: Line, state: ThreadState, now: u64) -> Option<u32> {
    let Ok(Some(index)) = FREE_SLOTS.pop() else {
        count_loss(LossReason::ThreadSlotsFull);
        return None;
    };
    let slot = slot_at(index)?;
    let zero = ZERO_THREAD.get_ptr(0)?;
    let generation = slot.generation.wrapping_add(1);
    let sequence = slot.sequence | 1;
    // SAFETY: both are whole map values.
    unsafe { kernel::copy(core::ptr::from_mut(slot), zero) };
    slot.sequence = sequence;
    slot.generation = generation;
    slot.tid = kernel::pid(task);
    slot.tgid = kernel::tgid(task);
    slot.state = state as u32;
    slot.since_ns = now;
    slot.selected_fd = -1;
    slot.syscall = -1;
    slot.data_budget = DATA_BETWEEN;
    write_end(slot);
    if !set(task, line, index as u16 + MARK_SLOTS) {
        release(index);
        return None;
    }
    Some(index)
}

/// The thread has the id of its process now: its slot goes with it.
#[inline(always)]
pub fn move_mark(task: *const Task, index: u32, slot: &mut ThreadSlot) -> bool {
    slot.tid = kernel::pid(task);
    slot.tgid = kernel::tgid(task);
    set_mark(task, index as u16 + MARK_SLOTS)
}

/// Makes `task` a candidate, whatever it was. Its slot, if it had one, is the caller's to release.
#[inline(always)]
pub fn make_candidate(task: *const Task, line: Line) {
    let _ = set(task, line, MARK_CANDIDATE);
}

/// Returns a slot to the free list.
#[inline(always)]
pub fn release(index: u32) {
    if let Some(slot) = slot_at(index) {
        program::unmark(slot);
        write_begin(slot);
        slot.state = ThreadState::Ended as u32;
        write_end(slot);
    }
    // The list is as long as the array, so there is room.
    let _ = FREE_SLOTS.push(index, 0);
}
