//! Threads that work for others and event loops that stall: their steps, and what comes of them.

use whyslow_abi::{
    account::Account,
    record::{LoopStallRecord, MarkKind, MarkRecord, RecordKind},
};
use whyslow_engine::EventKind;

use super::{
    check::in_ms,
    model::{Stalled, Step},
    run::{Run, ms},
};
use crate::support::{Kernel, zeroed};

impl Kernel {
    /// A moment of a thread, or the end of a stall of a loop.
    pub(crate) fn moment(&mut self, step: &Step, tid: u32, now_ns: u64) {
        let kind = match step.action.as_str() {
            "woken" => MarkKind::Woken,
            "answered" => MarkKind::Answered,
            "signalled" => MarkKind::Signalled,
            _ => return self.stall(step, tid, now_ns),
        };
        let mut record: MarkRecord = zeroed();
        record.header = self.header(RecordKind::Mark, tid, now_ns);
        record.kind = kind as u32;
        record.connection = step.connection;
        record.request = self
            .connections
            .get(&step.connection)
            .map_or(0, |c| c.request);
        record.wait_ns = ms(step.since);
        record.wake_ns = now_ns;
        record.waker = u64::from(step.pid) << 32 | u64::from(step.sender);
        record.totals = self.threads[&tid].totals;
        record.waits = self.threads[&tid].waits;
        self.send(&record);
    }

    fn stall(&mut self, step: &Step, tid: u32, now_ns: u64) {
        let mut record: LoopStallRecord = zeroed();
        record.header = self.header(RecordKind::LoopStall, tid, now_ns);
        record.start_ns = ms(step.since);
        record.epoll = 3;
        let mut left = now_ns - record.start_ns;
        for (name, spent) in &step.spent {
            let account = crate::support::account(name);
            record.ns[account as usize] = ms(*spent);
            left -= ms(*spent);
        }
        record.ns[Account::Cpu as usize] += left;
        self.send(&record);
    }
}

/// Compares the stalls that were told with those that are expected.
pub(crate) fn check_stalls(name: &str, wanted: &[Stalled], run: &Run) {
    let told: Vec<_> = run
        .events()
        .filter_map(|event| match &event.kind {
            EventKind::LoopStalled(stalled) => Some(stalled),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), wanted.len(), "{name}: stalls: {told:#?}");
    for (want, got) in wanted.iter().zip(told) {
        let sum: u64 = got.ledger.iter().map(|entry| entry.ns).sum();
        assert_eq!(sum, got.ns, "{name}: {got:#?}");
        assert_eq!(
            got.request_ids.len() as u64,
            got.requests,
            "{name}: {got:#?}"
        );
        let began_with = got
            .began_with
            .as_deref()
            .map_or("", |it| it.target.as_str());
        assert_eq!(
            (
                want.tid,
                want.ms,
                want.run_queue_ms,
                want.requests,
                want.began_with.as_str()
            ),
            (
                got.tid,
                in_ms(got.ns),
                in_ms(got.run_queue_ns),
                got.requests,
                began_with
            ),
            "{name}: {got:#?}"
        );
    }
}
