//! HTTP connections: where a request begins and ends, as far as the kernel side must know.
//!
//! Only the framing that cannot wait is done here: a read on an accepted connection that begins
//! like a request, while none is open on it, begins one; writes carry its end along. Whether the
//! response is complete, and whether bytes were HTTP at all, is judged by the engine.

mod records;

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use records::{ship_begin, ship_end, ship_pieces};
use whyslow_abi::{
    connection::{
        CLIENT_CLOSED, CLIENT_RESET, ConnectionPhase, ConnectionState, INTERIM_RESPONSE,
        RESPONSE_HEAD, SHUT_DOWN, SocketPlace, UPGRADED,
    },
    descriptor::DescriptorKind,
    loss::LossReason,
    record::{BEGIN_PAYLOAD, BEGIN_PIPELINED, DATA_BUDGET, EndReason, TRIES_BUDGET},
    thread::{ANSWERED, PROGRAM, ThreadSlot},
};

use crate::{
    descriptor::{self, Descriptor},
    handover,
    kernel::{self, *},
    ledger,
    maps::{CONNECTIONS, DESCRIPTORS, STRANGERS, ZERO_CONNECTION, count_loss},
    payload::{self, Span, begins_response, copy_user, first_word, last_bytes, may_begin_request},
    program,
    queue::note_read,
    service,
};

const ECONNRESET: i64 = -104;
const ETIMEDOUT: i64 = -110;
const EPIPE: i64 = -32;

/// One transfer with a client, by the current thread.
pub struct Transfer<'a> {
    /// The current thread.
    pub task: *const Task,
    /// The accepted socket.
    pub descriptor: &'a Descriptor,
    /// Its descriptor.
    pub fd: i32,
    /// Result of the call.
    pub result: i64,
    /// The user's buffer.
    pub span: Span,
}

#[inline(always)]
fn find(id: u64) -> Option<&'static mut ConnectionState> {
    // SAFETY: a hash value; the owner of the connection writes it, one call at a time.
    unsafe { CONNECTIONS.get_ptr_mut(id)?.as_mut() }
}

#[inline(always)]
fn key(tgid: u32, fd: i32) -> u64 {
    (u64::from(tgid) << 32) | u64::from(fd as u32)
}

/// A read from a client returned.
#[inline(always)]
pub fn on_read(slot: &mut ThreadSlot, transfer: &Transfer<'_>, now: u64) {
    let id = probe::<u64>(transfer.descriptor.inode, OFF_INODE_INO.load());
    let connection = find(id);
    if connection
        .as_ref()
        .is_some_and(|connection| connection.flags & UPGRADED != 0)
    {
        return;
    }
    if transfer.result <= 0 {
        if let Some(connection) = connection {
            note_failure(connection, transfer.result, CLIENT_CLOSED);
        }
        return;
    }
    let phase = connection.as_ref().map(|connection| connection.phase);
    if phase != Some(ConnectionPhase::Request as u32) && may_begin_request(&transfer.span) {
        if slot.flags & PROGRAM != 0 && program::begins_to_serve(slot, now) == 0 {
            return;
        }
        begin(slot, transfer, id, connection, now);
        return;
    }
    match connection {
        Some(connection) => {
            if connection.phase == ConnectionPhase::Response as u32 {
                // The rest of a body that was answered early, or of a pipelined head: where it ends, the
                // next request begins, so every read of it is told.
                connection.captured_in = 0;
            }
            more(slot, transfer, connection, now);
        }
        None if service::is_followed(slot) => {
            service::service_begins(slot, id, now);
        }
        None if slot.flags & PROGRAM != 0 => {}
        None => strange(id),
    }
}

#[inline(always)]
fn note_failure(connection: &mut ConnectionState, result: i64, at_zero: u32) {
    if result == 0 {
        connection.flags |= at_zero;
    } else if result == ECONNRESET || result == EPIPE || result == ETIMEDOUT {
        connection.flags |= CLIENT_RESET;
    }
}

/// More of a request: the rest of the head, or its body.
#[inline(always)]
fn more(
    slot: &mut ThreadSlot,
    transfer: &Transfer<'_>,
    connection: &mut ConnectionState,
    now: u64,
) {
    let len = transfer.result as u64;
    let offset = connection.bytes_in;
    connection.bytes_in += len;
    connection.last_read_ns = now;
    note_read(connection, transfer.descriptor.sock, 0);
    ship_pieces(slot, connection, &transfer.span, len, offset, 0, now);
}

