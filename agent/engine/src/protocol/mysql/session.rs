//! A connection: both directions, and what to do where one of them cannot be followed.
//!
//! A direction is *lost* from where a packet begins in bytes that were not captured. The server's is found
//! again where rows or the end of an answer are, and both at the client's next command: who writes one has
//! read its answers.

use super::super::{
    Recognised,
    client::{Chunk, Finding, Session},
    sql::Dialect,
};
use super::{
    answered::Answer,
    ending::{self, Kind, Last},
    framing::{Framer, Input, Side, Step},
    hidden::{self, Hidden},
    open::{Command, Expect, Open},
    prepared::Prepared,
    recognise,
};

/// One connection to MySQL.
#[derive(Debug)]
pub(super) struct MysqlSession {
    pub(super) client: Framer,
    pub(super) server: Framer,
    /// Nothing was written yet.
    pub(super) new: bool,
    /// It is encrypted, or not MySQL: nothing is looked at any more.
    pub(super) stopped: bool,
    /// Once it is logged in, it compresses, if the server does.
    pub(super) compresses: bool,
    pub(super) client_lost: bool,
    pub(super) server_lost: bool,
    pub(super) open: Open,
    /// How far the answer to the first open command is.
    pub(super) answer: Answer,
    /// Number of the server's next packet, where it is known.
    pub(super) next: Option<u8>,
    /// An EOF packet with this number may follow an answer that is over.
    pub(super) trailing: Option<u8>,
    /// The client sends a file.
    pub(super) infile: bool,
    pub(super) prepared: Prepared,
    /// Whether backslashes escape, once the server has told.
    pub(super) backslash: Option<bool>,
    /// How statements are read, but for backslashes.
    pub(super) dialect: Dialect,
    /// Rows since the last answer.
    pub(super) rows: u64,
    pub(super) hidden: Hidden,
    /// [`Finding::Answering`] was told of the first open command.
    answering: bool,
    /// The last bytes that the server wrote, while it is lost.
    end: Vec<u8>,
}

impl Session for MysqlSession {
    fn written(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>) {
        if chunk.len == 0 && chunk.front.is_empty() {
            return;
        }
        if self.compresses && self.open.is_empty() {
            self.compresses = !recognise::is_command(chunk.front);
            self.stopped = self.compresses;
        }
        if self.stopped {
            if self.compresses {
                Self::missed(found);
            }
            return;
        }
        if self.client_lost {
            let begins = recognise::is_command(chunk.front)
                || (self.new && recognise::recognise(chunk.front) == Recognised::Yes);
            if self.infile || !begins {
                return;
            }
            self.close_all(found);
            self.client_lost = false;
            self.client.reset();
        }
        let mut input = Input::new(chunk);
        while !self.stopped && !self.client_lost {
            match self.client.step(&mut input) {
                Step::Packet(packet) => self.asked(packet, found),
                Step::More => return,
                Step::Gap => self.lose_client(found),
            }
        }
    }

    fn read(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>) {
        if self.stopped || (chunk.len == 0 && chunk.front.is_empty()) {
            return;
        }
        let input = Input::new(chunk);
        if !self.server_lost {
            return self.follow(input, chunk, found);
        }
        let window = [&self.end, chunk.front].concat();
        if let Some(at) = self.found_again(&window) {
            let front = window.get(at..).unwrap_or_default();
            return self.follow(input.with_front(front), chunk, found);
        }
        self.hidden.bytes = self.hidden.bytes.saturating_add(input.rest());
        self.search_end(chunk, found);
    }

    fn gap(&mut self, found: &mut Vec<Finding>) {
        if self.stopped {
            return;
        }
        self.close_all(found);
        Self::missed(found);
        self.infile = false;
        self.client.opaque = false;
        self.client.reset();
        self.client_lost = true;
        self.server_lost = true;
        // What is written next may be its first.
        self.new = true;
    }
}

impl MysqlSession {
    pub(super) fn new() -> Self {
        Self {
            client: Framer::new(Side::Client),
            server: Framer::new(Side::Server),
            new: true,
            stopped: false,
            compresses: false,
            client_lost: false,
            server_lost: false,
            open: Open::default(),
            answer: Answer::First,
            next: None,
            trailing: None,
            infile: false,
            prepared: Prepared::default(),
            backslash: None,
            dialect: Dialect::MYSQL,
            rows: 0,
            hidden: Hidden::default(),
            answering: false,
            end: Vec::new(),
        }
    }

    /// The same, with statements told as sent.
    pub(super) fn with_literals(mut self, shown: bool) -> Self {
        self.dialect = self.dialect.with_literals(shown);
        self
    }

    /// Tells that something could not be read, once in a row.
    pub(super) fn missed(found: &mut Vec<Finding>) {
        if found.last() != Some(&Finding::Missed) {
            found.push(Finding::Missed);
        }
    }

    /// Nothing more can be told of this connection.
    pub(super) fn stop(&mut self, found: &mut Vec<Finding>) {
        Self::missed(found);
        self.forget();
    }

    /// What was kept is of no use any more.
    pub(super) fn forget(&mut self) {
        *self = Self {
            stopped: true,
            ..Self::new()
        };
    }

    /// The client's packets cannot be followed, so what answers which of them is not known either.
    pub(super) fn lose_client(&mut self, found: &mut Vec<Finding>) {
        // A file has no operations in it.
        if !self.infile {
            Self::missed(found);
        }
        self.client_lost = true;
    }

    /// The server's packets are not those that were expected.
    pub(super) fn lose_server(&mut self, found: &mut Vec<Finding>) {
        Self::missed(found);
        self.server_lost = true;
        self.next = None;
    }

