//! Scenario files: what threads do, and the requests, losses and commands that must come out.
//!
//! Each file is run twice: on the records as they are, and on redacted ones, which must give the
//! same outputs. In each, every finished request was started before, and the accounts of a request
//! that one thread served add up to its wall time to the nanosecond.
#![expect(
    clippy::panic,
    clippy::too_many_lines,
    reason = "test code outside of a #[test] function; one line per field that can be expected"
)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::Deserialize;
use support::{Kernel, account, zeroed};
use whyslow_abi::{
    account::Account,
    connection::ConnectionState,
    plain_bytes,
    record::LifecycleKind,
    thread::{ThreadSlot, ThreadState},
};
use whyslow_engine::{
    Command, Engine, Event, EventKind, Input, Output, Query, Settings,
    input::WaitFact,
    output::{Binding, RequestFinished, Target, WorkerEnded},
    redact::Redactor,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    #[expect(dead_code, reason = "for people")]
    description: String,
    #[serde(default)]
    show_query: bool,
    #[serde(default)]
    rules: Vec<String>,
    #[serde(default)]
    max_in_flight: Option<usize>,
    step: Vec<Step>,
    #[serde(default)]
    finished: Vec<Finished>,
    #[serde(default)]
    ended: Vec<Ended>,
    #[serde(default)]
    losses: BTreeMap<String, u64>,
    #[serde(default)]
    commands: Vec<String>,
    #[serde(default)]
    in_flight: usize,
}

/// One thing that happens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// Milliseconds.
    at: f64,
    /// What: see `Run::step`.
    #[serde(rename = "do")]
    action: String,
    #[serde(default = "default_pid")]
    pid: u32,
    /// The process's main thread unless given.
    tid: Option<u32>,
    #[serde(default)]
    connection: u64,
    /// That of the connection unless given.
    fd: Option<i32>,
    #[serde(default)]
    data: String,
    /// Repeats `data`.
    #[serde(default = "one")]
    times: usize,
    /// Bytes more than `data` that were read or written.
    #[serde(default)]
    more: usize,
    /// Milliseconds by account since the thread's last step; the rest is cpu.
    #[serde(default)]
    spent: BTreeMap<String, f64>,
    #[serde(default)]
    code: u32,
    #[serde(default)]
    sender: u32,
    /// The records of this step are lost.
    #[serde(default)]
    lost: bool,
    /// The records of this step are sent after those of the next one.
    #[serde(default)]
    late: bool,
    #[serde(default)]
    counters: Vec<u64>,
}

fn default_pid() -> u32 {
    100
}

fn one() -> usize {
    1
}

/// A finished request; what is left out is not looked at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Finished {
    method: Option<String>,
    target: Option<String>,
    route: Option<String>,
    status: Option<u16>,
    end: Option<String>,
    pid: Option<u32>,
    tid: Option<u32>,
    begin_ms: Option<f64>,
    wall_ms: Option<f64>,
    binding: Option<String>,
    ledger: Option<BTreeMap<String, f64>>,
    bytes_in: Option<u64>,
    bytes_out: Option<u64>,
    head_read_ms: Option<f64>,
    first_byte_ms: Option<f64>,
    send_ms: Option<f64>,
    socket_queue_ms: Option<f64>,
    loss: Option<Vec<String>>,
    traceparent: Option<String>,
    x_request_id: Option<String>,
    host: Option<String>,
    wait_path: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ended {
    pid: u32,
    signal: u32,
    sender: u32,
    process: bool,
    /// It was serving a request.
    request: bool,
}

struct Run {
    engine: Engine,
    kernel: Kernel,
    redactor: Option<Redactor>,
    outputs: Vec<Output>,
    late: Vec<Vec<u8>>,
    /// What the outside finds behind every descriptor that it is asked for.
    path: Option<String>,
    /// Threads that are blocked: since when, and the account that the outside finds.
    blocked: BTreeMap<u32, (u64, Account)>,
}

fn ms(ms: f64) -> u64 {
    (ms * 1e6).round() as u64
}

