//! What follows from the figures of an operation, for all who tell of it.

use crate::v1::Operation;

impl Operation {
    /// Repeated, and at least half of them took a round trip each: what one statement could have asked for.
    #[must_use]
    pub const fn is_one_by_one(&self) -> bool {
        self.repeated && self.round_trips >= self.count / 2
    }

    /// Repeated, but in fewer round trips; in how many. 0: in those of other operations.
    #[must_use]
    pub const fn pipelined_in(&self) -> Option<u64> {
        if self.repeated && !self.is_one_by_one() {
            Some(self.round_trips)
        } else {
            None
        }
    }

    /// The same in words: "in 2 round trips".
    #[must_use]
    pub fn pipelined_words(&self) -> Option<String> {
        Some(match self.pipelined_in()? {
            0 => "pipelined".to_owned(),
            1 => "in 1 round trip".to_owned(),
            n => format!("in {n} round trips"),
        })
    }

    /// There may have been more errors and rows.
    #[must_use]
    pub const fn is_errors_at_least(&self) -> bool {
        self.sampled || self.answers_sampled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(count: u64, round_trips: u64, repeated: bool) -> Operation {
        Operation {
            count,
            round_trips,
            repeated,
            ..Operation::default()
        }
    }

    #[test]
    fn a_pipeline_is_no_loop() {
        for (count, trips, repeated, one_by_one, words) in [
            (500, 500, true, true, None),
            (500, 250, true, true, None),
            (500, 249, true, false, Some("in 249 round trips")),
            (500, 1, true, false, Some("in 1 round trip")),
            (500, 0, true, false, Some("pipelined")),
            (9, 9, false, false, None),
            (9, 1, false, false, None),
        ] {
            let operation = asked(count, trips, repeated);
            assert_eq!(operation.is_one_by_one(), one_by_one, "{count} in {trips}");
            assert_eq!(operation.pipelined_words().as_deref(), words);
        }
    }
}
