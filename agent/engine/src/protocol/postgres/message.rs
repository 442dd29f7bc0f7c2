//! What messages look like: their types, lengths and, of those from clients, their bodies.

/// Longest message, its length field included: 1 GiB, as servers have it.
const LENGTH_LIMIT: u32 = 1 << 30;
/// Longest message of a client other than those that carry statements or data
/// (`PQ_SMALL_MESSAGE_LIMIT`, PostgreSQL 18, `src/include/libpq/libpq.h`).
const CLIENT_SMALL: u32 = 10_000;
/// Longest message with a password or a token, with room for its frame (`PG_MAX_AUTH_TOKEN_LENGTH`).
const CLIENT_PASSWORD: u32 = 66_000;
/// Longest message of a server other than those that carry data (`VALID_LONG_MESSAGE_TYPE`,
/// `src/interfaces/libpq/fe-protocol3.c`).
const SERVER_SMALL: u32 = 30_000;

/// Front of a statement that tells that it is one, bytes. A MySQL client that prepares a statement can
/// look like a Query of 18 bytes, as long as it is not seen that those have no zero byte at their end.
const TELLING_TEXT: usize = 24;

/// Who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// What a type and a length tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// They go together.
    Fits,
    /// They do not: this is not the front of a message.
    Strange,
    /// No peer sends such a length.
    Hostile,
}

/// Judges the header of a message. `length` is as sent: with its own four bytes.
pub(super) fn header(side: Side, kind: u8, length: u32) -> Header {
    let range = match side {
        Side::Client => client_lengths(kind),
        Side::Server => server_lengths(kind),
    };
    match range {
        None => Header::Strange,
        Some(_) if !(4..=LENGTH_LIMIT).contains(&length) => Header::Hostile,
        Some((least, most)) if (least..=most).contains(&length) => Header::Fits,
        Some(_) => Header::Strange,
    }
}

fn client_lengths(kind: u8) -> Option<(u32, u32)> {
    Some(match kind {
        b'Q' => (5, LENGTH_LIMIT),
        b'P' => (8, LENGTH_LIMIT),
        b'B' => (12, LENGTH_LIMIT),
        b'F' => (14, LENGTH_LIMIT),
        b'd' => (4, LENGTH_LIMIT),
        b'E' => (9, CLIENT_SMALL),
        b'D' | b'C' => (6, CLIENT_SMALL),
        b'f' => (5, CLIENT_SMALL),
        b'p' => (4, CLIENT_PASSWORD),
        b'S' | b'H' | b'X' | b'c' => (4, 4),
        _ => return None,
    })
}

fn server_lengths(kind: u8) -> Option<(u32, u32)> {
    Some(match kind {
        b'D' | b'T' => (6, LENGTH_LIMIT),
        b'E' | b'N' => (5, LENGTH_LIMIT),
        b'V' | b'A' => (8, LENGTH_LIMIT),
        b'd' => (4, LENGTH_LIMIT),
        b'Z' => (5, 5),
        b'1' | b'2' | b'3' | b'n' | b's' | b'c' | b'I' => (4, 4),
        b'C' => (5, SERVER_SMALL),
        b't' | b'S' => (6, SERVER_SMALL),
        b'G' | b'H' | b'W' => (7, SERVER_SMALL),
        b'R' | b'K' | b'v' => (8, SERVER_SMALL),
        _ => return None,
    })
}

/// Whether bytes are the front of a server's answer: messages as far as they go, of which the first is one
/// that answers begin with.
pub(super) fn begins_answer(bytes: &[u8]) -> bool {
    let first = bytes.first().copied().unwrap_or_default();
    // Lengths of the first that are large are more likely something else.
    let mut most = SERVER_SMALL;
    let mut rest = bytes;
    while let Some((&[kind, ref length @ ..], behind)) = rest.split_first_chunk::<5>() {
        let length = u32::from_be_bytes(*length);
        if length > most || header(Side::Server, kind, length) != Header::Fits {
            return false;
        }
        most = LENGTH_LIMIT;
        rest = behind.get(length as usize - 4..).unwrap_or_default();
    }
    bytes.len() >= 5 && b"RTCEIV123ntNSAGHWZ".contains(&first)
}

/// Whether bytes are the body of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Yes,
    /// As far as they go, but that does not tell much.
    Maybe,
    No,
}

