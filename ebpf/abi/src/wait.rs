//! One interval off CPU, with its account and what was waited for.

use crate::Plain;

crate::integer_enum! {
    /// How [`Wait::a`], [`Wait::b`] and the rest are to be read.
    pub enum WaitTargetKind: u8 {
        /// Nothing is known of the target.
        None = 0 => "none",
        /// `a` is the user-space address of the futex word.
        Futex = 1 => "futex",
        /// `a` is the inode number, `b` the device number (kernel encoding), `name` the last
        /// component of the path.
        File = 2 => "file",
        /// `a`,`b` are the 16 bytes of the peer's address as in memory (IPv4: the first 4),
        /// `port_be` the peer's port, `family` `AF_INET` or `AF_INET6`.
        Peer = 3 => "peer",
        /// `name` is the path of the unix socket's server end (may start with NUL: abstract).
        UnixPeer = 4 => "unix_peer",
        /// `a` is the process id that was waited for, 0 for any.
        Process = 5 => "process",
        /// `a` is the inode number of the pipe.
        Pipe = 6 => "pipe",
        /// The lock of an interpreter: `a` is the address of its data, `b` the number of looks that found a holder,
        /// `name` the [`crate::interpreter::Holder`]s with most time.
        InterpreterLock = 7 => "interpreter_lock",
    }
}

/// Bytes of a name kept in a [`Wait`].
pub const WAIT_NAME: usize = 32;

/// One wait. 104 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Wait {
    /// First switch-out, monotonic.
    pub start_ns: u64,
    /// Time blocked, until the waking; several blocks within one system call are added up.
    /// 0: this entry is empty.
    pub ns: u64,
    /// [`crate::account::Account`].
    pub account: u8,
    /// [`WaitTargetKind`].
    pub target: u8,
    /// Address family of a peer.
    pub family: u16,
    /// Port of a peer, network byte order.
    pub port_be: u16,
    /// Padding.
    pub reserved: u16,
    /// File descriptor waited on, or -1.
    pub fd: i32,
    /// System call number it happened in; -1 for a page fault.
    pub syscall: i32,
    /// By [`WaitTargetKind`].
    pub a: u64,
    /// By [`WaitTargetKind`].
    pub b: u64,
    /// By [`WaitTargetKind`]; NUL-padded.
    pub name: [u8; WAIT_NAME],
    /// Process id and thread id (high and low half, initial PID namespace) of the thread that ended it; 0: nobody was
    /// seen, it ran out of time, or a signal ended it. What an interrupt brings (disk, network) is brought by whom it
    /// interrupted, who has nothing to do with it.
    pub waker: u64,
    /// Of a thread of a server that is followed: inode number of the socket of the request that `waker` worked for; 0:
    /// not known.
    pub waker_connection: u64,
    /// Number of the request on that.
    pub waker_request: u32,
    /// Padding.
    pub reserved_end: u32,
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for Wait {}

/// How many of the longest waits travel with each request.
pub const WAITS_KEPT: usize = 4;

const _: () = assert!(size_of::<Wait>() == 104 && align_of::<Wait>() == 8);
