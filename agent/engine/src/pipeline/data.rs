//! Bytes that a thread exchanged with a server: operations of the request that it has open. What it says between two
//! requests belongs to none, but tells what the connection's next bytes mean.

use whyslow_abi::library::PLAIN_TEXT_OF;

use super::Engine;
use crate::{
    attribution::{operations::Done, waits},
    decode::Data,
    input::Findings,
    losses::reason,
    output::{Command, Output},
    timeline::{
        connections::Connections,
        request::OpenRequest,
        servers::{Answer, Outcome, Owner, Server},
    },
};

/// What the transfer tells: of bytes before it that were not shipped, and of its own.
fn said(
    server: &mut Server,
    data: &Data,
    owner: Option<Owner>,
    findings: Option<Findings>,
) -> (Outcome, Outcome) {
    let now_ns = data.head().header.time_ns;
    let (chunk, mut cut) = (data.chunk(), Outcome::default());
    let Some(findings) = findings else {
        if data.gap() {
            cut = server.gap(now_ns);
        }
        let outcome = if data.written() {
            server.written(owner, chunk, now_ns)
        } else {
            server.read(owner, chunk, now_ns)
        };
        return (cut, outcome);
    };
    if data.gap() {
        cut = server.told_gap(&findings, now_ns);
    }
    let moved = (data.written(), chunk.len);
    (cut, server.told(owner, moved, findings, now_ns))
}

/// The request that a thread has open.
fn request_of(connections: &mut Connections, owner: Option<Owner>) -> Option<&mut OpenRequest> {
    connections.request_mut(owner?.0)
}

impl Engine {
    /// `findings`: what a recording tells of the bytes, which it left out.
    pub(super) fn data(&mut self, data: &Data, findings: Option<Findings>, out: &mut Vec<Output>) {
        let head = data.head();
        let (id, now_ns) = (data.conversation(), head.header.time_ns);
        let owner = self.owner(data);
        if data.answered() {
            self.answered_client(owner, now_ns);
        }
        if data.ends() {
            self.lost(data, owner);
            return;
        }
        if self.is_cipher_text(data) {
            return;
        }
        let used = owner.is_some_and(|owner| self.note_use(owner, id));
        let Some(server) = self.server(data) else {
            // Its first record was lost, or it was evicted here: the programs begin anew with it.
            out.push(Output::Command(Command::ForgetServer { id }));
            self.mark_sampled(owner, now_ns);
            return;
        };
        let before = server.open_len();
        let (cut, outcome) = said(server, data, owner, findings);
        if server.turns_out_encrypted() {
            let pid = head.header.tgid;
            out.push(Output::Command(Command::LookForLibraries { pid }));
        }
        let open = server.open_len();
        self.servers.note_open(before, open);
        if outcome.uninteresting {
            self.servers.note_given_up(id, now_ns);
            out.push(Output::Command(Command::IgnoreServer { id }));
        }
        for answer in cut.answers.iter().chain(&outcome.answers) {
            self.answered(id, answer);
        }
        // What was not shipped before the request's first use of the connection was not its own.
        if outcome.missed || data.gap() && used {
            self.mark_sampled(owner, now_ns);
        }
        if outcome.not_understood {
            self.note_not_understood(owner, id, now_ns);
        }
        if data.spent() {
            self.note_spent(owner, now_ns);
        }
        if self.servers.is_full() {
            self.give_up_open(id, now_ns);
        }
    }

    /// Whether these are bytes of a connection whose plain text is told too. With the first plain text, what went
    /// before it is forgotten: it made the connection an encrypted one.
    fn is_cipher_text(&mut self, data: &Data) -> bool {
        let peer = data.head().peer;
        if !data.plain() {
            return self.servers.get(peer | PLAIN_TEXT_OF).is_some();
        }
        if let Some(cipher) = self.servers.known(peer) {
            let open = cipher.open_len();
            cipher.ignore();
            self.servers.note_open(open, 0);
        }
        false
    }

    /// There is no room for more open operations: those of this connection are given up.
    fn give_up_open(&mut self, id: u64, now_ns: u64) {
        self.end_open(id, |server| server.gap(now_ns));
    }

    /// The connection is over, and what was said on it in plain text: nothing more is answered there.
    fn lost(&mut self, data: &Data, owner: Option<Owner>) {
        let (peer, now_ns) = (data.head().peer, data.head().header.time_ns);
        for id in [peer, peer | PLAIN_TEXT_OF] {
            self.end_open(id, |server| server.lost(now_ns));
        }
        if data.spent() {
            self.note_spent(owner, now_ns);
        }
    }

    fn end_open(&mut self, id: u64, end: impl FnOnce(&mut Server) -> Outcome) {
        let Some(server) = self.servers.known(id) else {
            return;
        };
        let before = server.open_len();
        let ended = end(server);
        let open = server.open_len();
        self.servers.note_open(before, open);
        for answer in &ended.answers {
            self.answered(id, answer);
        }
    }

    /// Connections that were given up are told anew from time to time.
    pub(super) fn try_again(&mut self, now_ns: u64, out: &mut Vec<Output>) {
        while let Some(id) = self.servers.next_to_try(now_ns) {
            out.push(Output::Command(Command::ForgetServer { id }));
        }
    }

