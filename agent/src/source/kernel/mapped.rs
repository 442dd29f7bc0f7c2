//! Files that a process has mapped to execute from, by `/proc/PID/maps`.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use object::{SegmentFlags, elf};

/// A file on this host: device and inode as the kernel shows them for a mapping.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    device: String,
    inode: u64,
}

/// Which content a file has, as far as that is known without reading it: length, and when it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    bytes: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Stamp {
    /// Of the file at a path; `None`: it cannot be reached.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let of = fs::metadata(path).ok()?;
        Some(Self {
            bytes: of.size(),
            seconds: of.mtime(),
            nanoseconds: of.mtime_nsec(),
        })
    }
}

/// One file of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapped {
    pub(super) id: FileId,
    /// Addresses of the mapping, as `/proc/PID/map_files` writes them.
    range: String,
    /// Its first address.
    pub(super) start: u64,
    /// What of the file is there.
    pub(super) offset: u64,
    /// As the process sees it.
    pub(super) path: PathBuf,
}

impl Mapped {
    /// A path by which this file can be opened, whatever root the process has.
    pub(super) fn reach(&self, pid: u32) -> PathBuf {
        let exact = PathBuf::from(format!("/proc/{pid}/map_files/{}", self.range));
        if fs::metadata(&exact).is_ok() {
            return exact;
        }
        let path = self.path.strip_prefix("/").unwrap_or(&self.path);
        Path::new(&format!("/proc/{pid}/root")).join(path)
    }

    /// Its content now; `None`: it cannot be reached.
    pub(super) fn stamp(&self, pid: u32) -> Option<Stamp> {
        Stamp::of(&self.reach(pid))
    }
}

/// The files; `None`: the process is gone.
pub(super) fn files(pid: u32) -> Option<Vec<Mapped>> {
    let text = fs::read(format!("/proc/{pid}/maps")).ok()?;
    Some(parse(&String::from_utf8_lossy(&text)))
}

/// Whether a segment of an ELF file has code.
pub(super) fn is_code(flags: SegmentFlags) -> bool {
    matches!(flags, SegmentFlags::Elf { p_flags } if p_flags & elf::PF_X != 0)
}

/// Processes that a process has started and that still run.
pub(super) fn children(pid: u32) -> Vec<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_ascii_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}

fn parse(text: &str) -> Vec<Mapped> {
    let mut seen = HashSet::new();
    text.lines()
        .filter_map(line)
        .filter(|mapped| seen.insert(mapped.id.clone()))
        .collect()
}

/// `start-end perms offset device inode path`
fn line(line: &str) -> Option<Mapped> {
    let (range, rest) = line.split_once(' ')?;
    let (permissions, rest) = rest.split_once(' ')?;
    let (offset, rest) = rest.split_once(' ')?;
    let (device, rest) = rest.split_once(' ')?;
    let (inode, path) = rest.split_once(' ')?;
    let inode = inode.parse().ok()?;
    if inode == 0 || permissions.as_bytes().get(2) != Some(&b'x') {
        return None;
    }
    // Padded with zeros to eight digits here, and not at all in the names of `map_files`
    // (`show_vma_header_prefix` and `proc_map_files_readdir` in Linux 6.18, `fs/proc`).
    let (start, end) = range.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    Some(Mapped {
        id: FileId {
            device: device.to_owned(),
            inode,
        },
        range: format!("{start:x}-{end:x}"),
        start,
        offset: u64::from_str_radix(offset, 16).ok()?,
        path: PathBuf::from(path.trim_start()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_files_once_each() {
        let text = "\
55d0-55e0 r--p 00000000 fd:01 11                         /usr/bin/python3.11\n\
55e0-55f0 r-xp 00001000 fd:01 11                         /usr/bin/python3.11\n\
7f00-7f10 r-xp 00000000 fd:01 12                         /opt/with space/libssl-1.so.3\n\
7f10-7f20 r-xp 00010000 fd:01 12                         /opt/with space/libssl-1.so.3\n\
00400000-004a2000 r-xp 00000000 fd:01 13                 /srv/static\n\
7f20-7f30 rw-p 00000000 00:00 0 \n\
7f30-7f40 r-xp 00000000 00:00 0                          [vdso]\n\
garbage\n";
        let files = parse(text);
        let paths: Vec<_> = files.iter().map(|file| file.path.to_str()).collect();
        let expected = [
            "/usr/bin/python3.11",
            "/opt/with space/libssl-1.so.3",
            "/srv/static",
        ];
        assert_eq!(paths, expected.map(Some));
        let ranges: Vec<_> = files.iter().map(|file| file.range.as_str()).collect();
        assert_eq!(ranges, ["55e0-55f0", "7f00-7f10", "400000-4a2000"]);
    }

    #[test]
    fn this_process_is_read() {
        let files = files(std::process::id()).unwrap();
        let exe = fs::read_link("/proc/self/exe").unwrap();
        assert!(files.iter().any(|file| file.path == exe), "{files:?}");
        assert!(super::files(u32::MAX - 1).is_none());
    }
}
