//! Figures of one route: of a slot of its window, or of several added up.

use whyslow_abi::account::Account;

use super::histogram::Histogram;
use crate::output::{LedgerEntry, RequestFinished};

/// One finished request, as far as routes care.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample<'a> {
    pub(crate) wall_ns: u64,
    pub(crate) ledger: &'a [LedgerEntry],
    /// Operations that it asked for.
    pub(crate) operations: u64,
    /// They are a lower bound.
    pub(crate) sampled: bool,
    pub(crate) client: ClientTimes,
    /// Time in the accept queue, where it is known exactly.
    pub(crate) accept_queue_ns: Option<u64>,
}

/// Times with the client; of several requests, sums. ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientTimes {
    pub(crate) head_read_ns: u64,
    pub(crate) body_read_ns: u64,
    pub(crate) send_ns: u64,
    /// Waited for it.
    pub(crate) wait_ns: u64,
}

impl ClientTimes {
    /// Of a finished request.
    pub(crate) fn of(finished: &RequestFinished) -> Self {
        let waits = [Account::NetClientRead, Account::NetClientWrite];
        let entries = finished.ledger.iter();
        Self {
            head_read_ns: finished.head_read_ns,
            body_read_ns: finished.body_read_ns.unwrap_or_default(),
            send_ns: finished.send_ns,
            wait_ns: entries
                .filter(|entry| waits.contains(&entry.account))
                .map(|entry| entry.ns)
                .sum(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.head_read_ns = self.head_read_ns.saturating_add(other.head_read_ns);
        self.body_read_ns = self.body_read_ns.saturating_add(other.body_read_ns);
        self.send_ns = self.send_ns.saturating_add(other.send_ns);
        self.wait_ns = self.wait_ns.saturating_add(other.wait_ns);
    }
}

/// Figures of one slot, or of several added up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) requests: u64,
    pub(crate) total_ns: u64,
    pub(crate) max_ns: u64,
    pub(crate) histogram: Histogram,
    pub(crate) operations: u64,
    /// `operations` is a lower bound.
    pub(crate) sampled: bool,
    pub(crate) client: ClientTimes,
    /// Times in the accept queue.
    pub(crate) queued: Histogram,
    /// The longest of them.
    pub(crate) queued_max_ns: u64,
    /// Account, ns, count.
    ledger: Vec<(u8, u64, u64)>,
}

impl Figures {
    /// Adds a request.
    pub(crate) fn add(&mut self, sample: &Sample<'_>) {
        self.requests += 1;
        self.total_ns = self.total_ns.saturating_add(sample.wall_ns);
        self.max_ns = self.max_ns.max(sample.wall_ns);
        self.histogram.add(sample.wall_ns);
        self.operations = self.operations.saturating_add(sample.operations);
        self.sampled |= sample.sampled;
        self.client.add(&sample.client);
        if let Some(ns) = sample.accept_queue_ns {
            self.queued.add(ns);
            self.queued_max_ns = self.queued_max_ns.max(ns);
        }
        for entry in sample.ledger {
            self.account(entry.account as u8, entry.ns, entry.count);
        }
    }

    fn account(&mut self, account: u8, ns: u64, count: u64) {
        match self.ledger.iter_mut().find(|(a, ..)| *a == account) {
            Some((_, sum_ns, sum_count)) => {
                *sum_ns = sum_ns.saturating_add(ns);
                *sum_count = sum_count.saturating_add(count);
            }
            None => self.ledger.push((account, ns, count)),
        }
    }

    /// Sums of the accounts, most time first.
    pub(crate) fn ledger(&self) -> Vec<LedgerEntry> {
        let mut entries: Vec<LedgerEntry> = self
            .ledger
            .iter()
            .filter_map(|(account, ns, count)| {
                Some(LedgerEntry {
                    account: Account::try_from(*account).ok()?,
                    ns: *ns,
                    count: *count,
                })
            })
            .collect();
        entries.sort_by(|a, b| b.ns.cmp(&a.ns).then(a.account.cmp(&b.account)));
        entries
    }
}

impl super::window::Figures for Figures {
    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.histogram.merge(&other.histogram);
        self.operations = self.operations.saturating_add(other.operations);
        self.sampled |= other.sampled;
        self.client.add(&other.client);
        self.queued.merge(&other.queued);
        self.queued_max_ns = self.queued_max_ns.max(other.queued_max_ns);
        for (account, ns, count) in &other.ledger {
            self.account(*account, *ns, *count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::window::Figures as _;

    #[test]
    fn sums_of_all_that_is_counted() {
        let ledger = [LedgerEntry {
            account: Account::Cpu,
            ns: 3,
            count: 1,
        }];
        let mut one = Figures::default();
        for wall_ns in [5_000_000, 7_000_000] {
            one.add(&Sample {
                wall_ns,
                ledger: &ledger,
                operations: 4,
                sampled: wall_ns == 5_000_000,
                client: ClientTimes {
                    send_ns: 2,
                    wait_ns: 1,
                    ..ClientTimes::default()
                },
                accept_queue_ns: (wall_ns == 5_000_000).then_some(9_000),
            });
        }
        let mut sum = Figures::default();
        sum.merge(&one);
        sum.merge(&one);
        assert!(sum.sampled, "one of them is");
        assert_eq!((sum.requests, sum.operations), (4, 16));
        assert_eq!((sum.total_ns, sum.max_ns), (24_000_000, 7_000_000));
        assert_eq!((sum.client.send_ns, sum.client.wait_ns), (8, 4));
        assert_eq!((sum.queued.total(), sum.queued_max_ns), (2, 9_000));
        assert_eq!((sum.ledger()[0].ns, sum.ledger()[0].count), (12, 4));
    }
}
