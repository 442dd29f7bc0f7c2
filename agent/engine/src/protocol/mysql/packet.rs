//! What is in the packets of a server, as far as it is used.

/// `SERVER_MORE_RESULTS_EXISTS`: another result follows.
const MORE_RESULTS: u16 = 0x0008;
/// `SERVER_STATUS_CURSOR_EXISTS`: rows are to be fetched.
const CURSOR: u16 = 0x0040;
/// `SERVER_STATUS_NO_BACKSLASH_ESCAPES`.
const NO_BACKSLASH: u16 = 0x0200;
/// A bit that no server has set since it was taken out of use.
const UNUSED: u16 = 0x0004;

/// First byte of an OK packet.
pub(super) const OK: u8 = 0x00;
/// First byte of a request for a local file.
pub(super) const INFILE: u8 = 0xfb;
/// First byte of an EOF packet, and of the OK packet that stands instead of one.
pub(super) const EOF: u8 = 0xfe;
/// First byte of an ERR packet.
pub(super) const ERR: u8 = 0xff;
/// Length of an EOF packet.
pub(super) const EOF_LEN: u64 = 5;
/// Length from which on a packet is more than one, and its first byte may be that of a value.
pub(super) const FULL: u64 = 0xff_ffff;
/// Code of an ERR packet that is MariaDB's report of progress: it ends nothing.
pub(super) const PROGRESS: u16 = 0xffff;

/// `server_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub(super) u16);

impl Status {
    pub(super) fn more_results(self) -> bool {
        self.0 & MORE_RESULTS != 0
    }

    pub(super) fn cursor(self) -> bool {
        self.0 & CURSOR != 0
    }

    pub(super) fn backslash(self) -> bool {
        self.0 & NO_BACKSLASH == 0
    }

    pub(super) fn is_plausible(self) -> bool {
        self.0 & UNUSED == 0
    }
}

/// What an OK or EOF packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Affected rows.
    pub(super) rows: u64,
    pub(super) status: Status,
    /// Bytes up to behind the warnings.
    pub(super) len: usize,
}

/// Reads an OK packet, with whichever first byte.
pub(super) fn ok(body: &[u8]) -> Option<End> {
    let mut rest = body.get(1..)?;
    let rows = integer(&mut rest)?;
    integer(&mut rest)?;
    let (status, rest) = rest.split_first_chunk()?;
    let rest = rest.get(2..)?;
    Some(End {
        rows,
        status: Status(u16::from_le_bytes(*status)),
        len: body.len() - rest.len(),
    })
}

/// Reads an EOF packet.
pub(super) fn eof(body: &[u8]) -> Option<End> {
    let &[EOF, _, _, low, high] = body else {
        return None;
    };
    Some(End {
        rows: 0,
        status: Status(u16::from_le_bytes([low, high])),
        len: body.len(),
    })
}

/// The end of rows: an EOF packet, or the OK packet that newer servers send instead.
pub(super) fn end_of_rows(body: &[u8], len: u64) -> Option<End> {
    if body.first() != Some(&EOF) || len >= FULL {
        return None;
    }
    if len == EOF_LEN { eof(body) } else { ok(body) }
}

/// Code of an ERR packet.
pub(super) fn error(body: &[u8]) -> Option<u16> {
    match body {
        [ERR, low, high, ..] => Some(u16::from_le_bytes([*low, *high])),
        _ => None,
    }
}

/// Columns of a result set by its first packet, and whether their definitions follow. Either of two
/// extensions adds a byte that says whether: MySQL before the number, MariaDB behind it.
pub(super) fn columns(body: &[u8], len: u64) -> Option<(u64, bool)> {
    if len == 2
        && let &[first, second] = body
    {
        return match (first, second) {
            (_, 0) => Some((u64::from(first), false)),
            (0, count) => Some((u64::from(count), false)),
            (1, count) => Some((u64::from(count), true)),
            (count, 1) => Some((u64::from(count), true)),
            _ => None,
        };
    }
    let mut rest = body;
    let count = integer(&mut rest)?;
    let behind = len.checked_sub((body.len() - rest.len()) as u64)?;
    match (behind, rest.first()) {
        (0, _) => Some((count, true)),
        (1, Some(follows @ (0 | 1))) => Some((count, *follows == 1)),
        _ => None,
    }
}

/// What a server says of a statement that it prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prepare {
    pub(super) statement: u32,
    /// Definitions that follow: of parameters and of columns.
    pub(super) definitions: u32,
}

/// Reads the first packet of the answer to COM_STMT_PREPARE.
pub(super) fn prepare(body: &[u8]) -> Option<Prepare> {
    let (&[OK, a, b, c, d, columns @ .., e, f], rest) = body.split_first_chunk::<9>()? else {
        return None;
    };
    let columns = u16::from_le_bytes(columns);
    let parameters = u16::from_le_bytes([e, f]);
    // Behind a filler and the warnings: whether definitions follow, where that was agreed on.
    let follow = rest.get(3) != Some(&0);
    Some(Prepare {
        statement: u32::from_le_bytes([a, b, c, d]),
        definitions: if follow {
            u32::from(columns) + u32::from(parameters)
        } else {
            0
        },
    })
}

/// Takes an integer of one to nine bytes off the front.
pub(super) fn integer(rest: &mut &[u8]) -> Option<u64> {
    let (first, behind) = rest.split_first()?;
    let wide = match first {
        0..=0xfa => 0,
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        _ => return None,
    };
    let (bytes, behind) = behind.split_at_checked(wide)?;
    *rest = behind;
    if wide == 0 {
        return Some(u64::from(*first));
    }
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    )
}
