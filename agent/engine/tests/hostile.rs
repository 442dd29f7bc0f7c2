//! Servers and clients that do not play along, through the whole engine: what a request asked for stays
//! bounded, whatever it asked, and what was not counted is said.
#![expect(clippy::panic, reason = "test code outside of a #[test] function")]

mod support;

use std::collections::BTreeMap;

use support::{Exchange, Kernel};
use whyslow_engine::{
    Engine, EventKind, Input, Output, Settings,
    output::{Operation, RequestFinished},
};

/// An engine that watches one thread.
struct Watched {
    kernel: Kernel,
    engine: Engine,
    out: Vec<Output>,
    now_ns: u64,
}

const TID: u32 = 100;

impl Watched {
    fn new() -> Self {
        Self {
            kernel: Kernel::default(),
            engine: Engine::new(Settings::default()),
            out: Vec::new(),
            now_ns: 1_000_000,
        }
    }

    fn advance(&mut self) {
        self.now_ns += 1_000;
        self.kernel.advance(TID, TID, self.now_ns, &BTreeMap::new());
    }

    fn begin(&mut self) {
        self.advance();
        let head = b"GET / HTTP/1.1\r\n\r\n";
        self.kernel.read(TID, self.now_ns, 1, 10, head, head.len());
    }

    fn exchange(&mut self, server: u64, written: bool, front: &[u8], more: usize) {
        self.advance();
        let exchange = Exchange {
            server,
            written,
            front,
            more,
            tail: b"",
            spent: false,
        };
        self.kernel.exchange(TID, self.now_ns, &exchange);
        self.feed();
    }

    fn end(&mut self) -> RequestFinished {
        self.advance();
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        self.kernel
            .write(TID, self.now_ns, 1, response, response.len());
        self.kernel.close(TID, self.now_ns, 1);
        self.feed();
        let finished = self.out.drain(..).filter_map(|output| match output {
            Output::Event(event) => match event.kind {
                EventKind::RequestFinished(finished) => Some((*finished).clone()),
                _ => None,
            },
            _ => None,
        });
        let finished: Vec<_> = finished.collect();
        match <[RequestFinished; 1]>::try_from(finished) {
            Ok([finished]) => finished,
            Err(several) => panic!("not one request: {several:?}"),
        }
    }

    fn feed(&mut self) {
        for record in self.kernel.take() {
            self.engine.step(Input::Record(record), &mut self.out);
        }
    }
}