/// A request begins with this read.
#[inline(always)]
fn begin(
    slot: &mut ThreadSlot,
    transfer: &Transfer<'_>,
    id: u64,
    known: Option<&'static mut ConnectionState>,
    now: u64,
) {
    ledger::tick(slot, now);
    ledger::refresh_counters(slot, transfer.task);
    if slot.connection != id && slot.connection != 0 {
        if let Some(other) = find(slot.connection)
            && other.request == slot.request
        {
            ship_end(slot, other, EndReason::ThreadMoved, now);
        }
    }
    let connection = match known {
        Some(connection) => {
            if connection.phase != ConnectionPhase::Idle as u32 {
                ship_end(slot, connection, EndReason::NextRequest, now);
            }
            connection
        }
        None => {
            let Some(connection) = register(slot, transfer, id) else {
                return;
            };
            connection
        }
    };
    slot.connection = id;
    start_request(slot, connection, now);
    let len = transfer.result as u64;
    connection.bytes_in = len;
    note_read(connection, transfer.descriptor.sock, 1);
    ship_begin(slot, connection, transfer, 0, now);
    if transfer.span.first_len > BEGIN_PAYLOAD as u64 {
        ship_pieces(
            slot,
            connection,
            &transfer.span,
            len,
            0,
            BEGIN_PAYLOAD as u64,
            now,
        );
    }
}

/// Makes the entry of a connection that is not known yet.
#[inline(always)]
fn register(
    slot: &ThreadSlot,
    transfer: &Transfer<'_>,
    id: u64,
) -> Option<&'static mut ConnectionState> {
    let zero = ZERO_CONNECTION.get(0)?;
    if CONNECTIONS
        .insert(id, zero, u64::from(BPF_NOEXIST))
        .is_err()
    {
        count_loss(LossReason::ConnectionsFull);
        return None;
    }
    let connection = find(id)?;
    connection.id = id;
    if !bind(slot, transfer, connection) {
        let _ = CONNECTIONS.remove(id);
        return None;
    }
    Some(connection)
}

/// Notes which descriptor the connection is used by; whether there was room.
#[inline(always)]
fn bind(slot: &ThreadSlot, transfer: &Transfer<'_>, connection: &mut ConnectionState) -> bool {
    let place = SocketPlace {
        id: connection.id,
        file: transfer.descriptor.file,
    };
    let key = key(slot.tgid, transfer.fd);
    if DESCRIPTORS.insert(key, place, u64::from(BPF_ANY)).is_err() {
        count_loss(LossReason::ConnectionsFull);
        return false;
    }
    connection.fd = transfer.fd;
    connection.tgid = slot.tgid;
    true
}

/// Whether the socket is still open by another descriptor, here or in another process.
#[inline(always)]
fn is_open(place: &SocketPlace) -> bool {
    let references = probe::<u64>(place.file, OFF_FILE_REFERENCES.load()) as i64;
    let inode = probe::<u64>(place.file, OFF_FILE_INODE.load());
    references >= FILE_ONE_REFERENCE.load() as i64
        && probe::<u64>(inode, OFF_INODE_INO.load()) == place.id
}

/// Bytes on a new connection that are not HTTP: told once. A request may follow all the same (a
/// proxy's own preamble, say).
#[inline(always)]
fn strange(id: u64) {
    if STRANGERS.insert(id, 0, u64::from(BPF_NOEXIST)).is_ok() {
        count_loss(LossReason::NotHttp);
    }
}