impl From<bool> for Fit {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// Whether `body` is the body of a client's message of this type. `whole`: all of it, else its front.
pub(super) fn client_body(kind: u8, body: &[u8], whole: bool) -> Fit {
    match kind {
        b'Q' => statement(body, whole, |rest| whole && rest.is_empty()),
        b'P' => match text(body) {
            Some((name, rest)) if is_printable(name) => {
                statement(rest, whole, |types| !whole || is_types(types))
            }
            Some(_) => Fit::No,
            None => front(body, whole),
        },
        b'B' => bind(body, whole),
        b'E' => named(body, whole, |rest| rest.len() == 4),
        b'D' | b'C' => match body.split_first() {
            Some((b'S' | b'P', name)) => named(name, whole, <[u8]>::is_empty),
            Some(_) => Fit::No,
            None => front(body, whole),
        },
        b'f' => named(body, whole, <[u8]>::is_empty),
        b'S' | b'H' | b'X' | b'c' => Fit::from(body.is_empty()),
        b'd' | b'p' | b'F' if whole => Fit::Yes,
        b'd' | b'p' | b'F' => Fit::Maybe,
        _ => Fit::No,
    }
}

/// The text at the front, and what is behind its zero byte.
pub(super) fn text(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, body)?;
    Some((body.get(..end)?, body.get(end + 1..)?))
}

/// Number of rows in the tag of a CommandComplete: `SELECT 37`, `INSERT 0 5`; 0: it has none.
pub(super) fn rows(tag: &[u8]) -> u64 {
    let digits = tag.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

/// SQLSTATE in the body of an ErrorResponse.
pub(super) fn sqlstate(body: &[u8]) -> Option<&str> {
    let mut fields = body;
    while let Some((field, rest)) = text(fields) {
        let (kind, value) = field.split_first()?;
        if *kind == b'C' {
            let valid = value.len() == 5 && value.iter().all(u8::is_ascii_alphanumeric);
            return std::str::from_utf8(value).ok().filter(|_| valid);
        }
        fields = rest;
    }
    None
}

/// Text as it is in statements and names.
pub(super) fn is_printable(text: &[u8]) -> bool {
    text.iter()
        .all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | b' '..=b'~' | 0x80..))
}

/// A statement, and what comes behind it.
fn statement(body: &[u8], whole: bool, behind: impl Fn(&[u8]) -> bool) -> Fit {
    match text(body) {
        Some((statement, rest)) => Fit::from(is_printable(statement) && behind(rest)),
        None if whole || !is_printable(body) => Fit::No,
        None if body.len() < TELLING_TEXT => Fit::Maybe,
        None => Fit::Yes,
    }
}

/// A name, and what comes behind it.
fn named(body: &[u8], whole: bool, behind: impl Fn(&[u8]) -> bool) -> Fit {
    match text(body) {
        Some((name, rest)) if whole => Fit::from(is_printable(name) && behind(rest)),
        Some((name, _)) if !is_printable(name) => Fit::No,
        Some(_) => Fit::Maybe,
        None => front(body, whole),
    }
}

/// The front of a name.
fn front(body: &[u8], whole: bool) -> Fit {
    if whole || !is_printable(body) {
        Fit::No
    } else {
        Fit::Maybe
    }
}

fn bind(body: &[u8], whole: bool) -> Fit {
    let Some((portal, rest)) = text(body) else {
        return front(body, whole);
    };
    let Some((name, values)) = text(rest) else {
        return match front(rest, whole) {
            Fit::Maybe if is_printable(portal) => Fit::Maybe,
            _ => Fit::No,
        };
    };
    let names = is_printable(portal) && is_printable(name);
    Fit::from(names && (!whole || is_values(values)))
}

/// Types of parameters, behind a statement.
fn is_types(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    take_count(&mut rest).is_some_and(|count| rest.len() == 4 * count)
}

/// Formats, values, and formats of results, to the end.
fn is_values(bytes: &[u8]) -> bool {
    fn walk(mut rest: &[u8]) -> Option<bool> {
        let formats = take_count(&mut rest)?;
        rest = rest.get(2 * formats..)?;
        for _ in 0..take_count(&mut rest)? {
            let (length, behind) = rest.split_first_chunk()?;
            // -1: NULL.
            let length = u32::from_be_bytes(*length);
            let length = if length == u32::MAX { 0 } else { length };
            rest = behind.get(usize::try_from(length).ok()?..)?;
        }
        let formats = take_count(&mut rest)?;
        Some(rest.len() == 2 * formats)
    }
    walk(bytes).unwrap_or(false)
}

fn take_count(rest: &mut &[u8]) -> Option<usize> {
    let (count, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(usize::from(u16::from_be_bytes(*count)))
}
