//! Answers to "what is now": requests in flight, workers, routes, shapes.

use super::{Engine, ListenersView, RoutesView, ShapesView};
use crate::{
    attribution::{
        live::{self, Now},
        waits,
    },
    output::{Binding, InFlight, OpenOperation, RequestStarted, Worker},
    protocol::body::BodyTracker,
    timeline::{
        request::{Head, OpenRequest},
        threads::{Sample, Thread},
    },
};
use std::sync::Arc;
use whyslow_abi::account::Account;

impl Engine {
    /// Requests in flight, oldest first. `now_ns`: monotonic.
    #[must_use]
    pub fn in_flight(&self, now_ns: u64) -> Vec<InFlight> {
        let mut open: Vec<(u64, &OpenRequest)> = self.connections.iter_open().collect();
        open.sort_unstable_by_key(|(_, r)| (r.begin_ns, r.serial));
        let live = |(id, request)| self.live(id, request, now_ns);
        open.into_iter().map(live).collect()
    }

    fn live(&self, id: u64, request: &OpenRequest, now_ns: u64) -> InFlight {
        let started = request.started.clone().unwrap_or_else(|| {
            Arc::new(RequestStarted {
                id: request.id,
                pid: request.tgid,
                tid: request.reader.tid,
                comm: self.comm(request.reader.tid, request.tgid),
                start_ns: request.begin_ns,
                client: request.client.clone(),
                ..RequestStarted::default()
            })
        });
        let reader = self.threads.get(request.reader.tid);
        let reader = reader.filter(|t| t.key == request.reader);
        let sample = reader.and_then(|t| t.sample.as_deref());
        let hands_over = reader.is_some_and(|reader| reader.hands_over);
        let binding = if hands_over || request.worker.is_some() {
            Binding::Handoff
        } else if request.shared {
            Binding::Shared
        } else if request.begin_totals.is_none() {
            Binding::Unknown
        } else {
            Binding::Thread
        };
        let (operations, shapes_left_out) = match binding {
            Binding::Thread => request.operations.so_far(self.settings.repeated, SHAPES),
            _ => (Vec::new(), 0),
        };
        let open_operations = match binding {
            Binding::Thread => self.open_operations(request, id, now_ns),
            _ => Vec::new(),
        };
        let now = match (binding, sample) {
            (Binding::Thread, Some(sample)) => now(request, sample, &open_operations),
            (Binding::Shared, Some(sample)) => sent_slowly(request, &live::now(sample)),
            _ => Now::default(),
        };
        let ledger = match (sample, &request.begin_totals) {
            (Some(sample), Some(begin)) if binding == Binding::Thread => {
                live::ledger(sample, &now, (begin, request.begin_ns), now_ns)
            }
            _ => Vec::new(),
        };
        InFlight {
            children: self.children_so_far(request.serial, now_ns),
            operations,
            shapes_left_out,
            open_operations,
            started,
            age_ns: now_ns.saturating_sub(request.begin_ns),
            phase: phase(request),
            account: now.account,
            since_ns: now.since_ns,
            target: now.target,
            ledger,
            binding,
            worker_tid: request.worker.map_or(0, |worker| worker.tid),
        }
    }

    /// What the request on connection `id` waits for servers to answer, oldest first.
    fn open_operations(&self, request: &OpenRequest, id: u64, now_ns: u64) -> Vec<OpenOperation> {
        if request.spent_ns != 0 {
            // What was answered since is not known.
            return Vec::new();
        }
        let owner = (id, request.serial);
        let servers = request.servers.iter();
        let servers = servers.filter_map(|server| self.servers.get(*server));
        let mut open: Vec<OpenOperation> = servers
            .filter_map(|server| Some((server, server.protocol()?)))
            .flat_map(|(server, protocol)| {
                server
                    .open_of(owner)
                    .take(SHAPES)
                    .map(|open| OpenOperation {
                        protocol: protocol.name(),
                        peer: Arc::clone(&server.address),
                        shape: Arc::clone(&open.shape),
                        age_ns: now_ns.saturating_sub(open.asked_ns),
                    })
            })
            .collect();
        open.sort_by_key(|open| std::cmp::Reverse(open.age_ns));
        open.truncate(SHAPES);
        open
    }

    /// Connections that the outside should look up (as `Input::Connection`) before `in_flight`: their requests may be
    /// over. At most `limit`.
    #[must_use]
    pub fn in_flight_connections(&self, limit: usize) -> Vec<u64> {
        let open = self.connections.iter_open();
        open.map(|(id, _)| id).take(limit).collect()
    }

    /// Threads whose slots the outside should read (as `Input::Thread`) before `in_flight`.
    #[must_use]
    pub fn in_flight_threads(&self) -> Vec<u32> {
        let mut tids: Vec<u32> = self
            .connections
            .iter_open()
            .flat_map(|(_, request)| {
                let children = self.programs.living_of(request.serial).iter();
                std::iter::once(request.reader.tid).chain(children.take(SHAPES).copied())
            })
            .collect();
        tids.sort_unstable();
        tids.dedup();
        tids
    }

    /// Threads whose slots the outside should read (as `Input::Thread`) before `workers`.
    #[must_use]
    pub fn worker_threads(&self) -> Vec<u32> {
        let mut tids = Vec::new();
        for pid in self.processes.serving() {
            let Some(process) = self.processes.get(pid) else {
                continue;
            };
            let from = tids.len();
            tids.extend_from_slice(&process.threads);
            tids[from..].sort_unstable();
        }
        tids
    }

