//! A request leaves the tables: its outcome is taken, it is counted and told.

use std::sync::Arc;

use whyslow_abi::{
    connection::ConnectionState,
    wait::{Wait, WaitTargetKind},
};

use super::{Engine, Held, event};
use crate::{
    attribution::{
        finish::{self, Outcome, Worked},
        progress::{Parsed, Progress},
        waits::{PATH_FLOOR_NS, names},
    },
    losses::reason,
    output::{
        Binding, Command, EndReason, EventKind, Output, Query, RequestFinished, RequestStarted,
        Target,
    },
    timeline::{
        connections::LastWrite,
        request::OpenRequest,
        threads::{Thread, most_of},
    },
};

/// Finished requests that may wait for a path at once.
pub(super) const HELD_LIMIT: usize = 1_024;

/// Looks at the holder of an interpreter's lock from which on it is sure who that was, if he was found in most.
const SAMPLES_CERTAIN: u64 = 3;
const SHARE_CERTAIN: f64 = 0.7;

impl Engine {
    /// Finishes the request on `id`. `outcome` is made from it and must not be of another one.
    pub(super) fn close(
        &mut self,
        id: u64,
        noticed_ns: u64,
        outcome: &Outcome<'_>,
        out: &mut Vec<Output>,
    ) {
        self.tell_started(id, noticed_ns, out);
        if let Some(serial) = self.connections.request(id).map(|r| r.serial) {
            self.count_unanswered((id, serial), outcome.end_ns);
            self.count_open_executions(id);
        }
        let worked = self.worked(id, outcome, out);
        let Some(mut request) = self.connections.take(id) else {
            return;
        };
        if request.ring_full_epoch != self.ring_full_epoch {
            request.mark(reason::RING_FULL);
        }
        let (serial, started) = (request.serial, request.started.as_ref());
        self.stalls.ended((id, serial), started, outcome.end_ns);
        let (tgid, number) = (request.tgid, request.number);
        self.count_served(id, &request, outcome.end_ns);
        let read = outcome.bytes_in.saturating_add(request.carried);
        self.keep_unread(id, &request, read);
        let route = request.route;
        let Some(started) = request.started.as_ref().map(Arc::clone) else {
            self.programs.forget(serial);
            return;
        };
        let (operations, asked_until_ns) = match &worked {
            Worked::By(work) => (self.take_work(work.worker, work.ended_by), work.end_ns),
            _ => (std::mem::take(&mut request.operations), outcome.end_ns),
        };
        let asked = operations.into_entries(self.settings.repeated, asked_until_ns);
        let mut finished = finish::finish(*request, started, outcome, &worked);
        if matches!(finished.binding, Binding::Thread | Binding::Handoff) {
            let name = route.and_then(|route| self.routes.name(route));
            self.shapes.end(noticed_ns, name, &asked);
            finished.operations = asked.into_iter().map(|a| a.operation).collect();
        }
        if finished.loss.contains(&reason::LEDGER_MISMATCH) {
            self.losses.add(reason::LEDGER_MISMATCH, 1, tgid);
        }
        if let Some(route) = route {
            self.routes.end(route, noticed_ns, &finished);
        }
        self.forget_if_stale(id, out);
        self.followed.finished(id, number, &finished.started);
        let waits = match &worked {
            Worked::By(work) => &work.waits,
            _ => outcome.waits,
        };
        self.blame(&mut finished, waits, out);
        self.emit(finished, (outcome, serial), out);
    }

    /// Tells for whom the request waited.
    fn blame(&mut self, finished: &mut RequestFinished, waits: &[Wait], out: &mut Vec<Output>) {
        self.look_into_servers(finished, waits, out);
        self.name_holders(finished);
        self.name_lock_holders(finished);
        self.move_tries(finished);
        self.follow_holders(finished);
        self.keep_waits(finished);
    }

