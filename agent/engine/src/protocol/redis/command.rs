//! What clients write: arrays of bulk strings, and inline commands (a line of words).

use super::super::client::{SHAPE_LIMIT, cut_at_limit};
use super::shape::{self, Meaning};
use super::token::{Number, Step, Word};

/// Longest argument (`proto-max-bulk-len`'s default in redis.conf).
pub(super) const LENGTH_LIMIT: i64 = 512 << 20;
/// Most arguments of a command (1024 * 1024 in `processMultibulkBuffer`, networking.c, Redis 7).
pub(super) const COUNT_LIMIT: i64 = 1 << 20;
/// Longest inline command (`PROTO_INLINE_MAX_SIZE`, server.h).
const INLINE_LIMIT: u64 = 64 << 10;

/// What was found in written bytes.
#[derive(Debug)]
pub(super) enum Found {
    /// A command.
    Command { shape: String, meaning: Meaning },
    /// The framing is lost until the next write. `certain`: a command, or a piece of one, was not seen;
    /// else there may be none behind the one that was found last.
    Lost { certain: bool },
    /// A length or count that no client sends.
    Hostile,
}

/// A command as sent, as far as it is told.
#[derive(Clone, Debug, Default)]
struct Sent {
    text: Vec<u8>,
    /// A part was not captured: what follows it is not kept.
    cut: bool,
}

impl Sent {
    fn extend(&mut self, bytes: &[u8]) {
        if !self.is_full() {
            let room = (SHAPE_LIMIT + 4).saturating_sub(self.text.len());
            self.text
                .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
    }

    /// Nothing that comes changes what is told.
    fn is_full(&self) -> bool {
        self.cut || self.text.len() > SHAPE_LIMIT
    }
}

/// One command: of its words only those that may be part of its name are kept, unless the user wants all.
#[derive(Clone, Debug, Default)]
pub(super) struct Command {
    name: Word,
    sub: Word,
    mode: Word,
    inline: bool,
    /// Words that the array has.
    count: u64,
    /// Words that were read to their end.
    done: u64,
    /// The command was handed over.
    told: bool,
    /// Its words; `None`: not wanted.
    sent: Option<Sent>,
}

impl Command {
    fn array(count: u64, literals: bool) -> Self {
        Self {
            count,
            sent: literals.then(Sent::default),
            ..Self::default()
        }
    }

    /// Its name; `None`: not captured whole, or too long for one.
    pub(super) fn name(&self) -> Option<&[u8]> {
        self.name.get()
    }

    /// Its first argument, kept only where [`shape::subcommands`] has its name.
    pub(super) fn subcommand(&self) -> Option<&[u8]> {
        self.sub.get()
    }

    /// The argument of CLIENT REPLY.
    pub(super) fn mode(&self) -> &Word {
        &self.mode
    }

    /// How many words it has, its name included.
    pub(super) fn words(&self) -> u64 {
        if self.inline { self.done } else { self.count }
    }

    /// Whether it is a line of words.
    pub(super) fn is_inline(&self) -> bool {
        self.inline
    }

    /// Whether it is CLIENT REPLY.
    pub(super) fn is_client_reply(&self) -> bool {
        self.name.is("CLIENT") && self.sub.is("REPLY")
    }

    /// The word that bytes of the current argument go to.
    fn word(&mut self) -> Option<&mut Word> {
        match self.done {
            0 => Some(&mut self.name),
            1 if self.name.get().and_then(shape::subcommands).is_some() => Some(&mut self.sub),
            2 if self.is_client_reply() => Some(&mut self.mode),
            _ => None,
        }
    }

