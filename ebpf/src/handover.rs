//! Threads that work on what another thread has read. Who that is, and when he began, only the end tells: so moments
//! of such threads are told with their ledger as it stood then, in processes that the agent has named.

use whyslow_abi::{
    descriptor::DescriptorKind,
    handover::HANDS_OVER,
    record::{DATA_BUDGET, MarkKind, MarkRecord, RecordKind},
    thread::ThreadSlot,
};

use crate::{
    emit::{self, SUBMIT},
    kernel::{self, current_task},
    ledger,
    library::clock,
    maps::{HANDOVERS, INTERPRETERS},
    thread::{write_begin, write_end},
};

/// Shorter waits on a futex are not told.
pub const FLOOR_NS: u64 = 50_000;
/// Writes of one response that are told.
const WRITES: u32 = 64;
/// Bytes by which a thread tells a loop to look: asyncio's to a pair of sockets, libuv's to an eventfd.
const BYTE: i64 = 1;
const EVENT: i64 = 8;

/// What a mark tells beside its thread and time.
struct Moment {
    kind: MarkKind,
    connection: u64,
    request: u32,
}

/// Whether threads of this process work for others.
#[inline(always)]
fn hands_over(slot: &ThreadSlot) -> bool {
    // SAFETY: a live map value, which the agent alone writes.
    let Some(which) = (unsafe { HANDOVERS.get(slot.tgid) }) else {
        return false;
    };
    // SAFETY: only whether it is there is asked.
    *which == HANDS_OVER || unsafe { INTERPRETERS.get(slot.tgid) }.is_some()
}

/// A wait on a futex is over and booked. A function of its own for the verifier. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn woken(slot: *mut ThreadSlot) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let Some(slot) = (unsafe { slot.as_mut() }) else {
        return 0;
    };
    if !hands_over(slot) {
        return 0;
    }
    // It has run since the wait: the books are closed up to there.
    let now = slot.since_ns;
    ship(
        slot,
        &Moment {
            kind: MarkKind::Woken,
            connection: 0,
            request: 0,
        },
        now,
    );
    if slot.worked_ns == 0 || slot.worked_ns < slot.answered_ns {
        slot.worked_ns = now;
        slot.data_budget = DATA_BUDGET;
        forget_waits(slot, now);
    }
    0
}

/// The thread is about to note its books for a write to the client of a request that another thread read; `writes`: with
/// this one. A function of its own for the verifier. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answers(slot: *mut ThreadSlot, writes: u32, now: u64) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let Some(slot) = (unsafe { slot.as_mut() }) else {
        return 0;
    };
    if writes == 1 && slot.worked_ns < slot.answered_ns {
        slot.worked_ns = slot.answered_ns;
        let from = slot.worked_ns;
        forget_waits(slot, from);
    }
    slot.answered_ns = now;
    0
}

/// The thread has written to a client, its books closed. A function of its own for the verifier. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answered(
    slot: *mut ThreadSlot,
    connection: u64,
    request: u32,
    writes: u32,
) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let Some(slot) = (unsafe { slot.as_mut() }) else {
        return 0;
    };
    if writes > WRITES || !hands_over(slot) {
        return 0;
    }
    if writes == 1 {
        slot.data_budget = DATA_BUDGET;
    }
    let now = slot.since_ns;
    ship(
        slot,
        &Moment {
            kind: MarkKind::Answered,
            connection,
            request,
        },
        now,
    );
    0
}

/// Whether a transfer is one by which a thread tells a loop to look.
#[inline(always)]
pub fn may_signal(reads: bool, result: i64) -> bool {
    !reads && (result == BYTE || result == EVENT)
}

/// The thread has written `bytes` to a descriptor of that kind. A function of its own for the verifier. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn signalled(slot: *mut ThreadSlot, kind: u32, bytes: i64) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let Some(slot) = (unsafe { slot.as_mut() }) else {
        return 0;
    };
    let tells = kind == DescriptorKind::LocalSocket as u32 && bytes == BYTE
        || kind == DescriptorKind::Event as u32 && bytes == EVENT;
    if !tells || !hands_over(slot) {
        return 0;
    }
    let now = clock();
    write_begin(slot);
    ledger::tick(slot, now);
    ship(
        slot,
        &Moment {
            kind: MarkKind::Signalled,
            connection: 0,
            request: 0,
        },
        now,
    );
    write_end(slot);
    0
}

/// Waits that began before `from` are none of what the thread works on now.
#[inline(always)]
fn forget_waits(slot: &mut ThreadSlot, from: u64) {
    let mut index = 0;
    while index < slot.waits.len() {
        if slot.waits[index].start_ns < from {
            slot.waits[index].ns = 0;
        }
        index += 1;
    }
}

#[inline(always)]
fn ship(slot: &mut ThreadSlot, moment: &Moment, now: u64) {
    ledger::refresh_counters(slot, current_task());
    let sequence = emit::next_sequence(slot);
    let Some(mut entry) = emit::reserve::<MarkRecord>() else {
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is room for one record; sources are whole map values.
    unsafe {
        emit::fill_header(
            &raw mut (*record).header,
            RecordKind::Mark,
            slot,
            sequence,
            now,
        );
        (*record).kind = moment.kind as u32;
        (*record).request = moment.request;
        (*record).connection = moment.connection;
        (*record).wait_ns = slot.pending_start_ns;
        (*record).wake_ns = slot.wake_ns;
        (*record).waker = slot.waker;
        kernel::copy(&raw mut (*record).totals, &raw const slot.totals);
        kernel::copy(&raw mut (*record).waits, &raw const slot.waits);
    }
    entry.submit(SUBMIT);
}
