//! How long something took by the application's own clock (`tests/apps/operations/clock.py`).

use anyhow::Result;
use serde::Deserialize;
use whyslow_tests::event::Finished;

/// An interval of one thread. An operation lasts as long as one of the two, or in between: the application's
/// clock runs on while the thread works before and after.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(from = "(i64, i64, u64)")]
pub(crate) struct Took {
    /// The least and the most of it that the thread can have spent neither on a CPU nor waiting for one, ns. They
    /// differ where it lost its CPU while it read the clocks.
    pub(crate) waited_ns: (i64, i64),
    /// All of it, ns.
    pub(crate) wall_ns: u64,
}

impl From<(i64, i64, u64)> for Took {
    fn from((least, most, wall_ns): (i64, i64, u64)) -> Self {
        Self {
            waited_ns: (least, most),
            wall_ns,
        }
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
        let times: Vec<i64> = line
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let [least, most, wall] = times[..] else {
            anyhow::bail!("three times, not {line:?}");
        };
        Ok((least, most, wall.try_into()?).into())
    }

    /// How far `ns` is off, ns: 0 between what the thread waited and all of it.
    pub(crate) fn off(self, ns: u64) -> i64 {
        outside(ns, self.waited_ns.0, self.wall_ns.cast_signed())
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
        let (least, most) = self.waited_ns;
        let slack_ns = (most / 50).max(1_000_000);
        assert!(
            outside(ns, least, most).abs() <= slack_ns,
            "{account}: {ns} ns, not {self:?}: {finished:#?}"
        );
    }
}

/// How far `ns` lies below `least` (negative) or above `most`, ns; 0 in between.
fn outside(ns: u64, least: i64, most: i64) -> i64 {
    let ns = ns.cast_signed();
    (ns - least).min(0) + (ns - most).max(0)
}
