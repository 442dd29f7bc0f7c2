//! Bytes that a thread with an open request exchanged with a server: operations of that request.

use whyslow_abi::library::PLAIN_TEXT_OF;

use super::Engine;
use crate::{
    attribution::{operations::Done, waits},
    decode::Data,
    losses::reason,
    output::{Command, Output},
    timeline::servers::{Answer, Owner},
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
        if server.hides(data.plain) {
            return;
        }
        if data.written && !data.plain && server.first_cipher_text(data.chunk().front) {
            let pid = raw.header.tgid;
            out.push(Output::Command(Command::LookForLibraries { pid }));
        }
        let outcome = if data.written {
            server.written(owner, data.chunk(), now_ns)
        } else {
            server.read(owner, data.chunk(), now_ns)
        };
        if outcome.uninteresting {
            let text = if data.plain { PLAIN_TEXT_OF } else { 0 };
            out.push(Output::Command(Command::IgnoreServer { id: id | text }));
        }
        if outcome.missed
            && let Some(request) = self.connections.request_mut(raw.connection)
        {
            request.operations.mark_sampled();
        }
        for answer in &outcome.answers {
            self.answered(id, answer, now_ns);
        }
        if evicted {
            self.losses.add(reason::SERVERS_EVICTED, 1, raw.header.tgid);
        }
    }

    /// An operation is over. It belongs to the request that asked, while that is open.
    fn answered(&mut self, id: u64, answer: &Answer, now_ns: u64) {
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
            protocol,
            peer: &server.address,
            shape: &operation.shape,
            ns: now_ns.saturating_sub(answer.begin_ns),
            first_byte_ns: operation.first_byte_ns.saturating_sub(answer.begin_ns),
            rows: answer.rows,
            error: answer.error.as_deref(),
        });
    }

    /// The request is over: what it asked and did not wait for, or did not live to see answered.
    pub(super) fn count_unanswered(&mut self, owner: Owner, end_ns: u64) {
        let (connection, _) = owner;
        let Some(request) = self.connections.request_mut(connection) else {
            return;
        };
        for id in std::mem::take(&mut request.servers) {
            let Some(server) = self.servers.get(id) else {
                continue;
            };
            let Some(protocol) = server.protocol() else {
                continue;
            };
            // One after the other: the first has all the time, as with those that are answered.
            let mut from_ns = server.answered_ns();
            for open in server.open_of(owner) {
                let begin_ns = open.asked_ns.max(from_ns);
                from_ns = end_ns;
                request.operations.add(&Done {
                    protocol,
                    peer: &server.address,
                    shape: &open.shape,
                    ns: end_ns.saturating_sub(begin_ns),
                    first_byte_ns: 0,
                    rows: 0,
                    error: None,
                });
            }
        }
    }
}
