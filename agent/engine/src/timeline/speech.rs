//! What is spoken on a connection to a server, and what its bytes say: for the engine, and for recordings,
//! which keep that instead of the bytes.

use crate::protocol::{
    Recognised,
    client::{CLIENT_PROTOCOLS, Chunk, ClientProtocol, Finding, Session},
};

/// Writes that are looked at until a connection is given up as unknown.
const TRIES: u8 = 4;

/// One connection.
#[derive(Debug)]
pub(crate) enum Speech {
    /// Not known yet, after so many writes.
    Unknown(u8),
    Known(&'static dyn ClientProtocol, Box<dyn Session>),
    /// Known from a recording, with what was found.
    Told(&'static dyn ClientProtocol),
    /// Nothing that is understood.
    Ignored,
}

impl Speech {
    /// One that was not heard yet.
    pub(crate) fn new() -> Self {
        Self::Unknown(0)
    }

    /// Name of what is spoken.
    pub(crate) fn protocol(&self) -> Option<&'static str> {
        match self {
            Self::Known(protocol, _) | Self::Told(protocol) => Some(protocol.name()),
            Self::Unknown(_) | Self::Ignored => None,
        }
    }

    /// The client wrote. Returns whether it is given up just now.
    pub(crate) fn written(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>) -> bool {
        let mut given_up = false;
        if let Self::Unknown(tries) = self {
            *self = recognise(chunk.front, *tries);
            given_up = matches!(self, Self::Ignored);
        }
        if let Self::Known(_, session) = self {
            session.written(chunk, found);
        }
        given_up
    }

    /// The client read.
    pub(crate) fn read(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>) {
        if let Self::Known(_, session) = self {
            session.read(chunk, found);
        }
    }

    /// A recording tells what is spoken. Returns whether that is known here.
    pub(crate) fn tell(&mut self, protocol: &str) -> bool {
        let known = CLIENT_PROTOCOLS.iter().find(|p| p.name() == protocol);
        match known {
            Some(protocol) => *self = Self::Told(*protocol),
            None => *self = Self::Ignored,
        }
        known.is_some()
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
