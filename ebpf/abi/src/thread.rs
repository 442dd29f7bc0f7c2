//! The live state of a watched thread: one slot of a memory-mapped array, kept by the kernel side.
//!
//! Written by the thread itself (in `sys_exit` and `sched_switch`, never both at once), except
//! `wake_ns`, `waker`, `woken_by_child` and `woken_throttled`, which the waking CPU writes. `sequence` is odd while a write is under
//! way: readers copy the slot, and try again when it was odd or has changed.

use crate::{
    Plain,
    account::Account,
    interpreter::LockWait,
    lock::{LOCK_HOLDERS_TOLD, LockHolder},
    totals::Totals,
    turn::Turn,
    wait::{WAITS_KEPT, Wait},
};

crate::integer_enum! {
    /// Where a thread is.
    pub enum ThreadState: u32 {
        /// The slot is free.
        Free = 0 => "free",
        /// Watched since a moment ago; where it is will be known at its next event.
        Unknown = 1 => "unknown",
        /// On a CPU.
        Running = 2 => "running",
        /// Runnable, preempted.
        Runnable = 3 => "runnable",
        /// Blocked, within a system call.
        Blocked = 4 => "blocked",
        /// Blocked in user mode: page fault, or stopped.
        Faulted = 5 => "faulted",
        /// Ended.
        Ended = 6 => "ended",
        /// Stopped by a signal or a tracer.
        Stopped = 7 => "stopped",
        /// Runnable, but the CPU quota of its control group is used up.
        Throttled = 8 => "throttled",
        /// Blocked for want of memory: reclaim, compaction, reading back what was pushed out.
        Reclaiming = 9 => "reclaiming",
        /// On a CPU, freeing memory that it wants.
        Reclaims = 10 => "reclaims",
    }
}

/// Bit of [`ThreadSlot::flags`]: io_uring use was told.
pub const USED_IO_URING: u32 = 1;
/// Bit of [`ThreadSlot::flags`]: it has written to a server and not read since.
pub const ASKED: u32 = 2;
/// Bit of [`ThreadSlot::flags`]: it has written to the client of its request since it last shipped what it
/// exchanged with a server.
pub const ANSWERED: u32 = 4;
/// Bit of [`ThreadSlot::flags`]: its process runs a program that a watched process started, or descends from one.
pub const PROGRAM: u32 = 8;
/// Bit of [`ThreadSlot::flags`]: a program started by a program: [`ThreadLink::ancestor`] is the watched process
/// that started the first of them.
pub const NESTED: u32 = 16;
/// Bit of [`ThreadSlot::flags`]: it is within a function of a library that encrypts (map `LIBRARY_CALLS`).
pub const ENCRYPTS: u32 = 1 << 16;

/// Bit of [`ThreadSlot::flags`]: it belongs to a server that watched processes ask. Children inherit it.
pub const FOLLOWED: u32 = 1 << 20;

/// What a thread of a server that is followed does for its client, from one read or write on its connection to the
/// next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Service {
    /// Inode number of the client's socket; 0: none.
    pub id: u64,
    /// Begin: return of the read, or of the write before.
    pub begin_ns: u64,
    /// Accounts then, ns.
    pub begin: [u64; Account::COUNT],
    /// Who has asked.
    pub asker: Asker,
}

/// The thread that a server works for, and the request that it asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Asker {
    /// Inode number of the socket that the thread's last request came from; 0: not known.
    pub connection: u64,
    /// Number of the request on that. It may be over.
    pub request: u32,
    /// Thread id, initial PID namespace; 0: not known.
    pub tid: u32,
}

// SAFETY: integers only.
unsafe impl Plain for Asker {}

