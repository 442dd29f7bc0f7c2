//! What is known not to have been seen: the kernel side's counters and the engine's own.
//!
//! Every loss is counted at once and told as an event at the next tick, so that a flood of one
//! reason is one event per tick.

use whyslow_abi::loss::LossReason;

use crate::output::{Event, EventKind, Output};

/// Loss reasons of the engine itself, by their names on the wire.
pub(crate) mod reason {
    /// A record whose shape or tag is unknown.
    pub(crate) const UNKNOWN_RECORD: &str = "unknown_record";
    /// A thread's sequence numbers have a gap.
    pub(crate) const SEQUENCE_GAP: &str = "sequence_gap";
    /// A head was longer than what was captured.
    pub(crate) const PAYLOAD_CUT: &str = "payload_cut";
    /// Bytes that began like a request and were none.
    pub(crate) const NOT_HTTP: &str = "not_http";
    /// io_uring was used.
    pub(crate) const IO_URING: &str = "io_uring";
    /// The core ring was full.
    pub(crate) const RING_FULL: &str = "ring_full";
    /// The accounts do not add up to the wall time.
    pub(crate) const LEDGER_MISMATCH: &str = "ledger_mismatch";
    /// A request tried to create more files that may be locks than are told.
    pub(crate) const TRIES_LEFT_OUT: &str = "tries_left_out";
    /// Too many requests in flight: the oldest was given up.
    pub(crate) const REQUESTS_EVICTED: &str = "requests_evicted";
    /// Too many connections to servers: one was forgotten, operations on it may be missing.
    pub(crate) const SERVERS_EVICTED: &str = "servers_evicted";
    /// Too many connections: one was forgotten.
    pub(crate) const CONNECTIONS_EVICTED: &str = "connections_evicted";
    /// Too many processes started by watched ones: one was forgotten.
    pub(crate) const PROGRAMS_EVICTED: &str = "programs_evicted";
    /// Too many threads or processes: one was forgotten.
    pub(crate) const THREADS_EVICTED: &str = "threads_evicted";
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    reason: &'static str,
    total: u64,
    untold: u64,
    /// Process concerned, when it is one alone.
    pid: u32,
}

/// All counters.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    entries: Vec<Entry>,
    kernel: Vec<u64>,
    any_untold: bool,
}

impl Losses {
    /// Counts `count` losses. `pid` 0: not known.
    pub(crate) fn add(&mut self, reason: &'static str, count: u64, pid: u32) {
        if count == 0 {
            return;
        }
        self.any_untold = true;
        if let Some(entry) = self.entries.iter_mut().find(|e| e.reason == reason) {
            entry.pid = if entry.untold == 0 || entry.pid == pid {
                pid
            } else {
                0
            };
            entry.total = entry.total.saturating_add(count);
            entry.untold = entry.untold.saturating_add(count);
        } else {
            self.entries.push(Entry {
                reason,
                total: count,
                untold: count,
                pid,
            });
        }
    }

    /// Takes the kernel side's cumulative counters. Returns whether the core ring lost records
    /// since the last call.
    pub(crate) fn kernel(&mut self, counters: &[u64]) -> bool {
        let mut ring_full = false;
        for (index, reason) in LossReason::ALL.iter().enumerate() {
            let now = counters.get(index).copied().unwrap_or(0);
            if self.kernel.len() <= index {
                self.kernel.push(0);
            }
            let more = now.saturating_sub(self.kernel[index]);
            self.kernel[index] = now;
            // The io_uring counter repeats what lifecycle records tell with the process.
            if *reason != LossReason::IoUring {
                self.add(reason.name(), more, 0);
            }
            ring_full |= more > 0 && *reason == LossReason::RingFull;
        }
        ring_full
    }

    /// Tells what was not told yet.
    pub(crate) fn tell(&mut self, now_ns: u64, out: &mut Vec<Output>) {
        if !self.any_untold {
            return;
        }
        self.any_untold = false;
        for entry in self.entries.iter_mut().filter(|e| e.untold > 0) {
            out.push(Output::Event(Event {
                monotonic_ns: now_ns,
                kind: EventKind::Loss {
                    reason: entry.reason,
                    count: entry.untold,
                    pid: entry.pid,
                },
            }));
            entry.untold = 0;
            entry.pid = 0;
        }
    }

    /// Totals by reason.
    pub(crate) fn totals(&self) -> Vec<(&'static str, u64)> {
        self.entries.iter().map(|e| (e.reason, e.total)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(losses: &mut Losses) -> Vec<(&'static str, u64, u32)> {
        let mut out = Vec::new();
        losses.tell(1, &mut out);
        out.into_iter()
            .map(|output| match output {
                Output::Event(Event {
                    kind: EventKind::Loss { reason, count, pid },
                    ..
                }) => (reason, count, pid),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn told_once_with_the_difference() {
        let mut losses = Losses::default();
        losses.add(reason::NOT_HTTP, 2, 7);
        losses.add(reason::NOT_HTTP, 1, 7);
        assert_eq!(told(&mut losses), [(reason::NOT_HTTP, 3, 7)]);
        assert!(told(&mut losses).is_empty());
        losses.add(reason::NOT_HTTP, 1, 7);
        losses.add(reason::NOT_HTTP, 1, 8);
        assert_eq!(told(&mut losses), [(reason::NOT_HTTP, 2, 0)]);
        assert_eq!(losses.totals(), [(reason::NOT_HTTP, 5)]);
    }

    #[test]
    fn kernel_counters_are_cumulative() {
        let mut losses = Losses::default();
        assert!(losses.kernel(&[3]));
        assert!(!losses.kernel(&[3, 0, 1]));
        assert!(losses.kernel(&[5, 0, 1]));
        assert_eq!(
            losses.totals(),
            [("ring_full", 5), ("thread_slots_full", 1)]
        );
        // More counters than are known, and a counter that went backwards.
        assert!(!losses.kernel(&[0; 40]));
        assert_eq!(losses.totals().len(), 2);
    }
}
