//! The one file that knows all stages: decode, timeline, protocol, attribution, routes, workers.
//!
//! An input is decoded here and handed to its handler in `pipeline/`: each handler changes the
//! tables and appends outputs. Nothing is kept anywhere else.

mod begin;
mod chains;
mod connection;
mod data;
mod end;
mod finish;
mod followed;
mod handover;
mod head;
mod library;
mod lifecycle;
mod locks;
mod programs;
mod stall;
mod tables;
mod tick;
mod tries;
mod views;
mod work;

use std::collections::VecDeque;

use whyslow_abi::record::RecordKind;

use crate::{
    decode::{self, Record},
    hash::mix,
    input::{Findings, Input, Settings},
    listeners::Listeners,
    losses::{Losses, reason},
    output::{
        Event, EventKind, Listener, Output, Program, RequestFinished, RequestId, Route, Shape,
        WorkerEnded,
    },
    programs::ProgramTable,
    protocol::client::SessionOptions,
    recent::Recent,
    routes::Routes,
    shapes::Shapes,
    timeline::{
        ThreadKey,
        connections::Connections,
        libraries::Libraries,
        locks::Locks,
        polls::Polls,
        processes::Processes,
        programs::Programs,
        servers::Servers,
        services::FollowedServers,
        signals::Signals,
        stalls::Stalls,
        threads::{Sample, Threads},
        tries::Creators,
    },
};

/// Figures of all routes over a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutesView {
    /// By worker time used, most first.
    pub routes: Vec<Route>,
    /// Routes folded into `(other)` because the table is bounded.
    pub folded: u64,
    /// `folded` is at its limit: there may be more.
    pub folded_more: bool,
    /// Window covered, seconds: shorter than asked for when the agent is younger.
    pub window_s: f64,
}

/// Figures of all shapes over a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShapesView {
    /// By time, most first.
    pub shapes: Vec<Shape>,
    /// Shapes folded into `(other)` because the table is bounded.
    pub folded: u64,
    /// `folded` is at its limit: there may be more.
    pub folded_more: bool,
    /// Window covered, seconds: shorter than asked for when the agent is younger.
    pub window_s: f64,
}

/// Figures of all commands over a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProgramsView {
    /// Those first that cost most: CPU time, and time that requests waited for them.
    pub programs: Vec<Program>,
    /// Commands folded into `(other)` because the table is bounded.
    pub folded: u64,
    /// `folded` is at its limit: there may be more.
    pub folded_more: bool,
    /// Window covered, seconds: shorter than asked for when the agent is younger.
    pub window_s: f64,
}

/// Listening sockets, with figures over a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListenersView {
    /// By address.
    pub listeners: Vec<Listener>,
    /// Window covered, seconds: shorter than asked for when the agent is younger.
    pub window_s: f64,
}

/// Figures of the engine itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests finished since the start.
    pub requests_finished: u64,
    /// Requests in flight.
    pub in_flight: u32,
    /// Threads watched.
    pub threads: u32,
    /// Processes watched.
    pub processes: u32,
    /// Bytes that requests exchanged with servers were seen: operations are read.
    pub operations: bool,
}

/// A finished request that waits for the paths of files it waited on, or for what holders of locks waited for.
#[derive(Debug)]
struct Held {
    finished: RequestFinished,
    end_ns: u64,
    /// Index of the wait, descriptor, inode number.
    paths: Vec<(usize, i32, u64)>,
    /// Serial number of the request, whose children may be known better at the next tick.
    children: Option<u64>,
    /// Holders whose slots are read, for what they waited for themselves.
    holders: Vec<u32>,
}

impl Held {
    /// Nothing is waited for any more.
    fn is_ready(&self) -> bool {
        self.paths.is_empty() && self.children.is_none() && self.holders.is_empty()
    }
}

/// The end of a thread, told when its open requests are settled.
#[derive(Debug)]
struct PendingEnd {
    time_ns: u64,
    ended: WorkerEnded,
}

/// See the crate's own page.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    losses: Losses,
    threads: Threads,
    processes: Processes,
    connections: Connections,
    servers: Servers,
    libraries: Libraries,
    locks: Locks,
    creators: Creators,
    /// Names of processes that are not watched, and had to do with a wait.
    strangers: Recent<String>,
    signals: Signals,
    followed: FollowedServers,
    routes: Routes,
    shapes: Shapes,
    listeners: Listeners,
    programs: Programs,
    program_table: ProgramTable,
    polls: Polls,
    stalls: Stalls,
    held: Vec<Held>,
    /// Requests whose process or thread ended: connection, serial number.
    endings: Vec<(u64, u64)>,
    pending_ends: Vec<PendingEnd>,
    /// Threads and processes that ended, and when, oldest first.
    ended: VecDeque<(u64, u32, ThreadKey)>,
    /// Threads whose record numbers have a gap.
    gaps: Vec<u32>,
    serial: u64,
    ring_full_epoch: u64,
    requests_finished: u64,
    /// Bytes that requests exchanged with servers came.
    got_data: bool,
    now_ns: u64,
}

