//! A request that has begun and not ended.

use std::sync::Arc;

use whyslow_abi::{connection::ConnectionState, totals::Totals};

use super::ThreadKey;
use crate::{
    attribution::{operations::Operations, queue::Queue},
    output::{EndReason, RequestId, RequestStarted},
    protocol::{Protocol, SERVER_PROTOCOLS, body::BodyTracker},
};

/// How far the head was read.
#[derive(Clone, Debug)]
pub(crate) enum Head {
    /// More is to come. `recognised`: the first line is there and right.
    Open { buffer: Vec<u8>, recognised: bool },
    /// It was read, or no more of it can be had.
    Done,
}

/// What earlier parts of the request left, when the kernel side took its own bytes for the begin
/// of another one.
#[derive(Clone, Debug)]
pub(crate) struct Prior {
    /// First bytes of the response.
    pub(crate) response: Vec<u8>,
    /// State at the last write, if there was one.
    pub(crate) last: Option<Box<ConnectionState>>,
    pub(crate) first_write_ns: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) flags: u32,
}

/// The process or thread ended while the request was open.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) reason: EndReason,
    pub(crate) time_ns: u64,
    /// Ledger of the reader at its end; `None`: another thread's end was seen.
    pub(crate) totals: Option<Totals>,
    /// The outside answered what the kernel's table has.
    pub(crate) answered: bool,
    pub(crate) state: Option<Box<ConnectionState>>,
}

/// A statement of a library that was begun and has not ended.
#[derive(Clone, Debug)]
pub(crate) struct OpenExecution {
    pub(crate) statement: u64,
    pub(crate) begin_ns: u64,
    pub(crate) shape: Arc<str>,
    pub(crate) database: Arc<str>,
    /// What preparing it took.
    pub(crate) prepare_ns: u64,
    pub(crate) total_ns: u64,
    pub(crate) first_row_ns: u64,
    pub(crate) rows: u64,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct OpenRequest {
    pub(crate) id: RequestId,
    /// Unique per engine.
    pub(crate) serial: u64,
    /// Number on the connection by which the kernel side knows it now.
    pub(crate) number: u32,
    pub(crate) reader: ThreadKey,
    pub(crate) tgid: u32,
    pub(crate) begin_ns: u64,
    /// Ledger of the reader at the begin; `None`: it cannot be told.
    pub(crate) begin_totals: Option<Totals>,
    pub(crate) client: String,
    pub(crate) head: Head,
    pub(crate) protocol: &'static dyn Protocol,
    /// Built when the head was read.
    pub(crate) started: Option<Arc<RequestStarted>>,
    /// `RequestStarted` was told.
    pub(crate) told: bool,
    /// Index in the route table.
    pub(crate) route: Option<u32>,
    pub(crate) traceparent: String,
    pub(crate) x_request_id: String,
    pub(crate) head_read_ns: u64,
    /// What went before its first read.
    pub(crate) queue: Queue,
    /// The proxy's own time of the request, before the begin; `None`: none was sent, or it makes no sense.
    pub(crate) proxy_queue_ns: Option<u64>,
    /// Bytes of it that are known to have been read.
    pub(crate) read_bytes: u64,
    /// Its last read that is known of.
    pub(crate) last_read_ns: u64,
    /// When the last byte of the body was read; 0: not seen.
    pub(crate) body_read_at_ns: u64,
    /// Body, once the head was read in whole.
    pub(crate) body: Option<BodyTracker>,
    /// Bytes of it that came before the kernel side's present count.
    pub(crate) offset_base: u64,
    /// Bytes of it that were read with the request before (pipelining).
    pub(crate) carried: u64,
    /// The thread that answers it, where that is another than its reader and is known.
    pub(crate) worker: Option<ThreadKey>,
    /// It overlapped another request on its thread.
    pub(crate) shared: bool,
    /// The thread turned away when this many writes were done; the end is not known from the
    /// response itself.
    pub(crate) moved_at_writes: Option<u32>,
    /// The next begin on the connection is of this request's own bytes.
    pub(crate) merge_next: bool,
    pub(crate) prior: Option<Box<Prior>>,
    /// Last state that was looked up, once the response had begun.
    pub(crate) seen: Option<Box<ConnectionState>>,
    pub(crate) ending: Option<Box<Ending>>,
    /// Look-ups in a row that did not find it.
    pub(crate) missing: u8,
    pub(crate) loss: Vec<&'static str>,
    pub(crate) operations: Operations,
    /// Connections to servers that it used.
    pub(crate) servers: Vec<u64>,
    pub(crate) executions: Vec<OpenExecution>,
    /// From when on nothing of what it asks servers was shipped; 0: all was.
    pub(crate) spent_ns: u64,
    /// Count of "ring full" reports at the begin.
    pub(crate) ring_full_epoch: u64,
}

impl OpenRequest {
    /// A request of which nothing was read.
    pub(crate) fn new(
        (serial, id): (u64, RequestId),
        number: u32,
        reader: ThreadKey,
        tgid: u32,
        begin_ns: u64,
    ) -> Self {
        Self {
            id,
            serial,
            number,
            reader,
            tgid,
            begin_ns,
            begin_totals: None,
            client: String::new(),
            head: Head::Open {
                buffer: Vec::new(),
                recognised: false,
            },
            protocol: SERVER_PROTOCOLS[0],
            started: None,
            told: false,
            route: None,
            traceparent: String::new(),
            x_request_id: String::new(),
            head_read_ns: 0,
            queue: Queue::default(),
            proxy_queue_ns: None,
            read_bytes: 0,
            last_read_ns: begin_ns,
            body_read_at_ns: 0,
            body: None,
            offset_base: 0,
            carried: 0,
            worker: None,
            shared: false,
            moved_at_writes: None,
            merge_next: false,
            prior: None,
            seen: None,
            ending: None,
            missing: 0,
            loss: Vec::new(),
            operations: Operations::default(),
            servers: Vec::new(),
            executions: Vec::new(),
            spent_ns: 0,
            ring_full_epoch: 0,
        }
    }

