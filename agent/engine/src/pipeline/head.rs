//! Bytes of a request arrive: its head, its body, and what lies beyond (the next request).

use std::sync::Arc;

use whyslow_abi::record::REQUEST_CAPTURE;

use super::{Engine, end::holds_request, event};
use crate::{
    attribution::progress::{Completeness, Progress},
    decode::Piece,
    losses::reason,
    output::{EndReason, EventKind, Output, RequestStarted},
    protocol::{self, Recognised, RequestHead, body::BodyTracker, queue_start},
    redact,
    timeline::request::{Head, OpenRequest},
};

/// Bytes of a target kept.
const TARGET_LIMIT: usize = 2_048;
/// Bytes of another header's value kept.
const VALUE_LIMIT: usize = 256;

/// Longest time that a proxy is believed to have held a request.
const PROXY_QUEUE_LIMIT_NS: u64 = 3_600_000_000_000;

/// What bytes made of an open head.
enum Fed {
    /// More is needed.
    Waiting,
    /// No request at all.
    NotHttp,
    /// The head ends at this offset.
    Complete(usize),
    /// No more of it will come.
    Cut,
}

impl Engine {
    pub(super) fn piece(&mut self, piece: &Piece, out: &mut Vec<Output>) {
        let raw = &piece.raw;
        let id = raw.connection;
        let (read, time_ns) = (u64::from(raw.read_len), raw.header.time_ns);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.number != raw.request {
            return;
        }
        let at = u64::from(raw.offset);
        if let Some(request) = &connection.open {
            let offset = request.offset_base.saturating_add(at);
            let merged = request.prior.is_some();
            self.feed(id, offset, piece.payload(), read, time_ns, out);
            if merged {
                self.split_merged(piece, out);
            }
        } else if let Some(unread) = connection.unread.as_deref_mut() {
            let offset = unread.base.saturating_add(at);
            unread.body.feed(offset, piece.payload());
            unread.read = offset.saturating_add(read);
            if let Some(end) = unread.body.end() {
                let surplus = &mut connection.surplus;
                surplus.collect(end, offset, piece.payload(), read, time_ns);
                if holds_request(surplus) {
                    self.begin_within(id, raw.request, &raw.header, out);
                }
            }
        } else {
            // Nothing is open or owed: what the kernel side takes for more of a request is the next one.
            let surplus = &mut connection.surplus;
            surplus.clear();
            surplus.collect(at, at, piece.payload(), read, time_ns);
            if holds_request(surplus) {
                self.begin_within(id, raw.request, &raw.header, out);
            } else if let Some(connection) = self.connections.get_mut(id) {
                connection.surplus.clear();
            }
        }
    }

    /// After an early response the kernel side takes the next request for more of the body: here
    /// it is known where the body ends.
    fn split_merged(&mut self, piece: &Piece, out: &mut Vec<Output>) {
        let raw = &piece.raw;
        let id = raw.connection;
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let Some(request) = connection.open.as_deref() else {
            return;
        };
        let Some(last) = request.prior.as_ref().and_then(|p| p.last.clone()) else {
            return;
        };
        if !holds_request(&connection.surplus) {
            return;
        }
        // What is told is the state at the last write; the bytes read since are not in it.
        let mut nothing = *last;
        nothing.bytes_in = 0;
        nothing.bytes_out = 0;
        let progress = Progress::new(request, &nothing);
        let complete = progress.completeness(request.method(), request.protocol);
        if complete == Completeness::Complete {
            let end = request.body.as_ref().and_then(BodyTracker::end);
            let counted = request.prior.as_ref().map_or(0, |p| p.bytes_in);
            nothing.bytes_in = end.unwrap_or(0).saturating_sub(counted);
            let time_ns = raw.header.time_ns;
            self.close_written(id, &nothing, EndReason::Complete, time_ns, out);
            self.begin_within(id, raw.request, &raw.header, out);
        }
    }

