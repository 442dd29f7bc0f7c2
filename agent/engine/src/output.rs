//! What comes out: events for sinks, queries for facts about the host, commands for the kernel side.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use whyslow_abi::{account::Account, descriptor::IoKind, syscall::SyscallClass};

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
    pub head_read_ns: u64,
    pub first_byte_ns: u64,
    pub send_ns: u64,
    pub socket_queue_ns: u64,
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

/// One wait of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitEntry {
    /// Account.
    pub account: Account,
    /// Start, monotonic.
    pub start_ns: u64,
    /// Time blocked.
    pub ns: u64,
    /// What for.
    pub target: Target,
    /// Who kept it waiting; `None`: not known.
    pub holder: Option<Holder>,
    /// Who ended it; `None`: not known.
    pub waker: Option<Waker>,
}

/// See `whyslow.v1.WaitObserved`.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/lock.proto")]
pub struct WaitObserved {
    pub pid: u32,
    pub tid: u32,
    pub comm: String,
    /// That it served when the wait began.
    pub request: Option<Arc<RequestStarted>>,
    pub wait: WaitEntry,
}

/// The thread that ended a wait.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Waker {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Its name; empty: not known.
    pub comm: String,
    /// The request that the thread served then; `None`: none, or not known.
    pub request: Option<Arc<RequestStarted>>,
}

/// Who held for most of a wait what was waited for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holder {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Its name; empty: not known.
    pub comm: String,
    /// How much of the wait, 0 to 1.
    pub share: f64,
    /// Looks that this is known from, whoever they found; of a futex, times that it behaved like a lock.
    pub samples: u64,
    /// It is known, and no likely guess.
    pub certain: bool,
    /// The request that the thread served for most of the wait; `None`: none, or not known.
    pub request: Option<Arc<RequestStarted>>,
    /// What it waited for itself most of that time; `None`: it did not, or that is not known.
    pub waits_for: Option<Box<HolderWait>>,
}

/// What the holder of a lock waited for meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub struct HolderWait {
    /// Account.
    pub account: Account,
    /// How long of the other's wait.
    pub ns: u64,
    /// What for.
    pub target: Target,
    /// Who held that; its own waits are not told.
    pub holder: Option<Holder>,
}

/// What is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Not known.
    #[default]
    Unknown,
    /// Futex word.
    Lock {
        /// Address in the waiting process.
        address: u64,
    },
    /// File.
    File {
        /// Path, or its last component.
        path: String,
        /// Inode number.
        inode: u64,
    },
    /// Peer address: `127.0.0.1:5432`, `unix:/path`.
    Peer(String),
    /// Process; 0: any child.
    Process(u32),
}

/// How time was tied to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binding {
    /// One thread read the request and wrote the response.
    Thread,
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

/// A request in flight. See `whyslow.v1.InFlightRequest`.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/request.proto")]
pub struct InFlight {
    pub started: Arc<RequestStarted>,
    pub age_ns: u64,
    pub phase: &'static str,
    pub account: Option<Account>,
    pub since_ns: u64,
    pub target: Target,
    pub ledger: Vec<LedgerEntry>,
    pub binding: Binding,
    /// Those that are over, most time first.
    pub operations: Vec<Operation>,
    pub shapes_left_out: u32,
    pub open_operations: Vec<OpenOperation>,
}

/// An operation without its whole answer. See `whyslow.v1.OpenOperation`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/request.proto")]
pub struct OpenOperation {
    pub protocol: &'static str,
    pub peer: Arc<str>,
    pub shape: Arc<str>,
    pub age_ns: u64,
}

/// A worker. See `whyslow.v1.Worker`.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/worker.proto")]
pub struct Worker {
    pub pid: u32,
    pub tid: u32,
    pub comm: String,
    pub state: &'static str,
    pub account: Option<Account>,
    pub since_ns: u64,
    pub busy_share: f64,
    pub cpu_share: f64,
    pub requests: u64,
    pub request: Option<RequestId>,
    pub route: String,
    pub wait_text: String,
}

/// Figures of a route. See `whyslow.v1.Route`.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/route.proto")]
pub struct Route {
    pub method: String,
    pub route: String,
    pub requests: u64,
    pub server_errors: u64,
    pub client_errors: u64,
    pub unanswered: u64,
    pub rate_per_s: f64,
    pub p50_ns: u64,
    pub p95_ns: u64,
    pub p99_ns: u64,
    pub max_ns: u64,
    pub total_ns: u64,
    pub worker_share: f64,
    pub ledger: Vec<LedgerEntry>,
    pub in_flight: u32,
    pub operations_per_request: f64,
    pub operations_sampled: bool,
}

/// What a route is called: its row in the table of routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteName {
    /// HTTP method; empty for the overflow entry.
    pub method: String,
    /// Path template.
    pub route: String,
}

impl RouteName {
    /// The overflow entry.
    pub(crate) fn other() -> Self {
        Self {
            method: String::new(),
            route: crate::routes::OTHER_NAME.to_owned(),
        }
    }
}

/// Figures of a shape over all routes. See `whyslow.v1.Shape`.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/shape.proto")]
pub struct Shape {
    pub protocol: &'static str,
    pub shape: String,
    /// `None`: several servers.
    pub peer: Option<Arc<str>>,
    pub count: u64,
    pub errors: u64,
    pub requests: u64,
    pub repeated: u64,
    pub rate_per_s: f64,
    pub total_ns: u64,
    pub p50_ns: u64,
    pub p95_ns: u64,
    pub max_ns: u64,
    pub time_share: f64,
    pub sampled: bool,
    pub answers_sampled: bool,
    pub times_shared: bool,
    /// Most time first, the overflow entry last.
    pub routes: Vec<ShapeRoute>,
}

/// What requests of one route asked for in one shape. See `whyslow.v1.ShapeRoute`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/shape.proto")]
pub struct ShapeRoute {
    pub name: Arc<RouteName>,
    pub requests: u64,
    pub repeated: u64,
    pub count: u64,
    pub total_ns: u64,
}
