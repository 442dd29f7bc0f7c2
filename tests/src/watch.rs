//! `whyslow watch --json`, its lines read as they come.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    Agent,
    event::{Event, Finished},
    process, wait_for,
};

/// Longest time until the first event (the agent's status).
const START_LIMIT: Duration = Duration::from_secs(10);
/// Longest time from the end of a request to its event: 1 s by contract, and a busy machine's share.
pub const EVENT_LIMIT: Duration = Duration::from_secs(5);

/// What was read so far.
#[derive(Debug, Default)]
struct Seen {
    events: Vec<Event>,
    lines: Vec<String>,
    /// The first line that is no event.
    broken: Option<String>,
    ended: bool,
    stderr: String,
}

/// A running watcher; ended when dropped.
#[derive(Debug)]
pub struct Watch {
    child: Child,
    seen: Arc<Mutex<Seen>>,
    readers: Vec<JoinHandle<()>>,
}

impl Watch {
    /// Starts a watcher on an agent and waits for its first event, so that nothing that happens
    /// from now on is missed.
    ///
    /// # Errors
    /// When it ends or nothing comes.
    pub fn start(agent: &Agent) -> Result<Self> {
        Self::with_options(agent, &[])
    }

    /// As [`Watch::start`], with more options.
    ///
    /// # Errors
    /// As [`Watch::start`].
    pub fn with_options(agent: &Agent, options: &[&str]) -> Result<Self> {
        let mut command = Command::new(agent.binary());
        command
            .args(["watch", "--json", "--socket"])
            .arg(agent.socket())
            .args(options);
        let watch = Self::spawn(command)?;
        wait_for(START_LIMIT, "the first event", || {
            let seen = watch.seen();
            if seen.ended && seen.events.is_empty() {
                bail!("whyslow watch ended: {}", seen.stderr);
            }
            Ok(seen
                .events
                .iter()
                .any(|event| event.agent_status.is_some())
                .then_some(()))
        })
        .with_context(|| format!("agent's log:\n{}", agent.log()))?;
        Ok(watch)
    }

    /// Reads the events that any command prints (`whyslow replay FILE --json`).
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(mut command: Command) -> Result<Self> {
        let mut child = command
            .env_remove("WHYSLOW_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stdout = child.stdout.take().context("no stdout")?;
        let stderr = child.stderr.take().context("no stderr")?;
        let readers = vec![
            std::thread::spawn({
                let seen = Arc::clone(&seen);
                move || read_lines(stdout, &seen)
            }),
            std::thread::spawn({
                let seen = Arc::clone(&seen);
                move || read_errors(stderr, &seen)
            }),
        ];
        Ok(Self {
            child,
            seen,
            readers,
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All events so far.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.seen().events.clone()
    }

    /// All lines so far, as printed.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.seen().lines.clone()
    }

    /// What the command wrote to its standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.seen().stderr.clone()
    }

    /// Requests finished so far.
    #[must_use]
    pub fn finished(&self) -> Vec<Finished> {
        self.select(|event| event.request_finished.clone())
    }

    /// What `pick` finds in the events so far.
    pub fn select<T>(&self, pick: impl FnMut(&Event) -> Option<T>) -> Vec<T> {
        self.seen().events.iter().filter_map(pick).collect()
    }

    /// How many events `wanted` picks, so far.
    pub fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.seen().events.iter().filter(|e| wanted(e)).count()
    }

    /// Waits for the first event in which `pick` finds something.
    ///
    /// # Errors
    /// When `limit` is over; what finished last is in the message.
    pub fn expect<T>(
        &self,
        limit: Duration,
        what: &str,
        mut pick: impl FnMut(&Event) -> Option<T>,
    ) -> Result<T> {
        let found = wait_for(limit, what, || {
            let seen = self.seen();
            if let Some(line) = &seen.broken {
                bail!("not an event: {line}");
            }
            Ok(seen.events.iter().find_map(&mut pick))
        });
        found.with_context(|| self.tail())
    }

    /// Waits for the finished request with this `X-Request-ID`.
    ///
    /// # Errors
    /// As [`Watch::expect`].
    pub fn request(&self, key: &str) -> Result<Finished> {
        let what = format!("requestFinished with X-Request-ID {key}");
        self.expect(EVENT_LIMIT, &what, |event| {
            event
                .request_finished
                .as_ref()
                .filter(|finished| finished.x_request_id == key)
                .cloned()
        })
    }

    /// The last lines, for messages.
    fn tail(&self) -> String {
        let seen = self.seen();
        let from = seen.lines.len().saturating_sub(5);
        format!(
            "{} lines so far, the last:\n{}\n{}",
            seen.lines.len(),
            seen.lines[from..].join("\n"),
            seen.stderr
        )
    }

    /// Losses so far: reason and count.
    #[must_use]
    pub fn losses(&self) -> Vec<(String, u64)> {
        self.select(|event| {
            event
                .loss
                .as_ref()
                .map(|loss| (loss.reason.clone(), loss.count))
        })
    }

    /// Waits until the command ends by itself and all its output is read.
    ///
    /// # Errors
    /// When it does not, or ends with a failure, or printed something that is no event.
    pub fn finish(mut self, limit: Duration) -> Result<Vec<Event>> {
        let status = process::wait_end(&mut self.child, limit)?;
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        let seen = self.seen();
        if let Some(line) = &seen.broken {
            bail!("not an event: {line}");
        }
        if !status.success() {
            bail!("ended with {status}: {}", seen.stderr);
        }
        Ok(seen.events.clone())
    }

    /// Ctrl-C, and expects a clean end.
    ///
    /// # Errors
    /// As [`Watch::finish`].
    pub fn interrupt(self, limit: Duration) -> Result<Vec<Event>> {
        if !process::signal(self.child.id(), libc::SIGINT) {
            bail!("whyslow watch was gone: {}", self.tail());
        }
        self.finish(limit)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        process::end(&mut self.child, Duration::from_secs(2));
    }
}

fn read_lines(output: ChildStdout, seen: &Mutex<Seen>) {
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { break };
        let event = serde_json::from_str::<Event>(&line);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(event) => seen.events.push(event),
            Err(error) => {
                let broken = format!("{error}: {line}");
                seen.broken.get_or_insert(broken);
            }
        }
        seen.lines.push(line);
    }
    seen.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
}

fn read_errors(mut output: ChildStderr, seen: &Mutex<Seen>) {
    let mut bytes = [0_u8; 4096];
    while let Ok(n @ 1..) = output.read(&mut bytes) {
        let text = String::from_utf8_lossy(&bytes[..n]).into_owned();
        seen.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .stderr
            .push_str(&text);
    }
}
