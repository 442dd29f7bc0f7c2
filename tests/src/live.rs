//! Whether a live test can run here, and the lock that lets only one run at a time: the agent watches
//! the whole host, so two tests at once would see each other's requests.

use std::{
    fs::File,
    io::Write,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{servers::target_dir, wait_for};

/// Longest time that another live test may hold the lock.
const LOCK_LIMIT: Duration = Duration::from_secs(900);

/// Leave to run: holds the lock until dropped.
#[derive(Debug)]
pub struct Live {
    /// The program under test.
    pub binary: PathBuf,
    _lock: File,
}

/// Leave to run the live test `name`, or `None` after printing why it is skipped. The line goes
/// around the test runner's capture: a skip is never silent.
///
/// # Errors
/// When the lock cannot be had within its limit.
pub fn live(name: &str) -> Result<Option<Live>> {
    let binary = binary();
    let reason = if !is_root() {
        Some("needs root to load eBPF programs".to_owned())
    } else if !binary.is_file() {
        Some(format!(
            "{} is missing (hint: cargo xtask build)",
            binary.display()
        ))
    } else if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        Some("this kernel has no BTF".to_owned())
    } else {
        None
    };
    if let Some(reason) = reason {
        skipped(name, &reason);
        return Ok(None);
    }
    Ok(Some(Live {
        binary,
        _lock: lock()?,
    }))
}

/// Prints the skip line of a test or of a part of one.
pub fn skipped(name: &str, reason: &str) {
    // On a line of its own, also when the test runner has begun one.
    say(&format!("\nSKIPPED {name}: {reason}"));
}

/// Prints a line around the test runner's capture: figures that a reader of the log wants to see.
pub fn say(line: &str) {
    // A closed stderr loses the line, nothing else: there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The program under test: `WHYSLOW_BIN`, else what `cargo xtask build` leaves.
#[must_use]
pub fn binary() -> PathBuf {
    std::env::var_os("WHYSLOW_BIN")
        .map_or_else(|| target_dir().join("release/whyslow"), PathBuf::from)
}

/// True for the effective user root.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Takes the lock of all live tests on this host.
fn lock() -> Result<File> {
    let path = std::env::temp_dir().join("whyslow-live-tests.lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    wait_for(LOCK_LIMIT, "another live test to end", || {
        // SAFETY: the descriptor is open for as long as `file` lives.
        let taken = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0;
        Ok(taken.then_some(()))
    })?;
    Ok(file)
}
