//! Connections that OpenSSL encrypts, against what the servers counted themselves: psycopg has a library of
//! its own in its package, under a name of its own; Python has that of the system.

use anyhow::Result;
use whyslow_tests::live;

use crate::setting::{COUNTS, Setting, assert_sound, counts};

/// Statements per request are as many as `pg_stat_statements` has counted.
#[test]
fn counts_what_postgresql_counts() -> Result<()> {
    let Some(live) = live("operations::openssl::counts_what_postgresql_counts")? else {
        return Ok(());
    };
    let setting = Setting::encrypted(&live)?;
    setting.ask("postgres/simple", 2)?;
    let encrypted = "select count(*) from pg_stat_ssl where ssl and pid <> pg_backend_pid()";
    assert_eq!(setting.psql(encrypted)?.trim(), "1", "nothing is encrypted");
    for way in ["simple", "extended", "prepared", "pipeline"] {
        for n in COUNTS {
            setting.psql("select pg_stat_statements_reset()")?;
            let finished = setting.ask(&format!("postgres/{way}"), n)?;
            assert_sound(&finished);
            let told: u64 = counts(&finished, "postgresql").values().sum();
            assert_eq!(told, setting.statements()?, "{way} {n}: {finished:#?}");
            assert!(told >= n, "{way} {n}: {finished:#?}");
        }
    }
    Ok(())
}

/// Commands per request are as many as the server has run.
#[test]
fn counts_what_redis_counts() -> Result<()> {
    let Some(live) = live("operations::openssl::counts_what_redis_counts")? else {
        return Ok(());
    };
    let setting = Setting::encrypted(&live)?;
    setting.ask("redis/plain", 2)?;
    for way in ["redis/plain", "redis/pipeline", "redis/transaction"] {
        for n in COUNTS {
            let before: u64 = setting.commands()?.values().sum();
            let finished = setting.ask(way, n)?;
            let after: u64 = setting.commands()?.values().sum();
            assert_sound(&finished);
            let told: u64 = counts(&finished, "redis").values().sum();
            assert_eq!(told, after - before, "{way} {n}: {finished:#?}");
            assert!(told >= n, "{way} {n}: {finished:#?}");
        }
    }
    Ok(())
}
