//! Connections to servers that watched processes made, by the inode number of their socket: what is
//! spoken there, and which operations are open.

mod take;

use std::{collections::VecDeque, sync::Arc};

use super::speech::{Heard, Speech};
use crate::{
    input::Findings,
    protocol::client::{Chunk, ClientProtocol, Finding, OPEN_LIMIT, SessionOptions},
    recent::Recent,
};

/// Connections kept; one that was silent for long goes first.
pub(crate) const LIMIT: usize = 16_384;
/// A connection of which nothing is understood is looked at anew after this time: it may have been joined in the
/// middle of something long.
const TRY_AGAIN_NS: u64 = 5_000_000_000;
/// Operations open on one connection, and on all together, at the most.
const OPEN: usize = OPEN_LIMIT as usize;

/// Error of an operation whose connection ended before its answer.
const LOST: &str = "connection lost";

/// Which request asked: its connection and its serial number.
pub(crate) type Owner = (u64, u64);

/// An operation without its whole answer.
#[derive(Clone, Debug)]
pub(crate) struct OpenOperation {
    /// `None`: no request was open.
    pub(crate) owner: Option<Owner>,
    /// Shared with the one before it, where that is the same: there may be many.
    pub(crate) shape: Arc<str>,
    pub(crate) asked_ns: u64,
    /// First read after it was asked; 0: none.
    pub(crate) first_byte_ns: u64,
    /// Last read of an answer whose end cannot be told; 0: none.
    pub(crate) read_ns: u64,
    /// Error that such an answer told.
    pub(crate) error: Option<String>,
    /// That answer is longer than what was read of it.
    pub(crate) unfinished: bool,
    /// Bytes of it and of its answer. Those of a transfer with parts of several are the first one's.
    pub(crate) bytes: u64,
    /// The rows of its answer are an estimate.
    pub(crate) rows_estimated: bool,
    /// It was answered with others, in part unseen.
    pub(crate) answer_unseen: bool,
    /// Nothing else was open when it was asked.
    pub(crate) waited_for: bool,
    /// It was answered in one read with others of other shapes.
    pub(crate) together: bool,
    /// Others were to be begun behind it: without its answer, it is not known whether they were.
    pub(crate) several: bool,
}

/// Bytes that a transfer moved, until they are somebody's.
#[derive(Clone, Copy, Debug)]
enum Moved {
    Written(u64),
    Read(u64),
}

impl Moved {
    /// For an operation that was asked for by them.
    fn asked(&mut self) -> u64 {
        match self {
            Self::Written(bytes) => std::mem::take(bytes),
            Self::Read(_) => 0,
        }
    }

    /// For an operation that was answered by them.
    fn answered(&mut self) -> u64 {
        match self {
            Self::Written(_) => 0,
            Self::Read(bytes) => std::mem::take(bytes),
        }
    }
}

/// An operation that is over.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) operation: OpenOperation,
    /// When the connection was free for it: it was asked, and those before it were answered.
    pub(crate) begin_ns: u64,
    /// When its answer was complete.
    pub(crate) end_ns: u64,
    pub(crate) rows: u64,
    pub(crate) error: Option<String>,
    /// Its end was not seen: how long it took is not known, and `end_ns` is `begin_ns`.
    pub(crate) cut: bool,
}

/// What came of a transfer.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) answers: Vec<Answer>,
    /// Operations may have been missed.
    pub(crate) missed: bool,
    /// An answer was read, and what is spoken there is not known.
    pub(crate) not_understood: bool,
    /// The programs need not copy this connection's bytes any more.
    pub(crate) uninteresting: bool,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: Arc<str>,
    speech: Speech,
    options: SessionOptions,
    open: VecDeque<OpenOperation>,
    /// When the last answer was complete.
    answered_ns: u64,
    /// When answers were last read in part; 0: never.
    unseen_ns: u64,
    /// Bytes written that are the front of an operation.
    begun: u64,
    first_ns: u64,
    /// That it is encrypted was noticed.
    noticed: bool,
}

