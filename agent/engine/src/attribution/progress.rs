//! How far a request's response is, from the connection's state and what earlier parts left.

use whyslow_abi::connection::{CLIENT_CLOSED, CLIENT_RESET, ConnectionState, INTERIM_RESPONSE};

use crate::{
    output::EndReason,
    protocol::{BodyFraming, Protocol, ResponseHead},
    timeline::request::{OpenRequest, Prior},
};

/// Whether all of a response was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completeness {
    /// It was, by its own framing.
    Complete,
    /// It was not, by its own framing.
    Incomplete,
    /// It does not tell: it ends with the connection, or its head was not captured in whole.
    Unknown,
}

/// A response so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress<'a> {
    /// State at the last write; `None`: nothing was written.
    pub(crate) last: Option<&'a ConnectionState>,
    pub(crate) first_write_ns: u64,
    pub(crate) last_read_ns: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) flags: u32,
    head: Parsed,
}

/// What the response's first bytes are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parsed {
    response: Option<ResponseHead>,
    captured: u64,
    /// Bytes of a response were captured and are none of the protocol.
    foreign: bool,
}

impl Parsed {
    /// Reads the head of the response that `prior` and `state` hold.
    pub(crate) fn of(
        protocol: &dyn Protocol,
        prior: Option<&Prior>,
        state: &ConnectionState,
    ) -> Self {
        let early = prior.filter(|p| !p.response.is_empty());
        let written = state.last_write_ns != 0 || prior.is_some_and(|p| p.last.is_some());
        if !written {
            return Self::default();
        }
        let bytes = early.map_or_else(|| response_bytes(state), |p| &p.response);
        let response = protocol.response(bytes);
        Self {
            response,
            captured: bytes.len() as u64,
            foreign: response.is_none() && !bytes.is_empty(),
        }
    }
}

/// Bytes of a state that hold the front of the response.
pub(crate) fn response_bytes(state: &ConnectionState) -> &[u8] {
    let captured = (state.captured_out as usize).min(state.response.len());
    &state.response[..captured]
}

impl<'a> Progress<'a> {
    /// Of `request`, whose connection is in `state`.
    pub(crate) fn new(request: &'a OpenRequest, state: &'a ConnectionState) -> Self {
        Self::of(request.protocol, request.prior.as_deref(), state)
    }

    /// Of a request with this protocol.
    pub(crate) fn of(
        protocol: &dyn Protocol,
        prior: Option<&'a Prior>,
        state: &'a ConnectionState,
    ) -> Self {
        Self::with(Parsed::of(protocol, prior, state), prior, state)
    }

    /// Of a response whose head was read before.
    pub(crate) fn with(head: Parsed, prior: Option<&'a Prior>, state: &'a ConnectionState) -> Self {
        let written = state.last_write_ns != 0;
        let mut progress = Self {
            last: written.then_some(state),
            first_write_ns: state.first_write_ns,
            last_read_ns: state.last_read_ns,
            bytes_in: state.bytes_in,
            bytes_out: state.bytes_out,
            flags: state.flags,
            head,
        };
        if let Some(prior) = prior {
            progress.last = progress.last.or(prior.last.as_deref());
            if prior.first_write_ns != 0 {
                progress.first_write_ns = prior.first_write_ns;
            }
            progress.bytes_in = progress.bytes_in.saturating_add(prior.bytes_in);
            progress.bytes_out = progress.bytes_out.saturating_add(prior.bytes_out);
            progress.flags |= prior.flags;
        }
        progress
    }

    /// What the response's first bytes are.
    pub(crate) fn parsed(&self) -> Parsed {
        self.head
    }

    /// A response byte was written.
    pub(crate) fn answered(&self) -> bool {
        self.last.is_some()
    }

    /// The response's first bytes are a response of the protocol.
    pub(crate) fn recognised(&self) -> bool {
        self.head.response.is_some()
    }

