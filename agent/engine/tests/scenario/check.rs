//! Compares what came out with what a scenario expects.

use std::collections::{BTreeMap, BTreeSet};

use whyslow_engine::{
    EventKind,
    output::{Binding, RequestFinished, Target},
};

use super::{
    model::{Finished, Operation},
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

macro_rules! same {
    ($name:expr, $index:expr, $field:literal, $expected:expr, $got:expr) => {
        if let Some(expected) = &$expected {
            assert_eq!(*expected, $got, "{}: request {}: {}", $name, $index, $field);
        }
    };
}

pub(crate) fn in_ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

pub(crate) fn check_finished(name: &str, index: usize, want: &Finished, got: &RequestFinished) {
    let started = &got.started;
    same!(name, index, "method", want.method, started.method);
    same!(name, index, "target", want.target, started.target);
    same!(name, index, "route", want.route, started.route);
    same!(name, index, "host", want.host, started.host);
    same!(name, index, "pid", want.pid, started.pid);
    same!(name, index, "tid", want.tid, started.tid);
    same!(name, index, "begin", want.begin_ms, in_ms(started.start_ns));
    same!(name, index, "status", want.status, got.status);
    same!(name, index, "end", want.end, got.end_reason.name());
    same!(name, index, "wall", want.wall_ms, in_ms(got.wall_ns));
    same!(name, index, "binding", want.binding, got.binding.name());
    same!(name, index, "bytes_in", want.bytes_in, got.bytes_in);
    same!(name, index, "bytes_out", want.bytes_out, got.bytes_out);
    same!(
        name,
        index,
        "head_read",
        want.head_read_ms,
        in_ms(got.head_read_ns)
    );
    same!(
        name,
        index,
        "first_byte",
        want.first_byte_ms,
        in_ms(got.first_byte_ns)
    );
    same!(name, index, "send", want.send_ms, in_ms(got.send_ns));
    same!(
        name,
        index,
        "queue",
        want.socket_queue_ms,
        in_ms(got.socket_queue_ns)
    );
    same!(
        name,
        index,
        "traceparent",
        want.traceparent,
        got.traceparent
    );
    same!(
        name,
        index,
        "x_request_id",
        want.x_request_id,
        got.x_request_id
    );
    same!(name, index, "loss", want.loss, got.loss);
    let ledger: BTreeMap<String, f64> = got
        .ledger
        .iter()
        .map(|entry| (entry.account.name().to_owned(), in_ms(entry.ns)))
        .collect();
    same!(name, index, "ledger", want.ledger, ledger);
    let operations: Vec<Operation> = got.operations.iter().map(operation).collect();
    same!(name, index, "operations", want.operations, operations);
    let path = got.waits.first().map(|wait| match &wait.target {
        Target::File { path, .. } => path.clone(),
        other => format!("{other:?}"),
    });
    if want.wait_path.is_some() {
        assert_eq!(want.wait_path, path, "{name}: request {index}: wait_path");
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
    }
}
