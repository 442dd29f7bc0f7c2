//! Servers in which one thread reads requests and others work, and event loops (`tests/apps/bindings`), with what the
//! application itself measured of each request.

use std::{
    collections::HashMap,
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{
    http::Client,
    script,
    servers::{Environment, Process, Scratch, StopSignal, app_dir, free_port},
    wait_for,
};

/// Longest time until a server takes connections.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Longest time until the line of a finished request is in the log.
const LOG_LIMIT: Duration = Duration::from_secs(5);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// waitress.
    Waitress,
    /// A reader and a ThreadPoolExecutor.
    Pool,
    /// FastAPI under uvicorn, on asyncio's own loop.
    Uvicorn,
    /// The same on uvloop.
    Uvloop,
    /// Puma.
    Puma,
    /// Node.
    Node,
}

/// What the application measured of one request.
#[derive(Clone, Debug, Deserialize)]
pub struct Measured {
    /// Its `X-Request-ID`.
    pub key: String,
    /// Process.
    pub pid: u32,
    /// Thread that worked, as the kernel numbers it.
    pub tid: u32,
    /// Begin of its work, monotonic.
    pub begin_ns: u64,
    /// End of its work, monotonic.
    pub end_ns: u64,
    /// CPU time of the thread in between.
    pub cpu_ns: u64,
    /// Time in between that it was runnable and had no CPU.
    pub queued_ns: u64,
}

/// A running server; ended when dropped.
#[derive(Debug)]
pub struct Served {
    /// Where it listens.
    pub address: SocketAddr,
    // Ended before its folder goes.
    _process: Process,
    scratch: Scratch,
}

impl Served {
    /// Starts one.
    ///
    /// # Errors
    /// When it does not start; its log is in the message.
    pub fn start(kind: Kind) -> Result<Self> {
        let scratch = Scratch::new("served")?;
        let port = free_port()?;
        let mut command = kind.command(port)?;
        command
            .current_dir(app_dir("bindings"))
            .env("BINDINGS_DIR", scratch.path());
        let log = scratch.path().join("out");
        let process = Process::start(&format!("{kind:?}"), command, StopSignal::Kill, &log)?;
        let port = if kind == Kind::Puma {
            port
        } else {
            script::written(&process, &scratch.path().join("port"))?.parse()?
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait_for(START_LIMIT, "the server to take connections", || {
            if let Some(status) = process.ended() {
                bail!("it ended with {status}: {}", process.log_tail());
            }
            Ok(TcpStream::connect(address).is_ok().then_some(()))
        })?;
        Ok(Self {
            address,
            _process: process,
            scratch,
        })
    }

    /// What was measured so far, by key.
    ///
    /// # Errors
    /// When a line cannot be read.
    pub fn measured(&self) -> Result<HashMap<String, Measured>> {
        let text = match fs::read_to_string(self.scratch.path().join("log")) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text?,
        };
        // A line that is just being written has no end yet.
        let complete = text.rfind('\n').map_or("", |end| &text[..=end]);
        let line = |line: &str| -> Result<(String, Measured)> {
            let measured: Measured =
                serde_json::from_str(line).with_context(|| format!("log line {line}"))?;
            Ok((measured.key.clone(), measured))
        };
        complete.lines().map(line).collect()
    }

    /// Waits until so many requests were measured.
    ///
    /// # Errors
    /// When they are not in time.
    pub fn all(&self, count: usize) -> Result<HashMap<String, Measured>> {
        wait_for(LOG_LIMIT, "the application's log", || {
            let all = self.measured()?;
            Ok((all.len() >= count).then_some(all))
        })
    }

    /// `clients` ask for `target` `times` each, on a connection of their own; before each request a client thinks for up to
    /// `think`. Keys are `<name>-<client>-<number>`.
    ///
    /// # Errors
    /// When a request is not answered with 200, or twice not at all.
    pub fn ask(&self, load: &Load) -> Result<()> {
        thread::scope(|scope| {
            let clients: Vec<_> = (0..load.clients)
                .map(|client| scope.spawn(move || self.client(load, client)))
                .collect();
            for client in clients {
                client.join().ok().context("a client failed")??;
            }
            Ok(())
        })
    }

    fn client(&self, load: &Load, client: u32) -> Result<()> {
        let mut connection = Client::open(self.address)?;
        for number in 0..load.times {
            // Of a sequence that looks random and is the same each time.
            let part = f64::from((number * 7919 + client * 104_729) % 1000) / 1000.0;
            if load.fresh {
                connection = Client::open(self.address)?;
            }
            thread::sleep(load.think.mul_f64(part));
            let key = format!("{}-{client}-{number}", load.name);
            let mut response = connection.get(load.target, &key);
            if response.is_err() {
                // Puma closes connections that others wait behind.
                connection = Client::open(self.address)?;
                response = connection.get(load.target, &key);
            }
            let response = response.with_context(|| key.clone())?;
            if response.status != 200 {
                bail!("{key}: {}", response.status);
            }
        }
        Ok(())
    }
}

/// What clients do.
#[derive(Clone, Debug)]
pub struct Load {
    /// Front of the keys.
    pub name: &'static str,
    /// Path and query.
    pub target: &'static str,
    /// Connections.
    pub clients: u32,
    /// Requests on each.
    pub times: u32,
    /// Longest time between two of a connection.
    pub think: Duration,
    /// A connection for each request, opened before the client thinks.
    pub fresh: bool,
}

impl Kind {
    fn command(self, port: u16) -> Result<Command> {
        let script = match self {
            Self::Waitress => "of_waitress.py",
            Self::Pool => "of_pool.py",
            Self::Uvicorn | Self::Uvloop => "of_uvicorn.py",
            Self::Puma => {
                let mut command = Command::new("puma");
                let address = format!("tcp://127.0.0.1:{port}");
                command.args([
                    "--quiet",
                    "--threads",
                    "4:4",
                    "--bind",
                    &address,
                    "config.ru",
                ]);
                return Ok(command);
            }
            Self::Node => {
                let mut command = Command::new("node");
                command.arg("of_node.js");
                return Ok(command);
            }
        };
        let mut command = Command::new(Environment::of_app("bindings")?);
        command.args(["-B", script]);
        let event_loop = if self == Self::Uvloop {
            "uvloop"
        } else {
            "asyncio"
        };
        command.env("BINDINGS_LOOP", event_loop);
        Ok(command)
    }
}
