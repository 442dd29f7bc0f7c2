//! Interpreters in the processes that are watched: where their lock lies, for the kernel side (`whyslow_abi::interpreter`).
//!
//! A process is looked at when it becomes known, and some times later, since an interpreter may be loaded, or take its
//! lock for the first time, after that. Forks have what their parents have: the kernel side sees to that.

mod python;

use std::{collections::HashMap, path::Path};

use aya::maps::{HashMap as KernelHash, MapData};
use python::Runtime;
use tracing::debug;
use whyslow_abi::interpreter::Interpreter;

use super::mapped::{self, FileId, Stamp};

/// Processes that wait for a look.
const PROCESSES: usize = 16_384;
/// Files remembered.
const FILES: usize = 8_192;
/// Between two rounds of looks.
const ROUND_NS: u64 = 100_000_000;
/// Between two looks for processes that are gone: long before a number is used anew.
const SWEEP_NS: u64 = 10_000_000_000;
/// Processes looked at in one round.
const LOOKS: usize = 16;
/// When a process is looked at again where its lock was not found, after it became known.
const AGAIN_NS: [u64; 4] = [500_000_000, 2_000_000_000, 10_000_000_000, 60_000_000_000];

/// As the map has it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Value(Interpreter);

// SAFETY: integers only.
unsafe impl aya::Pod for Value {}

/// A process that waits for a look.
#[derive(Debug)]
struct Process {
    next_ns: u64,
    looks: usize,
}

/// What was found, and who is looked at.
pub(super) struct Interpreters {
    map: KernelHash<MapData, u32, Value>,
    processes: HashMap<u32, Process>,
    files: HashMap<FileId, (Option<Stamp>, Option<Runtime>)>,
    round_ns: u64,
    /// When those that are gone are dropped.
    sweep_ns: u64,
}

impl Interpreters {
    /// None is known yet.
    pub(super) fn new(map: KernelHash<MapData, u32, Value>) -> Self {
        Self {
            map,
            processes: HashMap::new(),
            files: HashMap::new(),
            round_ns: 0,
            sweep_ns: 0,
        }
    }

    /// A process is watched, or will be when it serves.
    pub(super) fn watch(&mut self, pid: u32) {
        if self.processes.len() < PROCESSES {
            let new = Process {
                next_ns: 0,
                looks: 0,
            };
            self.processes.entry(pid).or_insert(new);
        }
    }

    /// A process has ended, or runs another program.
    pub(super) fn ended(&mut self, pid: u32) {
        self.processes.remove(&pid);
        // It may never have been there.
        let _ = self.map.remove(&pid);
    }

    /// Whether a futex of the process is the lock of its interpreter.
    pub(super) fn has_lock(&self, pid: u32, word: u64) -> bool {
        let known = self.map.get(&pid, 0);
        known.is_ok_and(|Value(it)| (it.start..it.end).contains(&word))
    }

    /// Looks at some processes.
    pub(super) fn look(&mut self, now_ns: u64) {
        if now_ns < self.round_ns {
            return;
        }
        self.round_ns = now_ns + ROUND_NS;
        if now_ns >= self.sweep_ns {
            self.sweep_ns = now_ns + SWEEP_NS;
            self.sweep();
        }
        let due = |(pid, process): (&u32, &Process)| (process.next_ns <= now_ns).then_some(*pid);
        let due: Vec<u32> = self.processes.iter().filter_map(due).take(LOOKS).collect();
        for pid in due {
            let found = self.find(pid);
            debug!(pid, ?found, "interpreter");
            if let Some(interpreter) = found
                && self.is_news(pid, &interpreter)
                && let Err(error) = self.map.insert(pid, Value(interpreter), 0)
            {
                debug!(pid, %error, "interpreter");
            }
            let settled = found.is_some_and(|found| found.last_holder != 0);
            let Some(process) = self.processes.get_mut(&pid) else {
                continue;
            };
            process.looks += 1;
            match AGAIN_NS.get(process.looks - 1) {
                Some(pause_ns) if !settled => process.next_ns = now_ns + pause_ns,
                // Never again.
                _ => process.next_ns = u64::MAX,
            }
        }
    }

    /// Forgets processes that are gone: not all of them are told.
    fn sweep(&mut self) {
        let gone = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
        let gone: Vec<u32> = self.processes.keys().copied().filter(gone).collect();
        for pid in gone {
            self.ended(pid);
        }
    }

    /// Whether it tells more than what is known: a fork inherits.
    fn is_news(&self, pid: u32, found: &Interpreter) -> bool {
        let known = self.map.get(&pid, 0);
        known.map_or(true, |Value(known)| {
            found.last_holder != 0 || known.start != found.start || known.end != found.end
        })
    }

    /// The interpreter of a process.
    fn find(&mut self, pid: u32) -> Option<Interpreter> {
        for file in mapped::files(pid)? {
            let stamp = file.stamp(pid);
            let known = self.files.get(&file.id).filter(|(of, _)| *of == stamp);
            let runtime = match known {
                Some((_, runtime)) => runtime.clone(),
                None => {
                    if self.files.len() >= FILES {
                        self.files.clear();
                    }
                    let runtime = python::runtime(&file.reach(pid), &file.path);
                    self.files.insert(file.id.clone(), (stamp, runtime.clone()));
                    runtime
                }
            };
            if let Some(runtime) = runtime {
                return runtime.within(pid, &file);
            }
        }
        None
    }
}
