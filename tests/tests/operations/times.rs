//! Times of operations against the application's own clocks: sum, slowest and first byte within
//! max(2 %, 1 ms).

use anyhow::{Context as _, Result};
use serde_json::Value;
use whyslow_tests::{event::Finished, live, live::say};

use crate::setting::{Setting, assert_sound, counts};

/// Requests of each way.
const ROUNDS: usize = 10;

/// One figure of both sides, ns.
fn compare(way: &str, what: &str, told: u64, measured: &Value) -> Result<i64> {
    let clock = measured[what]
        .as_u64()
        .with_context(|| format!("no {what}"))?;
    let within = (clock / 50).max(1_000_000);
    let off = told.cast_signed() - clock.cast_signed();
    assert!(
        off.unsigned_abs() <= within,
        "{way}, {what}: {told} ns told, {clock} ns by the application"
    );
    Ok(off)
}

fn check(ways: &[(&str, u64)], protocol: &str) -> Result<()> {
    let Some(live) = live(&format!("operations::times::{protocol}"))? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    for (way, n) in ways {
        setting.ask(way, 1)?;
        let (mut worst, mut relative) = (0, 0.0_f64);
        for _ in 0..ROUNDS {
            let (finished, measured) = setting.measured(way, *n)?;
            assert_sound(&finished);
            let asked = measured["asked"].as_u64();
            let told = counts(&finished, protocol).into_values().sum::<u64>();
            assert_eq!(Some(told), asked, "{finished:#?}");
            for (what, told) in figures(&finished) {
                if measured.get(what).is_some() {
                    let off = compare(way, what, told, &measured)?;
                    worst = if off.abs() > i64::abs(worst) {
                        off
                    } else {
                        worst
                    };
                    relative = relative.max(off.abs() as f64 / told as f64);
                }
            }
        }
        say(&format!(
            "{way} {n}: at most {:.3} ms off, at most {:.2} %",
            worst as f64 / 1e6,
            relative * 100.0
        ));
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
