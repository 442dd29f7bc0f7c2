//! Statements that a library executes within the process, and plain text of encrypted connections: from the
//! kernel side's records to the operations of a request.

#![expect(
    clippy::unwrap_used,
    reason = "test code outside of a #[test] function"
)]

mod support;

use std::collections::BTreeMap;

use support::{Kernel, zeroed};
use whyslow_abi::{
    library::PLAIN_TEXT_OF,
    plain_bytes,
    record::{
        DATA_PLAIN, DATA_WRITTEN, DataRecord, EXECUTION_OPEN, ExecutedRecord, LIBRARY_SPENT,
        LibraryTextKind, LibraryTextRecord, RecordKind, TEXT_WHOLE,
    },
};
use whyslow_engine::{
    Engine, EventKind, Input, Output, Settings,
    output::{Command, Operation, RequestFinished},
    redact::Redactor,
};

const TID: u32 = 100;
const TGID: u32 = 100;
const CONNECTION: u64 = 7;

/// One thread with a request open on [`CONNECTION`].
struct Scene {
    kernel: Kernel,
    engine: Engine,
    out: Vec<Output>,
    now_ns: u64,
    /// Records go through it first.
    redactor: Option<Redactor>,
}

impl Scene {
    fn new() -> Self {
        let mut this = Self {
            kernel: Kernel::default(),
            engine: Engine::new(Settings::default()),
            out: Vec::new(),
            now_ns: 0,
            redactor: None,
        };
        this.pass();
        this.begin();
        this
    }

    fn pass(&mut self) {
        self.now_ns += 1_000_000;
        self.kernel
            .advance(TID, TGID, self.now_ns, &BTreeMap::new());
    }

    fn begin(&mut self) {
        self.pass();
        let bytes = b"GET /a HTTP/1.1\r\n\r\n";
        self.kernel
            .read(TID, self.now_ns, CONNECTION, 5, bytes, bytes.len());
        self.step();
    }

    fn step(&mut self) {
        for record in self.kernel.take() {
            self.feed(record);
        }
    }

    fn feed(&mut self, mut record: Vec<u8>) {
        if let Some(redactor) = &mut self.redactor {
            redactor.redact(&mut record);
        }
        self.engine.step(Input::Record(record), &mut self.out);
    }

    /// Number of the request that is open.
    fn request(&self) -> u32 {
        self.kernel.connections[&CONNECTION].request
    }

    fn text(&mut self, object: u64, kind: LibraryTextKind, text: &[u8], result: i32) {
        self.pass();
        let mut record: LibraryTextRecord = zeroed();
        record.header = self
            .kernel
            .header(RecordKind::LibraryText, TID, self.now_ns);
        record.object = object;
        record.database = 0xdb;
        record.connection = CONNECTION;
        record.request = self.request();
        record.ns = 500;
        record.kind = kind as u32;
        record.result = result;
        record.flags = TEXT_WHOLE;
        record.text_len = u32::try_from(text.len()).unwrap();
        record.text[..text.len()].copy_from_slice(text);
        self.feed(plain_bytes(&record).to_vec());
    }

    fn prepared(&mut self, statement: u64, text: &str) {
        self.text(statement, LibraryTextKind::Prepared, text.as_bytes(), 0);
    }

    /// A step of an execution that began at `begin_ns`: rows, result, flags.
    fn executed(&mut self, statement: u64, begin_ns: u64, (rows, result, flags): (u64, i32, u32)) {
        self.pass();
        let mut record: ExecutedRecord = zeroed();
        record.header = self.kernel.header(RecordKind::Executed, TID, self.now_ns);
        record.statement = statement;
        record.connection = CONNECTION;
        record.request = self.request();
        record.begin_ns = begin_ns;
        record.total_ns = 1_000 * (rows + 1);
        record.first_row_ns = if rows > 0 { 1_000 } else { 0 };
        record.rows = rows;
        record.result = result;
        record.flags = flags;
        self.feed(plain_bytes(&record).to_vec());
    }

