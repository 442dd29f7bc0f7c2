//! SQLite, through the library that the application has mapped, against what the application asked of it.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use whyslow_tests::{
    Agent, Live, Watch,
    event::{Finished, Operation},
    http::get_once,
    live,
    servers::{Gunicorn, Scratch, app_dir},
};

use crate::setting::{COUNTS, SECRET, assert_sound, counts};

/// Application, agent and watcher, in the order in which they must end.
struct Embedded {
    watch: Watch,
    agent: Agent,
    gunicorn: Gunicorn,
    database: String,
    _scratch: Scratch,
}

impl Embedded {
    fn new(live: &Live, threads: u32, options: &[&str]) -> Result<Self> {
        let scratch = Scratch::new("embedded")?;
        let path = scratch.path().join("app.db");
        let class = if threads > 1 { "gthread" } else { "sync" };
        let gunicorn = Gunicorn::of(&app_dir("operations"), "embedded:application")
            .worker_class(class)
            .workers(1)
            .threads(threads)
            .env("DATABASE_PATH", &path)
            .start(scratch.path())?;
        let pid = gunicorn.pid().to_string();
        let mut all = vec!["--operations", "--pid", &pid];
        all.extend(options);
        let agent = Agent::start(live, &all)?;
        Ok(Self {
            watch: Watch::start(&agent)?,
            agent,
            gunicorn,
            database: path.to_string_lossy().into_owned(),
            _scratch: scratch,
        })
    }

    /// The request as it was told, and what the application measured.
    fn ask(&self, way: &str, n: u64, key: &str) -> Result<(Finished, u64)> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.gunicorn.port));
        let target = format!("/sqlite/{way}?n={n}&secret={SECRET}");
        let response = get_once(address, &target, key)?;
        let took = String::from_utf8(response.body)?.parse()?;
        Ok((self.watch.request(key)?, took))
    }
}

impl Embedded {
    /// Asks for `n` executions that have one shape and one row each.
    fn same(&self, way: &str, n: u64) -> Result<Finished> {
        let (finished, took) = self.ask(way, n, &format!("{way}-{n}"))?;
        assert_sound(&finished);
        let [operation] = finished.operations.as_slice() else {
            panic!("{way}: one shape was expected: {finished:#?}");
        };
        let told = (operation.count, operation.rows, operation.errors);
        assert_eq!(told, (n, n, 0), "{finished:#?}");
        assert!(operation.total_ns <= took, "{took} ns: {finished:#?}");
        Ok(finished)
    }
}

fn total(finished: &Finished) -> u64 {
    counts(finished, "sqlite").values().sum()
}

fn one<'a>(finished: &'a Finished, part: &str) -> &'a Operation {
    let mut found = finished
        .operations
        .iter()
        .filter(|o| o.shape.contains(part));
    let first = found
        .next()
        .unwrap_or_else(|| panic!("{part}: {finished:#?}"));
    assert_eq!(found.next(), None, "{finished:#?}");
    first
}

/// Executions are as many as the application made, whether their statements are cached, prepared anew, or were
/// prepared before the agent came; rows are, too.
#[test]
fn counts_what_the_application_asks() -> Result<()> {
    let Some(live) = live("operations::sqlite::counts_what_the_application_asks")? else {
        return Ok(());
    };
    let app = Embedded::new(&live, 1, &[])?;
    // The driver keeps statements while there are few others: this one comes first.
    for n in COUNTS {
        let finished = app.same("early", n)?;
        assert_eq!(finished.operations[0].shape, "unknown (prepared earlier)");
    }
    for n in COUNTS {
        for way in ["cached", "fresh"] {
            let finished = app.same(way, n)?;
            assert!(finished.operations[0].shape.contains(way), "{finished:#?}");
        }
        let (finished, _) = app.ask("rows", n, &format!("rows-{n}"))?;
        let operation = one(&finished, "with recursive");
        assert_eq!((operation.count, operation.rows), (1, n), "{finished:#?}");
        let (finished, _) = app.ask("write", n, &format!("write-{n}"))?;
        assert_sound(&finished);
        assert_eq!(one(&finished, "insert into item").count, n);
        assert_eq!(total(&finished), n + 2, "{finished:#?}");
    }
    Ok(())
}

