//! Redis, against its own `INFO commandstats`.

use std::collections::BTreeMap;

use anyhow::Result;
use whyslow_tests::live;

use crate::setting::{COUNTS, Setting, assert_sound, counts};

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
            let before = setting.commands()?;
            let finished = setting.ask(way, n)?;
            let after = setting.commands()?;
            assert_sound(&finished);
            let ran: BTreeMap<String, u64> = after
                .iter()
                .map(|(name, calls)| (name.clone(), calls - before.get(name).unwrap_or(&0)))
                .filter(|(_, calls)| *calls > 0)
                .collect();
            let told = counts(&finished, "redis").iter().fold(
                BTreeMap::new(),
                |mut told: BTreeMap<String, u64>, (shape, count)| {
                    let name = shape.split(['?', '.']).next().unwrap_or_default();
                    *told.entry(name.trim().to_owned()).or_default() += count;
                    told
                },
            );
            assert_eq!(told, ran, "{way} {n}: {finished:#?}");
        }
    }
    Ok(())
}