impl Server {
    /// What is spoken.
    pub(crate) fn protocol(&self) -> Option<&'static dyn ClientProtocol> {
        self.speech.protocol()
    }

    /// When bytes were first exchanged.
    pub(crate) fn first_ns(&self) -> u64 {
        self.first_ns
    }

    /// Whether this is the first time that it is seen to be encrypted.
    pub(crate) fn turns_out_encrypted(&mut self) -> bool {
        let encrypted = self.protocol().is_some_and(ClientProtocol::is_opaque);
        encrypted && !std::mem::replace(&mut self.noticed, true)
    }

    /// How many operations are open.
    pub(crate) fn open_len(&self) -> usize {
        self.open.len()
    }

    /// Nothing is read from its bytes any more.
    pub(crate) fn ignore(&mut self) {
        self.speech = Speech::Ignored;
        self.open.clear();
    }

    /// When the last answer was complete.
    pub(crate) fn answered_ns(&self) -> u64 {
        self.answered_ns
    }

    /// When an operation of the request that was not answered was over, at the latest; `end_ns`: when the request was.
    pub(crate) fn over_ns(&self, open: &OpenOperation, end_ns: u64) -> u64 {
        if open.read_ns == 0 && open.asked_ns < self.unseen_ns {
            // Its answer was among those that were read in part.
            return self.unseen_ns.min(end_ns);
        }
        open.end_ns(end_ns)
    }

    /// Requests with open operations, each once in a row, and when those were asked.
    pub(crate) fn owners(&self) -> impl Iterator<Item = (Owner, u64)> {
        let mut last = None;
        let owners = self.open.iter();
        let owners = owners.filter_map(|open| Some((open.owner?, open.asked_ns)));
        owners.filter(move |(owner, _)| last.replace(*owner) != Some(*owner))
    }

    /// Open operations of a request.
    pub(crate) fn open_of(&self, owner: Owner) -> impl Iterator<Item = &OpenOperation> {
        let owner = Some(owner);
        self.open.iter().filter(move |open| open.owner == owner)
    }

    /// Bytes were not seen, in either direction.
    pub(crate) fn gap(&mut self, now_ns: u64) -> Outcome {
        let mut found = Vec::new();
        self.speech.gap(&mut found);
        self.cut(found, now_ns)
    }

    /// The server ended the connection, or it broke. Datagrams have none.
    pub(crate) fn lost(&mut self, now_ns: u64) -> Outcome {
        let mut outcome = Outcome::default();
        if self.protocol().is_none_or(|it| it.side_by_side().is_some()) {
            return outcome;
        }
        while let Some(mut operation) = self.open.pop_front() {
            let first_byte_ns = operation.first_byte_ns;
            let (end_ns, error) = if operation.read_ns == 0 || operation.unfinished {
                (now_ns, Some(LOST.to_owned()))
            } else {
                (operation.read_ns, operation.error.take())
            };
            let mut answer = self.answered(operation, end_ns, (0, error));
            answer.operation.first_byte_ns = first_byte_ns;
            outcome.answers.push(answer);
        }
        outcome
    }

    /// Bytes were not seen, and a recording tells what that ended.
    pub(crate) fn told_gap(&mut self, findings: &Findings, now_ns: u64) -> Outcome {
        self.cut(repeated(findings.gap.clone()), now_ns)
    }

    fn cut(&mut self, found: impl IntoIterator<Item = Finding>, now_ns: u64) -> Outcome {
        let mut outcome = Outcome::default();
        self.take(found, None, now_ns, Moved::Read(0), &mut outcome);
        for answer in &mut outcome.answers {
            answer.cut = true;
            answer.end_ns = answer.begin_ns;
            answer.operation.first_byte_ns = 0;
        }
        outcome
    }

    /// The thread wrote, for that request.
    pub(crate) fn written(
        &mut self,
        owner: Option<Owner>,
        chunk: Chunk<'_>,
        now_ns: u64,
    ) -> Outcome {
        let mut found = Vec::new();
        let heard = self.speech.written(chunk, self.options, &mut found);
        self.heard(heard, found, (owner, Moved::Written(chunk.len)), now_ns)
    }

    /// The thread read, for that request.
    pub(crate) fn read(&mut self, owner: Option<Owner>, chunk: Chunk<'_>, now_ns: u64) -> Outcome {
        self.first_byte(now_ns);
        let mut found = Vec::new();
        let heard = self.speech.read(chunk, &mut found);
        self.heard(heard, found, (owner, Moved::Read(chunk.len)), now_ns)
    }

    /// The thread wrote or read so many bytes, and a recording tells what was found in them.
    pub(crate) fn told(
        &mut self,
        owner: Option<Owner>,
        (written, len): (bool, u64),
        findings: Findings,
        now_ns: u64,
    ) -> Outcome {
        let moved = if written {
            Moved::Written(len)
        } else {
            self.first_byte(now_ns);
            Moved::Read(len)
        };
        let heard = Heard {
            given_up: findings.uninteresting,
            encrypted: findings.found.iter().any(|(_, f)| *f == Finding::Encrypted),
        };
        if findings.uninteresting {
            self.speech = Speech::Ignored;
        }
        let known = findings.protocol.is_empty() || self.speech.tell(&findings.protocol);
        let found = if known {
            findings.found
        } else {
            vec![(1, Finding::Missed)]
        };
        self.heard(heard, repeated(found), (owner, moved), now_ns)
    }

    fn heard(
        &mut self,
        heard: Heard,
        found: impl IntoIterator<Item = Finding>,
        (owner, moved): (Option<Owner>, Moved),
        now_ns: u64,
    ) -> Outcome {
        let mut outcome = Outcome {
            uninteresting: heard.given_up,
            ..Outcome::default()
        };
        if heard.encrypted {
            // What is still open is not heard of any more.
            outcome.missed |= !self.open.is_empty();
            self.open.clear();
        }
        self.take(found, owner, now_ns, moved, &mut outcome);
        outcome
    }

    fn first_byte(&mut self, now_ns: u64) {
        if let Some(first) = self.open.front_mut()
            && first.first_byte_ns == 0
        {
            first.first_byte_ns = now_ns;
        }
    }
}

