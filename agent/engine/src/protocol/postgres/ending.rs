//! What the last bytes of a chunk tell when the bytes before them were not captured. Here messages are
//! searched from their end, so each find is checked to the byte.

use super::message::{self, Fit, Header, Side};

/// Bytes of an end that are looked at.
pub(super) const END_LIMIT: usize = 64;

/// What stood before a ReadyForQuery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    /// Rows of the last operation.
    pub(super) rows: u64,
    /// The last operation failed.
    pub(super) failed: bool,
    /// The last operation is known to have ended well.
    pub(super) completed: bool,
}

/// Reads the end of what a server wrote; `None`: it is no ReadyForQuery.
pub(super) fn ready(end: &[u8]) -> Option<Ready> {
    let (before, message) = end.split_at_checked(end.len().checked_sub(6)?)?;
    let &[b'Z', 0, 0, 0, 5, status @ (b'I' | b'T' | b'E')] = message else {
        return None;
    };
    // A statement or portal may have been closed, or another prepared, before the Sync.
    let mut before = before;
    while let [rest @ .., b'1' | b'2' | b'3' | b'n', 0, 0, 0, 4] = before {
        before = rest;
    }
    if let Some(tag) = command_complete(before) {
        return Some(Ready {
            rows: message::rows(tag),
            failed: false,
            completed: true,
        });
    }
    Some(Ready {
        rows: 0,
        failed: status == b'E' || ends_in_error(before),
        completed: false,
    })
}

/// Tag of the CommandComplete at the end.
fn command_complete(end: &[u8]) -> Option<&[u8]> {
    let text = end.strip_suffix(&[0])?;
    // A tag has no zero byte; the length before it does.
    let tag = text.get(text.iter().rposition(|byte| *byte == 0)? + 2..)?;
    let header = end.get(..end.len() - 1 - tag.len())?;
    let [.., b'C', 0, 0, 0, length] = header else {
        return None;
    };
    let valid = usize::from(*length) == 4 + tag.len() + 1
        && tag.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
    valid.then_some(tag)
}

/// An ErrorResponse ends in the name of the function that raised it and two zero bytes.
fn ends_in_error(end: &[u8]) -> bool {
    let Some(fields) = end.strip_suffix(&[0, 0]) else {
        return false;
    };
    let last = fields.rsplit(|byte| *byte == 0).next().unwrap_or_default();
    match last {
        [b'R', name @ ..] if !name.is_empty() && last.len() < fields.len() => name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_'),
        _ => false,
    }
}

/// Where in the end of what a client wrote whole messages begin that go to its last byte, the last of
/// them a Sync; `None`: it does not end in a Sync.
pub(super) fn messages(end: &[u8]) -> Option<usize> {
    let sync = end.len().checked_sub(5)?;
    if end.get(sync..)? != [b'S', 0, 0, 0, 4] {
        return None;
    }
    let mut first = sync;
    let mut begins = [false; END_LIMIT];
    let least = end.len().saturating_sub(END_LIMIT);
    *begins.get_mut(sync - least)? = true;
    for at in (least..sync).rev() {
        let Some((&[kind, ref length @ ..], rest)) = end.get(at..)?.split_first_chunk::<5>() else {
            continue;
        };
        let length = u32::from_be_bytes(*length);
        let extended = matches!(kind, b'P' | b'B' | b'D' | b'E' | b'C' | b'H' | b'S');
        if !extended || message::header(Side::Client, kind, length) != Header::Fits {
            continue;
        }
        let behind = at + 1 + length as usize;
        let body = rest.get(..length as usize - 4);
        let joins = begins.get(behind - least).copied().unwrap_or(false);
        if joins && body.is_some_and(|body| message::client_body(kind, body, true) == Fit::Yes) {
            first = at;
            if let Some(place) = begins.get_mut(at - least) {
                *place = true;
            }
        }
    }
    Some(first)
}

/// Whether whole messages have an Execute among them.
pub(super) fn has_execute(messages: &[u8]) -> bool {
    let mut rest = messages;
    while let Some((&[kind, ref length @ ..], _)) = rest.split_first_chunk::<5>() {
        if kind == b'E' {
            return true;
        }
        let length = u32::from_be_bytes(*length) as usize;
        rest = rest.get(1 + length..).unwrap_or_default();
    }
    false
}