    /// Hands a request bytes that were read at `offset` from its first byte. `read`: bytes that
    /// the read returned; `bytes`: those of them that were captured.
    pub(super) fn feed(
        &mut self,
        id: u64,
        offset: u64,
        bytes: &[u8],
        read: u64,
        now_ns: u64,
        out: &mut Vec<Output>,
    ) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Some(request) = connection.open.as_deref_mut() else {
            return;
        };
        let read = read.max(bytes.len() as u64);
        request.note_read(offset.saturating_add(read), now_ns);
        let mut at = offset;
        let mut body_bytes = bytes;
        if let Head::Open { buffer, .. } = &mut request.head {
            let mut buffer = std::mem::take(buffer);
            let fed = advance(request, &mut buffer, offset, bytes, read);
            let whole: &[u8] = if buffer.is_empty() { bytes } else { &buffer };
            match fed {
                Fed::Waiting => {
                    keep(request, buffer, bytes);
                    return;
                }
                Fed::NotHttp => {
                    self.drop_quietly(id);
                    return;
                }
                Fed::Complete(end) => {
                    request.head = Head::Done;
                    request.head_read_ns = now_ns.saturating_sub(request.begin_ns);
                    at = end as u64;
                    body_bytes = &bytes[bytes.len() - (whole.len() - end).min(bytes.len())..];
                    self.head_read(id, &whole[..end], true, now_ns, out);
                }
                Fed::Cut => {
                    request.head = Head::Done;
                    request.mark(reason::PAYLOAD_CUT);
                    let tgid = request.tgid;
                    self.losses.add(reason::PAYLOAD_CUT, 1, tgid);
                    self.head_read(id, whole, false, now_ns, out);
                    return;
                }
            }
        }
        self.feed_body(id, at, body_bytes, offset.saturating_add(read), now_ns);
    }

    /// Bytes after the head. `read_to`: offset of the end of the read.
    fn feed_body(&mut self, id: u64, at: u64, bytes: &[u8], read_to: u64, now_ns: u64) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Some(request) = connection.open.as_deref_mut() else {
            return;
        };
        if let Some(body) = &mut request.body {
            body.feed(at, bytes);
            body.skipped_to(read_to);
            if body.complete(read_to) == Some(true) && request.body_read_at_ns == 0 {
                request.body_read_at_ns = now_ns;
            }
            if let Some(end) = body.end() {
                let read = read_to.saturating_sub(at);
                connection.surplus.collect(end, at, bytes, read, now_ns);
            }
        }
    }

    /// Builds and tells `RequestStarted` from what was captured of the head.
    pub(super) fn head_read(
        &mut self,
        id: u64,
        head: &[u8],
        complete: bool,
        now_ns: u64,
        out: &mut Vec<Output>,
    ) {
        let Some(request) = self.connections.request(id) else {
            return;
        };
        let comm = self.comm(request.reader.tid, request.tgid);
        let Some(request) = self.connections.request_mut(id) else {
            return;
        };
        let parsed = request.protocol.request(head, complete);
        if complete {
            request.body = Some(BodyTracker::new(head.len() as u64, parsed.body));
        }
        let method = text(parsed.method, 24);
        let raw_target = text(parsed.target, TARGET_LIMIT);
        if let Some(old) = request.route.take() {
            self.routes.cancel(old);
        }
        let (route, name) = self.routes.begin(&method, &raw_target);
        request.route = Some(route);
        let (start_ns, start_unix_ns) = (self.settings.start_ns, self.settings.start_unix_ns);
        let begin_unix_ns = start_unix_ns.saturating_add(request.begin_ns.saturating_sub(start_ns));
        let proxy = parsed.queue_start.and_then(|(name, value)| {
            let began_ns = begin_unix_ns.checked_sub(queue_start::parse(value)?)?;
            (began_ns <= PROXY_QUEUE_LIMIT_NS).then_some((name, began_ns))
        });
        request.proxy_queue_ns = proxy.map(|(_, ns)| ns);
        let started = started(
            request,
            &parsed,
            comm,
            name,
            raw_target,
            self.settings.show_query,
            proxy.map_or("", |(name, _)| name),
        );
        request.traceparent = text(parsed.traceparent, VALUE_LIMIT);
        request.x_request_id = text(parsed.x_request_id, VALUE_LIMIT);
        let started = Arc::new(RequestStarted { method, ..started });
        request.started = Some(Arc::clone(&started));
        if !request.told {
            request.told = true;
            out.push(event(
                now_ns.max(request.begin_ns),
                EventKind::RequestStarted(started),
            ));
        }
    }

    /// Tells `RequestStarted` with what is known by now, if it was not told.
    pub(super) fn tell_started(&mut self, id: u64, now_ns: u64, out: &mut Vec<Output>) {
        let Some(request) = self.connections.request_mut(id) else {
            return;
        };
        if request.told {
            return;
        }
        let buffer = match &mut request.head {
            Head::Open { buffer, .. } => std::mem::take(buffer),
            Head::Done => Vec::new(),
        };
        self.head_read(id, &buffer, false, now_ns, out);
        if let Some(request) = self.connections.request_mut(id)
            && let Head::Open { buffer: kept, .. } = &mut request.head
        {
            *kept = buffer;
        }
    }

    /// The bytes were no request: forget them, count them.
    fn drop_quietly(&mut self, id: u64) {
        let Some(request) = self.connections.take(id) else {
            return;
        };
        self.losses.add(reason::NOT_HTTP, 1, request.tgid);
        if let Some(route) = request.route {
            self.routes.cancel(route);
        }
        if let Some(thread) = self.threads.of(request.reader) {
            thread.open.retain(|open| *open != id);
        }
        if let Some(connection) = self.connections.get_mut(id) {
            connection.surplus.clear();
        }
    }
}