    /// Threads of processes that served at least one request, by pid and tid.
    #[must_use]
    pub fn workers(&self, now_ns: u64) -> Vec<Worker> {
        self.worker_threads()
            .into_iter()
            .filter_map(|tid| Some(self.worker(self.threads.get(tid)?, now_ns)))
            .collect()
    }

    fn worker(&self, thread: &Thread, now_ns: u64) -> Worker {
        let tid = thread.key.tid;
        let request = thread
            .open
            .iter()
            .filter_map(|id| self.connections.request(*id))
            .filter(|request| request.moved_at_writes.is_none())
            .min_by_key(|request| request.serial);
        let sample = thread.sample.as_deref();
        let now = sample.map(live::now).unwrap_or_default();
        let cpu_ns = match sample {
            Some(s) if s.state == whyslow_abi::thread::ThreadState::Running => {
                let since = now_ns.saturating_sub(s.since_ns);
                s.totals.ns[0].saturating_add(since)
            }
            Some(s) => s.totals.ns[0],
            None => thread.cpu.last().map_or(0, |(_, cpu)| cpu),
        };
        let started = request.and_then(|r| r.started.as_deref());
        Worker {
            pid: thread.tgid,
            tid,
            comm: self.comm(tid, thread.tgid),
            state: match (thread.ended_ns, request) {
                (0, None) => "idle",
                (0, Some(_)) => "busy",
                _ => "ended",
            },
            account: now.account,
            since_ns: now.since_ns,
            busy_share: thread.busy.share(now_ns, request.map(|r| r.begin_ns)),
            cpu_share: thread.cpu.share(now_ns, cpu_ns),
            requests: thread.requests,
            request: request.map(|r| r.id),
            route: started.map_or_else(String::new, |s| format!("{} {}", s.method, s.route)),
            wait_text: waits::text(&now.target),
            memory: self
                .processes
                .get(thread.tgid)
                .map(|process| process.memory.figures())
                .unwrap_or_default(),
            loop_stalls: thread.stalls,
        }
    }

    /// Processes whose memory the outside should look at (`Query::Memory`) before `workers`: at most `limit` that
    /// serve, those first that were not looked at for longest. They count as looked at from now on.
    pub fn memory_due(&mut self, now_ns: u64, limit: usize) -> Vec<u32> {
        let mut due: Vec<(u64, u32)> = self
            .processes
            .serving()
            .into_iter()
            .filter_map(|pid| Some((self.processes.get(pid)?.memory.due(now_ns)?, pid)))
            .collect();
        due.sort_unstable();
        due.truncate(limit);
        for (_, pid) in &due {
            if let Some(process) = self.processes.get_mut(*pid) {
                process.memory.asked(now_ns);
            }
        }
        due.into_iter().map(|(_, pid)| pid).collect()
    }

    /// Figures by route over the last `window_s` seconds (0: 60, at most 600).
    #[must_use]
    pub fn routes(&self, now_ns: u64, window_s: u32) -> RoutesView {
        self.routes.view(now_ns, window_s)
    }

    /// Listening sockets, with figures over the last `window_s` seconds (0: 60, at most 600).
    #[must_use]
    pub fn listeners(&self, now_ns: u64, window_s: u32) -> ListenersView {
        self.listeners
            .view(now_ns, window_s, |pid| self.comm(pid, pid))
    }

    /// Processes whose listening sockets the outside should look up (as `Input::Listeners`) before `listeners`.
    #[must_use]
    pub fn listening_processes(&self) -> Vec<u32> {
        self.listeners.to_ask()
    }

    /// Figures by shape over the last `window_s` seconds (0: 60, at most 600).
    #[must_use]
    pub fn shapes(&self, now_ns: u64, window_s: u32) -> ShapesView {
        self.shapes.view(now_ns, window_s)
    }
}

/// Shapes told with a request in flight; there may be thousands of those.
const SHAPES: usize = 8;

/// What the thread does for a request. One that waits for clients does so for others, when it has read all of this
/// one: an event loop, which waits for a server if one is asked. One that waits for more of this request does so since its
/// last byte.
fn now(request: &OpenRequest, sample: &Sample, asked: &[OpenOperation]) -> Now {
    let now = live::now(sample);
    let whole = |body: &BodyTracker| body.complete(request.read_bytes) == Some(true);
    let read = matches!(request.head, Head::Done) && request.body.as_ref().is_some_and(whole);
    match now.account {
        Some(Account::NetClientRead) if phase(request) == "reading" => Now {
            since_ns: request.last_read_ns,
            ..now
        },
        Some(Account::NetClientRead) if read => Now {
            account: (!asked.is_empty()).then_some(Account::NetUpstream),
            since_ns: now.since_ns,
            ..Now::default()
        },
        _ => now,
    }
}

/// What is known of one request among several of a thread, which waits for clients: one of which more is to come waits
/// for its own, since its last byte.
fn sent_slowly(request: &OpenRequest, thread: &Now) -> Now {
    if thread.account == Some(Account::NetClientRead) && phase(request) == "reading" {
        Now {
            account: thread.account,
            since_ns: request.last_read_ns,
            ..Now::default()
        }
    } else {
        Now::default()
    }
}

/// How far a request is, for people.
fn phase(request: &OpenRequest) -> &'static str {
    match &request.head {
        Head::Done if request.seen.is_some() || request.prior.is_some() => "responding",
        _ if request.is_being_read() => "reading",
        _ => "working",
    }
}
