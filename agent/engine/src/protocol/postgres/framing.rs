//! Bytes of one direction to messages, over chunks that may have a hole.

use std::fmt;

use super::super::client::Chunk;
use super::message::{self, Header, Side};

/// Longest part of a message's body that is kept, bytes.
pub(super) const KEPT: usize = 1024;
/// The same of a Query, whose statements are counted: as much as is captured of one write.
pub(super) const KEPT_OF_QUERY: usize = 32 * 1024;
/// Lengths of packets without a type (`MAX_STARTUP_PACKET_LENGTH`, `src/include/libpq/pqcomm.h`).
const STARTUP_LENGTHS: std::ops::RangeInclusive<u32> = 8..=10_000;

/// A chunk that is read from its front to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    /// Bytes behind those that were not captured.
    gap: u64,
    tail: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn new(chunk: Chunk<'a>) -> Self {
        let missing = chunk.len.saturating_sub(chunk.front.len() as u64);
        // What the tail has of the front is not told twice.
        let twice = (chunk.tail.len() as u64).saturating_sub(missing);
        let twice = usize::try_from(twice).unwrap_or(usize::MAX);
        let tail = chunk.tail.get(twice..).unwrap_or_default();
        Self {
            bytes: chunk.front,
            gap: missing - tail.len() as u64,
            tail,
        }
    }

    /// Bytes that were all captured.
    pub(super) fn whole(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            gap: 0,
            tail: &[],
        }
    }

    /// The next byte; `None`: it was not captured, or there is none.
    pub(super) fn first(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    /// Leaves out a byte that was captured.
    pub(super) fn skip_byte(&mut self) {
        self.bytes = self.bytes.get(1..).unwrap_or_default();
    }

    /// What was captured behind the gap, and the length of the gap.
    pub(super) fn behind_gap(&self) -> (u64, &'a [u8]) {
        (self.gap, self.tail)
    }

    fn settle(&mut self) {
        if self.bytes.is_empty() && self.gap == 0 {
            self.bytes = std::mem::take(&mut self.tail);
        }
    }
}

/// What came next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A message is complete. Its type is 0 for packets that have none. `whole`: its body was kept whole.
    Message { kind: u8, whole: bool },
    /// The chunk is over.
    More,
    /// The next message begins, or its header ends, where nothing was captured.
    Gap,
    /// These are not messages, or have a length that no peer sends.
    Strange,
    /// A packet without a type with such a length: this is not PostgreSQL.
    Hostile,
}

/// Finds the messages of one direction.
pub(super) struct Framer {
    side: Side,
    /// Packets without a type come: the connection is being set up.
    pub(super) untyped: bool,
    header: [u8; 5],
    /// Bytes of the header that are there; 0: between messages.
    have: usize,
    /// Bytes of the body that are still to come.
    left: u64,
    body: Vec<u8>,
    keep: usize,
    /// The body is not kept whole.
    cut: bool,
}

/// Bodies are not shown: they hold what users wrote.
impl fmt::Debug for Framer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Framer")
            .field("side", &self.side)
            .field("have", &self.have)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Framer {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            untyped: false,
            header: [0; 5],
            have: 0,
            left: 0,
            body: Vec::new(),
            keep: 0,
            cut: false,
        }
    }

    /// Forgets a message that began.
    pub(super) fn reset(&mut self) {
        self.have = 0;
        self.left = 0;
        self.body.clear();
    }

    /// Bytes of a header that has begun.
    pub(super) fn header_begun(&self) -> usize {
        self.have
    }

    /// Takes the body of the message that is complete; give it back with [`Self::give_back`].
    pub(super) fn take_body(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.body)
    }

    /// Saves an allocation.
    pub(super) fn give_back(&mut self, body: Vec<u8>) {
        self.body = body;
        self.body.clear();
        self.body.shrink_to(KEPT);
    }

    /// Goes on to the next thing.
    pub(super) fn step(&mut self, input: &mut Input<'_>) -> Step {
        loop {
            input.settle();
            if self.have < self.header.len() {
                let Some(byte) = input.first() else {
                    return if input.gap > 0 { Step::Gap } else { Step::More };
                };
                input.skip_byte();
                match self.header_byte(byte) {
                    Header::Fits => {}
                    Header::Hostile if self.untyped => return Step::Hostile,
                    Header::Strange | Header::Hostile => return Step::Strange,
                }
            } else if self.left > 0 {
                if !self.body_bytes(input) {
                    return Step::More;
                }
            } else {
                self.have = 0;
                return Step::Message {
                    kind: self.header[0],
                    whole: !self.cut,
                };
            }
        }
    }

    fn header_byte(&mut self, byte: u8) -> Header {
        if self.have == 0 && self.untyped {
            self.header[0] = 0;
            self.have = 1;
        }
        if let Some(place) = self.header.get_mut(self.have) {
            *place = byte;
        }
        self.have += 1;
        let [kind, length @ ..] = self.header;
        if self.have < 1 + length.len() {
            return Header::Fits;
        }
        let length = u32::from_be_bytes(length);
        let judged = if !self.untyped {
            message::header(self.side, kind, length)
        } else if STARTUP_LENGTHS.contains(&length) {
            Header::Fits
        } else {
            Header::Hostile
        };
        if judged == Header::Fits {
            self.left = u64::from(length) - 4;
            self.keep = keep(self.side, kind);
            self.cut = false;
            self.body.clear();
        }
        judged
    }

    /// Takes bytes of the body; `false`: there are none.
    fn body_bytes(&mut self, input: &mut Input<'_>) -> bool {
        if input.bytes.is_empty() {
            let skipped = self.left.min(input.gap);
            input.gap -= skipped;
            self.left -= skipped;
            self.cut |= skipped > 0;
            return skipped > 0;
        }
        let here = usize::try_from(self.left).unwrap_or(usize::MAX);
        let (taken, rest) = input.bytes.split_at(here.min(input.bytes.len()));
        input.bytes = rest;
        self.left -= taken.len() as u64;
        if !self.cut {
            let room = self.keep.saturating_sub(self.body.len());
            self.body.extend(taken.iter().take(room));
            self.cut = taken.len() > room;
        }
        true
    }
}

/// How much of a body is needed.
fn keep(side: Side, kind: u8) -> usize {
    match (side, kind) {
        (Side::Client, b'Q') => KEPT_OF_QUERY,
        (Side::Client, b'P') => KEPT,
        (Side::Client, 0 | b'B' | b'E' | b'C') | (Side::Server, b'C' | b'E' | b'S') => KEPT / 4,
        _ => 0,
    }
}
