//! Time passes: requests to look up, ends to settle, gaps to give up on, losses to tell.

use whyslow_abi::connection::ConnectionState;

use super::{Engine, event};
use crate::{
    attribution::{
        finish::Outcome,
        progress::{Completeness, Progress},
    },
    output::{Command, EventKind, Output, Query},
    timeline::polls::PER_TICK,
    timeline::request::Ending,
};

/// A missing record number is lost after this time: the other ring is read more often.
const GAP_PATIENCE_NS: u64 = 400_000_000;
/// An end is settled this long after it was noticed, once the kernel's table was asked.
const SETTLE_NS: u64 = 20_000_000;
/// An end is settled without an answer after this time.
const SETTLE_UNANSWERED_NS: u64 = 400_000_000;
/// Ended threads and their connections are kept this long, for records that come late.
const KEEP_ENDED_NS: u64 = 1_000_000_000;

impl Engine {
    pub(super) fn tick(&mut self, now_ns: u64, out: &mut Vec<Output>) {
        self.now_ns = self.now_ns.max(now_ns);
        let now_ns = self.now_ns;
        self.overdue_gaps(now_ns);
        self.poll(now_ns, out);
        self.try_again(now_ns, out);
        self.settle_endings(now_ns, out);
        self.tell_pending_ends(out);
        self.tell_stalls(now_ns, out);
        self.release_held(out);
        self.bury(now_ns, out);
        self.routes.tick(now_ns);
        self.shapes.tick(now_ns);
        let asked = self.listeners.tick(now_ns).into_iter();
        out.extend(asked.map(|pid| Output::Query(Query::Listeners { pid })));
        self.program_table.tick(now_ns);
        self.losses.tell(now_ns, out);
    }

    fn overdue_gaps(&mut self, now_ns: u64) {
        let mut gaps = std::mem::take(&mut self.gaps);
        gaps.retain(|tid| {
            let Some(thread) = self.threads.get_mut(*tid) else {
                return false;
            };
            let lost = thread.window.overdue(now_ns, GAP_PATIENCE_NS);
            thread.gap_listed = thread.window.has_gap();
            let keep = thread.gap_listed;
            if lost > 0 {
                self.records_lost(*tid, lost);
            }
            keep
        });
        self.gaps = gaps;
    }

    fn poll(&mut self, now_ns: u64, out: &mut Vec<Output>) {
        let mut asked = 0;
        while asked < PER_TICK
            && let Some(entry) = self.polls.due(now_ns)
        {
            if !self.connections.is_open(entry) {
                continue;
            }
            asked += 1;
            self.tell_started(entry.0, now_ns, out);
            out.push(Output::Query(Query::Connection { id: entry.0 }));
            self.polls.looked_up(now_ns, entry);
        }
    }

    /// Settles requests whose thread or process ended.
    pub(super) fn settle_endings(&mut self, now_ns: u64, out: &mut Vec<Output>) {
        for (id, serial) in std::mem::take(&mut self.endings) {
            let Some(request) = self.connections.request_mut(id) else {
                continue;
            };
            if request.serial != serial {
                continue;
            }
            let Some(ending) = &request.ending else {
                continue;
            };
            let wait = if ending.answered {
                SETTLE_NS
            } else {
                SETTLE_UNANSWERED_NS
            };
            if now_ns < ending.time_ns.saturating_add(wait) {
                self.endings.push((id, serial));
            } else if let Some(ending) = request.ending.take() {
                self.settle(id, &ending, out);
            }
        }
    }

    fn settle(&mut self, id: u64, ending: &Ending, out: &mut Vec<Output>) {
        let Some(request) = self.connections.request_mut(id) else {
            return;
        };
        let state = ending.state.clone().or_else(|| request.seen.take());
        let Some(state) = state else {
            let mut outcome = Outcome::given_up(ending.reason, ending.time_ns);
            outcome.account = ending.totals.as_ref().map(|t| (request.reader, t));
            outcome.otherwise = "it ended in another thread";
            self.name_request(id);
            self.close(id, ending.time_ns, &outcome, out);
            return;
        };
        let progress = Progress::new(request, &state);
        let complete = progress.completeness(request.method(), request.protocol);
        if complete == Completeness::Complete {
            self.close_written(id, &state, ending.reason, ending.time_ns, out);
            return;
        }
        self.name_request(id);
        self.close_ended(id, ending, &state, out);
    }