    /// Status; 0: none was sent, or it is not known.
    pub(crate) fn status(&self) -> u16 {
        match self.head.response {
            Some(response) => response.status,
            // After an upgrade the bytes are those of another protocol.
            None if self.head.foreign && self.flags & INTERIM_RESPONSE != 0 => 101,
            None => 0,
        }
    }

    /// Whether all of it was written. `method`: the request's.
    pub(crate) fn completeness(&self, method: &str, protocol: &dyn Protocol) -> Completeness {
        let (Some(response), Some(last)) = (self.head.response, self.last) else {
            return Completeness::Unknown;
        };
        let enough = |wanted: u64| {
            if self.bytes_out >= wanted {
                Completeness::Complete
            } else {
                Completeness::Incomplete
            }
        };
        let has_body = protocol.response_has_body(method.as_bytes(), response.status);
        match (response.head_len, response.body) {
            (Some(head), _) if !has_body => enough(head),
            (Some(head), BodyFraming::None) => enough(head),
            (Some(head), BodyFraming::Length(length)) => enough(head.saturating_add(length)),
            (_, BodyFraming::Chunked) if has_body => last_chunk(&last.tail),
            (None, BodyFraming::Length(length))
                if has_body && self.bytes_out < self.head.captured.saturating_add(length) =>
            {
                Completeness::Incomplete
            }
            _ => Completeness::Unknown,
        }
    }

    /// The head was not captured in whole, but what is known of it was written: with nothing more
    /// for a while the response is taken for complete.
    pub(crate) fn enough_for_cut_head(&self, method: &str, protocol: &dyn Protocol) -> bool {
        let Some(response) = self.head.response.filter(|r| r.head_len.is_none()) else {
            return false;
        };
        let body = match response.body {
            BodyFraming::Length(length) => length,
            _ => 0,
        };
        let has_body = protocol.response_has_body(method.as_bytes(), response.status);
        let wanted = self.head.captured.saturating_add(body);
        !has_body || (matches!(response.body, BodyFraming::Length(_)) && self.bytes_out >= wanted)
    }

    /// The response has begun and its framing does not tell where it ends, neither by what was
    /// captured of it nor by the end of the connection.
    pub(crate) fn end_untold(&self, complete: Completeness) -> bool {
        complete == Completeness::Unknown
            && (self.head.response).is_some_and(|r| r.body != BodyFraming::UntilClose)
    }

    /// Why the request ended, when `noticed` is how its end was noticed.
    pub(crate) fn end_reason(&self, complete: Completeness, noticed: EndReason) -> EndReason {
        if complete == Completeness::Complete {
            EndReason::Complete
        } else if self.flags & CLIENT_RESET != 0 {
            EndReason::ClientReset
        } else if self.flags & CLIENT_CLOSED != 0
            && (!self.answered() || complete == Completeness::Incomplete)
        {
            EndReason::ClientClosed
        } else {
            noticed
        }
    }
}

/// Whether the last write ended with the last chunk. The tail may be padded with zeros when the
/// write was shorter.
fn last_chunk(tail: &[u8; 8]) -> Completeness {
    let start = tail.iter().position(|b| *b != 0).unwrap_or(8);
    let end = tail.iter().rposition(|b| *b != 0).map_or(8, |at| at + 1);
    let tail = &tail[start..end.max(start)];
    match tail.strip_suffix(b"0\r\n\r\n") {
        // `0` is a chunk size of its own only at the begin of a line.
        Some([] | [.., b'\n']) => Completeness::Complete,
        // Data that ends with an empty line, and the end of its chunk: no trailer section.
        None if tail.ends_with(b"\r\n\r\n\r\n") => Completeness::Incomplete,
        // The tail was not read, or a trailer section ends here.
        None if tail.is_empty() || tail.ends_with(b"\r\n\r\n") => Completeness::Unknown,
        _ => Completeness::Incomplete,
    }
}

#[cfg(test)]
mod tests {
    use whyslow_abi::connection::RESPONSE_HEAD;

    use super::*;
    use crate::protocol::http::Http1;

