//! What several tests share: a finished request, a source that is a script, kernel records of a
//! simulated worker, folders.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
    mpsc::{Receiver, Sender, channel},
};

use whyslow_abi::{
    Plain,
    account::Account,
    connection::ConnectionPhase,
    descriptor::IoKind,
    plain_bytes, read_plain,
    record::{
        BeginRecord, DATA_WRITTEN, DataRecord, EndReason, EndRecord, LifecycleKind,
        LifecycleRecord, RecordHeader, RecordKind,
    },
    syscall::SyscallClass,
    totals::Totals,
};
use whyslow_engine::{
    input::Input,
    output::{
        self, Binding, Command, LedgerEntry, Query, RequestFinished, RequestId, RequestStarted,
        Target, WaitEntry,
    },
};

use crate::source::{Depth, Feature, Source};

/// A wait of it.
fn wait() -> WaitEntry {
    WaitEntry {
        account: Account::DiskSync,
        start_ns: 2_000_500_000,
        ns: 3_000_000,
        target: Target::File {
            path: "/var/lib/app.db".to_owned(),
            inode: 12,
        },
        holder: None,
        waker: None,
        served: None,
        served_unknown: "",
    }
}

fn started() -> RequestStarted {
    RequestStarted {
        id: RequestId(0xab),
        method: "GET".to_owned(),
        target: "/users/7?q=?".to_owned(),
        route: "/users/{id}".to_owned(),
        pid: 100,
        tid: 101,
        comm: "gunicorn".to_owned(),
        start_ns: 2_000_000_000,
        host: "example.org".to_owned(),
        client: "127.0.0.1:4000".to_owned(),
        ..RequestStarted::default()
    }
}

/// A request with every field set.
pub(crate) fn finished() -> RequestFinished {
    RequestFinished {
        started: Arc::new(started()),
        status: 200,
        end_reason: output::EndReason::Complete,
        wall_ns: 5_000_000,
        binding: Binding::Thread,
        binding_reason: "",
        worker_tid: 0,
        ledger: vec![
            LedgerEntry {
                account: Account::DiskSync,
                ns: 4_000_000,
                count: 2,
            },
            LedgerEntry {
                account: Account::Cpu,
                ns: 1_000_000,
                count: 0,
            },
        ],
        waits: vec![wait()],
        operations: Vec::new(),
        round_trips: 0,
        bytes_in: 120,
        bytes_out: 4096,
        bytes: vec![(IoKind::Client, 120, 4096)],
        syscalls: vec![(SyscallClass::Read, 3)],
        context_switches: 4,
        minor_faults: 5,
        major_faults: 6,
        rss_growth_bytes: -7,
        head_read_ns: 7,
        first_byte_ns: 8,
        send_ns: 9,
        socket_queue_ns: 10,
        accept_queue_ns: Some(11),
        accept_to_read_ns: Some(12),
        queue_unknown: "",
        body_read_ns: Some(13),
        proxy_queue_ns: Some(14),
        children: Vec::new(),
        loss: vec!["payload_cut"],
        traceparent: "00-1-2-01".to_owned(),
        x_request_id: "abc".to_owned(),
    }
}

/// Delivers what it is sent, then nothing. Its clock stands where it was put.
#[derive(Debug)]
pub(crate) struct ScriptSource {
    inputs: Receiver<Input>,
    clock: Arc<AtomicU64>,
}

/// The other end of a [`ScriptSource`].
#[derive(Clone, Debug)]
pub(crate) struct Script {
    inputs: Sender<Input>,
    clock: Arc<AtomicU64>,
}

impl ScriptSource {
    pub(crate) fn new() -> (Script, Self) {
        let (sender, inputs) = channel();
        let clock = Arc::new(AtomicU64::new(1_000_000_000));
        let script = Script {
            inputs: sender,
            clock: clock.clone(),
        };
        (script, Self { inputs, clock })
    }
}

impl Script {
    pub(crate) fn send(&self, inputs: impl IntoIterator<Item = Input>) {
        for input in inputs {
            self.inputs.send(input).unwrap();
        }
    }

    pub(crate) fn set_clock(&self, now_ns: u64) {
        self.clock.store(now_ns, Ordering::Release);
    }
}

impl Source for ScriptSource {
    fn drain(&mut self, into: &mut Vec<Input>, limit: usize) -> anyhow::Result<bool> {
        let before = into.len();
        into.extend(self.inputs.try_iter().take(limit));
        Ok(into.len() - before == limit)
    }

    fn answer(&mut self, _query: &Query) -> Option<Input> {
        None
    }

    fn obey(&mut self, _command: &Command) -> anyhow::Result<()> {
        Ok(())
    }

    fn sample_thread(&mut self, _tid: u32, _depth: Depth) -> Option<Input> {
        None
    }

    fn losses(&mut self) -> Option<Input> {
        None
    }

    fn monotonic_ns(&self) -> u64 {
        self.clock.load(Ordering::Acquire)
    }

    fn features(&self) -> Vec<Feature> {
        vec![Feature {
            name: "core".to_owned(),
            available: true,
            reason: String::new(),
        }]
    }
}

/// A worker thread that serves one request after another on one connection, as kernel records.
#[derive(Debug)]
pub(crate) struct SimWorker {
    tid: u32,
    sequence: u32,
    request: u32,
    now_ns: u64,
    head_len: u32,
    totals: Totals,
}

