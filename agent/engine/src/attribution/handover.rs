//! The ledger of a request on which another thread worked than the one that read it.

use whyslow_abi::{account::Account, totals::Totals, wait::Wait};

use crate::timeline::{ThreadKey, works::End};

/// Who worked on a request, and when.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) worker: ThreadKey,
    /// All bytes of the request had been read.
    pub(crate) read_ns: u64,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    /// What the worker's ledger has grown by from the start to the end.
    pub(crate) spent: Totals,
    pub(crate) waits: Vec<Wait>,
    /// What ended it.
    pub(crate) ended_by: End,
    /// Why the start is a bound; empty: it is none.
    pub(crate) doubt: &'static str,
}

impl Work {
    /// The request's ledger: reading, waiting for the worker, the worker's, and back to the thread that writes where that
    /// is another. The sum is the time from the begin to the end.
    pub(crate) fn ledger(&self, begin_ns: u64, end_ns: u64) -> Totals {
        let mut totals = self.spent;
        let mut add = |account: Account, ns: u64| {
            let index = account as usize;
            totals.ns[index] = totals.ns[index].saturating_add(ns);
            totals.count[index] = totals.count[index].saturating_add(u32::from(ns > 0));
        };
        let read_ns = self.read_ns.clamp(begin_ns, self.start_ns.max(begin_ns));
        add(Account::NetClientRead, read_ns - begin_ns);
        add(Account::QueueApp, self.start_ns.saturating_sub(read_ns));
        add(Account::QueueApp, end_ns.saturating_sub(self.end_ns));
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up() {
        let mut spent = Totals::ZERO;
        spent.ns[Account::Cpu as usize] = 30;
        let mut work = Work {
            worker: ThreadKey::default(),
            read_ns: 105,
            start_ns: 120,
            end_ns: 150,
            spent,
            waits: Vec::new(),
            ended_by: (1, 1),
            doubt: "",
        };
        let ledger = work.ledger(100, 157);
        assert_eq!(ledger.total_ns(), 57);
        assert_eq!(ledger.ns[Account::NetClientRead as usize], 5);
        assert_eq!(ledger.ns[Account::QueueApp as usize], 15 + 7);
        // The worker has read the rest of the body itself.
        work.read_ns = 140;
        assert_eq!(work.ledger(100, 150).total_ns(), 50);
    }
}
