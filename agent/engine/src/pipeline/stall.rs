//! An event loop did not come back to poll. Told with the next tick: by then it is known which of its requests were
//! over before.

use std::sync::Arc;

use whyslow_abi::{account::Account, record::LoopStallRecord};

use super::{Engine, event};
use crate::{
    attribution::ledger,
    output::{EventKind, LoopStalled, Output, Query, RequestStarted},
    timeline::{
        ThreadKey,
        stalls::{NAMED, Stall, Waiting},
    },
};

impl Engine {
    pub(super) fn loop_stall(&mut self, raw: &LoopStallRecord, out: &mut Vec<Output>) {
        let (header, end_ns) = (&raw.header, raw.header.time_ns);
        if !self.ensure_thread(header, out) || self.is_polled_by_others(raw) {
            return;
        }
        let Some(thread) = self.threads.of(ThreadKey::from(header)) else {
            return;
        };
        let mut waiting = Vec::new();
        for (begin_ns, until_ns, started) in thread.served.iter() {
            if begin_ns < end_ns && until_ns > raw.start_ns {
                waiting.push(Waiting {
                    connection: 0,
                    serial: 0,
                    id: started.id,
                    begin_ns,
                    started: Some(Arc::clone(started)),
                });
            }
        }
        for id in thread.open.clone() {
            let Some(request) = self.connections.request(id) else {
                continue;
            };
            if request.begin_ns < end_ns {
                waiting.push(Waiting {
                    connection: id,
                    serial: request.serial,
                    id: request.id,
                    begin_ns: request.begin_ns,
                    started: None,
                });
                // Whether it was over before.
                out.push(Output::Query(Query::Connection { id }));
            }
        }
        if let Some(oldest) = self.stalls.add(Stall { raw: *raw, waiting }) {
            self.tell_stall(&oldest, out);
        }
    }

    /// Where several threads poll one epoll instance, any of them takes what is ready: none of them stalls the others.
    fn is_polled_by_others(&mut self, raw: &LoopStallRecord) -> bool {
        let Some(process) = self.processes.get_mut(raw.header.tgid) else {
            return true;
        };
        let known = process
            .loops
            .iter_mut()
            .find(|(epoll, _)| *epoll == raw.epoll);
        match known {
            Some((_, tid)) if *tid == raw.header.tid => false,
            Some((_, tid)) => {
                *tid = 0;
                true
            }
            None => {
                if process.loops.len() < LOOPS {
                    process.loops.push((raw.epoll, raw.header.tid));
                }
                false
            }
        }
    }

    /// Tells those that ended before `now_ns`.
    pub(super) fn tell_stalls(&mut self, now_ns: u64, out: &mut Vec<Output>) {
        while let Some(stall) = self.stalls.due(now_ns) {
            self.tell_stall(&stall, out);
        }
    }

    fn tell_stall(&mut self, stall: &Stall, out: &mut Vec<Output>) {
        let raw = &stall.raw;
        let header = &raw.header;
        if let Some(thread) = self.threads.of(ThreadKey::from(header)) {
            thread.stalls += 1;
        }
        let began_with = self.began_with(stall);
        let ids = stall.waiting.iter().map(|it| it.id);
        let stalled = LoopStalled {
            pid: header.tgid,
            tid: header.tid,
            comm: self.comm(header.tid, header.tgid),
            start_ns: raw.start_ns,
            ns: header.time_ns.saturating_sub(raw.start_ns),
            run_queue_ns: raw.ns[Account::RunQueue as usize],
            gil_ns: raw.ns[Account::LockGil as usize],
            ledger: ledger::entries(&raw.ns, |_| 0),
            requests: stall.waiting.len() as u64,
            request_ids: ids.take(NAMED).collect(),
            began_with,
        };
        let kind = EventKind::LoopStalled(Arc::new(stalled));
        out.push(event(header.time_ns, kind));
    }

    /// The only request that began when the stall did: an event loop begins with what it has just read.
    fn began_with(&self, stall: &Stall) -> Option<Arc<RequestStarted>> {
        let start_ns = stall.raw.start_ns;
        let near = |it: &&Waiting| it.begin_ns.abs_diff(start_ns) <= NEAR_NS;
        let mut near = stall.waiting.iter().filter(near);
        let it = near.next().filter(|_| near.next().is_none())?;
        it.started.clone().or_else(|| {
            let open = self.connections.request(it.connection);
            let open = open.filter(|request| request.serial == it.serial);
            open.and_then(|request| request.started.clone())
        })
    }
}

/// A request that begins so near to a stall may be why.
const NEAR_NS: u64 = 2_000_000;
/// Epoll instances of one process that are told apart.
const LOOPS: usize = 64;
