//! Connections to servers that watched processes made, by the inode number of their socket: what is
//! spoken there, and which operations are open.

use std::{collections::VecDeque, sync::Arc};

use super::speech::Speech;

use crate::{
    input::Findings,
    protocol::client::{Chunk, Finding, OPEN_LIMIT},
    recent::Recent,
};

/// Connections kept; one that was silent for long goes first.
pub(crate) const LIMIT: usize = 8_192;
/// Operations open on one connection at the most.
const OPEN: usize = OPEN_LIMIT as usize;

/// Which request asked: its connection and its serial number.
pub(crate) type Owner = (u64, u64);

/// An operation without its whole answer.
#[derive(Clone, Debug)]
pub(crate) struct OpenOperation {
    pub(crate) owner: Owner,
    /// Shared with the one before it, where that is the same: there may be many.
    pub(crate) shape: Arc<str>,
    pub(crate) asked_ns: u64,
    /// First read after it was asked; 0: none.
    pub(crate) first_byte_ns: u64,
}

/// An operation that is over.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) operation: OpenOperation,
    /// When the connection was free for it: it was asked, and those before it were answered.
    pub(crate) begin_ns: u64,
    pub(crate) rows: u64,
    pub(crate) error: Option<String>,
}

/// What came of a transfer.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) answers: Vec<Answer>,
    /// Operations may have been missed.
    pub(crate) missed: bool,
    /// The programs need not copy this connection's bytes any more.
    pub(crate) uninteresting: bool,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: Arc<str>,
    speech: Speech,
    open: VecDeque<OpenOperation>,
    /// When the last answer was complete.
    answered_ns: u64,
}

impl Server {
    /// Name of what is spoken.
    pub(crate) fn protocol(&self) -> Option<&'static str> {
        self.speech.protocol()
    }

    /// When the last answer was complete.
    pub(crate) fn answered_ns(&self) -> u64 {
        self.answered_ns
    }

    /// Requests with open operations; one may come several times.
    pub(crate) fn owners(&self) -> impl Iterator<Item = Owner> {
        self.open.iter().map(|open| open.owner)
    }

    /// Open operations of a request.
    pub(crate) fn open_of(&self, owner: Owner) -> impl Iterator<Item = &OpenOperation> {
        self.open.iter().filter(move |open| open.owner == owner)
    }

    /// The request wrote.
    pub(crate) fn written(&mut self, owner: Owner, chunk: Chunk<'_>, now_ns: u64) -> Outcome {
        let mut found = Vec::new();
        let mut outcome = Outcome {
            uninteresting: self.speech.written(chunk, &mut found),
            ..Outcome::default()
        };
        self.take(found, owner, now_ns, &mut outcome);
        outcome
    }

    /// The request read.
    pub(crate) fn read(&mut self, owner: Owner, chunk: Chunk<'_>, now_ns: u64) -> Outcome {
        self.first_byte(now_ns);
        let mut outcome = Outcome::default();
        let mut found = Vec::new();
        self.speech.read(chunk, &mut found);
        self.take(found, owner, now_ns, &mut outcome);
        outcome
    }

    /// The request wrote or read, and a recording tells what was found in that.
    pub(crate) fn told(
        &mut self,
        owner: Owner,
        written: bool,
        findings: Findings,
        now_ns: u64,
    ) -> Outcome {
        if !written {
            self.first_byte(now_ns);
        }
        let mut outcome = Outcome {
            uninteresting: findings.uninteresting,
            ..Outcome::default()
        };
        if findings.uninteresting {
            self.speech = Speech::Ignored;
        }
        if findings.found.is_empty() || self.speech.tell(&findings.protocol) {
            let repeated = |(count, finding): (u32, Finding)| {
                std::iter::repeat_n(finding, (count as usize).min(OPEN))
            };
            let found = findings.found.into_iter().flat_map(repeated);
            self.take(found, owner, now_ns, &mut outcome);
        } else {
            outcome.missed = true;
        }
        outcome
    }

    fn first_byte(&mut self, now_ns: u64) {
        if let Some(first) = self.open.front_mut()
            && first.first_byte_ns == 0
        {
            first.first_byte_ns = now_ns;
        }
    }

    fn take(
        &mut self,
        found: impl IntoIterator<Item = Finding>,
        owner: Owner,
        now_ns: u64,
        outcome: &mut Outcome,
    ) {
        for finding in found {
            match finding {
                Finding::Asked { shape } if self.open.len() < OPEN => {
                    let same = self.open.back().filter(|last| *last.shape == *shape);
                    let shape = same.map_or_else(|| shape.into(), |last| Arc::clone(&last.shape));
                    self.open.push_back(OpenOperation {
                        owner,
                        shape,
                        asked_ns: now_ns,
                        first_byte_ns: 0,
                    });
                }
                Finding::Asked { .. } | Finding::Missed => outcome.missed = true,
                Finding::Answered { rows, error } => {
                    let Some(mut operation) = self.open.pop_front() else {
                        continue;
                    };
                    if operation.first_byte_ns == 0 {
                        operation.first_byte_ns = now_ns;
                    }
                    let begin_ns = operation.asked_ns.max(self.answered_ns);
                    self.answered_ns = now_ns;
                    outcome.answers.push(Answer {
                        operation,
                        begin_ns,
                        rows,
                        error,
                    });
                }
            }
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Servers {
    map: Recent<Server>,
}

impl Default for Servers {
    fn default() -> Self {
        Self {
            map: Recent::new(LIMIT),
        }
    }
}

impl Servers {
    pub(crate) fn get(&self, id: u64) -> Option<&Server> {
        self.map.get(id)
    }

    /// The connection, made when it is new; and another, when one had to go for it.
    pub(crate) fn of(
        &mut self,
        id: u64,
        address: impl FnOnce() -> String,
    ) -> (&mut Server, Option<Server>) {
        self.map.entry(id, || Server {
            address: address().into(),
            speech: Speech::new(),
            open: VecDeque::new(),
            answered_ns: 0,
        })
    }
}
