//! Processes that are watched, or were a moment ago.

use super::memory::Memory;
use crate::hash::FastMap;

/// Processes kept at the most.
pub(crate) const LIMIT: usize = 16_384;

/// One process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process {
    /// Name of the main thread, as far as known.
    pub(crate) comm: String,
    /// Parent process; 0: not known.
    pub(crate) parent: u32,
    /// `start_boottime`; 0: not known.
    pub(crate) start_ns: u64,
    /// Requests finished.
    pub(crate) served: u64,
    /// Threads in the thread table.
    pub(crate) threads: Vec<u32>,
    /// It was found by its first request.
    pub(crate) discovered: bool,
    /// It belongs to a server that watched processes ask.
    pub(crate) followed: bool,
    /// It uses io_uring: what that does is not seen.
    pub(crate) io_uring: bool,
    pub(crate) memory: Memory,
    /// Marks of its threads were asked for.
    pub(crate) tells_marks: bool,
    /// One of its threads has answered what another read.
    pub(crate) hands_over: bool,
    /// Its event loops beside which others work: thread ids.
    pub(crate) relays: Vec<u32>,
    /// Descriptors of epoll instances on which a thread stalled, and that thread; 0: several threads poll it.
    pub(crate) loops: Vec<(i32, u32)>,
    /// End, monotonic; 0: it lives.
    pub(crate) ended_ns: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    map: FastMap<u32, Process>,
}

impl Processes {
    pub(crate) fn get(&self, pid: u32) -> Option<&Process> {
        self.map.get(&pid)
    }

    pub(crate) fn get_mut(&mut self, pid: u32) -> Option<&mut Process> {
        self.map.get_mut(&pid)
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.map.len() >= LIMIT
    }

    /// Adds one that is not there yet.
    pub(crate) fn insert(&mut self, pid: u32, process: Process) {
        self.map.insert(pid, process);
    }

    /// Forgets a thread of a process; and the process with its last one.
    pub(crate) fn thread_gone(&mut self, pid: u32, tid: u32) {
        if let Some(process) = self.map.get_mut(&pid) {
            process.threads.retain(|t| *t != tid);
            if process.threads.is_empty() {
                self.map.remove(&pid);
            }
        }
    }

    /// Process ids of those that served a request, ascending.
    pub(crate) fn serving(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self
            .map
            .iter()
            .filter(|(_, p)| p.served > 0)
            .map(|(pid, _)| *pid)
            .collect();
        pids.sort_unstable();
        pids
    }
}
