//! Redis and what speaks as it does (Valkey, KeyDB, Dragonfly): RESP2 and RESP3.
//!
//! An operation is a command, counted as `INFO commandstats` counts them. A command in MULTI, which
//! the server answers with `+QUEUED`, is one, and so is its EXEC: the server counts the queued command
//! when EXEC runs it. After DISCARD, and where WATCH lets EXEC fail, queued commands are never run:
//! there this counts more than the server. So it does for commands that the server rejects, which
//! stand in `rejected_calls`; those are answered by an error.
//!
//! Keys, values and other arguments are passed over, not kept, unless the user wants them.

mod command;
mod inline;
mod names;
mod open;
mod reply;
mod shape;
#[cfg(test)]
mod tests;
mod token;

use super::Recognised;
use super::client::{Chunk, ClientProtocol, Finding, Session, SessionOptions};
use command::Commands;
use open::{Expect, Open, Topic};
use reply::{Kind, Replies, Reply};
use shape::{Meaning, is_name_byte};
use token::{Number, Step, WORD_LIMIT, Word};

/// Redis, as its clients speak it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Redis;

impl ClientProtocol for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn recognise(&self, written: &[u8]) -> Recognised {
        match written.split_first() {
            None => Recognised::Undecided,
            Some((b'*', rest)) => recognise_array(rest),
            Some(_) if inline::is_command(written) => Recognised::Yes,
            Some(_) => inline::recognise(written),
        }
    }

    fn session(&self) -> Box<dyn Session> {
        self.session_with(SessionOptions::default())
    }

    fn session_with(&self, options: SessionOptions) -> Box<dyn Session> {
        Box::new(RedisSession {
            commands: Commands::new(options.show_literals),
            ..RedisSession::default()
        })
    }
}

/// A number of words, the length of the first, and at least a letter of it.
fn recognise_array(bytes: &[u8]) -> Recognised {
    let mut rest = bytes;
    let Some(count) = recognise_number(&mut rest, command::COUNT_LIMIT) else {
        return Recognised::No;
    };
    let name = match (count, rest.split_first()) {
        (0, _) | (_, None) => return Recognised::Undecided,
        (_, Some((b'$', name))) => name,
        _ => return Recognised::No,
    };
    rest = name;
    let limit = i64::try_from(WORD_LIMIT).unwrap_or(i64::MAX);
    let Some(length) = recognise_number(&mut rest, limit) else {
        return Recognised::No;
    };
    let name = rest.get(..length).unwrap_or(rest);
    match name.first() {
        None => Recognised::Undecided,
        Some(first) if !first.is_ascii_alphabetic() => Recognised::No,
        _ if !name.iter().copied().all(is_name_byte) => Recognised::No,
        _ if name.len() < length => Recognised::Undecided,
        _ => Recognised::Yes,
    }
}

/// A number from 1 to `limit`, taken off `bytes`; 0: cut short; `None`: there is none.
fn recognise_number(bytes: &mut &[u8], limit: i64) -> Option<usize> {
    let mut number = Number::default();
    while let Some((byte, rest)) = bytes.split_first() {
        *bytes = rest;
        match number.feed(*byte) {
            Step::More => {}
            Step::Done(value) if (1..=limit).contains(&value) => {
                return usize::try_from(value).ok();
            }
            _ => return None,
        }
    }
    Some(0)
}

/// Whether the server replies at all (CLIENT REPLY).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hearing {
    #[default]
    On,
    Off,
    SkipNext,
}

/// One connection.
#[derive(Debug, Default)]
struct RedisSession {
    commands: Commands,
    replies: Replies,
    open: Open,
    hearing: Hearing,
    /// Confirmations still to come that answer nothing, as an operation is answered by its first;
    /// `None` of them: any number.
    owed: Option<(Topic, Option<u64>)>,
    /// The server sends lines about the commands of others.
    monitoring: bool,
    /// Framing was lost in a write; whether a command was missed there, the replies may tell.
    doubt: bool,
    /// [`Finding::Missed`] was said for the last write.
    told: bool,
    /// Nothing more is looked at.
    stopped: bool,
}