/// Sets the connection up for its next request, read by the thread of `slot`. A function of its own for the verifier
/// too. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn start_request(
    slot: *mut ThreadSlot,
    connection: *mut ConnectionState,
    now: u64,
) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let (Some(slot), Some(connection)) = (unsafe { slot.as_mut() }, unsafe { connection.as_mut() })
    else {
        return 0;
    };
    let mut index = 0;
    while index < slot.waits.len() {
        slot.waits[index].ns = 0;
        index += 1;
    }
    slot.lock_wait.ns = 0;
    connection.request = connection.request.wrapping_add(1);
    slot.request = connection.request;
    slot.data_budget = DATA_BUDGET;
    slot.tries_left = TRIES_BUDGET;
    connection.phase = ConnectionPhase::Request as u32;
    connection.flags = 0;
    connection.tgid = slot.tgid;
    connection.reader_tid = slot.tid;
    connection.reader_generation = slot.generation;
    connection.writer_tid = 0;
    connection.writer_generation = 0;
    connection.writes = 0;
    connection.begin_ns = now;
    connection.last_read_ns = now;
    connection.first_write_ns = 0;
    connection.last_write_ns = 0;
    connection.failed_write_ns = 0;
    connection.bytes_in = 0;
    connection.bytes_out = 0;
    connection.captured_in = 0;
    connection.captured_out = 0;
    connection.tail = [0; 8];
    // SAFETY: both are whole map values.
    unsafe {
        kernel::copy(&raw mut connection.totals, &raw const slot.totals);
        kernel::copy(&raw mut connection.waits, &raw const slot.waits);
    }
    0
}

/// A write to a client returned.
#[inline(always)]
pub fn on_write(slot: &mut ThreadSlot, transfer: &Transfer<'_>, now: u64) {
    let id = probe::<u64>(transfer.descriptor.inode, OFF_INODE_INO.load());
    let Some(connection) = find(id) else {
        if service::is_followed(slot) && transfer.result > 0 {
            service::service_ends(slot, id, now);
        }
        return;
    };
    if connection.flags & UPGRADED != 0 {
        return;
    }
    if connection.fd != transfer.fd || connection.tgid != slot.tgid {
        // By a duplicate, or in another process: that one will be closed.
        bind(slot, transfer, connection);
    }
    ledger::tick(slot, now);
    ledger::refresh_counters(slot, transfer.task);
    if transfer.result <= 0 {
        note_failure(connection, transfer.result, 0);
        if connection.flags & CLIENT_RESET != 0 && connection.writes == 0 {
            connection.failed_write_ns = now;
            keep_books(slot, connection);
        }
        return;
    }
    let mut len = transfer.result as u64;
    let mut span = transfer.span;
    let mut first = first_word(&span);
    if connection.phase == ConnectionPhase::Request as u32
        && begins_response(first)
        && is_interim(&span)
    {
        connection.flags |= INTERIM_RESPONSE;
        // The final one may follow in the same write.
        let head = payload::head_end(span.start, span.first_len);
        if head == 0 || head >= span.first_len {
            return;
        }
        span.start += head;
        span.first_len -= head;
        len -= head;
        first = first_word(&span);
    }
    if connection.phase == ConnectionPhase::Response as u32 && begins_response(first) {
        ship_end(slot, connection, EndReason::NextResponse, now);
        let previous_end = connection.last_write_ns;
        start_request(slot, connection, previous_end);
        ship_begin(slot, connection, transfer, BEGIN_PIPELINED, now);
    }
    keep_write(connection, &span, len, now);
    if slot.connection == connection.id {
        slot.flags |= ANSWERED;
    }
    if connection.reader_tid != slot.tid {
        handover::answers(slot, connection.writes, now);
    }
    keep_books(slot, connection);
    if connection.reader_tid != slot.tid || connection.writes == 1 && slot.turn.epoll != 0 {
        handover::answered(slot, connection.id, connection.request, connection.writes);
    }
    if connection.phase == ConnectionPhase::Response as u32 && is_upgrade(&span, first) {
        // The last word of HTTP on this connection: what follows is another protocol's.
        ship_end(slot, connection, EndReason::Shutdown, now);
        connection.flags |= UPGRADED;
    }
}

/// Notes `len` bytes of a response.
#[inline(always)]
fn keep_write(connection: &mut ConnectionState, span: &Span, len: u64, now: u64) {
    if connection.phase == ConnectionPhase::Request as u32 {
        connection.phase = ConnectionPhase::Response as u32;
        connection.first_write_ns = now;
    }
    connection.flags &= !SHUT_DOWN;
    keep_response(connection, span);
    connection.tail = last_bytes(span, len, connection.tail);
    connection.bytes_out += len;
    connection.writes += 1;
    connection.last_write_ns = now;
}

/// `HTTP/1.x 101`.
#[inline(always)]
fn is_upgrade(span: &Span, first: u64) -> bool {
    begins_response(first) && status(span) == u32::from_ne_bytes(*b"101\0")
}

