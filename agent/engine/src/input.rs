//! What goes in. Everything here is recorded, so every type is serialisable and owned.

use serde::{Deserialize, Serialize};

pub use crate::protocol::client::Finding;

/// One input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// A record as the kernel side wrote it (`whyslow_abi::record`), any ring.
    Record(Vec<u8>),
    /// Answer to [`crate::output::Query::Connection`]: bytes of a
    /// `whyslow_abi::connection::ConnectionState`, or `None` when the kernel has no such entry.
    Connection {
        /// Inode number of the socket.
        id: u64,
        /// The state.
        state: Option<Vec<u8>>,
    },
    /// Answer to [`crate::output::Query::Thread`]: bytes of a `whyslow_abi::thread::ThreadSlot`.
    Thread {
        /// Thread id.
        tid: u32,
        /// The slot; `None` when the thread has none (any more).
        slot: Option<Vec<u8>>,
        /// What the descriptor of the current wait is, looked up by the outside, when blocked.
        wait: Option<WaitFact>,
    },
    /// Answer to [`crate::output::Query::Process`].
    Process {
        /// Process id.
        pid: u32,
        /// `None`: it is gone.
        fact: Option<ProcessFact>,
    },
    /// Answer to [`crate::output::Query::Path`]: the path of an open file, `None`: not to be had.
    Path {
        /// As asked.
        pid: u32,
        /// As asked.
        fd: i32,
        /// As asked.
        inode: u64,
        /// The path.
        path: Option<String>,
    },
    /// The kernel side's loss counters by `whyslow_abi::loss::LossReason`, cumulative.
    Losses(Vec<u64>),
    /// Time passes. Every 100 to 250 ms.
    Tick {
        /// Monotonic time.
        now_ns: u64,
    },
    /// In a redacted recording: a data record, and instead of its bytes what was found in them.
    Findings {
        /// The record without the bytes.
        record: Vec<u8>,
        /// What they said.
        findings: Findings,
    },
    /// A process has a library mapped that is probed: calls before that time were not seen.
    Probed {
        /// Process id.
        pid: u32,
        /// Monotonic time.
        since_ns: u64,
    },
    /// Answer to [`crate::output::Query::Memory`].
    Memory {
        /// Process id.
        pid: u32,
        /// `None`: it is gone, or may not be looked at.
        fact: Option<MemoryFact>,
    },
    /// Answer to [`crate::output::Query::Listeners`].
    Listeners {
        /// Process id.
        pid: u32,
        /// `None`: it is gone.
        fact: Option<ListenersFact>,
    },
    /// Answer to [`crate::output::Query::LockFile`].
    LockFile {
        /// As asked.
        pid: u32,
        /// As asked.
        path: String,
        /// `None`: not to be had.
        fact: Option<LockFileFact>,
    },
}

/// Who has a lock file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockFileFact {
    /// Process id.
    pub pid: u32,
    /// Name of its main thread.
    pub comm: String,
}

/// The listening TCP sockets of a process, as its network namespace tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenersFact {
    /// Each of them.
    pub listeners: Vec<ListenerFact>,
    /// `ListenOverflows` of the namespace, since it was made: connections that came while a queue was full.
    pub overflows: u64,
    /// `ListenDrops` of the namespace: those, and connections that were dropped for other reasons.
    pub drops: u64,
}

/// A listening TCP socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerFact {
    /// Inode number.
    pub inode: u64,
    /// `0.0.0.0:80`, `[::]:80`.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Connections that wait to be accepted.
    pub length: u32,
}

/// What bytes said that were exchanged with a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Name of the protocol; empty: not known.
    pub protocol: String,
    /// What bytes before these, that were not seen, put an end to.
    pub gap: Vec<(u32, Finding)>,
    /// In the order of the bytes, equal ones in a row together: how many, and which.
    pub found: Vec<(u32, Finding)>,
    /// The connection is given up: nothing on it is understood.
    pub uninteresting: bool,
}

/// What the outside knows of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFact {
    /// Name of the main thread.
    pub comm: String,
    /// Parent process.
    pub parent: u32,
    /// Start time, clock ticks since boot (`/proc/PID/stat`, field 22).
    pub start_ticks: u64,
    /// Control group path (v2 if there is one).
    pub cgroup: String,
}

/// The memory of a process, bytes (`/proc/PID/smaps_rollup`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryFact {
    /// When it was looked at, monotonic.
    pub at_ns: u64,
    /// Resident.
    pub resident: u64,
    /// Resident, with what is shared divided by those who share it.
    pub proportional: u64,
    /// Resident, and shared with other processes: of a forked worker what it has not written to since, and libraries.
    pub shared: u64,
}

/// What a blocked thread's descriptor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitFact {
    /// `whyslow_abi::account::Account` that the wait will go to, as far as can be told now.
    pub account: u8,
    /// The target, for people: path, peer address, lock address. Empty: not known.
    pub target: crate::output::Target,
}

/// A shape asked for at least this often in one request is repeated, unless configured.
const REPEATED: u64 = 10;

/// How the engine is set up. Part of a recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Boot id and host, hashed: high half of request ids.
    pub host_id: u64,
    /// Agent start, monotonic.
    pub start_ns: u64,
    /// Wall clock at `start_ns`, ns since the epoch: only passed on to sinks, never used to decide.
    pub start_unix_ns: u64,
    /// Keep query values in targets.
    pub show_query: bool,
    /// Keep literals, keys and arguments in the shapes of operations.
    pub show_literals: bool,
    /// Keep the arguments of programs in their commands.
    pub show_arguments: bool,
    /// Operations of one shape in one request from which on it is told as repeated.
    pub repeated: u64,
    /// User's route templates, tried in order before the built-in ones: `/shop/{name}/item/{id}`.
    pub route_rules: Vec<String>,
    /// Routes kept at the most; more go to `(other)`.
    pub max_routes: usize,
    /// Requests in flight kept at the most.
    pub max_in_flight: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host_id: 0,
            start_ns: 0,
            start_unix_ns: 0,
            show_query: false,
            show_literals: false,
            show_arguments: false,
            repeated: REPEATED,
            route_rules: Vec::new(),
            max_routes: 500,
            max_in_flight: 20_000,
        }
    }
}
