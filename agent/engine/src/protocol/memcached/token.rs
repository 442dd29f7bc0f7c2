//! The small pieces that both directions are read with: one byte after the other, so that it makes no
//! difference where the bytes were split, and without keeping what was read.

/// Bytes of a word that are kept: commands, statuses and lengths are shorter.
const WORD_LIMIT: usize = 24;
/// Longest value. Servers take 1 MiB unless told otherwise (`-I`), and at most 1 GiB.
pub(super) const LENGTH_LIMIT: u64 = 512 << 20;
/// Most words of a line.
pub(super) const WORDS_LIMIT: u64 = 1 << 20;
/// Length of a header of the binary protocol.
pub(super) const HEADER_LEN: usize = 24;

/// A short word.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Word {
    bytes: [u8; WORD_LIMIT],
    len: usize,
    spoiled: bool,
}

impl Word {
    fn push(&mut self, byte: u8) {
        match self.bytes.get_mut(self.len) {
            Some(slot) => {
                *slot = byte;
                self.len += 1;
            }
            None => self.spoiled = true,
        }
    }

    /// The word; empty: there is none, it is too long, or was not captured whole.
    pub(super) fn get(&self) -> &[u8] {
        match self.bytes.get(..self.len) {
            Some(bytes) if !self.spoiled => bytes,
            _ => b"",
        }
    }
}

/// A length that a line gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// So many bytes.
    Bytes(u64),
    /// It is no number, or not there.
    None,
    /// Negative or above [`LENGTH_LIMIT`].
    Hostile,
}

/// A line of words. Of its words it keeps the first, and the one that is a length.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    name: Word,
    /// The word under way. Keys pass through it.
    word: Word,
    length: Word,
    words: u64,
    noreply: bool,
    quiet: bool,
}

impl Line {
    /// Takes one more byte; true: it ended the line.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        match byte {
            b' ' | b'\r' | b'\n' => self.word_done(),
            _ => self.word.push(byte),
        }
        byte == b'\n'
    }

    /// The line goes on where nothing was captured.
    pub(super) fn cut(&mut self) {
        self.word.push(b' ');
        self.word.spoiled = true;
        self.word_done();
    }

    fn word_done(&mut self) {
        let word = std::mem::take(&mut self.word);
        if word.len == 0 {
            return;
        }
        match self.words {
            0 => self.name = word,
            at if at == length_at(self.name.get()) => self.length = word,
            _ => {}
        }
        // A key may be called so too; only the last word, behind a key, can be the option.
        let option_at = if self.name.get() == b"flush_all" {
            1
        } else {
            2
        };
        self.noreply = self.words >= option_at && word.get() == b"noreply";
        self.quiet |= self.words > 1 && word.get() == b"q";
        self.words += 1;
    }

    /// Its first word.
    pub(super) fn name(&self) -> &[u8] {
        self.name.get()
    }

    /// Words that are complete.
    pub(super) fn words(&self) -> u64 {
        self.words
    }

    /// Its last word is `noreply`.
    pub(super) fn noreply(&self) -> bool {
        self.noreply
    }

    /// It has the flag `q` of meta commands.
    pub(super) fn quiet(&self) -> bool {
        self.quiet
    }

    /// The length of the data that follows it.
    pub(super) fn length(&self) -> Length {
        match decimal(self.length.get()) {
            Some(length) if length <= LENGTH_LIMIT => Length::Bytes(length),
            Some(_) => Length::Hostile,
            None if self.length.get().first() == Some(&b'-') => Length::Hostile,
            None => Length::None,
        }
    }
}

/// Which word of a line is the length of the data behind it; 0: none.
fn length_at(name: &[u8]) -> u64 {
    match name {
        b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas" => 4,
        b"ms" => 2,
        b"VALUE" => 3,
        b"VA" => 1,
        _ => 0,
    }
}

/// A number in decimal digits, saturating.
pub(super) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0_u64, |sum, digit| {
        digit.is_ascii_digit().then(|| {
            sum.saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        })
    })
}

/// A header of the binary protocol as it is collected.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Collected {
    bytes: [u8; HEADER_LEN],
    len: usize,
}

impl Collected {
    /// Takes one more byte; the header, when it is complete.
    pub(super) fn take(&mut self, byte: u8) -> Option<[u8; HEADER_LEN]> {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
        (self.len == HEADER_LEN).then_some(self.bytes)
    }
}
