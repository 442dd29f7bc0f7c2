//! Who has a lock file: the process that it names, else one that has it open.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use whyslow_engine::input::LockFileFact;

use super::process;

/// All processes of the host are looked through at most so often.
const PAUSE: Duration = Duration::from_millis(20);
/// After a search, so many times as long as it took passes until the next: a search costs time on large hosts.
const REST: u32 = 30;

/// Looks for holders of lock files.
#[derive(Debug, Default)]
pub(super) struct LockFiles {
    /// No search before then.
    rests_until: Option<Instant>,
    /// Whom the last one found.
    last: Option<u32>,
}

impl LockFiles {
    /// Who has the file of that path, as the process sees it; `None`: not known.
    pub(super) fn holder(&mut self, pid: u32, path: &str) -> Option<LockFileFact> {
        let path = seen_from(pid, path);
        let owner = match fs::read_link(&path) {
            Ok(target) => named(&target.to_string_lossy())?,
            Err(_) => self.opened(pid, &path)?,
        };
        let comm = process::fact(owner)?.comm;
        Some(LockFileFact { pid: owner, comm })
    }

    /// Another process that has the file open.
    fn opened(&mut self, pid: u32, path: &Path) -> Option<u32> {
        let wanted = fs::symlink_metadata(path)
            .ok()
            .filter(fs::Metadata::is_file)?;
        let wanted = (wanted.dev(), wanted.ino());
        let others = |it: &u32| *it != pid && has_open(*it, wanted);
        if let Some(again) = self.last.filter(others) {
            return Some(again);
        }
        let begun = Instant::now();
        if self.rests_until.is_some_and(|until| begun < until) {
            return None;
        }
        self.last = process::all().into_iter().find(others);
        self.rests_until = Some(Instant::now() + PAUSE.max(begun.elapsed() * REST));
        self.last
    }
}

/// Whether a process has a file open, by device and inode number.
fn has_open(pid: u32, wanted: (u64, u64)) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd"));
    open.into_iter().flatten().flatten().any(|entry| {
        let found = fs::metadata(entry.path());
        found.is_ok_and(|it| (it.dev(), it.ino()) == wanted)
    })
}

/// The path in the process's own root and directory.
fn seen_from(pid: u32, path: &str) -> PathBuf {
    match path.strip_prefix('/') {
        Some(rest) => PathBuf::from(format!("/proc/{pid}/root")).join(rest),
        None => PathBuf::from(format!("/proc/{pid}/cwd")).join(path),
    }
}

/// The process that a link names: Mercurial's lead to `host:pid` or `host/namespace:pid`.
fn named(target: &str) -> Option<u32> {
    let (host, pid) = target.rsplit_once(':')?;
    let own = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let host = host.split('/').next().unwrap_or_default();
    (host == own.trim_end()).then(|| pid.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_name_a_process_of_this_host() {
        let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let own = own.trim_end();
        assert_eq!(named(&format!("{own}:42")), Some(42));
        assert_eq!(named(&format!("{own}/4026531836:42")), Some(42));
        assert_eq!(named("elsewhere.example:42"), None);
        assert_eq!(named(own), None);
        assert_eq!(named(&format!("{own}:x")), None);
    }

    #[test]
    fn who_has_a_file_open_is_found() {
        let dir = crate::testing::TempDir::new();
        let path = dir.path().join("index.lock");
        let _open = fs::File::create(&path).unwrap();
        let own = std::process::id();
        let mut files = LockFiles::default();
        assert_eq!(files.opened(1, &path), Some(own));
        assert_eq!(files.opened(1, &path), Some(own), "again at once");
        drop(fs::remove_file(&path));
        drop(fs::File::create(&path));
        assert_eq!(files.opened(1, &path), None, "no search at once");
        let mut files = LockFiles::default();
        assert_eq!(files.opened(own, &path), None, "who asks");
    }
}
