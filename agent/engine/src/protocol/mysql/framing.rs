//! Bytes of one direction to packets, over chunks that may have a hole.

use std::fmt;

use super::super::client::Chunk;
use super::command;
use super::packet::FULL;

/// Longest part of a statement that is kept, bytes.
pub(super) const KEPT: usize = 4096;
/// Capacity that is kept for the next packet.
const SPARE: usize = 1024;
/// What is kept of a server's packet: the end of rows, an error's code, what was prepared.
const KEPT_OF_SERVER: usize = 24;

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
        let (bytes, gap, tail) = chunk.parts();
        Self { bytes, gap, tail }
    }

    /// With other bytes in front of the gap.
    pub(super) fn with_front<'b>(self, bytes: &'b [u8]) -> Input<'b>
    where
        'a: 'b,
    {
        Input { bytes, ..self }
    }

    /// Bytes that are still to come, captured or not.
    pub(super) fn rest(&self) -> u64 {
        (self.bytes.len() as u64)
            .saturating_add(self.gap)
            .saturating_add(self.tail.len() as u64)
    }

    fn settle(&mut self) {
        if self.bytes.is_empty() && self.gap == 0 {
            self.bytes = std::mem::take(&mut self.tail);
        }
    }
}

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// A packet that is complete; those that belong together because of their length are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// Numbers of its first and of its last part.
    pub(super) first: u8,
    pub(super) last: u8,
    pub(super) len: u64,
}

/// What came next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Packet(Packet),
    /// The chunk is over.
    More,
    /// A packet begins, or its header ends, where nothing was captured.
    Gap,
}

/// Finds the packets of one direction.
pub(super) struct Framer {
    side: Side,
    /// Nothing of what comes is kept: it is a file.
    pub(super) opaque: bool,
    header: [u8; 4],
    /// Bytes of the header that are there; 0: between parts.
    have: usize,
    /// A part was complete, and another belongs to it.
    goes_on: bool,
    /// Bytes of the part that are still to come.
    left: u64,
    packet: Packet,
    body: Vec<u8>,
    /// Nothing more is kept of this packet.
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
            opaque: false,
            header: [0; 4],
            have: 0,
            goes_on: false,
            left: 0,
            packet: Packet {
                first: 0,
                last: 0,
                len: 0,
            },
            body: Vec::new(),
            cut: false,
        }
    }

    /// Forgets a packet that began.
    pub(super) fn reset(&mut self) {
        self.have = 0;
        self.goes_on = false;
        self.left = 0;
        self.body.clear();
    }

    /// Bytes of a header that has begun.
    pub(super) fn header_begun(&self) -> u64 {
        self.have as u64
    }

    /// The front of the packet that is complete, as much as was kept.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Takes that; give it back with [`Self::give_back`].
    pub(super) fn take_body(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.body)
    }

    /// Saves an allocation.
    pub(super) fn give_back(&mut self, body: Vec<u8>) {
        self.body = body;
        self.body.clear();
        self.body.shrink_to(SPARE);
    }

    /// Goes on to the next packet.
    pub(super) fn step(&mut self, input: &mut Input<'_>) -> Step {
        loop {
            input.settle();
            if self.have < self.header.len() {
                let Some((byte, rest)) = input.bytes.split_first() else {
                    return if input.gap > 0 { Step::Gap } else { Step::More };
                };
                input.bytes = rest;
                self.header_byte(*byte);
            } else if self.left > 0 {
                if !self.body_bytes(input) {
                    return Step::More;
                }
            } else {
                self.have = 0;
                self.goes_on = self.part_len() == FULL;
                if !self.goes_on {
                    return Step::Packet(self.packet);
                }
            }
        }
    }

    fn part_len(&self) -> u64 {
        let [a, b, c, _] = self.header;
        u64::from(u32::from_le_bytes([a, b, c, 0]))
    }

    fn header_byte(&mut self, byte: u8) {
        if let Some(place) = self.header.get_mut(self.have) {
            *place = byte;
        }
        self.have += 1;
        if self.have < self.header.len() {
            return;
        }
        self.left = self.part_len();
        if self.goes_on {
            self.packet.last = byte;
            self.packet.len = self.packet.len.saturating_add(self.left);
        } else {
            self.packet = Packet {
                first: byte,
                last: byte,
                len: self.left,
            };
            self.body.clear();
            self.cut = false;
        }
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
            let room = self.keep(taken).saturating_sub(self.body.len());
            self.body.extend(taken.iter().take(room));
            self.cut = taken.len() > room;
        }
        true
    }

    /// How much of the packet is needed.
    fn keep(&self, taken: &[u8]) -> usize {
        let first = self.body.first().or(taken.first());
        match (self.side, first) {
            (Side::Server, _) => KEPT_OF_SERVER,
            (Side::Client, Some(first)) if !self.opaque => command::keep(self.packet.first, *first),
            _ => 0,
        }
    }
}