    /// What comes from here on may come after the response.
    fn answered_client(&mut self, owner: Option<Owner>, now_ns: u64) {
        if let Some(request) = request_of(&mut self.connections, owner) {
            request.operations.answered(now_ns);
        }
    }

    /// The request that the thread has open.
    fn owner(&mut self, data: &Data) -> Option<Owner> {
        let head = data.head();
        let request = self.connections.request(head.connection);
        let same = |it: &&OpenRequest| it.number == head.request && it.tgid == head.header.tgid;
        match request.filter(same) {
            Some(request) => Some((head.connection, request.serial)),
            None => self.owner_of_work(&head.header),
        }
    }

    /// The connection, which may be new when the record tells who the server is.
    fn server(&mut self, data: &Data) -> Option<&mut Server> {
        let head = data.head();
        let (id, now_ns) = (data.conversation(), head.header.time_ns);
        let Some(raw) = data.server() else {
            return self.servers.known(id);
        };
        let who = &raw.server;
        let address = || waits::server(who.family, who.address, who.port_be, &who.name);
        let (server, evicted) = self.servers.of(id, now_ns, address);
        if let Some(evicted) = evicted {
            self.losses
                .add(reason::SERVERS_EVICTED, 1, head.header.tgid);
            // What was open there is not counted any more.
            for ((connection, serial), asked_ns) in evicted.owners() {
                if let Some(request) = self.connections.request_mut(connection)
                    && request.serial == serial
                {
                    request.operations.mark_sampled(asked_ns);
                }
            }
        }
        Some(server)
    }

    fn mark_sampled(&mut self, owner: Option<Owner>, now_ns: u64) {
        if let Some(request) = request_of(&mut self.connections, owner) {
            request.operations.mark_sampled(now_ns);
        }
    }

    /// The request was answered on a connection whose protocol is not known.
    fn note_not_understood(&mut self, owner: Option<Owner>, id: u64, now_ns: u64) {
        if let Some(request) = request_of(&mut self.connections, owner)
            && let Some(server) = self.servers.get(id)
        {
            let peer = &server.address;
            request.operations.note_not_understood(peer, now_ns);
        }
    }

    /// No more is shipped for the request.
    fn note_spent(&mut self, owner: Option<Owner>, now_ns: u64) {
        self.mark_sampled(owner, now_ns);
        if let Some(request) = request_of(&mut self.connections, owner) {
            request.spent_ns = now_ns;
        }
    }

    /// The request uses the connection; returns whether it did before.
    fn note_use(&mut self, (connection, _): Owner, id: u64) -> bool {
        let Some(request) = self.connections.request_mut(connection) else {
            return false;
        };
        let used = request.servers.contains(&id);
        if !used {
            request.servers.push(id);
        }
        used
    }

    /// An operation is over. It belongs to the request that asked, while that is open.
    fn answered(&mut self, id: u64, answer: &Answer) {
        let Some((connection, serial)) = answer.operation.owner else {
            return;
        };
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
        if answer.cut || operation.several {
            request.operations.mark_sampled(operation.asked_ns);
        }
        request.operations.add(&Done {
            protocol: protocol.name(),
            peer: &server.address,
            shape: &operation.shape,
            asked_ns: operation.asked_ns,
            ns: answer.end_ns.saturating_sub(answer.begin_ns),
            first_byte_ns: operation.first_byte_ns.saturating_sub(answer.begin_ns),
            rows: answer.rows,
            rows_estimated: operation.rows_estimated,
            answer_unseen: operation.answer_unseen,
            waited_for: operation.waited_for,
            together: operation.together,
            bytes: operation.bytes,
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
            // What is not shipped is not seen to end.
            let seen_ns = match request.spent_ns {
                0 => end_ns,
                spent_ns => spent_ns.min(end_ns),
            };
            for open in server.open_of(owner) {
                let given_up = protocol.side_by_side();
                let (begin_ns, end_ns) = if given_up.is_some() {
                    // Until it asked elsewhere, since nothing tells of what it does not wait for.
                    let next = firsts.partition_point(|ns| *ns <= open.asked_ns);
                    let next_ns = firsts.get(next).copied().unwrap_or(end_ns);
                    (open.asked_ns, next_ns.min(end_ns))
                } else {
                    (open.asked_ns.max(from_ns), server.over_ns(open, seen_ns))
                };
                from_ns = from_ns.max(end_ns);
                if open.several {
                    request.operations.mark_sampled(open.asked_ns);
                }
                request.operations.add(&Done {
                    protocol: protocol.name(),
                    peer: &server.address,
                    shape: &open.shape,
                    asked_ns: open.asked_ns,
                    ns: end_ns.saturating_sub(begin_ns),
                    first_byte_ns: open.first_byte_ns.saturating_sub(begin_ns),
                    rows: 0,
                    bytes: open.bytes,
                    error: given_up.or(open.error.as_deref()),
                    opaque: protocol.is_opaque(),
                    rows_estimated: false,
                    answer_unseen: given_up.is_none() && open.read_ns == 0,
                    waited_for: open.waited_for,
                    together: false,
                });
            }
        }
    }
}
