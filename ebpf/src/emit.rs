//! Records into the rings. Never wakes the reader (a wake-up costs more than the record): the
//! agent looks by a timer.

use aya_ebpf::{bindings::BPF_RB_NO_WAKEUP, maps::ring_buf::RingBufEntry};
use whyslow_abi::{
    loss::LossReason,
    record::{LifecycleKind, LifecycleRecord, RecordHeader, RecordKind},
    thread::ThreadSlot,
    totals::Totals,
};

use crate::{
    kernel::{self, *},
    maps::{RECORDS, SIGNALS, count_loss},
};

/// Flags of every submission.
pub const SUBMIT: u64 = BPF_RB_NO_WAKEUP as u64;

/// Room for a record in the core ring; a full ring is counted.
#[inline(always)]
pub fn reserve<T: 'static>() -> Option<RingBufEntry<T>> {
    let entry = RECORDS.reserve_untyped::<T>(0);
    if entry.is_none() {
        count_loss(LossReason::RingFull);
    }
    entry
}

/// Room for a record in the signal ring; a full ring is counted.
#[inline(always)]
pub fn reserve_signal<T: 'static>() -> Option<RingBufEntry<T>> {
    let entry = SIGNALS.reserve_untyped::<T>(0);
    if entry.is_none() {
        count_loss(LossReason::SignalRingFull);
    }
    entry
}

/// Fills a header for a thread with a slot, and counts the record. Called before the room is
/// reserved fails or not, so that a record without room shows as a gap.
#[inline(always)]
pub fn next_sequence(slot: &mut ThreadSlot) -> u32 {
    slot.record_sequence = slot.record_sequence.wrapping_add(1);
    slot.record_sequence
}

/// Writes the front of a record.
///
/// # Safety
/// `header` must point to room for a header.
#[inline(always)]
pub unsafe fn fill_header(
    header: *mut RecordHeader,
    kind: RecordKind,
    slot: &ThreadSlot,
    sequence: u32,
    now: u64,
) {
    // SAFETY: by the contract.
    unsafe {
        (*header).time_ns = now;
        (*header).kind = kind as u32;
        (*header).tid = slot.tid;
        (*header).tgid = slot.tgid;
        (*header).generation = slot.generation;
        (*header).sequence = sequence;
        (*header).reserved = 0;
    }
}

/// What a lifecycle record tells beside its thread.
pub struct Life {
    /// Kind.
    pub event: LifecycleKind,
    /// By kind.
    pub other: u32,
    /// Exit code.
    pub code: u32,
    /// Last thread of its process.
    pub last: u32,
    /// Slot.
    pub slot: u32,
}

/// Ships a lifecycle record about `task`. Ends go to the signal ring.
#[inline(always)]
pub fn lifecycle(task: *const Task, slot: Option<&mut ThreadSlot>, life: &Life, now: u64) {
    let (generation, sequence, totals) = match slot {
        Some(slot) => {
            let sequence = next_sequence(slot);
            (slot.generation, sequence, &raw const slot.totals)
        }
        None => (0, 0, core::ptr::null()),
    };
    let entry = if life.event as u32 == LifecycleKind::Exit as u32 {
        reserve_signal::<LifecycleRecord>()
    } else {
        reserve::<LifecycleRecord>()
    };
    let Some(mut entry) = entry else { return };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is room for one record; the task pointers come from the kernel.
    unsafe {
        (*record).header = RecordHeader {
            time_ns: now,
            kind: RecordKind::Lifecycle as u32,
            tid: kernel::pid(task),
            tgid: kernel::tgid(task),
            generation,
            sequence,
            reserved: 0,
        };
        (*record).event = life.event as u32;
        (*record).other = life.other;
        (*record).code = life.code;
        (*record).last = life.last;
        (*record).slot = life.slot;
        let parent: u64 = kernel::probe(task as u64, OFF_TASK_REAL_PARENT.load());
        (*record).parent = kernel::probe(parent, OFF_TASK_TGID.load());
        let leader: u64 = kernel::probe(task as u64, OFF_TASK_GROUP_LEADER.load());
        (*record).process_start_ns = kernel::probe(leader, OFF_TASK_START_BOOTTIME.load());
        kernel::copy(
            &raw mut (*record).comm,
            (task as u64 + OFF_TASK_COMM.load()) as *const [u8; 16],
        );
        if totals.is_null() {
            zero_totals(&raw mut (*record).totals);
        } else {
            kernel::copy(&raw mut (*record).totals, totals);
        }
    }
    entry.submit(SUBMIT);
}

/// # Safety
/// `totals` must be writable.
#[inline(always)]
unsafe fn zero_totals(totals: *mut Totals) {
    if let Some(zero) = crate::maps::ZERO_THREAD.get_ptr(0) {
        // SAFETY: by the contract; the source is a map value.
        unsafe { kernel::copy(totals, &raw const (*zero).totals) }
    }
}
