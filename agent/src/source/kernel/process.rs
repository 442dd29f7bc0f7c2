//! Facts about processes, from `/proc`. A process may vanish at any moment: that is `None`.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use whyslow_engine::input::{MemoryFact, ProcessFact};

/// All process ids.
#[must_use]
pub(super) fn all() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// What the engine wants to know of a process.
#[must_use]
pub(super) fn fact(pid: u32) -> Option<ProcessFact> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything, parentheses too.
    let (head, tail) = stat.rsplit_once(')')?;
    let comm = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    Some(ProcessFact {
        comm,
        parent: fields.get(1)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
        cgroup: cgroup(pid).unwrap_or_default(),
    })
}

/// Control group path: the v2 line, else the first one.
fn cgroup(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let mut paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let unified = text.lines().find_map(|line| line.strip_prefix("0::"));
    unified
        .filter(|path| *path != "/")
        .or_else(|| paths.next())
        .map(str::to_owned)
}

/// What a descriptor of a process points to, as `/proc/PID/fd/N` shows it.
#[must_use]
pub(super) fn descriptor(pid: u32, fd: i32) -> Option<String> {
    let target = fs::read_link(descriptor_path(pid, fd)).ok()?;
    Some(target.to_string_lossy().into_owned())
}

/// Inode number of what a descriptor points to.
#[must_use]
pub(super) fn descriptor_inode(pid: u32, fd: i32) -> Option<u64> {
    fs::metadata(descriptor_path(pid, fd))
        .ok()
        .map(|data| data.ino())
}

fn descriptor_path(pid: u32, fd: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/fd/{fd}"))
}

/// Inode numbers of all sockets of a process.
#[must_use]
pub(super) fn sockets(pid: u32) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            target
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?
                .parse()
                .ok()
        })
        .collect()
}

/// Descriptors that an epoll instance of a process watches.
#[must_use]
pub(super) fn epoll_members(pid: u32, fd: i32) -> Vec<i32> {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")) else {
        return Vec::new();
    };
    text.lines()
        .filter_map(|line| {
            line.strip_prefix("tfd:")?
                .split_ascii_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .collect()
}

/// Reads memory of a process; fewer bytes than asked for are `None`. Never stops it.
#[must_use]
pub(super) fn memory(pid: u32, address: u64, into: &mut [u8]) -> Option<()> {
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let remote = libc::iovec {
        iov_base: std::ptr::with_exposed_provenance_mut(usize::try_from(address).ok()?),
        iov_len: into.len(),
    };
    // SAFETY: the local vector names a live buffer of its length; the remote one is only an
    // address in the other process, which the kernel checks.
    let read = unsafe {
        libc::process_vm_readv(
            i32::try_from(pid).ok()?,
            &raw const local,
            1,
            &raw const remote,
            1,
            0,
        )
    };
    (usize::try_from(read).ok()? == into.len()).then_some(())
}

/// How much memory a process has. The kernel walks its page tables for that.
#[must_use]
pub(super) fn memory_of(pid: u32) -> Option<MemoryFact> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let of = |name: &str| {
        let mut lines = text.lines();
        let figure = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kilobytes: u64 = figure.split_ascii_whitespace().next()?.parse().ok()?;
        Some(kilobytes.saturating_mul(1024))
    };
    Some(MemoryFact {
        at_ns: crate::host::monotonic_ns(),
        resident: of("Rss")?,
        proportional: of("Pss")?,
        shared: of("Shared_Clean")?.saturating_add(of("Shared_Dirty")?),
    })
}

/// A process and everything it started that still runs.
#[must_use]
pub(super) fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = all()
        .into_iter()
        .filter_map(|pid| Some((pid, fact(pid)?.parent)))
        .collect();
    let mut members = vec![root];
    let mut index = 0;
    while let Some(parent) = members.get(index).copied() {
        members.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
        index += 1;
    }
    members
}