    /// Counts a request that is over, for the thread that read it and its process.
    fn count_served(&mut self, id: u64, request: &OpenRequest, end_ns: u64) {
        if let Some(thread) = self.threads.of(request.reader) {
            thread.open.retain(|open| *open != id);
            thread.requests += 1;
            thread.busy.add(request.begin_ns, end_ns);
            if let Some(started) = &request.started {
                thread
                    .served
                    .add(request.begin_ns, end_ns, Arc::clone(started));
            }
        }
        if let Some(process) = self.processes.get_mut(request.tgid) {
            process.served += 1;
        }
        self.requests_finished += 1;
    }

    /// Finishes with a response that was written, at least in part. Returns whether there was one.
    pub(super) fn close_written(
        &mut self,
        id: u64,
        state: &ConnectionState,
        noticed: EndReason,
        noticed_ns: u64,
        out: &mut Vec<Output>,
    ) -> bool {
        self.close_parsed(id, state, None, noticed, noticed_ns, out)
    }

    /// The same, when the response's head was read before.
    pub(super) fn close_parsed(
        &mut self,
        id: u64,
        state: &ConnectionState,
        parsed: Option<Parsed>,
        noticed: EndReason,
        noticed_ns: u64,
        out: &mut Vec<Output>,
    ) -> bool {
        self.tell_started(id, noticed_ns, out);
        let Some(request) = self.connections.request_mut(id) else {
            return false;
        };
        let prior = request.prior.take();
        let parsed =
            parsed.unwrap_or_else(|| Parsed::of(request.protocol, prior.as_deref(), state));
        let progress = Progress::with(parsed, prior.as_deref(), state);
        let Some(outcome) = Outcome::written(request, &progress, noticed) else {
            request.prior = prior;
            return false;
        };
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.surplus.is_empty()
        {
            connection.last_write = progress.last.map(|last| Box::new(LastWrite::from(last)));
        }
        self.close(id, noticed_ns, &outcome, out);
        true
    }

    /// Finishes a request whose end was not seen, with the last that is known of it.
    pub(super) fn give_up(&mut self, id: u64, now_ns: u64, out: &mut Vec<Output>) {
        let Some(request) = self.connections.request_mut(id) else {
            return;
        };
        let seen = request.seen.take().or_else(|| {
            let prior = request.prior.as_ref()?;
            prior.last.clone()
        });
        if let Some(state) = seen
            && self.close_written(id, &state, EndReason::Flushed, now_ns, out)
        {
            return;
        }
        let outcome = Outcome::given_up(EndReason::Flushed, now_ns);
        self.close(id, now_ns, &outcome, out);
    }

    /// Who the threads are that held what the request waited for, and what they served then. One that is not known is
    /// none: it may have another number in a PID namespace of its own.
    fn name_holders(&self, finished: &mut RequestFinished) {
        let pid = finished.started.pid;
        for wait in &mut finished.waits {
            let Some(mut holder) = wait.holder.take() else {
                continue;
            };
            holder.certain = holder.samples >= SAMPLES_CERTAIN && holder.share >= SHARE_CERTAIN;
            let Some(thread) = self.threads.get(holder.tid).filter(|it| it.tgid == pid) else {
                continue;
            };
            holder.pid = pid;
            holder.comm.clone_from(&thread.comm);
            let end_ns = wait.start_ns.saturating_add(wait.ns);
            let served = thread.served.for_most_of(wait.start_ns, end_ns);
            let serves = served.or_else(|| self.serves_for_most_of(thread, wait.start_ns, end_ns));
            holder.request = serves.map(Arc::clone);
            wait.holder = Some(holder);
        }
    }

    /// The request that the thread alone serves, and did for more than half of that time.
    fn serves_for_most_of(
        &self,
        thread: &Thread,
        begin_ns: u64,
        end_ns: u64,
    ) -> Option<&Arc<RequestStarted>> {
        let (since_ns, started) = self.serves_alone(thread)?;
        most_of((since_ns, u64::MAX), (begin_ns, end_ns)).then_some(started)
    }

