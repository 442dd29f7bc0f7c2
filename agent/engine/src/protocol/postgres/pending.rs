//! Operations that are open, by the ReadyForQuery that ends them.

use std::collections::VecDeque;

use super::super::client::OPEN_LIMIT;

/// ReadyForQuery messages that may be expected at a time.
const GROUPS: usize = 4_096;

/// What one ReadyForQuery ends: a Query, a FunctionCall, or all up to a Sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// Operations without an answer.
    pub(super) open: u32,
    /// One failed: the server skips the rest.
    pub(super) failed: bool,
    /// It is a Query, which has no Sync.
    simple: bool,
}

/// Groups in the order in which they are answered.
#[derive(Debug, Default)]
pub(super) struct Pending {
    closed: VecDeque<Group>,
    /// No Sync was written yet.
    last: Group,
    /// Open operations of all groups.
    open: u64,
}

impl Pending {
    /// Whether so many operations more can be kept.
    pub(super) fn has_room(&self, operations: u32) -> bool {
        self.closed.len() < GROUPS && self.open + u64::from(operations) <= OPEN_LIMIT
    }

    /// A Query or a FunctionCall with so many operations, for which there is room.
    pub(super) fn query(&mut self, operations: u32) {
        self.open += u64::from(operations);
        self.closed.push_back(Group {
            open: operations,
            failed: false,
            simple: true,
        });
    }

    /// An Execute, for which there is room.
    pub(super) fn execute(&mut self) {
        self.open += 1;
        self.last.open += 1;
    }

    /// A Sync; `false`: too many are pending.
    pub(super) fn sync(&mut self) -> bool {
        let room = self.has_room(0);
        if room {
            self.closed.push_back(std::mem::take(&mut self.last));
        }
        room
    }

    /// An operation is answered; `false`: none is open.
    pub(super) fn answer(&mut self) -> bool {
        let group = self.front();
        let any = group.open > 0;
        group.open -= u32::from(any);
        self.open -= u64::from(any);
        any
    }

    /// The server skips the rest of what it is at.
    pub(super) fn fail(&mut self) {
        self.front().failed = true;
    }

    /// The server is ready; returns what is over.
    pub(super) fn ready(&mut self) -> Group {
        let group = match self.closed.pop_front() {
            Some(group) => group,
            // The Sync was missed.
            None => std::mem::take(&mut self.last),
        };
        self.open -= u64::from(group.open);
        group
    }

    /// The server waits for data to copy. A Sync that was sent ahead with the Execute gets no answer:
    /// the server passes over it until the data ends.
    pub(super) fn copy_in(&mut self) {
        let Some(front) = self.closed.front().copied() else {
            return;
        };
        if front.simple {
            return;
        }
        self.closed.pop_front();
        let next = match self.closed.front_mut() {
            Some(next) => next,
            None => &mut self.last,
        };
        next.open = next.open.saturating_add(front.open);
        next.failed |= front.failed;
    }

    /// More than one operation is open.
    pub(super) fn has_several(&self) -> bool {
        self.open > 1
    }

    /// No operation is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// All groups; none is pending afterwards.
    pub(super) fn clear(&mut self) -> Vec<Group> {
        self.open = 0;
        let mut groups: Vec<_> = std::mem::take(&mut self.closed).into();
        groups.push(std::mem::take(&mut self.last));
        groups
    }

    fn front(&mut self) -> &mut Group {
        match self.closed.front_mut() {
            Some(group) => group,
            None => &mut self.last,
        }
    }
}