impl Engine {
    /// An engine that has seen nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            routes: Routes::new(
                &settings.route_rules,
                settings.max_routes,
                settings.start_ns,
            ),
            shapes: Shapes::new(settings.start_ns),
            listeners: Listeners::new(settings.start_ns),
            programs: Programs::default(),
            program_table: ProgramTable::new(settings.start_ns),
            now_ns: settings.start_ns,
            servers: Servers::new(SessionOptions {
                show_literals: settings.show_literals,
            }),
            settings,
            losses: Losses::default(),
            threads: Threads::default(),
            processes: Processes::default(),
            connections: Connections::default(),
            libraries: Libraries::default(),
            locks: Locks::default(),
            creators: Creators::default(),
            strangers: Recent::new(locks::STRANGERS),
            signals: Signals::default(),
            followed: FollowedServers::default(),
            polls: Polls::default(),
            stalls: Stalls::default(),
            held: Vec::new(),
            endings: Vec::new(),
            pending_ends: Vec::new(),
            ended: VecDeque::new(),
            gaps: Vec::new(),
            serial: 0,
            ring_full_epoch: 0,
            requests_finished: 0,
            got_data: false,
        }
    }

    /// Takes one input; appends what follows from it to `out`.
    pub fn step(&mut self, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Record(bytes) => self.record(&bytes, None, out),
            Input::Findings { record, findings } => self.record(&record, Some(findings), out),
            Input::Connection { id, state } => self.looked_up(id, state.as_deref(), out),
            Input::Thread { tid, slot, wait } => {
                let sample = slot.map(|bytes| decode::slot(&bytes));
                match sample {
                    Some(Ok((slot, state))) => {
                        let sample = Sample::new(&slot, state, wait);
                        self.programs.sampled(&slot, &sample);
                        self.sampled(tid, Some(sample));
                        self.holder_found(tid, out);
                    }
                    Some(Err(_)) => self.losses.add(reason::UNKNOWN_RECORD, 1, 0),
                    None => {
                        self.sampled(tid, None);
                        self.holder_found(tid, out);
                    }
                }
            }
            Input::Process { pid, fact } => self.process_fact(pid, fact),
            Input::Path {
                pid,
                fd,
                inode,
                path,
            } => self.path_found(pid, (fd, inode), path.as_deref(), out),
            Input::Losses(counters) => {
                if self.losses.kernel(&counters) {
                    self.ring_full_epoch += 1;
                }
            }
            Input::Tick { now_ns } => self.tick(now_ns, out),
            Input::Listeners { pid, fact } => {
                self.listeners.found(pid, fact.as_ref(), self.now_ns);
            }
            Input::LockFile { pid, path, fact } => self.lock_file_found(pid, &path, fact),
            Input::Probed { pid, since_ns } => self.probed(pid, since_ns),
            Input::Memory { pid, fact } => {
                if let (Some(process), Some(fact)) = (self.processes.get_mut(pid), fact) {
                    process.memory.found(fact);
                }
            }
        }
    }

    /// `findings`: what a recording tells of the bytes that it left out.
    fn record(&mut self, bytes: &[u8], findings: Option<Findings>, out: &mut Vec<Output>) {
        let record = match decode::record(bytes) {
            Ok(record) => record,
            Err(_) => {
                self.losses.add(reason::UNKNOWN_RECORD, 1, 0);
                return;
            }
        };
        let header = *record.header();
        if let Record::Lifecycle(lifecycle) = &record {
            self.before_lifecycle(lifecycle);
        }
        if header.sequence != 0 || header.kind != RecordKind::Program as u32 {
            self.note_sequence(&header);
        }
        match &record {
            Record::Begin(begin) => self.begin(begin, out),
            Record::Piece(piece) => self.piece(piece, out),
            Record::End(end) => self.end(end, out),
            Record::Lifecycle(lifecycle) => self.lifecycle(lifecycle, out),
            Record::Signal(signal) => self.signals.note(signal),
            Record::Data(data) => {
                self.got_data = true;
                self.data(data, findings, out);
            }
            Record::LoopStall(stall) => self.loop_stall(stall, out),
            Record::Mark(mark) => self.mark(mark, out),
            Record::LibraryText(text) => self.library_text(text),
            Record::Executed(executed) => self.executed(executed),
            Record::Service(service) => self.server_answered(service),
            Record::Program(program) => self.program(program),
            Record::Wait(raw) => self.lock_wait(raw, out),
            Record::Tried(raw) => self.tried(raw, out),
        }
    }

    /// The inputs are at their end (a recording): gives up what is open.
    pub fn finish(&mut self, out: &mut Vec<Output>) {
        self.settle_endings(u64::MAX, out);
        let mut open: Vec<(u64, u64)> = self
            .connections
            .iter_open()
            .map(|(id, request)| (request.serial, id))
            .collect();
        open.sort_unstable();
        for (_, id) in open {
            self.give_up(id, self.now_ns, out);
        }
        self.release_held(out);
        self.tell_stalls(u64::MAX, out);
        self.tell_pending_ends(out);
        self.losses.tell(self.now_ns, out);
    }

    /// Losses since the start by reason; reasons without a loss are left out.
    #[must_use]
    pub fn losses(&self) -> Vec<(&'static str, u64)> {
        self.losses.totals()
    }

    /// Figures of the engine itself.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Stats {
            requests_finished: self.requests_finished,
            in_flight: small(self.connections.open()),
            threads: small(self.threads.len()),
            processes: small(self.processes.len()),
            operations: self.got_data,
        }
    }

    /// Next serial number and request id. The id is unique per host and boot: a bijection of the
    /// serial number, shifted by the start of this agent.
    fn next_id(&mut self) -> (u64, RequestId) {
        self.serial += 1;
        let low = mix(self.serial) ^ mix(self.settings.start_ns);
        let high = u128::from(self.settings.host_id) << 64;
        (self.serial, RequestId(high | u128::from(low)))
    }
}

/// An event.
fn event(monotonic_ns: u64, kind: EventKind) -> Output {
    Output::Event(Event { monotonic_ns, kind })
}

#[cfg(test)]
mod tests;
