//! Records about one connection: begins, pieces, ends.

use whyslow_abi::{
    connection::ConnectionState,
    record::{
        BEGIN_LOOP, BEGIN_PAYLOAD, BEGIN_PIPELINED, BeginRecord, DATA_BETWEEN, EndReason,
        EndRecord, PIECE_PAYLOAD, PieceRecord, REQUEST_CAPTURE, RecordKind,
    },
    thread::ThreadSlot,
};

use super::Transfer;
use crate::{
    descriptor::{AF_INET, AF_INET6, Descriptor},
    emit::{self, SUBMIT},
    kernel::{self, *},
    payload::{Span, copy_user},
};

/// Ships the begin of a request. What was read but does not fit follows by [`ship_pieces`].
#[inline(always)]
pub fn ship_begin(
    slot: &mut ThreadSlot,
    connection: &mut ConnectionState,
    transfer: &Transfer<'_>,
    flags: u32,
    now: u64,
) {
    let sequence = emit::next_sequence(slot);
    let Some(mut entry) = emit::reserve::<BeginRecord>() else {
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is room for one record.
    unsafe {
        emit::fill_header(
            &raw mut (*record).header,
            RecordKind::Begin,
            slot,
            sequence,
            now,
        );
        (*record).connection = connection.id;
        (*record).request = connection.request;
        (*record).fd = connection.fd;
        (*record).flags = flags | (u32::from(slot.turn.epoll != 0) * BEGIN_LOOP);
        (*record).reserved = [0; 3];
        fill_addresses(record, transfer.descriptor);
        kernel::copy(
            &raw mut (*record).comm,
            (transfer.task as u64 + OFF_TASK_COMM.load()) as *const [u8; 16],
        );
        kernel::copy(&raw mut (*record).totals, &raw const slot.totals);
        kernel::copy(&raw mut (*record).queue, &raw const connection.queue);
        (*record).read_len = 0;
        (*record).payload_len = 0;
        if flags & BEGIN_PIPELINED == 0 {
            // What does not fit follows in pieces.
            let whole = transfer.span.first_len <= BEGIN_PAYLOAD as u64;
            (*record).read_len = if whole {
                transfer.result as u32
            } else {
                BEGIN_PAYLOAD as u32
            };
            let copied = copy_user(
                &raw mut (*record).payload,
                transfer.span.start,
                transfer.span.first_len,
            );
            (*record).payload_len = copied;
            connection.captured_in = copied;
        }
    }
    entry.submit(SUBMIT);
}

/// Who the client is, and where it was served.
///
/// # Safety
/// `record` must point to room for one.
#[inline(always)]
unsafe fn fill_addresses(record: *mut BeginRecord, descriptor: &Descriptor) {
    let (sock, family) = (descriptor.sock, descriptor.family);
    // SAFETY: by the contract.
    unsafe {
        (*record).family = family;
        (*record).peer_address = [0; 16];
        (*record).peer_port_be = 0;
        (*record).local_port = 0;
        if family == AF_INET || family == AF_INET6 {
            (*record).peer_port_be = probe::<u16>(sock, OFF_SK_DPORT.load());
            (*record).local_port = probe::<u16>(sock, OFF_SK_NUM.load());
            let mut address = probe::<[u64; 2]>(sock, OFF_SK_V6_DADDR.load());
            if family == AF_INET {
                address = [u64::from(probe::<u32>(sock, OFF_SK_DADDR.load())), 0];
            }
            core::ptr::write_unaligned((&raw mut (*record).peer_address).cast(), address);
        }
    }
}

/// Ships what a read of `len` bytes brought, from `skip` on, as if it had come in as many reads as
/// records are needed. `offset`: where the read began within the request.
#[inline(always)]
pub fn ship_pieces(
    slot: &mut ThreadSlot,
    connection: &mut ConnectionState,
    span: &Span,
    len: u64,
    offset: u64,
    skip: u64,
    now: u64,
) {
    const PIECE: u64 = PIECE_PAYLOAD as u64;
    let mut at = skip;
    let mut count = 0;
    while count < REQUEST_CAPTURE / PIECE_PAYLOAD {
        if at >= len || connection.captured_in as usize >= REQUEST_CAPTURE {
            return;
        }
        let captured = if span.first_len > at {
            span.first_len - at
        } else {
            0
        };
        // The last one stands for all that is not copied, too.
        let room = REQUEST_CAPTURE as u64 - u64::from(connection.captured_in);
        let last = captured <= PIECE || room <= PIECE;
        let piece = Piece {
            offset: offset + at,
            read: if last { len - at } else { PIECE },
            address: span.start + at,
            len: captured,
        };
        ship_piece(slot, connection, &piece, now);
        if last {
            return;
        }
        at += PIECE;
        count += 1;
    }
}

/// What one piece record holds.
struct Piece {
    /// Within the request.
    offset: u64,
    /// Bytes that it stands for.
    read: u64,
    /// Of the first byte, in the reader's memory.
    address: u64,
    /// Bytes there.
    len: u64,
}

#[inline(always)]
fn ship_piece(slot: &mut ThreadSlot, connection: &mut ConnectionState, piece: &Piece, now: u64) {
    let sequence = emit::next_sequence(slot);
    let Some(mut entry) = emit::reserve::<PieceRecord>() else {
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is room for one record.
    unsafe {
        emit::fill_header(
            &raw mut (*record).header,
            RecordKind::Piece,
            slot,
            sequence,
            now,
        );
        (*record).connection = connection.id;
        (*record).request = connection.request;
        (*record).read_len = piece.read as u32;
        (*record).offset = piece.offset as u32;
        let copied = copy_user(&raw mut (*record).payload, piece.address, piece.len);
        (*record).payload_len = copied;
        connection.captured_in += copied;
    }
    entry.submit(SUBMIT);
}

/// Ships the state of a connection's request.
#[inline(always)]
pub fn ship_end(slot: &mut ThreadSlot, connection: &ConnectionState, reason: EndReason, now: u64) {
    if slot.connection == connection.id {
        slot.data_budget = DATA_BETWEEN;
        slot.tries_left = 0;
    }
    let sequence = emit::next_sequence(slot);
    let Some(mut entry) = emit::reserve::<EndRecord>() else {
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is room for one record; sources are whole map values.
    unsafe {
        emit::fill_header(
            &raw mut (*record).header,
            RecordKind::End,
            slot,
            sequence,
            now,
        );
        (*record).reason = reason as u32;
        (*record).reserved = 0;
        kernel::copy(&raw mut (*record).now, &raw const slot.totals);
        kernel::copy(&raw mut (*record).waits, &raw const slot.waits);
        kernel::copy(&raw mut (*record).state, core::ptr::from_ref(connection));
    }
    entry.submit(SUBMIT);
}
