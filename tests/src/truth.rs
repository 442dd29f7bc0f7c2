//! The truth application (`tests/apps/truth`) under gunicorn, its other process, and what it wrote down.

use std::{
    collections::HashMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{
    script::{self, Script},
    servers::{Gunicorn, GunicornOptions, Process, Scratch, StopSignal, app_dir, venv_python},
    wait_for,
};

/// Longest time until the line of a finished request is in the log.
const LOG_LIMIT: Duration = Duration::from_secs(5);

/// One interval that the application measured.
#[derive(Clone, Debug, Deserialize)]
pub struct Part {
    /// Account in which it must be found; `disk` stands for all of `disk.*`.
    pub account: String,
    /// How long, monotonic clock, ns.
    pub wall_ns: u64,
    /// CPU time of the thread within, ns.
    pub cpu_ns: u64,
    /// Time within that the thread was runnable and had no CPU, by the kernel's own count, ns.
    pub queued_ns: u64,
}

/// What the application wrote down about one request.
#[derive(Clone, Debug, Deserialize)]
pub struct Measured {
    /// Its `X-Request-ID`.
    pub key: String,
    /// Process.
    pub pid: u32,
    /// Thread, as the kernel numbers it.
    pub tid: u32,
    /// From the read of its head to the last write of its response, ns.
    pub wall_ns: u64,
    /// CPU time of the thread in that time, ns.
    pub thread_ns: u64,
    /// The intervals.
    pub parts: Vec<Part>,
}

/// The application, serving.
#[derive(Debug)]
pub struct Truth {
    gunicorn: Gunicorn,
    peer: Process,
    // Goes last: the others write into it.
    scratch: Scratch,
}

/// How to start it; see [`Truth::of`].
#[derive(Debug)]
pub struct Options {
    worker_class: &'static str,
    workers: u32,
    threads: u32,
    arguments: Vec<String>,
}

impl Truth {
    /// With gunicorn's `sync` or `gthread` workers.
    #[must_use]
    pub fn of(worker_class: &'static str, workers: u32, threads: u32) -> Options {
        Options {
            worker_class,
            workers,
            threads,
            arguments: Vec::new(),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.gunicorn.port))
    }

    /// The server.
    #[must_use]
    pub fn gunicorn(&self) -> &Gunicorn {
        &self.gunicorn
    }

    /// The worker processes now.
    #[must_use]
    pub fn workers(&self) -> Vec<u32> {
        self.gunicorn.worker_pids()
    }

    /// The other process.
    #[must_use]
    pub fn peer(&self) -> u32 {
        self.peer.pid()
    }

    /// What was measured so far, by key.
    ///
    /// # Errors
    /// When a line cannot be read.
    pub fn measured(&self) -> Result<HashMap<String, Measured>> {
        let mut all = HashMap::new();
        for (_, text) in self.files("log-")? {
            // A line that is just being written has no end yet.
            let complete = text.rfind('\n').map_or("", |end| &text[..=end]);
            for line in complete.lines() {
                let measured: Measured =
                    serde_json::from_str(line).with_context(|| format!("log line {line}"))?;
                all.insert(measured.key.clone(), measured);
            }
        }
        Ok(all)
    }

    /// What it measured for one request.
    ///
    /// # Errors
    /// When nothing is written in time.
    pub fn request(&self, key: &str) -> Result<Measured> {
        wait_for(LOG_LIMIT, &format!("the log line of {key}"), || {
            Ok(self.measured()?.remove(key))
        })
    }

    /// Requests to `/count` that it has served since it was started.
    ///
    /// # Errors
    /// When a counter cannot be read.
    pub fn counted(&self) -> Result<u64> {
        let mut sum = 0;
        for entry in fs::read_dir(self.scratch.path())? {
            let path = entry?.path();
            if name_begins(&path, "count-") {
                let bytes = fs::read(&path)?;
                let (cells, _) = bytes.as_chunks::<8>();
                sum += cells
                    .iter()
                    .map(|cell| u64::from_le_bytes(*cell))
                    .sum::<u64>();
            }
        }
        Ok(sum)
    }

    fn files(&self, prefix: &str) -> Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.scratch.path())? {
            let path = entry?.path();
            if name_begins(&path, prefix) {
                found.push((path.display().to_string(), fs::read_to_string(&path)?));
            }
        }
        Ok(found)
    }
}

fn name_begins(path: &Path, prefix: &str) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(prefix))
}

impl Options {
    /// One more argument for gunicorn.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts the other process and the server.
    ///
    /// # Errors
    /// When one of them does not start; its log is in the message.
    pub fn start(self) -> Result<Truth> {
        let scratch = Scratch::new("truth")?;
        let dir = scratch.path();
        let mut command = Command::new(venv_python()?);
        command.arg(app_dir("truth").join("peer.py")).arg(dir);
        let peer = Process::start("peer", command, StopSignal::Kill, &dir.join("peer.out"))?;
        let address = script::written(&peer, &dir.join("peer.address"))?;
        let (tcp, unix) = address.split_once(' ').context("two addresses")?;
        let mut options: GunicornOptions = Gunicorn::of(&app_dir("truth"), "app:application")
            .worker_class(self.worker_class)
            .workers(self.workers)
            .threads(self.threads)
            .env("TRUTH_DIR", dir)
            .env("TRUTH_TCP", tcp)
            .env("TRUTH_UNIX", unix);
        for argument in self.arguments {
            options = options.arg(argument);
        }
        Ok(Truth {
            gunicorn: options.start(dir)?,
            peer,
            scratch,
        })
    }
}

/// The event loop server (`overlap.py`).
#[derive(Debug)]
pub struct Overlap {
    /// Where it listens.
    pub address: SocketAddr,
    script: Script,
}

impl Overlap {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start() -> Result<Self> {
        Self::start_with(|_| ())
    }

    /// As [`Overlap::start`]; `prepare` may change its command.
    ///
    /// # Errors
    /// As [`Overlap::start`].
    pub fn start_with(prepare: impl FnOnce(&mut Command)) -> Result<Self> {
        let script = Script::start("overlap", prepare)?;
        Ok(Self {
            address: script.address,
            script,
        })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.script.pid()
    }
}
