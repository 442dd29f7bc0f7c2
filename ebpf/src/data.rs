//! What a thread exchanges with the servers that its process connected to: the first and last bytes of each
//! transfer, for user space to read operations from.

use whyslow_abi::{
    connection::{SERVER_GAP, SERVER_IGNORED, SERVER_READER},
    record::{
        DATA_ANSWERED, DATA_FRONT, DATA_GAP, DATA_PIECES, DATA_SHORT, DATA_SPENT, DATA_TAIL,
        DATA_WRITTEN, DataHead, DataRecord, RecordKind, ServerAddress, ShortDataRecord,
    },
    thread::{ANSWERED, ASKED, ENCRYPTS, ThreadSlot},
    wait::WAIT_NAME,
};

use crate::{
    descriptor::{AF_INET, AF_INET6, AF_UNIX},
    emit::{self, SUBMIT},
    kernel::*,
    maps::SERVERS,
    names,
    payload::copy_user,
    tls,
};

/// One transfer with a server, by the current thread.
#[repr(C)]
pub struct Exchange {
    /// `struct inode` and `struct sock` of the connection.
    pub inode: u64,
    /// See `inode`.
    pub sock: u64,
    /// Return of the call.
    pub now: u64,
    /// Bytes moved.
    pub len: u64,
    /// Address of the first byte.
    pub start: u64,
    /// Bytes at `start` in one piece.
    pub first_len: u64,
    /// Address just after the last byte; 0: not known.
    pub end: u64,
    /// Address of the `struct sockaddr` that the call names; 0: it names none.
    pub to: u64,
    /// Stack pointer at the call.
    pub stack: u64,
    /// Address family.
    pub family: u32,
    /// 1: the thread wrote.
    pub writes: u32,
}

/// The thread wrote to a server or read from it: a read after a write ends a round trip.
#[inline(always)]
pub fn count_round_trip(slot: &mut ThreadSlot, writes: bool) {
    if writes {
        slot.flags |= ASKED;
    } else if slot.flags & ASKED != 0 {
        slot.flags &= !ASKED;
        slot.totals.round_trips = slot.totals.round_trips.wrapping_add(1);
    }
}

/// A transfer with a server returned with more than nothing. A function of its own for the verifier too,
/// which looks at it once and not on each way that leads here. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn exchange_data(slot: *mut ThreadSlot, exchange: *const Exchange) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let (Some(slot), Some(exchange)) = (unsafe { slot.as_mut() }, unsafe { exchange.as_ref() })
    else {
        return 0;
    };
    on_transfer(slot, exchange);
    0
}

#[inline(always)]
fn on_transfer(slot: &mut ThreadSlot, exchange: &Exchange) {
    let peer = probe::<u64>(exchange.inode, OFF_INODE_INO.load());
    if slot.flags & ENCRYPTS != 0 && tls::crossed(slot, exchange, peer) != 0 {
        return;
    }
    let Some(state) = server_state(peer) else {
        return;
    };
    if passes_over(slot, state, exchange.writes != 0) {
        return;
    }
    let pieces = if exchange.writes != 0 { DATA_PIECES } else { 1 };
    let mut at = 0u64;
    let mut count = 0;
    while count < DATA_PIECES {
        count += 1;
        let left = exchange.len - at;
        let captured = if exchange.first_len > at {
            exchange.first_len - at
        } else {
            0
        };
        let last = count >= pieces || left <= DATA_FRONT as u64 || captured <= DATA_FRONT as u64;
        let piece = Piece {
            peer,
            at,
            captured,
            stands_for: if last { left } else { DATA_FRONT as u64 },
            gap: u64::from(*state & SERVER_GAP),
        };
        if slot.data_budget == 0 || ship_piece(slot, exchange, &raw const piece) == 0 {
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

/// What is known of the connection. One that is new may have been spoken on before it was watched.
#[inline(always)]
pub fn server_state(peer: u64) -> Option<&'static mut u32> {
    let known = SERVERS.get_ptr_mut(peer).or_else(|| {
        let _ = SERVERS.insert(peer, SERVER_GAP, 0);
        SERVERS.get_ptr_mut(peer)
    });
    // SAFETY: values of a least-recently-used map may be used anew while they are looked at: then a bit of
    // another connection is wrong, which a gap too many or too few is.
    unsafe { known?.as_mut() }
}

/// Whether a transfer is not told, since user space has no use for what is said there: all but the first read of a
/// request, which is an answer.
#[inline(always)]
pub fn passes_over(slot: &mut ThreadSlot, state: &mut u32, writes: bool) -> bool {
    *state & SERVER_IGNORED != 0 && (writes || is_read_again(slot, state) != 0)
}

/// Whether the request has read there last, of all requests; from now on it has. A function of its own for the
/// verifier too, and for the stack.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_read_again(slot: *mut ThreadSlot, state: *mut u32) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let (Some(slot), Some(state)) = (unsafe { slot.as_mut() }, unsafe { state.as_mut() }) else {
        return 0;
    };
    let connection = (slot.connection as u32).wrapping_mul(0x9e37_79b1);
    let reader = (connection ^ slot.request << 8) & SERVER_READER;
    let again = *state & SERVER_READER == reader;
    *state = SERVER_IGNORED | reader;
    i32::from(again)
}

/// Bytes were not shipped.
#[inline(always)]
pub fn note_gap(state: &mut u32) {
    if *state & SERVER_IGNORED == 0 {
        *state |= SERVER_GAP;
    }
}

/// A part of a transfer.
#[repr(C)]
pub struct Piece {
    /// Inode number of the connection.
    peer: u64,
    /// Offset in the transfer.
    at: u64,
    /// Bytes from there on that lie in one piece.
    captured: u64,
    /// Bytes that the record stands for.
    stands_for: u64,
    /// Not 0: bytes before it were not shipped.
    gap: u64,
}