/// Time is that within the library; a database that is opened while the agent runs has its name.
#[test]
fn times_and_names() -> Result<()> {
    let Some(live) = live("operations::sqlite::times_and_names")? else {
        return Ok(());
    };
    let app = Embedded::new(&live, 4, &[])?;
    let mut named = false;
    for round in 0..8 {
        let (finished, took) = app.ask("slow", 400_000, &format!("slow-{round}"))?;
        assert_sound(&finished);
        let operation = one(&finished, "with recursive");
        let allowed = (took / 50).max(1_000_000);
        assert!(
            took > 20_000_000,
            "the statement is too fast for this test: {took} ns"
        );
        assert!(
            took.abs_diff(operation.total_ns) <= allowed,
            "{took} ns: {finished:#?}"
        );
        named |= operation.peer == app.database;
    }
    assert!(named, "{:#?}", app.watch.finished());
    Ok(())
}

/// Statements that fail are told, with their code, when they cannot be prepared and when they cannot be executed.
#[test]
fn errors() -> Result<()> {
    let Some(live) = live("operations::sqlite::errors")? else {
        return Ok(());
    };
    let app = Embedded::new(&live, 1, &[])?;
    let (finished, _) = app.ask("errors", 1, "errors")?;
    assert_sound(&finished);
    for (part, code) in [
        ("nowhere", "SQLITE_ERROR"),
        ("insert into", "SQLITE_CONSTRAINT"),
    ] {
        let operation = one(&finished, part);
        assert_eq!((operation.count, operation.errors), (1, 1), "{finished:#?}");
        assert_eq!(operation.last_error, code);
    }
    Ok(())
}

/// A cursor that is open when its request ends is told with it, and not with the request that ends it.
#[test]
fn a_cursor_left_open() -> Result<()> {
    let Some(live) = live("operations::sqlite::a_cursor_left_open")? else {
        return Ok(());
    };
    let app = Embedded::new(&live, 1, &[])?;
    let (finished, _) = app.ask("open", 20, "open")?;
    assert_sound(&finished);
    let operation = one(&finished, "opened");
    assert_eq!(operation.count, 1, "{finished:#?}");
    // At the last power of two at least.
    assert!((16..=21).contains(&operation.rows), "{finished:#?}");
    let (finished, _) = app.ask("again", 1, "again")?;
    assert_eq!(total(&finished), 1, "{finished:#?}");
    one(&finished, "again");
    Ok(())
}

/// Threads that execute at the same time keep their statements apart.
#[test]
fn threads() -> Result<()> {
    let Some(live) = live("operations::sqlite::threads")? else {
        return Ok(());
    };
    let app = Embedded::new(&live, 4, &[])?;
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4)
            .map(|client| {
                let app = &app;
                scope.spawn(move || -> Result<()> {
                    for round in 0..10 {
                        let n = 20 + client;
                        let way = if round % 2 == 0 { "cached" } else { "fresh" };
                        let (finished, _) = app.ask(way, n, &format!("{client}-{round}"))?;
                        assert_eq!(total(&finished), n, "{finished:#?}");
                        assert!(finished.operations.iter().all(|o| o.shape.contains(way)));
                    }
                    Ok(())
                })
            })
            .collect();
        for client in asked {
            client.join().ok().context("a client failed")??;
        }
        Ok(())
    })
}

/// Without probes nothing is told of it, and no probe is on the library; with them it is, and after a kill
/// none of them is left.
#[test]
fn only_where_wanted() -> Result<()> {
    let Some(live) = live("operations::sqlite::only_where_wanted")? else {
        return Ok(());
    };
    let app = Embedded::new(&live, 1, &["--no-library-probes"])?;
    let (finished, _) = app.ask("cached", 5, "unprobed")?;
    assert_eq!(total(&finished), 0, "{finished:#?}");
    let log = app.agent.log();
    assert!(!log.contains("are probed"), "{log}");
    Ok(())
}
