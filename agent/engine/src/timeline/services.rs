//! What servers on this host, that requests ask, did for whom.

use std::{collections::VecDeque, sync::Arc};

use whyslow_abi::record::ServiceRecord;

use super::threads::most_of;
use crate::{output::RequestStarted, recent::Recent};

/// Turns kept of a thread: the last ones, and a request waits for them one after the other.
const SERVICES: usize = 8;
/// Processes kept that were looked at, and requests that are over.
const KEPT: usize = 4_096;

/// What a thread did last for its clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Services {
    last: VecDeque<Box<ServiceRecord>>,
}

impl Services {
    pub(crate) fn add(&mut self, service: &ServiceRecord) {
        if self.last.len() == SERVICES {
            self.last.pop_front();
        }
        self.last.push_back(Box::new(*service));
    }

    /// The one that has most of an interval in it.
    pub(crate) fn for_most_of(&self, begin_ns: u64, end_ns: u64) -> Option<&ServiceRecord> {
        let mut services = self.last.iter().rev();
        services
            .find(|service| {
                let it = (service.service.begin_ns, service.header.time_ns);
                most_of(it, (begin_ns, end_ns))
            })
            .map(|service| &**service)
    }
}

/// What is known of servers that are followed, beside their threads.
#[derive(Debug)]
pub(crate) struct FollowedServers {
    /// Processes that the outside was asked to look at.
    asked: Recent<()>,
    /// The last request that is over, by connection.
    over: Recent<(u32, Arc<RequestStarted>)>,
    /// There is one.
    any: bool,
}

impl Default for FollowedServers {
    fn default() -> Self {
        Self {
            asked: Recent::new(KEPT),
            over: Recent::new(KEPT),
            any: false,
        }
    }
}

impl FollowedServers {
    /// Whether the outside is to look at a process: it was not asked before.
    pub(crate) fn ask(&mut self, pid: u32) -> bool {
        self.any = true;
        let id = u64::from(pid);
        let new = self.asked.get(id).is_none();
        self.asked.entry(id, || ());
        new
    }

    /// Request `number` of a connection is over. Nobody asks while no server is followed.
    pub(crate) fn finished(&mut self, connection: u64, number: u32, request: &Arc<RequestStarted>) {
        if self.any {
            let make = || (number, Arc::clone(request));
            let (last, _) = self.over.entry(connection, make);
            *last = make();
        }
    }

    /// The request with that number, if it was the last of its connection that is over.
    pub(crate) fn over(&self, connection: u64, number: u32) -> Option<&Arc<RequestStarted>> {
        let (last, request) = self.over.get(connection)?;
        (*last == number).then_some(request)
    }
}
