//! The servers, the application, the agent and a watcher of it; and what must hold of any operation.

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
    servers::{Certificate, Gunicorn, Postgres, Redis, Scratch, app_dir},
};

/// Goes into every literal, key and value.
pub(crate) const SECRET: &str = "hunter2";
/// Operations per request.
pub(crate) const COUNTS: [u64; 3] = [1, 37, 500];

/// Servers, application, agent and watcher, in the order in which they must end.
pub(crate) struct Setting {
    watch: Watch,
    _agent: Agent,
    gunicorn: Gunicorn,
    redis: Redis,
    postgres: Postgres,
    _scratch: Scratch,
}

impl Setting {
    pub(crate) fn new(live: &Live) -> Result<Self> {
        Self::on(live, "operations", false)
    }

    /// The application's connections are encrypted.
    pub(crate) fn encrypted(live: &Live) -> Result<Self> {
        Self::on(live, "encrypted", true)
    }

    fn on(live: &Live, name: &str, encrypted: bool) -> Result<Self> {
        let scratch = Scratch::new(name)?;
        let preload = "shared_preload_libraries=pg_stat_statements";
        let (postgres, redis) = if encrypted {
            let certificate = Certificate::new(scratch.path())?;
            (
                Postgres::start_encrypted(scratch.path(), &[preload], &certificate)?,
                Redis::start_encrypted(scratch.path(), &certificate)?,
            )
        } else {
            (
                Postgres::start_with(scratch.path(), &[preload])?,
                Redis::start(scratch.path())?,
            )
        };
        let mode = if encrypted { "?sslmode=require" } else { "" };
        let url = format!("{}{mode}", postgres.url());
        let gunicorn = Gunicorn::of(&app_dir("operations"), "app:application")
            .worker_class("sync")
            .workers(1)
            .env("DATABASE_URL", url)
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

    pub(crate) fn ask(&self, way: &str, n: u64) -> Result<Finished> {
        let key = format!("{way}-{n}").replace('/', "-");
        let address = SocketAddr::from(([127, 0, 0, 1], self.gunicorn.port));
        get_once(address, &format!("/{way}?n={n}&secret={SECRET}"), &key)?;
        self.watch.request(&key)
    }

    pub(crate) fn psql(&self, statement: &str) -> Result<String> {
        let output = Command::new("psql")
            .args(["-X", "-A", "-t", "-c", statement, &self.postgres.url()])
            .output()
            .context("run psql")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{error}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Statements that the application had the server execute since `reset`, without those that failed.
    pub(crate) fn statements(&self) -> Result<u64> {
        let sum = "select coalesce(sum(calls), 0) from pg_stat_statements \
                   where query not like '%pg_stat_statements%'";
        Ok(self.psql(sum)?.trim().parse()?)
    }

    /// Commands that Redis has run, by name, without the one that asks.
    pub(crate) fn commands(&self) -> Result<BTreeMap<String, u64>> {
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
pub(crate) fn counts(finished: &Finished, protocol: &str) -> BTreeMap<String, u64> {
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
pub(crate) fn assert_sound(finished: &Finished) {
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
