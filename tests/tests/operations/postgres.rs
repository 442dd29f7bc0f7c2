//! PostgreSQL, against its own `pg_stat_statements`.

use anyhow::Result;
use whyslow_tests::live;

use crate::setting::{COUNTS, Setting, assert_sound, counts};

/// Statements per request are as many as `pg_stat_statements` has counted.
#[test]
fn counts_what_the_server_counts() -> Result<()> {
    let Some(live) = live("operations::postgres::counts_what_the_server_counts")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    setting.ask("postgres/simple", 1)?;
    for way in ["simple", "extended", "prepared", "pipeline"] {
        for n in COUNTS {
            setting.psql("select pg_stat_statements_reset()")?;
            let finished = setting.ask(&format!("postgres/{way}"), n)?;
            assert_sound(&finished);
            let told: u64 = counts(&finished, "postgresql").values().sum();
            assert_eq!(told, setting.statements()?, "{way} {n}: {finished:#?}");
            // Answers that come in one large read are not captured whole.
            let rows: u64 = finished.operations.iter().map(|o| o.rows).sum();
            let all = way == "pipeline" || rows >= n;
            assert!(told >= n && all, "{way} {n}: {finished:#?}");
        }
    }
    Ok(())
}

/// Many rows in one answer are told, and so is the error of a statement that fails.
#[test]
fn rows_and_errors() -> Result<()> {
    let Some(live) = live("operations::postgres::rows_and_errors")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    setting.ask("postgres/simple", 1)?;
    let finished = setting.ask("postgres/batch", 5000)?;
    assert_sound(&finished);
    let batch = finished
        .operations
        .iter()
        .find(|o| o.shape.contains("generate_series"));
    assert_eq!(
        batch.map(|o| (o.count, o.rows)),
        Some((1, 5000)),
        "{finished:#?}"
    );
    let failed = finished
        .operations
        .iter()
        .find(|o| o.shape.contains("nowhere"));
    let failed = failed.map(|o| (o.errors, o.last_error.as_str()));
    assert_eq!(failed, Some((1, "42P01")), "{finished:#?}");
    Ok(())
}
