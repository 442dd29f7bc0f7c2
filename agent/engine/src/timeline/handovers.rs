//! Threads that work on what others have read: moments of theirs, with their ledger as it stood then.

use std::{collections::VecDeque, sync::Arc};

use whyslow_abi::{
    record::{MarkKind, MarkRecord},
    totals::Totals,
};

use crate::decode::Mark;

/// Moments kept of a thread.
const MOMENTS: usize = 64;
/// What a thread uses of a CPU between its wake and the next sleep, if it did not begin any work.
const IDLE_CPU_NS: u64 = 400_000;

/// A moment of a thread.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    pub(crate) kind: MarkKind,
    pub(crate) raw: MarkRecord,
}

impl Moment {
    pub(crate) fn time_ns(&self) -> u64 {
        self.raw.header.time_ns
    }

    /// Thread id of who woke it.
    pub(crate) fn waker(&self) -> u32 {
        self.raw.waker as u32
    }

    fn answers(&self, request: (u64, u32)) -> bool {
        self.kind == MarkKind::Answered && (self.raw.connection, self.raw.request) == request
    }

    fn cpu_ns(&self) -> u64 {
        self.raw.totals.ns[0]
    }
}

impl From<&Mark> for Moment {
    fn from(mark: &Mark) -> Self {
        Self {
            kind: mark.kind,
            raw: mark.raw,
        }
    }
}

/// When a thread began to work on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) ns: u64,
    /// The thread's ledger then.
    pub(crate) totals: Totals,
    /// It may have begun before.
    pub(crate) is_bound: bool,
}

/// A request that was handed over: read by one thread, answered by another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handed {
    /// Connection and number.
    pub(crate) request: (u64, u32),
    pub(crate) reader: u32,
    /// When its head had been read.
    pub(crate) read_ns: u64,
    /// Its last write.
    pub(crate) end_ns: u64,
}

/// The last moments of one thread, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moments {
    last: VecDeque<Arc<Moment>>,
}

impl Moments {
    pub(crate) fn add(&mut self, moment: Arc<Moment>) {
        if self.last.len() == MOMENTS {
            self.last.pop_front();
        }
        self.last.push_back(moment);
    }

    /// When the thread began to work on what it answered. It works on one request after the other: so after the
    /// response before, or when it was woken from its idle wait, whichever is later.
    pub(crate) fn start_of(&self, handed: &Handed) -> Option<Start> {
        let before_end = self.last.iter().filter(|it| it.time_ns() <= handed.end_ns);
        let all: Vec<&Moment> = before_end.map(AsRef::as_ref).collect();
        let first = all.iter().position(|it| it.answers(handed.request));
        let known = &all[..first.unwrap_or(all.len())];
        let previous = known.iter().rposition(|it| it.kind == MarkKind::Answered);
        let rest = previous.map_or(known, |at| &known[at..]);
        if let Some(start) = began(rest, handed) {
            return Some(Start {
                ns: start.time_ns(),
                totals: start.raw.totals,
                is_bound: false,
            });
        }
        let next = all.iter().find(|it| it.time_ns() >= handed.read_ns)?;
        Some(Start {
            ns: next.time_ns(),
            totals: next.raw.totals,
            is_bound: true,
        })
    }
}

/// Of moments from a response on up to the next: the one at which work on that began.
fn began<'a>(moments: &[&'a Moment], handed: &Handed) -> Option<&'a Moment> {
    let of_reader = |it: &Moment| it.kind == MarkKind::Woken && it.waker() == handed.reader;
    let asleep = |it: &Moment| it.kind == MarkKind::Woken && it.raw.wait_ns <= handed.read_ns;
    let after = moments
        .iter()
        .position(|it| it.time_ns() >= handed.read_ns)?;
    let first = moments[after];
    let starts = first.kind == MarkKind::Answered || of_reader(first) || asleep(first);
    if !starts {
        return None;
    }
    // It went back to sleep at once: another thread was faster, or it had nothing to do yet.
    let mut start = first;
    for next in &moments[after + 1..] {
        let idle = next.cpu_ns().saturating_sub(start.cpu_ns()) < IDLE_CPU_NS;
        if !idle || !of_reader(next) {
            break;
        }
        start = next;
    }
    Some(start)
}

#[cfg(test)]
mod tests {
    use whyslow_abi::read_plain;

    use super::*;

    const READER: u32 = 7;

    fn moment(kind: MarkKind, time_ns: u64, cpu_ns: u64) -> MarkRecord {
        let mut raw: MarkRecord = read_plain(&vec![0; size_of::<MarkRecord>()]).unwrap();
        raw.header.time_ns = time_ns;
        raw.kind = kind as u32;
        raw.totals.ns[0] = cpu_ns;
        raw
    }

    fn woken(wait_ns: u64, time_ns: u64, cpu_ns: u64, waker: u32) -> Moment {
        let mut raw = moment(MarkKind::Woken, time_ns, cpu_ns);
        raw.wait_ns = wait_ns;
        raw.waker = u64::from(waker);
        Moment {
            kind: MarkKind::Woken,
            raw,
        }
    }

    fn answered(request: (u64, u32), time_ns: u64, cpu_ns: u64) -> Moment {
        let mut raw = moment(MarkKind::Answered, time_ns, cpu_ns);
        (raw.connection, raw.request) = request;
        Moment {
            kind: MarkKind::Answered,
            raw,
        }
    }

    /// When work began on a request that was read at 100 and answered at 900, and whether that is a bound.
    fn start(moments: Vec<Moment>) -> Option<(u64, bool)> {
        let mut all = Moments::default();
        for moment in moments {
            all.add(Arc::new(moment));
        }
        let handed = Handed {
            request: (5, 1),
            reader: READER,
            read_ns: 100,
            end_ns: 900,
        };
        all.start_of(&handed).map(|it| (it.ns, it.is_bound))
    }

    #[test]
    fn it_slept_when_the_request_was_read() {
        let it = vec![woken(50, 200, 0, READER), answered((5, 1), 900, 0)];
        assert_eq!(start(it), Some((200, false)));
    }

    #[test]
    fn it_was_busy_with_another() {
        let it = vec![answered((4, 3), 300, 0), answered((5, 1), 900, 0)];
        assert_eq!(start(it), Some((300, false)));
    }

    #[test]
    fn it_slept_once_more_after_another() {
        let it = vec![
            answered((4, 3), 300, 0),
            woken(310, 400, IDLE_CPU_NS / 2, READER),
            // A lock within the work.
            woken(500, 600, IDLE_CPU_NS * 3, READER),
            answered((5, 1), 900, IDLE_CPU_NS * 4),
        ];
        assert_eq!(start(it), Some((400, false)));
    }

    #[test]
    fn it_was_awake_before_and_nobody_saw_when_it_began() {
        let it = vec![
            answered((4, 3), 90, 0),
            woken(500, 600, 0, 8),
            answered((5, 1), 900, 0),
        ];
        assert_eq!(start(it), Some((600, true)));
        assert_eq!(start(vec![answered((4, 3), 90, 0)]), None);
    }

    #[test]
    fn moments_are_bounded() {
        let mut all = Moments::default();
        for time_ns in 0..1_000 {
            all.add(Arc::new(woken(0, time_ns, 0, READER)));
        }
        assert_eq!(all.last.len(), MOMENTS);
    }
}
