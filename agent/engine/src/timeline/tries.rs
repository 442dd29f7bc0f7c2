//! Locks that are files: a thread tries to create one, finds that it exists, sleeps, and tries again.
//!
//! The sleep between two tries of one path was a wait for that lock. One try alone says nothing, and a directory that
//! exists is often as good as one that was created: sleeps between tries for one count only where it was created in
//! the end.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    hash::mix,
    output::{Holder, RequestStarted},
    recent::Recent,
};

/// Paths that a thread tries at the same time.
const OPEN: usize = 4;
/// Waits kept of a thread, until its request ends.
const DONE: usize = 8;
/// Paths whose creators are kept.
const PATHS: usize = 2_048;
/// Creators kept of each.
const CREATORS: usize = 8;

/// A thread's figures at a try.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Try<'a> {
    pub(crate) path: &'a str,
    pub(crate) time_ns: u64,
    /// It exists.
    pub(crate) exists: bool,
    pub(crate) directory: bool,
    /// Slept so far.
    pub(crate) sleep_ns: u64,
    pub(crate) sleep_count: u32,
}

/// A wait for a lock that is a file.
#[derive(Clone, Debug)]
pub(crate) struct FileWait {
    pub(crate) path: String,
    /// First try.
    pub(crate) start_ns: u64,
    /// Last try.
    pub(crate) end_ns: u64,
    /// Slept between tries.
    pub(crate) slept_ns: u64,
    pub(crate) sleeps: u32,
    pub(crate) holder: Option<Holder>,
    directory: bool,
    at_ns: u64,
    at_count: u32,
}

/// What a thread tries and has tried since its request began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tries {
    open: Vec<FileWait>,
    done: VecDeque<FileWait>,
    /// Sleep up to here is counted.
    counted_ns: u64,
}

/// What a try was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    /// Nothing is known from it.
    Once,
    /// It was tried again, and exists. How often after a sleep: once, twice ...
    Again(u32),
    /// It was waited for, and is created now.
    Done,
}

impl Tries {
    pub(crate) fn note(&mut self, it: Try<'_>) -> Tried {
        let Some(place) = self.open.iter().position(|open| open.path == it.path) else {
            if it.exists {
                self.begin(it);
            }
            return Tried::Once;
        };
        let open = &mut self.open[place];
        // Sleep between two tries of another path, which lay between these two, is counted there.
        let from = open.at_ns.max(self.counted_ns);
        if it.sleep_ns > from {
            open.slept_ns = open.slept_ns.saturating_add(it.sleep_ns - from);
            open.sleeps += it.sleep_count.wrapping_sub(open.at_count).max(1);
            self.counted_ns = it.sleep_ns;
        }
        (open.end_ns, open.at_ns, open.at_count) = (it.time_ns, it.sleep_ns, it.sleep_count);
        if it.exists {
            return Tried::Again(open.sleeps);
        }
        let done = self.open.swap_remove(place);
        if done.slept_ns == 0 {
            return Tried::Once;
        }
        if self.done.len() == DONE {
            self.done.pop_front();
        }
        self.done.push_back(done);
        Tried::Done
    }

    fn begin(&mut self, it: Try<'_>) {
        if self.open.len() == OPEN {
            self.open.remove(0);
        }
        self.open.push(FileWait {
            path: it.path.to_owned(),
            start_ns: it.time_ns,
            end_ns: it.time_ns,
            slept_ns: 0,
            sleeps: 0,
            holder: None,
            directory: it.directory,
            at_ns: it.sleep_ns,
            at_count: it.sleep_count,
        });
    }

    /// The wait for a path that was told last.
    pub(crate) fn of_mut(&mut self, path: &str) -> Option<&mut FileWait> {
        let done = self.done.iter_mut().rev();
        let mut all = self.open.iter_mut().chain(done);
        all.find(|it| it.path == path)
    }

