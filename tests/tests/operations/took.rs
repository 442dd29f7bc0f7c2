//! How long something took by the application's own clock (`tests/apps/operations/clock.py`).

use anyhow::{Context as _, Result};
use serde::Deserialize;
use whyslow_tests::event::Finished;

/// An interval of one thread. An operation lasts as long as one of the two, or in between: the application's
/// clock runs on while the thread works before and after.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(from = "(u64, u64)")]
pub(crate) struct Took {
    /// What of it the thread neither ran nor waited for a CPU, ns.
    pub(crate) waited_ns: u64,
    /// All of it, ns.
    pub(crate) wall_ns: u64,
}

impl From<(u64, u64)> for Took {
    fn from((waited_ns, wall_ns): (u64, u64)) -> Self {
        Self { waited_ns, wall_ns }
    }
}

impl Took {
    /// From the header `X-Asked-Ns` of a response; without it, nothing took any time.
    pub(crate) fn of_response(head: &str) -> Result<Self> {
        let Some(line) = head
            .lines()
            .find_map(|line| line.strip_prefix("X-Asked-Ns: "))
        else {
            return Ok(Self::default());
        };
        let (waited, wall) = line.trim().split_once(' ').context("two times")?;
        Ok(Self {
            waited_ns: waited.parse()?,
            wall_ns: wall.parse()?,
        })
    }

    /// How far `ns` is off, ns: 0 between the two times.
    pub(crate) fn off(self, ns: u64) -> i64 {
        if ns < self.waited_ns {
            -self.waited_ns.saturating_sub(ns).cast_signed()
        } else {
            ns.saturating_sub(self.wall_ns).cast_signed()
        }
    }

    /// The operations lasted so long, within 2 % or 1 ms.
    #[track_caller]
    pub(crate) fn assert_holds(self, what: &str, ns: u64, finished: &Finished) {
        let slack_ns = (self.wall_ns / 50).max(1_000_000);
        assert!(
            self.off(ns).unsigned_abs() <= slack_ns,
            "{what}: {ns} ns, not {self:?}: {finished:#?}"
        );
    }

    /// The account has what the thread waited, within 2 % or 1 ms.
    #[track_caller]
    pub(crate) fn assert_is(self, account: &str, finished: &Finished) {
        let ns = finished.account(account);
        let slack_ns = (self.waited_ns / 50).max(1_000_000);
        assert!(
            ns.abs_diff(self.waited_ns) <= slack_ns,
            "{account}: {ns} ns, not {self:?}: {finished:#?}"
        );
    }
}
