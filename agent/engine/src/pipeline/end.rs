//! A request ended, or may have: the kernel side noticed something and sent the state.

use whyslow_abi::{connection::ConnectionPhase, record::EndReason as Noticed};

use super::Engine;
use crate::{
    attribution::{
        finish::Outcome,
        progress::{Completeness, Progress, response_bytes},
    },
    decode::End,
    losses::reason,
    output::{EndReason, Output},
    protocol::{self, Recognised, SERVER_PROTOCOLS},
    timeline::{
        ThreadKey,
        connections::{LastWrite, Surplus},
        request::OpenRequest,
    },
};

/// How an end was noticed, for people.
const fn noticed(reason: Noticed) -> EndReason {
    match reason {
        Noticed::NextRequest | Noticed::NextResponse => EndReason::NextRequest,
        Noticed::Closed => EndReason::Closed,
        Noticed::Shutdown => EndReason::Shutdown,
        Noticed::ThreadMoved => EndReason::Complete,
        Noticed::ThreadEnded => EndReason::ThreadEnded,
        Noticed::ProcessEnded => EndReason::ProcessEnded,
    }
}

/// Whether the thread that tells has left the connection to others, and may have seen it between two requests.
fn is_of_a_former_reader(reason: Noticed) -> bool {
    matches!(
        reason,
        Noticed::ThreadMoved | Noticed::ThreadEnded | Noticed::ProcessEnded
    )
}

/// Whether the front of a request lies in what was read beyond the one before.
pub(super) fn holds_request(surplus: &Surplus) -> bool {
    let bytes = surplus.bytes.trim_ascii_start();
    surplus.cut || (!bytes.is_empty() && protocol::recognise(bytes).0 != Recognised::No)
}

impl Engine {
    pub(super) fn end(&mut self, end: &End, out: &mut Vec<Output>) {
        let state = &end.raw.state;
        let id = state.id;
        if end.phase == ConnectionPhase::Idle {
            self.after_end(end, out);
            return;
        }
        let Some(connection) = self.connections.get(id) else {
            self.unbegun(end, out);
            return;
        };
        if state.request <= connection.finished {
            self.end_of_finished(end);
            self.after_end(end, out);
            return;
        }
        match connection.open.as_deref().map(|r| r.number) {
            Some(number) if number == state.request => self.end_of_open(end, out),
            // Another thread has the connection now, whose own records may still come.
            Some(_) if is_of_a_former_reader(end.reason) => {}
            Some(_) => {
                // The end of the open one and the begin of this one were lost.
                if let Some(request) = self.connections.request_mut(id) {
                    request.mark(reason::SEQUENCE_GAP);
                }
                self.give_up(id, end.raw.header.time_ns, out);
                self.unbegun(end, out);
            }
            None => self.unbegun(end, out),
        }
        self.after_end(end, out);
    }

    /// A closed connection is forgotten: the kernel side has done so.
    fn after_end(&mut self, end: &End, out: &mut Vec<Output>) {
        let id = end.raw.state.id;
        if end.reason == Noticed::Closed {
            self.give_up(id, end.raw.header.time_ns, out);
            self.connections.remove(id);
        }
    }

    /// More of a request that was finished by its own framing.
    fn end_of_finished(&mut self, end: &End) {
        let state = &end.raw.state;
        let Some(connection) = self.connections.get_mut(state.id) else {
            return;
        };
        if let Some(unread) = connection.unread.as_deref_mut() {
            unread.read = unread.base.saturating_add(state.bytes_in);
        }
        if !connection.surplus.is_empty() && state.last_write_ns != 0 {
            connection.last_write = Some(Box::new(LastWrite::from(state)));
        }
    }

    fn end_of_open(&mut self, end: &End, out: &mut Vec<Output>) {
        let state = &end.raw.state;
        let id = state.id;
        let time_ns = end.raw.header.time_ns;
        self.settle_moved(end);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let holds_next = holds_request(&connection.surplus);
        let Some(request) = connection.open.as_deref_mut() else {
            return;
        };
        let read = request.offset_base.saturating_add(state.bytes_in);
        let progress = Progress::new(request, state);
        let complete = progress.completeness(request.method(), request.protocol);
        match end.reason {
            Noticed::NextRequest
                if request.body.as_ref().and_then(|b| b.complete(read)) == Some(false) =>
            {
                request.absorb(state, response_bytes(state));
                return;
            }
            Noticed::NextResponse if complete == Completeness::Incomplete || !holds_next => {
                request.absorb(state, response_bytes(state));
                return;
            }
            Noticed::ThreadMoved if complete != Completeness::Complete => {
                self.moved(end);
                return;
            }
            Noticed::ThreadEnded | Noticed::ProcessEnded if complete != Completeness::Complete => {
                self.reader_ended(end);
                return;
            }
            _ => {}
        }
        let parsed = Some(progress.parsed());
        if !self.close_parsed(id, state, parsed, noticed(end.reason), time_ns, out) {
            self.close_unanswered(end, out);
        }
    }

