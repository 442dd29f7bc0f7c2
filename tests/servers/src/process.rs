//! A process that ends with the value that stands for it.
//!
//! It runs in a process group of its own (a Ctrl-C at the terminal reaches only the foreground
//! group), and the kernel signals it when this process dies, even by SIGKILL. The kernel ties
//! that to the *thread* that forked (`PR_SET_PDEATHSIG`, prctl(2)), so one thread that never ends
//! starts all of them.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use std::{io, mem, thread};

use anyhow::{Context, Result, anyhow};

use crate::wait_until;

/// How long a process may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// The signal that asks a program to end quickly and cleanly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
    /// SIGQUIT.
    Quit,
    /// SIGKILL: for programs without anything to clean up.
    Kill,
}

impl StopSignal {
    fn number(self) -> libc::c_int {
        match self {
            Self::Terminate => libc::SIGTERM,
            Self::Interrupt => libc::SIGINT,
            Self::Quit => libc::SIGQUIT,
            Self::Kill => libc::SIGKILL,
        }
    }
}

/// A running process; dropping it ends it, and all of its process group if it has its own.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stop: StopSignal,
    /// None: at the terminal, and in a process group that is not its own.
    log: Option<PathBuf>,
}

impl Process {
    /// Starts `command` in a process group of its own, with no input and its output in `log`.
    ///
    /// # Errors
    /// When the log cannot be made or the program cannot be started.
    pub fn start(name: &str, command: Command, stop: StopSignal, log: &Path) -> Result<Self> {
        let out = File::create(log).with_context(|| format!("make log {}", log.display()))?;
        let error_out = out.try_clone().context("share the log")?;
        let mut command = command;
        command.stdin(Stdio::null()).stdout(out).stderr(error_out);
        Self::spawn(name, command, stop, Some(log.to_path_buf()))
    }

    /// Starts `command` at the terminal: in our own process group, with our input and output, so
    /// that it may use the screen and hears of a Ctrl-C itself.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start_in_foreground(name: &str, command: Command, stop: StopSignal) -> Result<Self> {
        Self::spawn(name, command, stop, None)
    }

    fn spawn(
        name: &str,
        mut command: Command,
        stop: StopSignal,
        log: Option<PathBuf>,
    ) -> Result<Self> {
        if log.is_some() {
            command.process_group(0);
        }
        die_with_this_process(&mut command, stop);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = fork_on_lasting_thread(command)?
            .with_context(|| format!("start {name} ({program})"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            stop,
            log,
        })
    }

    /// The name given at start, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id; also the id of its process group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, once it ended. It stays a zombie until the drop, so that its id, and its
    /// group's, cannot become those of a stranger.
    #[must_use]
    pub fn ended(&self) -> Option<ExitStatus> {
        peek(self.pid())
    }

    /// The pids of its direct children now: the workers of a pre-forking server.
    #[must_use]
    pub fn children(&self) -> Vec<u32> {
        // Not `/proc/<pid>/task/<pid>/children`: that needs CONFIG_PROC_CHILDREN.
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| parent(*pid) == Some(self.pid()))
            .collect()
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        const LINES: usize = 20;
        let text = self
            .log
            .as_ref()
            .and_then(|log| fs::read(log).ok())
            .unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// Sends `signal` to the process alone.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: libc::c_int) -> Result<()> {
        if let Some(status) = self.ended() {
            return Err(anyhow!(
                "{} ended before signal {signal} ({status})",
                self.name
            ));
        }
        send(self.child.id().cast_signed(), signal)
            .with_context(|| format!("send signal {signal} to {}", self.name))
    }

    /// Waits until it ends by itself, at most `limit` long.
    ///
    /// # Errors
    /// When the limit passed.
    pub fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        let mut status = None;
        wait_until(limit, &format!("{} to end", self.name), || {
            status = self.ended();
            status.is_some()
        })?;
        status.context("an ended process without a status")
    }

    fn end(&mut self) {
        let pid = self.child.id().cast_signed();
        if self.ended().is_none() {
            // A failure means that it ended this moment; the wait sees that.
            drop(send(pid, self.stop.number()));
            drop(self.wait(GRACE));
        }
        // What is left of its group: a worker that did not hear of the end, or all of it.
        let target = if self.log.is_some() { -pid } else { pid };
        drop(send(target, libc::SIGKILL));
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// The kernel sends the stop signal when the thread that forked ends.
fn die_with_this_process(command: &mut Command, stop: StopSignal) {
    let parent = std::process::id();
    let signal = stop.number();
    // SAFETY: between fork and exec the closure makes only system calls that are async-signal-safe
    // (prctl, getppid), and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, signal) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died before the call above.
            if libc::getppid().cast_unsigned() != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
}

/// A command, and where the started child (or why not) goes.
type Order = (Command, Sender<io::Result<Child>>);

/// Starts the command on the one thread that lives as long as this process.
fn fork_on_lasting_thread(command: Command) -> Result<io::Result<Child>> {
    static ORDERS: OnceLock<Sender<Order>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, incoming) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in incoming {
                // Nobody waits for the answer any more: the caller is gone, and so is the child.
                drop(answer.send(command.spawn()));
            }
        });
        orders
    });
    let (answer, result) = channel();
    orders
        .send((command, answer))
        .map_err(|_| anyhow!("the starting thread is gone"))?;
    result.recv().context("the starting thread is gone")
}

