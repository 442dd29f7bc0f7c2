//! Probes on functions of the libraries that watched processes have mapped (`whyslow_abi::library`).
//!
//! A file is probed once, for all processes of the host that map it: those that are not watched pay for a
//! breakpoint and nothing more. It is left alone when no watched process maps it for a while. Looks at
//! `/proc` are few: a process is looked at when it becomes known, then ever more seldom, and when the engine
//! sees it encrypt. Links are owned by descriptors, so nothing outlives the agent.
//!
//! Returns are probed where functions end, never by the kernel's return probes: those write to the stack of the call,
//! and a thread that changes stacks within it is killed.

mod attach;
mod returns;
mod symbols;

use std::{collections::HashMap, path::Path, thread};

use attach::attach;
use aya::{Ebpf, programs::uprobe::UProbeLink};
use symbols::Content;
use tracing::{info, warn};
use whyslow_abi::library::Library;

use super::mapped::{self, FileId, Mapped, Stamp};

/// Processes that are looked at.
const PROCESSES: usize = 16_384;
/// Files remembered, probed or not.
const FILES: usize = 8_192;
/// Files probed at once: each takes some 20 descriptors.
const PROBED: usize = 16;
/// Between two rounds of looks.
const ROUND_NS: u64 = 100_000_000;
/// Processes looked at in one round.
const LOOKS: usize = 16;
/// Between the first look at a process and the second; then twice that, up to the longest pause.
const FIRST_PAUSE_NS: u64 = 200_000_000;
/// See `FIRST_PAUSE_NS`.
const LONGEST_PAUSE_NS: u64 = 30_000_000_000;
/// Until a file that could not be probed is tried again; then twice that.
const RETRY_NS: u64 = 10_000_000_000;
/// Times that a file is tried.
const TRIES: u32 = 4;
/// A file that nobody maps any more is probed for so long: servers replace their workers.
const GRACE_NS: u64 = 60_000_000_000;

/// A process.
#[derive(Debug)]
struct Process {
    next_ns: u64,
    pause_ns: u64,
    /// Probed files that it has mapped.
    files: Vec<FileId>,
}

/// A file that was looked at.
#[derive(Debug, Default)]
struct Looked {
    /// Empty: nothing in it is probed.
    links: Vec<UProbeLink>,
    /// When somebody had it mapped last.
    used_ns: u64,
    /// Its content then.
    stamp: Option<Stamp>,
    /// When all of its probes were there.
    since_ns: u64,
    /// Times that it could not be probed.
    failed: u32,
    /// When it was tried last.
    tried_ns: u64,
}

impl Looked {
    /// Whether it has to be looked at anew.
    fn is_void(&self, stamp: Option<Stamp>, now_ns: u64) -> bool {
        self.is_other(stamp)
            || (1..TRIES).contains(&self.failed)
                && now_ns >= self.tried_ns + (RETRY_NS << (self.failed - 1))
    }

    /// Whether the file has another content now: probes would be at wrong places.
    fn is_other(&self, stamp: Option<Stamp>) -> bool {
        stamp.is_some() && stamp != self.stamp
    }
}

/// All calls of a library by a process are seen from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probed {
    pub(super) pid: u32,
    pub(super) since_ns: u64,
}

/// What is probed, and who is looked at.
#[derive(Debug)]
pub(super) struct Libraries {
    /// Libraries whose programs are loaded.
    ready: Vec<Library>,
    processes: HashMap<u32, Process>,
    files: HashMap<FileId, Looked>,
    /// Not told yet.
    probed: Vec<Probed>,
    round_ns: u64,
    full_told: bool,
}

impl Libraries {
    /// Nothing is probed yet. `ready`: libraries whose programs are loaded; none of them: nothing ever is.
    pub(super) fn new(ready: Vec<Library>) -> Self {
        Self {
            ready,
            processes: HashMap::new(),
            files: HashMap::new(),
            probed: Vec::new(),
            round_ns: 0,
            full_told: false,
        }
    }

    /// A process is watched, or will be when it serves.
    pub(super) fn watch(&mut self, pid: u32) {
        if self.ready.is_empty() || self.processes.len() >= PROCESSES {
            return;
        }
        self.processes.entry(pid).or_insert(Process {
            next_ns: 0,
            pause_ns: FIRST_PAUSE_NS,
            files: Vec::new(),
        });
    }

    /// A process may have mapped another library: it is looked at in the next round. Asked more often than
    /// the pause of a process lasts, this does nothing.
    pub(super) fn hurry(&mut self, pid: u32) {
        if let Some(process) = self.processes.get_mut(&pid)
            && process.pause_ns > FIRST_PAUSE_NS
        {
            process.next_ns = 0;
            process.pause_ns = FIRST_PAUSE_NS;
        }
    }