/// Ships a part; returns 1 when there was room. A function of its own for the verifier too.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ship_piece(
    slot: *mut ThreadSlot,
    exchange: *const Exchange,
    piece: *const Piece,
) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let (Some(slot), Some(exchange), Some(piece)) =
        (unsafe { (slot.as_mut(), exchange.as_ref(), piece.as_ref()) })
    else {
        return 0;
    };
    i32::from(ship(slot, exchange, piece))
}

#[inline(always)]
fn ship(slot: &mut ThreadSlot, exchange: &Exchange, piece: &Piece) -> bool {
    slot.data_budget = slot.data_budget.wrapping_sub(1);
    let gap = piece.gap;
    let sequence = emit::next_sequence(slot);
    let moved = Moved {
        peer: piece.peer,
        len: piece.stands_for,
        writes: exchange.writes != 0,
        now: exchange.now,
    };
    if gap == 0 && piece.stands_for <= DATA_SHORT as u64 && piece.captured >= piece.stands_for {
        let Some(mut entry) = emit::reserve::<ShortDataRecord>() else {
            return false;
        };
        let record = entry.as_mut_ptr();
        // SAFETY: the entry is room for one record.
        unsafe {
            fill_head(&raw mut (*record).head, slot, &moved, (sequence, 0));
            (*record).head.header.kind = RecordKind::ShortData as u32;
            let start = exchange.start + piece.at;
            (*record).head.front_len = copy_user(&raw mut (*record).front, start, piece.stands_for);
        }
        entry.submit(SUBMIT);
        slot.flags &= !ANSWERED;
        return true;
    }
    let Some(mut entry) = emit::reserve::<DataRecord>() else {
        return false;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is room for one record.
    unsafe {
        let flags = if gap == 0 { 0 } else { DATA_GAP };
        fill_head(&raw mut (*record).head, slot, &moved, (sequence, flags));
        fill_server(&raw mut (*record).server, exchange);
        let start = exchange.start + piece.at;
        let front_len = copy_user(&raw mut (*record).front, start, piece.captured);
        (*record).head.front_len = front_len;
        (*record).tail_len = 0;
        (*record).reserved = 0;
        let stands_for = piece.stands_for;
        if exchange.end != 0 && stands_for > u64::from(front_len) && stands_for >= DATA_TAIL as u64
        {
            let from = exchange.end - DATA_TAIL as u64;
            (*record).tail_len = copy_user(&raw mut (*record).tail, from, DATA_TAIL as u64);
        }
    }
    entry.submit(SUBMIT);
    slot.flags &= !ANSWERED;
    true
}

/// What a record of data tells in its head.
pub struct Moved {
    /// Inode number of the connection.
    pub peer: u64,
    /// Bytes that the record stands for.
    pub len: u64,
    /// The thread wrote.
    pub writes: bool,
    /// Return of the call.
    pub now: u64,
}

/// `(sequence, flags)`: number of the record, bits beside those that are known here.
///
/// # Safety
/// `head` must be room for a head.
#[inline(always)]
pub unsafe fn fill_head(
    head: *mut DataHead,
    slot: &ThreadSlot,
    moved: &Moved,
    (sequence, flags): (u32, u32),
) {
    let spent = if slot.data_budget == 0 { DATA_SPENT } else { 0 };
    let written = if moved.writes { DATA_WRITTEN } else { 0 };
    let answered = if slot.flags & ANSWERED == 0 {
        0
    } else {
        DATA_ANSWERED
    };
    // SAFETY: by the contract.
    unsafe {
        let header = &raw mut (*head).header;
        emit::fill_header(header, RecordKind::Data, slot, sequence, moved.now);
        (*head).peer = moved.peer;
        (*head).connection = slot.connection;
        (*head).request = slot.request;
        (*head).flags = flags | spent | written | answered;
        (*head).len = moved.len as u32;
    }
}

/// The server at the other end.
///
/// # Safety
/// `server` must be writable.
#[inline(always)]
pub unsafe fn fill_server(server: *mut ServerAddress, exchange: &Exchange) {
    let (family, sock) = (exchange.family as u16, exchange.sock);
    // SAFETY: by the contract.
    unsafe {
        (*server).family = family;
        (*server).port_be = 0;
        (*server).reserved = 0;
        let address = (&raw mut (*server).address).cast::<u64>();
        zero_words::<2>(address);
        match family {
            AF_INET => {
                (*server).port_be = probe::<u16>(sock, OFF_SK_DPORT.load());
                let word = probe::<u32>(sock, OFF_SK_DADDR.load());
                core::ptr::write_unaligned(address, u64::from(word));
            }
            AF_INET6 => {
                (*server).port_be = probe::<u16>(sock, OFF_SK_DPORT.load());
                let high = probe::<u64>(sock, OFF_SK_V6_DADDR.load());
                let low = probe::<u64>(sock, OFF_SK_V6_DADDR.load() + 8);
                core::ptr::write_unaligned(address, high);
                core::ptr::write_unaligned(address.add(1), low);
            }
            _ => {}
        }
        if (*server).port_be == 0 && exchange.to != 0 {
            names::fill_named(server, exchange.to);
        }
        if family == AF_UNIX {
            zero_words::<{ WAIT_NAME / 8 }>((&raw mut (*server).name).cast());
            let other = probe::<u64>(sock, OFF_UNIX_PEER.load());
            let bound = probe::<u64>(other, OFF_UNIX_ADDR.load());
            if bound != 0 {
                // `sun_path` lies two bytes into the name.
                let path = bound + OFF_UNIX_ADDRESS_NAME.load() + 2;
                copy_name(&raw mut (*server).name, path);
            }
        }
    }
}
