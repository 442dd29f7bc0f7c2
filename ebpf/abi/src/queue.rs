//! What is known of a TCP socket that was connected to from outside, before a request is read from it: value of the
//! map `QUEUED`, keyed by the address of its `struct sock`.

use crate::Plain;

/// Times of one socket, monotonic; 0: not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct QueueTimes {
    /// The handshake was done: from here on it lay in the queue of its listener.
    pub established_ns: u64,
    /// Return of the `accept` that took it.
    pub accepted_ns: u64,
    /// First of the bytes that were not read came.
    pub data_ns: u64,
    /// Connections in the listener's queue when it was taken, itself included; 0: not known.
    pub queued: u32,
    /// How many there may be (`listen`).
    pub limit: u32,
}

impl QueueTimes {
    /// Nothing known.
    pub const NONE: Self = Self {
        established_ns: 0,
        accepted_ns: 0,
        data_ns: 0,
        queued: 0,
        limit: 0,
    };
}

// SAFETY: integers only, no padding.
unsafe impl Plain for QueueTimes {}

const _: () = assert!(size_of::<QueueTimes>() == 32);
