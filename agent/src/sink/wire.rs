//! Domain types to wire types, field by field. No decisions are made here.

use whyslow_abi::descriptor::IoKind;
use whyslow_engine::output::{
    Child, Event, EventKind, Holder, InFlight, LedgerEntry, Listener, LoopStalled, OpenOperation,
    Operation, Program, ProgramRoute, RequestFinished, RequestStarted, Route, Served, Shape,
    ShapeRoute, Target, WaitEntry, WaitObserved, Waker, Worker, WorkerEnded, WorkerStarted,
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
        EventKind::LoopStalled(stalled) => Kind::LoopStalled(loop_stalled(stalled)),
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
        accept_queue_ns: started.accept_queue_ns,
        proxy_queue_ns: started.proxy_queue_ns,
        proxy_queue_header: started.proxy_queue_header.to_owned(),
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
        waits: finished
            .waits
            .iter()
            .map(|entry| wait(entry, &finished.children))
            .collect(),
        bytes_in: finished.bytes_in,
        bytes_out: finished.bytes_out,
        bytes: finished.bytes.iter().map(bytes).collect(),
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
        rss_growth_bytes: finished.rss_growth_bytes,
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
        worker_tid: finished.worker_tid,
        accept_queue_ns: finished.accept_queue_ns,
        accept_to_read_ns: finished.accept_to_read_ns,
        body_read_ns: finished.body_read_ns,
        proxy_queue_ns: finished.proxy_queue_ns,
        queue_unknown: finished.queue_unknown.to_owned(),
        children: finished.children.iter().map(child).collect(),
    }
}

fn bytes((kind, r#in, out): &(IoKind, u64, u64)) -> v1::Bytes {
    v1::Bytes {
        kind: kind.name().to_owned(),
        r#in: *r#in,
        out: *out,
    }
}

fn child(child: &Child) -> v1::Child {
    v1::Child {
        pid: child.pid,
        command: (*child.command).to_owned(),
        parent_pid: child.parent_pid,
        start_ns: child.start_ns,
        wall_ns: child.wall_ns,
        cpu_ns: child.cpu_ns,
        startup_ns: child.startup_ns,
        exit_code: child.exit_code,
        signal: child.signal,
        running: child.running,
        files_opened: child.files_opened,
        ledger: ledger(&child.ledger),
        waited_ns: child.waited_ns,
        count: child.count,
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

/// An event loop that did not come back to poll.
#[must_use]
pub fn loop_stalled(stalled: &LoopStalled) -> v1::LoopStalled {
    let began_with = stalled.began_with.as_deref();
    v1::LoopStalled {
        pid: stalled.pid,
        tid: stalled.tid,
        comm: stalled.comm.clone(),
        start_ns: stalled.start_ns,
        ns: stalled.ns,
        run_queue_ns: stalled.run_queue_ns,
        gil_ns: stalled.gil_ns,
        ledger: ledger(&stalled.ledger),
        requests: stalled.requests,
        request_ids: stalled
            .request_ids
            .iter()
            .map(|id| id.to_string())
            .collect(),
        began_with_request_id: began_with.map_or_else(String::new, |it| it.id.to_string()),
        began_with: began_with.map_or_else(String::new, |it| format!("{} {}", it.method, it.route)),
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
        wait_target: wait_target(&request.target, &request.children),
        ledger: ledger(&request.ledger),
        binding: request.binding.name().to_owned(),
        worker_tid: request.worker_tid,
        operations: request.operations.iter().map(operation).collect(),
        shapes_left_out: request.shapes_left_out,
        open_operations: request.open_operations.iter().map(open_operation).collect(),
        children: request.children.iter().map(child).collect(),
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
        head_read_ns: route.head_read_ns,
        body_read_ns: route.body_read_ns,
        send_ns: route.send_ns,
        client_wait_ns: route.client_wait_ns,
        accept_queue_known: route.accept_queue_known,
        accept_queue_p95_ns: route.accept_queue_p95_ns,
        accept_queue_max_ns: route.accept_queue_max_ns,
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

/// A listening socket.
#[must_use]
pub fn listener(listener: &Listener) -> v1::Listener {
    v1::Listener {
        address: listener.address.clone(),
        pid: listener.pid,
        comm: listener.comm.clone(),
        length: listener.length,
        limit: listener.limit,
        max_length: listener.max_length,
        overflows: listener.overflows,
        drops: listener.drops,
        accepted_per_s: listener.accepted_per_s,
        accept_queue_known: listener.accept_queue_known,
        accept_queue_p50_ns: listener.accept_queue_p50_ns,
        accept_queue_p95_ns: listener.accept_queue_p95_ns,
        accept_queue_max_ns: listener.accept_queue_max_ns,
    }
}

/// Figures of a command.
#[must_use]
pub fn program(program: &Program) -> v1::Program {
    v1::Program {
        command: (*program.command).to_owned(),
        count: program.count,
        rate_per_s: program.rate_per_s,
        running: program.running,
        failures: program.failures,
        cpu_ns: program.cpu_ns,
        wall_ns: program.wall_ns,
        waited_ns: program.waited_ns,
        wall_p50_ns: program.wall_p50_ns,
        wall_p95_ns: program.wall_p95_ns,
        wall_max_ns: program.wall_max_ns,
        started_up: program.started_up,
        startup_p50_ns: program.startup_p50_ns,
        startup_p95_ns: program.startup_p95_ns,
        files_opened: program.files_opened,
        routes: program.routes.iter().map(program_route).collect(),
    }
}

fn program_route(started: &ProgramRoute) -> v1::ProgramRoute {
    v1::ProgramRoute {
        method: started.name.method.clone(),
        route: started.name.route.clone(),
        count: started.count,
        wall_ns: started.wall_ns,
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
        resident_bytes: worker.memory.resident,
        resident_growth_bytes: worker.memory.growth,
        resident_peak_bytes: worker.memory.peak,
        proportional_bytes: worker.memory.proportional,
        shared_bytes: worker.memory.shared,
        loop_stalls: worker.loop_stalls,
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

fn wait(wait: &WaitEntry, children: &[Child]) -> v1::Wait {
    v1::Wait {
        account: wait.account.name().to_owned(),
        start_ns: wait.start_ns,
        ns: wait.ns,
        wait_target: wait_target(&wait.target, children),
        holder: wait.holder.as_ref().map(holder),
        waker: wait.waker.as_ref().map(waker),
        served: wait.served.as_ref().map(served),
        served_unknown: wait.served_unknown.to_owned(),
    }
}

fn served(served: &Served) -> v1::Served {
    v1::Served {
        pid: served.pid,
        tid: served.tid,
        comm: served.comm.clone(),
        ns: served.ns,
        ledger: ledger(&served.ledger),
        blocked: served.blocked.as_ref().map(|blocked| v1::Blocked {
            start_ns: blocked.start_ns,
            ns: blocked.ns,
            waker: Some(waker(&blocked.waker)),
        }),
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
        wait: Some(wait(&observed.wait, &[])),
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
                wait_target: wait_target(&wait.target, &[]),
                holder: wait.holder.as_ref().map(|it| Box::new(self::holder(it))),
            })
        }),
    }
}

/// `children`: of the request, which name processes.
fn wait_target(target: &Target, children: &[Child]) -> Option<v1::WaitTarget> {
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
            comm: children
                .iter()
                .find(|child| child.pid == *pid && *pid != 0)
                .map(|child| (*child.command).to_owned())
                .unwrap_or_default(),
        }),
    };
    Some(v1::WaitTarget {
        target: Some(target),
    })
}
