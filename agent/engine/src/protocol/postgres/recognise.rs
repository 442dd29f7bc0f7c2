//! Whether bytes that a client wrote are PostgreSQL.

use super::super::Recognised;
use super::message::{self, Fit, Header, Side};

/// CancelRequest, SSLRequest, GSSENCRequest: the codes that stand where a version does.
pub(super) const CANCEL: u32 = 80_877_102;
pub(super) const SSL: u32 = 80_877_103;
pub(super) const GSS: u32 = 80_877_104;
/// Major version, in the upper half of a StartupMessage's version.
pub(super) const MAJOR: u32 = 3;
/// Longest StartupMessage, bytes.
const STARTUP_LIMIT: u32 = 10_000;

/// Judges a write from its front.
pub(super) fn recognise(written: &[u8]) -> Recognised {
    match written.first() {
        None => Recognised::Undecided,
        Some(0) => startup(written),
        Some(_) => messages(written),
    }
}

fn startup(written: &[u8]) -> Recognised {
    let mut front = [0; 8];
    let Some(there) = written.get(..8) else {
        // Lengths have two zero bytes in front.
        return if written.iter().take(2).all(|byte| *byte == 0) {
            Recognised::Undecided
        } else {
            Recognised::No
        };
    };
    front.copy_from_slice(there);
    let [a, b, c, d, code @ ..] = front;
    let length = u32::from_be_bytes([a, b, c, d]);
    let code = u32::from_be_bytes(code);
    // A zero byte instead of the first parameter: Kafka has such requests.
    let parameters = written
        .get(8)
        .is_none_or(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let yes = match code {
        SSL | GSS => length == 8,
        CANCEL => (16..=268).contains(&length),
        _ => code >> 16 == MAJOR && (9..=STARTUP_LIMIT).contains(&length) && parameters,
    };
    if yes { Recognised::Yes } else { Recognised::No }
}

/// Walks messages up to the end of what was captured.
fn messages(written: &[u8]) -> Recognised {
    let mut rest = written;
    let mut known = Recognised::Undecided;
    loop {
        let Some((kind, behind)) = rest.split_first() else {
            return known;
        };
        let Some((length, behind)) = behind.split_first_chunk() else {
            return cut_header(*kind, behind, known);
        };
        let length = u32::from_be_bytes(*length);
        if message::header(Side::Client, *kind, length) != Header::Fits {
            return Recognised::No;
        }
        let (body, next) = match behind.split_at_checked(length as usize - 4) {
            Some((body, next)) => (body, Some(next)),
            None => (behind, None),
        };
        match message::client_body(*kind, body, next.is_some()) {
            Fit::Yes => known = Recognised::Yes,
            Fit::Maybe => {}
            Fit::No => return Recognised::No,
        }
        match next {
            Some(next) => rest = next,
            None => return known,
        }
    }
}

/// A header without its end: a length that begins like text is none.
fn cut_header(kind: u8, length: &[u8], known: Recognised) -> Recognised {
    // Any known type with a length of 0 is hostile, not strange.
    let is_type = message::header(Side::Client, kind, 0) == Header::Hostile;
    if is_type && length.first().is_none_or(|first| *first <= 0x40) {
        known
    } else {
        Recognised::No
    }
}
