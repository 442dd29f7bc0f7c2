//! memcached: the text protocol with its meta commands, and the binary protocol.
//!
//! An operation is a command, whatever number of keys it has. Quiet commands (`q`, `GETQ`, ...) may never
//! be answered: they are as soon as the answer to a later command tells that theirs does not come. In
//! the text protocol it cannot always be told which of several quiet commands an answer belongs to: it
//! goes to the oldest that it fits, so that sums are right.
//!
//! Keys and values are passed over, not kept; where the user wants them, lines of the text protocol are told as
//! sent. Data behind a line never is.

mod answer;
mod binary;
mod command;
mod open;
mod recognise;
#[cfg(test)]
mod tests;
mod token;

use super::Recognised;
use super::client::{Chunk, ClientProtocol, Finding, Session, SessionOptions};
use answer::{Answers, Status};
use binary::Header;
use command::Commands;
use open::{Expect, Meta, Open};

/// memcached, as its clients speak it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memcached;

impl ClientProtocol for Memcached {
    fn name(&self) -> &'static str {
        "memcached"
    }

    fn recognise(&self, written: &[u8]) -> Recognised {
        recognise::recognise(written)
    }

    fn session(&self) -> Box<dyn Session> {
        self.session_with(SessionOptions::default())
    }

    fn session_with(&self, options: SessionOptions) -> Box<dyn Session> {
        Box::new(MemcachedSession {
            commands: Commands::new(options.show_literals),
            ..MemcachedSession::default()
        })
    }

    fn tells_at_ends(&self) -> bool {
        false
    }
}

/// One connection.
#[derive(Debug, Default)]
struct MemcachedSession {
    commands: Commands,
    answers: Answers,
    open: Open,
    /// An answer may have been a later command's: what is open may be answered already.
    ambiguous: bool,
    /// Framing was lost in a write; whether a command was missed there, the answers may tell.
    doubt: bool,
    /// [`Finding::Missed`] was said for the last write.
    told: bool,
    /// Nothing more is looked at.
    stopped: bool,
}

impl Session for MemcachedSession {
    fn written(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>) {
        let lost = self.answers.is_lost();
        if lost || self.stopped || self.ambiguous {
            // Who writes has read its answers.
            self.answer_all(found);
        }
        if lost {
            self.answers.restart();
        }
        if self.stopped || chunk.len == 0 {
            return;
        }
        if self.commands.is_lost() {
            if !resumes(chunk.front) {
                return;
            }
            // Answers to all that were seen, and no others: nothing was missed.
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
            let Some(answer) = self
                .answers
                .next(&mut front)
                .or_else(|| self.answers.skip(&mut gap))
                .or_else(|| self.answers.next(&mut tail))
            else {
                return;
            };
            match answer {
                answer::Found::Text { status, values } => self.text(status, values, found),
                answer::Found::Binary(header) => self.binary(&header, found),
                answer::Found::Hostile => self.stop(found),
            }
        }
    }

    fn gap(&mut self, found: &mut Vec<Finding>) {
        self.answer_all(found);
        if self.stopped {
            return;
        }
        self.commands.forget();
        self.answers.forget();
        self.told = false;
        self.missed(found);
    }
}

/// Whether a write, after framing was lost, begins with a command, not with the rest of a value. The
/// end of a line with many keys need not be captured.
fn resumes(front: &[u8]) -> bool {
    match recognise::recognise(front) {
        Recognised::Yes => true,
        Recognised::Undecided => front.contains(&b' ') || front.first() == Some(&binary::REQUEST),
        Recognised::No => false,
    }
}

impl MemcachedSession {
    fn command(&mut self, command: command::Found, found: &mut Vec<Finding>) {
        match command {
            command::Found::Command { shape, expect } => {
                if !self.open.push(expect) && !self.make_room(expect, found) {
                    // Too many are open: whose answers come is not followed.
                    return self.gap(found);
                }
                found.push(Finding::Asked { shape });
                self.settle(found);
            }
            command::Found::Lost { certain: true } => self.missed(found),
            command::Found::Lost { certain: false } => self.doubt = true,
            command::Found::Hostile => self.stop(found),
        }
    }

    /// A client that sends quiet commands only may never hear of them.
    fn make_room(&mut self, expect: Expect, found: &mut Vec<Finding>) -> bool {
        if !self.open.front().is_some_and(Expect::is_quiet) {
            return false;
        }
        self.answer(0, None, found);
        self.open.push(expect)
    }

    fn text(&mut self, status: Status, values: u64, found: &mut Vec<Finding>) {
        if status == Status::Noop && self.open.has_noop() {
            while self.open.front().is_some_and(|front| front != Expect::Noop) {
                self.answer(0, None, found);
            }
            self.ambiguous = false;
        }
        while !self.open.is_last()
            && self
                .open
                .front()
                .is_some_and(|front| !front.may_be_answered_by(status))
        {
            self.answer(0, None, found);
        }
        let Some(front) = self.open.front() else {
            return self.missed(found);
        };
        let rows = match (front, status) {
            (
                Expect::Meta {
                    verb: Meta::Get, ..
                },
                Status::Value | Status::Done,
            ) => 1,
            _ => values,
        };
        let error = match status {
            Status::Error(word) => Some(word.to_owned()),
            _ => None,
        };
        self.answer(rows, error, found);
        self.ambiguous = (self.ambiguous || front.is_quiet()) && !self.open.is_empty();
        self.settle(found);
    }

    fn binary(&mut self, header: &Header, found: &mut Vec<Finding>) {
        if header.has_more() {
            return;
        }
        let wanted = Expect::Binary {
            opcode: header.opcode,
            opaque: header.opaque,
        };
        while let Some(front) = self.open.front() {
            if front == wanted {
                self.answer(header.rows(), header.error(), found);
                return self.settle(found);
            }
            if !front.is_quiet() {
                // Out of step.
                return self.answers.lose();
            }
            self.answer(0, None, found);
        }
        self.missed(found);
    }

    /// Answers what waits for nothing.
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

    fn answer_all(&mut self, found: &mut Vec<Finding>) {
        while !self.open.is_empty() {
            self.answer(0, None, found);
        }
        self.ambiguous = false;
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
