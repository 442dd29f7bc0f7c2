//! Messages out of a stream (TCP), each behind its length in two bytes.

use super::message::{FRONT, HEADER};

/// What was found in the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The front of a message, whose last byte was reached.
    Message(Vec<u8>),
    /// Where messages begin is not known any more.
    Lost,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Bytes of the length that were read.
    prefix: Vec<u8>,
    /// Bytes of the message that are still to come; `None`: its length is.
    left: Option<usize>,
    front: Vec<u8>,
    /// Bytes were missing within the front.
    hole: bool,
    lost: bool,
}

impl Stream {
    /// Where messages begin is not known.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Takes bytes from the front of `bytes` until something is found in them.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<Found> {
        while !bytes.is_empty() && !self.lost {
            match self.left {
                None => {
                    self.prefix.push(bytes[0]);
                    *bytes = &bytes[1..];
                    if let [high, low] = *self.prefix {
                        self.prefix.clear();
                        let length = usize::from(u16::from_be_bytes([high, low]));
                        if length < HEADER {
                            return Some(self.lose());
                        }
                        self.left = Some(length);
                    }
                }
                Some(left) => {
                    let (here, rest) = bytes.split_at(left.min(bytes.len()));
                    *bytes = rest;
                    let room = FRONT.saturating_sub(self.front.len());
                    if !self.hole {
                        let kept = here.get(..room).unwrap_or(here);
                        self.front.extend_from_slice(kept);
                    }
                    if let Some(found) = self.took(left, here.len()) {
                        return Some(found);
                    }
                }
            }
        }
        *bytes = &[];
        None
    }

    /// Goes over bytes that were not captured, until something is known of them.
    pub(super) fn skip(&mut self, gap: &mut u64) -> Option<Found> {
        if *gap == 0 || self.lost {
            return None;
        }
        let Some(left) = self.left else {
            *gap = 0;
            return Some(self.lose());
        };
        let here = usize::try_from(*gap).unwrap_or(usize::MAX).min(left);
        *gap -= here as u64;
        // What lies behind a hole is not in its place.
        self.hole |= self.front.len() < FRONT;
        self.took(left, here)
    }

    fn took(&mut self, left: usize, here: usize) -> Option<Found> {
        self.left = Some(left - here);
        if left > here {
            return None;
        }
        self.left = None;
        self.hole = false;
        Some(Found::Message(std::mem::take(&mut self.front)))
    }

    fn lose(&mut self) -> Found {
        *self = Self {
            lost: true,
            ..Self::default()
        };
        Found::Lost
    }
}
