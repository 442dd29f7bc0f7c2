//! What the client writes: heads of requests, and bodies to be passed over.

use super::super::{
    BodyFraming, Protocol as _, Recognised,
    body::ChunkDecoder,
    client::ClientProtocol as _,
    http::{Framing, Http1, header},
};
use super::{
    HttpClient,
    line::Line,
    shape::{shape, target_host},
};

/// Longest host kept, bytes.
const HOST_LIMIT: usize = 256;

/// What the answer depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Head,
    Connect,
    Other,
}

/// What was found in written bytes.
#[derive(Debug)]
pub(super) enum Found {
    /// The head of a request.
    Asked { shape: String, method: Method },
    /// Requests may have been missed; where the next begins is not known.
    Lost,
}

#[derive(Debug, Default)]
enum State {
    /// Before or in a request line.
    #[default]
    Line,
    Headers,
    /// In a body of so many bytes more.
    Length(u64),
    Chunks(ChunkDecoder),
    /// Where the next request begins is not known.
    Lost,
}

/// Reader of what the client writes.
#[derive(Debug, Default)]
pub(super) struct Requests {
    state: State,
    line: Line,
    /// The request line of the head that is being read, and whether its end is missing.
    request: Vec<u8>,
    cut: bool,
    host: Vec<u8>,
    framing: Framing,
}

impl Requests {
    /// A request may begin in what is written next, though the one before did not end: it was not captured,
    /// or the server has answered without waiting for all of it.
    pub(super) fn is_within(&self) -> bool {
        !matches!(self.state, State::Line | State::Headers)
    }

    /// A request begins with the next byte.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    /// Takes bytes from the front of `bytes` until something is found in them.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<Found> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Line => {
                    if self.line.feed(bytes)
                        && let Some(found) = self.request_line()
                    {
                        return Some(found);
                    }
                }
                State::Headers => {
                    if self.line.feed(bytes)
                        && let Some(found) = self.header_line()
                    {
                        return Some(found);
                    }
                }
                State::Length(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX);
                    let here = here.min(bytes.len());
                    *bytes = &bytes[here..];
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::Line;
                    }
                }
                State::Chunks(decoder) => {
                    let here = decoder.feed(bytes);
                    *bytes = &bytes[here..];
                    if decoder.is_done() {
                        self.state = State::Line;
                    } else if decoder.is_broken() {
                        self.state = State::Lost;
                        return Some(Found::Lost);
                    }
                }
                State::Lost => *bytes = &[],
            }
        }
        None
    }

    /// Goes over bytes that were not captured, until something is known of them.
    pub(super) fn skip(&mut self, gap: &mut u64) -> Option<Found> {
        if *gap == 0 {
            return None;
        }
        match &mut self.state {
            State::Length(left) => {
                let here = (*left).min(*gap);
                *gap -= here;
                *left -= here;
                if *left > 0 {
                    return None;
                }
                self.state = State::Line;
                (*gap > 0).then(|| self.lost()).flatten()
            }
            // A request behind the chunks would be seen by its response.
            State::Chunks(_) | State::Lost => {
                *gap = 0;
                self.state = State::Lost;
                None
            }
            State::Line => {
                let begun = self.line.text();
                if !super::is_long_line(begun) {
                    *gap = 0;
                    return self.lost();
                }
                self.request = begun.to_vec();
                self.cut = true;
                Some(self.asked_in_part())
            }
            State::Headers => Some(self.asked_in_part()),
        }
    }

    /// Where the next request begins is not known.
    pub(super) fn lose(&mut self) {
        self.restart();
        self.state = State::Lost;
    }

    fn lost(&mut self) -> Option<Found> {
        self.lose();
        Some(Found::Lost)
    }

    /// The rest of the head was not captured.
    fn asked_in_part(&mut self) -> Found {
        let asked = self.asked();
        self.state = State::Lost;
        asked
    }

    fn request_line(&mut self) -> Option<Found> {
        let line = self.line.text();
        if line.is_empty() {
            self.line.clear();
            return None;
        }
        let mut whole = line.to_vec();
        whole.push(b'\n');
        let fits = if self.line.is_cut() {
            super::is_long_line(line)
        } else {
            HttpClient.recognise(&whole) == Recognised::Yes
        };
        if !fits {
            return self.lost();
        }
        self.request = line.to_vec();
        self.cut = self.line.is_cut();
        self.host.clear();
        self.framing = Framing::default();
        self.state = State::Headers;
        self.line.clear();
        None
    }

    fn header_line(&mut self) -> Option<Found> {
        let line = self.line.text();
        if line.is_empty() {
            self.line.clear();
            let asked = self.asked();
            self.state = match self.framing.body(BodyFraming::None) {
                BodyFraming::Length(length) if length > 0 => State::Length(length),
                BodyFraming::Chunked => State::Chunks(ChunkDecoder::default()),
                _ => State::Line,
            };
            return Some(asked);
        }
        if let Some((name, value)) = header(line)
            && !self.line.is_cut()
        {
            self.framing.header(name, value);
            if name.eq_ignore_ascii_case(b"host") && value.len() <= HOST_LIMIT {
                let host = value.rsplit(|byte| *byte == b'@').next();
                self.host = host.unwrap_or_default().to_vec();
            }
        }
        self.line.clear();
        None
    }

    fn asked(&mut self) -> Found {
        let line = std::mem::take(&mut self.request);
        let head = Http1.request(&line, false);
        let method = match head.method {
            b"HEAD" => Method::Head,
            b"CONNECT" => Method::Connect,
            _ => Method::Other,
        };
        let named = target_host(head.target);
        let host = if named.is_empty() { &self.host } else { named };
        Found::Asked {
            shape: shape(head.method, head.target, host, self.cut),
            method,
        }
    }
}
