//! Bytes that a thread with an open request exchanged with a server: operations of that request.

use super::Engine;
use crate::{
    attribution::{operations::Done, waits},
    decode::Data,
    losses::reason,
    output::{Command, Output},
    timeline::servers::{Answer, Owner, Server},
};

impl Engine {
    pub(super) fn data(&mut self, data: &Data, out: &mut Vec<Output>) {
        let raw = &data.raw;
        let (id, now_ns) = (raw.peer, raw.header.time_ns);
        let Some(request) = self.connections.request_mut(raw.connection) else {
            return;
        };
        if request.number != raw.request || request.tgid != raw.header.tgid {
            return;
        }
        if data.spent {
            request.operations.mark_sampled();
        }
        let owner = (raw.connection, request.serial);
        if !request.servers.contains(&id) {
            request.servers.push(id);
        }
        let address = || waits::server(raw.family, raw.address, raw.port_be, &raw.name);
        let (server, evicted) = self.servers.of(id, now_ns, address);
        let outcome = if data.written {
            server.written(owner, data.chunk(), now_ns)
        } else {
            server.read(owner, data.chunk(), now_ns)
        };
        if outcome.uninteresting {
            out.push(Output::Command(Command::IgnoreServer { id }));
        }
        if outcome.missed
            && let Some(request) = self.connections.request_mut(raw.connection)
        {
            request.operations.mark_sampled();
        }
        for answer in &outcome.answers {
            self.answered(id, answer);
        }
        if evicted {
            self.losses.add(reason::SERVERS_EVICTED, 1, raw.header.tgid);
        }
    }

    /// An operation is over. It belongs to the request that asked, while that is open.
    fn answered(&mut self, id: u64, answer: &Answer) {
        let (connection, serial) = answer.operation.owner;
        let Some(server) = self.servers.get(id) else {
            return;
        };
        let Some(protocol) = server.protocol() else {
            return;
        };
        let Some(request) = self.connections.request_mut(connection) else {
            return;
        };
        if request.serial != serial {
            return;
        }
        let operation = &answer.operation;
        request.operations.add(&Done {
            protocol: protocol.name(),
            peer: &server.address,
            shape: &operation.shape,
            ns: answer.end_ns.saturating_sub(answer.begin_ns),
            first_byte_ns: operation.first_byte_ns.saturating_sub(answer.begin_ns),
            rows: answer.rows,
            error: answer.error.as_deref(),
            opaque: protocol.is_opaque(),
        });
    }

    /// The request is over: what it asked and did not wait for, or did not live to see answered.
    pub(super) fn count_unanswered(&mut self, owner: Owner, end_ns: u64) {
        let (connection, _) = owner;
        let Some(request) = self.connections.request_mut(connection) else {
            return;
        };
        let servers = std::mem::take(&mut request.servers);
        let known = servers.iter().filter_map(|id| self.servers.get(*id));
        let mut firsts: Vec<u64> = known.map(Server::first_ns).collect();
        firsts.sort_unstable();
        for id in servers {
            let Some(server) = self.servers.get(id) else {
                continue;
            };
            let Some(protocol) = server.protocol() else {
                continue;
            };
            // One after the other: the first has all the time, as with those that are answered.
            let mut from_ns = server.answered_ns();
            for open in server.open_of(owner) {
                let given_up = protocol.side_by_side();
                let (begin_ns, end_ns) = if given_up.is_some() {
                    // Until it asked elsewhere, since nothing tells of what it does not wait for.
                    let next = firsts.partition_point(|ns| *ns <= open.asked_ns);
                    let next_ns = firsts.get(next).copied().unwrap_or(end_ns);
                    (open.asked_ns, next_ns.min(end_ns))
                } else {
                    (open.asked_ns.max(from_ns), open.end_ns(end_ns))
                };
                from_ns = from_ns.max(end_ns);
                request.operations.add(&Done {
                    protocol: protocol.name(),
                    peer: &server.address,
                    shape: &open.shape,
                    ns: end_ns.saturating_sub(begin_ns),
                    first_byte_ns: open.first_byte_ns.saturating_sub(begin_ns),
                    rows: 0,
                    error: given_up.or(open.error.as_deref()),
                    opaque: protocol.is_opaque(),
                });
            }
        }
    }
}
