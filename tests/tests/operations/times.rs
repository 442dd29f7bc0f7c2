//! Times of operations against the application's own clocks: sum, slowest and first byte within
//! max(2 %, 1 ms), in the median of ten requests.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize as _;
use whyslow_tests::{event::Finished, live, live::say, stats::median};

use crate::{
    setting::{Setting, assert_sound, counts},
    took::Took,
};

/// Requests of each way.
const ROUNDS: usize = 10;

fn check(ways: &[(&str, u64)], protocol: &str) -> Result<()> {
    let Some(live) = live(&format!("operations::times::{protocol}"))? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    for (way, n) in ways {
        setting.ask(way, 1)?;
        let mut all: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
        for _ in 0..ROUNDS {
            let (finished, measured) = setting.measured(way, *n)?;
            assert_sound(&finished);
            let asked = measured["asked"].as_u64();
            let told = counts(&finished, protocol).into_values().sum::<u64>();
            assert_eq!(Some(told), asked, "{finished:#?}");
            for (what, told) in figures(&finished) {
                let Some(clock) = measured.get(what) else {
                    continue;
                };
                let clock = Took::deserialize(clock)?;
                let pair = (clock.off(told) as f64 / 1e6, clock.wall_ns as f64 / 1e6);
                all.entry(what).or_default().push(pair);
            }
        }
        for (what, pairs) in all {
            let (off, wall): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
            let off = median(&off).context("a figure")?;
            let wall = median(&wall).context("a figure")?;
            say(&format!("{way} {n}, {what}: {off:+.3} ms off"));
            assert!(
                off.abs() <= (wall / 50.0).max(1.0),
                "{way} {n}, {what}: (off, by the application) ms: {pairs:?}"
            );
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