impl Session for RedisSession {
    fn written(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>) {
        let lost = self.replies.is_lost();
        if lost || self.stopped {
            // Who writes has read its answers.
            self.answer_all(found);
            self.replies.restart();
        }
        if self.stopped || chunk.len == 0 {
            return;
        }
        if self.commands.is_lost() {
            if !resumes(chunk.front) {
                return;
            }
            // Replies to all that were seen, and no others: nothing was missed.
            if self.doubt && (lost || !self.open.is_empty()) {
                self.missed(found);
            }
            self.commands.restart();
        }
        self.doubt = false;
        self.told = false;
        let (mut front, mut gap, mut tail) = chunk.parts();
        while !self.stopped {
            let Some(command) = self
                .commands
                .next(&mut front)
                .or_else(|| self.commands.skip(&mut gap))
                .or_else(|| self.commands.next(&mut tail))
            else {
                return;
            };
            self.command(command, found);
        }
    }

    fn read(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>) {
        let (mut front, mut gap, mut tail) = chunk.parts();
        while !self.stopped {
            let Some(reply) = self
                .replies
                .next(&mut front)
                .or_else(|| self.replies.skip(&mut gap))
                .or_else(|| self.replies.next(&mut tail))
            else {
                return;
            };
            match reply {
                reply::Found::Reply(reply) => self.reply(&reply, found),
                reply::Found::Hostile => self.stop(found),
            }
        }
    }

    fn gap(&mut self, found: &mut Vec<Finding>) {
        self.answer_all(found);
        if self.stopped {
            return;
        }
        self.commands.forget();
        self.replies.forget();
        self.told = false;
        self.missed(found);
    }
}

/// Whether a write, after framing was lost, begins with a command, not with the rest of a value.
fn resumes(front: &[u8]) -> bool {
    if front.first() == Some(&b'*') {
        return Redis.recognise(front) != Recognised::No;
    }
    inline::recognise(front) == Recognised::Yes
}

impl RedisSession {
    fn command(&mut self, command: command::Found, found: &mut Vec<Finding>) {
        match command {
            command::Found::Command { shape, meaning } => {
                self.asked(shape, meaning, found);
            }
            command::Found::Lost { certain: true } => self.missed(found),
            command::Found::Lost { certain: false } => self.doubt = true,
            command::Found::Hostile => self.stop(found),
        }
    }

    fn asked(&mut self, shape: String, meaning: Meaning, found: &mut Vec<Finding>) {
        let asked = Finding::Asked { shape };
        let silent = self.hearing != Hearing::On;
        if self.hearing == Hearing::SkipNext {
            self.hearing = Hearing::On;
        }
        let expect = match meaning {
            Meaning::RepliesOn => {
                self.hearing = Hearing::On;
                Expect::Reply
            }
            Meaning::RepliesOff => {
                self.hearing = Hearing::Off;
                Expect::Silence
            }
            Meaning::RepliesSkip => {
                if self.hearing == Hearing::On {
                    self.hearing = Hearing::SkipNext;
                }
                Expect::Silence
            }
            Meaning::Replication => {
                found.push(asked);
                self.stop(found);
                return;
            }
            Meaning::Answered(_) if silent => Expect::Silence,
            Meaning::Answered(expect) => expect,
        };
        if !self.open.push(expect) {
            // Too many are open: whose answers come is not followed.
            return self.gap(found);
        }
        found.push(asked);
        self.settle(found);
    }

