//! What the server wrote: heads of responses, and bodies to be passed over.

use super::super::{
    BodyFraming, Protocol as _,
    body::ChunkDecoder,
    http::{Framing, Http1, header, status_line},
};
use super::{line::Line, request::Method};

/// What was found in read bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A response is complete.
    Answered { status: u16 },
    /// As `Answered`, and what follows is not HTTP, or of another connection.
    Switched { status: u16 },
    /// A response begins that nobody asked for.
    Unasked { status: u16 },
}

#[derive(Debug, Default)]
enum State {
    /// Before or in a status line.
    #[default]
    Line,
    Headers,
    /// In a body of so many bytes more.
    Length(u64),
    Chunks(ChunkDecoder),
    /// In a response whose end cannot be told.
    Endless,
}

/// Reader of what the server wrote.
#[derive(Debug, Default)]
pub(super) struct Responses {
    state: State,
    line: Line,
    /// Of the response that is being read; 0: not known.
    status: u16,
    framing: Framing,
}

impl Responses {
    /// The end of the response that is being read cannot be told.
    pub(super) fn is_endless(&self) -> bool {
        matches!(self.state, State::Endless)
    }

    /// The head of a response was read, and not its end.
    pub(super) fn is_in_body(&self) -> bool {
        !matches!(self.state, State::Line | State::Headers)
    }

    /// A response has begun.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self.state, State::Line)
    }

    /// Status of the response that is being read; 0: not known.
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// Where the next response begins is not known.
    pub(super) fn lose(&mut self) {
        self.restart();
        self.state = State::Endless;
    }

    /// A response begins with the next byte.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    /// Takes bytes from the front of `bytes` until something is found in them. `asked` is what the oldest
    /// open request is.
    pub(super) fn next(&mut self, bytes: &mut &[u8], asked: Option<Method>) -> Option<Found> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Line => {
                    if self.line.feed(bytes)
                        && let Some(found) = self.status_line(asked)
                    {
                        return Some(found);
                    }
                }
                State::Headers => {
                    if self.line.feed(bytes)
                        && let Some(found) = self.header_line(asked)
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
                        return Some(self.answered());
                    }
                }
                State::Chunks(decoder) => {
                    let here = decoder.feed(bytes);
                    *bytes = &bytes[here..];
                    if decoder.is_done() {
                        return Some(self.answered());
                    }
                    if decoder.is_broken() {
                        self.state = State::Endless;
                    }
                }
                State::Endless => *bytes = &[],
            }
        }
        None
    }

    /// Goes over bytes that were not captured, until something is known of them.
    pub(super) fn skip(&mut self, gap: &mut u64) -> Option<Found> {
        if *gap == 0 {
            return None;
        }
        if let State::Length(left) = &mut self.state {
            let here = (*left).min(*gap);
            *gap -= here;
            *left -= here;
            return (*left == 0).then(|| self.answered());
        }
        if matches!(self.state, State::Line) {
            self.status = status_line(self.line.text()).unwrap_or(0);
        }
        *gap = 0;
        self.state = State::Endless;
        None
    }

    fn answered(&mut self) -> Found {
        let status = self.status;
        self.restart();
        Found::Answered { status }
    }

    fn status_line(&mut self, asked: Option<Method>) -> Option<Found> {
        let line = self.line.text();
        if line.is_empty() {
            self.line.clear();
            return None;
        }
        self.framing = Framing::default();
        let status = status_line(line);
        self.status = status.unwrap_or(0);
        self.state = match status {
            Some(_) => State::Headers,
            // Of HTTP/0.9, or of a request that was not seen.
            None => State::Endless,
        };
        self.line.clear();
        asked.is_none().then_some(Found::Unasked {
            status: self.status,
        })
    }

    fn header_line(&mut self, asked: Option<Method>) -> Option<Found> {
        let line = self.line.text();
        if !line.is_empty() {
            if let Some((name, value)) = header(line)
                && !self.line.is_cut()
            {
                self.framing.header(name, value);
            }
            self.line.clear();
            return None;
        }
        self.line.clear();
        let status = self.status;
        let connects = asked == Some(Method::Connect) && (200..300).contains(&status);
        if status == 101 || connects {
            self.restart();
            return Some(Found::Switched { status });
        }
        if (100..200).contains(&status) {
            self.restart();
            return None;
        }
        let method: &[u8] = match asked {
            Some(Method::Head) => b"HEAD",
            _ => b"",
        };
        if !Http1.response_has_body(method, status) {
            return Some(self.answered());
        }
        self.state = match self.framing.body(BodyFraming::UntilClose) {
            BodyFraming::Length(0) => return Some(self.answered()),
            BodyFraming::Length(length) => State::Length(length),
            BodyFraming::Chunked => State::Chunks(ChunkDecoder::default()),
            _ => State::Endless,
        };
        None
    }
}
