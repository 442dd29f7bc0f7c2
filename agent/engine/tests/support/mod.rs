//! A stand-in for the kernel side: turns reads, writes, closes and exits into the records that it
//! would send, with its own rules for where a request begins and ends.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code outside of a #[test] function"
)]
#![allow(dead_code, reason = "not every test uses all of it")]

use std::collections::BTreeMap;

use whyslow_abi::{
    Plain,
    account::Account,
    connection::{
        CLIENT_CLOSED, CLIENT_RESET, ConnectionPhase, ConnectionState, INTERIM_RESPONSE,
        RESPONSE_HEAD, SHUT_DOWN,
    },
    plain_bytes,
    queue::QueueTimes,
    read_plain,
    record::{
        BEGIN_LOOP, BEGIN_PAYLOAD, BEGIN_PIPELINED, BeginRecord, DATA_FRONT, DATA_PIECES,
        DATA_SPENT, DATA_TAIL, DATA_WRITTEN, DataRecord, EndReason, EndRecord, LifecycleKind,
        LifecycleRecord, PIECE_PAYLOAD, PieceRecord, REQUEST_CAPTURE, RecordHeader, RecordKind,
        SignalRecord,
    },
    totals::Totals,
    wait::{Wait, WaitTargetKind},
};

/// An all-zero value.
pub(crate) fn zeroed<T: Plain>() -> T {
    read_plain(&vec![0; size_of::<T>()]).unwrap()
}

#[derive(Clone, Debug)]
pub(crate) struct SimThread {
    pub(crate) tgid: u32,
    pub(crate) totals: Totals,
    pub(crate) last_ns: u64,
    pub(crate) sequence: u32,
    pub(crate) connection: u64,
    pub(crate) waits: [Wait; 4],
}

/// What a thread exchanged with a server in one system call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange<'a> {
    /// Inode number of the socket.
    pub(crate) server: u64,
    /// The thread wrote; else it read.
    pub(crate) written: bool,
    /// First bytes, bytes between that nobody looks at, last bytes.
    pub(crate) front: &'a [u8],
    pub(crate) more: usize,
    pub(crate) tail: &'a [u8],
    /// The request's last record of data.
    pub(crate) spent: bool,
}

/// The kernel side's tables.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) threads: BTreeMap<u32, SimThread>,
    pub(crate) connections: BTreeMap<u64, ConnectionState>,
    /// What went before the next read.
    pub(crate) queue: QueueTimes,
    /// Who reads next is an event loop.
    pub(crate) by_loop: bool,
    /// Records sent since they were taken last.
    pub(crate) sent: Vec<Vec<u8>>,
}

fn looks_like_request(bytes: &[u8]) -> bool {
    let bytes = match bytes {
        [b'\r', b'\n', rest @ ..] if !rest.is_empty() => rest,
        bytes => bytes,
    };
    let capital = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    let letters = bytes
        .iter()
        .take(16)
        .take_while(|byte| capital(byte))
        .count();
    match bytes.get(letters..) {
        Some([]) => letters < 16,
        Some([b' ']) => letters >= 3,
        Some([b' ', next, ..]) => letters >= 3 && b"/*hH".contains(next),
        _ => false,
    }
}

/// The account of this name.
pub(crate) fn account(name: &str) -> Account {
    *Account::ALL
        .iter()
        .find(|account| account.name() == name)
        .unwrap_or_else(|| panic!("no account {name}"))
}

impl Kernel {
    /// The thread lived on until `now_ns`: `spent` by account, the rest on a CPU.
    pub(crate) fn advance(
        &mut self,
        tid: u32,
        tgid: u32,
        now_ns: u64,
        spent: &BTreeMap<String, f64>,
    ) {
        let thread = self.threads.entry(tid).or_insert_with(|| SimThread {
            tgid,
            totals: Totals::ZERO,
            last_ns: now_ns,
            sequence: 0,
            connection: 0,
            waits: [zeroed(); 4],
        });
        let mut left = now_ns - thread.last_ns;
        for (name, ms) in spent {
            let ns = (ms * 1e6).round() as u64;
            let account = account(name);
            thread.totals.ns[account as usize] += ns;
            thread.totals.count[account as usize] += 1;
            left = left.checked_sub(ns).expect("spent more than passed");
        }
        thread.totals.ns[Account::Cpu as usize] += left;
        thread.last_ns = now_ns;
    }

