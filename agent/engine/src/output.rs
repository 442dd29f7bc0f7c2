//! What comes out: events for sinks, queries for facts about the host, commands for the kernel side.

mod view;
mod wait;

use std::sync::Arc;

use whyslow_abi::{account::Account, descriptor::IoKind, syscall::SyscallClass};

pub use view::{
    InFlight, Listener, OpenOperation, Program, ProgramRoute, Route, RouteName, Shape, ShapeRoute,
    Worker, WorkerMemory,
};
pub use wait::{Blocked, Holder, HolderWait, Served, Target, WaitEntry, WaitObserved, Waker};

/// One output.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// For sinks.
    Event(Event),
    /// Answer it with the `Input` of the same name, soon. An unanswered one does no harm.
    Query(Query),
    /// For the kernel side.
    Command(Command),
}

/// A question to the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Look a connection up in the kernel's table.
    Connection {
        /// Inode number of the socket.
        id: u64,
    },
    /// Read a thread's slot.
    Thread {
        /// Thread id.
        tid: u32,
    },
    /// Read `/proc/PID`.
    Process {
        /// Process id.
        pid: u32,
    },
    /// Resolve an open file's path; only if it still has this inode number.
    Path {
        /// Process id.
        pid: u32,
        /// Descriptor.
        fd: i32,
        /// Inode number.
        inode: u64,
    },
    /// Look at the memory of a process.
    Memory {
        /// Process id.
        pid: u32,
    },
    /// Look up the listening TCP sockets of a process.
    Listeners {
        /// Process id.
        pid: u32,
    },
    /// Find out who has a lock file: whom it names, or who has it open.
    LockFile {
        /// Process that waits for it.
        pid: u32,
        /// As that process sees it.
        path: String,
    },
}

/// An order to the kernel side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Delete a connection's entry: its process is gone, or its descriptor was used anew.
    ForgetConnection {
        /// Inode number of the socket.
        id: u64,
        /// Process that had it.
        pid: u32,
        /// Its descriptor.
        fd: i32,
    },
    /// A process serves HTTP: watch all its threads, and its family (the pre-forking parent, the
    /// siblings that share its listening sockets).
    WatchFamily {
        /// Process id.
        pid: u32,
    },
    /// Nothing that is understood is spoken on a connection to a server: its bytes need not be copied.
    IgnoreServer {
        /// Inode number of the socket; with `whyslow_abi::library::PLAIN_TEXT_OF`, of what is encrypted there.
        id: u64,
    },
    /// Nothing is known of a connection to a server any more: its next bytes are to be told as its first.
    ForgetServer {
        /// As in `IgnoreServer`.
        id: u64,
    },
    /// A process encrypts what it says to a server: it may have mapped a library that can be probed.
    LookForLibraries {
        /// Process id.
        pid: u32,
    },
    /// A watched process waited for a server on this host, and was woken by that process: if it serves there, watch
    /// what it and its family do for their clients.
    FollowServer {
        /// Process id.
        pid: u32,
        /// Where it was asked: `127.0.0.1:5432`, `unix:/path` (perhaps cut).
        peer: String,
    },
    /// In a process one thread reads requests and others work: moments of those are to be told.
    TellMarks {
        /// Process id.
        pid: u32,
        /// It is known to hand over; else it may: an event loop with other threads beside it.
        certain: bool,
    },
    /// A process called `listen`: decide by the user's rules whether it is to be watched.
    Judge {
        /// Process id.
        pid: u32,
    },
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When, monotonic.
    pub monotonic_ns: u64,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// First bytes of a request were read.
    RequestStarted(Arc<RequestStarted>),
    /// A request ended.
    RequestFinished(Arc<RequestFinished>),
    /// A thread has waited for a lock that is no interpreter's.
    WaitObserved(Arc<WaitObserved>),
    /// A thread is watched from now on.
    WorkerStarted(WorkerStarted),
    /// A watched thread ended.
    WorkerEnded(WorkerEnded),
    /// An event loop did not come back to poll.
    LoopStalled(Arc<LoopStalled>),
    /// Something was not seen.
    Loss {
        /// Reason: `LossReason::name` or one of the engine's own.
        reason: &'static str,
        /// How many more than last told.
        count: u64,
        /// Process; 0: not known.
        pid: u32,
    },
}

/// 128 bits, unique per host and boot; shown as 32 hex digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u128);

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// See `whyslow.v1.RequestStarted` for the meaning of each field.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/request.proto")]
pub struct RequestStarted {
    pub id: RequestId,
    pub method: String,
    pub target: String,
    pub route: String,
    pub pid: u32,
    pub tid: u32,
    pub comm: String,
    pub start_ns: u64,
    pub host: String,
    pub client: String,
    pub accept_queue_ns: Option<u64>,
    pub proxy_queue_ns: Option<u64>,
    pub proxy_queue_header: &'static str,
}

/// See `whyslow.v1.RequestFinished` for the meaning of each field.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/request.proto")]
pub struct RequestFinished {
    pub started: Arc<RequestStarted>,
    pub status: u16,
    pub end_reason: EndReason,
    pub wall_ns: u64,
    pub binding: Binding,
    pub binding_reason: &'static str,
    /// Thread that worked on it, where another read it; 0: none, or not known.
    pub worker_tid: u32,
    /// Most time first; accounts without time are left out.
    pub ledger: Vec<LedgerEntry>,
    /// Longest first.
    pub waits: Vec<WaitEntry>,
    /// Most time first.
    pub operations: Vec<Operation>,
    pub round_trips: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Kind, in, out; kinds without bytes are left out.
    pub bytes: Vec<(IoKind, u64, u64)>,
    /// Classes without calls are left out.
    pub syscalls: Vec<(SyscallClass, u64)>,
    pub context_switches: u64,
    pub minor_faults: u64,
    pub major_faults: u64,
    pub rss_growth_bytes: i64,
    pub head_read_ns: u64,
    pub first_byte_ns: u64,
    pub send_ns: u64,
    pub socket_queue_ns: u64,
    pub accept_queue_ns: Option<u64>,
    pub accept_to_read_ns: Option<u64>,
    pub queue_unknown: &'static str,
    pub body_read_ns: Option<u64>,
    pub proxy_queue_ns: Option<u64>,
    /// Longest first.
    pub children: Vec<Child>,
    pub loss: Vec<&'static str>,
    pub traceparent: String,
    pub x_request_id: String,
}

