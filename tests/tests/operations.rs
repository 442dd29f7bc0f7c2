//! What a request asked of a database and a cache, against what those counted themselves.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use whyslow_tests::{
    Agent, Live, Watch,
    event::Finished,
    http::get_once,
    live,
    servers::{Gunicorn, Postgres, Redis, Scratch, app_dir},
};

/// Goes into every literal, key and value.
const SECRET: &str = "hunter2";
/// Operations per request.
const COUNTS: [u64; 3] = [1, 37, 500];

/// Servers, application, agent and watcher, in the order in which they must end.
struct Setting {
    watch: Watch,
    _agent: Agent,
    gunicorn: Gunicorn,
    redis: Redis,
    postgres: Postgres,
    _scratch: Scratch,
}

impl Setting {
    fn new(live: &Live) -> Result<Self> {
        let scratch = Scratch::new("operations")?;
        let preload = "shared_preload_libraries=pg_stat_statements";
        let postgres = Postgres::start_with(scratch.path(), &[preload])?;
        let redis = Redis::start(scratch.path())?;
        let gunicorn = Gunicorn::of(&app_dir("operations"), "app:application")
            .worker_class("sync")
            .workers(1)
            .env("DATABASE_URL", postgres.url())
            .env("REDIS_URL", redis.url())
            .start(scratch.path())?;
        let agent = Agent::start(live, &["--operations"])?;
        let setting = Self {
            watch: Watch::start(&agent)?,
            _agent: agent,
            gunicorn,
            redis,
            postgres,
            _scratch: scratch,
        };
        setting.psql("create extension pg_stat_statements")?;
        Ok(setting)
    }

    fn ask(&self, way: &str, n: u64) -> Result<Finished> {
        let key = format!("{way}-{n}").replace('/', "-");
        let address = SocketAddr::from(([127, 0, 0, 1], self.gunicorn.port));
        get_once(address, &format!("/{way}?n={n}&secret={SECRET}"), &key)?;
        self.watch.request(&key)
    }

    fn psql(&self, statement: &str) -> Result<String> {
        let output = Command::new("psql")
            .args(["-X", "-A", "-t", "-c", statement, &self.postgres.url()])
            .output()
            .context("run psql")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{error}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Statements that the application had the server execute since `reset`, without those that failed.
    fn statements(&self) -> Result<u64> {
        let sum = "select coalesce(sum(calls), 0) from pg_stat_statements \
                   where query not like '%pg_stat_statements%'";
        Ok(self.psql(sum)?.trim().parse()?)
    }

    /// Commands that the server has run, by name, without the one that asks.
    fn commands(&self) -> Result<BTreeMap<String, u64>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.redis.port))?;
        stream.write_all(b"INFO commandstats\r\n")?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut text = vec![0; line.trim_start_matches('$').trim().parse()?];
        reader.read_exact(&mut text)?;
        let mut commands = BTreeMap::new();
        for line in String::from_utf8(text)?.lines() {
            let Some((name, rest)) = line
                .strip_prefix("cmdstat_")
                .and_then(|l| l.split_once(":calls="))
            else {
                continue;
            };
            let calls = rest.split(',').next().unwrap_or_default().parse()?;
            if name != "info" {
                commands.insert(name.replace('|', " ").to_uppercase(), calls);
            }
        }
        Ok(commands)
    }
}

/// Counts by shape of one protocol.
fn counts(finished: &Finished, protocol: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for operation in finished
        .operations
        .iter()
        .filter(|o| o.protocol == protocol)
    {
        *counts.entry(operation.shape.clone()).or_default() += operation.count;
    }
    counts
}

/// What must hold of the operations of any request here.
fn assert_sound(finished: &Finished) {
    assert_eq!(finished.binding, "thread", "{finished:#?}");
    let text = format!("{:?}", finished.operations);
    assert!(!text.contains(SECRET), "a secret was told: {text}");
    for operation in &finished.operations {
        assert!(!operation.sampled, "{operation:?}");
        assert_eq!(operation.repeated, operation.count >= 10, "{operation:?}");
        assert!(operation.slowest_ns <= operation.total_ns, "{operation:?}");
        assert!(operation.total_ns <= finished.wall_ns, "{operation:?}");
    }
}

/// Commands per request are as many, by name, as the server has run.
#[test]
fn redis_counts_what_the_server_counts() -> Result<()> {
    let Some(live) = live("operations::redis_counts_what_the_server_counts")? else {
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

/// Statements per request are as many as `pg_stat_statements` has counted.
#[test]
fn postgresql_counts_what_the_server_counts() -> Result<()> {
    let Some(live) = live("operations::postgresql_counts_what_the_server_counts")? else {
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
fn postgresql_rows_and_errors() -> Result<()> {
    let Some(live) = live("operations::postgresql_rows_and_errors")? else {
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
