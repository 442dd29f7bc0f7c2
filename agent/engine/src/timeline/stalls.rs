//! Event loops that did not come back to poll, until it is known which requests waited for them.

use std::{collections::VecDeque, sync::Arc};

use whyslow_abi::record::LoopStallRecord;

use crate::output::{RequestId, RequestStarted};

/// Stalls that may wait to be told at once.
const LIMIT: usize = 256;
/// Requests that are named with one.
pub(crate) const NAMED: usize = 32;

/// A request that was open while a loop stalled.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) connection: u64,
    pub(crate) serial: u64,
    pub(crate) id: RequestId,
    pub(crate) begin_ns: u64,
    /// Taken when it ends; `None`: it is open, or was never told.
    pub(crate) started: Option<Arc<RequestStarted>>,
}

/// A stall that is still to be told.
#[derive(Debug)]
pub(crate) struct Stall {
    pub(crate) raw: LoopStallRecord,
    pub(crate) waiting: Vec<Waiting>,
}

/// All of them, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Stalls {
    pending: VecDeque<Stall>,
}

impl Stalls {
    /// Keeps one; returns the oldest where there are too many.
    pub(crate) fn add(&mut self, stall: Stall) -> Option<Stall> {
        self.pending.push_back(stall);
        (self.pending.len() > LIMIT)
            .then(|| self.pending.pop_front())
            .flatten()
    }

    /// A request is over: those stalls that began later it did not wait for.
    pub(crate) fn ended(
        &mut self,
        (connection, serial): (u64, u64),
        started: Option<&Arc<RequestStarted>>,
        end_ns: u64,
    ) {
        for stall in &mut self.pending {
            let start_ns = stall.raw.start_ns;
            let is_it = |it: &Waiting| (it.connection, it.serial) == (connection, serial);
            if end_ns <= start_ns {
                stall.waiting.retain(|it| !is_it(it));
            } else if let Some(it) = stall.waiting.iter_mut().find(|it| is_it(it)) {
                it.started = started.map(Arc::clone);
            }
        }
    }

    /// The oldest, if it ended before that time.
    pub(crate) fn due(&mut self, now_ns: u64) -> Option<Stall> {
        let oldest = self.pending.front()?;
        (oldest.raw.header.time_ns < now_ns)
            .then(|| self.pending.pop_front())
            .flatten()
    }
}
