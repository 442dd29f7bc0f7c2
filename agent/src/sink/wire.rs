//! Domain types to wire types, field by field. No decisions are made here.

use whyslow_engine::output::{
    Event, EventKind, Holder, InFlight, LedgerEntry, OpenOperation, Operation, RequestFinished,
    RequestStarted, Route, Shape, ShapeRoute, Target, WaitEntry, WaitObserved, Waker, Worker,
    WorkerEnded, WorkerStarted,
};
use whyslow_proto::v1;

use crate::{host::Anchor, source::Feature};

/// An event.
#[must_use]
pub fn event(event: &Event, anchor: Anchor) -> v1::Event {
    use v1::event::Event as Kind;
    let kind = match &event.kind {
        EventKind::RequestStarted(started) => {
            Kind::RequestStarted(request_started(started, anchor))
        }
        EventKind::RequestFinished(finished) => {
            Kind::RequestFinished(request_finished(finished, anchor))
        }
        EventKind::WaitObserved(observed) => Kind::WaitObserved(wait_observed(observed)),
        EventKind::WorkerStarted(started) => Kind::WorkerStarted(worker_started(started)),
        EventKind::WorkerEnded(ended) => Kind::WorkerEnded(worker_ended(ended)),
        EventKind::Loss { reason, count, pid } => Kind::Loss(loss(reason, *count, *pid)),
    };
    wrap(kind, event.monotonic_ns, anchor)
}

/// An event of the agent's own making.
#[must_use]
pub fn wrap(kind: v1::event::Event, monotonic_ns: u64, anchor: Anchor) -> v1::Event {
    v1::Event {
        monotonic_ns,
        time: Some(anchor.timestamp(monotonic_ns)),
        event: Some(kind),
    }
}

/// Losses of one reason.
#[must_use]
pub fn loss(reason: &str, count: u64, pid: u32) -> v1::Loss {
    v1::Loss {
        reason: reason.to_owned(),
        count,
        pid,
    }
}

/// A request that began.
#[must_use]
pub fn request_started(started: &RequestStarted, anchor: Anchor) -> v1::RequestStarted {
    v1::RequestStarted {
        request_id: started.id.to_string(),
        method: started.method.clone(),
        target: started.target.clone(),
        route: started.route.clone(),
        pid: started.pid,
        tid: started.tid,
        comm: started.comm.clone(),
        start_time: Some(anchor.timestamp(started.start_ns)),
        start_monotonic_ns: started.start_ns,
        host: started.host.clone(),
        client: started.client.clone(),
    }
}

/// A request that ended.
#[must_use]
pub fn request_finished(finished: &RequestFinished, anchor: Anchor) -> v1::RequestFinished {
    let started = &finished.started;
    v1::RequestFinished {
        request_id: started.id.to_string(),
        method: started.method.clone(),
        target: started.target.clone(),
        route: started.route.clone(),
        status: u32::from(finished.status),
        end_reason: finished.end_reason.name().to_owned(),
        pid: started.pid,
        tid: started.tid,
        comm: started.comm.clone(),
        start_time: Some(anchor.timestamp(started.start_ns)),
        start_monotonic_ns: started.start_ns,
        wall_ns: finished.wall_ns,
        binding: finished.binding.name().to_owned(),
        binding_reason: finished.binding_reason.to_owned(),
        ledger: ledger(&finished.ledger),
        waits: finished.waits.iter().map(wait).collect(),
        bytes_in: finished.bytes_in,
        bytes_out: finished.bytes_out,
        bytes: finished
            .bytes
            .iter()
            .map(|(kind, r#in, out)| v1::Bytes {
                kind: kind.name().to_owned(),
                r#in: *r#in,
                out: *out,
            })
            .collect(),
        syscalls: finished
            .syscalls
            .iter()
            .map(|(class, count)| v1::Syscalls {
                class: class.name().to_owned(),
                count: *count,
            })
            .collect(),
        context_switches: finished.context_switches,
        minor_faults: finished.minor_faults,
        major_faults: finished.major_faults,
        head_read_ns: finished.head_read_ns,
        first_byte_ns: finished.first_byte_ns,
        send_ns: finished.send_ns,
        socket_queue_ns: finished.socket_queue_ns,
        loss: finished.loss.iter().map(|&r| r.to_owned()).collect(),
        traceparent: finished.traceparent.clone(),
        x_request_id: finished.x_request_id.clone(),
        host: started.host.clone(),
        client: started.client.clone(),
        operations: finished.operations.iter().map(operation).collect(),
        round_trips: finished.round_trips,
    }
}

