//! MariaDB, against its own performance schema.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use whyslow_tests::{
    Agent, Live, Watch,
    event::{Finished, Operation},
    http::{Response, get_once},
    live,
    servers::{Gunicorn, MariaDb, Scratch, app_dir},
    wait_for,
};

use crate::{
    setting::{COUNTS, SECRET, assert_sound, counts},
    took::Took,
};

/// Longest time until the server has booked what it answered.
const BOOKED: Duration = Duration::from_secs(10);

/// Server and application.
struct Place {
    gunicorn: Gunicorn,
    mariadb: MariaDb,
    _scratch: Scratch,
}

impl Place {
    fn new() -> Result<Self> {
        let scratch = Scratch::new("operations-mysql")?;
        let mariadb = MariaDb::start(scratch.path())?;
        let gunicorn = Gunicorn::of(&app_dir("operations"), "app:application")
            .worker_class("sync")
            .workers(1)
            .env("MYSQL_URL", mariadb.url())
            .start(scratch.path())?;
        let place = Self {
            gunicorn,
            mariadb,
            _scratch: scratch,
        };
        let twice = "begin select given as first; select 2 as second from seq_1_to_2; end";
        place.mariadb.ask(&format!(
            "delimiter //\ncreate procedure twice(given text) {twice}//"
        ))?;
        Ok(place)
    }

    fn get(&self, way: &str, n: u64, key: &str) -> Result<Response> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.gunicorn.port));
        get_once(address, &format!("/mysql/{way}?n={n}&secret={SECRET}"), key)
    }

    /// Statements that the application has had executed so far, and rows of cursors fetched.
    fn statements(&self) -> Result<u64> {
        // It books a statement after it has answered.
        wait_for(BOOKED, "the server to be idle", || {
            let busy = "select count(*) from information_schema.processlist \
                        where user = 'whyslow' and command <> 'Sleep'";
            Ok((self.mariadb.ask(busy)?.trim() == "0").then_some(()))
        })?;
        let sum = "select coalesce(sum(count_star), 0) \
                   from performance_schema.events_statements_summary_by_user_by_event_name \
                   where user = 'whyslow' and (event_name like 'statement/sql/%' \
                   or event_name in ('statement/com/Execute', 'statement/com/Fetch'))";
        Ok(self.mariadb.ask(sum)?.trim().parse()?)
    }
}

/// What watches a place, in the order in which it must end.
struct Watched<'a> {
    place: &'a Place,
    watch: Watch,
    _agent: Agent,
}

impl<'a> Watched<'a> {
    fn new(live: &Live, place: &'a Place) -> Result<Self> {
        let agent = Agent::start(live, &["--operations"])?;
        Ok(Self {
            place,
            watch: Watch::start(&agent)?,
            _agent: agent,
        })
    }

    /// What a request was told to have done, and what the application said of it.
    fn ask(&self, way: &str, n: u64) -> Result<(Finished, Response)> {
        let key = format!("mysql-{way}-{n}");
        let response = self.place.get(way, n, &key).with_context(|| key.clone())?;
        let finished = self.watch.request(&key)?;
        assert_sound(&finished);
        Ok((finished, response))
    }
}

fn told(finished: &Finished) -> u64 {
    counts(finished, "mysql").values().sum()
}

/// The operation with this in its shape.
fn of<'a>(finished: &'a Finished, part: &str) -> Option<&'a Operation> {
    finished.operations.iter().find(|o| o.shape.contains(part))
}

/// Statements per request are as many as the server has counted: on new connections, and later on those.
#[test]
fn counts_what_the_server_counts() -> Result<()> {
    let Some(live) = live("operations::mysql::counts_what_the_server_counts")? else {
        return Ok(());
    };
    let place = Place::new()?;
    let watched = Watched::new(&live, &place)?;
    let mut before = place.statements()?;
    let fast = ["simple", "prepared", "multi", "procedure", "unbuffered"];
    // Its driver closes the statement and waits for an acknowledgement, which comes late.
    let slow = ("anew", &COUNTS[..2]);
    for (way, counts) in fast.map(|way| (way, &COUNTS[..])).into_iter().chain([slow]) {
        for &n in counts {
            let (finished, _) = watched.ask(way, n)?;
            let after = place.statements()?;
            assert_eq!(told(&finished), after - before, "{way} {n}: {finished:#?}");
            assert!(told(&finished) >= n, "{way} {n}: {finished:#?}");
            before = after;
        }
    }
    Ok(())
}

