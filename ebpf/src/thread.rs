//! Which threads are watched: links in task storage, slots in the mapped array.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use whyslow_abi::{
    loss::LossReason,
    thread::{ThreadLink, ThreadRole, ThreadSlot, ThreadState},
};

use crate::{
    kernel::{self, Task},
    maps::{FREE_SLOTS, LINKS, MARKS, MARKS_PER_ENTRY, THREADS, ZERO_THREAD, count_loss},
};

/// Slot index that stands for none.
pub const NO_SLOT: u32 = u32::MAX;

/// The link of a thread that the programs care about at all.
#[inline(always)]
pub fn link(task: *const Task) -> Option<&'static mut ThreadLink> {
    let mark = mark_of(kernel::pid(task))?;
    // SAFETY: a live array value.
    if unsafe { *mark } == 0 {
        return None;
    }
    LINKS.get(task)
}

/// The mark of a thread id.
#[inline(always)]
fn mark_of(tid: u32) -> Option<*mut u8> {
    let entry = MARKS.get_ptr_mut(tid / MARKS_PER_ENTRY as u32)?;
    // SAFETY: the offset is below the entry's length.
    Some(unsafe { entry.cast::<u8>().add(tid as usize & (MARKS_PER_ENTRY - 1)) })
}

/// Makes the task's link, or finds the one it has; marks the task.
#[inline(always)]
fn make_link(task: *const Task, value: &mut ThreadLink) -> Option<&'static mut ThreadLink> {
    let link = LINKS.get_or_insert(task, value);
    if link.is_none() {
        count_loss(LossReason::TaskStorageFull);
    } else if let Some(mark) = mark_of(kernel::pid(task)) {
        // SAFETY: a live array value; each thread id has a byte of its own.
        unsafe { *mark = 1 }
    }
    link
}

/// Forgets the task altogether.
#[inline(always)]
pub fn forget(task: *const Task) {
    if let Some(mark) = mark_of(kernel::pid(task)) {
        // SAFETY: as in `make_link`.
        unsafe { *mark = 0 }
    }
    LINKS.remove(task);
}

/// The slot of a watched thread.
#[inline(always)]
pub fn watched(task: *const Task) -> Option<&'static mut ThreadSlot> {
    slot_of(link(task)?)
}

/// The slot that a link names.
#[inline(always)]
pub fn slot_of(link: &ThreadLink) -> Option<&'static mut ThreadSlot> {
    if link.role != ThreadRole::Watched as u32 {
        return None;
    }
    // SAFETY: array values live as long as the map; a thread writes its own slot only.
    unsafe { THREADS.get_ptr_mut(link.slot)?.as_mut() }
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
    // SAFETY: as in `slot_of`; nobody else uses a slot that was just taken.
    let slot = unsafe { THREADS.get_ptr_mut(index)?.as_mut()? };
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
    let mut value = ThreadLink {
        slot: index,
        role: ThreadRole::Watched as u32,
        origin,
        strikes: 0,
    };
    let Some(link) = make_link(task, &mut value) else {
        release(index);
        return None;
    };
    // It may have had a link already (candidate).
    link.slot = index;
    link.origin = origin;
    link.role = ThreadRole::Watched as u32;
    Some(index)
}

/// Makes `task` a candidate, unless it has a link.
#[inline(always)]
pub fn make_candidate(task: *const Task, origin: u32) {
    let mut value = ThreadLink {
        slot: NO_SLOT,
        role: ThreadRole::Candidate as u32,
        origin,
        strikes: 0,
    };
    let _ = make_link(task, &mut value);
}

/// Returns a slot to the free list.
#[inline(always)]
pub fn release(index: u32) {
    // SAFETY: as in `slot_of`.
    if let Some(slot) = unsafe { THREADS.get_ptr_mut(index).and_then(|slot| slot.as_mut()) } {
        write_begin(slot);
        slot.state = ThreadState::Ended as u32;
        write_end(slot);
    }
    // The list is as long as the array, so there is room.
    let _ = FREE_SLOTS.push(index, 0);
}

/// Process id (high half) and thread id (low half) of the current thread.
#[inline(always)]
pub fn current_ids() -> u64 {
    bpf_get_current_pid_tgid()
}
