//! Operations that are open, by the ReadyForQuery that ends them.

use std::collections::VecDeque;

use super::super::client::OPEN_LIMIT;

/// ReadyForQuery messages that may be expected at a time.
const GROUPS: usize = 4_096;
/// Statements behind the first of a Query, over all of them, whose shapes are kept.
const FURTHER: usize = 1_024;

/// What one ReadyForQuery ends: a Query, a FunctionCall, or all up to a Sync.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Operations without an answer.
    pub(super) open: u32,
    /// One failed: the server skips the rest.
    pub(super) failed: bool,
    /// It is a Query, which has no Sync.
    simple: bool,
    /// Shapes of statements that the server has not begun.
    pub(super) further: VecDeque<String>,
}

/// Groups in the order in which they are answered.
#[derive(Debug, Default)]
pub(super) struct Pending {
    closed: VecDeque<Group>,
    /// No Sync was written yet.
    last: Group,
    /// Open operations of all groups.
    open: u64,
    /// Shapes of statements not begun, of all groups.
    further: usize,
}

impl Pending {
    /// Whether an operation and a group more can be kept.
    pub(super) fn has_room(&self) -> bool {
        self.closed.len() < GROUPS && self.open < OPEN_LIMIT
    }

    /// A Query or a FunctionCall, for which there is room, and the statements behind its first; `false`: those are
    /// too many.
    pub(super) fn query(&mut self, further: Vec<String>) -> bool {
        let room = FURTHER - self.further.min(FURTHER);
        let fits = further.len() <= room;
        let further: VecDeque<_> = further.into_iter().take(room).collect();
        self.open += 1;
        self.further += further.len();
        self.closed.push_back(Group {
            open: 1,
            failed: false,
            simple: true,
            further,
        });
        fits
    }

    /// An Execute has no Sync behind it.
    pub(super) fn is_unsynced(&self) -> bool {
        self.last.open > 0
    }

    /// An Execute, for which there is room.
    pub(super) fn execute(&mut self) {
        self.open += 1;
        self.last.open += 1;
    }

    /// A Sync; `false`: too many are pending.
    pub(super) fn sync(&mut self) -> bool {
        let room = self.closed.len() < GROUPS;
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

    /// The server begins the next statement of the Query that it is at. Returns it, and whether it is the last.
    pub(super) fn begin_next(&mut self) -> Option<(String, bool)> {
        let group = self.front();
        let next = group.further.pop_front()?;
        let last = group.further.is_empty();
        group.open += 1;
        self.open += 1;
        self.further -= 1;
        Some((next, last))
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
        self.further -= group.further.len();
        group
    }

    /// The server waits for data to copy. A Sync that was sent ahead with the Execute gets no answer:
    /// the server passes over it until the data ends.
    pub(super) fn copy_in(&mut self) {
        if self.closed.front().is_none_or(|front| front.simple) {
            return;
        }
        let Some(front) = self.closed.pop_front() else {
            return;
        };
        let next = match self.closed.front_mut() {
            Some(next) => next,
            None => &mut self.last,
        };
        next.open = next.open.saturating_add(front.open);
        next.failed |= front.failed;
    }

    /// More than one operation is open, or may be begun.
    pub(super) fn has_several(&self) -> bool {
        self.open > 1 || self.further > 0
    }

    /// More than one ReadyForQuery is to come.
    pub(super) fn has_several_groups(&self) -> bool {
        self.closed.len() > 1
    }

    /// No operation is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// All groups; none is pending afterwards.
    pub(super) fn clear(&mut self) -> Vec<Group> {
        self.open = 0;
        self.further = 0;
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