/// The parent of a process, from proc_pid_stat(5).
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(1)?.parse().ok()
}

/// The status of a child that ended, without reaping it.
fn peek(pid: u32) -> Option<ExitStatus> {
    // SAFETY: siginfo_t is plain integers and pointers, for which zero is a value.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is ours, and waitid(2) writes nothing else.
    if unsafe { libc::waitid(libc::P_PID, pid, &raw mut info, options) } != 0 {
        return None;
    }
    // SAFETY: waitid filled the fields of SIGCHLD, or left the zeros when nothing ended.
    let (ended, status) = unsafe { (info.si_pid(), info.si_status()) };
    if ended == 0 {
        return None;
    }
    Some(ExitStatus::from_raw(match info.si_code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_DUMPED => status | 0x80,
        _ => status,
    }))
}

fn send(target: libc::pid_t, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: kill(2) takes two integers and touches no memory of ours.
    match unsafe { libc::kill(target, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scratch;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn lives(pid: u32) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // A zombie that its new parent has not reaped yet runs no more.
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    #[test]
    fn dropping_ends_the_whole_group() -> Result<()> {
        let scratch = Scratch::new("process")?;
        let log = scratch.path().join("log");
        let script = "trap '' TERM; sleep 1000 & echo $!; wait; wait";
        let process = Process::start("shell", shell(script), StopSignal::Kill, &log)?;
        let mut grandchild = 0;
        wait_until(GRACE, "the shell's child", || {
            grandchild = process.log_tail().trim().parse().unwrap_or(0);
            grandchild != 0
        })?;
        let pid = process.pid();
        assert!(lives(pid) && lives(grandchild));
        drop(process);
        wait_until(GRACE, "both to end", || !lives(pid) && !lives(grandchild))
    }

    #[test]
    fn a_process_outlives_the_thread_that_asked_for_it() -> Result<()> {
        let scratch = Scratch::new("process")?;
        let log = scratch.path().join("log");
        let started = thread::spawn(move || {
            Process::start(
                "sleep",
                shell("exec sleep 1000"),
                StopSignal::Terminate,
                &log,
            )
        });
        let process = started.join().expect("no panic")?;
        process.signal(0)?;
        assert!(process.ended().is_none());
        Ok(())
    }

    #[test]
    fn an_early_end_is_told_with_the_log() -> Result<()> {
        let scratch = Scratch::new("process")?;
        let log = scratch.path().join("log");
        let process = Process::start(
            "liar",
            shell("echo no luck; exit 3"),
            StopSignal::Terminate,
            &log,
        )?;
        let error = crate::wait_until_ready(&process, GRACE, || false).expect_err("it ended");
        assert!(error.to_string().contains("no luck"), "{error}");
        Ok(())
    }

    #[test]
    fn a_missing_program_is_named() -> Result<()> {
        let scratch = Scratch::new("process")?;
        let log = scratch.path().join("log");
        let command = Command::new("/nonexistent/program");
        let error = Process::start("ghost", command, StopSignal::Terminate, &log)
            .expect_err("there is no such program");
        assert!(
            format!("{error:#}").contains("/nonexistent/program"),
            "{error:#}"
        );
        Ok(())
    }
}
