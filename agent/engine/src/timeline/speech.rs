//! What is spoken on a connection to a server, and what its bytes say: for the engine, and for recordings,
//! which keep that instead of the bytes.

use crate::protocol::{
    Recognised,
    client::{CLIENT_PROTOCOLS, Chunk, ClientProtocol, Finding, Session, SessionOptions},
    tls::Tls,
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

/// What a transfer meant for the connection itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    /// It is given up just now.
    pub(crate) given_up: bool,
    /// It is encrypted from here on.
    pub(crate) encrypted: bool,
}

impl Speech {
    /// One that was not heard yet.
    pub(crate) fn new() -> Self {
        Self::Unknown(0)
    }

    /// What is spoken.
    pub(crate) fn protocol(&self) -> Option<&'static dyn ClientProtocol> {
        match self {
            Self::Known(protocol, _) | Self::Told(protocol) => Some(*protocol),
            Self::Unknown(_) | Self::Ignored => None,
        }
    }

    /// The client wrote.
    pub(crate) fn written(
        &mut self,
        chunk: Chunk<'_>,
        options: SessionOptions,
        found: &mut Vec<Finding>,
    ) -> Heard {
        let mut heard = Heard::default();
        if let Self::Unknown(tries) = self {
            *self = recognise(chunk.front, *tries, options);
            heard.given_up = matches!(self, Self::Ignored);
        }
        if let Self::Known(_, session) = self {
            session.written(chunk, found);
        }
        heard.encrypted = self.becomes_encrypted(found);
        if heard.encrypted
            && let Self::Known(_, session) = self
        {
            session.written(chunk, found);
        }
        heard
    }

    /// The client read.
    pub(crate) fn read(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>) -> Heard {
        if let Self::Known(_, session) = self {
            let (_, not_captured, _) = chunk.parts();
            if not_captured > 0 {
                found.push(Finding::ReadInPart);
            }
            session.read(chunk, found);
        }
        Heard {
            given_up: false,
            encrypted: self.becomes_encrypted(found),
        }
    }

    /// Bytes were not seen, in either direction.
    pub(crate) fn gap(&mut self, found: &mut Vec<Finding>) {
        match self {
            Self::Known(_, session) => session.gap(found),
            // It is looked at anew from time to time.
            Self::Ignored => *self = Self::new(),
            Self::Unknown(_) | Self::Told(_) => {}
        }
    }

    /// What is spoken is TLS, when the session has found that.
    fn becomes_encrypted(&mut self, found: &[Finding]) -> bool {
        let becomes = found.last() == Some(&Finding::Encrypted);
        if becomes {
            *self = Self::Known(&Tls, Tls.session());
        }
        becomes
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
