//! The small pieces that both directions are read with: one byte after the other, so that it makes no
//! difference where the bytes were split, and without keeping what was read.

/// Bytes of a word that are kept; no command's name is longer.
pub(super) const WORD_LIMIT: usize = 32;
/// Digits of a length or count that are read: any with more is out of all limits.
const DIGITS_LIMIT: u8 = 15;

/// The front of a name, an error code or the kind of a message. Values are never kept in one for
/// longer than it takes to tell that they are none of these.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Word {
    bytes: [u8; WORD_LIMIT],
    len: usize,
    spoiled: bool,
}

impl Word {
    /// Takes one more byte.
    pub(super) fn push(&mut self, byte: u8) {
        match self.bytes.get_mut(self.len) {
            Some(slot) => {
                *slot = byte;
                self.len += 1;
            }
            None => self.spoiled = true,
        }
    }

    /// Takes more bytes; looks at no more of them than it can hold.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().take(WORD_LIMIT + 1) {
            self.push(*byte);
        }
    }

    /// A part of it was not captured.
    pub(super) fn spoil(&mut self) {
        self.spoiled = true;
    }

    /// The word; `None`: empty, too long, or not captured whole.
    pub(super) fn get(&self) -> Option<&[u8]> {
        let bytes = self.bytes.get(..self.len)?;
        (!self.spoiled && !bytes.is_empty()).then_some(bytes)
    }

    /// Whether it is `name`, in any case.
    pub(super) fn is(&self, name: &str) -> bool {
        self.get()
            .is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// A decimal number that CR LF ends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Number {
    value: i64,
    digits: u8,
    negative: bool,
    ending: bool,
}

/// What a byte did to a [`Number`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More bytes belong to it.
    More,
    /// It is complete.
    Done(i64),
    /// More digits than any length has.
    Huge,
    /// It is no number.
    Bad,
}

impl Number {
    /// Takes one more byte.
    pub(super) fn feed(&mut self, byte: u8) -> Step {
        match byte {
            b'\n' if self.ending => Step::Done(if self.negative {
                -self.value
            } else {
                self.value
            }),
            _ if self.ending => Step::Bad,
            b'0'..=b'9' if self.digits >= DIGITS_LIMIT => Step::Huge,
            b'0'..=b'9' => {
                self.value = self.value * 10 + i64::from(byte - b'0');
                self.digits += 1;
                Step::More
            }
            b'-' if self.digits == 0 && !self.negative => {
                self.negative = true;
                Step::More
            }
            b'\r' if self.digits > 0 => {
                self.ending = true;
                Step::More
            }
            _ => Step::Bad,
        }
    }
}
