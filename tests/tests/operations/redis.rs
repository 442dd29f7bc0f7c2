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
