//! A Redis server without persistence.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::wait::accepts;
use crate::{Certificate, Process, StopSignal, free_port, wait_until_ready};

/// A running Redis server; dropping it ends it.
#[derive(Debug)]
pub struct Redis {
    /// Its loopback port.
    pub port: u16,
    /// The one for encrypted connections.
    pub tls_port: Option<u16>,
    process: Process,
}

impl Redis {
    /// Starts `redis-server` with its log in `dir`.
    ///
    /// # Errors
    /// When it is not installed, or does not accept connections within 10 s.
    pub fn start(dir: &Path) -> Result<Self> {
        Self::start_on(dir, None)
    }

    /// As [`Redis::start`]; takes encrypted connections on a port of their own.
    ///
    /// # Errors
    /// As [`Redis::start`], or when it was built without TLS.
    pub fn start_encrypted(dir: &Path, certificate: &Certificate) -> Result<Self> {
        Self::start_on(dir, Some(certificate))
    }

    fn start_on(dir: &Path, certificate: Option<&Certificate>) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command
            .args(["--port", &port.to_string(), "--dir"])
            .arg(dir);
        let tls_port = match certificate {
            Some(certificate) => {
                let tls_port = free_port()?;
                command.args(["--tls-port", &tls_port.to_string()]);
                command.args(["--tls-auth-clients", "no"]);
                command.arg("--tls-cert-file").arg(&certificate.certificate);
                command.arg("--tls-key-file").arg(&certificate.key);
                command
                    .arg("--tls-ca-cert-file")
                    .arg(&certificate.certificate);
                Some(tls_port)
            }
            None => None,
        };
        let log = dir.join("redis.log");
        let process = Process::start("redis-server", command, StopSignal::Terminate, &log)?;
        wait_until_ready(&process, Duration::from_secs(10), || {
            accepts(tls_port.unwrap_or(port))
        })?;
        Ok(Self {
            port,
            tls_port,
            process,
        })
    }

    /// The address as Python's redis package takes it, that for encrypted connections where there is one.
    #[must_use]
    pub fn url(&self) -> String {
        if let Some(port) = self.tls_port {
            return format!("rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none");
        }
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The pid of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}
