//! Requests that ask a hundred thousand times: the agent's memory stays bounded, round trips are exact,
//! counts are a lower bound and say so, and the next request on the same connections is exact again.

use anyhow::Result;
use whyslow_tests::{live, live::say, process::rss_bytes};

use crate::setting::{Setting, assert_sound, assert_true, counts};

/// Operations of one request.
const MANY: u64 = 100_000;
/// Memory that such a request may cost when another was there before: nothing of it stays. The
/// allocator's own rounding is within.
const GROWTH_BYTES: u64 = 4 << 20;
/// What the agent may ever have resident.
const RESIDENT_BYTES: u64 = 60 << 20;

fn check(way: &str, protocol: &str, again: impl Fn(&Setting) -> Result<()>) -> Result<()> {
    let Some(live) = live(&format!("operations::many::{protocol}"))? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    setting.ask(way, 1)?;
    let before = rss_bytes(setting.agent().pid())?;
    say(&format!(
        "{way}: agent {} KiB resident before",
        before / 1024
    ));
    let mut resident = Vec::new();
    for round in 0..3 {
        let finished = setting.ask(way, MANY)?;
        assert_true(&finished);
        assert_eq!(finished.round_trips, MANY, "{finished:#?}");
        let told: u64 = counts(&finished, protocol).values().sum();
        assert!(told > 0 && told <= MANY, "{finished:#?}");
        let sampled = finished.operations.iter().all(|o| o.sampled);
        assert!(sampled || told == MANY, "{finished:#?}");
        again(&setting)?;
        let rss = rss_bytes(setting.agent().pid())?;
        say(&format!(
            "{way} {MANY}, round {round}: told {told}, agent {} KiB resident",
            rss / 1024
        ));
        resident.push(rss);
    }
    assert!(resident[2] <= resident[0] + GROWTH_BYTES, "{resident:?}");
    assert!(resident[2] <= RESIDENT_BYTES, "{resident:?}");
    Ok(())
}

/// PostgreSQL, simple queries.
#[test]
fn postgresql() -> Result<()> {
    check("postgres/simple", "postgresql", |setting| {
        for way in ["postgres/simple", "postgres/extended"] {
            let finished = setting.agrees_with_postgres(way, 37)?;
            let rows: u64 = finished.operations.iter().map(|o| o.rows).sum();
            assert_eq!(rows, 37, "{finished:#?}");
        }
        Ok(())
    })
}

/// Redis, GETs.
#[test]
fn redis() -> Result<()> {
    check("redis/gets", "redis", |setting| {
        let finished = setting.agrees_with_redis("redis/gets", 37)?;
        assert_sound(&finished);
        // Times too: nothing of the last request is waited for in this one.
        assert_eq!(finished.round_trips, 37, "{finished:#?}");
        Ok(())
    })
}
