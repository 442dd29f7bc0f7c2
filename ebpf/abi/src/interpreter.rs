//! Interpreters whose lock (the GIL) threads wait for: where it lies in a process, and who was seen to hold it.

use crate::Plain;

/// Value of `INTERPRETERS`, by process id: a CPython in that process. Filled by the agent, handed on to forks by the
/// kernel side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Interpreter {
    /// First address of its own data (`_PyRuntime`): a futex in there is its lock.
    pub start: u64,
    /// The address behind that data.
    pub end: u64,
    /// Address of the pointer to the state of the thread that last took the lock; 0: not known.
    pub last_holder: u64,
    /// Offset in such a state of the thread's number, as its own PID namespace has it.
    pub native_id: u64,
}

// SAFETY: integers only.
unsafe impl Plain for Interpreter {}

/// A thread that held the lock when the waiting one looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Holder {
    /// Thread id, as its own PID namespace has it; 0: this entry is free.
    pub tid: u32,
    /// How often it was seen.
    pub samples: u32,
    /// Time waited after those looks, ns.
    pub ns: u64,
}

// SAFETY: integers only.
unsafe impl Plain for Holder {}

/// Holders kept of a wait.
pub const HOLDERS: usize = 4;
/// Those of them that travel with a [`crate::wait::Wait`].
pub const HOLDERS_TOLD: usize = 2;

/// A wait for the lock: a chain of short ones, since the waiting thread looks every few milliseconds whether it is to
/// ask the other for the lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LockWait {
    /// First switch-out.
    pub start_ns: u64,
    /// End of the last part.
    pub end_ns: u64,
    /// Time blocked.
    pub ns: u64,
    /// Who held the lock when the thread blocked last; 0: not known.
    pub seen: u32,
    /// Looks that found a holder.
    pub samples: u32,
    /// Those with most time.
    pub holders: [Holder; HOLDERS],
}

// SAFETY: integers only.
unsafe impl Plain for LockWait {}

const _: () = assert!(size_of::<Holder>() == 16);
const _: () = assert!(size_of::<LockWait>() == 32 + HOLDERS * size_of::<Holder>());
