//! What threads ask of servers for requests that others have read: whose it was is known when they answer.
//!
//! Such work has an id like that of a connection, with a bit that no socket's number has, so that operations find it
//! where they find requests.

use std::collections::VecDeque;

use crate::attribution::operations::Operations;

/// Bit of the id of a thread's work.
const WORK: u64 = 1 << 63;
/// Works of one thread that are over and whose request is not.
const OVER: usize = 16;

/// What ended a work: a write to a connection and number of a request there; or 0 and the number of a record, where the
/// thread told a loop.
pub(crate) type End = (u64, u32);

/// Id of the work of a thread.
pub(crate) const fn id_of(tid: u32) -> u64 {
    WORK | tid as u64
}

/// What a thread has worked on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Works {
    /// What ended the present one; it may have more such writes.
    pub(crate) ending: Option<End>,
    over: VecDeque<(End, Operations)>,
}

impl Works {
    /// One is over.
    pub(crate) fn keep(&mut self, end: End, operations: Operations) {
        if self.over.len() == OVER {
            self.over.pop_front();
        }
        self.over.push_back((end, operations));
    }

    /// The one that ended so, if it is over.
    pub(crate) fn take(&mut self, end: End) -> Option<Operations> {
        let at = self.over.iter().position(|(it, _)| *it == end)?;
        self.over.remove(at).map(|(_, operations)| operations)
    }
}
