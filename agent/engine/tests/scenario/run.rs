//! Carries out the steps of a scenario, on the records as they are or as a recording keeps them.

use std::collections::BTreeMap;

use whyslow_abi::{
    account::Account,
    connection::ConnectionState,
    plain_bytes,
    record::{EndReason, LifecycleKind},
    thread::{ThreadSlot, ThreadState},
};
use whyslow_engine::{
    Command, Engine, Event, EventKind, Input, Output, Query, Settings,
    input::WaitFact,
    output::{RequestFinished, Target, WorkerEnded},
    redact::Redactor,
};

use super::{
    model::{Scenario, Step},
    programs,
};
use crate::support::{Exchange, Kernel, account, zeroed};

pub(crate) struct Run {
    pub(crate) engine: Engine,
    pub(crate) kernel: Kernel,
    pub(crate) redactor: Option<Redactor>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) late: Vec<Vec<u8>>,
    /// What the outside finds behind every descriptor that it is asked for.
    pub(crate) path: Option<String>,
    /// Threads that are blocked: since when, and the account that the outside finds.
    pub(crate) blocked: BTreeMap<u32, (u64, Account)>,
}

pub(crate) fn ms(ms: f64) -> u64 {
    (ms * 1e6).round() as u64
}

/// What is said to a server, or by one.
fn exchange<'a>(step: &'a Step, bytes: &'a [u8]) -> Exchange<'a> {
    Exchange {
        server: step.server,
        written: step.action == "ask",
        front: bytes,
        more: step.more,
        tail: step.tail.as_bytes(),
        spent: step.last,
    }
}

/// Steps that no thread does.
const OUTSIDE: [&str; 5] = ["tick", "losses", "kill", "garbage", "path"];

impl Run {
    pub(crate) fn new(scenario: &Scenario, redact: bool) -> Self {
        let mut settings = Settings {
            host_id: 7,
            start_unix_ns: 1_700_000_000_000_000_000,
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

    pub(crate) fn step(&mut self, step: &Step) {
        let now = ms(step.at);
        let tid = step.tid.unwrap_or(step.pid);
        let data = step.data.repeat(step.times);
        let bytes = data.as_bytes();
        let total = bytes.len() + step.more;
        let id = step.connection;
        let known_fd = self.kernel.connections.get(&id).map(|c| c.fd);
        let fd = step.fd.or(known_fd).unwrap_or(id as i32 + 10);
        if !OUTSIDE.contains(&step.action.as_str()) {
            self.kernel.advance(tid, step.pid, now, &step.spent);
        }
        let kernel = &mut self.kernel;
        match step.action.as_str() {
            "read" => {
                kernel.arrives(ms(step.connected), ms(step.accepted), ms(step.arrived));
                kernel.by_loop = step.by_loop;
                kernel.read(tid, now, id, fd, bytes, total);
            }
            "write" => kernel.write(tid, now, id, bytes, total),
            "ask" | "answer" => kernel.exchange(tid, now, &exchange(step, bytes)),
            "woken" | "answered" | "signalled" | "stalls" => kernel.moment(step, tid, now),
            "file_wait" => kernel.file_wait(tid, now - ms(20.0), ms(20.0), 4711, &step.data),
            "client_closed" => kernel.client_gone(id, false),
            "client_reset" => kernel.client_gone(id, true),
            "close" => kernel.close(tid, now, id),
            "turn_away" => kernel.end(EndReason::ThreadMoved, tid, now, id),
            "shutdown" => kernel.shutdown(tid, now, id),
            "forget" => {
                kernel.connections.remove(&id);
            }
            "fork" | "adopted" | "discovered" | "exit" | "exit_last" | "io_uring" | "listen" => {
                self.lifecycle(step, tid, now);
            }
            "program_fork" | "exec" | "program_exit" | "program_exit_last" => {
                self.program(step, tid, now);
            }
            "waited_for_child" => self.waited_for_child(step, tid, now),
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
        let late = std::mem::take(&mut self.late);
        for record in records.into_iter().chain(late) {
            self.record(record);
        }
    }

    pub(crate) fn lifecycle(&mut self, step: &Step, tid: u32, now: u64) {
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
        if event == LifecycleKind::Fork {
            programs::forked(&mut record, step);
        }
        record.code = step.code;
        record.last = u32::from(step.action == "exit_last");
        self.kernel.send_lifecycle(&record);
    }

    pub(crate) fn record(&mut self, record: Vec<u8>) {
        let mut input = Input::Record(record);
        if let Some(redactor) = &mut self.redactor {
            redactor.redact_input(&mut input);
            check_kept(&input);
        }
        self.input(input);
    }

    /// Hands an input in, and answers the queries that follow.
    pub(crate) fn input(&mut self, input: Input) {
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
    pub(crate) fn thread(&self, tid: u32) -> Input {
        let mut slot: ThreadSlot = zeroed();
        slot.generation = 1;
        slot.tid = tid;
        slot.state = ThreadState::Running as u32;
        self.program_slot(tid, &mut slot);
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

    pub(crate) fn finished(&self) -> Vec<&RequestFinished> {
        self.events()
            .filter_map(|event| match &event.kind {
                EventKind::RequestFinished(finished) => Some(&**finished),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn ended(&self) -> Vec<&WorkerEnded> {
        self.events()
            .filter_map(|event| match &event.kind {
                EventKind::WorkerEnded(ended) => Some(ended),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.outputs.iter().filter_map(|output| match output {
            Output::Event(event) => Some(event),
            _ => None,
        })
    }

    pub(crate) fn commands(&self) -> Vec<String> {
        self.outputs
            .iter()
            .filter_map(|output| match output {
                Output::Command(Command::ForgetConnection { id, .. }) => {
                    Some(format!("forget {id}"))
                }
                Output::Command(Command::WatchFamily { pid }) => Some(format!("watch {pid}")),
                Output::Command(Command::TellMarks { pid, certain }) => {
                    Some(format!("marks {pid} {certain}"))
                }
                Output::Command(Command::Judge { pid }) => Some(format!("judge {pid}")),
                _ => None,
            })
            .collect()
    }
}

/// No word that scenarios have for a secret is in what a recording keeps: neither in its bytes nor in what
/// was found in them.
fn check_kept(input: &Input) {
    let (record, found) = match input {
        Input::Record(record) => (record, Vec::new()),
        Input::Findings { record, findings } => (record, format!("{findings:?}").into_bytes()),
        _ => return,
    };
    for bytes in [record, &found] {
        let tells = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
        assert!(!tells(b"zqxj") && !tells(b"kvwy"), "a secret is kept");
    }
}
