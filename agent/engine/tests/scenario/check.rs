//! Compares what came out with what a scenario expects.

use std::collections::{BTreeMap, BTreeSet};

use whyslow_engine::{
    EventKind,
    output::{Binding, RequestFinished, Target},
};

use super::{
    model::{Child, Finished, Operation},
    run::Run,
};

/// What holds for every run.
pub(crate) fn check_invariants(name: &str, run: &Run) {
    let mut started = BTreeSet::new();
    for event in run.events() {
        match &event.kind {
            EventKind::RequestStarted(request) => {
                assert!(started.insert(request.id), "{name}: started twice");
            }
            EventKind::RequestFinished(request) => {
                assert!(
                    started.remove(&request.started.id),
                    "{name}: finished without a start, or twice: {request:?}"
                );
                let sum: u64 = request.ledger.iter().map(|entry| entry.ns).sum();
                match request.binding {
                    Binding::Thread => {
                        assert_eq!(sum, request.wall_ns, "{name}: {request:?}");
                    }
                    Binding::Handoff if !request.ledger.is_empty() => {
                        assert_eq!(sum, request.wall_ns, "{name}: {request:?}");
                    }
                    _ => assert!(request.ledger.is_empty() && !request.binding_reason.is_empty()),
                }
            }
            _ => {}
        }
    }
    let open = run.engine.in_flight(u64::MAX / 2).len();
    assert!(started.len() <= open, "{name}: started and never finished");
    assert_eq!(run.engine.stats().in_flight as usize, open, "{name}");
}

pub(crate) fn in_ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

pub(crate) fn check_finished(name: &str, index: usize, want: &Finished, got: &RequestFinished) {
    macro_rules! same {
        ($field:ident, $got:expr) => {
            if let Some(expected) = &want.$field {
                let field = stringify!($field);
                assert_eq!(*expected, $got, "{name}: request {index}: {field}");
            }
        };
    }
    let started = &got.started;
    same!(method, started.method);
    same!(target, started.target);
    same!(route, started.route);
    same!(host, started.host);
    same!(pid, started.pid);
    same!(tid, started.tid);
    same!(begin_ms, in_ms(started.start_ns));
    same!(status, got.status);
    same!(end, got.end_reason.name());
    same!(wall_ms, in_ms(got.wall_ns));
    same!(binding, got.binding.name());
    same!(reason, got.binding_reason);
    same!(worker, got.worker_tid);
    same!(bytes_in, got.bytes_in);
    same!(bytes_out, got.bytes_out);
    same!(head_read_ms, in_ms(got.head_read_ns));
    same!(first_byte_ms, in_ms(got.first_byte_ns));
    same!(send_ms, in_ms(got.send_ns));
    same!(socket_queue_ms, in_ms(got.socket_queue_ns));
    let known = |ns: Option<u64>| ns.map_or(-1.0, in_ms);
    same!(accept_queue_ms, known(got.accept_queue_ns));
    same!(accept_to_read_ms, known(got.accept_to_read_ns));
    same!(body_read_ms, known(got.body_read_ns));
    same!(proxy_queue_ms, known(got.proxy_queue_ns));
    same!(queue_unknown, got.queue_unknown);
    same!(traceparent, got.traceparent);
    same!(x_request_id, got.x_request_id);
    same!(loss, got.loss);
    let ledger: BTreeMap<String, f64> = got
        .ledger
        .iter()
        .map(|entry| (entry.account.name().to_owned(), in_ms(entry.ns)))
        .collect();
    same!(ledger, ledger);
    let operations: Vec<Operation> = got.operations.iter().map(operation).collect();
    same!(operations, operations);
    let children: Vec<Child> = got.children.iter().map(child).collect();
    same!(children, children);
    let path = got.waits.first().map(|wait| match &wait.target {
        Target::File { path, .. } => path.clone(),
        other => format!("{other:?}"),
    });
    same!(wait_path, path.unwrap_or_default());
}

fn child(got: &whyslow_engine::output::Child) -> Child {
    let ledger = got.ledger.iter();
    Child {
        pid: got.pid,
        command: got.command.to_string(),
        parent: got.parent_pid,
        start_ms: in_ms(got.start_ns),
        wall_ms: in_ms(got.wall_ns),
        cpu_ms: in_ms(got.cpu_ns),
        startup_ms: in_ms(got.startup_ns),
        waited_ms: in_ms(got.waited_ns),
        exit_code: got.exit_code,
        signal: got.signal,
        running: got.running,
        files: got.files_opened,
        ledger: ledger
            .map(|entry| (entry.account.name().to_owned(), in_ms(entry.ns)))
            .collect(),
        count: got.count,
    }
}

fn operation(got: &whyslow_engine::output::Operation) -> Operation {
    Operation {
        protocol: got.protocol.to_owned(),
        peer: got.peer.to_string(),
        shape: got.shape.clone(),
        count: got.count,
        total_ms: in_ms(got.total_ns),
        slowest_ms: in_ms(got.slowest_ns),
        first_byte_ms: in_ms(got.first_byte_ns),
        rows: got.rows,
        errors: got.errors,
        last_error: got.last_error.clone(),
        repeated: got.repeated,
        sampled: got.sampled,
        times_shared: got.times_shared,
    }
}
