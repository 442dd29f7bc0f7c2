//! What requests ask of servers, through the whole engine: in flight, finished, by route and by shape.

mod support;

use std::{collections::BTreeMap, sync::Arc};

use support::Kernel;
use whyslow_engine::{
    Engine, EventKind, Input, Output, Settings,
    output::{Binding, RequestFinished},
};

const MS: u64 = 1_000_000;
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// The engine behind a kernel, one thread, and its time.
struct Run {
    kernel: Kernel,
    engine: Engine,
    now_ns: u64,
    finished: Vec<Arc<RequestFinished>>,
}

impl Run {
    const TID: u32 = 100;

    fn new(settings: Settings) -> Self {
        Self {
            kernel: Kernel::default(),
            engine: Engine::new(settings),
            now_ns: MS,
            finished: Vec::new(),
        }
    }

    fn step(&mut self, ms: u64) {
        self.now_ns += ms * MS;
        self.kernel
            .advance(Self::TID, Self::TID, self.now_ns, &BTreeMap::new());
    }

    fn feed(&mut self) {
        let mut out = Vec::new();
        for record in self.kernel.take() {
            self.engine.step(Input::Record(record), &mut out);
        }
        for output in out {
            if let Output::Event(event) = output
                && let EventKind::RequestFinished(finished) = event.kind
            {
                self.finished.push(finished);
            }
        }
    }

    fn begin(&mut self, connection: u64, target: &str) {
        self.step(1);
        let head = format!("GET {target} HTTP/1.1\r\n\r\n");
        let fd = connection as i32;
        self.kernel.read(
            Self::TID,
            self.now_ns,
            connection,
            fd,
            head.as_bytes(),
            head.len(),
        );
        self.feed();
    }

    /// A Redis command to the server 10.0.0.`peer`, and an answer after `ms`.
    fn ask(&mut self, connection: u64, peer: u64, command: &str, answer: &str, ms: u64) {
        self.step(1);
        let words: Vec<&str> = command.split(' ').collect();
        let mut bytes = format!("*{}\r\n", words.len());
        for word in words {
            bytes += &format!("${}\r\n{word}\r\n", word.len());
        }
        let at = (Self::TID, self.now_ns);
        self.kernel
            .exchanged(at, connection, peer, bytes.as_bytes(), true);
        self.step(ms);
        let at = (Self::TID, self.now_ns);
        self.kernel
            .exchanged(at, connection, peer, answer.as_bytes(), false);
        self.feed();
    }

    fn end(&mut self, connection: u64) {
        self.step(1);
        self.kernel
            .write(Self::TID, self.now_ns, connection, RESPONSE, RESPONSE.len());
        self.step(1);
        self.kernel.close(Self::TID, self.now_ns, connection);
        self.feed();
    }
}

#[test]
fn every_view_tells_the_same() {
    let mut run = Run::new(Settings::default());
    for (connection, gets) in [(1, 12), (2, 1)] {
        run.begin(connection, "/page");
        for n in 0..gets {
            run.ask(connection, 5, &format!("GET hunter2:{n}"), "$1\r\n1\r\n", 2);
        }
        run.ask(connection, 6, "SET hunter2 x", "-READONLY no\r\n", 5);
        let live = &run.engine.in_flight(run.now_ns)[0];
        assert_eq!(live.binding, Binding::Thread);
        let counts: Vec<u64> = live.operations.iter().map(|o| o.count).collect();
        assert_eq!(counts, if gets == 12 { [12, 1] } else { [1, 1] });
        run.end(connection);
        let told = run.finished.last().unwrap();
        assert_eq!(told.operations, live.operations, "nothing came after it");
    }
    let view = run.engine.shapes(run.now_ns, 0);
    assert!(!format!("{view:?} {:?}", run.finished).contains("hunter2"));
    let [get, set] = &view.shapes[..] else {
        panic!("{view:#?}");
    };
    assert_eq!(
        (get.shape.as_str(), get.count, get.requests),
        ("GET ?", 13, 2)
    );
    assert_eq!((get.repeated, get.errors, get.total_ns), (1, 0, 26 * MS));
    assert_eq!(get.peer.as_deref(), Some("10.0.0.5:6379"));
    // `GET hunter2:0`, and an answer of 7 bytes; of two digits each is longer by one.
    let bytes: Vec<u64> = run.finished.iter().map(|f| of_gets(f)).collect();
    let one = "*2\r\n$3\r\nGET\r\n$9\r\nhunter2:0\r\n".len() as u64 + 7;
    assert_eq!(bytes, [12 * one + 4, one]);
    assert_eq!(
        (set.shape.as_str(), set.count, set.errors),
        ("SET ? ...", 2, 2)
    );
    let route = &run.engine.routes(run.now_ns, 0).routes[0];
    assert!((route.operations_per_request - 7.5).abs() < 1e-9);
    assert!(run.engine.stats().operations);
}

