//! Figures over a window: slots of 5 s for the last minute, of 30 s for the ten minutes before.
//! An empty slot costs nothing; a slot grows with what its figures need.

use std::collections::VecDeque;

/// Length of a fine slot.
pub(crate) const FINE_NS: u64 = 5_000_000_000;
/// Fine slots in a coarse one.
const FINE_PER_COARSE: u64 = 6;
/// Fine slots kept, the present one included.
const FINE_KEPT: u64 = 13;
/// Longest window, seconds.
const WINDOW_LIMIT_S: u64 = 600;
/// Window when none is asked for, seconds.
const DEFAULT_WINDOW_S: u64 = 60;
/// Coarse slots kept.
const COARSE_KEPT: u64 = WINDOW_LIMIT_S * 1_000_000_000 / (FINE_NS * FINE_PER_COARSE) + 1;

/// What a slot holds.
pub(crate) trait Figures: Default {
    /// Adds those of another slot.
    fn merge(&mut self, other: &Self);
}

/// Ring of slots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window<F> {
    /// Number of the slot since time 0, and its figures; oldest first.
    fine: VecDeque<(u64, F)>,
    coarse: VecDeque<(u64, F)>,
}

impl<F: Figures> Window<F> {
    /// The slot of a moment. What is noticed late counts when it is noticed.
    pub(crate) fn at(&mut self, time_ns: u64) -> &mut F {
        let slot = time_ns / FINE_NS;
        if self.fine.back().is_none_or(|(last, _)| *last < slot) {
            self.expire(time_ns);
            self.fine.push_back((slot, F::default()));
        }
        let last = self.fine.len() - 1;
        &mut self.fine[last].1
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
    pub(crate) fn since(&self, start_ns: u64) -> F {
        let fine = start_ns / FINE_NS;
        let mut sum = F::default();
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

/// A window that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Its begin, at that of a slot.
    pub(crate) start_ns: u64,
    /// What it covers, seconds: less than asked for when the agent is younger.
    pub(crate) covered_s: f64,
}

impl Span {
    /// The last `window_s` seconds (0: 60, at most 600) of an agent that started at `agent_ns`.
    pub(crate) fn back_from(now_ns: u64, window_s: u32, agent_ns: u64) -> Self {
        let window_s = match u64::from(window_s) {
            0 => DEFAULT_WINDOW_S,
            s => s.min(WINDOW_LIMIT_S),
        };
        let start_ns = window_start(now_ns, window_s);
        let covered_ns = now_ns.saturating_sub(start_ns.max(agent_ns)).max(1);
        Self {
            start_ns,
            covered_s: covered_ns as f64 / 1e9,
        }
    }
}

/// Begin of the window of `window_s` seconds before `now_ns`, at the begin of a slot.
fn window_start(now_ns: u64, window_s: u64) -> u64 {
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

    /// How many, and the last.
    #[derive(Default)]
    struct Counted(u64, u64);

    impl Figures for Counted {
        fn merge(&mut self, other: &Self) {
            self.0 += other.0;
            self.1 = self.1.max(other.1);
        }
    }

    fn filled(seconds: u64) -> Window<Counted> {
        let mut window = Window::<Counted>::default();
        for second in 0..seconds {
            window.at(second * S).merge(&Counted(1, second + 1));
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
            assert_eq!((figures.0, figures.1), (covered, 2_000), "{window_s}");
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
        window.at(0).merge(&Counted(1, 0));
        assert_eq!(window.since(0).0, 101);
    }
}
