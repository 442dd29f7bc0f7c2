//! Listening sockets of processes that serve: how long their queues are, and how long connections wait in them.
//!
//! What connections waited is counted from requests; how long a queue is now, and how often one overflowed, the outside is
//! asked, once in a while and when somebody looks. Bounded: of more listeners than there is room for nothing is told.

use crate::{
    attribution::queue::Queue,
    hash::FastMap,
    input::ListenersFact,
    output::Listener,
    pipeline::ListenersView,
    routes::{
        histogram::Histogram,
        window::{self, FINE_NS, Span, Window},
    },
};

/// Between two looks of the outside while nobody asks, ns: the kernel goes through all its connections for one.
const LOOK_NS: u64 = 30_000_000_000;
/// Listeners kept.
const LIMIT: usize = 256;
/// Processes whose listeners are known, at the most.
const PROCESSES: usize = 4_096;
/// Connections of a process that wait until its listeners are known, at the most.
const WAITING: usize = 64;
/// A listener that was not found for so long is forgotten.
const GONE_NS: u64 = 60_000_000_000;

/// Figures of one slot, or of several added up.
#[derive(Debug, Default)]
struct Figures {
    accepted: u64,
    queued: Histogram,
    queued_max_ns: u64,
    max_length: u32,
    overflows: u64,
    drops: u64,
}

impl window::Figures for Figures {
    fn merge(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.queued.merge(&other.queued);
        self.queued_max_ns = self.queued_max_ns.max(other.queued_max_ns);
        self.max_length = self.max_length.max(other.max_length);
        self.overflows = self.overflows.saturating_add(other.overflows);
        self.drops = self.drops.saturating_add(other.drops);
    }
}

impl Figures {
    /// A connection was accepted.
    fn add(&mut self, queue: &Queue) {
        self.accepted += 1;
        self.max_length = self.max_length.max(queue.queued);
        if let Some(ns) = queue.accept_queue_ns
            && queue.unknown.is_empty()
        {
            self.queued.add(ns);
            self.queued_max_ns = self.queued_max_ns.max(ns);
        }
    }
}

#[derive(Debug)]
struct Entry {
    address: String,
    /// The process that took a connection last.
    pid: u32,
    length: u32,
    /// 0: not known.
    limit: u32,
    /// Counts of its network namespace when they were read last: overflows, drops.
    counted: (u64, u64),
    seen_ns: u64,
    window: Window<Figures>,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Listeners {
    start_ns: u64,
    /// By inode number.
    entries: FastMap<u64, Entry>,
    /// Port and inode number of each listener of a process.
    processes: FastMap<u32, Vec<(u16, u64)>>,
    /// Ports and times of connections whose listener is not known yet.
    waiting: FastMap<u32, Vec<(u16, Queue)>>,
    asked_ns: u64,
    looked_ns: u64,
}

impl Listeners {
    pub(crate) fn new(start_ns: u64) -> Self {
        Self {
            start_ns,
            entries: FastMap::default(),
            processes: FastMap::default(),
            waiting: FastMap::default(),
            asked_ns: 0,
            looked_ns: 0,
        }
    }

    /// The first request of a connection to `port` was read. Returns whether the listeners of the process have to be
    /// asked for.
    pub(crate) fn accepted(&mut self, pid: u32, port: u16, queue: &Queue, now_ns: u64) -> bool {
        if let Some(known) = self.processes.get(&pid) {
            if let Some(entry) = find(known, port).and_then(|inode| self.entries.get_mut(&inode)) {
                entry.take(pid, queue, now_ns);
            }
            return false;
        }
        if !self.waiting.contains_key(&pid) && self.waiting.len() >= WAITING {
            return false;
        }
        let waiting = self.waiting.entry(pid).or_default();
        if waiting.len() < WAITING {
            waiting.push((port, *queue));
        }
        waiting.len() == 1
    }

