//! A control group (version 2) for the time of a test.

use std::{
    ffi::CString,
    fs, io,
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{live::say, wait_for};

/// Longest time until the kernel gives a group up whose processes have ended.
const REMOVE_LIMIT: Duration = Duration::from_secs(5);

/// A group, removed when dropped: what runs in it must have ended by then.
#[derive(Debug)]
pub struct Cgroup {
    /// As `/proc/PID/cgroup` and `--cgroup` name it.
    path: String,
    folder: PathBuf,
}

impl Cgroup {
    /// Makes `/whyslow-<name>-<pid>`, or says why this host does not allow it.
    ///
    /// # Errors
    /// There is no version 2 tree, or it may not be written to.
    pub fn new(name: &str) -> Result<Self> {
        let path = format!("/whyslow-{name}-{}", std::process::id());
        Self::at(path, &mount()?)
    }

    /// Makes a group within this one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn below(&self, name: &str) -> Result<Self> {
        let root = mount()?;
        Self::at(format!("{}/{name}", self.path), &root)
    }

    fn at(path: String, root: &str) -> Result<Self> {
        let folder = PathBuf::from(format!("{root}{path}"));
        fs::create_dir(&folder)
            .with_context(|| format!("control group {} cannot be made", folder.display()))?;
        Ok(Self { path, folder })
    }

    /// Its path within the tree.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Moves a running process into it.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn take(&self, pid: u32) -> Result<()> {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string())?;
        let now = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        ensure!(
            now.lines().any(|line| line == format!("0::{}", self.path)),
            "process {pid} is not in {}: {now}",
            self.path
        );
        Ok(())
    }

    /// What this command starts is in it from its first instruction on.
    pub fn start_within(&self, command: &mut Command) {
        let file = self.folder.join("cgroup.procs");
        let file = CString::new(file.as_os_str().as_bytes()).unwrap_or_default();
        // SAFETY: between fork and exec the closure makes only system calls that are async-signal-safe
        // (open, write, close), on a string made before, and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                let procs = libc::open(file.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                if procs < 0 {
                    return Err(io::Error::last_os_error());
                }
                // 0 stands for the process that writes.
                let moved = libc::write(procs, c"0".as_ptr().cast(), 1) == 1;
                let result = if moved {
                    Ok(())
                } else {
                    Err(io::Error::last_os_error())
                };
                libc::close(procs);
                result
            });
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let removed = wait_for(REMOVE_LIMIT, "the control group to be empty", || {
            Ok(fs::remove_dir(&self.folder).is_ok().then_some(()))
        });
        if let Err(error) = removed {
            say(&format!("{} is left: {error:#}", self.folder.display()));
        }
    }
}

/// Where the version 2 tree is mounted.
fn mount() -> Result<String> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&"cgroup2"))
        .and_then(|fields| fields.get(1).map(ToString::to_string))
        .context("no control groups of version 2 are mounted")
}
