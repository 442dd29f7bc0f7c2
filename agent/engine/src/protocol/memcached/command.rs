//! What clients write: lines with or without a data block behind them, or binary requests.

use super::super::client::{SHAPE_LIMIT, cut_at_limit};
use super::binary::{self, Header};
use super::open::{Expect, Meta};
use super::token::{Collected, Length, Line, WORDS_LIMIT};

/// Shape of a command that is none of the known ones: what a word that may be data looks like.
const UNKNOWN: &str = "unknown";

/// What was found in written bytes.
#[derive(Debug)]
pub(super) enum Found {
    /// A command.
    Command { shape: String, expect: Expect },
    /// The framing is lost until the next write. `certain`: a command, or a piece of one, was not seen;
    /// else there may be none behind the one that was found last.
    Lost { certain: bool },
    /// A length or count that no client sends.
    Hostile,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Between two commands.
    #[default]
    Start,
    /// In a line.
    Line(Line),
    /// In the line of a command that was not captured whole and is told.
    CutLine,
    /// In a binary header.
    Header(Collected),
    /// In a data block and its CR LF, or in a binary body.
    Data { left: u64 },
    /// Framing is lost.
    Lost,
}

/// Reader of what the client writes.
#[derive(Debug, Default)]
pub(super) struct Commands {
    state: State,
    /// The line under way as sent, as far as it is told; `None`: not wanted.
    sent: Option<Vec<u8>>,
}

impl Commands {
    /// A reader that tells lines as sent, or not.
    pub(super) fn new(literals: bool) -> Self {
        Self {
            state: State::default(),
            sent: literals.then(Vec::new),
        }
    }

    /// Framing is lost.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// The framing is lost until the next write that begins with a command.
    pub(super) fn forget(&mut self) {
        self.restart();
        self.state = State::Lost;
    }

    /// A command begins with the next byte.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.sent.is_some());
    }

    /// Takes bytes from the front of `bytes` until something is found in them.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<Found> {
        while let Some((byte, rest)) = bytes.split_first() {
            let found = match &mut self.state {
                State::Lost | State::CutLine => {
                    *bytes = &[];
                    None
                }
                State::Data { left } => {
                    let here = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len());
                    *left -= here as u64;
                    *bytes = bytes.get(here..).unwrap_or_default();
                    self.data_done();
                    None
                }
                State::Start => {
                    *bytes = rest;
                    self.start(*byte)
                }
                State::Line(line) => {
                    *bytes = rest;
                    keep(&mut self.sent, *byte);
                    let ended = line.take(*byte);
                    let line = *line;
                    self.line(&line, ended)
                }
                State::Header(collected) => {
                    *bytes = rest;
                    let header = collected.take(*byte);
                    header.and_then(|header| self.header(&Header::new(header)))
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
            match &mut self.state {
                State::Lost => *gap = 0,
                State::Data { left } => {
                    let here = (*left).min(*gap);
                    *left -= here;
                    *gap -= here;
                    self.data_done();
                }
                State::Line(line) => {
                    line.cut();
                    let line = *line;
                    if verb(line.name()).is_none() {
                        return Some(self.lose(true));
                    }
                    self.state = State::CutLine;
                    return Some(self.command(&line, false));
                }
                State::CutLine => return Some(self.lose(false)),
                State::Start | State::Header(_) => return Some(self.lose(true)),
            }
        }
        None
    }

    fn data_done(&mut self) {
        if matches!(self.state, State::Data { left: 0 }) {
            self.state = State::Start;
        }
    }

    fn start(&mut self, byte: u8) -> Option<Found> {
        if byte == binary::REQUEST {
            let mut collected = Collected::default();
            collected.take(byte);
            self.state = State::Header(collected);
            return None;
        }
        if !byte.is_ascii() || (byte.is_ascii_control() && !matches!(byte, b'\r' | b'\n')) {
            return Some(self.lose(true));
        }
        let mut line = Line::default();
        if let Some(sent) = &mut self.sent {
            sent.clear();
        }
        keep(&mut self.sent, byte);
        let ended = line.take(byte);
        self.line(&line, ended)
    }

    fn line(&mut self, line: &Line, ended: bool) -> Option<Found> {
        if line.words() > WORDS_LIMIT {
            return Some(Found::Hostile);
        }
        if !ended {
            self.state = State::Line(*line);
            return None;
        }
        self.state = match line.length() {
            Length::Hostile => return Some(Found::Hostile),
            // The data is followed by CR LF.
            Length::Bytes(length) => State::Data { left: length + 2 },
            // The server refuses a storage command without a length, and takes what follows for commands.
            Length::None => State::Start,
        };
        Some(self.command(line, true))
    }

    /// A command, as sent where the user wants that.
    fn command(&self, line: &Line, whole: bool) -> Found {
        let found = command(line);
        match (found, &self.sent) {
            (Found::Command { expect, shape }, Some(sent)) if shape != UNKNOWN => Found::Command {
                shape: cut_at_limit(sent.trim_ascii_end(), whole),
                expect,
            },
            (found, _) => found,
        }
    }

    fn header(&mut self, header: &Header) -> Option<Found> {
        if header.is_hostile() {
            return Some(Found::Hostile);
        }
        if !header.is_sane() {
            return Some(self.lose(true));
        }
        self.state = State::Data {
            left: header.body_len,
        };
        self.data_done();
        let operation = binary::operation(header.opcode);
        let shape = operation.map_or(UNKNOWN, |operation| operation.shape);
        Some(Found::Command {
            shape: shape.to_owned(),
            expect: match header.opcode {
                // QUITQ: the server closes.
                0x17 => Expect::Silence,
                opcode => Expect::Binary {
                    opcode,
                    opaque: header.opaque,
                },
            },
        })
    }

    fn lose(&mut self, certain: bool) -> Found {
        self.state = State::Lost;
        Found::Lost { certain }
    }
}

