//! Locks that threads wait for: who holds locks on a file, and who held one during a wait.

use crate::Plain;

/// Who held a lock that another waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LockHolder {
    /// Process id, initial PID namespace; 0: this entry is free.
    pub tgid: u32,
    /// Thread id; 0: not known.
    pub tid: u32,
    /// How much of the wait it held the lock, ns.
    pub ns: u64,
    /// When it let it go, monotonic; not later than the end of the wait.
    pub until_ns: u64,
    /// Its name, NUL-padded; empty: not known.
    pub comm: [u8; 16],
}

// SAFETY: integers only, no padding.
unsafe impl Plain for LockHolder {}

/// Holders that travel with a wait.
pub const LOCK_HOLDERS_TOLD: usize = 2;

/// A lock on a file, or on a part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FileLock {
    /// `flc_owner`: an address that stands for whoever has it; 0: this entry is free.
    pub owner: u64,
    /// When it was taken, monotonic; 0: before anybody was seen to wait.
    pub from_ns: u64,
    /// When it was released; 0: it is held.
    pub to_ns: u64,
    /// First byte of the file.
    pub start: u64,
    /// Last byte.
    pub end: u64,
    /// Process that took it.
    pub tgid: u32,
    /// Thread that took or released it; 0: not known.
    pub tid: u32,
    /// 1: nobody else may have one meanwhile.
    pub exclusive: u32,
    /// Padding.
    pub reserved: u32,
    /// Name of the thread, NUL-padded; empty: not known.
    pub comm: [u8; 16],
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for FileLock {}

/// Locks kept of a file.
pub const FILE_LOCKS: usize = 4;

/// Value of `FILE_LOCKS`, by the address of the inode: a file that a watched thread has waited to lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FileLocks {
    /// Inode number: the address may come to another file.
    pub inode: u64,
    /// The last locks.
    pub held: [FileLock; FILE_LOCKS],
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for FileLocks {}

const _: () = assert!(size_of::<LockHolder>() == 40);
const _: () = assert!(size_of::<FileLock>() == 72);
const _: () = assert!(size_of::<FileLocks>() == 8 + FILE_LOCKS * size_of::<FileLock>());