    /// What the outside found of a process; `None`: it is gone.
    pub(crate) fn found(&mut self, pid: u32, fact: Option<&ListenersFact>, now_ns: u64) {
        let waiting = self.waiting.remove(&pid).unwrap_or_default();
        let Some(fact) = fact else {
            self.ended(pid);
            return;
        };
        let mut known = Vec::new();
        for listener in &fact.listeners {
            if !self.entries.contains_key(&listener.inode) && self.entries.len() >= LIMIT {
                continue;
            }
            known.push((listener.port, listener.inode));
            let counted = (fact.overflows, fact.drops);
            let entry = self.entries.entry(listener.inode).or_insert_with(|| Entry {
                address: listener.address.clone(),
                pid,
                length: 0,
                limit: 0,
                counted,
                seen_ns: now_ns,
                window: Window::default(),
            });
            entry.seen_ns = now_ns;
            entry.length = listener.length;
            let figures = entry.window.at(now_ns);
            figures.max_length = figures.max_length.max(listener.length);
            figures.overflows += counted.0.saturating_sub(entry.counted.0);
            figures.drops += counted.1.saturating_sub(entry.counted.1);
            entry.counted = counted;
        }
        if self.processes.len() >= PROCESSES {
            self.processes.clear();
        }
        for (port, queue) in waiting {
            if let Some(entry) = find(&known, port).and_then(|inode| self.entries.get_mut(&inode)) {
                entry.take(pid, &queue, now_ns);
            }
        }
        self.processes.insert(pid, known);
    }

    /// A process ended.
    pub(crate) fn ended(&mut self, pid: u32) {
        self.waiting.remove(&pid);
        let Some(known) = self.processes.remove(&pid) else {
            return;
        };
        for (port, inode) in known {
            // Another process that shares it is asked from now on.
            let other = self.processes.iter().filter(|(_, known)| {
                known
                    .iter()
                    .any(|(other, shared)| (*other, *shared) == (port, inode))
            });
            if let (Some(other), Some(entry)) = (
                other.map(|(pid, _)| *pid).min(),
                self.entries.get_mut(&inode),
            ) && entry.pid == pid
            {
                entry.pid = other;
            }
        }
    }

    /// One process for each set of listeners: whom to ask.
    pub(crate) fn to_ask(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self.entries.values().map(|entry| entry.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        pids.retain(|pid| self.processes.contains_key(pid));
        pids
    }

    /// Drops what is gone. Returns the processes to ask, once per slot of the window.
    pub(crate) fn tick(&mut self, now_ns: u64) -> Vec<u32> {
        if now_ns < self.asked_ns.saturating_add(FINE_NS) {
            return Vec::new();
        }
        self.asked_ns = now_ns;
        self.entries.retain(|_, entry| {
            entry.window.expire(now_ns);
            now_ns < entry.seen_ns.saturating_add(GONE_NS)
        });
        if now_ns < self.looked_ns.saturating_add(LOOK_NS) {
            return Vec::new();
        }
        self.looked_ns = now_ns;
        self.to_ask()
    }

    /// Figures over the last `window_s` seconds (0: 60, at most 600). `comm`: name of a process.
    pub(crate) fn view(
        &self,
        now_ns: u64,
        window_s: u32,
        comm: impl Fn(u32) -> String,
    ) -> ListenersView {
        let Span {
            start_ns,
            covered_s,
        } = Span::back_from(now_ns, window_s, self.start_ns);
        let mut listeners: Vec<Listener> = self
            .entries
            .values()
            .map(|entry| entry.told(&entry.window.since(start_ns), covered_s, comm(entry.pid)))
            .collect();
        listeners.sort_by(|a, b| a.address.cmp(&b.address).then(a.pid.cmp(&b.pid)));
        ListenersView {
            listeners,
            window_s: covered_s,
        }
    }
}

impl Entry {
    fn take(&mut self, pid: u32, queue: &Queue, now_ns: u64) {
        self.pid = pid;
        if queue.limit != 0 {
            self.limit = queue.limit;
        }
        self.window.at(now_ns).add(queue);
    }

    fn told(&self, figures: &Figures, covered_s: f64, comm: String) -> Listener {
        let quantile = |q| figures.queued.quantile(q).min(figures.queued_max_ns);
        Listener {
            address: self.address.clone(),
            pid: self.pid,
            comm,
            length: self.length,
            limit: self.limit,
            max_length: figures.max_length,
            overflows: figures.overflows,
            drops: figures.drops,
            accepted_per_s: figures.accepted as f64 / covered_s,
            accept_queue_known: figures.queued.total(),
            accept_queue_p50_ns: quantile(0.50),
            accept_queue_p95_ns: quantile(0.95),
            accept_queue_max_ns: figures.queued_max_ns,
        }
    }
}

/// The listener of a port.
fn find(known: &[(u16, u64)], port: u16) -> Option<u64> {
    known
        .iter()
        .find(|(known, _)| *known == port)
        .map(|(_, inode)| *inode)
}

#[cfg(test)]
mod tests;
