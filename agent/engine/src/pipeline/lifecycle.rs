//! Threads and processes come and go.
//!
//! The records of an end come by another ring than those of requests, so an end does not settle a
//! thread's open requests at once: the kernel's table is asked, and the next ticks decide
//! ([`Engine::settle_endings`]).

use whyslow_abi::{
    record::{LIFE_FOLLOWED, LifecycleKind},
    totals::Totals,
};

use super::{Engine, PendingEnd, event};
use crate::{
    decode::{self, Lifecycle},
    losses::reason,
    output::{Command, EndReason, EventKind, Output, Query, WorkerEnded, WorkerStarted},
    timeline::{ThreadKey, processes::Process, request::Ending},
};

/// Slot index of a thread that has none.
pub(super) const NO_SLOT: u32 = u32::MAX;

impl Engine {
    /// A pid that means another process by now: forget the old one before its records count.
    pub(super) fn before_lifecycle(&mut self, lifecycle: &Lifecycle) {
        let raw = &lifecycle.raw;
        if lifecycle.event != LifecycleKind::Fork || raw.process_start_ns == 0 {
            return;
        }
        let pid = raw.header.tgid;
        let other = self
            .processes
            .get(pid)
            .is_some_and(|p| p.start_ns != 0 && p.start_ns != raw.process_start_ns);
        if other && let Some(process) = self.processes.get_mut(pid) {
            let threads = std::mem::take(&mut process.threads);
            *process = Process {
                threads,
                ..Process::default()
            };
        }
    }

    pub(super) fn lifecycle(&mut self, lifecycle: &Lifecycle, out: &mut Vec<Output>) {
        let raw = &lifecycle.raw;
        let pid = raw.header.tgid;
        self.child_lifecycle(lifecycle);
        match lifecycle.event {
            LifecycleKind::Fork | LifecycleKind::Adopted => self.worker_started(lifecycle, out),
            LifecycleKind::Discovered => {
                self.worker_started(lifecycle, out);
                out.push(Output::Command(Command::WatchFamily { pid }));
            }
            LifecycleKind::Exec => self.exec(lifecycle, out),
            LifecycleKind::Exit => self.exit(lifecycle, out),
            LifecycleKind::Listen => out.push(Output::Command(Command::Judge { pid })),
            LifecycleKind::IoUring => self.io_uring(pid),
        }
    }

    fn worker_started(&mut self, lifecycle: &Lifecycle, out: &mut Vec<Output>) {
        let raw = &lifecycle.raw;
        let header = &raw.header;
        if raw.slot == NO_SLOT {
            return;
        }
        let known = self.threads.of(ThreadKey::from(header)).is_some();
        if !self.ensure_thread(header, out) {
            return;
        }
        if !known {
            self.note_sequence(header);
        }
        let comm = decode::name(&raw.comm);
        let Some(process) = self.processes.get_mut(header.tgid) else {
            return;
        };
        process.parent = raw.parent;
        process.start_ns = raw.process_start_ns;
        process.ended_ns = 0;
        process.followed = raw.code & LIFE_FOLLOWED != 0;
        let followed = process.followed;
        if process.comm.is_empty() || header.tid == header.tgid {
            process.comm.clone_from(&comm);
        }
        let reason = match lifecycle.event {
            LifecycleKind::Discovered => {
                process.discovered = true;
                "discovered"
            }
            LifecycleKind::Fork => "forked",
            _ if process.discovered => "discovered",
            _ => "stock",
        };
        let Some(thread) = self.threads.get_mut(header.tid) else {
            return;
        };
        thread.comm.clone_from(&comm);
        // A server that is followed has no workers of the application.
        if std::mem::replace(&mut thread.started, true) || followed {
            return;
        }
        let started = WorkerStarted {
            pid: header.tgid,
            tid: header.tid,
            comm,
            reason,
            parent: raw.parent,
        };
        out.push(event(header.time_ns, EventKind::WorkerStarted(started)));
    }

    fn exec(&mut self, lifecycle: &Lifecycle, out: &mut Vec<Output>) {
        let raw = &lifecycle.raw;
        let header = &raw.header;
        let comm = decode::name(&raw.comm);
        if let Some(process) = self.processes.get_mut(header.tgid) {
            process.comm.clone_from(&comm);
        }
        // Another thread than the first has the id of the process now; it was known by its own.
        let mut ended = lifecycle.clone();
        if raw.other != 0 {
            ended.raw.header.tid = raw.other;
        }
        let Some(thread) = self.threads.get_mut(ended.raw.header.tid) else {
            return;
        };
        thread.comm.clone_from(&comm);
        if thread.ended_ns == 0 {
            // It runs another program now and is watched no more.
            self.thread_ended(&ended, None, out);
        }
    }

