//! Sparse histogram of durations: 32 buckets per power of two, so the middle of a bucket is within
//! 1.6 % of everything in it. Memory grows with the buckets in use.

/// Bits of a value below its leading one that choose the bucket.
const SUB_BITS: u32 = 5;
/// Durations below are one bucket each (ns): 2^SUB_BITS.
const LINEAR: u64 = 1 << SUB_BITS;
/// Resolution: values are counted in units of 2^UNIT_BITS ns.
const UNIT_BITS: u32 = 7;
fn bucket(ns: u64) -> u16 {
    let value = ns >> UNIT_BITS;
    if value < LINEAR {
        return value as u16;
    }
    let shift = value.ilog2() - SUB_BITS;
    let sub = (value >> shift) - LINEAR;
    (((u64::from(shift) + 1) << SUB_BITS) + sub) as u16
}

/// Middle of a bucket, ns.
fn middle(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    let (low, width) = if bucket < LINEAR {
        (bucket, 1)
    } else {
        let shift = (bucket >> SUB_BITS) - 1;
        (((bucket & (LINEAR - 1)) + LINEAR) << shift, 1_u64 << shift)
    };
    (low << UNIT_BITS).saturating_add((width << UNIT_BITS) / 2)
}

/// Counts of durations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    /// Bucket and count, by bucket.
    counts: Vec<(u16, u32)>,
    /// The shortest and the longest, ns.
    range: Option<(u64, u64)>,
}

impl Histogram {
    pub(crate) fn add(&mut self, ns: u64) {
        self.widen((ns, ns));
        let bucket = bucket(ns);
        match self.counts.binary_search_by_key(&bucket, |(b, _)| *b) {
            Ok(at) => self.counts[at].1 = self.counts[at].1.saturating_add(1),
            Err(at) => self.counts.insert(at, (bucket, 1)),
        }
    }

    fn widen(&mut self, (least, most): (u64, u64)) {
        let range = self.range.get_or_insert((least, most));
        *range = (range.0.min(least), range.1.max(most));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if let Some(range) = other.range {
            self.widen(range);
        }
        for (bucket, count) in &other.counts {
            match self.counts.binary_search_by_key(bucket, |(b, _)| *b) {
                Ok(at) => self.counts[at].1 = self.counts[at].1.saturating_add(*count),
                Err(at) => self.counts.insert(at, (*bucket, *count)),
            }
        }
    }

    /// How many there are.
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// Value below which `share` (0 to 1) of the durations lie, never outside of them; 0 when there are none.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let Some((least, most)) = self.range else {
            return 0;
        };
        let total = self.total();
        let rank = ((total as f64 * share).ceil() as u64).clamp(1, total.max(1));
        let mut sum = 0;
        for (bucket, count) in &self.counts {
            sum += u64::from(*count);
            if sum >= rank {
                return middle(*bucket).clamp(least, most);
            }
        }
        most
    }

    #[cfg(test)]
    pub(crate) fn buckets_used(&self) -> usize {
        self.counts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Buckets that exist.
    const BUCKETS: usize = ((64 - UNIT_BITS - SUB_BITS + 1) << SUB_BITS) as usize;

    #[test]
    fn within_two_percent_of_the_truth() {
        let mut value = 10_000_u64;
        while value < 4_000_000_000_000 {
            let estimate = middle(bucket(value));
            let error = estimate.abs_diff(value) as f64 / value as f64;
            assert!(error <= 0.02, "{value} {estimate} {error}");
            value = value * 1001 / 1000 + 1;
        }
    }

    #[test]
    fn buckets_are_monotone_and_in_range() {
        let mut last = 0;
        for shift in 0..64 {
            for sub in 0..8_u64 {
                let value = (1_u64 << shift) | ((1_u64 << shift) / 8 * sub);
                let this = bucket(value);
                assert!(this >= last || sub == 0, "{value}");
                assert!((this as usize) < BUCKETS);
                last = this;
            }
        }
        assert!((bucket(u64::MAX) as usize) < BUCKETS);
        assert!(middle(bucket(u64::MAX)) > u64::MAX / 2);
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), 0);
        for ms in 1..=1000_u64 {
            histogram.add(ms * 1_000_000);
        }
        for (share, expected) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (1.0, 1000.0)] {
            let ms = histogram.quantile(share) as f64 / 1e6;
            assert!((ms / expected - 1.0).abs() < 0.03, "{share}: {ms}");
        }
        let mut alike = Histogram::default();
        (0..50).for_each(|n| alike.add(300_100_000 + n));
        assert_eq!(alike.quantile(0.0), 300_100_000);
        assert!(alike.quantile(0.5) >= 300_100_000 && alike.quantile(1.0) <= 300_100_049);
        let mut twice = histogram.clone();
        twice.merge(&histogram);
        assert_eq!(twice.quantile(0.5), histogram.quantile(0.5));
        assert!(twice.buckets_used() < BUCKETS);
    }
}
