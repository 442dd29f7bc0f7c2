//! Operations that were asked for and are not answered, oldest first.

use std::collections::VecDeque;

use super::super::client::OPEN_LIMIT;
use super::answer::Status;
use super::binary;

/// Runs of equal operations that are kept.
const RUNS_LIMIT: usize = 4096;

/// Meta commands that may be quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meta {
    Get,
    Set,
    Delete,
    Arithmetic,
}

/// What an operation is answered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// A status line, behind values or not.
    Reply,
    /// A status of two letters; when quiet, only one that is out of the ordinary.
    Meta { verb: Meta, quiet: bool },
    /// `MN`: all before it were answered, if they are at all.
    Noop,
    /// A response with this opcode and opaque; for quiet opcodes maybe none.
    Binary { opcode: u8, opaque: u32 },
    /// Nothing: `noreply`.
    Silence,
}

impl Expect {
    /// It may never be answered.
    pub(super) fn is_quiet(self) -> bool {
        match self {
            Self::Meta { quiet, .. } => quiet,
            Self::Binary { opcode, .. } => binary::is_quiet(opcode),
            Self::Silence => true,
            Self::Reply | Self::Noop => false,
        }
    }

    /// Whether the server could say this in answer to it: what quiet commands leave unsaid, as seen
    /// with memcached 1.6.18. Later ones leave out `NF` too, where a key was to be deleted or counted.
    pub(super) fn may_be_answered_by(self, status: Status) -> bool {
        let Self::Meta { verb, quiet: true } = self else {
            return true;
        };
        match status {
            Status::Error(_) | Status::NotStored | Status::Exists | Status::NotFound => true,
            Status::Value | Status::Done => verb == Meta::Get,
            Status::Miss | Status::Noop | Status::Other => false,
        }
    }
}

/// The queue of open operations.
#[derive(Debug, Default)]
pub(super) struct Open {
    runs: VecDeque<(Expect, u64)>,
    count: u64,
    noops: u64,
}

impl Open {
    /// Puts an operation behind the others; false: there are too many.
    pub(super) fn push(&mut self, expect: Expect) -> bool {
        if self.count >= OPEN_LIMIT {
            return false;
        }
        if let Some((last, count)) = self.runs.back_mut()
            && *last == expect
        {
            *count += 1;
        } else if self.runs.len() < RUNS_LIMIT {
            self.runs.push_back((expect, 1));
        } else {
            return false;
        }
        self.noops += u64::from(expect == Expect::Noop);
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
        self.noops -= u64::from(expect == Expect::Noop);
        Some(expect)
    }

    /// Only one operation is open.
    pub(super) fn is_last(&self) -> bool {
        self.runs.len() == 1 && self.runs.front().is_some_and(|(_, count)| *count == 1)
    }

    /// Whether every operation is answered.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether an `mn` is open.
    pub(super) fn has_noop(&self) -> bool {
        self.noops > 0
    }
}
