//! Where a request's body ends, over bytes that arrive in pieces and may have holes.

use super::BodyFraming;

/// Follows the bytes of one request, by offset from its first byte.
#[derive(Clone, Debug)]
pub(crate) struct BodyTracker {
    head_len: u64,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Ends at this offset.
    Known(u64),
    /// Chunks, followed up to offset `fed` as long as no byte is missing.
    Chunks {
        decoder: ChunkDecoder,
        fed: u64,
        hole: bool,
    },
    /// Not to be told.
    Unknown,
}

impl BodyTracker {
    /// A body after a head of `head_len` bytes.
    pub(crate) fn new(head_len: u64, framing: BodyFraming) -> Self {
        let kind = match framing {
            BodyFraming::None => Kind::Known(head_len),
            BodyFraming::Length(length) => Kind::Known(head_len.saturating_add(length)),
            BodyFraming::Chunked => Kind::Chunks {
                decoder: ChunkDecoder::default(),
                fed: head_len,
                hole: false,
            },
            BodyFraming::UntilClose | BodyFraming::Unknown => Kind::Unknown,
        };
        Self { head_len, kind }
    }

    /// Takes bytes at `offset`. Follows chunks.
    pub(crate) fn feed(&mut self, offset: u64, bytes: &[u8]) {
        if let Kind::Chunks { decoder, fed, hole } = &mut self.kind {
            if decoder.is_done() || *hole || bytes.is_empty() {
                return;
            }
            let end = offset.saturating_add(bytes.len() as u64);
            if offset > *fed {
                *hole = true;
            } else if end > *fed {
                let skip = usize::try_from(*fed - offset).unwrap_or(usize::MAX);
                *fed += decoder.feed(bytes.get(skip..).unwrap_or_default()) as u64;
            }
        }
    }

    /// Notes that bytes up to `offset` were read without being captured.
    pub(crate) fn skipped_to(&mut self, offset: u64) {
        if let Kind::Chunks { decoder, fed, hole } = &mut self.kind
            && !decoder.is_done()
            && offset > *fed
        {
            *hole = true;
        }
    }

    /// Offset at which the request ends; `None`: not known (yet).
    pub(crate) fn end(&self) -> Option<u64> {
        match &self.kind {
            Kind::Known(end) => Some(*end),
            Kind::Chunks { decoder, fed, .. } => decoder.is_done().then_some(*fed),
            Kind::Unknown => None,
        }
    }

    /// Whether all of the request was read when `read` bytes were. `None`: not to be told.
    pub(crate) fn complete(&self, read: u64) -> Option<bool> {
        match &self.kind {
            Kind::Known(end) => Some(read >= *end),
            Kind::Chunks { decoder, hole, .. } => {
                if decoder.is_done() {
                    Some(true)
                } else if *hole || decoder.is_broken() {
                    None
                } else {
                    Some(false)
                }
            }
            Kind::Unknown => None,
        }
    }

    /// The request ends with its head.
    pub(crate) fn is_empty(&self) -> bool {
        self.end() == Some(self.head_len)
    }
}

