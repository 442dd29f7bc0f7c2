//! Waits for the lock of an interpreter (the GIL): who holds it, by what the interpreter itself notes in its memory.
//!
//! A thread that waits for it looks every few milliseconds whether it is to ask the holder for it, so a wait is a chain
//! of short ones. At each of them the waiting thread, whose memory this is, is asked who holds the lock: where the chain
//! ends, that tells who held it for how much of it. Who wakes the thread at last does not: he may have held it shortly.

use whyslow_abi::{
    account::Account,
    interpreter::{HOLDERS, HOLDERS_TOLD, Holder, Interpreter},
    thread::ThreadSlot,
    wait::{WAIT_NAME, WAITS_KEPT, WaitTargetKind},
};

use crate::{kernel::*, library::clock, maps::INTERPRETERS, payload::read_user};

/// Longest time between the end of a wait and the next of its chain.
const GAP_NS: u64 = 300_000;

const _: () = assert!(HOLDERS_TOLD * size_of::<Holder>() == WAIT_NAME);

/// The interpreter among whose data a futex lies.
#[inline(always)]
fn interpreter_of(slot: &ThreadSlot, word: u64) -> Option<&'static Interpreter> {
    // SAFETY: a live map value, which the agent alone writes.
    let interpreter = unsafe { INTERPRETERS.get(slot.tgid) }?;
    (word >= interpreter.start && word < interpreter.end).then_some(interpreter)
}

/// A child has what its parent has.
#[inline(always)]
pub fn inherit(parent: u32, child: u32) {
    // SAFETY: a live map value, which the agent alone writes.
    if let Some(interpreter) = unsafe { INTERPRETERS.get(parent) } {
        let _ = INTERPRETERS.insert(child, interpreter, 0);
    }
}

/// The process runs another program.
#[inline(always)]
pub fn forget(process: u32) {
    let _ = INTERPRETERS.remove(process);
}

/// The thread is about to block on a futex: who holds the lock, if it is one. In the thread's own context. A function of
/// its own for the verifier. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_holder(slot: *mut ThreadSlot, word: u64) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let Some(slot) = (unsafe { slot.as_mut() }) else {
        return 0;
    };
    let mut seen = 0;
    if let Some(interpreter) = interpreter_of(slot, word)
        && interpreter.last_holder != 0
        && let Some(state) = read_user::<u64>(interpreter.last_holder)
        && state != 0
    {
        seen = read_user::<u32>(state.wrapping_add(interpreter.native_id)).unwrap_or(0);
    }
    // One that has let it go waits until another has it, and does not know who.
    slot.lock_wait.seen = if seen == slot.tid { 0 } else { seen };
    0
}

/// A wait on a futex is over, and is pending. Returns 1 when it was for the lock: then it is booked. A function of its own
/// for the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn settle_lock(slot: *mut ThreadSlot, word: u64) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let Some(slot) = (unsafe { slot.as_mut() }) else {
        return 0;
    };
    let Some(interpreter) = interpreter_of(slot, word) else {
        return 0;
    };
    let ns = slot.pending_ns;
    let start = slot.pending_start_ns;
    let chain = &mut slot.lock_wait;
    if chain.ns == 0 || start.wrapping_sub(chain.end_ns) > GAP_NS {
        chain.start_ns = start;
        chain.ns = 0;
        chain.samples = 0;
        let mut index = 0;
        while index < HOLDERS {
            chain.holders[index].tid = 0;
            chain.holders[index].samples = 0;
            chain.holders[index].ns = 0;
            index += 1;
        }
    }
    chain.ns = chain.ns.wrapping_add(ns);
    chain.end_ns = clock();
    if chain.seen != 0 {
        chain.samples += 1;
        let holder = &mut chain.holders[place(&chain.holders, chain.seen) & (HOLDERS - 1)];
        if holder.tid != chain.seen {
            holder.tid = chain.seen;
            holder.samples = 0;
            holder.ns = 0;
        }
        holder.samples += 1;
        holder.ns = holder.ns.wrapping_add(ns);
    }
    if slot.lock_wait.ns >= WAIT_FLOOR_NS.load() {
        keep(slot, interpreter.start);
    }
    1
}

/// Where a holder is kept: its own place, else that of the one with least time.
#[inline(always)]
fn place(holders: &[Holder; HOLDERS], tid: u32) -> usize {
    let mut least = 0;
    let mut index = 0;
    while index < HOLDERS {
        if holders[index].tid == tid {
            return index;
        }
        if holders[index].ns < holders[least & (HOLDERS - 1)].ns {
            least = index;
        }
        index += 1;
    }
    least
}

/// Keeps the chain among the longest waits of the request.
#[inline(always)]
fn keep(slot: &mut ThreadSlot, target: u64) {
    let (start, ns) = (slot.lock_wait.start_ns, slot.lock_wait.ns);
    let mut kept = 0;
    let mut least = u64::MAX;
    let mut index = 0;
    while index < WAITS_KEPT {
        let wait = &slot.waits[index];
        let known =
            wait.start_ns == start && wait.account == Account::LockGil as u8 && wait.ns != 0;
        let ns = if known { 0 } else { wait.ns };
        if known || ns < least {
            least = ns;
            kept = index;
        }
        if known {
            break;
        }
        index += 1;
    }
    if ns <= least {
        return;
    }
    let (first, second) = most(&slot.lock_wait.holders);
    let holders = [
        slot.lock_wait.holders[first & (HOLDERS - 1)],
        slot.lock_wait.holders[second & (HOLDERS - 1)],
    ];
    let samples = slot.lock_wait.samples;
    let wait = &mut slot.waits[kept & (WAITS_KEPT - 1)];
    wait.start_ns = start;
    wait.ns = ns;
    wait.account = Account::LockGil as u8;
    wait.target = WaitTargetKind::InterpreterLock as u8;
    wait.family = 0;
    wait.port_be = 0;
    wait.fd = -1;
    wait.syscall = slot.syscall;
    wait.a = target;
    wait.b = u64::from(samples);
    // It may have held the lock for a moment only.
    wait.waker = 0;
    // SAFETY: as long as the name, by the assertion above; its alignment is 8, after two integers of that size.
    unsafe {
        (&raw mut wait.name)
            .cast::<[Holder; HOLDERS_TOLD]>()
            .write(holders)
    };
}

/// Places of the two with most time.
#[inline(always)]
fn most(holders: &[Holder; HOLDERS]) -> (usize, usize) {
    let mut first = 0;
    let mut second = 1;
    if holders[1].ns > holders[0].ns {
        first = 1;
        second = 0;
    }
    let mut index = 2;
    while index < HOLDERS {
        if holders[index].ns > holders[first & (HOLDERS - 1)].ns {
            second = first;
            first = index;
        } else if holders[index].ns > holders[second & (HOLDERS - 1)].ns {
            second = index;
        }
        index += 1;
    }
    (first, second)
}
