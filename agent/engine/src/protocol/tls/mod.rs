//! Connections that are encrypted (TLS 1.0 to 1.3, RFC 8446, section 5.1): that they are, and how long each
//! round trip takes. What is in them is not read here.
//!
//! An operation is a round trip: it begins with a write and ends with the last read before the next write.
//! So the handshake is one or two, and requests that are written before the answer to the first is read
//! are one. What says farewell (`close_notify`) is none, as nothing answers it.

use super::Recognised;
use super::client::{Chunk, ClientProtocol, Finding, Session};

/// Shape of all that is asked there.
pub(crate) const ENCRYPTED: &str = "encrypted";
/// Type, version, length.
const HEADER: usize = 5;
/// Most bytes in a record (RFC 5246, section 6.2.3; less in TLS 1.3).
const RECORD_LIMIT: usize = (1 << 14) + 2048;
/// Types of records.
const ALERT: u8 = 0x15;
/// See `ALERT`.
const HANDSHAKE: u8 = 0x16;
/// See `ALERT`.
const DATA: u8 = 0x17;
/// Type of the handshake's first message.
const CLIENT_HELLO: u8 = 1;
/// Length of an alert in a record of TLS 1.3: the alert, its type, and what proves it.
const SEALED_ALERT: usize = 2 + 1 + 16;

/// TLS, as clients speak it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tls;

impl ClientProtocol for Tls {
    fn name(&self) -> &'static str {
        "tls"
    }

    fn recognise(&self, written: &[u8]) -> Recognised {
        let mut rest = written;
        let mut known = Recognised::Undecided;
        while !rest.is_empty() {
            match record(rest) {
                Some(Some(length)) => {
                    known = Recognised::Yes;
                    rest = rest.get(HEADER + length..).unwrap_or_default();
                }
                Some(None) => return known,
                None => return Recognised::No,
            }
        }
        known
    }

    fn session(&self) -> Box<dyn Session> {
        Box::new(TlsSession::default())
    }

    fn is_opaque(&self) -> bool {
        true
    }
}

/// Length of the record at the front of `bytes`. `Some(None)`: too few bytes to tell; `None`: it is none.
fn record(bytes: &[u8]) -> Option<Option<usize>> {
    let fits = |at: usize, fits: fn(u8) -> bool| bytes.get(at).is_none_or(|byte| fits(*byte));
    let front = fits(0, |kind| (0x14..=DATA).contains(&kind))
        && fits(1, |major| major == 3)
        && fits(2, |minor| minor <= 4);
    if !front {
        return None;
    }
    let &[kind, _, _, high, low, ..] = bytes else {
        return Some(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let first = bytes.get(HEADER).copied();
    if !(1..=RECORD_LIMIT).contains(&length) || !begins_well(kind, length, first) {
        return None;
    }
    if kind == HANDSHAKE && first.is_none() {
        return Some(None);
    }
    Some(Some(length))
}

/// A change of the cipher is one byte, an alert two unless it is encrypted, and a handshake begins with the
/// client's hello, or goes on encrypted or with one of the client's other messages.
fn begins_well(kind: u8, length: usize, first: Option<u8>) -> bool {
    match kind {
        0x14 => length == 1,
        ALERT => length == 2 || length >= SEALED_ALERT,
        HANDSHAKE => {
            first.is_none_or(|kind| matches!(kind, CLIENT_HELLO | 11 | 15 | 16)) || length >= 32
        }
        _ => length > 16,
    }
}

#[derive(Debug, Default)]
struct TlsSession {
    /// A record was seen.
    started: bool,
    /// A round trip is under way.
    open: bool,
    /// Some of its answer was read.
    read: bool,
}

impl Session for TlsSession {
    fn written(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>) {
        if chunk.len == 0 || is_farewell(chunk) {
            return;
        }
        self.started |= Tls.recognise(chunk.front) == Recognised::Yes;
        if !self.started || self.open && !self.read {
            return;
        }
        if self.open {
            found.push(Finding::AnsweredBefore);
        }
        self.open = true;
        self.read = false;
        found.push(Finding::Asked {
            shape: ENCRYPTED.to_owned(),
        });
    }

    fn read(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>) {
        if self.open && chunk.len > 0 {
            self.read = true;
            found.push(Finding::Answering {
                error: None,
                unfinished: false,
            });
        }
    }

    fn gap(&mut self, found: &mut Vec<Finding>) {
        if std::mem::take(&mut self.open) {
            found.push(Finding::AnsweredBefore);
        }
        found.push(Finding::Missed);
    }
}

/// Whether a write is an alert and nothing else.
fn is_farewell(chunk: Chunk<'_>) -> bool {
    match *chunk.front {
        [ALERT, 3, _, high, low, ..] => {
            let length = u64::from(u16::from_be_bytes([high, low]));
            chunk.len == HEADER as u64 + length
        }
        [DATA, 3, _, 0, length, ..] => {
            usize::from(length) == SEALED_ALERT && chunk.len == (HEADER + SEALED_ALERT) as u64
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