impl Run {
    fn new(scenario: &Scenario, redact: bool) -> Self {
        let mut settings = Settings {
            host_id: 7,
            show_query: scenario.show_query,
            route_rules: scenario.rules.clone(),
            ..Settings::default()
        };
        if let Some(max) = scenario.max_in_flight {
            settings.max_in_flight = max;
        }
        Self {
            engine: Engine::new(settings),
            kernel: Kernel::default(),
            redactor: redact.then(Redactor::new),
            outputs: Vec::new(),
            late: Vec::new(),
            path: None,
            blocked: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        let now = ms(step.at);
        let tid = step.tid.unwrap_or(step.pid);
        let data = step.data.repeat(step.times);
        let bytes = data.as_bytes();
        let total = bytes.len() + step.more;
        let id = step.connection;
        let known_fd = self.kernel.connections.get(&id).map(|c| c.fd);
        let fd = step.fd.or(known_fd).unwrap_or(id as i32 + 10);
        if !matches!(
            step.action.as_str(),
            "tick" | "losses" | "kill" | "garbage" | "path"
        ) {
            self.kernel.advance(tid, step.pid, now, &step.spent);
        }
        let kernel = &mut self.kernel;
        match step.action.as_str() {
            "read" => kernel.read(tid, now, id, fd, bytes, total),
            "write" => kernel.write(tid, now, id, bytes, total),
            "file_wait" => kernel.file_wait(tid, now - ms(20.0), ms(20.0), 4711, &step.data),
            "client_closed" => kernel.client_gone(id, false),
            "client_reset" => kernel.client_gone(id, true),
            "close" => kernel.close(tid, now, id),
            "shutdown" => kernel.shutdown(tid, now, id),
            "forget" => {
                kernel.connections.remove(&id);
            }
            "fork" | "adopted" | "discovered" | "exit" | "exit_last" | "io_uring" | "listen" => {
                self.lifecycle(step, tid, now);
            }
            "kill" => kernel.signal(step.sender, step.pid, step.code as i32, now),
            "losses" => self.input(Input::Losses(step.counters.clone())),
            "garbage" => self.input(Input::Record(bytes.to_vec())),
            "blocks" => {
                self.blocked.insert(tid, (now, account(&data)));
            }
            "path" => self.path = Some(data),
            "tick" => self.input(Input::Tick { now_ns: now }),
            other => panic!("unknown step {other}"),
        }
        let records = self.kernel.take();
        if step.lost {
            return;
        }
        if step.late {
            self.late.extend(records);
            return;
        }
        for record in records {
            self.record(record);
        }
        for record in std::mem::take(&mut self.late) {
            self.record(record);
        }
    }

    fn lifecycle(&mut self, step: &Step, tid: u32, now: u64) {
        let event = match step.action.as_str() {
            "fork" => LifecycleKind::Fork,
            "adopted" => LifecycleKind::Adopted,
            "discovered" => LifecycleKind::Discovered,
            "io_uring" => LifecycleKind::IoUring,
            "listen" => LifecycleKind::Listen,
            _ => LifecycleKind::Exit,
        };
        if event == LifecycleKind::Exit {
            let with_process = step.action == "exit_last" || step.code & 0x7f != 0;
            self.kernel.thread_ends(tid, now, with_process);
        }
        let mut record = self.kernel.lifecycle(event, tid, now);
        record.code = step.code;
        record.last = u32::from(step.action == "exit_last");
        self.kernel.send_lifecycle(&record);
    }

    fn record(&mut self, mut record: Vec<u8>) {
        if let Some(redactor) = &mut self.redactor {
            redactor.redact(&mut record);
        }
        self.input(Input::Record(record));
    }

    /// Hands an input in, and answers the queries that follow.
    fn input(&mut self, input: Input) {
        let from = self.outputs.len();
        self.engine.step(input, &mut self.outputs);
        let mut at = from;
        while at < self.outputs.len() {
            let answer = match &self.outputs[at] {
                Output::Query(Query::Connection { id }) => Some(Input::Connection {
                    id: *id,
                    state: self
                        .kernel
                        .connections
                        .get(id)
                        .map(|state: &ConnectionState| {
                            let mut bytes = plain_bytes(state).to_vec();
                            if let Some(redactor) = &mut self.redactor {
                                redactor.redact_connection(&mut bytes);
                            }
                            bytes
                        }),
                }),
                Output::Query(Query::Path { pid, fd, inode }) => Some(Input::Path {
                    pid: *pid,
                    fd: *fd,
                    inode: *inode,
                    path: self.path.clone(),
                }),
                Output::Query(Query::Thread { tid }) => Some(self.thread(*tid)),
                _ => None,
            };
            if let Some(answer) = answer {
                self.engine.step(answer, &mut self.outputs);
            }
            at += 1;
        }
    }

    /// What a thread does, by the last "blocks" of it: else it runs.
    fn thread(&self, tid: u32) -> Input {
        let mut slot: ThreadSlot = zeroed();
        slot.generation = 1;
        slot.tid = tid;
        slot.state = ThreadState::Running as u32;
        let mut wait = None;
        if let Some((since_ns, account)) = self.blocked.get(&tid) {
            slot.state = ThreadState::Blocked as u32;
            slot.since_ns = *since_ns;
            wait = Some(WaitFact {
                account: *account as u8,
                target: Target::Unknown,
            });
        }
        Input::Thread {
            tid,
            slot: Some(plain_bytes(&slot).to_vec()),
            wait,
        }
    }

    fn finished(&self) -> Vec<&RequestFinished> {
        self.events()
            .filter_map(|event| match &event.kind {
                EventKind::RequestFinished(finished) => Some(&**finished),
                _ => None,
            })
            .collect()
    }

    fn ended(&self) -> Vec<&WorkerEnded> {
        self.events()
            .filter_map(|event| match &event.kind {
                EventKind::WorkerEnded(ended) => Some(ended),
                _ => None,
            })
            .collect()
    }

    fn events(&self) -> impl Iterator<Item = &Event> {
        self.outputs.iter().filter_map(|output| match output {
            Output::Event(event) => Some(event),
            _ => None,
        })
    }

    fn commands(&self) -> Vec<String> {
        self.outputs
            .iter()
            .filter_map(|output| match output {
                Output::Command(Command::ForgetConnection { id, .. }) => {
                    Some(format!("forget {id}"))
                }
                Output::Command(Command::WatchFamily { pid }) => Some(format!("watch {pid}")),
                Output::Command(Command::Judge { pid }) => Some(format!("judge {pid}")),
                _ => None,
            })
            .collect()
    }
}

/// What holds for every run.
fn check_invariants(name: &str, run: &Run) {
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

fn in_ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn check_finished(name: &str, index: usize, want: &Finished, got: &RequestFinished) {
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
    let path = got.waits.first().map(|wait| match &wait.target {
        Target::File { path, .. } => path.clone(),
        other => format!("{other:?}"),
    });
    if want.wait_path.is_some() {
        assert_eq!(want.wait_path, path, "{name}: request {index}: wait_path");
    }
}

fn run(name: &str, text: &str) {
    let scenario: Scenario = toml::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut plain = Run::new(&scenario, false);
    let mut redacted = Run::new(&scenario, true);
    for run in [&mut plain, &mut redacted] {
        for step in &scenario.step {
            run.step(step);
        }
        check_invariants(name, run);
    }
    if !scenario.show_query {
        for (index, (a, b)) in plain.outputs.iter().zip(&redacted.outputs).enumerate() {
            assert_eq!(a, b, "{name}: output {index} differs when redacted");
        }
        assert_eq!(plain.outputs.len(), redacted.outputs.len(), "{name}");
    }
    let finished = plain.finished();
    assert_eq!(
        finished.len(),
        scenario.finished.len(),
        "{name}: finished: {finished:#?}"
    );
    for (index, (want, got)) in scenario.finished.iter().zip(&finished).enumerate() {
        check_finished(name, index, want, got);
    }
    let ended = plain.ended();
    assert_eq!(ended.len(), scenario.ended.len(), "{name}: {ended:#?}");
    for (want, got) in scenario.ended.iter().zip(&ended) {
        assert_eq!(
            (
                want.pid,
                want.signal,
                want.sender,
                want.process,
                want.request
            ),
            (
                got.pid,
                got.signal,
                got.sender_pid,
                got.process_ended,
                got.request.is_some()
            ),
            "{name}"
        );
    }
    let losses: BTreeMap<String, u64> = plain
        .engine
        .losses()
        .into_iter()
        .map(|(reason, count)| (reason.to_owned(), count))
        .collect();
    assert_eq!(losses, scenario.losses, "{name}: losses");
    assert_eq!(plain.commands(), scenario.commands, "{name}: commands");
    let in_flight = plain.engine.stats().in_flight as usize;
    assert_eq!(in_flight, scenario.in_flight, "{name}: in flight");
}

#[test]
fn scenarios() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    #[expect(
        clippy::disallowed_methods,
        reason = "the test reads its files; the engine does not"
    )]
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 20, "scenario files are missing");
    let failed: Vec<String> = files
        .iter()
        .filter_map(|path| {
            let name = path.file_stem()?.to_string_lossy().into_owned();
            let text = read(path);
            std::panic::catch_unwind(|| run(&name, &text))
                .err()
                .map(|_| name)
        })
        .collect();
    assert!(failed.is_empty(), "failed: {failed:?}");
}
