//! A request begins: by a read, or (pipelining) by the second response in a row.
//!
//! The kernel side goes by the first bytes. Here it is known where a body ends, so bytes of a body
//! that look like a request are told apart: the open request goes on under the new number.

use whyslow_abi::{record::RecordHeader, totals::Totals};

use super::Engine;
use crate::{
    attribution::{queue::Queue, waits},
    decode::Begin,
    losses::reason,
    output::{Output, Query},
    protocol::{self, Recognised},
    timeline::{
        ThreadKey,
        connections::{Surplus, UnreadBody},
        request::OpenRequest,
    },
};

/// Where a request's time starts.
struct Start {
    ns: u64,
    totals: Option<Totals>,
    queue: Queue,
}

impl Engine {
    pub(super) fn begin(&mut self, begin: &Begin, out: &mut Vec<Output>) {
        let raw = &begin.raw;
        let header = &raw.header;
        let id = raw.connection;
        let known = self.threads.of(ThreadKey::from(header)).is_some();
        if !self.ensure_thread(header, out) {
            return;
        }
        if !known {
            self.note_sequence(header);
        }
        self.rename(header, &raw.comm);
        if !begin.pipelined
            && let Some(old) = self.connections.bind(header.tgid, raw.fd, id)
        {
            self.mark_stale(old, out);
        }
        if !self.place(begin, out) {
            return;
        }
        self.make_room(header.time_ns, out);
        self.start(begin, out);
        if begin.by_loop {
            self.begun_by_loop(begin, out);
        }
    }

    /// Finds or makes the connection; returns whether a request begins on it.
    fn place(&mut self, begin: &Begin, out: &mut Vec<Output>) -> bool {
        let raw = &begin.raw;
        let id = raw.connection;
        let (tgid, time_ns) = (raw.header.tgid, raw.header.time_ns);
        let Some(connection) = self.connections.get_mut(id) else {
            self.add_connection(id, tgid, raw.fd);
            return true;
        };
        if raw.request <= connection.number {
            // The socket's number came round: another connection.
            self.give_up(id, time_ns, out);
            self.connections.remove(id);
            self.add_connection(id, tgid, raw.fd);
            return true;
        }
        connection.tgid = tgid;
        connection.fd = raw.fd;
        if let Some(request) = connection.open.as_deref_mut() {
            if request.merge_next {
                request.merge_next = false;
                request.number = raw.request;
                connection.number = raw.request;
                let (base, read) = (request.offset_base, u64::from(raw.read_len));
                if let Some(body) = &mut request.body {
                    body.feed(base, begin.payload());
                    body.skipped_to(base.saturating_add(read));
                }
                return false;
            }
            // Its end was lost.
            request.mark(reason::SEQUENCE_GAP);
            self.give_up(id, time_ns, out);
        }
        self.of_unread_body(begin) || self.has_bytes(begin)
    }

    /// Bytes of the body of a request that was answered before they came: no request. Returns
    /// whether the bytes are those of a new one.
    fn of_unread_body(&mut self, begin: &Begin) -> bool {
        let raw = &begin.raw;
        let Some(connection) = self.connections.get_mut(raw.connection) else {
            return false;
        };
        let Some(unread) = connection.unread.as_deref_mut() else {
            return !begin.pipelined;
        };
        if begin.pipelined || unread.body.complete(unread.read) != Some(false) {
            connection.unread = None;
            return !begin.pipelined;
        }
        unread.base = unread.read;
        unread.body.feed(unread.base, begin.payload());
        connection.number = raw.request;
        connection.finished = raw.request;
        false
    }

    /// Whether a pipelined request has bytes that were read before.
    fn has_bytes(&mut self, begin: &Begin) -> bool {
        let raw = &begin.raw;
        let Some(connection) = self.connections.get_mut(raw.connection) else {
            return false;
        };
        if begin.pipelined && !connection.surplus.is_empty() {
            return true;
        }
        connection.number = raw.request;
        connection.finished = raw.request;
        false
    }

    /// Makes the request and reads what is there of its head.
    fn start(&mut self, begin: &Begin, out: &mut Vec<Output>) {
        let raw = &begin.raw;
        let id = raw.connection;
        let key = ThreadKey::from(&raw.header);
        let Some((carried, start)) = self.carry(begin, key) else {
            return;
        };
        self.count_accepted(begin, &start.queue, out);
        let request_id = self.next_id();
        let mut request = Box::new(OpenRequest::new(
            request_id,
            raw.request,
            key,
            raw.header.tgid,
            start.ns,
        ));
        request.begin_totals = start.totals;
        if let Some(connection) = self.connections.get_mut(id) {
            if connection.client.is_empty() {
                connection.client = waits::peer(raw.family, raw.peer_address, raw.peer_port_be);
            }
            request.client.clone_from(&connection.client);
        }
        request.queue = start.queue;
        request.ring_full_epoch = self.ring_full_epoch;
        if self
            .processes
            .get(raw.header.tgid)
            .is_some_and(|p| p.io_uring)
        {
            request.mark(reason::IO_URING);
        }
        self.connections.put(id, request);
        let now_ns = raw.header.time_ns;
        let mut offset = 0;
        if let Some(surplus) = carried {
            offset = self.feed_surplus(id, &surplus, out);
            if let Some(request) = self.connections.request_mut(id) {
                request.offset_base = offset;
                request.carried = offset;
            }
        }
        if !begin.pipelined {
            self.feed(
                id,
                offset,
                begin.payload(),
                u64::from(raw.read_len),
                now_ns,
                out,
            );
        }
        if let Some(thread) = self.threads.of(key) {
            thread.cpu.note(now_ns, raw.totals.ns[0]);
        }
        self.register(id, key, now_ns);
    }

