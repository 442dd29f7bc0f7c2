//! A Redis server without persistence.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::wait::accepts;
use crate::{Process, StopSignal, free_port, wait_until_ready};

/// A running Redis server; dropping it ends it.
#[derive(Debug)]
pub struct Redis {
    /// Its loopback port.
    pub port: u16,
    process: Process,
}

impl Redis {
    /// Starts `redis-server` with its log in `dir`.
    ///
    /// # Errors
    /// When it is not installed, or does not accept connections within 10 s.
    pub fn start(dir: &Path) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command
            .args(["--port", &port.to_string(), "--dir"])
            .arg(dir);
        let log = dir.join("redis.log");
        let process = Process::start("redis-server", command, StopSignal::Terminate, &log)?;
        wait_until_ready(&process, Duration::from_secs(10), || accepts(port))?;
        Ok(Self { port, process })
    }

    /// The address as Python's redis package takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The pid of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}
