//! A connection: both directions, and what to do where one of them cannot be followed.
//!
//! A direction is *lost* from where a message begins in bytes that were not captured, or where what comes
//! is none. The server's is found again at a chunk that ends in ReadyForQuery, the client's at its first
//! write after one. After a gap, a write that is messages from its first byte on will do too, and so will
//! what the server begins its answer to that with.

use std::collections::VecDeque;

use super::super::{
    Recognised,
    client::{Chunk, Finding, Session},
    sql::Dialect,
};
use super::{
    NOT_CAPTURED, SKIPPED, UNKNOWN_ERROR,
    asked::Parsed,
    ending::{self, Ready},
    framing::{Framer, Input, Step},
    message::{self, Side},
    names::Prepared,
    pending::{Group, Pending},
    recognise::recognise,
};

/// How far the connection is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// Nothing was written yet.
    New,
    /// Packets without a type come.
    Packets,
    /// The server is to tell, in one byte, whether it encrypts.
    AskedToEncrypt,
    Done,
}

/// How the last operation ended of those whose answers were not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Well { rows: u64 },
    Failed,
    Unknown,
}

/// One connection to PostgreSQL.
#[derive(Debug)]
pub(super) struct PostgresSession {
    pub(super) client: Framer,
    pub(super) server: Framer,
    pub(super) setup: Setup,
    /// It is encrypted, or not PostgreSQL: nothing is looked at any more.
    pub(super) stopped: bool,
    pub(super) client_lost: bool,
    server_lost: bool,
    /// The client is lost since a gap: it may have begun anew.
    after_gap: bool,
    /// The server is lost, and what it writes next answers a write that was found after a gap.
    begins_answer: bool,
    /// The last message, of those that belong to an answer, was ReadyForQuery.
    pub(super) ready: bool,
    /// The last read ended in it, and nothing was written since.
    idle: bool,
    /// The server takes data to copy.
    pub(super) copying: bool,
    pub(super) dialect: Dialect,
    pub(super) prepared: Prepared,
    pub(super) pending: Pending,
    /// The client's last message, when it was a Parse.
    pub(super) parsed: Option<Parsed>,
    /// Shape of an Execute of a portal whose Bind was not captured.
    pub(super) guess: Option<std::sync::Arc<str>>,
    /// Rows since the last answer.
    pub(super) rows: u64,
    /// The last bytes that the server wrote, while it is lost.
    end: Vec<u8>,
}

impl Session for PostgresSession {
    fn written(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>) {
        if self.stopped || (chunk.len == 0 && chunk.front.is_empty()) {
            return;
        }
        if self.client_lost && !self.finds_client(chunk.front) {
            return;
        }
        self.idle = false;
        self.ready = false;
        let input = Input::new(chunk);
        if self.setup == Setup::New {
            self.setup = match input.first() {
                Some(0) => Setup::Packets,
                _ => Setup::Done,
            };
        }
        self.parsed = None;
        self.guess = None;
        self.follow_client(input, found);
    }

    fn read(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>) {
        if self.stopped || (chunk.len == 0 && chunk.front.is_empty()) {
            return;
        }
        let mut input = Input::new(chunk);
        if self.setup == Setup::AskedToEncrypt && !self.may_go_on_in_clear(&mut input, found) {
            return;
        }
        if std::mem::take(&mut self.begins_answer) && message::begins_answer(chunk.front) {
            self.server_lost = false;
            self.server.reset();
        }
        if self.server_lost {
            self.search_end(chunk, found);
        } else {
            self.follow_server(chunk, input, found);
        }
        if self.idle && self.client_lost {
            self.answer_all(End::Unknown, found);
        }
    }

    fn gap(&mut self, found: &mut Vec<Finding>) {
        if self.stopped {
            return;
        }
        self.answer_all(End::Unknown, found);
        Self::missed(found);
        self.setup = Setup::Done;
        self.client.reset();
        self.client_lost = true;
        self.after_gap = true;
        self.server.reset();
        self.server_lost = true;
        self.begins_answer = false;
        self.end.clear();
        self.ready = false;
        self.idle = false;
        // Any Parse or Bind takes these names anew.
        self.prepared.forget_unnamed();
    }
}

impl PostgresSession {
    pub(super) fn new() -> Self {
        Self {
            client: Framer::new(Side::Client),
            server: Framer::new(Side::Server),
            setup: Setup::New,
            stopped: false,
            client_lost: false,
            server_lost: false,
            after_gap: false,
            begins_answer: false,
            ready: false,
            idle: false,
            copying: false,
            dialect: Dialect::POSTGRESQL.with_unknown_backslash(),
            prepared: Prepared::new(),
            pending: Pending::default(),
            parsed: None,
            guess: None,
            rows: 0,
            end: Vec::new(),
        }
    }

