//! Turns of an event loop: from the return of one `epoll_wait` to the begin of the next. One that lasts longer than the
//! limit is told: what is ready meanwhile waits.
//!
//! A loop is a thread that has waited with `epoll_wait` for clients. Its other epoll instances (a database driver's)
//! are part of its turns.

use whyslow_abi::{
    account::Account,
    record::{LoopStallRecord, RecordKind},
    thread::ThreadSlot,
};

use crate::{
    emit::{self, SUBMIT},
    kernel::LOOP_STALL_NS,
    ledger,
    library::clock,
    thread::{write_begin, write_end},
};

/// The thread is about to block in `epoll_wait`; in `sched_switch`, with its books closed. A function of its own for the
/// verifier. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn blocks(slot: *mut ThreadSlot, epoll: u64) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let Some(slot) = (unsafe { slot.as_mut() }) else {
        return 0;
    };
    if slot.turn.epoll == epoll as u32 + 1 {
        let now = slot.since_ns;
        ends(slot, now);
    }
    0
}

/// An `epoll_wait` has returned; `blocked`: it had to wait. A function of its own for the verifier. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn begins(slot: *mut ThreadSlot, epoll: u64, blocked: u32) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let Some(slot) = (unsafe { slot.as_mut() }) else {
        return 0;
    };
    if slot.turn.epoll != epoll as u32 + 1 || LOOP_STALL_NS.load() == u64::MAX {
        return 0;
    }
    write_begin(slot);
    if blocked == 0 {
        let now = clock();
        ledger::tick(slot, now);
        ends(slot, now);
    }
    // After a wait it runs since then; the call had little left to do.
    slot.turn.begin_ns = slot.since_ns;
    let mut index = 0;
    while index < Account::COUNT {
        slot.turn.ns[index] = slot.totals.ns[index];
        index += 1;
    }
    write_end(slot);
    0
}

/// The turn ends, its books closed. One that is long only since the thread had to wait for a CPU is not told: half of
/// the limit must be its own.
#[inline(always)]
fn ends(slot: &mut ThreadSlot, now: u64) {
    const QUEUE: usize = Account::RunQueue as usize;
    let begin = slot.turn.begin_ns;
    slot.turn.begin_ns = 0;
    // No request was read by it yet: nobody knows that it serves.
    if begin == 0 || slot.request == 0 {
        return;
    }
    let queued = slot.totals.ns[QUEUE].wrapping_sub(slot.turn.ns[QUEUE]);
    let (took, limit) = (now.wrapping_sub(begin), LOOP_STALL_NS.load());
    if took < limit || took < queued.wrapping_add(limit / 2) {
        return;
    }
    let sequence = emit::next_sequence(slot);
    let Some(mut entry) = emit::reserve::<LoopStallRecord>() else {
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is room for one record.
    unsafe {
        emit::fill_header(
            &raw mut (*record).header,
            RecordKind::LoopStall,
            slot,
            sequence,
            now,
        );
        (*record).start_ns = begin;
        (*record).epoll = slot.turn.epoll as i32 - 1;
        (*record).reserved = 0;
        let mut index = 0;
        while index < Account::COUNT {
            (*record).ns[index] = slot.totals.ns[index].wrapping_sub(slot.turn.ns[index]);
            index += 1;
        }
    }
    entry.submit(SUBMIT);
}
