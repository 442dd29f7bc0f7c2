//! Commands of a client: which there are, what of them is needed, and where in one the statement is.

use super::framing::KEPT;
use super::packet::integer;

pub(super) const QUIT: u8 = 0x01;
pub(super) const INIT_DB: u8 = 0x02;
pub(super) const QUERY: u8 = 0x03;
pub(super) const FIELD_LIST: u8 = 0x04;
pub(super) const CREATE_DB: u8 = 0x05;
pub(super) const DROP_DB: u8 = 0x06;
pub(super) const REFRESH: u8 = 0x07;
pub(super) const SHUTDOWN: u8 = 0x08;
pub(super) const STATISTICS: u8 = 0x09;
pub(super) const PROCESS_INFO: u8 = 0x0a;
pub(super) const PROCESS_KILL: u8 = 0x0c;
pub(super) const DEBUG: u8 = 0x0d;
pub(super) const PING: u8 = 0x0e;
pub(super) const CHANGE_USER: u8 = 0x11;
pub(super) const STMT_PREPARE: u8 = 0x16;
pub(super) const STMT_EXECUTE: u8 = 0x17;
pub(super) const STMT_SEND_LONG_DATA: u8 = 0x18;
pub(super) const STMT_CLOSE: u8 = 0x19;
pub(super) const STMT_RESET: u8 = 0x1a;
pub(super) const SET_OPTION: u8 = 0x1b;
pub(super) const STMT_FETCH: u8 = 0x1c;
pub(super) const RESET_CONNECTION: u8 = 0x1f;
/// MariaDB's: a statement with many rows of values.
pub(super) const STMT_BULK_EXECUTE: u8 = 0xfa;

/// Number of a statement that stands for the one that was prepared last, in MariaDB.
pub(super) const LAST_PREPARED: u32 = u32::MAX;

/// Words that a statement begins with.
const FIRST_WORDS: &[&str] = &[
    "alter",
    "analyze",
    "backup",
    "begin",
    "binlog",
    "cache",
    "call",
    "change",
    "check",
    "checksum",
    "clone",
    "commit",
    "create",
    "deallocate",
    "declare",
    "delete",
    "desc",
    "describe",
    "do",
    "drop",
    "execute",
    "explain",
    "flush",
    "for",
    "get",
    "grant",
    "handler",
    "help",
    "if",
    "import",
    "insert",
    "install",
    "kill",
    "load",
    "lock",
    "loop",
    "merge",
    "optimize",
    "prepare",
    "purge",
    "release",
    "rename",
    "repair",
    "repeat",
    "replace",
    "reset",
    "resignal",
    "restart",
    "revoke",
    "rollback",
    "savepoint",
    "select",
    "set",
    "show",
    "shutdown",
    "signal",
    "start",
    "stop",
    "table",
    "truncate",
    "uninstall",
    "unlock",
    "update",
    "use",
    "values",
    "while",
    "with",
    "xa",
];

/// Words that begin a statement with any number of result sets, which ends in an OK packet.
const SEVERAL: &[&str] = &[
    "begin", "call", "case", "declare", "execute", "for", "if", "loop", "repeat", "while",
];

/// Bytes to keep of a packet with this number and first byte. Of logging in: the flags, and nothing else.
pub(super) fn keep(number: u8, first: u8) -> usize {
    match (number, first) {
        (0, QUERY | STMT_PREPARE) => KEPT,
        (0, STMT_EXECUTE | STMT_FETCH | STMT_CLOSE | STMT_BULK_EXECUTE) => 10,
        (0, _) => 1,
        (1, _) => 4,
        _ => 0,
    }
}

/// Number of the statement that a command is about.
pub(super) fn statement(body: &[u8]) -> Option<u32> {
    body.get(1..)?
        .first_chunk()
        .map(|number| u32::from_le_bytes(*number))
}