/// One slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ThreadSlot {
    /// Odd while being written.
    pub sequence: u32,
    /// Counts the threads that had this slot; part of a thread's identity.
    pub generation: u32,
    /// Thread id in the initial PID namespace.
    pub tid: u32,
    /// Process id (thread group) in the initial PID namespace.
    pub tgid: u32,
    /// [`ThreadState`].
    pub state: u32,
    /// Bits: `USED_IO_URING`, `ASKED`, `ANSWERED`, `PROGRAM`, `NESTED`, `ENCRYPTS`, `FOLLOWED`.
    pub flags: u32,
    /// Since when in `state`; time before is in `totals`.
    pub since_ns: u64,
    /// First waking after the last switch-out.
    pub wake_ns: u64,
    /// Process id and thread id (high and low half) of that waker.
    pub waker: u64,
    /// Connection whose request this thread last read; 0 for none.
    pub connection: u64,
    /// Blocked so far within the current system call (settled to an account at its end).
    pub pending_ns: u64,
    /// First switch-out within the current system call.
    pub pending_start_ns: u64,
    /// Blocks within the current system call.
    pub pending_count: u32,
    /// While blocked: the system call's number; -1 for a page fault.
    pub syscall: i32,
    /// While blocked: the first three arguments.
    pub arguments: [u64; 3],
    /// System call number that a `restart_syscall` goes on with.
    pub interrupted: i32,
    /// First descriptor of the set a `select` waits on; -1 for none.
    pub selected_fd: i32,
    /// `task_struct.sched_info.run_delay` at the last switch-out: time spent waiting for a CPU.
    pub run_delay: u64,
    /// Sequence number of the thread's last record.
    pub record_sequence: u32,
    /// 1 when the last waker descends from this process. Written by the waking CPU.
    pub woken_by_child: u32,
    /// 1 when the CPU quota of its control group was used up at the last waking. Written by the waking CPU.
    pub woken_throttled: u32,
    /// Padding.
    pub reserved: u32,
    /// Number of the request on `connection`.
    pub request: u32,
    /// Data records that may still be shipped for the request, or until the next begins.
    pub data_budget: u32,
    /// Inode number of the socket without a peer that the thread last asked for a name on; 0: none.
    pub name_socket: u64,
    /// Program: first write to descriptor 1 or 2; 0: none yet.
    pub first_output_ns: u64,
    /// Program: files that it opened.
    pub files_opened: u32,
    /// Padding.
    pub reserved_files: u32,
    /// Last write to the client of a request that another thread read, monotonic; 0: none.
    pub answered_ns: u64,
    /// Waits that began before this time are of earlier work, monotonic; 0: not known.
    pub worked_ns: u64,
    /// As an event loop.
    pub turn: Turn,
    /// Its last wait for the lock of its interpreter.
    pub lock_wait: LockWait,
    /// Of a server that is followed.
    pub service: Service,
    /// Tries to create what may be a lock that may still be shipped for the request.
    pub tries_left: u32,
    /// Padding.
    pub reserved_tries: u32,
    /// Begin of the wait for a lock on a file that `held` is of.
    pub held_since_ns: u64,
    /// Who held that lock for most of it.
    pub held: [LockHolder; LOCK_HOLDERS_TOLD],
    /// The ledger.
    pub totals: Totals,
    /// The longest waits since the last request began.
    pub waits: [Wait; WAITS_KEPT],
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for ThreadSlot {}

const _: () = assert!(align_of::<ThreadSlot>() == 8);
const _: () = assert!(
    size_of::<ThreadSlot>()
        == 200
            + size_of::<Turn>()
            + size_of::<LockWait>()
            + size_of::<Service>()
            + LOCK_HOLDERS_TOLD * size_of::<LockHolder>()
            + size_of::<Totals>()
            + WAITS_KEPT * size_of::<Wait>()
);

/// What the kernel side does with a thread, by thread id: two bytes of the map `MARKS`. Anything
/// else is the number of its slot, plus [`MARK_SLOTS`].
pub const MARK_NONE: u16 = 0;
/// Its process listens, or descends from one that is watched: its first read of an HTTP request
/// makes it watched.
pub const MARK_CANDIDATE: u16 = 1;
/// See [`MARK_NONE`].
pub const MARK_SLOTS: u16 = 2;
/// Most slots that a mark can name.
pub const MAX_THREADS: u32 = (u16::MAX - MARK_SLOTS) as u32 + 1;

/// Value of the task storage map: of each thread that has a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ThreadLink {
    /// Process id of the watched process that started this one; 0 for none. Kept over exec.
    pub origin: u32,
    /// The one that started that, where it was watched too.
    pub ancestor: u32,
    /// Candidate: reads from accepted connections that were not HTTP.
    pub strikes: u32,
}

// SAFETY: integers only.
unsafe impl Plain for ThreadLink {}

crate::integer_enum! {
    /// What the adoption pass (a task iterator) does with the threads of a process.
    pub enum Adoption: u32 {
        /// Stop watching; forget.
        Drop = 0 => "drop",
        /// Make a candidate, unless it is watched.
        Candidate = 1 => "candidate",
        /// Watch.
        Watch = 2 => "watch",
        /// Watch, as threads of a server that watched processes ask.
        Follow = 3 => "follow",
    }
}
