//! Which threads are watched: marks by thread id, links in task storage, slots in the mapped array.

use whyslow_abi::{
    loss::LossReason,
    settings::MARKS_PER_ENTRY,
    thread::{MARK_CANDIDATE, MARK_NONE, MARK_SLOTS, ThreadLink, ThreadSlot, ThreadState},
};

use crate::{
    kernel::{self, Task},
    maps::{FREE_SLOTS, LINKS, MARKS, THREADS, ZERO_THREAD, count_loss},
};

/// Slot index that stands for none.
pub const NO_SLOT: u32 = u32::MAX;

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

#[inline(always)]
fn place_of_mark(task: *const Task) -> Option<*mut u16> {
    let tid = kernel::pid(task);
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
fn set(task: *const Task, origin: u32, value: u16) -> bool {
    let mut fresh = ThreadLink { origin, strikes: 0 };
    let Some(link) = LINKS.get_or_insert(task, &mut fresh) else {
        count_loss(LossReason::TaskStorageFull);
        return false;
    };
    link.origin = origin;
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

/// The slot of a watched thread.
#[inline(always)]
pub fn watched(task: *const Task) -> Option<&'static mut ThreadSlot> {
    slot_at(mark(task)?.slot()?)
}

/// The slot of that number.
#[inline(always)]
pub fn slot_at(index: u32) -> Option<&'static mut ThreadSlot> {
    // SAFETY: array values live as long as the map; a thread writes its own slot only.
    unsafe { THREADS.get_ptr_mut(index)?.as_mut() }
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

/// Gives `task` a slot and publishes it. `origin` is the watched process that it descends from.
#[inline(always)]
pub fn watch(task: *const Task, origin: u32, state: ThreadState, now: u64) -> Option<u32> {
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
    write_end(slot);
    if !set(task, origin, index as u16 + MARK_SLOTS) {
        release(index);
        return None;
    }
    Some(index)
}

/// Makes `task` a candidate, whatever it was. Its slot, if it had one, is the caller's to release.
#[inline(always)]
pub fn make_candidate(task: *const Task, origin: u32) {
    let _ = set(task, origin, MARK_CANDIDATE);
}

/// Returns a slot to the free list.
#[inline(always)]
pub fn release(index: u32) {
    if let Some(slot) = slot_at(index) {
        write_begin(slot);
        slot.state = ThreadState::Ended as u32;
        write_end(slot);
    }
    // The list is as long as the array, so there is room.
    let _ = FREE_SLOTS.push(index, 0);
}
