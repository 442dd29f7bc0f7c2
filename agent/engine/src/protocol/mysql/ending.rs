//! What the last bytes of a chunk tell when the bytes before them were not captured. The packet that ends
//! an answer is searched from the end, so it is checked to the byte.

use super::packet::{self, EOF, ERR, OK, Status};

/// Bytes of an end that are looked at.
pub(super) const END_LIMIT: usize = 64;

/// The packet at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) number: u8,
    /// Bytes with the header.
    pub(super) len: usize,
    pub(super) kind: Kind,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The end of rows. `eof`: an EOF packet, so that there was one behind the columns too.
    Rows { status: Status, eof: bool },
    /// The end of a statement without rows.
    Ok { status: Status, rows: u64 },
    /// It failed, with this code.
    Error(u16),
}

/// Reads the end of what a server wrote; `None`: no answer ends there. `may_be_ok`: an OK packet may end
/// it; else it is taken for a row.
pub(super) fn last(end: &[u8], may_be_ok: bool) -> Option<Last> {
    (5..=END_LIMIT).find_map(|len| {
        let header = end.len().checked_sub(len + 4)?;
        let (&[low, 0, 0, number], body) = end.get(header..)?.split_first_chunk()? else {
            return None;
        };
        if usize::from(low) != len {
            return None;
        }
        let kind = kind(body, may_be_ok)?;
        Some(Last {
            number,
            len: len + 4,
            kind,
        })
    })
}

fn kind(body: &[u8], may_be_ok: bool) -> Option<Kind> {
    match *body.first()? {
        EOF if body.len() == 5 => {
            let status = packet::eof(body)?.status;
            status
                .is_plausible()
                .then_some(Kind::Rows { status, eof: true })
        }
        EOF => {
            let end = packet::ok(body)?;
            let fits = end.rows == 0 && end.len == 7 && end.status.is_plausible();
            fits.then_some(Kind::Rows {
                status: end.status,
                eof: false,
            })
        }
        OK if may_be_ok => {
            let end = packet::ok(body)?;
            end.status.is_plausible().then_some(Kind::Ok {
                status: end.status,
                rows: end.rows,
            })
        }
        ERR => {
            let &[_, low, high, b'#', ref state @ .., a, b] = body.first_chunk::<9>()? else {
                return None;
            };
            let fits = state.iter().chain(&[a, b]).all(u8::is_ascii_alphanumeric)
                && body.iter().skip(9).all(|byte| *byte >= b' ');
            fits.then_some(Kind::Error(u16::from_le_bytes([low, high])))
        }
        _ => None,
    }
}