    /// A process has ended, or runs another program.
    pub(super) fn ended(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    /// Processes that have come to map a probed file, each once for each file.
    pub(super) fn take_probed(&mut self) -> Vec<Probed> {
        std::mem::take(&mut self.probed)
    }

    /// Looks at processes whose time has come, and probes what they have mapped.
    pub(super) fn look(&mut self, ebpf: &mut Ebpf, now_ns: u64) {
        if self.ready.is_empty() || now_ns < self.round_ns {
            return;
        }
        self.round_ns = now_ns + ROUND_NS;
        let mut due: Vec<(u64, u32)> = self
            .processes
            .iter()
            .filter(|(_, process)| process.next_ns <= now_ns)
            .map(|(pid, process)| (process.next_ns, *pid))
            .collect();
        due.sort_unstable();
        for (_, pid) in due.into_iter().take(LOOKS) {
            self.look_at(ebpf, pid, now_ns);
        }
        self.leave_unused(now_ns);
    }

    fn look_at(&mut self, ebpf: &mut Ebpf, pid: u32, now_ns: u64) {
        let Some(files) = mapped::files(pid) else {
            self.processes.remove(&pid);
            return;
        };
        let mut probed = Vec::new();
        for file in files {
            if self.files.len() >= FILES && !self.files.contains_key(&file.id) {
                self.files.retain(|_, looked| !looked.links.is_empty());
            }
            self.renew(ebpf, pid, &file, now_ns);
            if let Some(looked) = self.files.get_mut(&file.id)
                && !looked.links.is_empty()
            {
                looked.used_ns = now_ns;
                probed.push(file.id);
            }
        }
        // It will serve when its parent does.
        for child in mapped::children(pid) {
            self.watch(child);
        }
        if let Some(process) = self.processes.get_mut(&pid) {
            let new = probed.iter().filter(|id| !process.files.contains(id));
            let since = new.filter_map(|id| self.files.get(id)).map(|of| Probed {
                pid,
                since_ns: of.since_ns,
            });
            self.probed.extend(since);
            process.files = probed;
            process.next_ns = now_ns + process.pause_ns;
            process.pause_ns = (process.pause_ns * 2).min(LONGEST_PAUSE_NS);
        }
    }

    /// Probes a file that is not known yet, has another content, or failed a while ago.
    fn renew(&mut self, ebpf: &mut Ebpf, pid: u32, file: &Mapped, now_ns: u64) {
        let stamp = file.stamp(pid);
        let mut failed = 0;
        if let Some(known) = self.files.get(&file.id) {
            if !known.is_void(stamp, now_ns) {
                return;
            }
            failed = if known.is_other(stamp) {
                0
            } else {
                known.failed
            };
        }
        if let Some(known) = self.files.remove(&file.id) {
            for process in self.processes.values_mut() {
                process.files.retain(|id| *id != file.id);
            }
            detach(known.links);
        }
        let mut looked = self.probe(ebpf, pid, file, failed);
        looked.stamp = stamp;
        looked.tried_ns = now_ns;
        looked.since_ns = crate::host::monotonic_ns();
        self.files.insert(file.id.clone(), looked);
    }

    /// Probes the functions that a file has. `failed`: times that it could not be.
    fn probe(&mut self, ebpf: &mut Ebpf, pid: u32, file: &Mapped, failed: u32) -> Looked {
        let mut looked = Looked::default();
        let reach = file.reach(pid);
        let path = file.path.display();
        let content = std::fs::File::open(&reach)
            .map_err(anyhow::Error::from)
            .and_then(|file| symbols::content(&file));
        let content = match content {
            Ok(content) => content,
            Err(error) => {
                tracing::debug!("functions of {path} are not known: {error:#}");
                looked.failed = failed + 1;
                return looked;
            }
        };
        if let Some(library) = without_symbols(&file.path, &content)
            && failed == 0
        {
            warn!(
                "{path} has no symbols of {}: what is asked through it is not told",
                library.name()
            );
        }
        for library in self.ready.iter().filter(|library| content.has(**library)) {
            let probed = self.files.values().filter(|file| !file.links.is_empty());
            if probed.count() >= PROBED {
                if !std::mem::replace(&mut self.full_told, true) {
                    warn!("{PROBED} libraries are probed: {path} and others are not");
                }
                looked.failed = failed + 1;
                break;
            }
            match attach(ebpf, &reach, *library, &content) {
                Ok(links) => {
                    info!("functions of {} are probed in {path}", library.name());
                    looked.links.extend(links);
                }
                Err(error) => {
                    looked.failed = failed + 1;
                    if failed == 0 {
                        warn!("{path} cannot be probed: {error:#}");
                    }
                }
            }
        }
        looked
    }

    /// Lets go of files that no process has mapped for a while.
    fn leave_unused(&mut self, now_ns: u64) {
        let mut left = Vec::new();
        for (id, looked) in &mut self.files {
            if looked.links.is_empty() || now_ns < looked.used_ns + GRACE_NS {
                continue;
            }
            if self
                .processes
                .values()
                .any(|process| process.files.contains(id))
            {
                looked.used_ns = now_ns;
            } else {
                left.push((id.clone(), std::mem::take(&mut looked.links)));
            }
        }
        if left.is_empty() {
            return;
        }
        for (id, _) in &left {
            self.files.remove(id);
        }
        detach(left);
    }
}

/// Takes probes away. The kernel waits some 0.1 s for each until no thread is within it: not on the engine's thread.
fn detach<T: Send + 'static>(links: T) {
    let detached = thread::Builder::new()
        .name("whyslow-detach".to_owned())
        .spawn(move || drop(links));
    if let Err(error) = detached {
        warn!("probes were detached late: {error}");
    }
}

