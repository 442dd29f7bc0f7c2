//! Rows that were not captured, by the numbers of the packets around them.
//!
//! Packets are numbered, but to 256 only; how many times it went round is told by how long the rows are that
//! were captured. Where that says too little, it is the least that there can have been.

/// Where a row is looked for: so many bytes from the front.
const SEARCHED: usize = 1024;
/// A row of so many bytes is taken for one if another follows it, a shorter one if two do.
const LONG: usize = 150;
/// Rows that may be estimated: a quarter more or less makes no difference of a round.
const ESTIMATED: u64 = 512;
/// Bytes of as many packets as there are numbers: of fewer it is certain how many packets they are.
const ROUND: u64 = 256 * 5;
/// Rows that count for how long those beside them are.
const RECENT: u64 = 64;

/// What is known of the rows of a result.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hidden {
    /// Bytes since packets could not be followed any more.
    pub(super) bytes: u64,
    /// An EOF packet may be among what was hidden.
    pub(super) eof: bool,
    /// Rows that were captured lately, their bytes, and those of the shortest and longest.
    seen: u64,
    seen_bytes: u64,
    least: u64,
    most: u64,
    /// How many packets there were is not certain.
    pub(super) estimated: bool,
}

impl Hidden {
    /// What is known of the next result of the same statement: its rows are added to those before.
    pub(super) fn next_result(self) -> Self {
        Self {
            estimated: self.estimated,
            ..Self::default()
        }
    }

    /// A row of so many bytes was captured.
    pub(super) fn see(&mut self, bytes: u64) {
        if self.seen >= RECENT || self.seen == 0 {
            self.seen /= 2;
            self.seen_bytes /= 2;
            (self.least, self.most) = (bytes, bytes);
        }
        self.seen += 1;
        self.seen_bytes = self.seen_bytes.saturating_add(bytes);
        self.least = self.least.min(bytes);
        self.most = self.most.max(bytes);
    }

    /// Whether so many rows are known to less than half a round.
    fn is_sure(&self, rows: u64) -> bool {
        let spread = self.most - self.least;
        rows <= ESTIMATED || rows.saturating_mul(spread) < self.least.saturating_mul(100)
    }

    /// Packets in so many bytes, between one with the number `from` and, without it, one with the number `to`.
    pub(super) fn packets(&mut self, from: u8, to: u8, bytes: u64) -> u64 {
        let least = u64::from(to.wrapping_sub(from));
        let about = bytes
            .saturating_mul(self.seen)
            .checked_div(self.seen_bytes)
            .unwrap_or(0);
        let rounds = if self.is_sure(about) {
            (about + 128).saturating_sub(least) / 256
        } else {
            (about - about / 4).saturating_sub(least) / 256
        };
        self.estimated |= bytes >= ROUND;
        least + 256 * rounds
    }
}

/// Rows that were found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Again {
    /// Where the first of them begins.
    pub(super) at: usize,
    /// Its number, and its bytes.
    pub(super) number: u8,
    pub(super) len: usize,
}

/// Finds rows by their headers: the length of one leads to the next, whose number is the next.
pub(super) fn again(bytes: &[u8]) -> Option<Again> {
    (0..bytes.len().min(SEARCHED)).find_map(|at| {
        let (len, number) = header(bytes, at)?;
        let second = at + len;
        let (next_len, next) = header(bytes, second)?;
        let third = header(bytes, second + next_len);
        let fits = next == number.wrapping_add(1)
            && match third {
                Some((_, third)) => third == next.wrapping_add(1),
                None => len > LONG,
            };
        fits.then_some(Again { at, number, len })
    })
}

/// Length with the header, and number, of a packet that is not very long.
fn header(bytes: &[u8], at: usize) -> Option<(usize, u8)> {
    match bytes.get(at..)?.first_chunk::<4>()? {
        [0, 0, ..] => None,
        [low, high, 0, number] => {
            let len = usize::from(u16::from_le_bytes([*low, *high]));
            Some((4 + len, *number))
        }
        _ => None,
    }
}
