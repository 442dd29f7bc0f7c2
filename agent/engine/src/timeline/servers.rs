//! Connections to servers that watched processes made, by the inode number of their socket: what is
//! spoken there, and which operations are open.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    hash::FastMap,
    protocol::{
        Recognised,
        client::{CLIENT_PROTOCOLS, Chunk, ClientProtocol, Finding, Session, SessionOptions},
        tls::Tls,
    },
};

/// Connections kept; the one that was silent for longest goes first.
const LIMIT: usize = 16_384;
/// Operations open on one connection at the most.
const OPEN: usize = 65_536;
/// Writes that are looked at until a connection is given up as unknown.
const TRIES: u8 = 4;

/// Which request asked: its connection and its serial number.
pub(crate) type Owner = (u64, u64);

/// An operation without its whole answer.
#[derive(Clone, Debug)]
pub(crate) struct OpenOperation {
    /// `None`: no request was open.
    pub(crate) owner: Option<Owner>,
    pub(crate) shape: String,
    pub(crate) asked_ns: u64,
    /// First read after it was asked; 0: none.
    pub(crate) first_byte_ns: u64,
    /// Last read of an answer whose end cannot be told; 0: none.
    pub(crate) read_ns: u64,
    /// Error that such an answer told.
    pub(crate) error: Option<String>,
    /// Bytes of it and of its answer. Those of a transfer with parts of several are the first one's.
    pub(crate) bytes: u64,
}

/// Bytes that a transfer moved, until they are somebody's.
#[derive(Clone, Copy, Debug)]
enum Moved {
    Written(u64),
    Read(u64),
}

impl Moved {
    /// For an operation that was asked for by them.
    fn asked(&mut self) -> u64 {
        match self {
            Self::Written(bytes) => std::mem::take(bytes),
            Self::Read(_) => 0,
        }
    }

    /// For an operation that was answered by them.
    fn answered(&mut self) -> u64 {
        match self {
            Self::Written(_) => 0,
            Self::Read(bytes) => std::mem::take(bytes),
        }
    }
}

/// An operation that is over.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) operation: OpenOperation,
    /// When the connection was free for it: it was asked, and those before it were answered.
    pub(crate) begin_ns: u64,
    /// When its answer was complete.
    pub(crate) end_ns: u64,
    pub(crate) rows: u64,
    pub(crate) error: Option<String>,
    /// Its end was not seen: how long it took is not known, and `end_ns` is `begin_ns`.
    pub(crate) cut: bool,
}

/// What came of a transfer.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) answers: Vec<Answer>,
    /// Operations may have been missed.
    pub(crate) missed: bool,
    /// The programs need not copy this connection's bytes any more.
    pub(crate) uninteresting: bool,
}

#[derive(Debug)]
enum Speech {
    /// Not known yet, after so many writes.
    Unknown(u8),
    Known(&'static dyn ClientProtocol, Box<dyn Session>),
    /// Nothing that is understood.
    Ignored,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: Arc<str>,
    speech: Speech,
    options: SessionOptions,
    open: VecDeque<OpenOperation>,
    /// When the last answer was complete.
    answered_ns: u64,
    first_ns: u64,
    used_ns: u64,
}

impl Server {
    /// What is spoken.
    pub(crate) fn protocol(&self) -> Option<&'static dyn ClientProtocol> {
        match &self.speech {
            Speech::Known(protocol, _) => Some(*protocol),
            _ => None,
        }
    }

    /// When bytes were first exchanged.
    pub(crate) fn first_ns(&self) -> u64 {
        self.first_ns
    }

    /// When the last answer was complete.
    pub(crate) fn answered_ns(&self) -> u64 {
        self.answered_ns
    }

    /// Open operations of a request.
    pub(crate) fn open_of(&self, owner: Owner) -> impl Iterator<Item = &OpenOperation> {
        let owner = Some(owner);
        self.open.iter().filter(move |open| open.owner == owner)
    }

    /// Bytes were not seen, in either direction.
    pub(crate) fn gap(&mut self, now_ns: u64) -> Outcome {
        let mut outcome = Outcome::default();
        let mut found = Vec::new();
        if let Speech::Known(_, session) = &mut self.speech {
            session.gap(&mut found);
        }
        self.take(found, None, now_ns, Moved::Read(0), &mut outcome);
        for answer in &mut outcome.answers {
            answer.cut = true;
            answer.end_ns = answer.begin_ns;
            answer.operation.first_byte_ns = 0;
        }
        outcome
    }

    /// The thread wrote, for that request.
    pub(crate) fn written(
        &mut self,
        owner: Option<Owner>,
        chunk: Chunk<'_>,
        now_ns: u64,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        if let Speech::Unknown(tries) = self.speech {
            self.speech = recognise(chunk.front, tries, self.options);
            outcome.uninteresting = matches!(self.speech, Speech::Ignored);
        }
        let mut found = Vec::new();
        if let Speech::Known(_, session) = &mut self.speech {
            session.written(chunk, &mut found);
        }
        if self.becomes_encrypted(&found, &mut outcome)
            && let Speech::Known(_, session) = &mut self.speech
        {
            session.written(chunk, &mut found);
        }
        self.take(
            found,
            owner,
            now_ns,
            Moved::Written(chunk.len),
            &mut outcome,
        );
        outcome
    }

    /// The thread read, for that request.
    pub(crate) fn read(&mut self, owner: Option<Owner>, chunk: Chunk<'_>, now_ns: u64) -> Outcome {
        let mut outcome = Outcome::default();
        let mut found = Vec::new();
        if let Some(first) = self.open.front_mut()
            && first.first_byte_ns == 0
        {
            first.first_byte_ns = now_ns;
        }
        if let Speech::Known(_, session) = &mut self.speech {
            session.read(chunk, &mut found);
        }
        self.becomes_encrypted(&found, &mut outcome);
        self.take(found, owner, now_ns, Moved::Read(chunk.len), &mut outcome);
        outcome
    }