    fn data(&mut self, flags: u32, bytes: &[u8]) {
        self.pass();
        let mut record: DataRecord = zeroed();
        record.head.header = self.kernel.header(RecordKind::Data, TID, self.now_ns);
        record.head.peer = 9;
        record.head.connection = CONNECTION;
        record.head.request = self.request();
        record.head.flags = flags;
        record.head.len = u32::try_from(bytes.len()).unwrap();
        record.head.front_len = record.head.len;
        record.server.family = 2;
        record.server.port_be = 6379_u16.to_be();
        record.server.address[..4].copy_from_slice(&[127, 0, 0, 1]);
        record.front[..bytes.len()].copy_from_slice(bytes);
        self.feed(plain_bytes(&record).to_vec());
    }

    fn finish(&mut self) -> RequestFinished {
        self.pass();
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        self.kernel
            .write(TID, self.now_ns, CONNECTION, bytes, bytes.len());
        self.pass();
        self.kernel.close(TID, self.now_ns, CONNECTION);
        self.step();
        let finished = self.out.iter().find_map(|output| match output {
            Output::Event(event) => match &event.kind {
                EventKind::RequestFinished(finished) => Some((**finished).clone()),
                _ => None,
            },
            _ => None,
        });
        self.out.clear();
        finished.unwrap()
    }

    fn commands(&self) -> Vec<&Command> {
        let commands = self.out.iter().filter_map(|output| match output {
            Output::Command(command) => Some(command),
            _ => None,
        });
        commands
            .filter(|command| !matches!(command, Command::WatchFamily { .. }))
            .collect()
    }
}

fn figures(operation: &Operation) -> (&str, u64, u64, u64, u64) {
    (
        operation.shape.as_str(),
        operation.count,
        operation.total_ns,
        operation.rows,
        operation.errors,
    )
}

#[test]
fn executions_are_operations() {
    let mut scene = Scene::new();
    scene.text(0xdb, LibraryTextKind::Opened, b"file:a.db?key=hunter2", 0);
    scene.prepared(1, "select * from t where a = 'hunter2'");
    for begin in [10, 20] {
        scene.executed(1, begin, (1, 0, EXECUTION_OPEN));
        scene.executed(1, begin, (2, 0, EXECUTION_OPEN));
        scene.executed(1, begin, (2, 0, 0));
    }
    scene.executed(2, 30, (0, 1555, 0));
    scene.text(0, LibraryTextKind::Prepared, b"select 'hunter2' frm t", 1);
    let finished = scene.finish();
    let told: Vec<_> = finished.operations.iter().map(figures).collect();
    // Preparing is part of the first execution.
    assert_eq!(
        told,
        [
            ("select * from t where a = ?", 2, 6_500, 4, 0),
            ("unknown (prepared earlier)", 1, 1_000, 0, 1),
            ("select ? frm t", 1, 500, 0, 1),
        ]
    );
    let first = &finished.operations[0];
    assert_eq!((&*first.peer, first.protocol), ("file:a.db", "sqlite"));
    assert_eq!(first.slowest_ns, 3_500);
    assert_eq!(finished.operations[1].last_error, "SQLITE_CONSTRAINT");
    assert!(finished.operations.iter().all(|o| !o.sampled));
}

#[test]
fn what_is_open_at_the_end_counts_once() {
    let mut scene = Scene::new();
    scene.prepared(1, "select 1");
    scene.executed(1, 10, (1, 0, EXECUTION_OPEN));
    scene.executed(1, 10, (16, 0, EXECUTION_OPEN));
    let finished = scene.finish();
    let told: Vec<_> = finished.operations.iter().map(figures).collect();
    assert_eq!(told, [("select ?", 1, 17_500, 16, 0)]);
    // Its end comes when it is over.
    let mut record: ExecutedRecord = zeroed();
    record.header = scene.kernel.header(RecordKind::Executed, TID, scene.now_ns);
    record.statement = 1;
    record.connection = CONNECTION;
    record.begin_ns = 10;
    scene.begin();
    // As the kernel side counts on a connection that is kept.
    record.request = scene.request() - 1;
    scene.feed(plain_bytes(&record).to_vec());
    assert_eq!(scene.finish().operations, []);
}

#[test]
fn endless_open_executions_are_bounded() {
    let mut scene = Scene::new();
    for statement in 0..2_000 {
        scene.executed(statement, statement, (1, 0, EXECUTION_OPEN));
    }
    let finished = scene.finish();
    assert_eq!(finished.operations.len(), 1);
    assert!(finished.operations[0].count < 2_000);
    assert!(finished.operations[0].sampled);
}

