//! Keeps the tables of threads, processes and connections: who is new, who is evicted, whose
//! record numbers have gaps.

use whyslow_abi::record::RecordHeader;

use super::Engine;
use crate::{
    decode,
    input::ProcessFact,
    losses::reason,
    output::{Command, Output, Query},
    timeline::{ThreadKey, processes::Process, threads::Sample, works},
};

impl Engine {
    /// Makes sure that the thread of a record, and its process, are in the tables. Returns
    /// whether the thread is.
    pub(super) fn ensure_thread(&mut self, header: &RecordHeader, out: &mut Vec<Output>) -> bool {
        let key = ThreadKey::from(header);
        if self.threads.of(key).is_some() {
            return true;
        }
        if self.threads.is_full() && self.threads.get(header.tid).is_none() {
            self.losses.add(reason::THREADS_EVICTED, 1, header.tgid);
            return false;
        }
        if !self.ensure_process(header.tgid, out) {
            return false;
        }
        self.forget_thread(header.tid, out);
        if !self.ensure_process(header.tgid, out) {
            return false;
        }
        self.threads.insert(header);
        if let Some(process) = self.processes.get_mut(header.tgid) {
            process.threads.push(header.tid);
        }
        true
    }

    fn ensure_process(&mut self, pid: u32, out: &mut Vec<Output>) -> bool {
        if self.processes.get(pid).is_some() {
            return true;
        }
        if self.processes.is_full() {
            self.losses.add(reason::THREADS_EVICTED, 1, pid);
            return false;
        }
        self.processes.insert(pid, Process::default());
        out.push(Output::Query(Query::Process { pid }));
        true
    }

    /// Forgets a thread whose tid means another one now, or that ended a while ago. What it still
    /// has open is given up.
    pub(super) fn forget_thread(&mut self, tid: u32, out: &mut Vec<Output>) {
        let Some(thread) = self.threads.get(tid) else {
            return;
        };
        for id in thread.open.clone() {
            self.give_up(id, self.now_ns, out);
        }
        self.connections.remove_work(works::id_of(tid));
        if let Some(thread) = self.threads.remove(tid) {
            self.processes.thread_gone(thread.tgid, tid);
        }
    }

    /// Makes room for a connection, and adds it.
    pub(super) fn add_connection(&mut self, id: u64, tgid: u32, fd: i32) {
        let limit = self.settings.max_in_flight.max(64).saturating_mul(2);
        if self.connections.len() >= limit
            && let Some(old) = self.connections.oldest_idle()
        {
            self.connections.remove(old);
            self.losses.add(reason::CONNECTIONS_EVICTED, 1, tgid);
        }
        self.connections.insert(id, tgid, fd);
    }

    /// Gives the oldest requests up when there are too many.
    pub(super) fn make_room(&mut self, now_ns: u64, out: &mut Vec<Output>) {
        while self.connections.open() >= self.settings.max_in_flight.max(1) {
            let oldest = self
                .polls
                .oldest()
                .find(|entry| self.connections.is_open(**entry))
                .copied()
                .or_else(|| {
                    let first = self.connections.iter_open().min_by_key(|(_, r)| r.serial);
                    first.map(|(id, request)| (id, request.serial))
                });
            let Some((id, _)) = oldest else {
                return;
            };
            self.losses.add(reason::REQUESTS_EVICTED, 1, 0);
            if let Some(request) = self.connections.request_mut(id) {
                request.mark(reason::REQUESTS_EVICTED);
            }
            self.give_up(id, now_ns, out);
        }
    }

    /// The descriptor of a connection means another one by now. Its end was missed, or is about to
    /// be told: look it up once more.
    pub(super) fn mark_stale(&mut self, id: u64, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.stale = true;
        let (tgid, fd) = (connection.tgid, connection.fd);
        if let Some(request) = &connection.open {
            let reader = request.reader;
            if let Some(thread) = self.threads.of(reader) {
                thread.open.retain(|open| *open != id);
            }
            out.push(Output::Query(Query::Connection { id }));
        } else {
            self.connections.remove(id);
            out.push(Output::Command(Command::ForgetConnection {
                id,
                pid: tgid,
                fd,
            }));
        }
    }

    /// Notes a record's number; counts what is lost by now.
    pub(super) fn note_sequence(&mut self, header: &RecordHeader) {
        let Some(thread) = self.threads.of(ThreadKey::from(header)) else {
            return;
        };
        let lost = thread.window.note(header.sequence, header.time_ns);
        if thread.window.has_gap() && !thread.gap_listed {
            thread.gap_listed = true;
            self.gaps.push(header.tid);
        }
        if lost > 0 {
            self.records_lost(header.tid, lost);
        }
    }

    /// Counts lost records of a thread, and marks what it has open.
    pub(super) fn records_lost(&mut self, tid: u32, lost: u64) {
        let Some(thread) = self.threads.get(tid) else {
            return;
        };
        self.losses.add(reason::SEQUENCE_GAP, lost, thread.tgid);
        for id in &thread.open {
            if let Some(request) = self.connections.request_mut(*id) {
                request.mark(reason::SEQUENCE_GAP);
                request.operations.mark_sampled(0);
            }
        }
    }

    /// A thread's slot was read by the outside.
    pub(super) fn sampled(&mut self, tid: u32, sample: Option<Sample>) {
        let now_ns = self.now_ns;
        let Some(thread) = self.threads.get_mut(tid) else {
            return;
        };
        let Some(sample) = sample.filter(|s| s.generation == thread.key.generation) else {
            thread.sample = None;
            return;
        };
        thread
            .cpu
            .note(now_ns.max(sample.since_ns), sample.totals.ns[0]);
        if let Some(process) = self.processes.get_mut(thread.tgid) {
            process.memory.note(sample.totals.resident_bytes);
        }
        if !sample.waits.is_empty() {
            thread.seen_waits.clone_from(&sample.waits);
        }
        thread.sample = Some(Box::new(sample));
    }

    /// What the outside knows of a process.
    pub(super) fn process_fact(&mut self, pid: u32, fact: Option<ProcessFact>) {
        let Some(fact) = fact else {
            return;
        };
        if let Some(process) = self.processes.get_mut(pid) {
            if process.comm.is_empty() {
                process.comm = fact.comm;
            }
            if process.parent == 0 {
                process.parent = fact.parent;
            }
        } else {
            let (name, _) = self.strangers.entry(u64::from(pid), String::new);
            *name = fact.comm;
        }
    }

    /// Name of a thread: its own, else that of its process; empty: not known.
    /// A thread's name as it is now: pool threads are named after they were started.
    pub(super) fn rename(&mut self, header: &RecordHeader, comm: &[u8]) {
        if let Some(thread) = self.threads.of(ThreadKey::from(header)) {
            let name = comm.split(|byte| *byte == 0).next().unwrap_or_default();
            if !name.is_empty() && thread.comm.as_bytes() != name {
                thread.comm = decode::name(name);
            }
        }
    }

    pub(super) fn comm(&self, tid: u32, tgid: u32) -> String {
        let own = self.threads.get(tid).map(|t| &t.comm);
        let comm = own
            .filter(|comm| !comm.is_empty())
            .or_else(|| self.processes.get(tgid).map(|p| &p.comm))
            .or_else(|| self.strangers.get(u64::from(tgid)));
        comm.cloned().unwrap_or_default()
    }
}
