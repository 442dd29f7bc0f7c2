//! Figures of one route: of a slot of its window, or of several added up.

use whyslow_abi::account::Account;

use super::histogram::Histogram;
use crate::output::LedgerEntry;

/// One finished request, as far as routes care.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample<'a> {
    pub(crate) wall_ns: u64,
    pub(crate) ledger: &'a [LedgerEntry],
    /// Operations that it asked for.
    pub(crate) operations: u64,
    /// They are a lower bound.
    pub(crate) sampled: bool,
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
            });
        }
        let mut sum = Figures::default();
        sum.merge(&one);
        sum.merge(&one);
        assert!(sum.sampled, "one of them is");
        assert_eq!((sum.requests, sum.operations), (4, 16));
        assert_eq!((sum.total_ns, sum.max_ns), (24_000_000, 7_000_000));
        assert_eq!((sum.ledger()[0].ns, sum.ledger()[0].count), (12, 4));
    }
}
