//! What servers send: RESP2 and RESP3 replies, and pushed messages between them. Nesting needs no stack:
//! what counts is how many values are still to come, whichever array they are in.

use super::command::{COUNT_LIMIT, LENGTH_LIMIT};
use super::token::{Number, Step, Word};

/// What kind of value a reply is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// One value, or none.
    #[default]
    Scalar,
    /// A simple string.
    Simple,
    /// An error.
    Error,
    /// An array, map or set.
    Array,
    /// A RESP3 push: no reply, but for confirmations.
    Push,
}

/// One value that a server sent, with all in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reply {
    /// Its kind.
    pub(super) kind: Kind,
    /// Elements of the outermost array (entries of a map).
    pub(super) rows: u64,
    /// First word of an error or simple string; first element of an array or push.
    pub(super) word: Word,
}

/// What was found in bytes of the server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    /// A whole reply or push.
    Reply(Reply),
    /// A length or count that no server sends.
    Hostile,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Before the type of a value.
    #[default]
    Type,
    /// In a value that a line end ends.
    Line,
    /// In the length or count of a value of this type.
    Length(u8, Number),
    /// In a bulk value or the CR LF after it.
    Data { left: u64 },
    /// Framing is lost.
    Lost,
}

/// What the values belong to that are still to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// Nothing is under way.
    #[default]
    Between,
    /// The attributes of the reply that follows.
    Attribute,
    /// A reply.
    Reply,
}

/// Reader of what the server sends.
#[derive(Debug, Default)]
pub(super) struct Replies {
    state: State,
    part: Part,
    /// Values of this part that are still to come.
    left: u64,
    reply: Reply,
    /// The next value is the first of the outermost array.
    first: bool,
    /// Bytes of the current value go to the reply's word.
    keep: bool,
}

impl Replies {
    /// Framing is lost.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// What was read of the reply that was under way when the framing was lost.
    pub(super) fn under_way(&self) -> Reply {
        if self.part != Part::Reply || self.reply.kind == Kind::Push {
            return Reply::default();
        }
        let mut reply = self.reply;
        if self.keep {
            reply.word.spoil();
        }
        reply
    }

    /// The framing is lost until the next write.
    pub(super) fn forget(&mut self) {
        self.restart();
        self.state = State::Lost;
    }

    /// A value begins with the next byte.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    /// Takes bytes from the front of `bytes` until something is found in them.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<Found> {
        while let Some((byte, rest)) = bytes.split_first() {
            let found = match self.state {
                State::Lost => {
                    *bytes = &[];
                    None
                }
                State::Data { left } => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let (data, rest) = bytes.split_at(here);
                    self.keep(data);
                    *bytes = rest;
                    self.data(left, here as u64)
                }
                State::Line => {
                    let end = memchr::memchr(b'\n', bytes);
                    let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
                    self.keep(line);
                    *bytes = rest;
                    end.and_then(|_| self.value_done())
                }
                State::Type => {
                    *bytes = rest;
                    self.value_starts(*byte);
                    None
                }
                State::Length(kind, mut number) => {
                    *bytes = rest;
                    let step = number.feed(*byte);
                    self.state = State::Length(kind, number);
                    self.length(kind, step)
                }
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Goes over bytes that were not captured, until something is known of them.
    pub(super) fn skip(&mut self, gap: &mut u64) -> Option<Found> {
        while *gap > 0 {
            let State::Data { left } = self.state else {
                self.state = State::Lost;
                *gap = 0;
                return None;
            };
            let here = left.min(*gap);
            *gap -= here;
            if self.keep {
                self.reply.word.spoil();
                self.keep = false;
            }
            let found = self.data(left, here);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn value_starts(&mut self, byte: u8) {
        let first = std::mem::take(&mut self.first);
        let outermost = self.part == Part::Between && byte != b'|';
        if outermost {
            self.part = Part::Reply;
            self.left = 1;
            self.reply = Reply {
                kind: match byte {
                    b'+' => Kind::Simple,
                    b'-' | b'!' => Kind::Error,
                    b'*' | b'%' | b'~' => Kind::Array,
                    b'>' => Kind::Push,
                    _ => Kind::Scalar,
                },
                ..Reply::default()
            };
        }
        // Elements are kept only to tell messages from replies, and only the first one's front.
        self.keep = match byte {
            b'+' => outermost || first,
            b'-' | b'!' => outermost,
            b'$' => first,
            _ => false,
        };
        self.state = match byte {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => State::Line,
            b'$' | b'!' | b'=' | b'*' | b'%' | b'~' | b'>' | b'|' => {
                State::Length(byte, Number::default())
            }
            _ => State::Lost,
        };
    }

    fn length(&mut self, kind: u8, step: Step) -> Option<Found> {
        let (length, limit) = match step {
            Step::More => return None,
            Step::Huge => return Some(Found::Hostile),
            // Streamed strings and arrays (`$?`, `*?`), which no server sends yet, come here too.
            Step::Bad => {
                self.state = State::Lost;
                return None;
            }
            Step::Done(length) if matches!(kind, b'$' | b'!' | b'=') => (length, LENGTH_LIMIT),
            Step::Done(length) => (length, COUNT_LIMIT),
        };
        if length < -1 || length > limit {
            return Some(Found::Hostile);
        }
        let Ok(length) = u64::try_from(length) else {
            // A null.
            return self.value_done();
        };
        match kind {
            b'$' | b'!' | b'=' => {
                self.state = State::Data { left: length + 2 };
                None
            }
            b'|' => self.attribute(length * 2),
            b'%' => self.elements(length, length * 2),
            _ => self.elements(length, length),
        }
    }

    /// An array of `values` values.
    fn elements(&mut self, rows: u64, values: u64) -> Option<Found> {
        if self.left == 1 && self.part == Part::Reply && self.reply.rows == 0 {
            self.reply.rows = rows;
            self.first = values > 0;
        }
        self.left = self.left.saturating_add(values);
        self.value_done()
    }

    /// Attributes go before the value that they belong to and are none themselves.
    fn attribute(&mut self, values: u64) -> Option<Found> {
        if self.part == Part::Between && values > 0 {
            self.part = Part::Attribute;
        }
        self.left = self.left.saturating_add(values);
        self.state = State::Type;
        None
    }

    fn data(&mut self, left: u64, here: u64) -> Option<Found> {
        let left = left.saturating_sub(here);
        self.state = State::Data { left };
        if left == 0 { self.value_done() } else { None }
    }

    fn value_done(&mut self) -> Option<Found> {
        self.state = State::Type;
        self.keep = false;
        self.left = self.left.saturating_sub(1);
        if self.left > 0 {
            return None;
        }
        let part = std::mem::take(&mut self.part);
        (part == Part::Reply).then(|| Found::Reply(std::mem::take(&mut self.reply)))
    }

    /// Takes bytes of the current value's first word.
    fn keep(&mut self, bytes: &[u8]) {
        if !self.keep {
            return;
        }
        let end = bytes
            .iter()
            .position(|byte| matches!(byte, b' ' | b'\r' | b'\n'));
        self.keep = end.is_none();
        self.reply
            .word
            .extend(bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default());
    }
}
