//! Answers to "what is now" and to "what was, over a window".

use std::sync::Arc;

use whyslow_abi::account::Account;

use super::{Binding, Child, LedgerEntry, Operation, RequestId, RequestStarted, Target};

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
    pub worker_tid: u32,
    /// Those that are over, most time first.
    pub operations: Vec<Operation>,
    pub shapes_left_out: u32,
    pub open_operations: Vec<OpenOperation>,
    /// Longest first.
    pub children: Vec<Child>,
}

/// Figures of a command. See `whyslow.v1.Program`.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/program.proto")]
pub struct Program {
    pub command: Arc<str>,
    pub count: u64,
    pub rate_per_s: f64,
    pub running: u32,
    pub failures: u64,
    pub cpu_ns: u64,
    pub wall_ns: u64,
    pub waited_ns: u64,
    pub wall_p50_ns: u64,
    pub wall_p95_ns: u64,
    pub wall_max_ns: u64,
    pub started_up: u64,
    pub startup_p50_ns: u64,
    pub startup_p95_ns: u64,
    pub files_opened: u64,
    /// Most time first, the overflow entry last.
    pub routes: Vec<ProgramRoute>,
}

/// What requests of one route started of a command. See `whyslow.v1.ProgramRoute`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/program.proto")]
pub struct ProgramRoute {
    pub name: Arc<RouteName>,
    pub count: u64,
    pub wall_ns: u64,
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
    pub loop_stalls: u64,
    pub memory: WorkerMemory,
}

/// Memory of a worker's process, bytes; 0: not known. See `whyslow.v1.Worker`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/worker.proto")]
pub struct WorkerMemory {
    pub resident: u64,
    pub growth: i64,
    pub peak: u64,
    pub proportional: u64,
    pub shared: u64,
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
    pub head_read_ns: u64,
    pub body_read_ns: u64,
    pub send_ns: u64,
    pub client_wait_ns: u64,
    pub accept_queue_known: u64,
    pub accept_queue_p95_ns: u64,
    pub accept_queue_max_ns: u64,
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

/// A listening socket. See `whyslow.v1.Listener` for the meaning of each field.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/listener.proto")]
pub struct Listener {
    pub address: String,
    pub pid: u32,
    pub comm: String,
    pub length: u32,
    pub limit: u32,
    pub max_length: u32,
    pub overflows: u64,
    pub drops: u64,
    pub accepted_per_s: f64,
    pub accept_queue_known: u64,
    pub accept_queue_p50_ns: u64,
    pub accept_queue_p95_ns: u64,
    pub accept_queue_max_ns: u64,
}