    /// Whether a write that begins so is the client's first that can be followed again.
    fn finds_client(&mut self, front: &[u8]) -> bool {
        if !self.idle {
            if !self.after_gap || recognise(front) != Recognised::Yes {
                return false;
            }
            self.begins_answer = self.server_lost;
        }
        if std::mem::take(&mut self.after_gap) {
            self.setup = Setup::New;
        }
        self.client_lost = false;
        self.client.reset();
        true
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

    /// The client's messages cannot be followed.
    pub(super) fn lose_client(&mut self, found: &mut Vec<Finding>) {
        // What is copied has no operations in it.
        if !self.copying {
            Self::missed(found);
        }
        self.client_lost = true;
    }

    fn follow_client(&mut self, mut input: Input<'_>, found: &mut Vec<Finding>) {
        while !self.stopped && !self.client_lost {
            self.client.untyped = self.setup != Setup::Done;
            match self.client.step(&mut input) {
                Step::Message { kind, whole } => self.asked(kind, whole, found),
                Step::More => break,
                Step::Gap => return self.behind_gap(input, found),
                Step::Strange => {
                    Self::missed(found);
                    self.client_lost = true;
                }
                Step::Hostile => self.stop(found),
            }
        }
    }

    /// Messages of the client begin in bytes that were not captured. A write that ends in whole messages
    /// with a Sync is in step again behind them.
    fn behind_gap(&mut self, input: Input<'_>, found: &mut Vec<Finding>) {
        let (gap, tail) = input.behind_gap();
        let Some(at) = ending::messages(tail) else {
            self.lose_client(found);
            return;
        };
        let (hidden, seen) = tail.split_at(at);
        let hidden = gap + (self.client.header_begun() + hidden.len()) as u64;
        let executes = ending::has_execute(seen);
        let parsed = self.parsed.take();
        let known = parsed.filter(|parsed| parsed.explains(hidden, executes));
        if known.is_none() && !self.copying {
            Self::missed(found);
        }
        // What it was bound to is hidden.
        self.prepared.close_portal(b"");
        self.guess = Some(known.map_or_else(|| NOT_CAPTURED.into(), |parsed| parsed.shape));
        self.client.reset();
        self.follow_client(Input::whole(seen), found);
        self.guess = None;
    }

    fn follow_server(&mut self, chunk: Chunk<'_>, mut input: Input<'_>, found: &mut Vec<Finding>) {
        loop {
            match self.server.step(&mut input) {
                Step::Message { kind, whole } => self.answered(kind, whole, found),
                Step::More => {
                    self.idle = self.ready && self.server.header_begun() == 0;
                    return;
                }
                Step::Gap => break,
                Step::Strange | Step::Hostile => {
                    Self::missed(found);
                    break;
                }
            }
        }
        self.server_lost = true;
        self.end.clear();
        self.search_end(chunk, found);
    }

    /// Looks for a ReadyForQuery at the end of what the server wrote so far.
    fn search_end(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>) {
        if !chunk.is_whole() {
            self.end.clear();
        }
        let last = if chunk.is_whole() {
            chunk.front
        } else {
            chunk.tail
        };
        let last = last.get(last.len().saturating_sub(ending::END_LIMIT)..);
        self.end.extend_from_slice(last.unwrap_or_default());
        let surplus = self.end.len().saturating_sub(ending::END_LIMIT);
        self.end.drain(..surplus);
        self.idle = false;
        if let Some(ready) = ending::ready(&self.end) {
            self.server_lost = false;
            self.server.reset();
            self.end.clear();
            self.ready = true;
            self.idle = true;
            if ready.completed && self.pending.is_empty() && !self.client_lost {
                // It was asked for where nothing was captured.
                Self::missed(found);
            }
            if chunk.is_whole() && self.pending.has_several() {
                // What was not captured was read before.
                found.push(Finding::ReadInPart);
            }
            let end = match ready {
                // It may be the end of any of them.
                _ if self.pending.has_several_groups() => End::Unknown,
                Ready { failed: true, .. } => End::Failed,
                Ready { rows, .. } => End::Well { rows },
            };
            self.answer_all(end, found);
        }
    }

    /// The server is ready, and it is not known how it answered each of what is open.
    fn answer_all(&mut self, end: End, found: &mut Vec<Finding>) {
        self.rows = 0;
        self.copying = false;
        let groups = self.pending.clear();
        let last = groups.iter().rposition(|group| group.open > 0);
        for (index, mut group) in groups.into_iter().enumerate() {
            if Some(index) == last && !group.failed {
                group.open -= 1;
                let further = std::mem::take(&mut group.further);
                Self::end_group(group, found);
                Self::answer_last(end, further, found);
            } else {
                if !group.failed && !group.further.is_empty() {
                    // Maybe it failed.
                    Self::missed(found);
                }
                Self::end_group(group, found);
            }
        }
    }

    /// Ends the last open operation, and those that the server was to begin behind it.
    fn answer_last(end: End, further: VecDeque<String>, found: &mut Vec<Finding>) {
        let answered = |rows| Finding::Answered { rows, error: None };
        match end {
            End::Well { rows } => {
                for shape in further {
                    found.extend([answered(0), Finding::Begun { shape }]);
                }
                found.push(answered(rows));
            }
            End::Failed if further.is_empty() => found.push(Finding::Answered {
                rows: 0,
                error: Some(UNKNOWN_ERROR.to_owned()),
            }),
            End::Failed | End::Unknown => {
                // Which of them failed, and so which were begun, is not known.
                found.push(answered(0));
                if !further.is_empty() {
                    Self::missed(found);
                }
            }
        }
    }

    /// Ends what is open in a group without an answer of its own.
    pub(super) fn end_group(group: Group, found: &mut Vec<Finding>) {
        for _ in 0..group.open {
            found.push(Finding::Answered {
                rows: 0,
                error: group.failed.then(|| SKIPPED.to_owned()),
            });
        }
    }
}
