//! Connections: several at a time, older than the agent, ended by either side, given back to a pool.

use anyhow::Result;
use whyslow_tests::live;

use crate::setting::{COUNTS, Setting, assert_sound, counts};

/// Two connections that wait for their answers at the same time, and a cache between them.
#[test]
fn several_at_a_time() -> Result<()> {
    let Some(live) = live("operations::connections::several_at_a_time")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    setting.ask("postgres/interleaved", 1)?;
    for n in COUNTS {
        let finished = setting.agrees_with_postgres("postgres/interleaved", n)?;
        let told = counts(&finished, "postgresql");
        for name in ["one", "two"] {
            let shape = format!("select ? as {name}, ?");
            assert_eq!(told.get(&shape), Some(&n), "{finished:#?}");
        }
        let gets = counts(&finished, "redis").into_values().sum::<u64>();
        assert_eq!(gets, n, "{finished:#?}");
    }
    Ok(())
}

/// Connections that were made, and statements that were prepared, before the agent came.
#[test]
fn older_than_the_agent() -> Result<()> {
    let Some(live) = live("operations::connections::older_than_the_agent")? else {
        return Ok(());
    };
    let early = [
        ("postgres/prepared", 7),
        ("redis/plain", 7),
        ("postgres/interleaved", 1),
    ];
    let setting = Setting::after(&live, &early)?;
    for n in COUNTS {
        setting.psql("select pg_stat_statements_reset()")?;
        let finished = setting.ask("postgres/prepared", n)?;
        assert_sound(&finished);
        let told = counts(&finished, "postgresql");
        let earlier = "unknown (prepared earlier)".to_owned();
        assert_eq!(told, [(earlier, n)].into(), "{finished:#?}");
        assert_eq!(setting.statements()?, n, "{finished:#?}");
        setting.agrees_with_postgres("postgres/interleaved", n)?;
        setting.agrees_with_redis("redis/plain", n)?;
    }
    Ok(())
}

/// A connection that ends within a request, by the application's wish and by the server's.
#[test]
fn a_new_one_within_a_request() -> Result<()> {
    let Some(live) = live("operations::connections::a_new_one_within_a_request")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    for way in [
        "postgres/simple",
        "postgres/interleaved",
        "redis/plain",
        "redis/resp2",
    ] {
        setting.ask(way, 1)?;
    }
    for n in COUNTS {
        setting.agrees_with_postgres("postgres/reconnect", n)?;
        let finished = setting.agrees_with_postgres("postgres/terminated", n)?;
        let failed: Vec<_> = finished
            .operations
            .iter()
            .filter(|o| o.errors > 0)
            .collect();
        let error = failed
            .first()
            .map(|o| (o.count, o.errors, o.last_error.as_str()));
        assert!(
            failed.len() == 1 && error == Some((1, 1, "57P01")),
            "{finished:#?}"
        );
        setting.agrees_with_redis("redis/killed", n)?;
    }
    Ok(())
}

/// SQLAlchemy's pool pings a connection when it is taken and rolls back when it is given back.
#[test]
fn of_a_pool() -> Result<()> {
    let Some(live) = live("operations::connections::of_a_pool")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    setting.ask("postgres/pool", 1)?;
    for n in COUNTS {
        let finished = setting.agrees_with_postgres("postgres/pool", n)?;
        let told = counts(&finished, "postgresql");
        assert_eq!(told.get("BEGIN").copied(), Some(n + n / 2), "{finished:#?}");
        assert_eq!(told.get("ROLLBACK").copied(), Some(n), "{finished:#?}");
    }
    Ok(())
}

/// What a worker asks when its response is out is none of the request's, and disturbs no other.
#[test]
fn used_between_requests() -> Result<()> {
    let Some(live) = live("operations::connections::used_between_requests")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    setting.ask("postgres/simple", 1)?;
    for n in COUNTS {
        setting.psql("select pg_stat_statements_reset()")?;
        let finished = setting.ask("postgres/outside", n)?;
        assert_sound(&finished);
        let told: u64 = counts(&finished, "postgresql").values().sum();
        assert_eq!(told, n, "{finished:#?}");
        // The worker serves one at a time: when this is answered, the rest of the last one is done.
        let next = setting.ask("postgres/after_outside", n)?;
        assert_sound(&next);
        let told: u64 = counts(&next, "postgresql").values().sum();
        assert_eq!(told, n, "{next:#?}");
        let text = format!("{:?} {:?}", finished.operations, next.operations);
        assert!(!text.contains("later"), "{text}");
        assert_eq!(setting.statements()?, n + (n + 1) + n);
        let now = finished
            .operations
            .iter()
            .filter(|o| o.rows != o.count)
            .count();
        let then = next.operations.iter().filter(|o| o.rows != o.count).count();
        assert_eq!((now, then), (0, 0), "{finished:#?} {next:#?}");
    }
    Ok(())
}

/// A pooled connection that is given back, and rolled back, when the response is out.
#[test]
fn given_back_after_the_response() -> Result<()> {
    let Some(live) = live("operations::connections::given_back_after_the_response")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    setting.ask("postgres/pool", 1)?;
    for n in COUNTS {
        setting.psql("select pg_stat_statements_reset()")?;
        let finished = setting.ask("postgres/teardown", n)?;
        assert_sound(&finished);
        let mut told = counts(&finished, "postgresql");
        assert_eq!(told.remove("(empty)"), Some(1), "{finished:#?}");
        assert_eq!(told.remove("BEGIN"), Some(1), "{finished:#?}");
        assert_eq!(told.into_values().collect::<Vec<_>>(), [n], "{finished:#?}");
        let next = setting.ask("postgres/pool", n)?;
        assert_sound(&next);
        let mut told = counts(&next, "postgresql");
        told.remove("(empty)");
        let next_told: u64 = told.values().sum();
        assert_eq!(setting.statements()?, n + 2 + next_told, "{next:#?}");
        assert_eq!(told.get("ROLLBACK"), Some(&n), "{next:#?}");
    }
    Ok(())
}
