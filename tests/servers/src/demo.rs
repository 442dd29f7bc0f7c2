//! The Django application `tests/apps/demo` with its PostgreSQL and Redis.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::gunicorn::Options;
use crate::{Gunicorn, Postgres, Redis, app_dir, venv_python};

/// The running application; dropping it ends all of its servers.
#[derive(Debug)]
pub struct Demo {
    /// The web server; it ends first.
    pub gunicorn: Gunicorn,
    /// The cache.
    pub redis: Redis,
    /// The database.
    pub postgres: Postgres,
}

impl Demo {
    /// Starts PostgreSQL and Redis with their data in `dir`, fills the database, and starts
    /// gunicorn as `server` says (`|options| options.workers(2).threads(4)`).
    ///
    /// # Errors
    /// When a server does not start or the database cannot be filled.
    pub fn start(dir: &Path, server: impl FnOnce(Options) -> Options) -> Result<Self> {
        let app = app_dir("demo");
        let files = dir.join("files");
        fs::create_dir(&files).with_context(|| format!("make folder {}", files.display()))?;
        let postgres = Postgres::start(dir)?;
        let redis = Redis::start(dir)?;
        let environment = [
            ("DEMO_POSTGRES_PORT", postgres.port.to_string().into()),
            ("DEMO_REDIS_URL", redis.url().into()),
            ("DEMO_DATA", files.into_os_string()),
        ];
        for task in ["migrate", "seed"] {
            let mut manage = Command::new(venv_python()?);
            manage
                .arg("manage.py")
                .arg(task)
                .current_dir(&app)
                .stdin(Stdio::null());
            manage
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .envs(environment.clone());
            let output = manage
                .output()
                .with_context(|| format!("start manage.py {task}"))?;
            if !output.status.success() {
                let error = String::from_utf8_lossy(&output.stderr);
                bail!("manage.py {task} failed ({}):\n{error}", output.status);
            }
        }
        let options = environment.into_iter().fold(
            Gunicorn::of(&app, "demo.wsgi").ready_path(Some("/")),
            |options, (name, value)| options.env(name, value),
        );
        let gunicorn = server(options).start(dir)?;
        Ok(Self {
            gunicorn,
            redis,
            postgres,
        })
    }
}
