//! A thread tried to create what may be a lock.

use super::RecordHeader;
use crate::Plain;

/// Bytes of a path that are told, with its NUL.
pub const TRIED_PATH: usize = 256;
/// Records of tries for one request at the most.
pub const TRIES_BUDGET: u32 = 256;
/// Bit of [`TriedRecord::flags`]: no more are shipped for this request.
pub const TRIED_SPENT: u32 = 1;
/// Bit of [`TriedRecord::flags`]: a directory was to be created.
pub const TRIED_DIRECTORY: u32 = 2;
/// Bit of [`TriedRecord::flags`]: it was removed, or renamed, by a thread that has created something.
pub const TRIED_REMOVED: u32 = 4;

/// A thread with a request created something that must not exist before, or found that it does: a file (`O_EXCL`), a
/// directory, a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct TriedRecord {
    /// Front; the time is the return of the system call.
    pub header: RecordHeader,
    /// Inode number of the socket that the request came from.
    pub connection: u64,
    /// Number of the request on that. It may be over.
    pub request: u32,
    /// What the call returned: an error (`-EEXIST`), else not negative.
    pub result: i32,
    /// Bits: `TRIED_SPENT`, `TRIED_DIRECTORY`, `TRIED_REMOVED`.
    pub flags: u32,
    /// The thread's intervals in the account `sleep`, up to now.
    pub sleep_count: u32,
    /// The thread's time in the account `sleep`, up to now, ns.
    pub sleep_ns: u64,
    /// As it was passed; NUL-terminated, and cut where there is none.
    pub path: [u8; TRIED_PATH],
}

// SAFETY: integers only, no padding.
unsafe impl Plain for TriedRecord {}

const _: () = assert!(size_of::<TriedRecord>() == 32 + 32 + TRIED_PATH);
