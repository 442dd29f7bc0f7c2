//! Gaps in a thread's record numbers.
//!
//! A thread's records travel in two rings without an order among each other, so a number that is
//! missing now may still come. It is lost when 64 later ones have come, or when it is still
//! missing some time later ([`SequenceWindow::overdue`]).

/// Numbers this far behind the highest can still arrive.
const WINDOW: u32 = 64;

/// The last 64 record numbers of one thread generation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SequenceWindow {
    /// Highest number seen; 0: none.
    highest: u32,
    /// Bit i: number `highest - i` was seen, or is not expected.
    seen: u64,
    /// When a number was first found missing; 0: none is.
    missing_since_ns: u64,
}

impl SequenceWindow {
    /// Notes that `sequence` arrived. Returns how many numbers are lost by now.
    pub(crate) fn note(&mut self, sequence: u32, now_ns: u64) -> u64 {
        if sequence == 0 {
            return 0;
        }
        if self.highest == 0 {
            self.first(sequence, now_ns);
            return 0;
        }
        let ahead = sequence.wrapping_sub(self.highest);
        let lost = if ahead == 0 {
            0
        } else if ahead < u32::MAX / 2 {
            self.slide(ahead, sequence)
        } else {
            let behind = self.highest.wrapping_sub(sequence);
            if behind < WINDOW {
                self.seen |= 1 << behind;
            }
            0
        };
        self.stamp(now_ns);
        lost
    }

    /// Numbers start at 1; one far above is that of a thread that was there long before.
    fn first(&mut self, sequence: u32, now_ns: u64) {
        self.highest = sequence;
        self.seen = if sequence >= WINDOW {
            u64::MAX
        } else {
            // Numbers 1 to sequence - 1 are still expected; 0 and below are not.
            !((1_u64 << sequence) - 1) | 1
        };
        self.stamp(now_ns);
    }

    fn slide(&mut self, ahead: u32, sequence: u32) -> u64 {
        self.highest = sequence;
        if ahead >= WINDOW {
            let lost = u64::from(self.seen.count_zeros()) + u64::from(ahead - WINDOW);
            self.seen = 1;
            return lost;
        }
        let out = self.seen >> (WINDOW - ahead);
        let lost = u64::from(ahead - out.count_ones());
        self.seen = (self.seen << ahead) | 1;
        lost
    }

    fn stamp(&mut self, now_ns: u64) {
        if self.seen == u64::MAX {
            self.missing_since_ns = 0;
        } else if self.missing_since_ns == 0 {
            self.missing_since_ns = now_ns.max(1);
        }
    }

    /// Some number is missing.
    pub(crate) fn has_gap(&self) -> bool {
        self.missing_since_ns != 0
    }

    /// Gives up on numbers that are missing for `patience_ns`. Returns how many.
    pub(crate) fn overdue(&mut self, now_ns: u64, patience_ns: u64) -> u64 {
        if self.missing_since_ns == 0 || now_ns.saturating_sub(self.missing_since_ns) < patience_ns
        {
            return 0;
        }
        self.missing_since_ns = 0;
        let lost = u64::from(self.seen.count_zeros());
        self.seen = u64::MAX;
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_is_no_loss() {
        let mut window = SequenceWindow::default();
        let lost: u64 = (1..1000).map(|n| window.note(n, u64::from(n))).sum();
        assert_eq!(lost, 0);
        assert!(!window.has_gap());
        assert_eq!(window.overdue(u64::MAX, 1), 0);
    }

    #[test]
    fn reordering_within_the_window_is_no_loss() {
        let mut window = SequenceWindow::default();
        let mut lost = 0;
        for base in (0..50).map(|n| n * 40) {
            for n in (1..=40).rev() {
                lost += window.note(base + n, 5);
            }
        }
        assert_eq!(lost, 0);
        assert!(!window.has_gap());
    }

    #[test]
    fn a_gap_is_lost_when_it_slides_out() {
        let mut window = SequenceWindow::default();
        let mut lost = 0;
        for n in (1..=200).filter(|n| *n != 50 && *n != 51) {
            lost += window.note(n, 5);
        }
        assert_eq!(lost, 2);
        assert!(!window.has_gap());
    }

    #[test]
    fn a_gap_is_lost_when_it_is_overdue() {
        let mut window = SequenceWindow::default();
        window.note(1, 100);
        window.note(4, 200);
        assert!(window.has_gap());
        assert_eq!(window.overdue(600, 500), 0);
        window.note(2, 650);
        assert_eq!(window.overdue(700, 500), 1);
        assert_eq!(window.overdue(9_000, 500), 0);
        // What was given up and comes after all changes nothing.
        assert_eq!(window.note(3, 9_000), 0);
    }

    #[test]
    fn a_long_jump_counts_all_between() {
        let mut window = SequenceWindow::default();
        window.note(1, 1);
        assert_eq!(window.note(1001, 2) + window.overdue(1000, 10), 999);
    }

    #[test]
    fn the_first_numbers_are_expected_and_old_threads_are_not_a_loss() {
        let mut window = SequenceWindow::default();
        window.note(3, 1);
        assert_eq!(window.overdue(1000, 10), 2);
        let mut old = SequenceWindow::default();
        old.note(100_000, 1);
        assert_eq!(old.overdue(1000, 10), 0);
    }

    #[test]
    fn wraps_around() {
        let mut window = SequenceWindow::default();
        window.note(u32::MAX, 1);
        assert_eq!(window.note(2, 2), 0);
        assert_eq!(window.note(1, 3), 0);
        // 0 is no number: the kernel side skips it or it counts as one missing.
        assert!(window.overdue(1000, 10) <= 1);
    }
}
