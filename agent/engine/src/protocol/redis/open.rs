//! Operations that were asked for and are not answered, oldest first.

use std::collections::VecDeque;

use super::super::client::OPEN_LIMIT;

/// Runs of equal operations that are kept. A pipeline of one kind of answer, however long, is one.
const RUNS_LIMIT: usize = 4096;

/// What (un)subscribed: the first word of its confirmations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Subscribe,
    PSubscribe,
    SSubscribe,
    Unsubscribe,
    PUnsubscribe,
    SUnsubscribe,
}

/// What an operation is answered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// A reply.
    Reply,
    /// A reply, and RESP2 allows the command while subscribed.
    Control,
    /// A confirmation for each of so many channels; 0: for all that there are.
    Confirmation(Topic, u64),
    /// A reply, after which the server sends a line for each command of others.
    Monitor,
    /// Nothing: CLIENT REPLY OFF or SKIP.
    Silence,
}

/// The queue of open operations.
#[derive(Debug, Default)]
pub(super) struct Open {
    runs: VecDeque<(Expect, u64)>,
    count: u64,
}

impl Open {
    /// Puts an operation behind the others; false: there are too many.
    pub(super) fn push(&mut self, expect: Expect) -> bool {
        if self.count >= OPEN_LIMIT {
            return false;
        }
        let room = self.runs.len() < RUNS_LIMIT;
        match self.runs.back_mut() {
            Some((last, count)) if *last == expect => *count += 1,
            _ if room => self.runs.push_back((expect, 1)),
            _ => return false,
        }
        self.count += 1;
        true
    }

    /// What the oldest operation is answered by.
    pub(super) fn front(&self) -> Option<Expect> {
        self.runs.front().map(|(expect, _)| *expect)
    }

    /// Takes the oldest operation out.
    pub(super) fn pop(&mut self) -> Option<Expect> {
        let (expect, count) = self.runs.front_mut()?;
        let expect = *expect;
        *count -= 1;
        self.count -= 1;
        if *count == 0 {
            self.runs.pop_front();
        }
        Some(expect)
    }

    /// Whether every operation is answered.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}