/// Bytes of the operations `GET ?`.
fn of_gets(finished: &RequestFinished) -> u64 {
    let gets = finished.operations.iter().filter(|o| o.shape == "GET ?");
    gets.map(|o| o.bytes).sum()
}

#[test]
fn bytes_in_pieces_and_of_several_are_counted_once() {
    let mut run = Run::new(Settings::default());
    run.begin(1, "/a");
    let mut moved = 0;
    let mut exchange = |run: &mut Run, bytes: &[u8], written: bool| {
        run.step(1);
        moved += bytes.len() as u64;
        let at = (Run::TID, run.now_ns);
        run.kernel.exchanged(at, 1, 5, bytes, written);
        run.feed();
    };
    // A value in three writes, an answer in two reads, and two commands at once.
    exchange(&mut run, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$6\r\n", true);
    exchange(&mut run, b"abc", true);
    exchange(&mut run, b"def\r\n", true);
    exchange(&mut run, b"+O", false);
    exchange(&mut run, b"K\r\n", false);
    exchange(&mut run, b"PING\r\nDBSIZE\r\n", true);
    exchange(&mut run, b"+PONG\r\n:3\r\n", false);
    run.end(1);
    let told: Vec<(&str, u64)> = run.finished[0]
        .operations
        .iter()
        .map(|o| (o.shape.as_str(), o.bytes))
        .collect();
    assert_eq!(told.iter().map(|(_, bytes)| bytes).sum::<u64>(), moved);
    assert!(
        told.contains(&("SET ? ...", 37)) && told.contains(&("PING", 25)),
        "{told:?}"
    );
}

#[test]
fn what_cannot_be_tied_to_a_request_is_told_nowhere() {
    let mut run = Run::new(Settings::default());
    run.begin(1, "/a");
    run.begin(2, "/b");
    run.ask(1, 5, "GET key", "$1\r\n1\r\n", 2);
    for request in run.engine.in_flight(run.now_ns) {
        assert_eq!(request.binding, Binding::Shared);
        assert!(request.operations.is_empty());
    }
    run.end(2);
    run.end(1);
    assert_eq!(run.finished.len(), 2);
    assert!(run.finished.iter().all(|f| f.operations.is_empty()));
    assert!(run.engine.shapes(run.now_ns, 0).shapes.is_empty());
    let routes = run.engine.routes(run.now_ns, 0).routes;
    assert!(routes.iter().all(|r| r.operations_per_request == 0.0));
}

#[test]
fn the_user_says_what_is_repeated_and_whether_literals_stay() {
    let settings = Settings {
        repeated: 3,
        show_literals: true,
        ..Settings::default()
    };
    let mut run = Run::new(settings);
    run.begin(1, "/a");
    for _ in 0..3 {
        run.ask(1, 5, "GET user:1", "$1\r\n1\r\n", 1);
    }
    run.ask(1, 5, "GET user:2", "$1\r\n1\r\n", 1);
    run.ask(1, 5, "AUTH hunter2", "+OK\r\n", 1);
    run.end(1);
    let told: Vec<(&str, u64, bool)> = run.finished[0]
        .operations
        .iter()
        .map(|o| (o.shape.as_str(), o.count, o.repeated))
        .collect();
    assert_eq!(
        told,
        [
            ("GET user:1", 3, true),
            ("GET user:2", 1, false),
            ("AUTH ?", 1, false),
        ]
    );
}

#[test]
fn an_agent_that_got_no_bytes_of_servers_does_not_read_operations() {
    let mut run = Run::new(Settings::default());
    run.begin(1, "/a");
    run.end(1);
    assert_eq!(run.finished.len(), 1);
    assert!(!run.engine.stats().operations);
}