    /// A wait on a file that the thread has just had.
    pub(crate) fn file_wait(&mut self, tid: u32, start_ns: u64, ns: u64, inode: u64, name: &str) {
        let thread = self.threads.get_mut(&tid).unwrap();
        let mut wait: Wait = zeroed();
        wait.start_ns = start_ns;
        wait.ns = ns;
        wait.account = Account::DiskRead as u8;
        wait.target = WaitTargetKind::File as u8;
        wait.fd = 9;
        wait.a = inode;
        wait.name[..name.len()].copy_from_slice(name.as_bytes());
        thread.waits[0] = wait;
    }

    pub(crate) fn header(&mut self, kind: RecordKind, tid: u32, now_ns: u64) -> RecordHeader {
        let thread = self.threads.get_mut(&tid).unwrap();
        // A program's records have no numbers.
        thread.sequence += u32::from(kind != RecordKind::Program);
        RecordHeader {
            time_ns: now_ns,
            kind: kind as u32,
            tid,
            tgid: thread.tgid,
            generation: 1,
            sequence: thread.sequence,
            reserved: 0,
        }
    }

    pub(crate) fn send<T: Plain>(&mut self, record: &T) {
        self.sent.push(plain_bytes(record).to_vec());
    }

    pub(crate) fn end(&mut self, reason: EndReason, tid: u32, now_ns: u64, id: u64) {
        let Some(state) = self.connections.get(&id).copied() else {
            return;
        };
        if state.phase == ConnectionPhase::Idle as u32 {
            return;
        }
        let header = self.header(RecordKind::End, tid, now_ns);
        let mut record: EndRecord = zeroed();
        record.header = header;
        record.reason = reason as u32;
        record.now = self.threads[&tid].totals;
        record.waits = self.threads[&tid].waits;
        record.state = state;
        self.send(&record);
    }

    /// When the connection of the next read was made and accepted, and its first byte came.
    pub(crate) fn arrives(&mut self, established_ns: u64, accepted_ns: u64, data_ns: u64) {
        self.queue.established_ns = established_ns;
        self.queue.accepted_ns = accepted_ns;
        self.queue.data_ns = data_ns;
    }

    /// `fd` of the process was read: `bytes`, of a read that returned `read` of them.
    pub(crate) fn read(
        &mut self,
        tid: u32,
        now_ns: u64,
        id: u64,
        fd: i32,
        bytes: &[u8],
        read: usize,
    ) {
        let phase = self.connections.get(&id).map_or(0, |c| c.phase);
        let waiting = phase != ConnectionPhase::Request as u32;
        if waiting && looks_like_request(bytes) {
            self.begin(tid, now_ns, id, fd, bytes, read);
        } else if let Some(state) = self.connections.get_mut(&id) {
            let offset = state.bytes_in;
            state.bytes_in += read as u64;
            state.last_read_ns = now_ns;
            if phase == ConnectionPhase::Response as u32 {
                state.captured_in = 0;
            }
            let room = REQUEST_CAPTURE.saturating_sub(state.captured_in as usize);
            let captured = bytes.len().min(PIECE_PAYLOAD).min(room);
            if captured == 0 {
                return;
            }
            state.captured_in += captured as u32;
            let request = state.request;
            let mut record: PieceRecord = zeroed();
            record.header = self.header(RecordKind::Piece, tid, now_ns);
            record.connection = id;
            record.request = request;
            record.read_len = read as u32;
            record.offset = offset as u32;
            record.payload_len = captured as u32;
            record.payload[..captured].copy_from_slice(&bytes[..captured]);
            self.send(&record);
        }
    }

    fn begin(&mut self, tid: u32, now_ns: u64, id: u64, fd: i32, bytes: &[u8], read: usize) {
        let other = self.threads[&tid].connection;
        let moved = self
            .connections
            .get(&other)
            .is_some_and(|c| c.reader_tid == tid);
        if other != id && moved {
            self.end(EndReason::ThreadMoved, tid, now_ns, other);
        }
        self.end(EndReason::NextRequest, tid, now_ns, id);
        let captured = bytes.len().min(BEGIN_PAYLOAD);
        self.reset(tid, now_ns, id, fd);
        let state = self.connections.get_mut(&id).unwrap();
        state.bytes_in = read as u64;
        state.captured_in = captured as u32;
        let mut record = self.begin_record(tid, now_ns, id);
        record.read_len = read as u32;
        record.payload_len = captured as u32;
        record.payload[..captured].copy_from_slice(&bytes[..captured]);
        self.send(&record);
    }