/// Takes bytes for an open head. `buffer` holds what came before; it stays empty when the head
/// comes whole, so that nothing is copied.
fn advance(
    request: &mut OpenRequest,
    buffer: &mut Vec<u8>,
    offset: u64,
    bytes: &[u8],
    read: u64,
) -> Fed {
    let before = buffer.len();
    let contiguous = offset == before as u64;
    if before > 0 && contiguous {
        buffer.extend_from_slice(bytes);
    }
    let whole: &[u8] = if before > 0 { buffer } else { bytes };
    if !contiguous && before == 0 {
        return Fed::Cut;
    }
    let Head::Open { recognised, .. } = &mut request.head else {
        return Fed::Cut;
    };
    if !*recognised {
        let (answer, protocol) = protocol::recognise(whole);
        if answer == Recognised::No {
            return Fed::NotHttp;
        }
        *recognised = answer == Recognised::Yes;
        request.protocol = protocol.unwrap_or(request.protocol);
    }
    if let Some(end) = request.protocol.head_end(whole, before) {
        return Fed::Complete(end);
    }
    let cut = !contiguous || bytes.len() as u64 != read || whole.len() >= REQUEST_CAPTURE;
    if cut { Fed::Cut } else { Fed::Waiting }
}

/// Keeps an incomplete head for the next piece.
fn keep(request: &mut OpenRequest, mut buffer: Vec<u8>, bytes: &[u8]) {
    if buffer.is_empty() {
        buffer.extend_from_slice(bytes);
    }
    if let Head::Open { buffer: kept, .. } = &mut request.head {
        *kept = buffer;
    }
}

/// Text of captured bytes, bounded.
fn text(bytes: &[u8], limit: usize) -> String {
    let bytes = &bytes[..bytes.len().min(limit)];
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn started(
    request: &OpenRequest,
    head: &RequestHead<'_>,
    comm: String,
    route: &str,
    target: String,
    show_query: bool,
    proxy_queue_header: &'static str,
) -> RequestStarted {
    RequestStarted {
        id: request.id,
        method: String::new(),
        target: if show_query {
            target
        } else {
            redact::target(&target)
        },
        route: route.to_owned(),
        pid: request.tgid,
        tid: request.reader.tid,
        comm,
        start_ns: request.begin_ns,
        host: text(head.host, VALUE_LIMIT),
        client: request.client.clone(),
        accept_queue_ns: request.queue.accept_queue_ns,
        proxy_queue_ns: request.proxy_queue_ns,
        proxy_queue_header,
    }
}
