//! memcached, against its own `stats`: the text protocol, its meta commands, the binary protocol.

use anyhow::Result;
use whyslow_tests::{
    Agent, Live, Watch,
    event::Finished,
    live,
    servers::{Gunicorn, Memcached, Scratch, app_dir},
};

use crate::{
    setting::{COUNTS, ask, assert_sound, counts},
    truth::{Counts, assert_memcached, stats},
};

struct Setting {
    watch: Watch,
    _agent: Agent,
    gunicorn: Gunicorn,
    memcached: Memcached,
    scratch: Scratch,
}

impl Setting {
    fn new(live: &Live) -> Result<Self> {
        let scratch = Scratch::new("memcached")?;
        let memcached = Memcached::start(scratch.path())?;
        let gunicorn = Gunicorn::of(&app_dir("operations"), "app:application")
            .env("MEMCACHED", memcached.address())
            .start(scratch.path())?;
        let agent = Agent::start(live, &["--operations"])?;
        Ok(Self {
            watch: Watch::start(&agent)?,
            _agent: agent,
            gunicorn,
            memcached,
            scratch,
        })
    }

    fn ask(&self, way: &str, n: u64) -> Result<Finished> {
        Ok(ask(
            &self.watch,
            self.gunicorn.port,
            &format!("memcached/{way}"),
            n,
        )?
        .0)
    }

    fn stats(&self) -> Result<Counts> {
        stats(&self.memcached)
    }

    /// Asks, and compares what is told of each kind of command with what the server has counted.
    fn agree(&self, way: &str, n: u64) -> Result<Finished> {
        let before = self.stats()?;
        let finished = self.ask(way, n)?;
        let after = self.stats()?;
        assert_sound(&finished);
        assert_memcached(&finished, &before, &after);
        Ok(finished)
    }
}

/// Commands per request are as many, of each kind, as the server has counted.
#[test]
fn counts_what_the_server_counts() -> Result<()> {
    let Some(live) = live("operations::memcached::counts_what_the_server_counts")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    for way in ["text", "noreply", "meta", "quiet", "binary", "binary_multi"] {
        // The connection is made, and so is the number that is counted up: the binary protocol's incr that
        // makes one is in none of the server's counters.
        setting.ask(way, 8)?;
        for n in COUNTS {
            let finished = setting.agree(way, n)?;
            let told: u64 = counts(&finished, "memcached").values().sum();
            assert!(told >= n, "{way} {n}: {finished:#?}");
        }
    }
    Ok(())
}

/// A command with many keys is one operation, with as many rows as the server has found.
#[test]
fn many_keys() -> Result<()> {
    let Some(live) = live("operations::memcached::many_keys")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    setting.ask("multi", 1)?;
    for n in [2, 20, 500] {
        let before = setting.stats()?;
        let finished = setting.ask("multi", n)?;
        let after = setting.stats()?;
        assert_sound(&finished);
        assert_eq!(after["cmd_get"] - before["cmd_get"], n);
        let counts = counts(&finished, "memcached");
        assert_eq!(counts.get("get ..."), Some(&1), "{finished:#?}");
        assert_eq!(counts.get("set ?"), Some(&n), "{finished:#?}");
        let asked = finished.operations.iter().find(|o| o.shape == "get ...");
        let rows = asked.map_or(0, |asked| asked.rows);
        // A large answer is not captured whole: then its rows are not known.
        assert!(rows == n || n == 500 && rows <= n, "{n}: {finished:#?}");
    }
    Ok(())
}

/// The server is gone and another has come: what went into the dead connection was asked for and never
/// answered, the rest is as the new server counts.
#[test]
fn a_dead_connection() -> Result<()> {
    let Some(live) = live("operations::memcached::a_dead_connection")? else {
        return Ok(());
    };
    let mut setting = Setting::new(&live)?;
    setting.agree("text", 37)?;
    let port = setting.memcached.port;
    setting.memcached.end()?;
    setting.memcached = Memcached::start_at(setting.scratch.path(), port)?;
    let finished = setting.ask("dead", 37)?;
    let lost: Vec<_> = finished
        .operations
        .iter()
        .filter(|operation| operation.errors > 0)
        .map(|operation| (operation.errors, operation.last_error.as_str()))
        .collect();
    assert_eq!(lost, [(1, "connection lost")], "{finished:#?}");
    for operation in &finished.operations {
        assert!(!operation.sampled, "{operation:?}");
        assert!(operation.slowest_ns <= finished.wall_ns, "{operation:?}");
    }
    let stats = setting.stats()?;
    let told = counts(&finished, "memcached");
    let said = |verbs: &[&str]| {
        verbs
            .iter()
            .filter_map(|shape| told.get(*shape))
            .sum::<u64>()
    };
    assert_eq!(
        said(&["get ?", "gets ?"]),
        stats["cmd_get"] + 1,
        "{finished:#?}"
    );
    assert_eq!(said(&["set ?", "add ?"]), stats["cmd_set"], "{finished:#?}");
    assert_eq!(said(&["touch ?"]), stats["cmd_touch"], "{finished:#?}");
    setting.agree("text", 500)?;
    Ok(())
}
