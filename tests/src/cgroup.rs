//! A control group for the time of a test: of version 2, or with a limit, of whichever version has its controller.

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

    /// Makes a group whose processes get so much of one CPU, in parts of a hundred, per 100 ms.
    ///
    /// # Errors
    /// There is no controller of CPU time, or it may not be used.
    pub fn with_cpu(name: &str, percent: u32) -> Result<Self> {
        let quota = u64::from(percent) * 1_000;
        let group = Self::controlled(name, "cpu")?;
        if group.folder.join("cpu.max").exists() {
            group.set("cpu.max", &format!("{quota} 100000"))?;
        } else {
            group.set("cpu.cfs_period_us", "100000")?;
            group.set("cpu.cfs_quota_us", &quota.to_string())?;
        }
        Ok(group)
    }

    /// Makes a group whose processes get so many bytes of memory, the cache of their files included.
    ///
    /// # Errors
    /// There is no controller of memory, or it may not be used.
    pub fn with_memory(name: &str, bytes: u64) -> Result<Self> {
        let group = Self::controlled(name, "memory")?;
        let file = if group.folder.join("memory.max").exists() {
            "memory.max"
        } else {
            "memory.limit_in_bytes"
        };
        group.set(file, &bytes.to_string())?;
        Ok(group)
    }

    fn controlled(name: &str, controller: &str) -> Result<Self> {
        let path = format!("/whyslow-{name}-{}", std::process::id());
        let old = mounted("cgroup", |options| {
            options.split(',').any(|it| it == controller)
        })?;
        if let Some(root) = old {
            return Self::at(path, &root);
        }
        let root = mount()?;
        fs::write(
            format!("{root}/cgroup.subtree_control"),
            format!("+{controller}"),
        )
        .with_context(|| format!("the controller {controller} cannot be used"))?;
        Self::at(path, &root)
    }

    /// How long its processes had nothing of their share of a CPU left, ns, summed over CPUs.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn throttled_ns(&self) -> Result<u64> {
        let text = fs::read_to_string(self.folder.join("cpu.stat"))?;
        let figure = |name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|figure| figure.trim().parse::<u64>().ok())
        };
        figure("throttled_usec ")
            .map(|us| us * 1_000)
            .or_else(|| figure("throttled_time "))
            .context("no time throttled in cpu.stat")
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        let path = self.folder.join(file);
        fs::write(&path, value).with_context(|| format!("{value} to {}", path.display()))
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
            now.lines()
                .any(|line| line.splitn(3, ':').nth(2) == Some(&self.path)),
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
    mounted("cgroup2", |_| true)?.context("no control groups of version 2 are mounted")
}

/// Where a file system of this kind is mounted with such options; `None`: nowhere.
fn mounted(kind: &str, options: impl Fn(&str) -> bool) -> Result<Option<String>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    Ok(mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&kind) && fields.get(3).is_some_and(|it| options(it)))
        .and_then(|fields| fields.get(1).map(ToString::to_string)))
}