    /// The waits of a request; the others are forgotten.
    pub(crate) fn take(&mut self, begin_ns: u64, end_ns: u64) -> Vec<FileWait> {
        let open = std::mem::take(&mut self.open).into_iter();
        // Who gives up has waited too.
        let open = open.filter(|it| !it.directory && it.slept_ns > 0);
        let all = std::mem::take(&mut self.done).into_iter().chain(open);
        let within = |it: &FileWait| it.start_ns >= begin_ns && it.end_ns <= end_ns;
        all.filter(within).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.done.is_empty()
    }
}

/// Who created a path, and when.
#[derive(Clone, Debug)]
pub(crate) struct Creation {
    pub(crate) time_ns: u64,
    /// When it was seen to be removed; `None`: it was not.
    pub(crate) until_ns: Option<u64>,
    pub(crate) pid: u32,
    /// Process that started it: those that it started share their folders.
    pub(crate) parent: u32,
    pub(crate) tid: u32,
    pub(crate) comm: String,
    pub(crate) request: Option<Arc<RequestStarted>>,
}

/// Paths and who created them.
#[derive(Debug)]
pub(crate) struct Creators {
    paths: Recent<(String, VecDeque<Creation>)>,
}

impl Default for Creators {
    fn default() -> Self {
        Self {
            paths: Recent::new(PATHS),
        }
    }
}

fn id(path: &str) -> u64 {
    path.bytes().fold(0, |id, byte| mix(id ^ u64::from(byte)))
}

impl Creators {
    pub(crate) fn add(&mut self, path: &str, creation: Creation) {
        let (entry, _) = self.paths.entry(id(path), Default::default);
        if entry.0 != path {
            *entry = (path.to_owned(), VecDeque::new());
        }
        if entry.1.len() == CREATORS {
            entry.1.pop_front();
        }
        entry.1.push_back(creation);
    }

    /// A process has removed the path.
    pub(crate) fn removed(&mut self, path: &str, pid: u32, time_ns: u64) {
        let entry = self.paths.known(id(path)).filter(|it| it.0 == path);
        let last = entry.and_then(|it| it.1.iter_mut().rfind(|it| it.pid == pid));
        if let Some(last) = last {
            last.until_ns.get_or_insert(time_ns);
        }
    }