    /// The response was not complete: the request lasted until the end of its thread.
    fn close_ended(
        &mut self,
        id: u64,
        ending: &Ending,
        state: &ConnectionState,
        out: &mut Vec<Output>,
    ) {
        let Some(request) = self.connections.request_mut(id) else {
            return;
        };
        let prior = request.prior.take();
        let progress = Progress::of(request.protocol, prior.as_deref(), state);
        let outcome = Outcome {
            reason: ending.reason,
            end_ns: ending.time_ns,
            status: progress.status(),
            last_read_ns: progress.last_read_ns,
            first_write_ns: progress.first_write_ns,
            last_write_ns: progress.last.map_or(0, |last| last.last_write_ns),
            bytes_in: progress.bytes_in,
            bytes_out: progress.bytes_out,
            account: ending.totals.as_ref().map(|t| (request.reader, t)),
            waits: &state.waits,
            otherwise: "it ended in another thread",
        };
        self.close(id, ending.time_ns, &outcome, out);
    }

    /// Names the open request in the end of its thread that is still to be told.
    fn name_request(&mut self, id: u64) {
        let Some(request) = self.connections.request(id) else {
            return;
        };
        let pending = self
            .pending_ends
            .iter_mut()
            .rev()
            .find(|p| p.ended.tid == request.reader.tid && p.ended.pid == request.tgid);
        if let Some(pending) = pending {
            pending.ended.request = pending.ended.request.or(Some(request.id));
        }
    }

    /// Tells ends of threads that have nothing left to settle.
    pub(super) fn tell_pending_ends(&mut self, out: &mut Vec<Output>) {
        if self.pending_ends.is_empty() {
            return;
        }
        let unsettled: Vec<u32> = self
            .endings
            .iter()
            .filter_map(|(id, _)| self.connections.request(*id))
            .map(|request| request.reader.tid)
            .collect();
        let mut later = Vec::new();
        for mut pending in std::mem::take(&mut self.pending_ends) {
            let ended = &mut pending.ended;
            if unsettled.contains(&ended.tid) {
                later.push(pending);
                continue;
            }
            if ended.signal != 0
                && ended.sender_pid == 0
                && let Some(sender) = self
                    .signals
                    .sender(ended.pid, ended.signal, pending.time_ns)
            {
                ended.sender_pid = sender.pid;
                ended.sender_comm.clone_from(&sender.comm);
            }
            out.push(event(
                pending.time_ns,
                EventKind::WorkerEnded(pending.ended),
            ));
        }
        self.pending_ends = later;
    }

    /// Forgets threads that ended a while ago, and with a process its connections.
    fn bury(&mut self, now_ns: u64, out: &mut Vec<Output>) {
        while let Some((time_ns, tid, key)) = self.ended.front().copied() {
            if now_ns < time_ns.saturating_add(KEEP_ENDED_NS) {
                break;
            }
            self.ended.pop_front();
            let Some(thread) = self.threads.of(key) else {
                continue;
            };
            let pid = thread.tgid;
            let dead = self.processes.get(pid).is_some_and(|p| p.ended_ns != 0);
            self.forget_thread(tid, out);
            if dead && self.processes.get(pid).is_none() {
                self.bury_connections(pid, out);
            }
        }
    }

    fn bury_connections(&mut self, pid: u32, out: &mut Vec<Output>) {
        for id in self.connections.of_process(pid) {
            self.give_up(id, self.now_ns, out);
            if let Some(connection) = self.connections.remove(id) {
                out.push(Output::Command(Command::ForgetConnection {
                    id,
                    pid,
                    fd: connection.fd,
                }));
            }
        }
    }
}
