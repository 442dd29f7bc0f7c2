//! Requests in flight whose clients are slow: what they wait for, and since when.

mod support;

use std::collections::BTreeMap;

use support::{Kernel, zeroed};
use whyslow_abi::{
    account::Account,
    plain_bytes,
    thread::{ThreadSlot, ThreadState},
};
use whyslow_engine::{
    Engine, Input, Settings, WaitFact,
    output::{InFlight, Target},
};

const MS: u64 = 1_000_000;
const TID: u32 = 100;

struct Run {
    engine: Engine,
    kernel: Kernel,
}

impl Run {
    fn new() -> Self {
        Self {
            engine: Engine::new(Settings::default()),
            kernel: Kernel::default(),
        }
    }

    fn feed(&mut self, input: Input) {
        self.engine.step(input, &mut Vec::new());
    }

    /// `more`: bytes that were read and not captured.
    fn read(&mut self, at_ms: u64, connection: u64, data: &str, more: usize) {
        let now_ns = at_ms * MS;
        self.kernel.advance(TID, TID, now_ns, &BTreeMap::new());
        let (bytes, fd) = (data.as_bytes(), connection as i32);
        let len = bytes.len() + more;
        self.kernel.read(TID, now_ns, connection, fd, bytes, len);
        for record in self.kernel.take() {
            self.feed(Input::Record(record));
        }
    }

    /// What is told of each at that time: its thread has waited in `account` for 1 ms, and the outside has looked
    /// its connections up.
    fn in_flight(&mut self, at_ms: u64, account: Account) -> Vec<InFlight> {
        let mut slot: ThreadSlot = zeroed();
        slot.generation = 1;
        slot.tid = TID;
        slot.state = ThreadState::Blocked as u32;
        slot.since_ns = (at_ms - 1) * MS;
        self.feed(Input::Thread {
            tid: TID,
            slot: Some(plain_bytes(&slot).to_vec()),
            wait: Some(WaitFact {
                account: account as u8,
                target: Target::Unknown,
            }),
        });
        let states: Vec<Input> = self
            .kernel
            .connections
            .iter()
            .map(|(id, state)| Input::Connection {
                id: *id,
                state: Some(plain_bytes(state).to_vec()),
            })
            .collect();
        for state in states {
            self.feed(state);
        }
        self.engine.in_flight(at_ms * MS)
    }
}

fn told(request: &InFlight) -> (&str, Option<Account>, u64) {
    (request.phase, request.account, request.since_ns / MS)
}

const READ: Option<Account> = Some(Account::NetClientRead);

#[test]
fn one_that_sends_slowly_is_awaited_since_its_last_byte() {
    let mut run = Run::new();
    run.read(10, 1, "POST /up HTTP/1.1\r\nContent-Le", 0);
    run.read(30, 1, "ngth: 20000\r\n", 0);
    let now = &run.in_flight(50, Account::NetClientRead)[0];
    assert_eq!(told(now), ("reading", READ, 30));
    run.read(60, 1, "\r\n", 0);
    // Bytes of which nothing is told, but in the connection's state.
    run.read(70, 1, "", 15_000);
    let now = &run.in_flight(90, Account::NetClientRead)[0];
    assert_eq!(told(now), ("reading", READ, 70));
    // The application does something else in between.
    let now = &run.in_flight(92, Account::Sleep)[0];
    assert_eq!(told(now), ("reading", Some(Account::Sleep), 91));
    run.read(95, 1, "", 5_000);
    // All of it came: an event loop waits for others.
    let now = &run.in_flight(99, Account::NetClientRead)[0];
    assert_eq!(told(now), ("working", None, 98));
}

#[test]
fn of_several_on_a_thread_each_has_its_own_client() {
    let mut run = Run::new();
    run.read(10, 1, "POST /up HTTP/1.1\r\nContent-Length: 3\r\n\r\n", 0);
    run.read(20, 2, "GET /whole HTTP/1.1\r\n\r\n", 0);
    run.read(30, 1, "a", 0);
    let now = run.in_flight(50, Account::NetClientRead);
    let all: Vec<_> = now.iter().map(told).collect();
    assert_eq!(all, [("reading", READ, 30), ("working", None, 0)]);
    // While the thread does anything else, it is not known for whom.
    let now = run.in_flight(60, Account::Sleep);
    assert!(now.iter().all(|request| request.account.is_none()));
}