    fn forget_if_stale(&mut self, id: u64, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        if connection.stale {
            let (pid, fd) = (connection.tgid, connection.fd);
            self.connections.remove(id);
            out.push(Output::Command(Command::ForgetConnection { id, pid, fd }));
        }
    }

    /// Tells a finished request; after its paths were asked for, if a long wait lacks one.
    fn emit(
        &mut self,
        mut finished: RequestFinished,
        (outcome, serial): (&Outcome<'_>, u64),
        out: &mut Vec<Output>,
    ) {
        let mut paths: Vec<(usize, i32, u64)> = Vec::new();
        let pid = finished.started.pid;
        for (index, entry) in finished.waits.iter().enumerate() {
            let Target::File { inode, ref path } = entry.target else {
                continue;
            };
            if path.starts_with('/') {
                continue;
            }
            let fd = raw_wait(outcome.waits, entry.start_ns).map_or(-1, |wait| wait.fd);
            if entry.ns < PATH_FLOOR_NS || fd < 0 || self.held.len() >= HELD_LIMIT {
                continue;
            }
            let asked = paths.iter().any(|(_, f, i)| (*f, *i) == (fd, inode));
            paths.push((index, fd, inode));
            if !asked {
                out.push(Output::Query(Query::Path { pid, fd, inode }));
            }
        }
        let waits = self.held.len() < HELD_LIMIT && self.ask_for_children(serial, out);
        if !waits {
            self.take_children(&mut finished, serial, outcome.end_ns);
        }
        let holders = self.ask_holders(&finished, out);
        if paths.is_empty() && holders.is_empty() && !waits {
            out.push(finished_event(finished, outcome.end_ns));
        } else {
            self.held.push(Held {
                finished,
                end_ns: outcome.end_ns,
                paths,
                children: waits.then_some(serial),
                holders,
            });
        }
    }

    /// A path was looked up: it is that of a wait when it ends with the name that the kernel took
    /// down, since the descriptor and the inode number may mean another file by now.
    pub(super) fn path_found(
        &mut self,
        pid: u32,
        (fd, inode): (i32, u64),
        path: Option<&str>,
        out: &mut Vec<Output>,
    ) {
        let mut ready = false;
        for held in self
            .held
            .iter_mut()
            .filter(|h| h.finished.started.pid == pid)
        {
            let waits = &mut held.finished.waits;
            held.paths.retain(|(index, of, wanted)| {
                if (*of, *wanted) != (fd, inode) {
                    return true;
                }
                if let (Some(found), Some(entry)) = (path, waits.get_mut(*index))
                    && let Target::File { path, .. } = &mut entry.target
                    && names(found, path)
                {
                    found.clone_into(path);
                }
                false
            });
            ready |= held.is_ready();
        }
        if ready {
            self.release_ready(out);
        }
    }

    /// Tells what waits for nothing any more.
    pub(super) fn release_ready(&mut self, out: &mut Vec<Output>) {
        for held in self.held.extract_if(.., |held| held.is_ready()) {
            out.push(finished_event(held.finished, held.end_ns));
        }
    }

    /// Tells what waits for paths, without them, and with what is known of children.
    pub(super) fn release_held(&mut self, out: &mut Vec<Output>) {
        for mut held in std::mem::take(&mut self.held) {
            if let Some(serial) = held.children {
                self.take_children(&mut held.finished, serial, held.end_ns);
            }
            out.push(finished_event(held.finished, held.end_ns));
        }
    }
}

fn finished_event(finished: RequestFinished, end_ns: u64) -> Output {
    event(end_ns, EventKind::RequestFinished(Arc::new(finished)))
}

fn raw_wait(waits: &[Wait], start_ns: u64) -> Option<&Wait> {
    waits
        .iter()
        .find(|w| w.start_ns == start_ns && w.target == WaitTargetKind::File as u8)
}