/// A library that the name of a file says is in it, while its symbols do not.
fn without_symbols(path: &Path, content: &Content) -> Option<Library> {
    let name = path.file_name()?.to_str()?;
    let library = if name.contains("sqlite") {
        Library::Sqlite
    } else if name.starts_with("libssl") {
        Library::OpenSsl
    } else {
        return None;
    };
    (!content.has(library) && !content.imports.contains(&library)).then_some(library)
}

/// Which libraries of these processes can be probed, for people.
pub(super) fn survey(pids: &[u32]) -> Vec<String> {
    let mut files: HashMap<FileId, String> = HashMap::new();
    for pid in pids {
        for file in mapped::files(*pid).unwrap_or_default() {
            files.entry(file.id.clone()).or_insert_with(|| {
                let content = std::fs::File::open(file.reach(*pid))
                    .map_err(anyhow::Error::from)
                    .and_then(|file| symbols::content(&file))
                    .unwrap_or_default();
                let path = file.path.display();
                if let Some((symbol, error)) = content.unknown_end() {
                    return format!("not {path} (where {symbol} returns: {error})");
                }
                match Library::ALL.iter().find(|library| content.has(**library)) {
                    Some(library) => format!("{path} ({})", library.name()),
                    None => match without_symbols(&file.path, &content) {
                        Some(library) => format!("not {path} (no symbols of {})", library.name()),
                        None => String::new(),
                    },
                }
            });
        }
    }
    let mut found: Vec<String> = files
        .into_values()
        .filter(|text| !text.is_empty())
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_promise_symbols() {
        let none = Content::default();
        let imports = Content {
            imports: vec![Library::Sqlite, Library::OpenSsl],
            ..Content::default()
        };
        for (path, expected) in [
            (
                "/x/_sqlite3.cpython-311-x86_64-linux-gnu.so",
                Some(Library::Sqlite),
            ),
            ("/x/libsqlite3.so.0", Some(Library::Sqlite)),
            ("/x/libssl-3e69114b.so.1.1", Some(Library::OpenSsl)),
            ("/x/libcrypto.so.3", None),
            ("/x/_ssl.cpython-311.so", None),
        ] {
            assert_eq!(without_symbols(Path::new(path), &none), expected, "{path}");
            assert_eq!(without_symbols(Path::new(path), &imports), None);
        }
    }

    #[test]
    fn a_file_is_looked_at_anew() {
        let file = |text: &str| {
            let path = std::env::temp_dir().join(format!("whyslow-stamp-{}", std::process::id()));
            std::fs::write(&path, text).unwrap();
            let stamp = Stamp::of(&path);
            std::fs::remove_file(&path).unwrap();
            stamp
        };
        let (stamp, other) = (file("one"), file("other"));
        let mut looked = Looked {
            stamp,
            ..Looked::default()
        };
        assert!(!looked.is_void(stamp, u64::MAX / 2));
        assert!(looked.is_void(other, 0), "another content");
        assert!(!looked.is_void(None, u64::MAX / 2), "its process is gone");
        looked.failed = 1;
        assert!(!looked.is_void(stamp, RETRY_NS - 1));
        assert!(looked.is_void(stamp, RETRY_NS));
        looked.failed = 2;
        assert!(!looked.is_void(stamp, RETRY_NS));
        assert!(looked.is_void(stamp, 2 * RETRY_NS));
        looked.failed = TRIES;
        assert!(!looked.is_void(stamp, u64::MAX / 2), "it is given up");
    }

    #[test]
    fn processes_are_bounded_and_a_hurry_is_rare() {
        let mut off = Libraries::new(Vec::new());
        off.watch(1);
        assert!(off.processes.is_empty());
        let mut libraries = Libraries::new(vec![Library::Sqlite]);
        for pid in 0..2 * PROCESSES {
            libraries.watch(u32::try_from(pid).unwrap());
        }
        assert_eq!(libraries.processes.len(), PROCESSES);
        let process = libraries.processes.get_mut(&7).unwrap();
        (process.next_ns, process.pause_ns) = (9, FIRST_PAUSE_NS);
        libraries.hurry(7);
        assert_eq!(libraries.processes[&7].next_ns, 9);
        libraries.processes.get_mut(&7).unwrap().pause_ns = LONGEST_PAUSE_NS;
        libraries.hurry(7);
        assert_eq!(libraries.processes[&7].next_ns, 0);
        libraries.ended(7);
        assert!(!libraries.processes.contains_key(&7));
    }
}
