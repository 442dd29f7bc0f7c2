//! An event loop that reads and writes itself, and has threads of a pool work in between: which of them worked on which
//! request.
//!
//! The loop wakes the pool's threads in the order in which it has read requests, and writes responses in the order in
//! which they tell it that they are done. Either rule drifts where a wake is missing (a thread that was not asleep yet):
//! only where both name the same job of the same thread is that taken.

use std::{collections::VecDeque, sync::Arc};

use whyslow_abi::record::MarkKind;

use super::handovers::Moment;

/// Things that happened which are kept of a loop.
const EVENTS: usize = 4_096;
/// Requests, and threads, whose order is kept.
const OPEN: usize = 1_024;

/// Connection and serial number of a request.
pub(crate) type Request = (u64, u64);

/// One thing that happened.
#[derive(Clone, Debug)]
enum What {
    Read(Request),
    /// The loop has woken a thread.
    Woken(Arc<Moment>),
    /// A thread has told the loop that it is done.
    Done(Arc<Moment>),
    /// The loop has begun to write.
    Answered(Request),
}

/// Work of one thread, from its wake until it told that it was done.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    serial: u64,
    pub(crate) woken: Arc<Moment>,
    pub(crate) done: Option<Arc<Moment>>,
}

/// What the two rules say of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Verdict {
    /// Its response has not begun.
    #[default]
    Open,
    /// No job was its.
    Nobody,
    /// Some job may have been, and which is not certain.
    Uncertain,
    /// That one.
    Agreed,
}

/// A request, and its job by the order of wakes.
#[derive(Clone, Debug, Default)]
struct Named {
    request: Request,
    read_ns: u64,
    /// A job's serial number.
    forward: Option<u64>,
    verdict: Verdict,
}

/// What is known of who worked on a request.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// No other thread did, as far as is seen.
    None,
    /// Some other did, and which is not certain.
    Uncertain,
    /// This one.
    Job(Job),
}

/// One event loop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relay {
    /// Not looked at yet, by time.
    events: VecDeque<(u64, What)>,
    /// Jobs by serial number, oldest first.
    jobs: VecDeque<Job>,
    /// Requests in the order in which they were read.
    requests: VecDeque<Named>,
    /// Jobs that are done and whose response has not begun, and since when; 0: one whose begin was not seen.
    done: VecDeque<(u64, u64)>,
    serial: u64,
}

impl Relay {
    pub(crate) fn read(&mut self, request: Request, time_ns: u64) {
        self.add(time_ns, What::Read(request));
    }

    pub(crate) fn answered(&mut self, request: Request, time_ns: u64) {
        self.add(time_ns, What::Answered(request));
    }

    /// A moment of another thread of the process.
    pub(crate) fn note(&mut self, moment: &Arc<Moment>) {
        match moment.kind {
            MarkKind::Woken => self.add(moment.raw.wake_ns, What::Woken(Arc::clone(moment))),
            MarkKind::Signalled => self.add(moment.time_ns(), What::Done(Arc::clone(moment))),
            MarkKind::Answered => {}
        }
    }

    fn add(&mut self, time_ns: u64, what: What) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        let at = self.events.iter().rposition(|(time, _)| *time <= time_ns);
        self.events
            .insert(at.map_or(0, |at| at + 1), (time_ns, what));
    }

    /// The request is over, and its response began at that time: who worked on it.
    pub(crate) fn take(&mut self, request: Request, first_write_ns: u64) -> Found {
        while self
            .events
            .front()
            .is_some_and(|(time, _)| *time <= first_write_ns)
        {
            if let Some((time_ns, what)) = self.events.pop_front() {
                self.happens(time_ns, what);
            }
        }
        let Some(at) = self.requests.iter().position(|it| it.request == request) else {
            return Found::None;
        };
        let Some(named) = self.requests.remove(at) else {
            return Found::None;
        };
        match named.verdict {
            Verdict::Open | Verdict::Nobody => Found::None,
            Verdict::Uncertain => Found::Uncertain,
            Verdict::Agreed => {
                let job = self
                    .jobs
                    .iter()
                    .find(|job| Some(job.serial) == named.forward);
                job.map_or(Found::Uncertain, |job| Found::Job(job.clone()))
            }
        }
    }

    fn happens(&mut self, time_ns: u64, what: What) {
        match what {
            What::Read(request) => {
                self.requests.push_back(Named {
                    request,
                    read_ns: time_ns,
                    ..Named::default()
                });
                limit(&mut self.requests);
            }
            What::Woken(woken) => self.begins(woken),
            What::Done(done) => self.ends(&done),
            What::Answered(request) => {
                let at = self.requests.iter().position(|it| it.request == request);
                if let Some(named) = at.and_then(|at| self.requests.get_mut(at)) {
                    named.verdict = judge(named, &self.jobs, &mut self.done);
                }
            }
        }
    }

    fn begins(&mut self, woken: Arc<Moment>) {
        self.serial += 1;
        let waits = |it: &&mut Named| {
            let was_read = it.read_ns <= woken.raw.wake_ns;
            was_read && it.forward.is_none() && it.verdict == Verdict::Open
        };
        if let Some(first) = self.requests.iter_mut().find(waits) {
            first.forward = Some(self.serial);
        }
        self.jobs.push_back(Job {
            serial: self.serial,
            woken,
            done: None,
        });
        limit(&mut self.jobs);
    }

    fn ends(&mut self, done: &Arc<Moment>) {
        let tid = done.raw.header.tid;
        let of_thread = |it: &&mut Job| it.woken.raw.header.tid == tid;
        let job = self.jobs.iter_mut().rev().find(of_thread);
        let serial = match job.filter(|job| job.done.is_none()) {
            Some(job) => {
                job.done = Some(Arc::clone(done));
                job.serial
            }
            None => 0,
        };
        self.done.push_back((serial, done.time_ns()));
        limit(&mut self.done);
    }
}