fn operation(operation: &Operation) -> v1::Operation {
    v1::Operation {
        protocol: operation.protocol.to_owned(),
        peer: (*operation.peer).to_owned(),
        shape: operation.shape.clone(),
        count: operation.count,
        total_ns: operation.total_ns,
        slowest_ns: operation.slowest_ns,
        first_byte_ns: operation.first_byte_ns,
        rows: operation.rows,
        rows_estimated: operation.rows_estimated,
        answers_sampled: operation.answers_sampled,
        times_shared: operation.times_shared,
        round_trips: operation.round_trips,
        bytes: operation.bytes,
        errors: operation.errors,
        last_error: operation.last_error.clone(),
        repeated: operation.repeated,
        sampled: operation.sampled,
    }
}

/// A worker that began to be watched.
#[must_use]
pub fn worker_started(started: &WorkerStarted) -> v1::WorkerStarted {
    v1::WorkerStarted {
        pid: started.pid,
        tid: started.tid,
        comm: started.comm.clone(),
        reason: started.reason.to_owned(),
        parent_pid: started.parent,
    }
}

/// A worker that ended.
#[must_use]
pub fn worker_ended(ended: &WorkerEnded) -> v1::WorkerEnded {
    v1::WorkerEnded {
        pid: ended.pid,
        tid: ended.tid,
        comm: ended.comm.clone(),
        exit_code: ended.exit_code,
        process_ended: ended.process_ended,
        signal: ended.signal,
        sender_pid: ended.sender_pid,
        sender_comm: ended.sender_comm.clone(),
        request_id: ended.request.map_or_else(String::new, |id| id.to_string()),
    }
}

/// A request in flight.
#[must_use]
pub fn in_flight(request: &InFlight, anchor: Anchor) -> v1::InFlightRequest {
    v1::InFlightRequest {
        started: Some(request_started(&request.started, anchor)),
        age_ns: request.age_ns,
        phase: request.phase.to_owned(),
        account: account(request.account),
        since_ns: request.since_ns,
        wait_target: wait_target(&request.target),
        ledger: ledger(&request.ledger),
        binding: request.binding.name().to_owned(),
        operations: request.operations.iter().map(operation).collect(),
        shapes_left_out: request.shapes_left_out,
        open_operations: request.open_operations.iter().map(open_operation).collect(),
    }
}

fn open_operation(open: &OpenOperation) -> v1::OpenOperation {
    v1::OpenOperation {
        protocol: open.protocol.to_owned(),
        peer: (*open.peer).to_owned(),
        shape: (*open.shape).to_owned(),
        age_ns: open.age_ns,
    }
}

/// Figures of a route.
#[must_use]
pub fn route(route: &Route) -> v1::Route {
    v1::Route {
        method: route.method.clone(),
        route: route.route.clone(),
        requests: route.requests,
        server_errors: route.server_errors,
        client_errors: route.client_errors,
        unanswered: route.unanswered,
        rate_per_s: route.rate_per_s,
        p50_ns: route.p50_ns,
        p95_ns: route.p95_ns,
        p99_ns: route.p99_ns,
        max_ns: route.max_ns,
        total_ns: route.total_ns,
        worker_share: route.worker_share,
        ledger: ledger(&route.ledger),
        in_flight: route.in_flight,
        operations_per_request: route.operations_per_request,
        operations_sampled: route.operations_sampled,
    }
}

/// Figures of a shape.
#[must_use]
pub fn shape(shape: &Shape) -> v1::Shape {
    v1::Shape {
        protocol: shape.protocol.to_owned(),
        shape: shape.shape.clone(),
        peer: shape.peer.as_deref().unwrap_or_default().to_owned(),
        count: shape.count,
        errors: shape.errors,
        requests: shape.requests,
        repeated: shape.repeated,
        rate_per_s: shape.rate_per_s,
        total_ns: shape.total_ns,
        p50_ns: shape.p50_ns,
        p95_ns: shape.p95_ns,
        max_ns: shape.max_ns,
        time_share: shape.time_share,
        sampled: shape.sampled,
        answers_sampled: shape.answers_sampled,
        times_shared: shape.times_shared,
        routes: shape.routes.iter().map(shape_route).collect(),
    }
}

