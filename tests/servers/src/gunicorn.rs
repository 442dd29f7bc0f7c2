//! A gunicorn server from the project's Python environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::{Process, StopSignal, free_port, http, venv_python, wait_until_ready};

/// How long until the first answer, the import of the application included.
const START: Duration = Duration::from_secs(30);

/// A running gunicorn; dropping it ends the master and its workers.
#[derive(Debug)]
pub struct Gunicorn {
    /// Its loopback port.
    pub port: u16,
    process: Process,
}

/// A gunicorn that is yet to be started; see [`Gunicorn::of`].
#[derive(Debug)]
pub struct Options {
    app_dir: PathBuf,
    module: String,
    python: Option<PathBuf>,
    worker_class: String,
    workers: u32,
    threads: u32,
    ready_path: Option<String>,
    port: Option<u16>,
    environment: Vec<(OsString, OsString)>,
    arguments: Vec<OsString>,
}

impl Gunicorn {
    /// An application in `app_dir`, named as gunicorn names it (`demo.wsgi`, `app:application`).
    /// One `sync` worker unless said otherwise.
    #[must_use]
    pub fn of(app_dir: &Path, module: &str) -> Options {
        Options {
            app_dir: app_dir.to_path_buf(),
            module: module.to_owned(),
            python: None,
            worker_class: "sync".to_owned(),
            workers: 1,
            threads: 1,
            ready_path: Some("/".to_owned()),
            port: None,
            environment: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// The pid of the master.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The pids of the workers now.
    #[must_use]
    pub fn worker_pids(&self) -> Vec<u32> {
        self.process.children()
    }

    /// The master, to send it signals (SIGHUP replaces all workers, SIGTTIN adds one).
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The last lines that master and workers printed.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}

impl Options {
    /// `sync`, `gthread`, or the import path of another worker class.
    #[must_use]
    pub fn worker_class(mut self, class: &str) -> Self {
        class.clone_into(&mut self.worker_class);
        self
    }

    /// Number of worker processes.
    #[must_use]
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// Threads per worker. More than one makes gunicorn use `gthread`.
    #[must_use]
    pub fn threads(mut self, threads: u32) -> Self {
        self.threads = threads;
        self
    }

    /// The path that is asked until it is answered, with any status; `/` by default. `None` sends
    /// no request at all: then ready means that the workers were forked, and the first request
    /// may wait for the import of the application.
    #[must_use]
    pub fn ready_path(mut self, path: Option<&str>) -> Self {
        self.ready_path = path.map(str::to_owned);
        self
    }

    /// The interpreter of another environment than the one that tests share.
    #[must_use]
    pub fn python(mut self, python: PathBuf) -> Self {
        self.python = Some(python);
        self
    }

    /// A certain port instead of a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Adds an argument of gunicorn's command line (`--keep-alive=75`).
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Starts it, with its log in `dir/gunicorn-<port>.log`.
    ///
    /// # Errors
    /// When there is no Python environment, or it is not ready within 30 s.
    pub fn start(self, dir: &Path) -> Result<Gunicorn> {
        ensure!(
            self.app_dir.is_dir(),
            "no application at {}",
            self.app_dir.display()
        );
        let port = match self.port {
            Some(port) => port,
            None => free_port()?,
        };
        let log = dir.join(format!("gunicorn-{port}.log"));
        // SIGQUIT is gunicorn's "quick shutdown".
        let python = self.python.clone().map_or_else(venv_python, Ok)?;
        let command = self.command(&python, port, dir);
        let process = Process::start("gunicorn", command, StopSignal::Quit, &log)?;
        wait_until_ready(&process, START, || match &self.ready_path {
            Some(path) => http::get(port, path, START).is_ok(),
            None => process.children().len() >= self.workers as usize,
        })?;
        Ok(Gunicorn { port, process })
    }

    fn command(&self, python: &Path, port: u16, dir: &Path) -> Command {
        let mut command = Command::new(python);
        command.args(["-m", "gunicorn", "--bind", &format!("127.0.0.1:{port}")]);
        command.args(["--workers", &self.workers.to_string()]);
        command.args(["--threads", &self.threads.to_string()]);
        command.args([
            "--worker-class",
            &self.worker_class,
            "--graceful-timeout",
            "2",
        ]);
        // The heartbeat file of each worker: not on a disk that a test makes slow.
        command
            .arg("--worker-tmp-dir")
            .arg(shared_memory().unwrap_or(dir));
        command
            .arg("--chdir")
            .arg(&self.app_dir)
            .args(&self.arguments)
            .arg(&self.module);
        command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1");
        command
            .env_remove("GUNICORN_CMD_ARGS")
            .env_remove("PYTHONPATH");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

fn shared_memory() -> Option<&'static Path> {
    Some(Path::new("/dev/shm")).filter(|path| path.is_dir())
}