    /// Who created the path for most of a wait by that process, up to `end_ns`, and how long that was there. A relative
    /// path is one of the process itself; an absolute one may mean another file in another container.
    pub(crate) fn most(
        &self,
        path: &str,
        (pid, parent): (u32, u32),
        (start_ns, end_ns): (u64, u64),
    ) -> Option<(&Creation, u64)> {
        let (known, list) = self.paths.get(id(path))?;
        let near = |it: &&Creation| {
            let family = path.starts_with('/') && parent > 1 && it.parent == parent;
            it.pid == pid || family
        };
        let list: Vec<&Creation> = list.iter().filter(near).collect();
        let ends = list.iter().skip(1).map(|it| it.time_ns);
        let ends = ends.chain(std::iter::once(end_ns));
        let held = list.iter().zip(ends).map(|(it, next)| {
            let end = it.until_ns.unwrap_or(next).min(next);
            let ns = end.min(end_ns).saturating_sub(it.time_ns.max(start_ns));
            (*it, ns)
        });
        held.filter(|(it, ns)| known == path && it.time_ns < end_ns && *ns > 0)
            .max_by_key(|(_, ns)| *ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn tried(path: &str, at_ms: u64, exists: bool, slept_ms: u64) -> Try<'_> {
        Try {
            path,
            time_ns: at_ms * MS,
            exists,
            directory: false,
            sleep_ns: slept_ms * MS,
            sleep_count: slept_ms as u32 / 10,
        }
    }

    #[test]
    fn sleeps_between_tries_of_one_path_are_a_wait() {
        let mut tries = Tries::default();
        assert_eq!(tries.note(tried("/l", 100, true, 0)), Tried::Once);
        assert_eq!(tries.note(tried("/l", 110, true, 10)), Tried::Again(1));
        assert_eq!(tries.note(tried("/l", 120, true, 20)), Tried::Again(2));
        assert_eq!(tries.note(tried("/l", 130, false, 30)), Tried::Done);
        let waits = tries.take(0, u64::MAX);
        let [wait] = &waits[..] else {
            panic!("{waits:?}")
        };
        assert_eq!((wait.slept_ns, wait.sleeps), (30 * MS, 3));
        assert_eq!((wait.start_ns, wait.end_ns), (100 * MS, 130 * MS));
        assert!(tries.is_empty());
    }

    #[test]
    fn one_try_and_a_sleep_are_none() {
        let mut tries = Tries::default();
        tries.note(tried("/d", 100, true, 0));
        tries.note(tried("/e", 200, true, 90));
        assert_eq!(tries.note(tried("/f", 300, false, 180)), Tried::Once);
        assert!(tries.take(0, u64::MAX).is_empty());
    }

    #[test]
    fn a_directory_that_may_exist_is_no_lock() {
        let mut tries = Tries::default();
        for n in 0..3 {
            tries.note(Try {
                directory: true,
                ..tried("/d", 100 * n, true, 90 * n)
            });
        }
        assert!(tries.clone().take(0, u64::MAX).is_empty());
        tries.note(Try {
            directory: true,
            ..tried("/d", 300, false, 270)
        });
        assert_eq!(tries.take(0, u64::MAX).len(), 1);
    }

    #[test]
    fn who_gives_up_has_waited_and_no_sleep_counts_twice() {
        let mut tries = Tries::default();
        tries.note(tried("/a", 100, true, 0));
        tries.note(tried("/b", 101, true, 0));
        tries.note(tried("/a", 111, true, 10));
        tries.note(tried("/b", 112, true, 10));
        let waits = tries.take(0, u64::MAX);
        let slept: u64 = waits.iter().map(|it| it.slept_ns).sum();
        assert_eq!((waits.len(), slept), (1, 10 * MS));
    }

    #[test]
    fn waits_of_other_requests_are_forgotten() {
        let mut tries = Tries::default();
        tries.note(tried("/a", 100, true, 0));
        tries.note(tried("/a", 110, false, 10));
        assert!(tries.clone().take(101 * MS, u64::MAX).is_empty());
        assert!(tries.clone().take(0, 109 * MS).is_empty());
        for n in 0..100 {
            let path = format!("/{n}");
            tries.note(tried(&path, 200, true, 0));
            tries.note(tried(&path, 210, true, 10 * (n + 1)));
            tries.note(tried(&path, 210, false, 10 * (n + 1)));
        }
        assert!(tries.open.len() <= OPEN && tries.done.len() <= DONE);
    }

    #[test]
    fn creators_of_a_path() {
        let mut creators = Creators::default();
        let creation = |tid, at_ms| Creation {
            time_ns: at_ms * MS,
            until_ns: None,
            pid: 7,
            parent: 6,
            tid,
            comm: String::new(),
            request: None,
        };
        creators.add("/l", creation(1, 0));
        creators.add("/l", creation(2, 150));
        creators.add("/l", creation(3, 190));
        let most = |path, who| {
            let found = creators.most(path, who, (100 * MS, 190 * MS));
            found.map(|(it, ns)| (it.tid, ns / MS))
        };
        assert_eq!(most("/l", (7, 6)), Some((1, 50)));
        assert_eq!(most("/l", (8, 6)), Some((1, 50)), "of one family");
        assert_eq!(most("/l", (8, 5)), None, "perhaps another container");
        assert_eq!(most("/m", (7, 6)), None);
        let mut creators = Creators::default();
        creators.add("/l", creation(1, 0));
        creators.removed("/l", 7, 120 * MS);
        let most = |from| creators.most("/l", (7, 6), (from * MS, 190 * MS));
        assert_eq!(most(100).map(|(_, ns)| ns / MS), Some(20));
        assert!(most(130).is_none(), "whose it is now is not known");
    }
}
