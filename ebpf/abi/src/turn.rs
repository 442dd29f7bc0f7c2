//! Turns of an event loop: from the return of one poll to the begin of the next.

use crate::{Plain, account::Account};

/// The turn that a thread is in; part of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Turn {
    /// Return of the poll that began it, monotonic; 0: it is over, or none has begun.
    pub begin_ns: u64,
    /// Descriptor of the epoll instance on which the thread has waited for clients, plus 1; 0: it has not.
    pub epoll: u32,
    /// Padding.
    pub reserved: u32,
    /// The thread's nanoseconds by [`Account`] at the begin.
    pub ns: [u64; Account::COUNT],
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for Turn {}

const _: () = assert!(size_of::<Turn>() == 16 + Account::COUNT * 8);
