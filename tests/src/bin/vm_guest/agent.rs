//! The agent under test, run as a user runs it: `whyslow agent`, `watch`, `doctor`.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

const PROGRAM: &str = "/bin/whyslow";
const SOCKET: &str = "/run/whyslow.sock";
/// What the agent and the other commands say of themselves.
pub(crate) const LOG: &str = "/run/agent.log";

/// Longest wait for the agent to be ready, or to end: verifying its programs is slow in emulation.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until `found` gives something, or the limit is over.
pub(crate) fn wait_until<T>(limit: Duration, mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = found() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// A command of whyslow, which says what it has to say into the log.
fn whyslow(arguments: &[&str]) -> Result<Command> {
    let log = File::options().create(true).append(true).open(LOG)?;
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .env("WHYSLOW_SOCKET", SOCKET)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok(command)
}

/// A running `whyslow agent`.
#[derive(Debug)]
pub(crate) struct Agent {
    child: Child,
}

impl Agent {
    /// Starts it and waits until it takes connections.
    ///
    /// # Errors
    /// It ends, or is not ready in time.
    pub(crate) fn start() -> Result<Self> {
        let mut child = whyslow(&["agent", "--operations"])?
            .spawn()
            .context("cannot start the agent")?;
        let ready = wait_until(PATIENCE, || match child.try_wait() {
            Ok(None) => UnixStream::connect(SOCKET).ok().map(|_| Ok(())),
            Ok(Some(status)) => Some(Err(format!("the agent ended: {status}"))),
            Err(error) => Some(Err(error.to_string())),
        });
        match ready {
            Some(Ok(())) => Ok(Self { child }),
            Some(Err(reason)) => bail!(reason),
            None => {
                child.kill()?;
                child.wait()?;
                bail!("the agent was not ready in time")
            }
        }
    }

    /// Asks it to end, as a service manager does.
    ///
    /// # Errors
    /// It does not end in time, or not with 0.
    pub(crate) fn stop(self) -> Result<()> {
        let status = end(self.child, libc::SIGTERM).context("the agent")?;
        ensure!(status.success(), "the agent ended with {status}");
        ensure!(
            !Path::new(SOCKET).exists(),
            "the agent left its socket behind"
        );
        Ok(())
    }

    /// Kills it without a chance to tidy up.
    ///
    /// # Errors
    /// It does not end.
    pub(crate) fn kill(self) -> Result<()> {
        end(self.child, libc::SIGKILL).map(drop)
    }
}

/// Sends a signal and waits for the end.
fn end(mut child: Child, signal: libc::c_int) -> Result<ExitStatus> {
    let pid = libc::pid_t::try_from(child.id())?;
    // SAFETY: our own child, not yet waited for.
    let sent = unsafe { libc::kill(pid, signal) };
    ensure!(
        sent == 0,
        "cannot signal: {}",
        std::io::Error::last_os_error()
    );
    match wait_until(PATIENCE, || child.try_wait().transpose()) {
        Some(status) => Ok(status?),
        None => {
            child.kill()?;
            child.wait()?;
            bail!("did not end in time after signal {signal}")
        }
    }
}

/// A running `whyslow watch --json`.
#[derive(Debug)]
pub(crate) struct Watch {
    child: Child,
    lines: Receiver<String>,
    /// What came so far, oldest first.
    pub(crate) events: Vec<Value>,
}

impl Watch {
    /// Starts it and waits for its first event, which every subscription begins with: from then on
    /// nothing is missed.
    ///
    /// # Errors
    /// Nothing comes.
    pub(crate) fn start() -> Result<Self> {
        let mut command = whyslow(&["watch", "--json"])?;
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start watch")?;
        let output = child.stdout.take().context("no output of watch")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut watch = Self {
            child,
            lines,
            events: Vec::new(),
        };
        match watch.collect(PATIENCE, |events| !events.is_empty()) {
            Ok(true) => Ok(watch),
            Ok(false) => bail!("watch shows nothing, not even the agent's status"),
            Err(error) => Err(error),
        }
    }

    /// Takes events in until `enough`, or until the limit is over; true when it was enough.
    ///
    /// # Errors
    /// A line that is not JSON, or watch has ended.
    pub(crate) fn collect(
        &mut self,
        limit: Duration,
        enough: impl Fn(&[Value]) -> bool,
    ) -> Result<bool> {
        let deadline = Instant::now() + limit;
        while !enough(&self.events) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.events.push(parse(&line)?),
                Err(mpsc::RecvTimeoutError::Timeout) => return Ok(false),
                Err(mpsc::RecvTimeoutError::Disconnected) => bail!("watch has ended by itself"),
            }
        }
        Ok(true)
    }

    /// Ends it like Ctrl-C does, and gives all events.
    ///
    /// # Errors
    /// It does not end with 0.
    pub(crate) fn stop(mut self) -> Result<Vec<Value>> {
        let status = end(self.child, libc::SIGINT).context("watch")?;
        ensure!(status.success(), "watch ended with {status}");
        for line in self.lines {
            self.events.push(parse(&line)?);
        }
        Ok(self.events)
    }
}

fn parse(line: &str) -> Result<Value> {
    serde_json::from_str(line).with_context(|| format!("watch printed no JSON: {line:?}"))
}

/// What `whyslow doctor --json` prints.
///
/// # Errors
/// It fails, or prints no JSON.
pub(crate) fn doctor() -> Result<Value> {
    let output = whyslow(&["doctor", "--json"])?
        .stdout(Stdio::piped())
        .output()?;
    // 1 says that the agent cannot work here, which the list explains.
    ensure!(
        matches!(output.status.code(), Some(0 | 1)),
        "doctor ended with {}",
        output.status
    );
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).with_context(|| format!("doctor printed no JSON: {text:?}"))
}

/// The last lines of the log. Of a long one (a verifier's words) its begin and its end.
pub(crate) fn log_tail(count: usize) -> Vec<String> {
    const BEGIN: usize = 500;
    const END: usize = 2500;
    let shorten = |line: &str| {
        let length = line.chars().count();
        if length <= BEGIN + END {
            return line.to_owned();
        }
        let begin = line.chars().take(BEGIN);
        begin
            .chain(" [...] ".chars())
            .chain(line.chars().skip(length - END))
            .collect()
    };
    let text = fs::read(LOG).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..]
        .iter()
        .map(|line| shorten(line))
        .collect()
}