/// The response begins: by the order of responses it is that of the job that was done first. What the two rules do not
/// agree on is taken out, so that they can agree on what follows.
fn judge(named: &Named, jobs: &VecDeque<Job>, done: &mut VecDeque<(u64, u64)>) -> Verdict {
    let place = |forward| done.iter().position(|(serial, _)| *serial == forward);
    if let Some(at) = named.forward.and_then(place) {
        done.drain(..=at);
        return if at == 0 {
            Verdict::Agreed
        } else {
            Verdict::Uncertain
        };
    }
    // A job that goes on was not its; one that is done may have been.
    let job = jobs.iter().find(|job| Some(job.serial) == named.forward);
    let first = done.front();
    if first.is_some_and(|(_, time_ns)| *time_ns >= named.read_ns) {
        done.pop_front();
        Verdict::Uncertain
    } else if job.is_some_and(|job| job.done.is_some()) {
        Verdict::Uncertain
    } else {
        Verdict::Nobody
    }
}

fn limit<T>(list: &mut VecDeque<T>) {
    if list.len() > OPEN {
        list.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use whyslow_abi::{plain_bytes, read_plain, record::MarkRecord};

    use super::*;

    fn moment(kind: MarkKind, tid: u32, time_ns: u64) -> Arc<Moment> {
        let mut raw: MarkRecord = read_plain(&vec![0; size_of::<MarkRecord>()]).unwrap();
        assert_eq!(plain_bytes(&raw).len(), size_of::<MarkRecord>());
        raw.header.tid = tid;
        raw.header.time_ns = time_ns;
        raw.wake_ns = time_ns;
        Arc::new(Moment { kind, raw })
    }

    impl Relay {
        fn woken(&mut self, tid: u32, time_ns: u64) {
            self.note(&moment(MarkKind::Woken, tid, time_ns));
        }

        fn done(&mut self, tid: u32, time_ns: u64) {
            self.note(&moment(MarkKind::Signalled, tid, time_ns));
        }

        /// Thread that worked; 0: nobody did, 1: that is not certain.
        fn who(&mut self, request: u64, time_ns: u64) -> u32 {
            self.answered((request, 0), time_ns);
            match self.take((request, 0), time_ns) {
                Found::None => 0,
                Found::Uncertain => 1,
                Found::Job(job) => job.woken.raw.header.tid,
            }
        }
    }

    #[test]
    fn both_orders_agree() {
        let mut relay = Relay::default();
        relay.read((1, 0), 10);
        relay.read((2, 0), 11);
        relay.woken(71, 12);
        relay.woken(72, 13);
        relay.done(72, 20);
        assert_eq!(relay.who(2, 21), 72);
        relay.done(71, 30);
        assert_eq!(relay.who(1, 31), 71);
    }

    #[test]
    fn a_wake_is_missing() {
        let mut relay = Relay::default();
        relay.read((1, 0), 10);
        relay.read((2, 0), 11);
        // The thread of the first was awake: only that of the second was woken, and is done first.
        relay.woken(72, 13);
        relay.done(72, 20);
        assert_eq!(relay.who(2, 21), 1);
        relay.done(71, 30);
        assert_eq!(relay.who(1, 31), 1);
        // What follows is in order again.
        relay.read((3, 0), 40);
        relay.woken(71, 41);
        relay.done(71, 42);
        assert_eq!(relay.who(3, 43), 71);
    }

    #[test]
    fn a_wake_that_is_told_late_is_of_no_later_request() {
        let mut relay = Relay::default();
        relay.read((1, 0), 10);
        relay.read((2, 0), 11);
        relay.woken(72, 13);
        relay.done(72, 15);
        assert_eq!(relay.who(2, 16), 1);
        relay.read((3, 0), 20);
        relay.woken(71, 12);
        relay.woken(73, 21);
        relay.done(71, 22);
        relay.done(73, 24);
        assert_eq!(relay.who(1, 23), 1);
        assert_eq!(relay.who(3, 25), 73);
    }

    #[test]
    fn what_the_loop_does_itself_is_nobody_s_work() {
        let mut relay = Relay::default();
        relay.read((1, 0), 10);
        assert_eq!(relay.who(1, 12), 0);
        relay.read((2, 0), 20);
        relay.read((3, 0), 21);
        relay.woken(71, 22);
        // The wake was for the other, whose job goes on.
        assert_eq!(relay.who(2, 30), 0);
        assert!(
            matches!(relay.take((9, 9), 99), Found::None),
            "not read by it"
        );
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut relay = Relay::default();
        for number in 0..20_000 {
            relay.read((number, 0), number * 10);
            relay.woken(71, number * 10 + 1);
        }
        assert!(relay.events.len() <= EVENTS);
        assert_eq!(relay.who(19_999, 999_999), 0);
        assert!(relay.requests.len() <= OPEN && relay.jobs.len() <= OPEN);
    }
}