/// Finds the end of a chunked body (RFC 9112, section 7.1).
#[derive(Clone, Debug, Default)]
pub(crate) struct ChunkDecoder {
    state: ChunkState,
    /// Bytes of the chunk's data, its line end included, that are still to come.
    left: u64,
    digits: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkState {
    #[default]
    Size,
    Extension,
    Data,
    /// In the trailer section; at the start of a line.
    TrailerStart,
    /// Within a trailer line.
    Trailer,
    Done,
    Broken,
}

impl ChunkDecoder {
    /// Takes bytes; returns how many belong to the body.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                ChunkState::Done | ChunkState::Broken => break,
                ChunkState::Data => {
                    let here = (bytes.len() - at) as u64;
                    let take = self.left.min(here);
                    self.left -= take;
                    at += usize::try_from(take).unwrap_or(usize::MAX);
                    if self.left == 0 {
                        self.state = ChunkState::Size;
                        self.digits = 0;
                    }
                }
                _ => {
                    self.byte(bytes[at]);
                    at += 1;
                }
            }
        }
        at
    }

    fn byte(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (ChunkState::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if self.digits < 15 => {
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                self.left = if self.digits == 0 { 0 } else { self.left } * 16 + u64::from(digit);
                self.digits += 1;
                ChunkState::Size
            }
            (ChunkState::Size, b'\n') if self.digits > 0 => self.line_done(),
            (ChunkState::Size, b'\r') => ChunkState::Size,
            (ChunkState::Size, b';' | b' ' | b'\t') if self.digits > 0 => ChunkState::Extension,
            (ChunkState::Size, _) => ChunkState::Broken,
            (ChunkState::Extension, b'\n') => self.line_done(),
            (ChunkState::TrailerStart, b'\n') => ChunkState::Done,
            (ChunkState::TrailerStart, b'\r') => ChunkState::TrailerStart,
            (ChunkState::Trailer, b'\n') => ChunkState::TrailerStart,
            (ChunkState::TrailerStart, _) => ChunkState::Trailer,
            (state, _) => state,
        };
    }

    fn line_done(&mut self) -> ChunkState {
        if self.left == 0 {
            return ChunkState::TrailerStart;
        }
        // The data is followed by CR LF.
        self.left += 2;
        ChunkState::Data
    }

    /// Whether the next byte is part of the framing: a digit of a size, or a line end.
    pub(crate) fn frames(&self, byte: u8) -> bool {
        match self.state {
            ChunkState::Size => byte.is_ascii_hexdigit() || matches!(byte, b'\r' | b'\n' | b';'),
            ChunkState::Extension | ChunkState::TrailerStart | ChunkState::Trailer => {
                matches!(byte, b'\r' | b'\n')
            }
            ChunkState::Data | ChunkState::Done | ChunkState::Broken => false,
        }
    }

    /// The last chunk and the trailer section were seen.
    pub(crate) fn is_done(&self) -> bool {
        self.state == ChunkState::Done
    }

    /// The bytes are not chunks.
    pub(crate) fn is_broken(&self) -> bool {
        self.state == ChunkState::Broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n";

    #[test]
    fn chunks_end_in_any_pieces() {
        for cut in 0..=BODY.len() {
            let mut decoder = ChunkDecoder::default();
            assert_eq!(decoder.feed(&BODY[..cut]), cut);
            assert_eq!(decoder.is_done(), cut == BODY.len(), "{cut}");
            let mut rest = BODY[cut..].to_vec();
            rest.extend_from_slice(b"GET /");
            assert_eq!(decoder.feed(&rest), BODY.len() - cut);
            assert!(decoder.is_done());
        }
    }

    #[test]
    fn what_is_not_chunks_is_broken() {
        for bytes in [
            &b"hello"[..],
            b"\n",
            b"0123456789abcdef0\r\n",
            b"5\r\nhelloXX7\r\nz",
        ] {
            let mut decoder = ChunkDecoder::default();
            decoder.feed(bytes);
            assert!(!decoder.is_done(), "{bytes:?}");
        }
        let mut decoder = ChunkDecoder::default();
        decoder.feed(b"zz");
        assert!(decoder.is_broken());
    }

    #[test]
    fn length_and_none() {
        let mut body = BodyTracker::new(10, BodyFraming::Length(5));
        body.feed(10, b"abc");
        assert_eq!((body.end(), body.complete(14)), (Some(15), Some(false)));
        assert_eq!(body.complete(15), Some(true));
        let none = BodyTracker::new(10, BodyFraming::None);
        assert_eq!((none.end(), none.complete(10)), (Some(10), Some(true)));
        let unknown = BodyTracker::new(10, BodyFraming::Unknown);
        assert_eq!((unknown.end(), unknown.complete(99)), (None, None));
    }

    #[test]
    fn a_hole_in_chunks_makes_the_end_unknown() {
        let mut body = BodyTracker::new(10, BodyFraming::Chunked);
        body.feed(10, b"5\r\nhel");
        assert_eq!(body.complete(16), Some(false));
        body.skipped_to(16);
        assert_eq!(body.complete(16), Some(false));
        body.feed(20, b"0\r\n\r\n");
        assert_eq!(body.complete(25), None);
        let mut whole = BodyTracker::new(10, BodyFraming::Chunked);
        whole.feed(10, BODY);
        assert_eq!(whole.end(), Some(10 + BODY.len() as u64));
        assert_eq!(whole.complete(0), Some(true));
    }
}
