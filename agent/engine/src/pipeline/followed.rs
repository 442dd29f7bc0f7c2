//! Waits for a server on this host are followed into it: what its thread did meanwhile, and for whom it waited.

use std::sync::Arc;

use whyslow_abi::{account::Account, record::ServiceRecord, wait::Wait};

use super::Engine;
use crate::{
    attribution::ledger,
    output::{Blocked, Command, Output, RequestFinished, RequestStarted, Served, Target, Waker},
    timeline::ThreadKey,
};

/// A wait at least this long is worth following its server from then on.
const FOLLOW_FLOOR_NS: u64 = 10_000_000;

/// Why it is not known what a server did.
mod unknown {
    pub(super) const NO_PEER: &str = "its server is not known";
    pub(super) const REMOTE: &str =
        "its server is not on this host, or not asked by a local address";
    pub(super) const NOBODY: &str = "who has answered was not seen";
    pub(super) const NOT_YET: &str = "its server was not followed yet";
    pub(super) const MISSED: &str = "what its server did was not seen";
}

impl Engine {
    /// A thread of a server that is followed has answered.
    pub(super) fn server_answered(&mut self, service: &ServiceRecord) {
        if let Some(thread) = self.threads.of(ThreadKey::from(&service.header)) {
            thread.services.add(service);
        }
    }

    /// Tells what servers did while the request waited for them; has those followed that were long in answering.
    pub(super) fn look_into_servers(
        &mut self,
        finished: &mut RequestFinished,
        raw: &[Wait],
        out: &mut Vec<Output>,
    ) {
        for entry in &mut finished.waits {
            if entry.account != Account::NetUpstream {
                continue;
            }
            let Target::Peer(peer) = &entry.target else {
                entry.served_unknown = unknown::NO_PEER;
                continue;
            };
            let raw = raw.iter().find(|wait| wait.start_ns == entry.start_ns);
            let who = raw.map_or(0, |wait| wait.waker);
            let (pid, tid) = ((who >> 32) as u32, who as u32);
            entry.served_unknown = match self.processes.get(pid) {
                _ if !is_local(peer) => unknown::REMOTE,
                _ if tid == 0 => unknown::NOBODY,
                Some(process) if process.followed => {
                    let end_ns = entry.start_ns.saturating_add(entry.ns);
                    entry.served = self.served(tid, (entry.start_ns, end_ns));
                    match entry.served {
                        Some(_) => "",
                        None => unknown::MISSED,
                    }
                }
                // A worker that is watched: its request says the rest.
                Some(process) if process.served > 0 => {
                    entry.waker = Some(Waker {
                        pid,
                        tid,
                        ..Waker::default()
                    });
                    ""
                }
                _ => {
                    if entry.ns >= FOLLOW_FLOOR_NS && self.followed.ask(pid) {
                        let peer = peer.clone();
                        out.push(Output::Command(Command::FollowServer { pid, peer }));
                    }
                    unknown::NOT_YET
                }
            };
        }
    }

    fn served(&self, tid: u32, (begin_ns, end_ns): (u64, u64)) -> Option<Served> {
        let thread = self.threads.get(tid)?;
        let service = thread.services.for_most_of(begin_ns, end_ns)?;
        let mut spent = service.now;
        for (now, before) in spent.iter_mut().zip(service.service.begin) {
            *now = now.saturating_sub(before);
        }
        Some(Served {
            pid: thread.tgid,
            tid,
            comm: self.comm(tid, thread.tgid),
            ns: service
                .header
                .time_ns
                .saturating_sub(service.service.begin_ns),
            ledger: ledger::entries(&spent, |_| 0),
            blocked: self.blocked(tid, &service.waits),
        })
    }

    /// The longest of a server's waits that another thread of a server ended.
    fn blocked(&self, tid: u32, waits: &[Wait]) -> Option<Blocked> {
        let by_another = |wait: &&Wait| {
            let process = self.processes.get((wait.waker >> 32) as u32);
            wait.ns > 0 && wait.waker as u32 != tid && process.is_some_and(|it| it.followed)
        };
        let wait = waits.iter().filter(by_another).max_by_key(|wait| wait.ns)?;
        let (pid, waker) = ((wait.waker >> 32) as u32, wait.waker as u32);
        Some(Blocked {
            start_ns: wait.start_ns,
            ns: wait.ns,
            waker: Waker {
                pid,
                tid: waker,
                comm: self.comm(waker, pid),
                request: self
                    .request_numbered(wait.waker_connection, wait.waker_request)
                    .map(Arc::clone),
            },
        })
    }

    /// The request with that number on a connection, open or over for a moment.
    fn request_numbered(&self, connection: u64, number: u32) -> Option<&Arc<RequestStarted>> {
        let open = self.connections.request(connection);
        match open.filter(|request| request.number == number) {
            Some(request) => request.started.as_ref(),
            None => self.followed.over(connection, number),
        }
    }
}

/// Whether a server is asked within this host.
fn is_local(peer: &str) -> bool {
    ["127.", "[::1]:", "unix:"]
        .iter()
        .any(|local| peer.starts_with(local))
}
