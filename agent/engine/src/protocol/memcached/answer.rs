//! What servers send: status lines with values before them, or binary responses. A reply's end is told
//! by its own words, whatever it answers.

use super::binary::{self, Header};
use super::token::{Collected, Length, Line, WORDS_LIMIT};

/// What a status line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// An error, by its first word.
    Error(&'static str),
    /// `VA`: a value.
    Value,
    /// `HD`.
    Done,
    /// `EN`.
    Miss,
    /// `NF`.
    NotFound,
    /// `NS`.
    NotStored,
    /// `EX`.
    Exists,
    /// `MN`.
    Noop,
    /// One that only the classic commands are answered by.
    Other,
}

/// What was found in bytes of the server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    /// A whole reply with so many `VALUE`s.
    Text { status: Status, values: u64 },
    /// A whole response.
    Binary(Header),
    /// A length or count that no server sends.
    Hostile,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Before a line or header.
    #[default]
    Start,
    /// In a line.
    Line(Line),
    /// In a binary header.
    Header(Collected),
    /// In data; complete with it, or not.
    Data { left: u64, then: Option<Found> },
    /// Framing is lost.
    Lost,
}

/// Reader of what the server sends.
#[derive(Debug, Default)]
pub(super) struct Answers {
    state: State,
    /// `VALUE`s of the reply under way.
    values: u64,
}

impl Answers {
    /// Framing is lost.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// Nothing fits any more.
    pub(super) fn lose(&mut self) {
        self.state = State::Lost;
    }

    /// The framing is lost until the next write.
    pub(super) fn forget(&mut self) {
        self.restart();
        self.state = State::Lost;
    }

    /// A reply begins with the next byte.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    /// Takes bytes from the front of `bytes` until something is found in them.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<Found> {
        while let Some((byte, rest)) = bytes.split_first() {
            let found = match &mut self.state {
                State::Lost => {
                    *bytes = &[];
                    None
                }
                State::Data { left, .. } => {
                    let here = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len());
                    *left -= here as u64;
                    *bytes = bytes.get(here..).unwrap_or_default();
                    self.data_done()
                }
                State::Start => {
                    *bytes = rest;
                    self.start(*byte);
                    None
                }
                State::Line(line) => {
                    *bytes = rest;
                    let ended = line.take(*byte);
                    let line = *line;
                    if ended {
                        self.line(&line)
                    } else {
                        (line.words() > WORDS_LIMIT).then_some(Found::Hostile)
                    }
                }
                State::Header(collected) => {
                    *bytes = rest;
                    let header = collected.take(*byte);
                    header.and_then(|header| self.header(Header::new(header)))
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
            let State::Data { left, .. } = &mut self.state else {
                self.state = State::Lost;
                *gap = 0;
                return None;
            };
            let here = (*left).min(*gap);
            *left -= here;
            *gap -= here;
            let found = self.data_done();
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn data_done(&mut self) -> Option<Found> {
        let State::Data { left: 0, then } = self.state else {
            return None;
        };
        self.state = State::Start;
        then
    }

    fn start(&mut self, byte: u8) {
        self.state = if byte == binary::RESPONSE {
            let mut collected = Collected::default();
            collected.take(byte);
            State::Header(collected)
        } else if byte.is_ascii_uppercase() || byte.is_ascii_digit() {
            let mut line = Line::default();
            line.take(byte);
            State::Line(line)
        } else {
            State::Lost
        };
    }

    fn line(&mut self, line: &Line) -> Option<Found> {
        let name = line.name();
        self.state = State::Start;
        let status = match name {
            b"STAT" | b"ITEM" | b"PREFIX" => return None,
            b"VALUE" => {
                self.values += 1;
                return self.value(line, None);
            }
            b"VA" => {
                let found = Found::Text {
                    status: Status::Value,
                    values: 0,
                };
                return self.value(line, Some(found));
            }
            b"HD" => Status::Done,
            b"EN" => Status::Miss,
            b"NF" => Status::NotFound,
            b"NS" => Status::NotStored,
            b"EX" => Status::Exists,
            b"MN" => Status::Noop,
            b"ERROR" => Status::Error("ERROR"),
            b"CLIENT_ERROR" => Status::Error("CLIENT_ERROR"),
            b"SERVER_ERROR" => Status::Error("SERVER_ERROR"),
            b"END" | b"STORED" | b"NOT_STORED" | b"EXISTS" | b"NOT_FOUND" | b"DELETED"
            | b"TOUCHED" | b"OK" | b"VERSION" | b"RESET" | b"ME" | b"BUSY" | b"BADCLASS"
            | b"NOSPARE" | b"NOTFULL" | b"UNSAFE" | b"SAME" => Status::Other,
            // The result of incr and decr.
            number if !number.is_empty() && number.iter().all(u8::is_ascii_digit) => Status::Other,
            _ => {
                self.state = State::Lost;
                return None;
            }
        };
        let values = std::mem::take(&mut self.values);
        Some(Found::Text { status, values })
    }

    /// Data of the length that `line` gives, and its CR LF.
    fn value(&mut self, line: &Line, then: Option<Found>) -> Option<Found> {
        self.state = match line.length() {
            Length::Bytes(length) => State::Data {
                left: length + 2,
                then,
            },
            Length::None => State::Lost,
            Length::Hostile => return Some(Found::Hostile),
        };
        None
    }

    fn header(&mut self, header: Header) -> Option<Found> {
        if header.is_hostile() {
            return Some(Found::Hostile);
        }
        if !header.is_sane() {
            self.state = State::Lost;
            return None;
        }
        self.state = State::Data {
            left: header.body_len,
            then: Some(Found::Binary(header)),
        };
        self.data_done()
    }
}