/// The statement of a COM_QUERY. Attributes may stand before it: their number, and a 1 that no statement
/// has in its second place. `None`: they do not end in what was kept.
pub(super) fn text(body: &[u8]) -> Option<&[u8]> {
    let text = body.get(1..)?;
    if text.get(1) == Some(&1) {
        behind_attributes(text)
    } else {
        Some(text)
    }
}

fn behind_attributes(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    let count = usize::try_from(integer(&mut rest)?).ok()?;
    // Sets of them: one.
    integer(&mut rest)?;
    if count == 0 {
        return Some(rest);
    }
    if count > rest.len() {
        return None;
    }
    let (nulls, behind) = rest.split_at_checked(count.div_ceil(8))?;
    let (&[1], behind) = behind.split_first_chunk()? else {
        return None;
    };
    rest = behind;
    let mut types = Vec::with_capacity(count);
    for _ in 0..count {
        let (&[kind, _], behind) = rest.split_first_chunk()?;
        rest = behind;
        skip_text(&mut rest)?;
        types.push(kind);
    }
    for (index, kind) in types.into_iter().enumerate() {
        let null = nulls.get(index / 8)? >> (index % 8) & 1;
        if null == 0 {
            skip_value(&mut rest, kind)?;
        }
    }
    Some(rest)
}

fn skip_text(rest: &mut &[u8]) -> Option<()> {
    let length = usize::try_from(integer(rest)?).ok()?;
    *rest = rest.get(length..)?;
    Some(())
}

/// Skips a value of a type (`enum_field_types`).
fn skip_value(rest: &mut &[u8], kind: u8) -> Option<()> {
    let length = match kind {
        0x01 => 1,
        0x02 | 0x0d => 2,
        0x03 | 0x04 | 0x09 => 4,
        0x05 | 0x08 => 8,
        0x06 => 0,
        // Dates and times have their length in front, and so has the rest.
        _ => return skip_text(rest),
    };
    *rest = rest.get(length..)?;
    Some(())
}

/// Whether a shape is that of a statement with any number of result sets.
pub(super) fn has_several_results(shape: &str) -> bool {
    // Told as sent, it may begin with a comment.
    let shape = shape.as_bytes();
    let begin = behind_comments(shape).unwrap_or(shape);
    is_one(first_word(begin), SEVERAL)
}

/// Whether a text may be the front of a statement; `None`: too few bytes to tell.
pub(super) fn is_statement(text: &[u8], whole: bool) -> Option<bool> {
    // Drivers put raw bytes into literals, but hardly in front.
    let front = text.get(..16).unwrap_or(text);
    if front
        .iter()
        .any(|byte| *byte < b' ' && !byte.is_ascii_whitespace())
    {
        return Some(false);
    }
    let begin = behind_comments(text)?;
    let word = first_word(begin);
    if word.len() == begin.len() && !whole {
        return None;
    }
    Some(is_one(word, FIRST_WORDS))
}

/// What comes behind blanks, parentheses and comments; `None`: nothing does.
fn behind_comments(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    loop {
        let first = *rest.first()?;
        if matches!(rest, [b'/' | b'-']) {
            return None;
        }
        let skipped = match rest {
            [b'/', b'*', b'!', ..] => {
                3 + rest
                    .iter()
                    .skip(3)
                    .take_while(|b| b.is_ascii_digit())
                    .count()
            }
            [b'/', b'*', ..] => memchr::memmem::find(rest.get(2..)?, b"*/")? + 4,
            [b'#', ..] | [b'-', b'-', ..] => memchr::memchr(b'\n', rest)? + 1,
            _ if first.is_ascii_whitespace() || matches!(first, b'(' | b'{' | b';') => 1,
            _ => return Some(rest),
        };
        rest = rest.get(skipped..)?;
    }
}

fn first_word(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| !byte.is_ascii_alphabetic());
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}

fn is_one(word: &[u8], words: &[&str]) -> bool {
    words
        .iter()
        .any(|other| word.eq_ignore_ascii_case(other.as_bytes()))
}
