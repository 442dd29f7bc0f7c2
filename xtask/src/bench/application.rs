//! Applications that are measured, each under one gunicorn worker: the Django application of the demo on
//! PostgreSQL and Redis, and one that asks a cache 200 times per request, so that system calls are most of it.

use std::{net::SocketAddr, process::Command};

use anyhow::{Context, Result, ensure};
use whyslow_tests::{
    load::{self, Plan, Report},
    process,
    servers::{Gunicorn, Postgres, Redis, Scratch, app_dir, venv_python},
};

/// Everything that runs.
#[derive(Debug)]
pub(super) struct Application {
    /// For a person.
    pub(super) name: &'static str,
    /// What is asked for.
    target: &'static str,
    gunicorn: Gunicorn,
    _postgres: Option<Postgres>,
    _redis: Redis,
    // Goes last: the others write into it.
    _scratch: Scratch,
}

/// One round of requests.
#[derive(Debug)]
pub(super) struct Round {
    /// CPU time of the worker per request, ns.
    pub(super) cpu_ns: f64,
    /// What the client saw.
    pub(super) report: Report,
}

impl Application {
    /// The demo's, with its tables filled.
    ///
    /// # Errors
    /// When something does not start.
    pub(super) fn django() -> Result<Self> {
        let scratch = Scratch::new("bench")?;
        let dir = scratch.path();
        let postgres = Postgres::start(dir)?;
        let redis = Redis::start(dir)?;
        let environment = [
            ("DEMO_DATA", dir.display().to_string()),
            ("DEMO_POSTGRES_PORT", postgres.port.to_string()),
            ("DEMO_REDIS_URL", redis.url()),
        ];
        for task in ["migrate", "seed"] {
            manage(task, &environment)?;
        }
        let mut options = Gunicorn::of(&app_dir("demo"), "demo.wsgi").ready_path(Some("/bench"));
        for (name, value) in environment {
            options = options.env(name, value);
        }
        Ok(Self {
            name: "django",
            target: "/bench",
            gunicorn: options.start(dir)?,
            _postgres: Some(postgres),
            _redis: redis,
            _scratch: scratch,
        })
    }

    /// 200 commands to a cache per request, one after the other.
    ///
    /// # Errors
    /// When something does not start.
    pub(super) fn cache() -> Result<Self> {
        let scratch = Scratch::new("bench")?;
        let redis = Redis::start(scratch.path())?;
        let gunicorn = Gunicorn::of(&app_dir("operations"), "app:application")
            .env("REDIS_URL", redis.url())
            .start(scratch.path())?;
        Ok(Self {
            name: "200 cache commands",
            target: "/redis/plain?n=200",
            gunicorn,
            _postgres: None,
            _redis: redis,
            _scratch: scratch,
        })
    }

    /// The one worker.
    ///
    /// # Errors
    /// When there is not exactly one.
    pub(super) fn worker(&self) -> Result<u32> {
        let workers = self.gunicorn.worker_pids();
        ensure!(
            workers.len() == 1,
            "{} workers instead of one",
            workers.len()
        );
        Ok(workers[0])
    }

    /// Asks for the page that often, from two connections at once.
    ///
    /// # Errors
    /// When a request fails: a figure of failed requests says nothing.
    #[expect(
        clippy::cast_precision_loss,
        reason = "times and counts are far below 2^52"
    )]
    pub(super) fn round(&self, requests: u64) -> Result<Round> {
        let worker = self.worker()?;
        let before = process::scheduled_ns(worker)?;
        let report = load::run(&Plan {
            address: SocketAddr::from(([127, 0, 0, 1], self.gunicorn.port)),
            connections: 2,
            rate_per_s: 0,
            requests,
            keep_alive: false,
            target: self.target.to_owned(),
        })?;
        let used = process::scheduled_ns(worker)?.saturating_sub(before);
        ensure!(report.failed == 0, "{} requests failed", report.failed);
        ensure!(self.worker()? == worker, "the worker was replaced");
        Ok(Round {
            cpu_ns: used as f64 / requests as f64,
            report,
        })
    }
}

/// Runs a task of the demo's Django.
fn manage(task: &str, environment: &[(&str, String)]) -> Result<()> {
    let output = Command::new(venv_python()?)
        .arg("manage.py")
        .arg(task)
        .current_dir(app_dir("demo"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .output()
        .context("start python")?;
    ensure!(
        output.status.success(),
        "manage.py {task}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