    fn reset(&mut self, tid: u32, now_ns: u64, id: u64, fd: i32) {
        let thread = self.threads.get_mut(&tid).unwrap();
        thread.connection = id;
        thread.waits = [zeroed(); 4];
        let mut state: ConnectionState = zeroed();
        state.request = self.connections.get(&id).map_or(1, |c| c.request + 1);
        state.id = id;
        state.phase = ConnectionPhase::Request as u32;
        state.fd = fd;
        state.tgid = thread.tgid;
        state.reader_tid = tid;
        state.reader_generation = 1;
        state.begin_ns = now_ns;
        state.last_read_ns = now_ns;
        state.totals = thread.totals;
        self.connections.insert(id, state);
    }

    fn begin_record(&mut self, tid: u32, now_ns: u64, id: u64) -> BeginRecord {
        let state = self.connections[&id];
        let mut record: BeginRecord = zeroed();
        record.header = self.header(RecordKind::Begin, tid, now_ns);
        record.connection = id;
        record.request = state.request;
        record.fd = state.fd;
        record.family = 2;
        record.peer_port_be = 40_000_u16.to_be();
        record.peer_address[..4].copy_from_slice(&[127, 0, 0, 1]);
        record.totals = self.threads[&tid].totals;
        record.queue = self.queue;
        record.flags = u32::from(self.by_loop) * BEGIN_LOOP;
        record
    }

    /// The thread wrote to a server or read from one, for the request that it read last.
    pub(crate) fn exchange(&mut self, tid: u32, now_ns: u64, exchange: &Exchange<'_>) {
        let bytes = [exchange.front, &vec![0; exchange.more], exchange.tail].concat();
        let pieces = if exchange.written { DATA_PIECES } else { 1 };
        let mut at = 0;
        for piece in 1..=pieces {
            let left = bytes.len() - at;
            let captured = exchange.front.len().saturating_sub(at).min(DATA_FRONT);
            let last = piece == pieces || left <= DATA_FRONT || captured < DATA_FRONT;
            let stands_for = if last { left } else { DATA_FRONT };
            let id = self.threads[&tid].connection;
            let mut record: DataRecord = zeroed();
            record.head.header = self.header(RecordKind::Data, tid, now_ns);
            record.head.peer = exchange.server;
            record.head.connection = id;
            record.head.request = self.connections.get(&id).map_or(0, |c| c.request);
            record.head.flags = u32::from(exchange.written) * DATA_WRITTEN;
            record.head.flags |= u32::from(exchange.spent && last) * DATA_SPENT;
            record.server.family = 2;
            record.server.port_be = (exchange.server as u16).to_be();
            record.server.address[..4].copy_from_slice(&[127, 0, 0, 1]);
            record.head.len = stands_for as u32;
            record.head.front_len = captured as u32;
            record.front[..captured].copy_from_slice(&bytes[at..at + captured]);
            if stands_for > captured && stands_for >= DATA_TAIL {
                record.tail_len = DATA_TAIL as u32;
                record
                    .tail
                    .copy_from_slice(&bytes[bytes.len() - DATA_TAIL..]);
            }
            self.send(&record);
            if last {
                return;
            }
            at += DATA_FRONT;
        }
    }

    /// Response bytes were written: `bytes` are the first of `written`.
    pub(crate) fn write(&mut self, tid: u32, now_ns: u64, id: u64, bytes: &[u8], written: usize) {
        let state = self.connections.get_mut(&id).expect("no such connection");
        if bytes.starts_with(b"HTTP/1.1 1") {
            state.flags |= INTERIM_RESPONSE;
            return;
        }
        if state.phase == ConnectionPhase::Response as u32 && bytes.starts_with(b"HTTP/1.") {
            let fd = state.fd;
            self.end(EndReason::NextResponse, tid, now_ns, id);
            self.reset(tid, now_ns, id, fd);
            let mut record = self.begin_record(tid, now_ns, id);
            record.flags = BEGIN_PIPELINED;
            self.send(&record);
        }
        let thread = self.threads[&tid].clone();
        let state = self.connections.get_mut(&id).unwrap();
        state.phase = ConnectionPhase::Response as u32;
        state.writer_tid = tid;
        state.writer_generation = 1;
        state.writes += 1;
        if state.first_write_ns == 0 {
            state.first_write_ns = now_ns;
        }
        state.last_write_ns = now_ns;
        state.bytes_out += written as u64;
        let from = state.captured_out as usize;
        let room = (RESPONSE_HEAD - from).min(bytes.len());
        state.response[from..from + room].copy_from_slice(&bytes[..room]);
        state.captured_out += room as u32;
        state.tail = [0; 8];
        let tail = &bytes[bytes.len().saturating_sub(8)..];
        state.tail[8 - tail.len()..].copy_from_slice(tail);
        state.totals = thread.totals;
        state.waits = thread.waits;
    }

