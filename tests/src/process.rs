//! Processes: what `/proc` says of them, and ending those that a test started.

use std::{
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::wait_for;

/// Kernel clock ticks per second in `/proc/PID/stat` (USER_HZ, fixed at 100 on every architecture here).
const TICKS_PER_S: u64 = 100;

/// Sends a signal. `false`: the process is gone.
#[must_use]
pub fn signal(pid: u32, signal: i32) -> bool {
    let Ok(pid) = i32::try_from(pid) else {
        return false;
    };
    // SAFETY: takes integers only. 0 and negative numbers (groups) cannot come from a u32 pid above 0.
    pid > 0 && unsafe { libc::kill(pid, signal) } == 0
}

/// True while the process exists and is not a zombie.
#[must_use]
pub fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !matches!(stat_fields(&stat).first(), Some(&"Z" | &"X")))
}

/// Resident memory, bytes (`VmRSS`).
///
/// # Errors
/// When the process is gone.
pub fn rss_bytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|word| word.parse::<u64>().ok())
        .context("no VmRSS")?;
    Ok(kib * 1024)
}

/// Open descriptors.
///
/// # Errors
/// When the process is gone.
pub fn descriptors(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// CPU time of a process with all its threads, user and system, ns; resolution 10 ms
/// (`/proc/PID/stat`, fields 14 and 15).
///
/// # Errors
/// When the process is gone.
pub fn cpu_ns(pid: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat_fields(&stat);
    let field = |index: usize| -> Result<u64> {
        Ok(fields.get(index).context("short stat line")?.parse()?)
    };
    Ok((field(11)? + field(12)?) * (1_000_000_000 / TICKS_PER_S))
}

/// CPU time of the living threads of a process, ns, as the scheduler counts it
/// (`/proc/PID/task/TID/schedstat`, first field). For processes whose threads do not end.
///
/// # Errors
/// When the process is gone.
pub fn scheduled_ns(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread that ends between listing and reading is left out.
        if let Ok(text) = std::fs::read_to_string(entry?.path().join("schedstat")) {
            sum += text
                .split_whitespace()
                .next()
                .and_then(|word| word.parse::<u64>().ok())
                .unwrap_or(0);
        }
    }
    Ok(sum)
}

/// Fields of a stat line from the third (state) on: the name before may hold anything.
fn stat_fields(stat: &str) -> Vec<&str> {
    stat.rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default()
}

/// Runs a command that ends by itself and prints less than a pipe holds (64 KiB).
///
/// # Errors
/// When it cannot be started, or still runs after `limit`: then it is killed.
pub fn output(command: &mut Command, limit: Duration) -> Result<Output> {
    let mut child = command
        .env_remove("WHYSLOW_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Err(error) = wait_end(&mut child, limit) {
        child.kill()?;
        let output = child.wait_with_output()?;
        return Err(error.context(format!("{command:?} did not end by itself: {output:?}")));
    }
    Ok(child.wait_with_output()?)
}

/// Waits for a child to end.
///
/// # Errors
/// When it still runs after `limit`.
pub fn wait_end(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let what = format!("process {} to end", child.id());
    wait_for(limit, &what, || Ok(child.try_wait()?))
}

/// Asks a child to end and, when it does not, kills it. For `Drop`.
pub fn end(child: &mut Child, limit: Duration) {
    if matches!(child.try_wait(), Ok(Some(_))) {
        return;
    }
    // Gone in the meantime is as good.
    let _ = signal(child.id(), libc::SIGTERM);
    if wait_end(child, limit).is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
}
