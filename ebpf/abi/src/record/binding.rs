//! Records of threads that work for others: event loops that do not come back to poll, and moments of threads that
//! work on what another has read.

use crate::{
    Plain,
    account::Account,
    record::RecordHeader,
    totals::Totals,
    wait::{WAITS_KEPT, Wait},
};

crate::integer_enum! {
    /// Which moment of a thread a [`MarkRecord`] is.
    pub enum MarkKind: u32 {
        /// It has waited on a futex that is not an interpreter's lock, and runs again: it may begin work here.
        Woken = 0 => "woken",
        /// It has written to the client of a request: of one that another thread read, or an event loop for the
        /// first time for this request.
        Answered = 1 => "answered",
        /// It has written a byte to a pair of sockets, or to an eventfd: the way to tell an event loop that work is done.
        Signalled = 2 => "signalled",
    }
}

/// A moment of a thread, in processes in which one thread reads requests and others work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct MarkRecord {
    /// Front; the time is when it ran again, or the return of the write.
    pub header: RecordHeader,
    /// [`MarkKind`].
    pub kind: u32,
    /// `Answered`: number of the request on `connection`.
    pub request: u32,
    /// `Answered`: inode number of the socket.
    pub connection: u64,
    /// `Woken`: when the wait began, monotonic.
    pub wait_ns: u64,
    /// `Woken`: when it was woken, monotonic.
    pub wake_ns: u64,
    /// `Woken`: process id and thread id (high and low half) of the waker.
    pub waker: u64,
    /// Ledger of the thread at this moment.
    pub totals: Totals,
    /// Its longest waits since it last began work, as far as that is known.
    pub waits: [Wait; WAITS_KEPT],
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for MarkRecord {}

/// An event loop that reads requests has not come back to poll for longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LoopStallRecord {
    /// Front; the time is the end of the stall.
    pub header: RecordHeader,
    /// When its last poll had returned, monotonic.
    pub start_ns: u64,
    /// Descriptor of its epoll instance.
    pub epoll: i32,
    /// Padding.
    pub reserved: u32,
    /// Nanoseconds by [`Account`] between the start and the end.
    pub ns: [u64; Account::COUNT],
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for LoopStallRecord {}

const _: () = assert!(
    size_of::<MarkRecord>() == 32 + 40 + size_of::<Totals>() + WAITS_KEPT * size_of::<Wait>()
);
const _: () = assert!(size_of::<LoopStallRecord>() == 32 + 16 + Account::COUNT * 8);