    fn state(response: &[u8], bytes_out: u64, tail: &[u8]) -> ConnectionState {
        let mut state: ConnectionState =
            whyslow_abi::read_plain(&[0; size_of::<ConnectionState>()]).unwrap();
        let captured = response.len().min(RESPONSE_HEAD);
        state.response[..captured].copy_from_slice(&response[..captured]);
        state.captured_out = captured as u32;
        state.bytes_out = bytes_out;
        state.first_write_ns = 1;
        state.last_write_ns = 2;
        state.tail[..tail.len()].copy_from_slice(tail);
        state
    }

    fn complete(method: &str, response: &[u8], bytes_out: u64, tail: &[u8]) -> Completeness {
        let state = state(response, bytes_out, tail);
        Progress::of(&Http1, None, &state).completeness(method, &Http1)
    }

    #[test]
    fn by_length() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let len = head.len() as u64;
        assert_eq!(
            complete("GET", head, len + 4, b""),
            Completeness::Incomplete
        );
        assert_eq!(complete("GET", head, len + 5, b""), Completeness::Complete);
        assert_eq!(complete("HEAD", head, len, b""), Completeness::Complete);
    }

    #[test]
    fn by_status() {
        let head = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n";
        let len = head.len() as u64;
        assert_eq!(complete("GET", head, len, b""), Completeness::Complete);
        let head = b"HTTP/1.1 204 No Content\r\n\r\n";
        let len = head.len() as u64;
        assert_eq!(complete("GET", head, len, b""), Completeness::Complete);
    }

    #[test]
    fn by_last_chunk() {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (tail, expected) in [
            (&b"0\r\n\r\n"[..], Completeness::Complete),
            (b"\0\0\x000\r\n\r\n", Completeness::Complete),
            (b"a\r\n0\r\n\r\n", Completeness::Complete),
            (b"100\r\n\r\n", Completeness::Unknown),
            (b"hello\r\n", Completeness::Incomplete),
            (b"T: v\r\n\r\n", Completeness::Unknown),
            (b"x\r\n\r\n\r\n", Completeness::Incomplete),
            (b"", Completeness::Unknown),
        ] {
            let got = complete("GET", head, 100, tail);
            if tail.starts_with(b"100") {
                // Data that ends in "0" CR LF CR LF: not the last chunk.
                assert_ne!(got, Completeness::Complete);
            } else {
                assert_eq!(got, expected, "{tail:?}");
            }
        }
    }

    #[test]
    fn until_close_and_cut_heads_are_unknown() {
        let close = b"HTTP/1.0 200 OK\r\n\r\n";
        assert_eq!(complete("GET", close, 1000, b""), Completeness::Unknown);
        let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nX: ";
        assert_eq!(complete("GET", cut, 100, b""), Completeness::Incomplete);
        assert_eq!(complete("GET", cut, 9000, b""), Completeness::Unknown);
    }

    #[test]
    fn reasons() {
        let mut it = state(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 10, b"");
        it.flags = CLIENT_CLOSED;
        let progress = Progress::of(&Http1, None, &it);
        let reason = |complete| progress.end_reason(complete, EndReason::Closed);
        assert_eq!(reason(Completeness::Complete), EndReason::Complete);
        assert_eq!(reason(Completeness::Incomplete), EndReason::ClientClosed);
        assert_eq!(reason(Completeness::Unknown), EndReason::Closed);
        it.flags = CLIENT_RESET;
        let progress = Progress::of(&Http1, None, &it);
        assert_eq!(
            progress.end_reason(Completeness::Unknown, EndReason::Closed),
            EndReason::ClientReset
        );
    }

    #[test]
    fn an_upgraded_connection_has_status_101() {
        let mut it = state(b"\x81\x05hello", 7, b"");
        assert_eq!(Progress::of(&Http1, None, &it).status(), 0);
        it.flags = INTERIM_RESPONSE;
        assert_eq!(Progress::of(&Http1, None, &it).status(), 101);
    }
}