/// Time that [`SimWorker`] takes for a request: half on the CPU, half asleep.
pub(crate) const REQUEST_NS: u64 = 2_000_000;

impl SimWorker {
    /// The worker and the record of its adoption.
    pub(crate) fn new(tid: u32) -> (Self, Input) {
        let mut worker = Self {
            tid,
            sequence: 0,
            request: 0,
            now_ns: 1_000_000_000,
            head_len: 0,
            totals: Totals::ZERO,
        };
        let mut record: LifecycleRecord = zeroed();
        record.header = worker.header(RecordKind::Lifecycle);
        record.event = LifecycleKind::Adopted as u32;
        record.comm[..4].copy_from_slice(b"test");
        (worker, Input::Record(plain_bytes(&record).to_vec()))
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Begins a request; `head` without the blank line at its end.
    pub(crate) fn begin(&mut self, head: &str) -> Input {
        self.request += 1;
        self.now_ns += 1_000_000;
        self.totals.ns[Account::NetClientRead as usize] += 1_000_000;
        let head = format!("{head}\r\nHost: test\r\n\r\n");
        let mut record: BeginRecord = zeroed();
        record.header = self.header(RecordKind::Begin);
        record.connection = u64::from(self.tid);
        record.request = self.request;
        record.fd = 9;
        record.totals = self.totals;
        self.head_len = u32::try_from(head.len()).unwrap();
        record.read_len = self.head_len;
        record.payload_len = self.head_len;
        record.payload[..head.len()].copy_from_slice(head.as_bytes());
        Input::Record(plain_bytes(&record).to_vec())
    }

    /// Ends the request with a complete response.
    pub(crate) fn end(&mut self, status: u16) -> Input {
        let begin_ns = self.now_ns;
        self.now_ns += REQUEST_NS;
        self.totals.ns[Account::Cpu as usize] += REQUEST_NS / 2;
        self.totals.ns[Account::Sleep as usize] += REQUEST_NS / 2;
        self.totals.count[Account::Sleep as usize] += 1;
        let response = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok");
        let mut record: EndRecord = zeroed();
        record.header = self.header(RecordKind::End);
        record.reason = EndReason::NextRequest as u32;
        record.now = self.totals;
        let state = &mut record.state;
        state.id = u64::from(self.tid);
        state.request = self.request;
        state.phase = ConnectionPhase::Response as u32;
        state.fd = 9;
        state.tgid = self.tid;
        state.reader_tid = self.tid;
        state.reader_generation = 1;
        state.writer_tid = self.tid;
        state.writer_generation = 1;
        state.writes = 1;
        state.begin_ns = begin_ns;
        state.last_read_ns = begin_ns;
        state.first_write_ns = self.now_ns;
        state.last_write_ns = self.now_ns;
        state.bytes_in = u64::from(self.head_len);
        state.bytes_out = response.len() as u64;
        state.captured_out = u32::try_from(response.len()).unwrap();
        state.response[..response.len()].copy_from_slice(response.as_bytes());
        state.totals = self.totals;
        Input::Record(plain_bytes(&record).to_vec())
    }

    /// Asks a Redis server for `command`, and gets `OK` after `ns`: the two records.
    pub(crate) fn ask(&mut self, command: &str, ns: u64) -> [Input; 2] {
        let words: Vec<&str> = command.split(' ').collect();
        let mut asked = format!("*{}\r\n", words.len());
        for word in words {
            asked += &format!("${}\r\n{word}\r\n", word.len());
        }
        let written = self.exchanged(asked.as_bytes(), DATA_WRITTEN);
        self.now_ns += ns;
        self.totals.ns[Account::NetUpstream as usize] += ns;
        [written, self.exchanged(b"+OK\r\n", 0)]
    }

    /// Exchanges bytes with a server.
    pub(crate) fn exchange(&mut self, written: bool, bytes: &[u8]) -> Input {
        self.exchanged(bytes, u32::from(written) * DATA_WRITTEN)
    }

    fn exchanged(&mut self, bytes: &[u8], flags: u32) -> Input {
        let mut record: DataRecord = zeroed();
        record.head.header = self.header(RecordKind::Data);
        record.head.peer = 1_000_000 + u64::from(self.tid);
        record.head.connection = u64::from(self.tid);
        record.head.request = self.request;
        record.head.flags = flags;
        record.head.len = u32::try_from(bytes.len()).unwrap();
        record.head.front_len = record.head.len;
        record.server.family = u16::try_from(libc::AF_INET).unwrap();
        record.server.port_be = 6379_u16.to_be();
        record.server.address[..4].copy_from_slice(&[127, 0, 0, 1]);
        record.front[..bytes.len()].copy_from_slice(bytes);
        Input::Record(plain_bytes(&record).to_vec())
    }

    fn header(&mut self, kind: RecordKind) -> RecordHeader {
        self.sequence += 1;
        RecordHeader {
            time_ns: self.now_ns,
            kind: kind as u32,
            tid: self.tid,
            tgid: self.tid,
            generation: 1,
            sequence: self.sequence,
            reserved: 0,
        }
    }
}

fn zeroed<T: Plain>() -> T {
    read_plain(&vec![0; size_of::<T>()]).unwrap()
}

/// A folder that is gone with the test.
#[derive(Debug)]
pub(crate) struct TempDir(std::path::PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("whyslow-test-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
