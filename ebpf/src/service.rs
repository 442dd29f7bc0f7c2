//! Servers that watched processes ask, and that run on this host: what such a server's thread does for its client, from
//! the question to the answer, and whose request it does that for.
//!
//! On a connection within a host, whoever wakes the reader is the writer. So the thread that wakes a server has asked, and
//! the one that wakes a client has answered.

use whyslow_abi::{
    record::{RecordKind, ServiceRecord},
    thread::{Asker, FOLLOWED, ThreadSlot},
    wait::{WAITS_KEPT, Wait},
};

use crate::{
    emit::{self, SUBMIT},
    kernel::{self, WAIT_FLOOR_NS},
    ledger, thread,
};

/// Whether the thread belongs to such a server.
#[inline(always)]
pub fn is_followed(slot: &ThreadSlot) -> bool {
    slot.flags & FOLLOWED != 0
}

/// It has read from its client, on the socket with inode number `id`. A function of its own for the verifier too.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn service_begins(slot: *mut ThreadSlot, id: u64, now: u64) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let Some(slot) = (unsafe { slot.as_mut() }) else {
        return 0;
    };
    // Else it has not slept since it answered last, and who has asked is not known; on the same connection, the same.
    if slot.wake_ns > slot.service.begin_ns {
        slot.service.asker = asker(slot.waker as u32);
    } else if slot.service.id != id {
        slot.service.asker = NOBODY;
    }
    slot.service.id = id;
    start(slot, now);
    0
}

/// It has written to its client. See [`service_begins`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn service_ends(slot: *mut ThreadSlot, id: u64, now: u64) -> i32 {
    // SAFETY: as in `service_begins`.
    let Some(slot) = (unsafe { slot.as_mut() }) else {
        return 0;
    };
    if slot.service.id == id {
        ledger::tick(slot, now);
        if now.wrapping_sub(slot.service.begin_ns) >= WAIT_FLOOR_NS.load() {
            ship(slot, now);
        }
        start(slot, now);
    }
    0
}

const NOBODY: Asker = Asker {
    connection: 0,
    request: 0,
    tid: 0,
};

/// What the thread of that id has asked for.
#[inline(always)]
fn asker(tid: u32) -> Asker {
    match thread::mark_of(tid).and_then(thread::slot_of) {
        Some((_, slot)) => Asker {
            connection: slot.connection,
            request: slot.request,
            tid,
        },
        None => NOBODY,
    }
}

#[inline(always)]
fn start(slot: &mut ThreadSlot, now: u64) {
    ledger::tick(slot, now);
    slot.service.begin_ns = now;
    // SAFETY: both are parts of a map value.
    unsafe { kernel::copy(&raw mut slot.service.begin, &raw const slot.totals.ns) };
    let mut index = 0;
    while index < WAITS_KEPT {
        slot.waits[index].ns = 0;
        index += 1;
    }
}

#[inline(always)]
fn ship(slot: &mut ThreadSlot, now: u64) {
    let sequence = emit::next_sequence(slot);
    let Some(mut entry) = emit::reserve::<ServiceRecord>() else {
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is room for one record; sources are parts of a map value.
    unsafe {
        emit::fill_header(
            &raw mut (*record).header,
            RecordKind::Service,
            slot,
            sequence,
            now,
        );
        kernel::copy(&raw mut (*record).service, &raw const slot.service);
        kernel::copy(&raw mut (*record).now, &raw const slot.totals.ns);
        kernel::copy(&raw mut (*record).waits, &raw const slot.waits);
    }
    entry.submit(SUBMIT);
}

/// Notes whose request a wait was ended for: another thread of the server has done that for its own client. A function
/// of its own for the verifier too.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_waker(wait: *mut Wait) -> i32 {
    // SAFETY: as in `service_begins`.
    let Some(wait) = (unsafe { wait.as_mut() }) else {
        return 0;
    };
    wait.waker_connection = 0;
    wait.waker_request = 0;
    if let Some((_, other)) = thread::mark_of(wait.waker as u32).and_then(thread::slot_of) {
        wait.waker_connection = other.service.asker.connection;
        wait.waker_request = other.service.asker.request;
    }
    0
}
