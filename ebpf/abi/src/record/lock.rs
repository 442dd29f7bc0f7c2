//! A wait for a lock is over.

use super::RecordHeader;
use crate::{
    Plain,
    lock::{LOCK_HOLDERS_TOLD, LockHolder},
    wait::Wait,
};

/// Components of a path that are told.
pub const PATH_DEPTH: usize = 8;
/// Bytes of each, with a NUL.
pub const PATH_NAME: usize = 32;

/// A thread has waited for a lock, other than that of an interpreter, for longer than the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct WaitRecord {
    /// Front; the time is the return of the system call.
    pub header: RecordHeader,
    /// Inode number of the socket that the thread's last request came from; 0: none.
    pub connection: u64,
    /// Number of the request on that. It may be over.
    pub request: u32,
    /// Of a futex: the operation with its flags.
    pub operation: u32,
    /// The wait.
    pub wait: Wait,
    /// Of a lock on a file: those that held it longest.
    pub holders: [LockHolder; LOCK_HOLDERS_TOLD],
    /// Of a lock on a file: components in `path`, from its root on; 0: not known.
    pub path_depth: u32,
    /// Padding.
    pub reserved: u32,
    /// The last component first. One that fills its place may be cut.
    pub path: [[u8; PATH_NAME]; PATH_DEPTH],
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for WaitRecord {}

const _: () = assert!(
    size_of::<WaitRecord>()
        == 32
            + 16
            + size_of::<Wait>()
            + LOCK_HOLDERS_TOLD * size_of::<LockHolder>()
            + 8
            + PATH_DEPTH * PATH_NAME
);
