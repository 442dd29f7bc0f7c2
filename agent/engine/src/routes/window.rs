//! Figures over a window: slots of 5 s for the last minute, of 30 s for the ten minutes before.
//! An empty slot costs nothing; a slot grows with the buckets and accounts in use.

use std::collections::VecDeque;

use whyslow_abi::account::Account;

use super::histogram::Histogram;
use crate::output::LedgerEntry;

/// Length of a fine slot.
pub(crate) const FINE_NS: u64 = 5_000_000_000;
/// Fine slots in a coarse one.
const FINE_PER_COARSE: u64 = 6;
/// Fine slots kept, the present one included.
const FINE_KEPT: u64 = 13;
/// Longest window, seconds.
pub(crate) const WINDOW_LIMIT_S: u64 = 600;
/// Coarse slots kept.
const COARSE_KEPT: u64 = WINDOW_LIMIT_S * 1_000_000_000 / (FINE_NS * FINE_PER_COARSE) + 1;

/// One finished request, as far as routes care.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample<'a> {
    pub(crate) time_ns: u64,
    pub(crate) wall_ns: u64,
    pub(crate) ledger: &'a [LedgerEntry],
}

/// Figures of one slot, or of several added up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) requests: u64,
    pub(crate) total_ns: u64,
    pub(crate) max_ns: u64,
    pub(crate) histogram: Histogram,
    /// Account, ns, count.
    ledger: Vec<(u8, u64, u64)>,
}

impl Figures {
    fn add(&mut self, sample: &Sample<'_>) {
        self.requests += 1;
        self.total_ns = self.total_ns.saturating_add(sample.wall_ns);
        self.max_ns = self.max_ns.max(sample.wall_ns);
        self.histogram.add(sample.wall_ns);
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

    pub(crate) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.histogram.merge(&other.histogram);
        for (account, ns, count) in &other.ledger {
            self.account(*account, *ns, *count);
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

/// Ring of slots of one route.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    /// Number of the slot since time 0, and its figures; oldest first.
    fine: VecDeque<(u64, Figures)>,
    coarse: VecDeque<(u64, Figures)>,
}

impl Window {
    pub(crate) fn add(&mut self, sample: &Sample<'_>) {
        let slot = sample.time_ns / FINE_NS;
        match self.fine.back_mut() {
            // A request may be noticed late: it counts when it is noticed.
            Some((last, figures)) if *last >= slot => figures.add(sample),
            _ => {
                self.expire(sample.time_ns);
                let mut figures = Figures::default();
                figures.add(sample);
                self.fine.push_back((slot, figures));
            }
        }
    }

    /// Makes fine slots coarse and drops what is too old.
    pub(crate) fn expire(&mut self, now_ns: u64) {
        let now = now_ns / FINE_NS;
        while self
            .fine
            .front()
            .is_some_and(|(slot, _)| slot + FINE_KEPT <= now)
        {
            let Some((slot, figures)) = self.fine.pop_front() else {
                break;
            };
            let wide = slot / FINE_PER_COARSE;
            match self.coarse.back_mut() {
                Some((last, sum)) if *last >= wide => sum.merge(&figures),
                _ => self.coarse.push_back((wide, figures)),
            }
        }
        let now_wide = now / FINE_PER_COARSE;
        while self
            .coarse
            .front()
            .is_some_and(|(slot, _)| slot + COARSE_KEPT <= now_wide)
        {
            self.coarse.pop_front();
        }
    }

    /// Nothing within the longest window.
    pub(crate) fn is_empty(&self) -> bool {
        self.fine.is_empty() && self.coarse.is_empty()
    }

    /// Figures since `start_ns`, which is the begin of a slot ([`window_start`]).
    pub(crate) fn since(&self, start_ns: u64) -> Figures {
        let fine = start_ns / FINE_NS;
        let mut sum = Figures::default();
        for (slot, figures) in &self.fine {
            if *slot >= fine {
                sum.merge(figures);
            }
        }
        for (slot, figures) in &self.coarse {
            if *slot * FINE_PER_COARSE >= fine {
                sum.merge(figures);
            }
        }
        sum
    }

    #[cfg(test)]
    pub(crate) fn slots(&self) -> usize {
        self.fine.len() + self.coarse.len()
    }
}

/// Begin of the window of `window_s` seconds before `now_ns`, at the begin of a slot.
pub(crate) fn window_start(now_ns: u64, window_s: u64) -> u64 {
    let start = now_ns.saturating_sub(window_s.min(WINDOW_LIMIT_S) * 1_000_000_000);
    let slot = if window_s * 1_000_000_000 <= FINE_NS * (FINE_KEPT - 1) {
        FINE_NS
    } else {
        FINE_NS * FINE_PER_COARSE
    };
    start / slot * slot
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn filled(seconds: u64) -> Window {
        let mut window = Window::default();
        let ledger = [LedgerEntry {
            account: Account::Cpu,
            ns: 3,
            count: 1,
        }];
        for second in 0..seconds {
            window.add(&Sample {
                time_ns: second * S,
                wall_ns: (second + 1) * 1_000_000,
                ledger: &ledger,
            });
        }
        window
    }

    #[test]
    fn windows_hold_what_they_say() {
        let window = filled(2_000);
        let now = 2_000 * S - 1;
        for window_s in [5, 10, 60, 120, 300, 600] {
            let start = window_start(now, window_s);
            let covered = (now - start) / S + 1;
            assert!(
                covered >= window_s && covered <= window_s + 30,
                "{window_s}: {covered}"
            );
            let figures = window.since(start);
            assert_eq!(figures.requests, covered, "{window_s}");
            assert_eq!(figures.ledger()[0].ns, covered * 3);
            assert_eq!(figures.max_ns, 2_000_000_000);
        }
    }

    #[test]
    fn memory_is_bounded_and_old_figures_go() {
        let mut window = filled(10_000);
        assert!(window.slots() <= 40, "{}", window.slots());
        window.expire(20_000 * S);
        assert!(window.is_empty());
    }

    #[test]
    fn times_that_go_back_count_now() {
        let mut window = filled(100);
        window.add(&Sample {
            time_ns: 0,
            wall_ns: 1,
            ledger: &[],
        });
        assert_eq!(window.since(0).requests, 101);
    }
}
