//! What is spoken on a connection to a server, and what its bytes say: for the engine, and for recordings,
//! which keep that instead of the bytes.

use crate::protocol::{
    Recognised,
    client::{CLIENT_PROTOCOLS, Chunk, ClientProtocol, Finding, Session, SessionOptions},
    tls::Tls,
};

/// Writes that are looked at until a connection is given up as unknown.
const TRIES: u8 = 4;
/// Bytes of a beginning that is too short to tell what it is.
const BEGUN_LIMIT: usize = 512;

/// One connection.
#[derive(Debug)]
pub(crate) enum Speech {
    /// Not known yet.
    Unknown(Unknown),
    Known(&'static dyn ClientProtocol, Box<dyn Session>),
    /// Known from a recording, with what was found.
    Told(&'static dyn ClientProtocol),
    /// Nothing that is understood.
    Ignored,
}

/// What was written on a connection that is not known yet.
#[derive(Debug, Default)]
pub(crate) struct Unknown {
    /// Writes that began nothing that is known.
    tries: u8,
    /// What was written since, too little to tell.
    begun: Vec<u8>,
    /// The same of what was answered last.
    answered: Vec<u8>,
}

impl Unknown {
    /// An answer: what was written before was all there. What is answered again and again is not too little to tell.
    fn answer(&mut self) {
        if !self.begun.is_empty() {
            let again = u8::from(!self.answered.is_empty());
            self.tries = self.tries.saturating_add(again);
            self.answered = std::mem::take(&mut self.begun);
        }
    }

    /// Whether operations may have been answered, now that it is known what is spoken.
    fn has_missed(&self, protocol: &dyn ClientProtocol) -> bool {
        if self.tries > 0 {
            return true;
        }
        let mut found = Vec::new();
        let chunk = Chunk {
            front: &self.answered,
            tail: b"",
            len: self.answered.len() as u64,
        };
        protocol.session().written(chunk, &mut found);
        !found.is_empty()
    }
}

/// What a write that begins something is.
enum Judged {
    Known(&'static dyn ClientProtocol),
    /// Too little to tell.
    Undecided,
    Unknown,
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
        Self::Unknown(Unknown::default())
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
        let mut chunk = chunk;
        let mut joined = Vec::new();
        if let Self::Unknown(unknown) = self {
            joined.append(&mut unknown.begun);
            if !joined.is_empty() {
                chunk.len += joined.len() as u64;
                joined.extend_from_slice(chunk.front);
                chunk.front = &joined;
            }
            match recognise(chunk) {
                Judged::Known(protocol) => {
                    if unknown.has_missed(protocol) {
                        found.push(Finding::Missed);
                    }
                    *self = Self::Known(protocol, protocol.session_with(options));
                }
                Judged::Undecided => unknown.begun = chunk.front.to_vec(),
                Judged::Unknown if unknown.tries < TRIES - 1 => unknown.tries += 1,
                Judged::Unknown => {
                    *self = Self::Ignored;
                    heard.given_up = true;
                }
            }
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
        let not_understood = match self {
            Self::Unknown(unknown) => {
                unknown.answer();
                unknown.tries > 0
            }
            Self::Ignored => true,
            Self::Known(..) | Self::Told(_) => false,
        };
        if not_understood && chunk.len > 0 {
            found.push(Finding::NotUnderstood);
        }
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

/// By what was written since the last answer.
fn recognise(written: Chunk<'_>) -> Judged {
    let mut may_be = false;
    for protocol in CLIENT_PROTOCOLS {
        match protocol.recognise(written.front) {
            Recognised::Yes => return Judged::Known(*protocol),
            Recognised::Undecided => may_be = true,
            Recognised::No => {}
        }
    }
    if may_be && written.is_whole() && written.front.len() <= BEGUN_LIMIT {
        return Judged::Undecided;
    }
    Judged::Unknown
}
