//! What is more than a question and an answer: data that is copied, notifications, publications, commands
//! that block, scripts, errors in the middle of a pipeline.

use anyhow::Result;
use whyslow_tests::live;

use crate::setting::{COUNTS, Setting, assert_sound, counts};

/// COPY in and out: one operation each, with its rows.
#[test]
fn copied_rows() -> Result<()> {
    let Some(live) = live("operations::conversations::copied_rows")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    setting.ask("postgres/copy", 1)?;
    for n in [1, 37, 500, 20_000] {
        let finished = setting.agrees_with_postgres("postgres/copy", n)?;
        for shape in ["copy copied from stdin", "copy copied to stdout"] {
            let copied = finished.operations.iter().find(|o| o.shape == shape);
            let copied = copied.map(|o| (o.count, o.rows, o.errors));
            assert_eq!(copied, Some((1, n, 0)), "{shape}: {finished:#?}");
        }
    }
    Ok(())
}

/// One of a pipeline's statements fails: those behind it were asked for and never executed.
#[test]
fn a_broken_pipeline() -> Result<()> {
    let Some(live) = live("operations::conversations::a_broken_pipeline")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    setting.ask("postgres/broken_pipeline", 1)?;
    for n in COUNTS {
        setting.psql("select pg_stat_statements_reset()")?;
        let finished = setting.ask("postgres/broken_pipeline", n)?;
        assert_sound(&finished);
        let of = |name: &str| finished.operations.iter().find(|o| o.shape.contains(name));
        let asked = |name: &str| of(name).map_or(0, |o| o.count);
        assert_eq!(
            asked("good") + asked("behind"),
            setting.statements()?,
            "{finished:#?}"
        );
        let all = ["good", "bad", "skipped"].map(asked);
        assert_eq!(all, [n, 1, n], "{finished:#?}");
        let errors: u64 = finished.operations.iter().map(|o| o.errors).sum();
        assert!(errors > 0, "{finished:#?}");
        let behind = of("behind").map(|o| (o.count, o.rows, o.errors));
        assert_eq!(behind, Some((1, 1, 0)), "{finished:#?}");
        if n == 1 {
            // The answers are captured whole.
            let bad = of("bad").map(|o| (o.errors, o.last_error.as_str()));
            assert_eq!(bad, Some((1, "22012")), "{finished:#?}");
        }
    }
    Ok(())
}

/// LISTEN and NOTIFY: what the server sends by itself answers nothing.
#[test]
fn notifications() -> Result<()> {
    let Some(live) = live("operations::conversations::notifications")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    setting.ask("postgres/listen", 1)?;
    for n in COUNTS {
        let finished = setting.agrees_with_postgres("postgres/listen", n)?;
        assert_eq!(
            counts(&finished, "postgresql").get("listen news"),
            Some(&1),
            "{finished:#?}"
        );
    }
    Ok(())
}

/// psycopg prepares by itself what it has executed five times: no more operations for that, and the same
/// shape before and after.
#[test]
fn prepared_by_the_driver() -> Result<()> {
    let Some(live) = live("operations::conversations::prepared_by_the_driver")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    setting.ask("postgres/simple", 1)?;
    for n in [1, 1, 1, 1, 1, 1, 1, 37, 500] {
        let finished = setting.agrees_with_postgres("postgres/automatic", n)?;
        let told: Vec<u64> = counts(&finished, "postgresql").into_values().collect();
        assert_eq!(told, [n], "{finished:#?}");
        assert!(
            finished.operations[0].shape.contains("automatic"),
            "{finished:#?}"
        );
    }
    Ok(())
}

/// Redis: answers of every kind in RESP2 and RESP3, publications, blocking commands, scripts, and errors in
/// the middle of a pipeline, all as the server counts them.
#[test]
fn all_that_redis_says() -> Result<()> {
    let Some(live) = live("operations::conversations::all_that_redis_says")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    for way in [
        "resp2",
        "resp3",
        "subscribed",
        "blocking",
        "script",
        "broken_pipeline",
    ] {
        let way = format!("redis/{way}");
        setting.ask(&way, 1)?;
        for n in COUNTS {
            let finished = setting.agrees_with_redis(&way, n)?;
            // Drivers tell who they are, which this server may not know.
            let asked = finished.operations.iter();
            let asked = asked.filter(|o| !o.shape.starts_with("CLIENT"));
            let errors: u64 = asked.map(|o| o.errors).sum();
            // Of a large answer not each is captured.
            let expected = match way.as_str() {
                "redis/script" => 1..=1,
                "redis/broken_pipeline" if n == 1 => 1..=1,
                "redis/broken_pipeline" => 1..=n,
                _ => 0..=0,
            };
            assert!(expected.contains(&errors), "{way} {n}: {finished:#?}");
        }
    }
    Ok(())
}