/// The writer's books as they stand now: should this be the last write, they are the request's.
#[inline(always)]
fn keep_books(slot: &ThreadSlot, connection: &mut ConnectionState) {
    connection.writer_tid = slot.tid;
    connection.writer_generation = slot.generation;
    // SAFETY: both are whole map values.
    unsafe {
        kernel::copy(&raw mut connection.totals, &raw const slot.totals);
        kernel::copy(&raw mut connection.waits, &raw const slot.waits);
    }
}

/// `HTTP/1.x 1xx`, except 101, which is the last word of HTTP on its connection.
#[inline(always)]
fn is_interim(span: &Span) -> bool {
    let status = status(span);
    status as u8 == b'1' && status != u32::from_ne_bytes(*b"101\0")
}

/// The three digits of a status line, as in memory; 0: not there.
#[inline(always)]
fn status(span: &Span) -> u32 {
    if span.first_len < 12 {
        return 0;
    }
    payload::read_user::<u32>(span.start + 9).unwrap_or(0) & 0x00ff_ffff
}

/// Keeps the first bytes of the response, which may come in several writes.
#[inline(always)]
fn keep_response(connection: &mut ConnectionState, span: &Span) {
    const HALF: usize = RESPONSE_HEAD / 2;
    let at = connection.captured_out as usize;
    if span.start == 0 {
        return;
    }
    if at == 0 {
        connection.captured_out =
            copy_user(&raw mut connection.response, span.start, span.first_len);
    } else if at < HALF {
        // SAFETY: `at` is below one half, and at most the other half is copied.
        let to = unsafe {
            (&raw mut connection.response)
                .cast::<u8>()
                .add(at & (HALF - 1))
        };
        connection.captured_out += copy_user::<HALF>(to.cast(), span.start, span.first_len);
    }
}

/// A descriptor of the process was closed.
#[inline(always)]
pub fn on_close(slot: &mut ThreadSlot, task: *const Task, fd: i32, now: u64) {
    let key = key(slot.tgid, fd);
    // SAFETY: the value is copied at once.
    let Some(place) = (unsafe { DESCRIPTORS.get(key) }).copied() else {
        return;
    };
    let _ = DESCRIPTORS.remove(key);
    if is_open(&place) {
        return;
    }
    let id = place.id;
    let Some(connection) = find(id) else {
        return;
    };
    if connection.flags & (SHUT_DOWN | UPGRADED) == 0
        && connection.phase != ConnectionPhase::Idle as u32
    {
        ledger::tick(slot, now);
        ledger::refresh_counters(slot, task);
        ship_end(slot, connection, EndReason::Closed, now);
    }
    if slot.connection == id {
        slot.connection = 0;
    }
    let _ = CONNECTIONS.remove(id);
}

/// A socket was shut down. Its descriptor may be a duplicate of the one that was read.
#[inline(always)]
pub fn on_shutdown(slot: &mut ThreadSlot, task: *const Task, fd: u64, now: u64) {
    let mut walked = Descriptor::NONE;
    descriptor::walk(fd, &mut walked);
    if walked.kind != DescriptorKind::Accepted {
        return;
    }
    let id = probe::<u64>(walked.inode, OFF_INODE_INO.load());
    let Some(connection) = find(id) else {
        return;
    };
    if connection.flags & (SHUT_DOWN | UPGRADED) == 0
        && connection.phase != ConnectionPhase::Idle as u32
    {
        ledger::tick(slot, now);
        ledger::refresh_counters(slot, task);
        ship_end(slot, connection, EndReason::Shutdown, now);
        connection.flags |= SHUT_DOWN;
    }
}

/// The thread ends, its books closed at `now`: what it was serving ends with it.
#[inline(always)]
pub fn on_exit(slot: &mut ThreadSlot, with_process: bool, now: u64) {
    if slot.connection == 0 {
        return;
    }
    if let Some(connection) = find(slot.connection) {
        let own = connection.request == slot.request;
        if own && connection.flags & (SHUT_DOWN | UPGRADED) == 0 {
            let reason = if with_process {
                EndReason::ProcessEnded
            } else {
                EndReason::ThreadEnded
            };
            ship_end(slot, connection, reason, now);
        }
    }
}