impl OpenOperation {
    /// When it was over, if nothing more comes until `now_ns`.
    pub(crate) fn end_ns(&self, now_ns: u64) -> u64 {
        if self.read_ns == 0 {
            now_ns
        } else {
            self.read_ns
        }
    }
}

/// Findings of a recording.
fn repeated(runs: Vec<(u32, Finding)>) -> impl Iterator<Item = Finding> {
    let run =
        |(count, finding): (u32, Finding)| std::iter::repeat_n(finding, (count as usize).min(OPEN));
    runs.into_iter().flat_map(run)
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Servers {
    map: Recent<Server>,
    options: SessionOptions,
    /// Operations open on all of them.
    open: usize,
    /// Connections that were given up, and when.
    given_up: VecDeque<(u64, u64)>,
}

impl Servers {
    pub(crate) fn new(options: SessionOptions) -> Self {
        Self {
            map: Recent::new(LIMIT),
            options,
            open: 0,
            given_up: VecDeque::new(),
        }
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Server> {
        self.map.get(id)
    }

    /// Operations open on a connection were so many before, and are so many now.
    pub(crate) fn note_open(&mut self, before: usize, now: usize) {
        self.open = (self.open + now).saturating_sub(before);
    }

    /// More operations are open on all connections together than are kept.
    pub(crate) fn is_full(&self) -> bool {
        self.open > OPEN
    }

    /// Nothing that is spoken on the connection was understood.
    pub(crate) fn note_given_up(&mut self, id: u64, now_ns: u64) {
        if self.given_up.len() < LIMIT {
            self.given_up.push_back((now_ns, id));
        }
    }

    /// A connection that was given up so long ago that it may be looked at anew.
    pub(crate) fn next_to_try(&mut self, now_ns: u64) -> Option<u64> {
        let (since_ns, id) = *self.given_up.front()?;
        (since_ns.saturating_add(TRY_AGAIN_NS) <= now_ns).then(|| {
            self.given_up.pop_front();
            id
        })
    }

    /// The connection, if it is known.
    pub(crate) fn known(&mut self, id: u64) -> Option<&mut Server> {
        self.map.known(id)
    }

    /// The connection, made when it is new; and another, when one had to go for it.
    pub(crate) fn of(
        &mut self,
        id: u64,
        now_ns: u64,
        address: impl FnOnce() -> String,
    ) -> (&mut Server, Option<Server>) {
        let options = self.options;
        let (server, gone) = self.map.entry(id, || Server {
            address: address().into(),
            speech: Speech::new(),
            options,
            open: VecDeque::new(),
            answered_ns: 0,
            unseen_ns: 0,
            begun: 0,
            first_ns: now_ns,
            noticed: false,
        });
        if let Some(gone) = &gone {
            self.open = self.open.saturating_sub(gone.open_len());
        }
        (server, gone)
    }
}

#[cfg(test)]
mod tests;
