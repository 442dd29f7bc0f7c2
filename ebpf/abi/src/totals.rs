//! A thread's cumulative ledger and counters.
//!
//! Totals only ever grow (per thread generation; but for the resident memory), and every record carries them as they stood at
//! its time. The time of a request is a difference of two, so a lost record costs only itself, and
//! user space can bind time to requests as late as it must.

use crate::{Plain, account::Account, descriptor::IoKind, syscall::SyscallClass};

/// Totals of one thread since it was first watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Totals {
    /// Nanoseconds by [`Account`].
    pub ns: [u64; Account::COUNT],
    /// Intervals by [`Account`]: waits that ended; for `cpu` and `run_queue` the number of turns.
    pub count: [u32; Account::COUNT],
    /// Round trips to servers: reads of an answer after a write.
    pub round_trips: u32,
    /// Bytes read by [`IoKind`].
    pub bytes_in: [u64; IoKind::COUNT],
    /// Bytes written by [`IoKind`].
    pub bytes_out: [u64; IoKind::COUNT],
    /// System calls by [`SyscallClass`].
    pub syscalls: [u32; SyscallClass::COUNT],
    /// Context switches that the thread asked for (`task_struct.nvcsw`).
    pub voluntary_switches: u64,
    /// Context switches forced on it (`task_struct.nivcsw`).
    pub involuntary_switches: u64,
    /// Minor page faults (`task_struct.min_flt`).
    pub minor_faults: u64,
    /// Major page faults (`task_struct.maj_flt`).
    pub major_faults: u64,
    /// Memory that the process has resident, bytes. The one figure here that may shrink: a difference is to be read
    /// as signed. Kernels since 6.2 count it per CPU: it may be off by 32 pages for each.
    pub resident_bytes: u64,
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for Totals {}

impl Totals {
    /// All zero.
    pub const ZERO: Self = Self {
        ns: [0; Account::COUNT],
        count: [0; Account::COUNT],
        round_trips: 0,
        bytes_in: [0; IoKind::COUNT],
        bytes_out: [0; IoKind::COUNT],
        syscalls: [0; SyscallClass::COUNT],
        voluntary_switches: 0,
        involuntary_switches: 0,
        minor_faults: 0,
        major_faults: 0,
        resident_bytes: 0,
    };

    /// What was added since `earlier`. `None` when any figure went backwards: the two are not of
    /// one thread generation.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let mut out = Self::ZERO;
        for i in 0..Account::COUNT {
            out.ns[i] = self.ns[i].checked_sub(earlier.ns[i])?;
            // 32-bit counters wrap by design.
            out.count[i] = self.count[i].wrapping_sub(earlier.count[i]);
        }
        for i in 0..IoKind::COUNT {
            out.bytes_in[i] = self.bytes_in[i].checked_sub(earlier.bytes_in[i])?;
            out.bytes_out[i] = self.bytes_out[i].checked_sub(earlier.bytes_out[i])?;
        }
        for i in 0..SyscallClass::COUNT {
            out.syscalls[i] = self.syscalls[i].wrapping_sub(earlier.syscalls[i]);
        }
        out.round_trips = self.round_trips.wrapping_sub(earlier.round_trips);
        out.voluntary_switches = self
            .voluntary_switches
            .checked_sub(earlier.voluntary_switches)?;
        out.involuntary_switches = self
            .involuntary_switches
            .checked_sub(earlier.involuntary_switches)?;
        out.minor_faults = self.minor_faults.checked_sub(earlier.minor_faults)?;
        out.major_faults = self.major_faults.checked_sub(earlier.major_faults)?;
        out.resident_bytes = self.resident_bytes.wrapping_sub(earlier.resident_bytes);
        Some(out)
    }

    /// Nanoseconds over all accounts.
    #[must_use]
    pub fn total_ns(&self) -> u64 {
        self.ns.iter().fold(0, |sum, ns| sum.saturating_add(*ns))
    }
}

const _: () = assert!(size_of::<Totals>() == 21 * 8 + 22 * 4 + 64 + 12 * 4 + 40);
const _: () = assert!(align_of::<Totals>() == 8);
