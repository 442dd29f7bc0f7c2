//! Programs that watched processes start, and their own children.

use crate::{Plain, record::RecordHeader, totals::Totals};

/// Bytes of a [`ProgramRecord::file`].
pub const PROGRAM_FILE: usize = 128;
/// Bytes of [`ProgramRecord::arguments`].
pub const PROGRAM_ARGUMENTS: usize = 256;

crate::integer_enum! {
    /// What happened to a program.
    pub enum ProgramEvent: u32 {
        /// A process that is followed runs it from now on.
        Exec = 0 => "exec",
        /// A program has started a process: `header` is the new one, `other` the thread that made it.
        Fork = 1 => "fork",
        /// A thread of it ended; `last` tells whether the process did.
        Exit = 2 => "exit",
    }
}

/// A change in the life of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ProgramRecord {
    /// Front; the sequence number is 0.
    pub header: RecordHeader,
    /// [`ProgramEvent`].
    pub event: u32,
    /// By `event`.
    pub other: u32,
    /// `Exit`: exit code (`status << 8 | signal`), else 0.
    pub code: u32,
    /// 1 when the process ended with this thread.
    pub last: u32,
    /// Index of the slot.
    pub slot: u32,
    /// Process id of the parent process.
    pub parent: u32,
    /// Start of the process: `task_struct.start_boottime` of the thread-group leader, ns since boot.
    pub process_start_ns: u64,
    /// `Exit`: the thread's first write to descriptor 1 or 2, monotonic; 0: none.
    pub first_output_ns: u64,
    /// `Exit`: files that the thread opened.
    pub files_opened: u32,
    /// `Exec`: bytes of `arguments` in use.
    pub arguments_len: u32,
    /// `Exec`: bytes of all arguments.
    pub arguments_total: u32,
    /// Padding.
    pub reserved: u32,
    /// Thread name, NUL-padded.
    pub comm: [u8; 16],
    /// Ledger at this moment.
    pub totals: Totals,
    /// `Exec`: path as it was asked for, ended by NUL, cut.
    pub file: [u8; PROGRAM_FILE],
    /// `Exec`: arguments, each ended by NUL.
    pub arguments: [u8; PROGRAM_ARGUMENTS],
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for ProgramRecord {}

const _: () = assert!(
    size_of::<ProgramRecord>()
        == 32 + 56 + 16 + size_of::<Totals>() + PROGRAM_FILE + PROGRAM_ARGUMENTS
);