    /// All that was open is over, and it is not known how.
    pub(super) fn close_all(&mut self, found: &mut Vec<Finding>) {
        while let Some(command) = self.open.pop() {
            if command.is_operation() {
                let rows = std::mem::take(&mut self.rows);
                found.push(if std::mem::take(&mut self.answering) {
                    Finding::AnsweredBefore
                } else {
                    Finding::Answered { rows, error: None }
                });
            }
            if let Expect::Statement(statement) = command.expect
                && !statement.is_last()
            {
                Self::missed(found);
            }
        }
        self.begin_answer();
        self.backslash = None;
        self.trailing = None;
        self.server_lost = false;
        self.server.reset();
        self.end.clear();
    }

    /// The next packet of the server begins an answer.
    pub(super) fn begin_answer(&mut self) {
        self.answer = Answer::First;
        self.next = self.open.front().map(|command| command.number);
        self.rows = 0;
        self.answering = false;
        self.hidden = Hidden::default();
    }

    /// Takes what the server wrote, as far as it can be followed.
    fn follow(&mut self, mut input: Input<'_>, chunk: Chunk<'_>, found: &mut Vec<Finding>) {
        while !self.stopped && !self.server_lost {
            match self.server.step(&mut input) {
                Step::Packet(packet) => self.answered(packet, found),
                Step::More => return,
                Step::Gap => {
                    self.server_lost = true;
                    self.hidden.bytes = self.server.header_begun() + input.rest();
                }
            }
        }
        self.end.clear();
        self.search_end(chunk, found);
    }

    /// Looks for rows at the front of what the server wrote, behind others that were not captured; returns
    /// where they begin.
    fn found_again(&mut self, window: &[u8]) -> Option<usize> {
        let next = self.next.filter(|_| self.is_alone())?;
        let again = hidden::again(window)?;
        let before = (self.end.len() as u64).min(self.hidden.bytes);
        let bytes = (self.hidden.bytes - before).saturating_add(again.at as u64);
        let mut sizes = self.hidden;
        sizes.see(again.len as u64);
        let mut packets = sizes.packets(next, again.number, bytes);
        self.hidden.estimated |= sizes.estimated;
        match self.answer {
            Answer::Columns(left) if packets < left => {
                self.answer = Answer::Columns(left - packets);
                packets = 0;
            }
            Answer::Columns(left) => {
                packets -= left;
                self.hidden.eof = packets > 0;
            }
            Answer::BehindColumns => self.hidden.eof = packets > 0,
            Answer::Rows => {}
            _ => return None,
        }
        if packets > 0 {
            self.answer = Answer::Rows;
        } else if matches!(self.answer, Answer::Columns(0)) {
            self.answer = Answer::BehindColumns;
        }
        self.rows = self.rows.saturating_add(packets);
        self.next = Some(again.number);
        self.server_lost = false;
        self.server.reset();
        self.end.clear();
        Some(again.at)
    }

    /// One statement is open, of one result.
    fn is_alone(&mut self) -> bool {
        self.open.len() == 1
            && !self.client_lost
            && self
                .open
                .statement()
                .is_none_or(|statement| !statement.several && statement.is_last())
    }

    /// Looks for the end of an answer at the end of what the server wrote so far.
    fn search_end(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>) {
        let last = if chunk.is_whole() {
            chunk.front
        } else {
            self.end.clear();
            chunk.tail
        };
        let last = last.get(last.len().saturating_sub(ending::END_LIMIT)..);
        self.end.extend_from_slice(last.unwrap_or_default());
        let surplus = self.end.len().saturating_sub(ending::END_LIMIT);
        self.end.drain(..surplus);
        let may_be_ok = self
            .open
            .statement()
            .is_some_and(|statement| statement.several);
        // Of several answers it is not known which one ends here.
        let alone = self.open.len() == 1 && !self.client_lost;
        let last = ending::last(&self.end, may_be_ok).filter(|_| alone);
        if let Some(last) = last {
            self.server_lost = false;
            self.server.reset();
            self.end.clear();
            self.ended(last, found);
        } else if self.open.front().is_some_and(Command::is_operation) {
            self.answering = true;
            found.push(Finding::Answering {
                error: None,
                unfinished: false,
            });
        }
    }

    /// An answer ends, of which some was not captured.
    fn ended(&mut self, last: Last, found: &mut Vec<Finding>) {
        self.count_hidden(last);
        if let Some(statement) = self.open.statement() {
            statement.hidden = true;
        }
        self.next = Some(last.number.wrapping_add(1));
        match last.kind {
            Kind::Rows { status, .. } => self.result_over(status, true, found),
            Kind::Ok { status, rows } => {
                self.rows = self.rows.saturating_add(rows);
                self.result_over(status, false, found);
            }
            Kind::Error(code) => self.fail(code, found),
        }
    }

    /// Counts rows that were not captured before the last packet of an answer. Of several results it is not
    /// known what was hidden.
    fn count_hidden(&mut self, last: Last) {
        let alone = self.is_alone();
        let Some(next) = self.next.filter(|_| alone) else {
            return;
        };
        let eof = matches!(last.kind, Kind::Rows { eof: true, .. });
        let others = match self.answer {
            Answer::Rows => u64::from(eof && self.hidden.eof),
            Answer::BehindColumns => u64::from(eof),
            Answer::Columns(left) => left + u64::from(eof),
            _ => return,
        };
        let bytes = self.hidden.bytes.saturating_sub(last.len as u64);
        let packets = self.hidden.packets(next, last.number, bytes);
        self.rows = self.rows.saturating_add(packets).saturating_sub(others);
    }
}