    /// Tells the listener's figures of a connection whose first request this is.
    fn count_accepted(&mut self, begin: &Begin, queue: &Queue, out: &mut Vec<Output>) {
        let raw = &begin.raw;
        let (pid, port, now_ns) = (raw.header.tgid, raw.local_port, raw.header.time_ns);
        if raw.request != 1 || port == 0 || begin.pipelined {
            return;
        }
        if self.listeners.accepted(pid, port, queue, now_ns) {
            out.push(Output::Query(Query::Listeners { pid }));
        }
    }

    /// Feeds a request what was read before it began; returns how many bytes that is. One byte
    /// more than captured stands for all that was not.
    fn feed_surplus(&mut self, id: u64, surplus: &Surplus, out: &mut Vec<Output>) -> u64 {
        let bytes = surplus.bytes.trim_ascii_start();
        let read = bytes.len() as u64 + u64::from(surplus.cut);
        self.feed(id, 0, bytes, read, surplus.read_ns, out);
        read
    }

    /// Begins a request with what was read beyond the one before, under the number that the
    /// kernel side still uses: it took the request for more of a body.
    pub(super) fn begin_within(
        &mut self,
        id: u64,
        number: u32,
        header: &RecordHeader,
        out: &mut Vec<Output>,
    ) {
        let key = ThreadKey::from(header);
        if !self.ensure_thread(header, out) {
            return;
        }
        let request_id = self.next_id();
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let surplus = std::mem::take(&mut connection.surplus);
        connection.unread = None;
        connection.finished = number.saturating_sub(1);
        let mut request = OpenRequest::new(request_id, number, key, header.tgid, header.time_ns);
        request.ring_full_epoch = self.ring_full_epoch;
        request.queue = Queue::read_before();
        self.connections.put(id, Box::new(request));
        self.feed_surplus(id, &surplus, out);
        self.register(id, key, header.time_ns);
    }

    /// Bytes of an earlier read that this request begins with, and where its time starts.
    fn carry(&mut self, begin: &Begin, key: ThreadKey) -> Option<(Option<Surplus>, Start)> {
        let raw = &begin.raw;
        let connection = self.connections.get_mut(raw.connection)?;
        let last = connection.last_write.take();
        let bytes = connection.surplus.bytes.trim_ascii_start();
        let wanted = begin.pipelined
            || (!bytes.is_empty() && protocol::recognise(bytes).0 != Recognised::No);
        let surplus = std::mem::take(&mut connection.surplus);
        if !wanted || surplus.is_empty() {
            let start = Start {
                ns: raw.header.time_ns,
                totals: Some(raw.totals),
                queue: Queue::of(raw),
            };
            return Some((None, start));
        }
        let ns = last.as_ref().map_or(raw.header.time_ns, |l| l.ns);
        let start = Start {
            ns,
            totals: last.filter(|l| l.writer == key).map(|l| l.totals),
            queue: Queue {
                socket_queue_ns: ns.saturating_sub(surplus.read_ns),
                ..Queue::read_before()
            },
        };
        Some((Some(surplus), start))
    }

    /// Ties the request to its thread, unless its bytes turned out to be none.
    fn register(&mut self, id: u64, key: ThreadKey, now_ns: u64) {
        let Some(request) = self.connections.request(id) else {
            return;
        };
        let entry = (id, request.serial);
        let Some(thread) = self.threads.of(key) else {
            return;
        };
        let exit = (thread.ended_ns, thread.exit_totals.as_deref().copied());
        let others = std::mem::take(&mut thread.open);
        let mut shared = false;
        for other in &others {
            if let Some(other) = self.connections.request_mut(*other)
                && other.moved_at_writes.is_none()
            {
                other.shared = true;
                shared = true;
            }
        }
        if let Some(thread) = self.threads.of(key) {
            thread.open = others;
            thread.open.push(id);
        }
        if let Some(request) = self.connections.request_mut(id) {
            request.shared |= shared;
        }
        let limit = self.settings.max_in_flight.saturating_mul(2).max(1024);
        let connections = &self.connections;
        self.polls
            .begun(now_ns, entry, limit, |entry| connections.is_open(*entry));
        if exit.0 != 0 {
            // The records of its end came first, by another ring.
            self.ending_of(id, exit.0, exit.1);
        }
    }

    /// Keeps the body of a finished request whose rest is still to be read.
    pub(super) fn keep_unread(&mut self, id: u64, request: &OpenRequest, read: u64) {
        let Some(body) = &request.body else {
            return;
        };
        if body.complete(read) == Some(false)
            && let Some(connection) = self.connections.get_mut(id)
        {
            connection.unread = Some(Box::new(UnreadBody {
                body: body.clone(),
                base: request.offset_base,
                read,
            }));
        }
    }
}