/// Keeps a byte more than is told.
fn keep(sent: &mut Option<Vec<u8>>, byte: u8) {
    if let Some(sent) = sent
        && sent.len() < SHAPE_LIMIT + 4
    {
        sent.push(byte);
    }
}

/// How a command of the text protocol is counted.
struct Verb {
    name: &'static str,
    arguments: Arguments,
    expect: Expect,
}

/// What of a command's arguments is in its shape.
#[derive(Clone, Copy)]
enum Arguments {
    /// Nothing.
    None,
    /// That there is one key.
    Key,
    /// Whether there is any.
    Any,
    /// Whether there is one key or more, behind so many other arguments.
    Keys(u64),
}

fn verb(name: &[u8]) -> Option<Verb> {
    const fn meta(name: &'static str, verb: Meta) -> (&'static str, Arguments, Expect) {
        (name, Arguments::Key, Expect::Meta { verb, quiet: false })
    }
    const fn plain(name: &'static str, arguments: Arguments) -> (&'static str, Arguments, Expect) {
        (name, arguments, Expect::Reply)
    }
    let (name, arguments, expect) = match name {
        b"get" => plain("get", Arguments::Keys(0)),
        b"gets" => plain("gets", Arguments::Keys(0)),
        b"gat" => plain("gat", Arguments::Keys(1)),
        b"gats" => plain("gats", Arguments::Keys(1)),
        b"set" => plain("set", Arguments::Key),
        b"add" => plain("add", Arguments::Key),
        b"replace" => plain("replace", Arguments::Key),
        b"append" => plain("append", Arguments::Key),
        b"prepend" => plain("prepend", Arguments::Key),
        b"cas" => plain("cas", Arguments::Key),
        b"incr" => plain("incr", Arguments::Key),
        b"decr" => plain("decr", Arguments::Key),
        b"delete" => plain("delete", Arguments::Key),
        b"touch" => plain("touch", Arguments::Key),
        b"me" => plain("me", Arguments::Key),
        b"mg" => meta("mg", Meta::Get),
        b"ms" => meta("ms", Meta::Set),
        b"md" => meta("md", Meta::Delete),
        b"ma" => meta("ma", Meta::Arithmetic),
        b"mn" => ("mn", Arguments::None, Expect::Noop),
        b"flush_all" => plain("flush_all", Arguments::None),
        b"version" => plain("version", Arguments::None),
        b"verbosity" => plain("verbosity", Arguments::None),
        b"cache_memlimit" => plain("cache_memlimit", Arguments::None),
        b"lru" => plain("lru", Arguments::Any),
        b"lru_crawler" => plain("lru_crawler", Arguments::Any),
        b"slabs" => plain("slabs", Arguments::Any),
        b"stats" => plain("stats", Arguments::Any),
        // The server closes.
        b"quit" => ("quit", Arguments::None, Expect::Silence),
        b"shutdown" => ("shutdown", Arguments::None, Expect::Silence),
        _ => return None,
    };
    Some(Verb {
        name,
        arguments,
        expect,
    })
}

fn command(line: &Line) -> Found {
    let Some(verb) = verb(line.name()) else {
        return Found::Command {
            shape: UNKNOWN.to_owned(),
            expect: Expect::Reply,
        };
    };
    let count = line.words().saturating_sub(1);
    let suffix = match verb.arguments {
        Arguments::None => "",
        Arguments::Key => " ?",
        Arguments::Any if count == 0 => "",
        Arguments::Any => " ?",
        Arguments::Keys(others) => match count.saturating_sub(others) {
            0 => "",
            1 => " ?",
            _ => " ...",
        },
    };
    Found::Command {
        shape: format!("{}{suffix}", verb.name),
        expect: match (verb.expect, verb.arguments) {
            (Expect::Meta { verb, .. }, _) => Expect::Meta {
                verb,
                quiet: line.quiet(),
            },
            // A key that is called so.
            (expect, Arguments::Keys(_)) => expect,
            _ if line.noreply() => Expect::Silence,
            (expect, _) => expect,
        },
    }
}