/// Operations of one shape. See `whyslow.v1.Operation` for the meaning of each field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/request.proto")]
pub struct Operation {
    pub protocol: &'static str,
    pub peer: Arc<str>,
    pub shape: String,
    pub count: u64,
    pub total_ns: u64,
    pub slowest_ns: u64,
    pub first_byte_ns: u64,
    pub rows: u64,
    pub rows_estimated: bool,
    pub answers_sampled: bool,
    /// Answered in one read with operations of other shapes, some of them: the first of those has the time of all.
    pub times_shared: bool,
    pub round_trips: u64,
    pub bytes: u64,
    pub errors: u64,
    pub last_error: String,
    pub repeated: bool,
    pub sampled: bool,
}

impl Operation {
    /// Repeated, and most of them took a round trip each.
    pub(crate) fn is_one_by_one(&self) -> bool {
        self.repeated && self.round_trips >= self.count / 2
    }
}

impl Default for Operation {
    fn default() -> Self {
        Self {
            protocol: "",
            peer: "".into(),
            shape: String::new(),
            count: 0,
            total_ns: 0,
            slowest_ns: 0,
            first_byte_ns: 0,
            rows: 0,
            rows_estimated: false,
            answers_sampled: false,
            times_shared: false,
            round_trips: 0,
            bytes: 0,
            errors: 0,
            last_error: String::new(),
            repeated: false,
            sampled: false,
        }
    }
}

/// Time in one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Account.
    pub account: Account,
    /// Nanoseconds.
    pub ns: u64,
    /// Intervals.
    pub count: u64,
}

/// How time was tied to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binding {
    /// One thread read the request and wrote the response.
    Thread,
    /// One thread read the request, another worked.
    Handoff,
    /// Several requests overlapped on one thread.
    Shared,
    /// Not known, see the reason.
    Unknown,
}

impl Binding {
    /// Name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Thread => "thread",
            Self::Handoff => "handoff",
            Self::Shared => "shared",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// All of the response was written, by its own framing.
    Complete,
    /// The next request began on the connection.
    NextRequest,
    /// The server closed the connection.
    Closed,
    /// The server shut the connection down.
    Shutdown,
    /// The client closed before the response was complete.
    ClientClosed,
    /// The connection broke.
    ClientReset,
    /// The process ended.
    ProcessEnded,
    /// The thread ended.
    ThreadEnded,
    /// Its state was given up (bounded memory, or the kernel lost it).
    Flushed,
}

impl EndReason {
    /// Name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::NextRequest => "next_request",
            Self::Closed => "closed",
            Self::Shutdown => "shutdown",
            Self::ClientClosed => "client_closed",
            Self::ClientReset => "client_reset",
            Self::ProcessEnded => "process_ended",
            Self::ThreadEnded => "thread_ended",
            Self::Flushed => "flushed",
        }
    }
}

/// See `whyslow.v1.WorkerStarted`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/worker.proto")]
pub struct WorkerStarted {
    pub pid: u32,
    pub tid: u32,
    pub comm: String,
    pub reason: &'static str,
    pub parent: u32,
}

/// See `whyslow.v1.WorkerEnded`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/worker.proto")]
pub struct WorkerEnded {
    pub pid: u32,
    pub tid: u32,
    pub comm: String,
    pub exit_code: u32,
    pub process_ended: bool,
    pub signal: u32,
    pub sender_pid: u32,
    pub sender_comm: String,
    pub request: Option<RequestId>,
}

/// An event loop did not come back to poll. See `whyslow.v1.LoopStalled`.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/loop.proto")]
pub struct LoopStalled {
    pub pid: u32,
    pub tid: u32,
    pub comm: String,
    pub start_ns: u64,
    pub ns: u64,
    pub run_queue_ns: u64,
    pub gil_ns: u64,
    /// Most time first.
    pub ledger: Vec<LedgerEntry>,
    pub requests: u64,
    pub request_ids: Vec<RequestId>,
    pub began_with: Option<Arc<RequestStarted>>,
}

/// A process that was started for a request. See `whyslow.v1.Child` for the meaning of each field.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/program.proto")]
pub struct Child {
    pub pid: u32,
    pub command: Arc<str>,
    pub parent_pid: u32,
    pub start_ns: u64,
    pub wall_ns: u64,
    pub cpu_ns: u64,
    pub startup_ns: u64,
    pub exit_code: u32,
    pub signal: u32,
    pub running: bool,
    pub files_opened: u32,
    pub ledger: Vec<LedgerEntry>,
    pub waited_ns: u64,
    pub count: u32,
}

impl Default for Child {
    fn default() -> Self {
        Self {
            pid: 0,
            command: "".into(),
            parent_pid: 0,
            start_ns: 0,
            wall_ns: 0,
            cpu_ns: 0,
            startup_ns: 0,
            exit_code: 0,
            signal: 0,
            running: false,
            files_opened: 0,
            ledger: Vec::new(),
            waited_ns: 0,
            count: 0,
        }
    }
}
