//! Waits for servers on this host, followed into them.

mod support;

use std::{collections::BTreeMap, sync::Arc};

use support::{Kernel, zeroed};
use whyslow_abi::{
    account::Account,
    record::{LIFE_FOLLOWED, LifecycleKind, RecordKind, ServiceRecord},
    wait::{Wait, WaitTargetKind},
};
use whyslow_engine::{
    Engine, Input, Settings,
    output::{Command, EventKind, Output, RequestFinished},
};

const MS: u64 = 1_000_000;
/// Application threads, and two processes of a database.
const HOLDS: u32 = 100;
const WAITS: u32 = 200;
const SERVES: u32 = 900;
const OTHER: u32 = 901;
const REQUEST: &str = "POST /pay HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

struct Run {
    engine: Engine,
    kernel: Kernel,
    outputs: Vec<Output>,
}

impl Run {
    fn new() -> Self {
        Self {
            engine: Engine::new(Settings::default()),
            kernel: Kernel::default(),
            outputs: Vec::new(),
        }
    }

    fn settle(&mut self) {
        for record in self.kernel.take() {
            self.engine.step(Input::Record(record), &mut self.outputs);
        }
    }

    fn reads(&mut self, tid: u32, at_ms: u64, connection: u64) {
        self.kernel.advance(tid, tid, at_ms * MS, &BTreeMap::new());
        let bytes = REQUEST.as_bytes();
        self.kernel
            .read(tid, at_ms * MS, connection, 7, bytes, bytes.len());
        self.settle();
    }

    /// The response; `waited`: for the server, from so many ms on, woken by this thread.
    fn writes(&mut self, tid: u32, at_ms: u64, connection: u64, waited: Option<(u64, u64, u32)>) {
        self.kernel.advance(tid, tid, at_ms * MS, &BTreeMap::new());
        if let Some((from_ms, ms, waker)) = waited {
            let thread = self.kernel.threads.entry(tid);
            thread.and_modify(|it| it.waits[0] = upstream(from_ms, ms, waker));
        }
        let bytes = RESPONSE.as_bytes();
        self.kernel
            .write(tid, at_ms * MS, connection, bytes, bytes.len());
        self.kernel.close(tid, at_ms * MS, connection);
        self.settle();
    }

    fn follow(&mut self, tid: u32) {
        self.kernel.advance(tid, tid, MS, &BTreeMap::new());
        let mut record = self.kernel.lifecycle(LifecycleKind::Adopted, tid, MS);
        record.code = LIFE_FOLLOWED;
        record.slot = tid;
        record.comm = *b"postgres\0\0\0\0\0\0\0\0";
        self.kernel.send_lifecycle(&record);
        self.settle();
    }

    /// `SERVES` has worked from the one time to the other, and has waited for `OTHER` for most of that.
    fn served(&mut self, from_ms: u64, to_ms: u64, for_whom: (u64, u32)) {
        let mut record: ServiceRecord = zeroed();
        record.header = self.kernel.header(RecordKind::Service, SERVES, to_ms * MS);
        record.service.begin_ns = from_ms * MS;
        record.now[Account::Cpu as usize] = 2 * MS;
        record.now[Account::LockFutex as usize] = (to_ms - from_ms - 2) * MS;
        record.waits[0] = upstream(from_ms + 1, to_ms - from_ms - 2, OTHER);
        record.waits[0].account = Account::LockFutex as u8;
        (
            record.waits[0].waker_connection,
            record.waits[0].waker_request,
        ) = for_whom;
        self.kernel.send_record(&record);
        self.settle();
    }

    fn finished(&self) -> Vec<Arc<RequestFinished>> {
        let events = self.outputs.iter().filter_map(|output| match output {
            Output::Event(event) => Some(&event.kind),
            _ => None,
        });
        let finished = events.filter_map(|kind| match kind {
            EventKind::RequestFinished(finished) => Some(Arc::clone(finished)),
            _ => None,
        });
        finished.collect()
    }

    fn followed(&self) -> Vec<u32> {
        let commands = self.outputs.iter().filter_map(|output| match output {
            Output::Command(Command::FollowServer { pid, .. }) => Some(*pid),
            _ => None,
        });
        commands.collect()
    }
}

fn upstream(from_ms: u64, ms: u64, waker: u32) -> Wait {
    let mut wait: Wait = zeroed();
    wait.start_ns = from_ms * MS;
    wait.ns = ms * MS;
    wait.account = Account::NetUpstream as u8;
    wait.target = WaitTargetKind::Peer as u8;
    wait.family = 2;
    wait.port_be = 5432_u16.to_be();
    wait.a = u64::from(u32::from_ne_bytes([127, 0, 0, 1]));
    wait.waker = u64::from(waker) << 32 | u64::from(waker);
    wait
}

#[test]
fn a_server_is_followed_once_somebody_waits_long_for_it() {
    let mut run = Run::new();
    for (from_ms, ms) in [(10, 5), (100, 50), (200, 50)] {
        run.reads(WAITS, from_ms, 7);
        run.writes(WAITS, from_ms + ms + 2, 7, Some((from_ms + 1, ms, SERVES)));
    }
    assert_eq!(run.followed(), [SERVES], "asked once, not for 5 ms");
    for finished in run.finished() {
        let wait = &finished.waits[0];
        assert_eq!(wait.served, None);
        assert!(wait.served_unknown.contains("not followed"), "{wait:?}");
    }
}

#[test]
fn a_server_elsewhere_is_not_followed() {
    let mut run = Run::new();
    run.reads(WAITS, 10, 7);
    let thread = run.kernel.threads.get_mut(&WAITS).unwrap();
    thread.waits[0] = upstream(11, 50, SERVES);
    thread.waits[0].a = u64::from(u32::from_ne_bytes([10, 0, 0, 1]));
    run.writes(WAITS, 80, 7, None);
    assert_eq!(run.followed(), [0; 0]);
    let finished = run.finished();
    assert!(
        finished[0].waits[0]
            .served_unknown
            .contains("not on this host")
    );
}

#[test]
fn a_lock_of_the_server_is_blamed_on_the_request_that_held_it() {
    let mut run = Run::new();
    run.follow(SERVES);
    run.follow(OTHER);
    let told = |output: &Output| matches!(output, Output::Event(_));
    assert!(
        !run.outputs.iter().any(told),
        "no worker of the application"
    );
    // Requests that are over are kept once a server was followed.
    run.reads(WAITS, 5, 6);
    run.writes(WAITS, 30, 6, Some((6, 20, 950)));
    run.reads(HOLDS, 40, 8);
    run.reads(WAITS, 50, 7);
    let number = 1;
    run.served(52, 98, (8, number));
    run.writes(HOLDS, 97, 8, None);
    run.writes(WAITS, 102, 7, Some((51, 47, SERVES)));
    let finished = run.finished();
    let holds = finished.iter().find(|it| it.started.tid == HOLDS).unwrap();
    let waits = finished.last().unwrap();
    let served = waits.waits[0].served.as_ref().unwrap();
    assert_eq!((served.pid, &*served.comm), (SERVES, "postgres"));
    assert_eq!(served.ns, 46 * MS);
    let all: u64 = served.ledger.iter().map(|it| it.ns).sum();
    assert_eq!(
        (served.ledger[0].account, all),
        (Account::LockFutex, 46 * MS)
    );
    let blocked = served.blocked.as_ref().unwrap();
    assert_eq!((blocked.waker.pid, blocked.ns), (OTHER, 44 * MS));
    let request = blocked.waker.request.as_ref().unwrap();
    assert_eq!(request.id, holds.started.id);
}
