//! The servers, the application, the agent and a watcher of it; and what must hold of any operation.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use whyslow_tests::{
    Agent, Live, Watch,
    event::Finished,
    http::{Client, Response, header},
    servers::{Certificate, Gunicorn, Postgres, Redis, Scratch, app_dir},
};

use crate::truth;

/// Goes into every literal, key and value.
pub(crate) const SECRET: &str = "hunter2";
/// Operations per request.
pub(crate) const COUNTS: [u64; 3] = [1, 37, 500];

/// Longest time that a request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(240);

/// Servers, application, agent and watcher, in the order in which they must end.
pub(crate) struct Setting {
    pub(crate) watch: Watch,
    agent: Agent,
    gunicorn: Gunicorn,
    redis: Redis,
    postgres: Postgres,
    _scratch: Scratch,
}

/// What is unlike the usual.
#[derive(Clone, Copy, Default)]
struct Scene {
    /// The agent watches the application only.
    alone: bool,
    /// Connections to the servers are encrypted.
    encrypted: bool,
    /// Worker processes beside the first.
    more_workers: u32,
}

impl Setting {
    pub(crate) fn new(live: &Live) -> Result<Self> {
        Self::start(live, &["--operations"], &[], Scene::default())
    }

    /// With an agent that is started with these options, and watches nothing else on this host.
    pub(crate) fn alone(live: &Live, options: &[&str]) -> Result<Self> {
        let scene = Scene {
            alone: true,
            ..Scene::default()
        };
        Self::start(live, options, &[], scene)
    }

    /// With so many worker processes, and an agent without options.
    pub(crate) fn with_workers(live: &Live, workers: u32) -> Result<Self> {
        let scene = Scene {
            more_workers: workers - 1,
            ..Scene::default()
        };
        Self::start(live, &[], &[], scene)
    }

    /// The application has been asked in these ways before the agent is there.
    pub(crate) fn after(live: &Live, asked: &[(&str, u64)]) -> Result<Self> {
        Self::start(live, &["--operations"], asked, Scene::default())
    }

    /// The application's connections are encrypted.
    pub(crate) fn encrypted(live: &Live) -> Result<Self> {
        let scene = Scene {
            encrypted: true,
            ..Scene::default()
        };
        Self::start(live, &["--library-probes"], &[], scene)
    }

    fn start(
        live: &Live,
        options: &[&str],
        asked: &[(&str, u64)],
        Scene {
            alone,
            encrypted,
            more_workers,
        }: Scene,
    ) -> Result<Self> {
        let scratch = Scratch::new("operations")?;
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
            .workers(1 + more_workers)
            .env("DATABASE_URL", url)
            .env("REDIS_URL", redis.url())
            .arg("--timeout=300")
            .start(scratch.path())?;
        for (way, n) in asked {
            get(gunicorn.port, way, *n, "early")?;
        }
        let port = gunicorn.port.to_string();
        let selection = ["--port", &port];
        let selection = if alone { &selection[..] } else { &[] };
        let agent = Agent::start(live, &[options, selection].concat())?;
        let setting = Self {
            watch: Watch::start(&agent)?,
            agent,
            gunicorn,
            redis,
            postgres,
            _scratch: scratch,
        };
        setting.psql("create extension pg_stat_statements")?;
        Ok(setting)
    }

    pub(crate) fn ask(&self, way: &str, n: u64) -> Result<Finished> {
        Ok(self.measured(way, n)?.0)
    }

    /// As [`Setting::ask`], with what the application itself has measured.
    pub(crate) fn measured(&self, way: &str, n: u64) -> Result<(Finished, serde_json::Value)> {
        ask(&self.watch, self.gunicorn.port, way, n)
    }

    /// Asks, and what is told of Redis is, by name, what the server has run.
    pub(crate) fn agrees_with_redis(&self, way: &str, n: u64) -> Result<Finished> {
        let before = self.commands()?;
        let finished = self.ask(way, n)?;
        let after = self.commands()?;
        assert_sound(&finished);
        let ran = truth::ran(&before, after);
        let told = truth::told_commands(&finished, &ran);
        assert_eq!(told, ran, "{way} {n}: {finished:#?}");
        Ok(finished)
    }

    /// Asks, and what is told of PostgreSQL, without what failed and what was empty, is what
    /// `pg_stat_statements` has counted, by the first word.
    pub(crate) fn agrees_with_postgres(&self, way: &str, n: u64) -> Result<Finished> {
        self.psql("select pg_stat_statements_reset()")?;
        let finished = self.ask(way, n)?;
        assert_sound(&finished);
        assert_eq!(
            truth::told_statements(&finished),
            truth::statements(&self.postgres)?,
            "{way} {n}: {finished:#?}\n{}",
            self.psql("select calls, query from pg_stat_statements")?
        );
        Ok(finished)
    }

    pub(crate) fn agent(&self) -> &Agent {
        &self.agent
    }

    pub(crate) fn psql(&self, statement: &str) -> Result<String> {
        truth::psql(&self.postgres, statement)
    }

    /// Statements that the application had the server execute since `reset`, without those that failed.
    pub(crate) fn statements(&self) -> Result<u64> {
        Ok(truth::statements(&self.postgres)?.values().sum())
    }

    /// Commands that Redis has run, by name, without the one that asks.
    pub(crate) fn commands(&self) -> Result<BTreeMap<String, u64>> {
        truth::commands(&self.redis)
    }
}

/// Asks the application in this way, and waits until the request is told. Also: what it has measured.
pub(crate) fn ask(
    watch: &Watch,
    port: u16,
    way: &str,
    n: u64,
) -> Result<(Finished, serde_json::Value)> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let number = ASKED.fetch_add(1, Ordering::Relaxed);
    let key = format!("{way}-{n}-{number}").replace('/', "-");
    let response = get(port, way, n, &key)?;
    let measured = header(&response.head, "x-measured").context("nothing was measured")?;
    let measured = serde_json::from_str(measured).context("what was measured")?;
    Ok((watch.request(&key)?, measured))
}

/// An answer other than that it was done is an error.
fn get(port: u16, way: &str, n: u64, key: &str) -> Result<Response> {
    let mut client = Client::open(SocketAddr::from(([127, 0, 0, 1], port)))?;
    client.stream().set_read_timeout(Some(REQUEST_LIMIT))?;
    let response = client.get(&format!("/{way}?n={n}&secret={SECRET}"), key)?;
    ensure!(response.status == 204, "{way} {n}: {}", response.head);
    Ok(response)
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

/// What must hold of the operations of a request that is not too large.
pub(crate) fn assert_sound(finished: &Finished) {
    assert_true(finished);
    for operation in &finished.operations {
        assert!(!operation.sampled, "{operation:?}");
    }
}

/// What must hold of the operations of any request here.
pub(crate) fn assert_true(finished: &Finished) {
    assert_eq!(finished.binding, "thread", "{finished:#?}");
    let text = format!("{:?}", finished.operations);
    assert!(!text.contains(SECRET), "a secret was told: {text}");
    for operation in &finished.operations {
        // Statements that are not known need not be the same.
        let known = !operation.shape.starts_with("unknown (");
        let repeated = known && operation.count >= 10;
        assert_eq!(operation.repeated, repeated, "{operation:?}");
        assert!(operation.slowest_ns <= operation.total_ns, "{operation:?}");
        assert!(operation.total_ns <= finished.wall_ns, "{operation:?}");
    }
}
