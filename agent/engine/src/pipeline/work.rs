//! What threads ask of servers while they work on what others have read: kept by thread, from one answer to the next.

use whyslow_abi::record::{MarkKind, RecordHeader};

use super::Engine;
use crate::{
    attribution::operations::Operations,
    timeline::{
        ThreadKey,
        handovers::Moment,
        request::OpenRequest,
        servers::Owner,
        works::{End, id_of},
    },
};

impl Engine {
    /// Whom bytes belong to that a thread without a request of its own exchanges with a server.
    pub(super) fn owner_of_work(&mut self, header: &RecordHeader) -> Option<Owner> {
        let process = self.processes.get(header.tgid)?;
        if !process.tells_marks {
            return None;
        }
        let key = ThreadKey::from(header);
        let thread = self.threads.of(key)?;
        if thread.relay.is_some() || thread.hands_over {
            return None;
        }
        let id = id_of(header.tid);
        if let Some(work) = self.connections.request(id).filter(|it| it.reader == key) {
            return Some((id, work.serial));
        }
        let request_id = self.next_id();
        let work = OpenRequest::new(request_id, 0, key, header.tgid, header.time_ns);
        self.connections.add_work(id, Box::new(work));
        Some((id, request_id.0))
    }

    /// The thread has a moment that may end its work, or begin another.
    pub(super) fn note_work(&mut self, moment: &Moment) {
        let header = &moment.raw.header;
        let end = match moment.kind {
            MarkKind::Woken => None,
            MarkKind::Answered => Some((moment.raw.connection, moment.raw.request)),
            MarkKind::Signalled => Some((0, header.sequence)),
        };
        let Some(work) = self.connections.request_mut(id_of(header.tid)) else {
            return;
        };
        let Some(thread) = self.threads.of(ThreadKey::from(header)) else {
            return;
        };
        let works = &mut thread.works;
        if let Some(ending) = works.ending.filter(|ending| end != Some(*ending)) {
            // What came since the answer is of the next one, or, if it then slept, of none.
            let after = work.operations.take_after();
            let over = std::mem::take(&mut work.operations);
            works.keep(ending, over);
            work.servers.clear();
            if end.is_some() {
                work.operations = after;
            }
        }
        works.ending = end;
        if end.is_some() {
            work.operations.answered(header.time_ns.saturating_add(1));
        }
    }

    /// What a thread asked of servers in the work that ended so.
    pub(super) fn take_work(&mut self, worker: ThreadKey, end: End) -> Operations {
        let Some(thread) = self.threads.of(worker) else {
            return Operations::default();
        };
        if let Some(operations) = thread.works.take(end) {
            return operations;
        }
        let present = thread.works.ending == Some(end);
        let work = self.connections.request(id_of(worker.tid));
        let work = work.filter(|work| present && work.reader == worker);
        work.map_or_else(Operations::default, |work| work.operations.clone())
    }
}
