//! Whether bytes that a client wrote are MySQL: commands to the byte, one of them telling, or a login.

use super::super::Recognised;
use super::command::{
    self, CHANGE_USER, CREATE_DB, DEBUG, DROP_DB, FIELD_LIST, INIT_DB, LAST_PREPARED, PING,
    PROCESS_INFO, PROCESS_KILL, QUERY, QUIT, REFRESH, RESET_CONNECTION, SET_OPTION, SHUTDOWN,
    STATISTICS, STMT_BULK_EXECUTE, STMT_CLOSE, STMT_EXECUTE, STMT_FETCH, STMT_PREPARE, STMT_RESET,
    STMT_SEND_LONG_DATA,
};

/// `CLIENT_PROTOCOL_41`, `CLIENT_SSL`: flags of a login.
const PROTOCOL_41: u32 = 0x0200;
pub(super) const SSL: u32 = 0x0800;
/// Length of the question whether the connection is to be encrypted, and of the front of a login.
pub(super) const SSL_REQUEST_LEN: usize = 32;
/// Longest login.
const LOGIN_LIMIT: usize = 0xffff;
/// Longest name of a database.
const NAME_LIMIT: usize = 256;
/// A write that was captured in part only has at least so many bytes here.
const CUT: usize = 256;

/// How a command fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// Hardly anything else looks like it.
    Yes,
    /// Others may look like it too.
    Maybe,
    No,
}

impl From<bool> for Fit {
    fn from(fits: bool) -> Self {
        if fits { Self::Maybe } else { Self::No }
    }
}

/// Judges a write from its front.
pub(super) fn recognise(written: &[u8]) -> Recognised {
    match written.split_first_chunk() {
        None => Recognised::Undecided,
        Some(([_, _, _, 0], _)) => commands(written),
        Some(([a, b, 0, 1], body)) => login(usize::from(u16::from_le_bytes([*a, *b])), body),
        Some(_) => Recognised::No,
    }
}

/// Whether a write begins with a command.
pub(super) fn is_command(written: &[u8]) -> bool {
    written.len() > 4 && written.get(3) == Some(&0) && commands(written) != Recognised::No
}

/// Flags, a length, a character set and at least 19 zero bytes.
fn login(len: usize, body: &[u8]) -> Recognised {
    if !(SSL_REQUEST_LEN..=LOGIN_LIMIT).contains(&len) || body.len() > len {
        return Recognised::No;
    }
    let (Some(flags), Some(zeros)) = (flags(body), body.get(9..28)) else {
        return Recognised::Undecided;
    };
    let fits = flags & PROTOCOL_41 != 0
        && (len > SSL_REQUEST_LEN || flags & SSL != 0)
        && zeros.iter().all(|byte| *byte == 0);
    if fits {
        Recognised::Yes
    } else {
        Recognised::No
    }
}

/// The flags of a login.
pub(super) fn flags(body: &[u8]) -> Option<u32> {
    body.first_chunk().map(|flags| u32::from_le_bytes(*flags))
}

/// Walks commands up to the end of what was captured.
fn commands(written: &[u8]) -> Recognised {
    let mut rest = written;
    let mut known = Recognised::Undecided;
    while let Some(([a, b, c, number], behind)) = rest.split_first_chunk() {
        let len = u32::from_le_bytes([*a, *b, *c, 0]) as usize;
        if *number != 0 || len == 0 {
            return Recognised::No;
        }
        let whole = behind.len() >= len;
        let (body, next) = behind.split_at(len.min(behind.len()));
        match fit(body, len) {
            Fit::Yes => known = Recognised::Yes,
            Fit::Maybe => {}
            Fit::No => return Recognised::No,
        }
        rest = next;
        if !whole && written.len() < CUT {
            return Recognised::Undecided;
        }
    }
    if rest.is_empty() || written.len() >= CUT {
        known
    } else {
        Recognised::Undecided
    }
}

/// Judges the front of a command of `len` bytes.
fn fit(body: &[u8], len: usize) -> Fit {
    let Some(command) = body.first() else {
        return Fit::Maybe;
    };
    let whole = body.len() == len;
    match *command {
        // Attributes are told by the second byte of what follows.
        QUERY if !whole && body.len() < 3 => Fit::Maybe,
        QUERY => match command::text(body) {
            Some(text) => statement(text, whole),
            None => Fit::from(!whole),
        },
        STMT_PREPARE => statement(body.get(1..).unwrap_or_default(), whole),
        STMT_EXECUTE => execute(body, len),
        STMT_BULK_EXECUTE => numbered(
            body,
            len >= 7,
            |rest| matches!(rest, [0x40 | 0x80 | 0xc0, 0, ..]),
            2,
        ),
        STMT_FETCH => numbered(body, len == 9, |rest| matches!(rest, [_, _, _, 0]), 4),
        STMT_CLOSE | STMT_RESET | PROCESS_KILL => Fit::from(len == 5),
        STMT_SEND_LONG_DATA => Fit::from(len >= 7),
        QUIT | STATISTICS | PROCESS_INFO | DEBUG | PING | RESET_CONNECTION => Fit::from(len == 1),
        REFRESH | SHUTDOWN => Fit::from(len <= 2),
        SET_OPTION => Fit::from(len == 3),
        INIT_DB | CREATE_DB | DROP_DB | FIELD_LIST => Fit::from(len <= NAME_LIMIT),
        CHANGE_USER => Fit::from(len <= LOGIN_LIMIT),
        _ => Fit::No,
    }
}

fn statement(text: &[u8], whole: bool) -> Fit {
    match command::is_statement(text, whole) {
        Some(true) => Fit::Yes,
        Some(false) => Fit::No,
        _ => Fit::Maybe,
    }
}

/// Number, flags of a cursor and of values, and a 1.
fn execute(body: &[u8], len: usize) -> Fit {
    match body.get(5..10) {
        Some([flags, 1, 0, 0, 0]) if *flags <= 0x0f => Fit::Yes,
        Some(_) => Fit::No,
        None => Fit::from(len >= 10),
    }
}

/// A command about a statement, whose number is not great, and what is behind it.
fn numbered(body: &[u8], fits: bool, behind: impl Fn(&[u8]) -> bool, needs: usize) -> Fit {
    let (Some(number), true) = (command::statement(body), fits) else {
        return Fit::from(fits);
    };
    let rest = body.get(5..).unwrap_or_default();
    if rest.len() < needs {
        return Fit::Maybe;
    }
    if (number >> 24 == 0 || number == LAST_PREPARED) && behind(rest) {
        Fit::Yes
    } else {
        Fit::No
    }
}