    /// A word, or what is between two, begins.
    fn blank(&mut self) {
        if let Some(sent) = &mut self.sent
            && !sent.text.is_empty()
        {
            sent.extend(b" ");
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Some(sent) = &mut self.sent {
            sent.extend(bytes);
        }
        if let Some(word) = self.word() {
            word.extend(bytes);
        }
    }

    fn spoil(&mut self) {
        if let Some(sent) = &mut self.sent {
            sent.cut = true;
        }
        if let Some(word) = self.word() {
            word.spoil();
        }
    }

    /// Hands it over, once, as soon as all words that its shape needs are there: the operation begins
    /// with its first bytes, however long its value takes.
    fn tell_when_named(&mut self) -> Option<Found> {
        let kept = self.sent.as_ref().is_none_or(Sent::is_full);
        let named = self.done >= self.count || (kept && self.word().is_none());
        (named && !self.inline).then(|| self.tell()).flatten()
    }

    /// Hands it over as far as it was captured.
    fn tell_cut(&mut self) -> Option<Found> {
        self.spoil();
        self.done += 1;
        self.tell()
    }

    /// Its words, where the user wants them. A password is never one of them.
    fn as_sent(&self) -> Option<String> {
        let sent = self.sent.as_ref()?;
        if !shape::is_known(self) || self.name.is("AUTH") || self.name.is("HELLO") {
            return None;
        }
        let whole = !sent.cut && (self.inline || self.done >= self.count);
        Some(cut_at_limit(sent.text.trim_ascii_end(), whole))
    }

    fn tell(&mut self) -> Option<Found> {
        if self.told {
            return None;
        }
        self.told = true;
        Some(Found::Command {
            shape: self.as_sent().unwrap_or_else(|| shape::shape(self)),
            meaning: shape::meaning(self),
        })
    }
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Between two commands.
    #[default]
    Start,
    /// In the number of words, after `*`.
    Count(Number),
    /// Before the `$` of a word.
    Dollar,
    /// In the length of a word.
    Length(Number),
    /// In a word.
    Data { left: u64 },
    /// In the CR LF after a word.
    DataEnd { left: u64 },
    /// In an inline command.
    Inline { word: InlineWord, len: u64 },
    /// Framing is lost.
    Lost,
}

/// Place in an inline command (`sdssplitargs`, sds.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InlineWord {
    Between,
    Plain,
    Quoted { quote: u8, escaped: bool },
}

/// Reader of what the client writes.
#[derive(Debug, Default)]
pub(super) struct Commands {
    state: State,
    command: Command,
    /// Arguments are told.
    literals: bool,
}

impl Commands {
    /// A reader that tells arguments as sent, or not.
    pub(super) fn new(literals: bool) -> Self {
        Self {
            literals,
            ..Self::default()
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
        *self = Self::new(self.literals);
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
                    self.command.keep(data);
                    *bytes = rest;
                    self.data(left, here as u64)
                }
                _ => {
                    *bytes = rest;
                    self.byte(*byte)
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
            let found = match self.state {
                State::Lost => {
                    *gap = 0;
                    None
                }
                State::Data { left } => {
                    let here = left.min(*gap);
                    *gap -= here;
                    self.command.spoil();
                    self.data(left, here)
                }
                State::DataEnd { left } => {
                    let here = left.min(*gap);
                    *gap -= here;
                    self.data_end(left - here)
                }
                State::Start | State::Count(_) => Some(self.lose(true)),
                State::Dollar | State::Length(_) | State::Inline { .. } => {
                    Some(match self.command.tell_cut() {
                        Some(command) => command,
                        None => self.lose(false),
                    })
                }
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn byte(&mut self, byte: u8) -> Option<Found> {
        match (&mut self.state, byte) {
            (State::Start, b'*') => self.state = State::Count(Number::default()),
            // The server passes over empty lines.
            (State::Start, b'\r' | b'\n') => {}
            (State::Start, _) => return self.inline_start(byte),
            (State::Count(number), _) => {
                let step = number.feed(byte);
                return self.count(step);
            }
            (State::Dollar, b'$') => self.state = State::Length(Number::default()),
            (State::Length(number), _) => {
                let step = number.feed(byte);
                return self.length(step);
            }
            (State::DataEnd { left: 2 }, b'\r') => return self.data_end(1),
            (State::DataEnd { left: 1 }, b'\n') => return self.data_end(0),
            (State::Inline { word, len }, _) => {
                let (word, len) = (*word, *len + 1);
                return self.inline(byte, word, len);
            }
            (State::Dollar | State::DataEnd { .. } | State::Data { .. } | State::Lost, _) => {
                return Some(self.lose(true));
            }
        }
        None
    }

    fn count(&mut self, step: Step) -> Option<Found> {
        match step {
            Step::More => None,
            // The server passes over them.
            Step::Done(-1 | 0) => {
                self.state = State::Start;
                None
            }
            Step::Done(count @ 1..=COUNT_LIMIT) => {
                self.command = Command::array(count.unsigned_abs(), self.literals);
                self.state = State::Dollar;
                None
            }
            Step::Done(_) | Step::Huge => Some(Found::Hostile),
            Step::Bad => Some(self.lose(true)),
        }
    }

    fn length(&mut self, step: Step) -> Option<Found> {
        match step {
            Step::More => None,
            Step::Done(length @ 0..=LENGTH_LIMIT) => {
                let left = length.unsigned_abs();
                self.command.blank();
                self.state = State::Data { left };
                if left == 0 { self.data(0, 0) } else { None }
            }
            Step::Done(_) | Step::Huge => Some(Found::Hostile),
            Step::Bad => Some(self.lose(true)),
        }
    }

    /// `here` of the `left` bytes of a word went by.
    fn data(&mut self, left: u64, here: u64) -> Option<Found> {
        let left = left.saturating_sub(here);
        self.state = if left == 0 {
            self.command.done += 1;
            State::DataEnd { left: 2 }
        } else {
            State::Data { left }
        };
        self.command.tell_when_named()
    }

    fn data_end(&mut self, left: u64) -> Option<Found> {
        self.state = match left {
            0 if self.command.done >= self.command.count => State::Start,
            0 => State::Dollar,
            _ => State::DataEnd { left },
        };
        None
    }

    fn lose(&mut self, certain: bool) -> Found {
        self.state = State::Lost;
        Found::Lost { certain }
    }

    fn inline_start(&mut self, byte: u8) -> Option<Found> {
        if !byte.is_ascii_graphic() && !matches!(byte, b' ' | b'\t') {
            return Some(self.lose(true));
        }
        self.command = Command {
            inline: true,
            sent: self.literals.then(Sent::default),
            ..Command::default()
        };
        self.inline(byte, InlineWord::Between, 1)
    }

    fn inline(&mut self, byte: u8, word: InlineWord, len: u64) -> Option<Found> {
        if len > INLINE_LIMIT {
            return Some(Found::Hostile);
        }
        if byte == b'\n' {
            if word != InlineWord::Between {
                self.command.done += 1;
            }
            self.state = State::Start;
            return (self.command.done > 0)
                .then(|| self.command.tell())
                .flatten();
        }
        if word == InlineWord::Between && !matches!(byte, b' ' | b'\t' | b'\r') {
            self.command.blank();
        }
        let word = match (word, byte) {
            (InlineWord::Quoted { quote, escaped }, _) => self.quoted(byte, quote, escaped),
            (InlineWord::Between, b' ' | b'\t' | b'\r') => InlineWord::Between,
            (InlineWord::Plain, b' ' | b'\t' | b'\r') => {
                self.command.done += 1;
                InlineWord::Between
            }
            (_, quote @ (b'"' | b'\'')) => InlineWord::Quoted {
                quote,
                escaped: false,
            },
            _ => {
                self.command.keep(&[byte]);
                InlineWord::Plain
            }
        };
        self.state = State::Inline { word, len };
        None
    }

    fn quoted(&mut self, byte: u8, quote: u8, escaped: bool) -> InlineWord {
        if byte == quote && !escaped {
            return InlineWord::Plain;
        }
        self.command.keep(&[byte]);
        InlineWord::Quoted {
            quote,
            escaped: byte == b'\\' && !escaped,
        }
    }
}
