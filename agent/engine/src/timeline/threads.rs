//! Watched threads.

use whyslow_abi::{
    record::RecordHeader,
    thread::{ThreadSlot, ThreadState},
    totals::Totals,
};

use super::{
    ThreadKey,
    activity::{BusyRing, CpuRing},
    sequence::SequenceWindow,
};
use crate::{hash::FastMap, input::WaitFact};

/// Threads kept at the most.
pub(crate) const LIMIT: usize = 65_536;

/// A thread's slot as last read by the outside.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) generation: u32,
    pub(crate) state: ThreadState,
    pub(crate) since_ns: u64,
    /// Blocked so far within the current system call, before `since_ns`.
    pub(crate) pending_ns: u64,
    pub(crate) totals: Totals,
    pub(crate) wait: Option<WaitFact>,
}

impl Sample {
    pub(crate) fn new(slot: &ThreadSlot, state: ThreadState, wait: Option<WaitFact>) -> Self {
        Self {
            generation: slot.generation,
            state,
            since_ns: slot.since_ns,
            pending_ns: slot.pending_ns,
            totals: slot.totals,
            wait,
        }
    }
}

/// One thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Thread {
    pub(crate) key: ThreadKey,
    pub(crate) tgid: u32,
    /// Empty: not known.
    pub(crate) comm: String,
    /// `WorkerStarted` was told.
    pub(crate) started: bool,
    pub(crate) window: SequenceWindow,
    /// It is in the list of threads with gaps.
    pub(crate) gap_listed: bool,
    /// Connections whose open request it reads.
    pub(crate) open: Vec<u64>,
    /// Requests finished.
    pub(crate) requests: u64,
    pub(crate) busy: BusyRing,
    pub(crate) cpu: CpuRing,
    pub(crate) sample: Option<Box<Sample>>,
    /// End, monotonic; 0: it lives.
    pub(crate) ended_ns: u64,
    /// Ledger at its end.
    pub(crate) exit_totals: Option<Box<Totals>>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    map: FastMap<u32, Thread>,
}

impl Threads {
    pub(crate) fn get(&self, tid: u32) -> Option<&Thread> {
        self.map.get(&tid)
    }

    pub(crate) fn get_mut(&mut self, tid: u32) -> Option<&mut Thread> {
        self.map.get_mut(&tid)
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.map.len() >= LIMIT
    }

    /// The thread of a record, if it is this generation of it.
    pub(crate) fn of(&mut self, key: ThreadKey) -> Option<&mut Thread> {
        self.map.get_mut(&key.tid).filter(|t| t.key == key)
    }

    /// Adds the thread of a record, in place of an earlier one with this tid.
    pub(crate) fn insert(&mut self, header: &RecordHeader) -> &mut Thread {
        let thread = self.map.entry(header.tid).or_default();
        *thread = Thread {
            key: ThreadKey::from(header),
            tgid: header.tgid,
            ..Thread::default()
        };
        thread
    }

    pub(crate) fn remove(&mut self, tid: u32) -> Option<Thread> {
        self.map.remove(&tid)
    }
}