fn shape_route(asked: &ShapeRoute) -> v1::ShapeRoute {
    v1::ShapeRoute {
        method: asked.name.method.clone(),
        route: asked.name.route.clone(),
        requests: asked.requests,
        repeated: asked.repeated,
        count: asked.count,
        total_ns: asked.total_ns,
    }
}

/// A worker as it stands.
#[must_use]
pub fn worker(worker: &Worker) -> v1::Worker {
    v1::Worker {
        pid: worker.pid,
        tid: worker.tid,
        comm: worker.comm.clone(),
        state: worker.state.to_owned(),
        account: account(worker.account),
        since_ns: worker.since_ns,
        busy_share: worker.busy_share,
        cpu_share: worker.cpu_share,
        requests: worker.requests,
        request_id: worker.request.map_or_else(String::new, |id| id.to_string()),
        route: worker.route.clone(),
        wait_text: worker.wait_text.clone(),
    }
}

/// What the kernel and the privileges allow.
#[must_use]
pub fn feature(feature: &Feature) -> v1::Feature {
    v1::Feature {
        name: feature.name.clone(),
        available: feature.available,
        reason: feature.reason.clone(),
    }
}

fn account(account: Option<whyslow_abi::account::Account>) -> String {
    account.map_or_else(String::new, |account| account.name().to_owned())
}

fn ledger(entries: &[LedgerEntry]) -> Vec<v1::LedgerEntry> {
    entries
        .iter()
        .map(|entry| v1::LedgerEntry {
            account: entry.account.name().to_owned(),
            ns: entry.ns,
            count: entry.count,
        })
        .collect()
}

fn wait(wait: &WaitEntry) -> v1::Wait {
    v1::Wait {
        account: wait.account.name().to_owned(),
        start_ns: wait.start_ns,
        ns: wait.ns,
        wait_target: wait_target(&wait.target),
        holder: wait.holder.as_ref().map(holder),
        waker: wait.waker.as_ref().map(waker),
    }
}

/// A wait for a lock.
#[must_use]
pub fn wait_observed(observed: &WaitObserved) -> v1::WaitObserved {
    let request = observed.request.as_deref();
    v1::WaitObserved {
        pid: observed.pid,
        tid: observed.tid,
        comm: observed.comm.clone(),
        request_id: request.map_or_else(String::new, |request| request.id.to_string()),
        request: request.map_or_else(String::new, named),
        wait: Some(wait(&observed.wait)),
    }
}

fn waker(waker: &Waker) -> v1::Waker {
    let request = waker.request.as_deref();
    v1::Waker {
        pid: waker.pid,
        tid: waker.tid,
        comm: waker.comm.clone(),
        request_id: request.map_or_else(String::new, |request| request.id.to_string()),
        request: request.map_or_else(String::new, named),
    }
}

/// "GET /report".
fn named(request: &RequestStarted) -> String {
    format!("{} {}", request.method, request.route)
}

fn holder(holder: &Holder) -> v1::Holder {
    let request = holder.request.as_deref();
    v1::Holder {
        pid: holder.pid,
        tid: holder.tid,
        comm: holder.comm.clone(),
        request_id: request.map_or_else(String::new, |request| request.id.to_string()),
        share: holder.share,
        samples: holder.samples,
        certain: holder.certain,
        request: request.map_or_else(String::new, named),
        waits_for: holder.waits_for.as_ref().map(|wait| {
            Box::new(v1::HolderWait {
                account: wait.account.name().to_owned(),
                ns: wait.ns,
                wait_target: wait_target(&wait.target),
                holder: wait.holder.as_ref().map(|it| Box::new(self::holder(it))),
            })
        }),
    }
}

fn wait_target(target: &Target) -> Option<v1::WaitTarget> {
    use v1::wait_target::Target as Wire;
    let target = match target {
        Target::Unknown => return None,
        Target::Lock { address } => Wire::Lock(v1::LockTarget { address: *address }),
        Target::File { path, inode } => Wire::File(v1::FileTarget {
            path: path.clone(),
            inode: *inode,
        }),
        Target::Peer(address) => Wire::Peer(v1::PeerTarget {
            address: address.clone(),
        }),
        Target::Process(pid) => Wire::Process(v1::ProcessTarget {
            pid: *pid,
            comm: String::new(),
        }),
    };
    Some(v1::WaitTarget {
        target: Some(target),
    })
}