    /// Bytes were exchanged with the server `peer`, for the request on connection `id`.
    pub(crate) fn exchanged(
        &mut self,
        (tid, now_ns): (u32, u64),
        id: u64,
        peer: u64,
        bytes: &[u8],
        written: bool,
    ) {
        let request = self.connections[&id].request;
        let mut record: DataRecord = zeroed();
        record.head.header = self.header(RecordKind::Data, tid, now_ns);
        record.head.peer = peer;
        record.head.connection = id;
        record.head.request = request;
        record.head.flags = if written { DATA_WRITTEN } else { 0 };
        record.head.len = bytes.len() as u32;
        record.head.front_len = bytes.len() as u32;
        record.server.family = 2;
        record.server.port_be = 6379_u16.to_be();
        record.server.address = [0; 16];
        record.server.address[..4].copy_from_slice(&[10, 0, 0, peer as u8]);
        record.front[..bytes.len()].copy_from_slice(bytes);
        self.send(&record);
    }

    /// The client closed its side, or (`reset`) the connection broke.
    pub(crate) fn client_gone(&mut self, id: u64, reset: bool) {
        let state = self.connections.get_mut(&id).unwrap();
        state.flags |= if reset { CLIENT_RESET } else { CLIENT_CLOSED };
    }

    pub(crate) fn close(&mut self, tid: u32, now_ns: u64, id: u64) {
        let told = self
            .connections
            .get(&id)
            .is_some_and(|c| c.flags & SHUT_DOWN != 0);
        if !told {
            self.end(EndReason::Closed, tid, now_ns, id);
        }
        self.connections.remove(&id);
    }

    /// The thread ends: what it was serving ends with it.
    pub(crate) fn thread_ends(&mut self, tid: u32, now_ns: u64, with_process: bool) {
        let id = self.threads[&tid].connection;
        let shut = |c: &ConnectionState| c.flags & SHUT_DOWN != 0;
        let reason = if with_process {
            EndReason::ProcessEnded
        } else {
            EndReason::ThreadEnded
        };
        if self.connections.get(&id).is_some_and(|c| !shut(c)) {
            self.end(reason, tid, now_ns, id);
        }
    }

    pub(crate) fn shutdown(&mut self, tid: u32, now_ns: u64, id: u64) {
        self.end(EndReason::Shutdown, tid, now_ns, id);
        if let Some(state) = self.connections.get_mut(&id) {
            state.flags |= SHUT_DOWN;
        }
    }

    pub(crate) fn lifecycle(
        &mut self,
        event: LifecycleKind,
        tid: u32,
        now_ns: u64,
    ) -> LifecycleRecord {
        let mut record: LifecycleRecord = zeroed();
        record.header = self.header(RecordKind::Lifecycle, tid, now_ns);
        record.event = event as u32;
        record.parent = 1;
        record.process_start_ns = 77;
        record.comm[..8].copy_from_slice(b"gunicorn");
        record.totals = self.threads[&tid].totals;
        record
    }

    pub(crate) fn send_record<T: Plain>(&mut self, record: &T) {
        self.send(record);
    }

    pub(crate) fn send_lifecycle(&mut self, record: &LifecycleRecord) {
        self.send(record);
    }

    pub(crate) fn signal(&mut self, sender: u32, target: u32, signal: i32, now_ns: u64) {
        let mut record: SignalRecord = zeroed();
        record.header = RecordHeader {
            time_ns: now_ns,
            kind: RecordKind::Signal as u32,
            tid: sender,
            tgid: sender,
            generation: 0,
            sequence: 0,
            reserved: 0,
        };
        record.signal = signal;
        record.target_tid = target;
        record.target_tgid = target;
        record.comm[..8].copy_from_slice(b"oom-kill");
        self.send(&record);
    }

    /// Takes what was sent.
    pub(crate) fn take(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sent)
    }
}