/// Shapes and rows are told of each kind of statement.
#[test]
fn shapes_and_rows() -> Result<()> {
    let Some(live) = live("operations::mysql::shapes_and_rows")? else {
        return Ok(());
    };
    let place = Place::new()?;
    let watched = Watched::new(&live, &place)?;
    for (way, n, shape, rows) in [
        ("simple", 20, "select ? as text, ? as simple", 1),
        ("prepared", 20, "select ? as text, ? as prepared", 1),
        ("anew", 20, "select ? as text, ? as anew", 1),
        ("multi", 4, "select ? as multi", 1),
        ("procedure", 20, "call twice(?)", 3),
    ] {
        let (finished, _) = watched.ask(way, n)?;
        let operation = of(&finished, shape);
        let found = operation.map(|o| (o.shape.as_str(), o.count, o.rows, o.errors));
        assert_eq!(found, Some((shape, n, n * rows, 0)), "{finished:#?}");
    }
    Ok(())
}

/// Rows that were read and written, the error of a statement that fails, and a file.
#[test]
fn rows_errors_and_files() -> Result<()> {
    let Some(live) = live("operations::mysql::rows_errors_and_files")? else {
        return Ok(());
    };
    let place = Place::new()?;
    let watched = Watched::new(&live, &place)?;
    for n in [40, 5000] {
        let (finished, _) = watched.ask("rows", n)?;
        let made = of(&finished, "insert into made");
        let all = made.map(|o| (o.shape.trim_end_matches([')', '.']), o.rows));
        assert_eq!(all, Some(("insert into made values (", n)), "{finished:#?}");
        assert_eq!(
            of(&finished, "delete").map(|o| o.rows),
            Some(3),
            "{finished:#?}"
        );
        let failed = of(&finished, "nowhere").map(|o| (o.count, o.errors, o.last_error.as_str()));
        assert_eq!(failed, Some((1, 1, "1146")), "{finished:#?}");
        let many = of(&finished, "as many").map(|o| (o.count, o.rows));
        assert_eq!(many, Some((1, n)), "{finished:#?}");
        let estimated = of(&finished, "as many").map(|o| o.rows_estimated);
        assert!(n == 40 || estimated == Some(true), "{finished:#?}");
        assert!(
            !of(&finished, "delete").is_some_and(|o| o.rows_estimated),
            "{finished:#?}"
        );
    }
    let before = place.statements()?;
    let (finished, _) = watched.ask("file", 5000)?;
    assert_eq!(
        told(&finished),
        place.statements()? - before,
        "{finished:#?}"
    );
    let loaded = of(&finished, "load data").map(|o| (o.shape.as_str(), o.rows));
    let shape = "load data local infile ? into table loaded";
    assert_eq!(loaded, Some((shape, 5000)), "{finished:#?}");
    Ok(())
}

/// Connections, and a statement that was prepared on one of them, are older than the agent.
#[test]
fn connections_that_are_older() -> Result<()> {
    let Some(live) = live("operations::mysql::connections_that_are_older")? else {
        return Ok(());
    };
    let place = Place::new()?;
    for way in ["simple", "prepared"] {
        place.get(way, 1, &format!("before-{way}"))?;
    }
    let watched = Watched::new(&live, &place)?;
    let mut before = place.statements()?;
    for (way, shape) in [
        ("simple", "select ? as text, ? as simple"),
        ("prepared", "unknown (prepared earlier)"),
    ] {
        for n in COUNTS {
            let (finished, _) = watched.ask(way, n)?;
            let after = place.statements()?;
            assert_eq!(after - before, n, "{way} {n}");
            let found = of(&finished, shape).map(|o| (o.count, o.rows));
            assert_eq!(found, Some((n, n)), "{way} {n}: {finished:#?}");
            before = after;
        }
    }
    Ok(())
}

/// Time of operations is the application's own.
#[test]
fn times() -> Result<()> {
    let Some(live) = live("operations::mysql::times")? else {
        return Ok(());
    };
    let place = Place::new()?;
    let watched = Watched::new(&live, &place)?;
    watched.ask("simple", 1)?;
    for n in [1, 10] {
        let (finished, response) = watched.ask("sleep", n)?;
        let took = Took::of_response(&response.head)?;
        let slept = of(&finished, "sleep").map_or(0, |o| o.total_ns);
        took.assert_holds("sleep", slept, &finished);
        assert!(slept >= n * 20_000_000, "{slept}: {finished:#?}");
    }
    Ok(())
}
