//! Shares of a thread's last seconds: time within requests, time on a CPU. Bounded rings.

const SECOND_NS: u64 = 1_000_000_000;
/// Seconds that shares are taken over.
const WINDOW_S: u64 = 10;
const SLOTS: usize = WINDOW_S as usize + 1;

/// Time within requests, by second of the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BusyRing {
    /// Busy nanoseconds, and the second they belong to.
    slots: [(u64, u32); SLOTS],
    /// Time before this was counted: overlapping requests count once.
    until_ns: u64,
}

impl BusyRing {
    /// Adds a request's time.
    pub(crate) fn add(&mut self, begin_ns: u64, end_ns: u64) {
        let oldest = end_ns.saturating_sub(SECOND_NS * SLOTS as u64);
        let mut at = begin_ns.max(self.until_ns).max(oldest);
        self.until_ns = self.until_ns.max(end_ns);
        while at < end_ns {
            let second = at / SECOND_NS;
            let next = (second + 1).saturating_mul(SECOND_NS).min(end_ns);
            let slot = &mut self.slots[(second % SLOTS as u64) as usize];
            if slot.0 != second {
                *slot = (second, 0);
            }
            slot.1 = slot.1.saturating_add((next - at) as u32);
            at = next;
        }
    }

    /// Share of the last seconds, 0 to 1. `open_since`: begin of a request that is still open.
    pub(crate) fn share(&self, now_ns: u64, open_since: Option<u64>) -> f64 {
        let mut ring = *self;
        if let Some(begin_ns) = open_since {
            ring.add(begin_ns, now_ns);
        }
        let first = (now_ns / SECOND_NS + 1).saturating_sub(WINDOW_S);
        let busy: u64 = ring
            .slots
            .iter()
            .filter(|(second, _)| *second >= first)
            .map(|(_, ns)| u64::from(*ns))
            .sum();
        let window = now_ns.saturating_sub(first * SECOND_NS).max(1);
        (busy as f64 / window as f64).clamp(0.0, 1.0)
    }
}

/// A cumulative figure (CPU time), sampled at most once per second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuRing {
    samples: [(u64, u64); SLOTS],
    next: usize,
    last_ns: u64,
}

impl CpuRing {
    /// Notes that `cpu_ns` were used up to `now_ns`.
    pub(crate) fn note(&mut self, now_ns: u64, cpu_ns: u64) {
        if self.last_ns != 0 && now_ns < self.last_ns.saturating_add(SECOND_NS) {
            return;
        }
        self.samples[self.next % SLOTS] = (now_ns.max(1), cpu_ns);
        self.next = (self.next + 1) % SLOTS;
        self.last_ns = now_ns.max(1);
    }

    /// Share of the last seconds, 0 to 1, up to `now_ns` with `cpu_ns` used.
    pub(crate) fn share(&self, now_ns: u64, cpu_ns: u64) -> f64 {
        let horizon = now_ns.saturating_sub((WINDOW_S + 1) * SECOND_NS);
        let oldest = self
            .samples
            .iter()
            .filter(|(time, _)| *time != 0 && *time >= horizon && *time < now_ns)
            .min_by_key(|(time, _)| *time);
        oldest.map_or(0.0, |(time, cpu)| {
            let share = cpu_ns.saturating_sub(*cpu) as f64 / (now_ns - time) as f64;
            share.clamp(0.0, 1.0)
        })
    }

    /// Last figure noted.
    pub(crate) fn last(&self) -> Option<(u64, u64)> {
        (self.last_ns != 0).then(|| self.samples[(self.next + SLOTS - 1) % SLOTS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = SECOND_NS;

    #[test]
    fn busy_half_the_time() {
        let mut ring = BusyRing::default();
        for second in 100..120 {
            ring.add(second * S, second * S + S / 2);
        }
        let share = ring.share(120 * S - 1, None);
        assert!((share - 0.5).abs() < 0.01, "{share}");
        assert!(ring.share(200 * S, None) < 0.001);
    }

    #[test]
    fn overlapping_requests_count_once_and_an_open_one_counts() {
        let mut ring = BusyRing::default();
        ring.add(100 * S, 105 * S);
        ring.add(101 * S, 105 * S);
        let share = ring.share(110 * S - 1, None);
        assert!((share - 0.5).abs() < 0.01, "{share}");
        let open = ring.share(110 * S - 1, Some(105 * S));
        assert!(open > 0.99, "{open}");
    }

    #[test]
    fn a_long_request_costs_a_bounded_loop() {
        let mut ring = BusyRing::default();
        ring.add(0, u64::MAX / 2);
        assert!(ring.share(u64::MAX / 2, None) > 0.9);
    }

    #[test]
    fn cpu_share_from_samples() {
        let mut ring = CpuRing::default();
        assert_eq!(ring.share(50 * S, 0), 0.0);
        for second in 100..130 {
            ring.note(second * S, (second - 100) * S / 4);
        }
        let share = ring.share(130 * S, 30 * S / 4);
        assert!((share - 0.25).abs() < 0.01, "{share}");
        assert_eq!(ring.last(), Some((129 * S, 29 * S / 4)));
    }
}