    /// The request ended without a response.
    fn close_unanswered(&mut self, end: &End, out: &mut Vec<Output>) {
        let header = &end.raw.header;
        let id = end.raw.state.id;
        let Some(request) = self.connections.request(id) else {
            return;
        };
        let state = &end.raw.state;
        let progress = Progress::new(request, state);
        // The writer that found the client gone is who worked on it; another may have closed.
        let (end_ns, thread, totals, waits) = if state.failed_write_ns != 0 {
            let writer = ThreadKey::of_writer(state);
            (state.failed_write_ns, writer, &state.totals, &state.waits)
        } else {
            let closer = ThreadKey::from(header);
            (header.time_ns, closer, &end.raw.now, &end.raw.waits)
        };
        let outcome = Outcome::unanswered(
            &progress,
            noticed(end.reason),
            end_ns,
            Some((thread, totals)),
            waits,
        );
        self.close(id, header.time_ns, &outcome, out);
    }

    /// The reader turned to another connection while the request is open. When its response has
    /// begun and does not tell its own end, later writes will show whether it was over.
    fn moved(&mut self, end: &End) {
        let state = &end.raw.state;
        let Some(request) = self.connections.request_mut(state.id) else {
            return;
        };
        if ThreadKey::from(&end.raw.header) != request.reader {
            return;
        }
        let progress = Progress::new(request, state);
        let complete = progress.completeness(request.method(), request.protocol);
        if progress.answered() && complete == Completeness::Unknown {
            request.moved_at_writes = Some(state.writes);
        }
    }

    /// The reader ended while the request is open. The record of its end, which tells whether the
    /// process lives on, may come later: the next ticks settle it.
    fn reader_ended(&mut self, end: &End) {
        let raw = &end.raw;
        let id = raw.state.id;
        let Some(request) = self.connections.request(id) else {
            return;
        };
        if ThreadKey::from(&raw.header) != request.reader {
            return;
        }
        self.ending_of(id, raw.header.time_ns, Some(raw.now));
        let ending = self
            .connections
            .request_mut(id)
            .and_then(|r| r.ending.as_deref_mut());
        if let Some(ending) = ending {
            let mut state = Box::new(raw.state);
            if state.last_write_ns == 0 {
                // Without a write the state has no waits of its own.
                state.waits = raw.waits;
            }
            ending.answered = true;
            ending.state = Some(state);
            if end.reason == Noticed::ProcessEnded {
                ending.reason = EndReason::ProcessEnded;
            }
        }
    }

    /// A request that its reader had turned away from: further writes show that it went on.
    fn settle_moved(&mut self, end: &End) {
        let state = &end.raw.state;
        let Some(request) = self.connections.request_mut(state.id) else {
            return;
        };
        let Some(writes) = request.moved_at_writes else {
            return;
        };
        if state.writes == writes {
            return;
        }
        request.moved_at_writes = None;
        request.shared = true;
        let reader = request.reader;
        let Some(thread) = self.threads.of(reader) else {
            return;
        };
        for other in thread.open.clone() {
            if let Some(other) = self.connections.request_mut(other) {
                other.shared = true;
            }
        }
    }

    /// A request whose begin was lost: told with what the state has, when it has a response.
    fn unbegun(&mut self, end: &End, out: &mut Vec<Output>) {
        let state = &end.raw.state;
        let header = &end.raw.header;
        let told = matches!(
            end.reason,
            Noticed::NextRequest | Noticed::NextResponse | Noticed::Closed | Noticed::Shutdown
        );
        if !told || end.phase != ConnectionPhase::Response {
            return;
        }
        if !Progress::of(SERVER_PROTOCOLS[0], None, state).recognised() {
            return;
        }
        if !self.ensure_thread(header, out) {
            return;
        }
        if self.connections.get(state.id).is_none() {
            self.add_connection(state.id, state.tgid, state.fd);
        }
        let reader = ThreadKey {
            tid: state.reader_tid,
            generation: state.reader_generation,
        };
        let begin_ns = state.begin_ns.min(state.last_write_ns);
        let request_id = self.next_id();
        let mut request = OpenRequest::new(request_id, state.request, reader, state.tgid, begin_ns);
        request.mark(reason::SEQUENCE_GAP);
        request.ring_full_epoch = self.ring_full_epoch;
        self.connections.put(state.id, Box::new(request));
        self.close_written(state.id, state, noticed(end.reason), header.time_ns, out);
        self.after_end(end, out);
    }
}