    /// What is spoken is TLS, when the session has found that.
    fn becomes_encrypted(&mut self, found: &[Finding], outcome: &mut Outcome) -> bool {
        let becomes = found.last() == Some(&Finding::Encrypted);
        if becomes {
            self.speech = Speech::Known(&Tls, Tls.session());
            // What is still open is not heard of any more.
            outcome.missed |= !self.open.is_empty();
            self.open.clear();
        }
        becomes
    }

    fn take(
        &mut self,
        found: Vec<Finding>,
        owner: Option<Owner>,
        now_ns: u64,
        mut moved: Moved,
        outcome: &mut Outcome,
    ) {
        for finding in found {
            match finding {
                Finding::Asked { shape } if self.open.len() < OPEN => {
                    self.open.push_back(OpenOperation {
                        owner,
                        shape,
                        asked_ns: now_ns,
                        first_byte_ns: 0,
                        read_ns: 0,
                        error: None,
                        bytes: moved.asked(),
                    });
                }
                Finding::Asked { .. } | Finding::Missed => outcome.missed = true,
                Finding::Answered { rows, error } => {
                    if let Some(mut operation) = self.open.pop_front() {
                        operation.bytes = operation.bytes.saturating_add(moved.answered());
                        outcome
                            .answers
                            .push(self.answered(operation, now_ns, (rows, error)));
                    }
                }
                Finding::AnsweredAt { index, rows, error } => {
                    if let Some(mut operation) = self.open.remove(index) {
                        operation.first_byte_ns = now_ns;
                        operation.bytes = operation.bytes.saturating_add(moved.answered());
                        outcome.answers.push(Answer {
                            begin_ns: operation.asked_ns,
                            end_ns: now_ns,
                            rows,
                            error,
                            operation,
                            cut: false,
                        });
                    }
                }
                Finding::Answering { error } => {
                    if let Some(operation) = self.open.front_mut() {
                        operation.read_ns = now_ns;
                        operation.error = error;
                    }
                }
                Finding::AnsweredBefore => {
                    if let Some(mut operation) = self.open.pop_front() {
                        let end_ns = operation.end_ns(now_ns);
                        let error = operation.error.take();
                        outcome
                            .answers
                            .push(self.answered(operation, end_ns, (0, error)));
                    }
                }
                Finding::Encrypted => {}
            }
        }
        self.count_part(moved);
    }

    /// What began and ended no operation is a part of one that goes on.
    fn count_part(&mut self, moved: Moved) {
        let part = match moved {
            Moved::Written(bytes) => self.open.back_mut().map(|last| (last, bytes)),
            Moved::Read(bytes) => self.open.front_mut().map(|first| (first, bytes)),
        };
        if let Some((operation, bytes)) = part {
            operation.bytes = operation.bytes.saturating_add(bytes);
        }
    }

    /// The oldest operation is over. The next begins where this has ended.
    fn answered(
        &mut self,
        mut operation: OpenOperation,
        end_ns: u64,
        (rows, error): (u64, Option<String>),
    ) -> Answer {
        if operation.first_byte_ns == 0 {
            operation.first_byte_ns = end_ns;
        }
        let begin_ns = operation.asked_ns.max(self.answered_ns);
        self.answered_ns = end_ns;
        Answer {
            operation,
            begin_ns,
            end_ns,
            rows,
            error,
            cut: false,
        }
    }
}

impl OpenOperation {
    /// When it was over, if nothing more comes until `now_ns`.
    pub(crate) fn end_ns(&self, now_ns: u64) -> u64 {
        if self.read_ns == 0 {
            now_ns
        } else {
            self.read_ns
        }
    }
}

fn recognise(written: &[u8], tries: u8, options: SessionOptions) -> Speech {
    for protocol in CLIENT_PROTOCOLS {
        if protocol.recognise(written) == Recognised::Yes {
            return Speech::Known(*protocol, protocol.session_with(options));
        }
    }
    if tries + 1 >= TRIES {
        Speech::Ignored
    } else {
        Speech::Unknown(tries + 1)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    map: FastMap<u64, Server>,
    options: SessionOptions,
}

impl Servers {
    pub(crate) fn new(options: SessionOptions) -> Self {
        Self {
            map: FastMap::default(),
            options,
        }
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Server> {
        self.map.get(&id)
    }

    /// The connection, if it is known.
    pub(crate) fn known(&mut self, id: u64, now_ns: u64) -> Option<&mut Server> {
        let server = self.map.get_mut(&id)?;
        server.used_ns = now_ns;
        Some(server)
    }

    /// The connection, made when it is new. Returns whether another had to go for it.
    pub(crate) fn of(
        &mut self,
        id: u64,
        now_ns: u64,
        address: impl FnOnce() -> String,
    ) -> (&mut Server, bool) {
        let evicts = self.map.len() >= LIMIT && !self.map.contains_key(&id);
        if evicts {
            let oldest = self.map.iter().min_by_key(|(_, server)| server.used_ns);
            if let Some(id) = oldest.map(|(id, _)| *id) {
                self.map.remove(&id);
            }
        }
        let server = self.map.entry(id).or_insert_with(|| Server {
            address: address().into(),
            speech: Speech::Unknown(0),
            options: self.options,
            open: VecDeque::new(),
            answered_ns: 0,
            first_ns: now_ns,
            used_ns: now_ns,
        });
        server.used_ns = now_ns;
        (server, evicts)
    }
}