#[test]
fn what_came_before_the_probes_is_missing() {
    for (pid, since_ns, sampled) in [
        (TGID, u64::MAX, true),
        (TGID, 1, false),
        (9, u64::MAX, false),
    ] {
        let mut scene = Scene::new();
        let probed = Input::Probed { pid, since_ns };
        scene.engine.step(probed, &mut scene.out);
        scene.executed(1, 10, (0, 0, 0));
        assert_eq!(scene.finish().operations[0].sampled, sampled);
        scene.begin();
        scene.executed(2, 10, (0, 0, 0));
        assert!(!scene.finish().operations[0].sampled, "the next request");
    }
}

#[test]
fn a_spent_budget_is_said() {
    let mut scene = Scene::new();
    scene.executed(1, 10, (0, 0, LIBRARY_SPENT));
    assert!(scene.finish().operations[0].sampled);
}

#[test]
fn redacted_records_tell_the_same() {
    let told = |redactor| {
        let mut scene = Scene::new();
        scene.redactor = redactor;
        scene.text(0xdb, LibraryTextKind::Opened, b"file:a.db?key=hunter2", 0);
        scene.prepared(
            1,
            "select 'hunter2', \"b\" from t where c in (1, 2) -- hunter2",
        );
        scene.executed(1, 10, (2, 0, 0));
        scene.finish().operations
    };
    assert_eq!(told(None), told(Some(Redactor::new())));
    assert_eq!(told(None).len(), 1);
}

#[test]
fn redacted_texts_have_no_secret() {
    let mut record: LibraryTextRecord = zeroed();
    record.header.kind = RecordKind::LibraryText as u32;
    record.text = [b'x'; 512];
    for (kind, text) in [
        (LibraryTextKind::Prepared, "select 'hunter2' /* hunter2"),
        (LibraryTextKind::Prepared, "'hunter2"),
        (LibraryTextKind::Prepared, ""),
        (LibraryTextKind::Opened, "file:/a?hunter2"),
    ] {
        record.kind = kind as u32;
        record.text_len = u32::try_from(text.len()).unwrap();
        record.text[..text.len()].copy_from_slice(text.as_bytes());
        let mut bytes = plain_bytes(&record).to_vec();
        Redactor::new().redact(&mut bytes);
        assert!(
            !bytes.windows(4).any(|w| w == b"hunt" || w == b"xxxx"),
            "{text}"
        );
    }
}

#[test]
fn plain_text_is_read_in_place_of_cipher_text() {
    let mut scene = Scene::new();
    // A handshake, before the library was probed; then more of what nobody can read.
    scene.data(DATA_WRITTEN, b"\x16\x03\x01\x02\x00\x01");
    scene.data(0, b"\x16\x03\x03\x00\x7a\x02");
    scene.data(DATA_WRITTEN, b"\x17\x03\x03\x00\x7a\x02");
    assert_eq!(scene.commands(), [&Command::LookForLibraries { pid: TGID }]);
    for _ in 0..3 {
        scene.data(DATA_WRITTEN, b"\x17\x03\x03\x00\x7a\x02");
        scene.data(
            DATA_WRITTEN | DATA_PLAIN,
            b"*2\r\n$3\r\nGET\r\n$7\r\nhunter2\r\n",
        );
        scene.data(0, b"\x17\x03\x03\x00\x7a\x02");
        scene.data(DATA_PLAIN, b"$-1\r\n");
    }
    let finished = scene.finish();
    let redis: Vec<_> = finished
        .operations
        .iter()
        .filter(|o| o.protocol == "redis")
        .collect();
    assert_eq!(redis.len(), 1, "{finished:#?}");
    assert_eq!((redis[0].count, redis[0].sampled), (3, false));
    assert!(!format!("{finished:?}").contains("hunter2"));
}

#[test]
fn plain_text_of_no_interest_is_named_apart() {
    let mut scene = Scene::new();
    for _ in 0..8 {
        scene.data(
            DATA_WRITTEN | DATA_PLAIN,
            b"\x01\x02garbage that nobody knows",
        );
    }
    let id = 9 | PLAIN_TEXT_OF;
    assert_eq!(scene.commands(), [&Command::IgnoreServer { id }]);
}
