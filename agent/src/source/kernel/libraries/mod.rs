//! Probes on functions of the libraries that watched processes have mapped (`whyslow_abi::library`).
//!
//! A file is probed once, for all processes of the host that map it: those that are not watched pay for a
//! breakpoint and nothing more. It is left alone when no watched process maps it for a while. Looks at
//! `/proc` are few: a process is looked at when it becomes known, then ever more seldom, and when the engine
//! sees it encrypt. Links are owned by descriptors, so nothing outlives the agent.

mod mapped;
mod symbols;

use std::{collections::HashMap, path::Path, thread};

use aya::{
    Ebpf,
    programs::{
        UProbe,
        uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope},
    },
};
use mapped::{FileId, Mapped};
use symbols::Content;
use tracing::{info, warn};
use whyslow_abi::{
    catalogue::PROBES,
    library::{Function, Library},
};

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
}

/// What is probed, and who is looked at.
#[derive(Debug)]
pub(super) struct Libraries {
    /// Libraries whose programs are loaded.
    ready: Vec<Library>,
    processes: HashMap<u32, Process>,
    files: HashMap<FileId, Looked>,
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
            if !self.files.contains_key(&file.id) {
                let looked = self.probe(ebpf, pid, &file);
                self.files.insert(file.id.clone(), looked);
            }
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
            process.files = probed;
            process.next_ns = now_ns + process.pause_ns;
            process.pause_ns = (process.pause_ns * 2).min(LONGEST_PAUSE_NS);
        }
    }

    /// Probes the functions that a file has.
    fn probe(&mut self, ebpf: &mut Ebpf, pid: u32, file: &Mapped) -> Looked {
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
                return looked;
            }
        };
        if let Some(library) = without_symbols(&file.path, &content) {
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
                break;
            }
            match attach(ebpf, &reach, *library, &content) {
                Ok(links) => {
                    info!("functions of {} are probed in {path}", library.name());
                    looked.links.extend(links);
                }
                Err(error) => warn!("{path} cannot be probed: {error:#}"),
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
        // The kernel waits for each until no thread is within it: that is not for the engine's thread.
        // The kernel waits some 0.1 s for each until no thread is within it: not on the engine's thread.
        let detach = thread::Builder::new()
            .name("whyslow-detach".to_owned())
            .spawn(move || drop(left));
        if let Err(error) = detach {
            warn!("probes were detached late: {error}");
        }
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

/// Attaches all programs of a library to a file, those at returns first: a return that was not noted is let
/// pass, a noted call without its return is not.
fn attach(
    ebpf: &mut Ebpf,
    file: &Path,
    library: Library,
    content: &Content,
) -> anyhow::Result<Vec<UProbeLink>> {
    let mut links = Vec::new();
    for probe in PROBES {
        let Some((of, functions)) = probe.hook.library() else {
            continue;
        };
        if of != library {
            continue;
        }
        let program: &mut UProbe = super::load::program(ebpf, probe.name)?;
        for Function { symbol, number } in functions {
            let Some(offset) = content.functions.get(symbol) else {
                continue;
            };
            let point = UProbeAttachPoint {
                location: UProbeAttachLocation::AbsoluteOffset(*offset),
                cookie: Some(*number),
            };
            let link = program.attach(point, file, UProbeScope::AllProcesses)?;
            links.push(program.take_link(link)?);
        }
    }
    Ok(links)
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
