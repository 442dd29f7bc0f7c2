//! Watched threads.

use std::{collections::VecDeque, sync::Arc};

use whyslow_abi::{
    record::RecordHeader,
    thread::{ThreadSlot, ThreadState},
    totals::Totals,
};

use super::{
    ThreadKey,
    activity::{BusyRing, CpuRing},
    handovers::Moments,
    relay::Relay,
    sequence::SequenceWindow,
    services::Services,
    tries::Tries,
    works::Works,
};
use crate::{
    attribution::waits,
    hash::FastMap,
    input::WaitFact,
    output::{RequestId, RequestStarted, WaitEntry},
};

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
    /// The longest since its request began.
    pub(crate) waits: Vec<WaitEntry>,
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
            waits: waits::entries(&slot.waits, 0, u64::MAX),
        }
    }
}

/// Requests that a thread has finished last: when each began and ended, monotonic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Served {
    last: VecDeque<(u64, u64, Arc<RequestStarted>)>,
    /// Their longest waits, with the id of the request.
    waits: VecDeque<(RequestId, Vec<WaitEntry>)>,
}

impl Served {
    /// Requests kept: of those in a longer wait, none has most of it.
    const LIMIT: usize = 4;
    /// Waits kept of each.
    const WAITS: usize = 3;

    pub(crate) fn add(&mut self, begin_ns: u64, end_ns: u64, request: Arc<RequestStarted>) {
        if self.last.len() == Self::LIMIT {
            self.last.pop_front();
        }
        self.last.push_back((begin_ns, end_ns, request));
    }

    /// Keeps the longest waits of a request; what their holders waited for themselves is left out.
    pub(crate) fn keep_waits(&mut self, id: RequestId, waits: &[WaitEntry]) {
        if waits.is_empty() {
            return;
        }
        if self.waits.len() == Self::LIMIT {
            self.waits.pop_front();
        }
        let mut waits: Vec<WaitEntry> = waits.iter().take(Self::WAITS).cloned().collect();
        for holder in waits.iter_mut().filter_map(|it| it.holder.as_mut()) {
            holder.waits_for = None;
        }
        self.waits.push_back((id, waits));
    }

    /// The waits that are kept.
    pub(crate) fn waits(&self) -> impl Iterator<Item = &WaitEntry> {
        self.waits.iter().flat_map(|(_, waits)| waits)
    }

    /// The one that was served then; `None`: none, or several.
    pub(crate) fn at(&self, time_ns: u64) -> Option<&Arc<RequestStarted>> {
        let mut requests = self.last.iter();
        let mut then = requests
            .by_ref()
            .filter(|it| (it.0..=it.1).contains(&time_ns));
        match (then.next(), then.next()) {
            (Some((_, _, request)), None) => Some(request),
            _ => None,
        }
    }

    /// Those that are known: when each began and ended, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64, &Arc<RequestStarted>)> {
        let requests = self.last.iter();
        requests.map(|(begin_ns, end_ns, request)| (*begin_ns, *end_ns, request))
    }

    /// The one that was served for more than half of an interval.
    pub(crate) fn for_most_of(&self, begin_ns: u64, end_ns: u64) -> Option<&Arc<RequestStarted>> {
        let mut requests = self.last.iter();
        let most = requests.find(|(begin, end, _)| most_of((*begin, *end), (begin_ns, end_ns)));
        most.map(|(_, _, request)| request)
    }
}

/// The last waits of a thread for locks, judged.
#[derive(Clone, Debug, Default)]
pub(crate) struct LockWaits {
    last: VecDeque<WaitEntry>,
}

impl LockWaits {
    /// Waits kept.
    const LIMIT: usize = 32;

    pub(crate) fn add(&mut self, wait: WaitEntry) {
        if self.last.len() == Self::LIMIT {
            self.last.pop_front();
        }
        self.last.push_back(wait);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &WaitEntry> {
        self.last.iter()
    }

    /// The same wait, as it was judged.
    pub(crate) fn of(&self, wait: &WaitEntry) -> Option<&WaitEntry> {
        let mut last = self.last.iter().rev();
        last.find(|it| it.start_ns == wait.start_ns && it.account == wait.account)
    }
}

/// Whether an interval, of `(begin, end)`, has more than half of another in it.
pub(crate) fn most_of((begin, end): (u64, u64), (of_begin, of_end): (u64, u64)) -> bool {
    let both = end.min(of_end).saturating_sub(begin.max(of_begin));
    both > of_end.saturating_sub(of_begin) / 2
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
    /// The last of them.
    pub(crate) served: Served,
    /// Of a server that is followed.
    pub(crate) services: Services,
    /// Of those that work on what others read.
    pub(crate) moments: Moments,
    /// What it asks of servers for them.
    pub(crate) works: Works,
    /// Of an event loop beside which others work.
    pub(crate) relay: Option<Box<Relay>>,
    /// What it reads others answer: the last that it read was so.
    pub(crate) hands_over: bool,
    /// Stalls as an event loop.
    pub(crate) stalls: u64,
    /// Its last waits for locks.
    pub(crate) lock_waits: LockWaits,
    /// The longest waits of its request when its slot was read last.
    pub(crate) seen_waits: Vec<WaitEntry>,
    /// What it tried to create.
    pub(crate) tries: Tries,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_that_was_served_for_most_of_a_time() {
        let request = |tid| {
            Arc::new(RequestStarted {
                tid,
                ..RequestStarted::default()
            })
        };
        let mut served = Served::default();
        for tid in 0..6 {
            let begin_ns = u64::from(tid) * 100;
            served.add(begin_ns, begin_ns + 90, request(tid));
        }
        let tid = |begin_ns, end_ns| served.for_most_of(begin_ns, end_ns).map(|it| it.tid);
        assert_eq!(tid(310, 350), Some(3));
        assert_eq!(tid(360, 430), None, "half and half");
        assert_eq!(tid(370, 480), Some(4));
        assert_eq!(tid(591, 599), None, "between two");
        assert_eq!(tid(110, 150), None, "too long ago");
        let at = |time_ns| served.at(time_ns).map(|it| it.tid);
        assert_eq!((at(390), at(391), at(150)), (Some(3), None, None));
    }
}
