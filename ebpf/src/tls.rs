//! What a thread with a request says to servers through OpenSSL: the plain text of each call, under the
//! connection whose bytes were moved within it.
//!
//! A call that is served from OpenSSL's own buffer moves none: so the connection is kept by its `SSL *` until
//! that is freed or moves bytes of another. Where OpenSSL never sees the socket (memory buffers, as event
//! loops use them), no connection is known, and nothing is told. The same goes for connections that the
//! process accepted: only those to servers come here.

use whyslow_abi::{
    connection::SERVER_GAP,
    library::{
        EncryptedPeer, Library, LibraryCall, LibraryCalls, LibraryObject, PLAIN_TEXT_OF,
        TLS_READ_EX, TLS_WRITE, TLS_WRITE_EX,
    },
    record::{DATA_FRONT, DATA_GAP, DATA_PIECES, DATA_PLAIN, DATA_TAIL, DataRecord},
    thread::{ANSWERED, ENCRYPTS, ThreadSlot},
};

use crate::{
    data::{Exchange, Moved, fill_head, fill_server, note_gap, passes_over, server_state},
    emit::{self, SUBMIT},
    kernel,
    library::{Caller, calls_at, clock, goes_on},
    maps::ENCRYPTED,
    payload::{copy_user, read_user},
    thread,
};

/// A transfer with the server `peer` by a thread that says it encrypts; 1: the bytes are cipher text.
/// Remembers whose. A function of its own for the verifier too.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn crossed(slot: *mut ThreadSlot, exchange: *const Exchange, peer: u64) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let (Some(slot), Some(exchange)) = (unsafe { slot.as_mut() }, unsafe { exchange.as_ref() })
    else {
        return 0;
    };
    i32::from(remember(slot, exchange, peer).is_some())
}

/// `None`: the bytes are no cipher text.
#[inline(always)]
fn remember(slot: &mut ThreadSlot, exchange: &Exchange, peer: u64) -> Option<()> {
    let mark = thread::mark_of(slot.tid)?;
    let LibraryCalls { calls, peer: found } = calls_at(mark.slot()?)?;
    let call = &calls[Library::OpenSsl as usize];
    if call.connection != slot.connection
        || call.request != slot.request
        || call.generation != slot.generation
        || !goes_on(call, exchange.stack)
    {
        // Its return was not seen; that of a handshake never is.
        slot.flags &= !ENCRYPTS;
        return None;
    }
    let key = LibraryObject {
        tgid: u64::from(slot.tgid),
        address: call.arguments[0],
    };
    // SAFETY: a live map value.
    if unsafe { ENCRYPTED.get(key) }.is_some_and(|known| known.peer == peer) {
        return Some(());
    }
    found.peer = peer;
    // SAFETY: a part of a live map value.
    unsafe { fill_server(&raw mut found.server, exchange) };
    // Without room for it, the plain text of this call is not told.
    let _ = ENCRYPTED.insert(key, &*found, 0);
    Some(())
}

/// Plain text that a call has moved.
struct Plain<'a> {
    server: &'a EncryptedPeer,
    start: u64,
    writes: bool,
    now: u64,
}

/// A noted call has returned.
#[inline(always)]
pub fn returned(caller: Caller, slot: &mut ThreadSlot, call: &mut LibraryCall, result: i32) {
    let [ssl, start, _, done, _, _] = call.arguments;
    let function = call.function;
    if function > TLS_READ_EX || result <= 0 {
        return;
    }
    let len = if function == TLS_WRITE_EX || function == TLS_READ_EX {
        read_user::<u64>(done).unwrap_or(0)
    } else {
        result as u64
    };
    // SAFETY: a live map value.
    let Some(server) = (unsafe { ENCRYPTED.get(caller.object(ssl)) }) else {
        return;
    };
    if len == 0 {
        return;
    }
    let Some(state) = server_state(server.peer | PLAIN_TEXT_OF) else {
        return;
    };
    let writes = function == TLS_WRITE || function == TLS_WRITE_EX;
    if passes_over(slot, state, writes) {
        return;
    }
    if call.missed != 0 {
        note_gap(state);
        call.missed = 0;
    }
    let plain = Plain {
        server,
        start,
        writes,
        now: clock(),
    };
    let pieces = if plain.writes { DATA_PIECES } else { 1 };
    let mut at = 0u64;
    let mut count = 0;
    while count < DATA_PIECES {
        count += 1;
        let left = len - at;
        let last = count >= pieces || left <= DATA_FRONT as u64;
        let stands_for = if last { left } else { DATA_FRONT as u64 };
        let gap = *state & SERVER_GAP;
        if slot.data_budget == 0 || !ship(slot, &plain, (at, stands_for), gap) {
            note_gap(state);
            return;
        }
        *state &= !SERVER_GAP;
        if last {
            return;
        }
        at += DATA_FRONT as u64;
    }
}

/// `(at, stands_for)`: offset in the text, bytes that the record stands for. `gap`: not 0 where text before it was
/// not shipped. Returns whether there was room.
#[inline(always)]
fn ship(slot: &mut ThreadSlot, plain: &Plain<'_>, (at, stands_for): (u64, u64), gap: u32) -> bool {
    slot.data_budget = slot.data_budget.wrapping_sub(1);
    let sequence = emit::next_sequence(slot);
    let Some(mut entry) = emit::reserve::<DataRecord>() else {
        return false;
    };
    let record = entry.as_mut_ptr();
    let flags = DATA_PLAIN | if gap == 0 { 0 } else { DATA_GAP };
    let moved = Moved {
        peer: plain.server.peer,
        len: stands_for,
        writes: plain.writes,
        now: plain.now,
    };
    let start = plain.start + at;
    // SAFETY: the entry is room for one record.
    unsafe {
        fill_head(&raw mut (*record).head, slot, &moved, (sequence, flags));
        kernel::copy(&raw mut (*record).server, &raw const plain.server.server);
        let front_len = copy_user(&raw mut (*record).front, start, stands_for);
        (*record).head.front_len = front_len;
        (*record).tail_len = 0;
        (*record).reserved = 0;
        if stands_for > u64::from(front_len) && stands_for >= DATA_TAIL as u64 {
            let from = start + stands_for - DATA_TAIL as u64;
            (*record).tail_len = copy_user(&raw mut (*record).tail, from, DATA_TAIL as u64);
        }
    }
    entry.submit(SUBMIT);
    slot.flags &= !ANSWERED;
    true
}