fn query(text: &str) -> Vec<u8> {
    let mut bytes = b"Q".to_vec();
    bytes.extend((text.len() as u32 + 5).to_be_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
    bytes
}

const DONE: &[u8] = b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";

fn total(operations: &[Operation]) -> u64 {
    operations.iter().map(|operation| operation.count).sum()
}

#[test]
fn shapes_without_end_are_bounded_and_counted() {
    let mut watched = Watched::new();
    watched.begin();
    for number in 0..1_000 {
        watched.exchange(7, true, &query(&format!("select a{number} from t")), 0);
        watched.exchange(7, false, DONE, 0);
    }
    let operations = watched.end().operations;
    assert!(operations.len() <= 65, "{}", operations.len());
    assert_eq!(total(&operations), 1_000);
    let other = operations.iter().find(|o| o.shape == "(other)").unwrap();
    assert_eq!(other.count, 1_000 - (operations.len() as u64 - 1));
    assert_eq!(other.rows, other.count);
    assert!(operations.iter().all(|operation| !operation.sampled));
}

#[test]
fn a_length_of_a_gibibyte_takes_no_memory() {
    // (Protocol, a command, a front that tells of a gibibyte, the server's answer that does.)
    let cases: [(&[u8], &[u8], &[u8]); 3] = [
        (
            b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
            b"*2\r\n$3\r\nGET\r\n$1073741824\r\n",
            b"$1073741824\r\n",
        ),
        (
            b"get k\r\n",
            b"set k 0 0 1073741824\r\n",
            b"VALUE k 0 1073741824\r\n",
        ),
        (
            b"Q\0\0\0\x0dselect 1\0",
            b"Q\x40\0\0\0select",
            b"D\x40\0\0\0",
        ),
    ];
    for (command, huge, answer) in cases {
        let info = allocation_counter::measure(|| {
            let mut watched = Watched::new();
            watched.begin();
            watched.exchange(7, true, command, 0);
            watched.exchange(7, false, answer, 0);
            for _ in 0..100 {
                watched.exchange(7, false, &[b'x'; 500], 0);
            }
            watched.exchange(8, true, command, 0);
            watched.exchange(8, true, huge, 0);
            for _ in 0..100 {
                watched.exchange(8, true, &[b'x'; 500], 0);
            }
            let operations = watched.end().operations;
            assert!((2..=4).contains(&total(&operations)), "{operations:?}");
        });
        assert!(info.bytes_max < 2 << 20, "{} bytes", info.bytes_max);
    }
}

#[test]
fn garbage_is_not_looked_at_for_long() {
    let mut watched = Watched::new();
    watched.begin();
    for _ in 0..10 {
        watched.exchange(7, true, b"\xff\xfe garbage", 0);
        watched.exchange(7, false, b"\xff\xfe garbage", 5_000);
    }
    let ignored = |output: &&Output| format!("{output:?}").contains("IgnoreServer");
    assert_eq!(watched.out.iter().filter(ignored).count(), 1);
    // That it was answered is told, and that this is all.
    let operations = watched.end().operations;
    let told = operations
        .iter()
        .map(|o| (o.protocol, &*o.shape, o.count, o.sampled));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [("unknown", "not understood (127.0.0.1:7)", 1, true)]
    );
}

#[test]
fn answers_to_nothing_are_no_operations() {
    let mut watched = Watched::new();
    watched.begin();
    watched.exchange(7, true, b"*1\r\n$4\r\nPING\r\n", 0);
    for _ in 0..100 {
        watched.exchange(7, false, b"+PONG\r\n+PONG\r\n", 0);
    }
    let operations = watched.end().operations;
    assert_eq!(total(&operations), 1);
    assert!(operations[0].sampled, "answers to what was not seen");
}

/// Thousands of connections, each with something open: those that had to go are a loss that is told, and the
/// request says that it does not know all.
#[test]
fn thousands_of_connections() {
    let mut watched = Watched::new();
    watched.begin();
    let info = allocation_counter::measure(|| {
        for server in 0..20_000 {
            watched.exchange(1_000 + server, true, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", 0);
            watched.out.clear();
        }
    });
    let each = info.bytes_current / 16_384;
    assert!(each < 4_096, "{each} bytes for a connection");
    let losses = watched.engine.losses();
    let evicted = losses
        .iter()
        .find(|(reason, _)| *reason == "servers_evicted");
    assert_eq!(evicted.map(|(_, count)| *count), Some(20_000 - 16_384));
    let operations = watched.end().operations;
    assert_eq!(total(&operations), 16_384);
    assert!(operations.iter().all(|operation| operation.sampled));
    let routes = watched.engine.routes(watched.now_ns, 600).routes;
    assert!(routes[0].operations_sampled, "{routes:?}");
}

/// A pipeline of many operations that are never answered, on a few connections.
#[test]
fn operations_that_are_never_answered() {
    let mut watched = Watched::new();
    watched.begin();
    let write = b"*1\r\n$4\r\nPING\r\n".repeat(36);
    let info = allocation_counter::measure(|| {
        for _ in 0..2_000 {
            for server in 0..4 {
                watched.exchange(7 + server, true, &write, 0);
                watched.out.clear();
            }
        }
    });
    let kept = info.bytes_current >> 20;
    // 131,072 of 96 bytes on each.
    assert!(kept < 4 * 16, "{kept} MiB");
    let operations = watched.end().operations;
    assert!(total(&operations) <= 36 * 2_000 * 4);
}