    fn exit(&mut self, lifecycle: &Lifecycle, out: &mut Vec<Output>) {
        let raw = &lifecycle.raw;
        let header = &raw.header;
        if self.threads.of(ThreadKey::from(header)).is_none() && raw.slot == NO_SLOT {
            // It never was watched.
            if raw.last == 0 || self.processes.get(header.tgid).is_none() {
                return;
            }
        } else if self.ensure_thread(header, out) {
            self.note_sequence(header);
        }
        self.thread_ended(lifecycle, Some(&raw.totals), out);
        if raw.last != 0 {
            self.process_ended(lifecycle, out);
        }
    }

    /// Tells a thread's end; its open requests are settled by the next ticks.
    fn thread_ended(
        &mut self,
        lifecycle: &Lifecycle,
        totals: Option<&Totals>,
        out: &mut Vec<Output>,
    ) {
        let raw = &lifecycle.raw;
        let header = &raw.header;
        let key = ThreadKey::from(header);
        let mut comm = decode::name(&raw.comm);
        let mut open = Vec::new();
        if let Some(thread) = self.threads.of(key) {
            if thread.ended_ns != 0 {
                return;
            }
            thread.ended_ns = header.time_ns.max(1);
            thread.exit_totals = totals.map(|t| Box::new(*t));
            if comm.is_empty() {
                comm.clone_from(&thread.comm);
            }
            open.clone_from(&thread.open);
            self.ended.push_back((header.time_ns, header.tid, key));
        }
        for id in &open {
            self.ending_of(*id, header.time_ns, totals.copied());
            out.push(Output::Query(Query::Connection { id: *id }));
        }
        let followed = self
            .processes
            .get(header.tgid)
            .is_some_and(|it| it.followed);
        if followed && open.is_empty() {
            return;
        }
        let ended = self.worker_ended(lifecycle, comm);
        // The sender of a signal and the request may become known a moment later.
        if open.is_empty() && (ended.signal == 0 || ended.sender_pid != 0) {
            out.push(event(header.time_ns, EventKind::WorkerEnded(ended)));
        } else {
            self.pending_ends.push(PendingEnd {
                time_ns: header.time_ns,
                ended,
            });
        }
    }

    fn worker_ended(&self, lifecycle: &Lifecycle, comm: String) -> WorkerEnded {
        let raw = &lifecycle.raw;
        let header = &raw.header;
        let signal = raw.code & 0x7f;
        let sender = (signal != 0)
            .then(|| self.signals.sender(header.tgid, signal, header.time_ns))
            .flatten();
        WorkerEnded {
            pid: header.tgid,
            tid: header.tid,
            comm,
            exit_code: raw.code,
            process_ended: raw.last != 0,
            signal,
            sender_pid: sender.map_or(0, |s| s.pid),
            sender_comm: sender.map(|s| s.comm.clone()).unwrap_or_default(),
            request: None,
        }
    }

    /// The last thread of a process ended.
    fn process_ended(&mut self, lifecycle: &Lifecycle, out: &mut Vec<Output>) {
        let header = &lifecycle.raw.header;
        let pid = header.tgid;
        self.listeners.ended(pid);
        let Some(process) = self.processes.get_mut(pid) else {
            return;
        };
        process.ended_ns = header.time_ns.max(1);
        for tid in process.threads.clone() {
            if let Some(thread) = self.threads.get_mut(tid)
                && thread.ended_ns == 0
            {
                thread.ended_ns = header.time_ns.max(1);
                self.ended.push_back((header.time_ns, tid, thread.key));
            }
        }
        for id in self.connections.of_process(pid) {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.dead = true;
            }
            let Some(request) = self.connections.request_mut(id) else {
                continue;
            };
            match &mut request.ending {
                Some(ending) => ending.reason = EndReason::ProcessEnded,
                None => {
                    self.ending_of(id, header.time_ns, None);
                    out.push(Output::Query(Query::Connection { id }));
                }
            }
        }
    }

    /// Notes that the thread or process of an open request ended.
    pub(super) fn ending_of(&mut self, id: u64, time_ns: u64, totals: Option<Totals>) {
        let Some(request) = self.connections.request_mut(id) else {
            return;
        };
        if request.ending.is_some() {
            return;
        }
        let dead = self
            .processes
            .get(request.tgid)
            .is_some_and(|p| p.ended_ns != 0);
        let reason = if dead {
            EndReason::ProcessEnded
        } else {
            EndReason::ThreadEnded
        };
        request.ending = Some(Box::new(Ending {
            reason,
            time_ns,
            totals,
            answered: false,
            state: None,
        }));
        self.endings.push((id, request.serial));
    }

    /// From now on any request of the process may have used it, those in flight included.
    fn io_uring(&mut self, pid: u32) {
        self.losses.add(reason::IO_URING, 1, pid);
        if let Some(process) = self.processes.get_mut(pid) {
            process.io_uring = true;
        }
        for id in self.connections.of_process(pid) {
            if let Some(request) = self.connections.request_mut(id) {
                request.mark(reason::IO_URING);
            }
        }
    }
}
