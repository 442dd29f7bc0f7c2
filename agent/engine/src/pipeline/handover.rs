//! Requests on which another thread works than the one that reads them: marks of such threads as they come, and, when a
//! request is over, who it was and from when on.

use std::sync::Arc;

use whyslow_abi::record::MarkKind;

use super::Engine;
use crate::{
    attribution::{
        finish::{Outcome, Worked},
        handover::Work,
    },
    decode::{Begin, Mark},
    output::{Command, Output},
    timeline::{
        ThreadKey,
        handovers::{Handed, Moment},
        relay::{Found, Relay},
    },
};

/// Event loops of one process beside which others work.
const RELAYS: usize = 16;

/// The order of wakes and that of responses do not agree.
const DISAGREE: &str = "which thread worked is not certain";
/// Whose time it was until the last write is not known: the reader sends what the worker could not.
const SEVERAL: &str = "several threads wrote the response";
/// Answers to what it has read itself are not among its marks.
const MIXED: &str = "its worker reads requests too: when it began is not certain";
/// Why `queue.app` may be more than it was.
const BOUND: &str = "when its worker began was not seen: queue.app is the most that it can be";

impl Engine {
    /// A thread has a moment that tells.
    pub(super) fn mark(&mut self, mark: &Mark, out: &mut Vec<Output>) {
        let header = &mark.raw.header;
        if !self.ensure_thread(header, out) {
            return;
        }
        let moment = Arc::new(Moment::from(mark));
        let key = ThreadKey::from(header);
        if let Some(thread) = self.threads.of(key) {
            thread.moments.add(Arc::clone(&moment));
        }
        self.note_work(&moment);
        if moment.kind == MarkKind::Answered {
            self.answers(&moment, key);
        } else {
            self.relay(&moment);
        }
    }

    /// The thread has written to a client.
    fn answers(&mut self, moment: &Moment, key: ThreadKey) {
        let (id, number) = (moment.raw.connection, moment.raw.request);
        let Some(request) = self.connections.request_mut(id) else {
            return;
        };
        if request.number != number {
            return;
        }
        if request.reader != key {
            request.worker = Some(key);
            return;
        }
        let entry = (id, request.serial);
        if let Some(relay) = self.threads.of(key).and_then(|t| t.relay.as_deref_mut()) {
            relay.answered(entry, moment.time_ns());
        }
    }

    /// A thread was woken, or is done: that may be work for a loop.
    fn relay(&mut self, moment: &Arc<Moment>) {
        let header = &moment.raw.header;
        let Some(process) = self.processes.get(header.tgid) else {
            return;
        };
        for tid in &process.relays {
            let concerns =
                *tid != header.tid && (moment.kind != MarkKind::Woken || moment.waker() == *tid);
            if concerns && let Some(thread) = self.threads.get_mut(*tid) {
                let relay = thread.relay.as_deref_mut();
                relay.into_iter().for_each(|relay| relay.note(moment));
            }
        }
    }

    /// A request was begun by an event loop: others may work for it.
    pub(super) fn begun_by_loop(&mut self, begin: &Begin, out: &mut Vec<Output>) {
        let header = &begin.raw.header;
        let (pid, key) = (header.tgid, ThreadKey::from(header));
        let Some(process) = self.processes.get_mut(pid) else {
            return;
        };
        if process.threads.len() < 2 {
            return;
        }
        if !process.tells_marks {
            process.tells_marks = true;
            let certain = false;
            out.push(Output::Command(Command::TellMarks { pid, certain }));
        }
        if !process.relays.contains(&key.tid) {
            if process.relays.len() == RELAYS {
                return;
            }
            process.relays.push(key.tid);
        }
        let id = begin.raw.connection;
        let entry = self.connections.request(id).map(|it| (id, it.serial));
        if let (Some(entry), Some(thread)) = (entry, self.threads.of(key)) {
            let relay = thread
                .relay
                .get_or_insert_with(|| Box::new(Relay::default()));
            relay.read(entry, header.time_ns);
        }
    }

    /// Who worked on the request that is open on `id` and ends so.
    pub(super) fn worked(
        &mut self,
        id: u64,
        outcome: &Outcome<'_>,
        out: &mut Vec<Output>,
    ) -> Worked {
        let Some((writer, totals)) = outcome.account.filter(|_| outcome.last_write_ns != 0) else {
            return Worked::Reader;
        };
        let Some(request) = self.connections.request(id) else {
            return Worked::Reader;
        };
        let (reader, tgid) = (request.reader, request.tgid);
        let head_ns = request.begin_ns.saturating_add(request.head_read_ns);
        if writer == reader && request.worker.is_some() {
            return Worked::Uncertain(SEVERAL);
        }
        if writer == reader {
            return self.worked_for_loop(id, outcome, head_ns);
        }
        let handed = Handed {
            request: (id, request.number),
            reader: reader.tid,
            read_ns: head_ns,
            end_ns: outcome.end_ns,
        };
        self.note_handover(tgid, reader, out);
        let reads = self.threads.of(writer).is_some_and(|it| it.requests > 0);
        let moments = self.threads.of(writer).map(|thread| &thread.moments);
        let start = moments.and_then(|moments| moments.start_of(&handed));
        let spent = start.and_then(|start| totals.since(&start.totals));
        let (Some(start), Some(spent)) = (start, spent) else {
            return Worked::Unseen(writer);
        };
        Worked::By(Box::new(Work {
            worker: writer,
            read_ns: outcome.last_read_ns.clamp(head_ns, start.ns.max(head_ns)),
            start_ns: start.ns,
            end_ns: outcome.end_ns,
            spent,
            waits: outcome.waits.to_vec(),
            doubt: match start.is_bound {
                true => BOUND,
                false if reads => MIXED,
                false => "",
            },
            ended_by: handed.request,
        }))
    }

    /// Its reader has written the response: a thread may have worked for it all the same.
    fn worked_for_loop(&mut self, id: u64, outcome: &Outcome<'_>, head_ns: u64) -> Worked {
        let Some(request) = self.connections.request(id) else {
            return Worked::Reader;
        };
        let entry = (id, request.serial);
        let Some(thread) = self.threads.of(request.reader) else {
            return Worked::Reader;
        };
        thread.hands_over = false;
        let Some(relay) = thread.relay.as_deref_mut() else {
            return Worked::Reader;
        };
        let job = match relay.take(entry, outcome.first_write_ns) {
            Found::None => return Worked::Reader,
            Found::Uncertain => return Worked::Uncertain(DISAGREE),
            Found::Job(job) => job,
        };
        let Some(done) = job.done else {
            return Worked::Uncertain(DISAGREE);
        };
        let Some(spent) = done.raw.totals.since(&job.woken.raw.totals) else {
            return Worked::Uncertain(DISAGREE);
        };
        Worked::By(Box::new(Work {
            worker: ThreadKey::from(&done.raw.header),
            read_ns: head_ns,
            start_ns: job.woken.time_ns(),
            end_ns: done.time_ns(),
            spent,
            waits: done.raw.waits.to_vec(),
            doubt: "",
            ended_by: (0, done.raw.header.sequence),
        }))
    }

    /// A thread has answered what another read.
    fn note_handover(&mut self, pid: u32, reader: ThreadKey, out: &mut Vec<Output>) {
        if let Some(thread) = self.threads.of(reader) {
            thread.hands_over = true;
        }
        let Some(process) = self.processes.get_mut(pid) else {
            return;
        };
        if !process.hands_over {
            process.hands_over = true;
            process.tells_marks = true;
            let certain = true;
            out.push(Output::Command(Command::TellMarks { pid, certain }));
        }
    }
}
