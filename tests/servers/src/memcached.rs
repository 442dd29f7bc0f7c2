//! A memcached server.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::wait::accepts;
use crate::{Process, StopSignal, free_port, wait_until_ready};

/// A running memcached; dropping it ends it.
#[derive(Debug)]
pub struct Memcached {
    /// Its loopback port.
    pub port: u16,
    process: Process,
}

impl Memcached {
    /// Starts `memcached` with its log in `dir`.
    ///
    /// # Errors
    /// When it is not installed, or does not accept connections within 10 s.
    pub fn start(dir: &Path) -> Result<Self> {
        Self::start_at(dir, free_port()?)
    }

    /// As [`Memcached::start`], on a certain port: one whose server has gone.
    ///
    /// # Errors
    /// As [`Memcached::start`].
    pub fn start_at(dir: &Path, port: u16) -> Result<Self> {
        let mut command = Command::new("memcached");
        command.args(["--listen=127.0.0.1", "--udp-port=0", "--threads=1"]);
        // It does not run as root unless a user is named, and this one exists everywhere.
        command.args(["--user=nobody", &format!("--port={port}")]);
        let log = dir.join("memcached.log");
        let process = Process::start("memcached", command, StopSignal::Terminate, &log)?;
        wait_until_ready(&process, Duration::from_secs(10), || accepts(port))?;
        Ok(Self { port, process })
    }

    /// Its address, `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it, and waits until it is gone and its port is free for another.
    ///
    /// # Errors
    /// When it does not end within 10 s.
    pub fn end(&self) -> Result<()> {
        self.process.signal(libc::SIGTERM)?;
        self.process.wait(Duration::from_secs(10))?;
        Ok(())
    }

    /// The pid of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}