    fn reply(&mut self, reply: &Reply, found: &mut Vec<Finding>) {
        let front = self.open.front();
        // RESP2 has no push type: messages are arrays, and come only where no other command than these
        // can be open.
        let is_message = match reply.kind {
            Kind::Push => true,
            Kind::Array => matches!(
                front,
                None | Some(Expect::Control | Expect::Confirmation(..))
            ),
            _ => false,
        };
        if matches!(reply.kind, Kind::Array | Kind::Push)
            && let Some(topic) = topic(&reply.word)
            && (is_message || self.owed.is_some_and(|(owed, _)| owed == topic))
        {
            self.confirmation(topic, found);
            return;
        }
        if reply.kind == Kind::Push || is_message && is_published(&reply.word) {
            return;
        }
        if self.monitoring && is_monitor_line(reply) {
            return;
        }
        match front {
            None => self.missed(found),
            Some(expect) => {
                let error = error(reply);
                self.monitoring |= expect == Expect::Monitor && error.is_none();
                if expect == Expect::Reply {
                    // Replies are in order: all confirmations came before.
                    self.owed = None;
                }
                self.answer(reply.rows, error, found);
                self.settle(found);
            }
        }
    }

    fn confirmation(&mut self, topic: Topic, found: &mut Vec<Finding>) {
        let waiting = match self.open.front() {
            Some(Expect::Confirmation(asked, channels)) if asked == topic => Some(channels),
            _ => None,
        };
        match (&mut self.owed, waiting) {
            (Some((owed, Some(count))), _) if *owed == topic && *count > 0 => *count -= 1,
            (_, Some(channels)) => {
                self.owed = Some((topic, channels.checked_sub(1)));
                self.answer(0, None, found);
                self.settle(found);
            }
            _ => {}
        }
    }

    /// Answers what waits for no reply.
    fn settle(&mut self, found: &mut Vec<Finding>) {
        while self.open.front() == Some(Expect::Silence) {
            self.answer(0, None, found);
        }
    }

    fn answer(&mut self, rows: u64, error: Option<String>, found: &mut Vec<Finding>) {
        if self.open.pop().is_some() {
            found.push(Finding::Answered { rows, error });
        }
    }

    /// Answers all, with what was read of the reply to the oldest.
    fn answer_all(&mut self, found: &mut Vec<Finding>) {
        let cut = self.replies.under_way();
        self.answer(cut.rows, error(&cut), found);
        while !self.open.is_empty() {
            self.answer(0, None, found);
        }
        self.owed = None;
    }

    /// Operations may be missing; once for a write is enough.
    fn missed(&mut self, found: &mut Vec<Finding>) {
        self.doubt = false;
        if !std::mem::replace(&mut self.told, true) {
            found.push(Finding::Missed);
        }
    }

    fn stop(&mut self, found: &mut Vec<Finding>) {
        self.told = false;
        self.missed(found);
        self.stopped = true;
    }
}

/// What a confirmation confirms.
fn topic(word: &Word) -> Option<Topic> {
    match word.get()? {
        b"subscribe" => Some(Topic::Subscribe),
        b"psubscribe" => Some(Topic::PSubscribe),
        b"ssubscribe" => Some(Topic::SSubscribe),
        b"unsubscribe" => Some(Topic::Unsubscribe),
        b"punsubscribe" => Some(Topic::PUnsubscribe),
        b"sunsubscribe" => Some(Topic::SUnsubscribe),
        _ => None,
    }
}

fn is_published(word: &Word) -> bool {
    word.get()
        .is_some_and(|word| matches!(word, b"message" | b"pmessage" | b"smessage"))
}

/// `+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"`
fn is_monitor_line(reply: &Reply) -> bool {
    reply.kind == Kind::Simple
        && reply
            .word
            .get()
            .and_then(|word| word.first())
            .is_some_and(u8::is_ascii_digit)
}

/// First word of an error. Codes are words in capitals; anything else was made by a script and may
/// be data.
fn error(reply: &Reply) -> Option<String> {
    if reply.kind != Kind::Error {
        return None;
    }
    Some(match reply.word.get() {
        Some(code) if code.iter().all(|byte| is_code_byte(*byte)) => {
            code.iter().map(|byte| char::from(*byte)).collect()
        }
        _ => "unknown".to_owned(),
    })
}

fn is_code_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}
