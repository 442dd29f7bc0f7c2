//! Connections to servers that watched processes made, by the inode number of their socket: what is
//! spoken there, and which operations are open.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    hash::FastMap,
    protocol::{
        Recognised,
        client::{CLIENT_PROTOCOLS, Chunk, ClientProtocol, Finding, Session},
    },
};

/// Connections kept; the one that was silent for longest goes first.
const LIMIT: usize = 8_192;
/// Operations open on one connection at the most.
const OPEN: usize = 65_536;
/// Writes that are looked at until a connection is given up as unknown.
const TRIES: u8 = 4;

/// Which request asked: its connection and its serial number.
pub(crate) type Owner = (u64, u64);

/// An operation without its whole answer.
#[derive(Clone, Debug)]
pub(crate) struct OpenOperation {
    pub(crate) owner: Owner,
    pub(crate) shape: String,
    pub(crate) asked_ns: u64,
    /// First read after it was asked; 0: none.
    pub(crate) first_byte_ns: u64,
}

/// An operation that is over.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) operation: OpenOperation,
    /// When the connection was free for it: it was asked, and those before it were answered.
    pub(crate) begin_ns: u64,
    pub(crate) rows: u64,
    pub(crate) error: Option<String>,
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
    open: VecDeque<OpenOperation>,
    /// When the last answer was complete.
    answered_ns: u64,
    used_ns: u64,
    /// Its plain text is told, by the library that encrypts it.
    plain: bool,
    /// Cipher text of it was seen.
    encrypted: bool,
}

impl Server {
    /// Name of what is spoken.
    pub(crate) fn protocol(&self) -> Option<&'static str> {
        match &self.speech {
            Speech::Known(protocol, _) => Some(protocol.name()),
            _ => None,
        }
    }

    /// Whether bytes are nothing to read from: cipher text, where the plain text is told too. With the first
    /// plain text all begins anew: what went before it made the connection an encrypted one.
    pub(crate) fn hides(&mut self, plain: bool) -> bool {
        if plain && !self.plain {
            self.plain = true;
            self.speech = Speech::Unknown(0);
            self.open.clear();
        }
        self.plain && !plain
    }

    /// Whether these written bytes are the first cipher text of the connection: a TLS record of a handshake
    /// or of data (RFC 8446, 5.1).
    pub(crate) fn first_cipher_text(&mut self, written: &[u8]) -> bool {
        !self.plain
            && matches!(written, [0x16 | 0x17, 3, 0..=4, ..])
            && !std::mem::replace(&mut self.encrypted, true)
    }

    /// When the last answer was complete.
    pub(crate) fn answered_ns(&self) -> u64 {
        self.answered_ns
    }

    /// Open operations of a request.
    pub(crate) fn open_of(&self, owner: Owner) -> impl Iterator<Item = &OpenOperation> {
        self.open.iter().filter(move |open| open.owner == owner)
    }

    /// The request wrote.
    pub(crate) fn written(&mut self, owner: Owner, chunk: Chunk<'_>, now_ns: u64) -> Outcome {
        let mut outcome = Outcome::default();
        if let Speech::Unknown(tries) = self.speech {
            self.speech = recognise(chunk.front, tries);
            outcome.uninteresting = matches!(self.speech, Speech::Ignored);
        }
        let mut found = Vec::new();
        if let Speech::Known(_, session) = &mut self.speech {
            session.written(chunk, &mut found);
        }
        self.take(found, owner, now_ns, &mut outcome);
        outcome
    }

    /// The request read.
    pub(crate) fn read(&mut self, owner: Owner, chunk: Chunk<'_>, now_ns: u64) -> Outcome {
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
        self.take(found, owner, now_ns, &mut outcome);
        outcome
    }

    fn take(&mut self, found: Vec<Finding>, owner: Owner, now_ns: u64, outcome: &mut Outcome) {
        for finding in found {
            match finding {
                Finding::Asked { shape } if self.open.len() < OPEN => {
                    self.open.push_back(OpenOperation {
                        owner,
                        shape,
                        asked_ns: now_ns,
                        first_byte_ns: 0,
                    });
                }
                Finding::Asked { .. } | Finding::Missed => outcome.missed = true,
                Finding::Answered { rows, error } => {
                    let Some(mut operation) = self.open.pop_front() else {
                        continue;
                    };
                    if operation.first_byte_ns == 0 {
                        operation.first_byte_ns = now_ns;
                    }
                    let begin_ns = operation.asked_ns.max(self.answered_ns);
                    self.answered_ns = now_ns;
                    outcome.answers.push(Answer {
                        operation,
                        begin_ns,
                        rows,
                        error,
                    });
                }
            }
        }
    }
}

fn recognise(written: &[u8], tries: u8) -> Speech {
    for protocol in CLIENT_PROTOCOLS {
        if protocol.recognise(written) == Recognised::Yes {
            return Speech::Known(*protocol, protocol.session());
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
}

impl Servers {
    pub(crate) fn get(&self, id: u64) -> Option<&Server> {
        self.map.get(&id)
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
            open: VecDeque::new(),
            answered_ns: 0,
            used_ns: now_ns,
            plain: false,
            encrypted: false,
        });
        server.used_ns = now_ns;
        (server, evicts)
    }
}