    /// Marks what may make its figures incomplete.
    pub(crate) fn mark(&mut self, reason: &'static str) {
        if !self.loss.contains(&reason) {
            self.loss.push(reason);
        }
    }

    /// Bytes up to offset `to` were read by then.
    pub(crate) fn note_read(&mut self, to: u64, now_ns: u64) {
        if to > self.read_bytes {
            self.read_bytes = to;
            self.last_read_ns = self.last_read_ns.max(now_ns);
        }
    }

    /// More of it is to come from the client: of its head, or of its body. `false` also where that is not known.
    pub(crate) fn is_being_read(&self) -> bool {
        match (&self.head, &self.body) {
            (Head::Open { .. }, _) => true,
            (Head::Done, Some(body)) => body.complete(self.read_bytes) == Some(false),
            (Head::Done, None) => false,
        }
    }

    /// Method; empty: not known.
    pub(crate) fn method(&self) -> &str {
        self.started.as_ref().map_or("", |s| s.method.as_str())
    }

    /// Keeps what `state` holds, and goes on as the kernel side's next request.
    pub(crate) fn absorb(&mut self, state: &ConnectionState, response: &[u8]) {
        let prior = self.prior.get_or_insert_with(|| {
            Box::new(Prior {
                response: Vec::new(),
                last: None,
                first_write_ns: 0,
                bytes_in: 0,
                bytes_out: 0,
                flags: 0,
            })
        });
        if prior.response.is_empty() {
            prior.response.extend_from_slice(response);
        }
        if state.last_write_ns != 0 {
            prior.last = Some(Box::new(*state));
            if prior.first_write_ns == 0 {
                prior.first_write_ns = state.first_write_ns;
            }
        }
        prior.bytes_in = prior.bytes_in.saturating_add(state.bytes_in);
        prior.bytes_out = prior.bytes_out.saturating_add(state.bytes_out);
        prior.flags |= state.flags;
        self.offset_base = self.offset_base.saturating_add(state.bytes_in);
        self.merge_next = true;
    }
}
