//! Times of operations against the application's own clocks: sum, slowest and first byte within
//! max(2 %, 1 ms), in the median of ten requests.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use whyslow_tests::{event::Finished, live, live::say, stats::median};

use crate::setting::{Setting, assert_sound, counts};

/// Requests of each way.
const ROUNDS: usize = 10;

/// Both sides' figures of one kind, ms.
#[derive(Default)]
struct Figures {
    told: Vec<f64>,
    measured: Vec<f64>,
}

impl Figures {
    /// How far off the median is, ms, which must be within the tolerance.
    fn off(&self, what: &str) -> Result<f64> {
        let told = median(&self.told).context("a figure")?;
        let clock = median(&self.measured).context("a figure")?;
        let off = told - clock;
        assert!(
            off.abs() <= (clock / 50.0).max(1.0),
            "{what}: {told} ms told, {clock} ms by the application"
        );
        Ok(off)
    }
}

fn check(ways: &[(&str, u64)], protocol: &str) -> Result<()> {
    let Some(live) = live(&format!("operations::times::{protocol}"))? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    for (way, n) in ways {
        setting.ask(way, 1)?;
        let mut all: BTreeMap<&str, Figures> = BTreeMap::new();
        for _ in 0..ROUNDS {
            let (finished, measured) = setting.measured(way, *n)?;
            assert_sound(&finished);
            let asked = measured["asked"].as_u64();
            let told = counts(&finished, protocol).into_values().sum::<u64>();
            assert_eq!(Some(told), asked, "{finished:#?}");
            for (what, told) in figures(&finished) {
                let Some(clock) = measured[what].as_u64() else {
                    continue;
                };
                let figures = all.entry(what).or_default();
                figures.told.push(told as f64 / 1e6);
                figures.measured.push(clock as f64 / 1e6);
            }
        }
        for (what, figures) in all {
            let what = format!("{way} {n}, {what}");
            let off = figures.off(&what)?;
            say(&format!("{what}: {off:+.3} ms off"));
        }
    }
    Ok(())
}

fn figures(finished: &Finished) -> [(&'static str, u64); 3] {
    let all = || finished.operations.iter();
    [
        ("total", all().map(|o| o.total_ns).sum()),
        ("slowest", all().map(|o| o.slowest_ns).max().unwrap_or(0)),
        ("first", all().map(|o| o.first_byte_ns).sum()),
    ]
}

/// A slow statement, many short ones, and an answer that comes slowly.
#[test]
fn postgresql() -> Result<()> {
    let ways = [
        ("times/slept", 1),
        ("times/slept", 3),
        ("times/many", 37),
        ("times/streamed", 20),
    ];
    check(&ways, "postgresql")
}

/// A slow script, and many short ones.
#[test]
fn redis() -> Result<()> {
    check(&[("times/script", 1), ("times/many_scripts", 37)], "redis")
}
