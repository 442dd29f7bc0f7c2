//! Redis, against its own `INFO commandstats`.

use anyhow::Result;
use whyslow_tests::live;

use crate::setting::{COUNTS, Setting};

/// Commands per request are as many, by name, as the server has run.
#[test]
fn counts_what_the_server_counts() -> Result<()> {
    let Some(live) = live("operations::redis::counts_what_the_server_counts")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    setting.ask("redis/plain", 2)?;
    for way in ["redis/plain", "redis/pipeline", "redis/transaction"] {
        for n in COUNTS {
            setting.agrees_with_redis(way, n)?;
        }
    }
    Ok(())
}

/// Round trips are exact whether operations are read or not.
#[test]
fn round_trips_without_operations() -> Result<()> {
    let Some(live) = live("operations::redis::round_trips_without_operations")? else {
        return Ok(());
    };
    let setting = Setting::alone(&live, &[])?;
    setting.ask("redis/plain", 2)?;
    for n in COUNTS {
        let finished = setting.ask("redis/plain", n)?;
        assert_eq!(finished.round_trips, n, "{finished:#?}");
        assert!(finished.operations.is_empty(), "{finished:#?}");
    }
    Ok(())
}
