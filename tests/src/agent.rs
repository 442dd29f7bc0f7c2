//! An agent of its own for each test: its socket and its log lie in a folder that goes with it.

use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    live::Live,
    servers::{Process, Scratch, StopSignal},
    wait_for,
    watch::Watch,
};

/// Longest time until a started agent answers: it reads the kernel's BTF and has its programs verified.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Longest time until a stopped one is gone.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A running agent; ended when dropped.
#[derive(Debug)]
pub struct Agent {
    // Ended before its folder goes.
    process: Process,
    scratch: Scratch,
    socket: PathBuf,
    binary: PathBuf,
}

impl Agent {
    /// Starts `whyslow agent --socket <own> <options>` and waits until it answers.
    ///
    /// # Errors
    /// When it ends or does not answer in time; its log is in the message.
    pub fn start(live: &Live, options: &[&str]) -> Result<Self> {
        Self::start_binary(&live.binary, options)
    }

    /// As [`Agent::start`], with the program given: for measurements, which take no test lock.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub fn start_binary(binary: &Path, options: &[&str]) -> Result<Self> {
        Self::launch(binary, None, options)
    }

    /// As [`Agent::start_binary`], on a socket of the caller's.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub fn start_at(binary: &Path, socket: &Path, options: &[&str]) -> Result<Self> {
        Self::launch(binary, Some(socket), options)
    }

    fn launch(binary: &Path, socket: Option<&Path>, options: &[&str]) -> Result<Self> {
        let scratch = Scratch::new("agent")?;
        let socket = socket.map_or_else(|| scratch.path().join("socket"), Path::to_owned);
        let mut command = Command::new(binary);
        command
            .arg("agent")
            .arg("--socket")
            .arg(&socket)
            .args(options)
            .env_remove("WHYSLOW_SOCKET");
        let log = scratch.path().join("log");
        let agent = Self {
            process: Process::start("whyslow agent", command, StopSignal::Terminate, &log)?,
            socket: socket.clone(),
            scratch,
            binary: binary.to_owned(),
        };
        let answers = wait_for(START_LIMIT, "the agent's socket", || {
            if let Some(status) = agent.process.ended() {
                bail!("the agent ended with {status}");
            }
            Ok(UnixStream::connect(&socket).is_ok().then_some(()))
        });
        answers.with_context(|| format!("the agent did not start; its log:\n{}", agent.log()))?;
        // The socket is bound before the programs are loaded; an answer comes after.
        drop(Watch::start(&agent)?);
        Ok(agent)
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The program it runs.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// What it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    /// True while it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.ended().is_none()
    }

    /// SIGTERM, and waits for a clean end.
    ///
    /// # Errors
    /// When it does not end in time or not with status 0, or wrote of a panic.
    pub fn stop(self) -> Result<()> {
        self.process.signal(libc::SIGTERM)?;
        let status = self.process.wait(STOP_LIMIT).with_context(|| self.log())?;
        let log = self.log();
        if !status.success() || log.contains("panicked") {
            bail!("the agent ended with {status}:\n{log}");
        }
        Ok(())
    }

    /// SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// When it was gone already.
    pub fn kill(&self) -> Result<()> {
        self.process.signal(libc::SIGKILL)?;
        self.process.wait(STOP_LIMIT)?;
        Ok(())
    }
}
