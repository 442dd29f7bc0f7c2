//! A host with a few requests, routes and workers, as the agent would tell it.

use std::time::Duration;

use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};
use whyslow_proto::v1::{
    AgentStatus, Feature, FileTarget, InFlightRequest, InFlightResponse, InfoResponse, LedgerEntry,
    LockTarget, Loss, OpenOperation, Operation, PeerTarget, ProcessTarget, RequestStarted, Route,
    RoutesResponse, Shape, ShapesResponse, WaitTarget, Worker, WorkersResponse,
    wait_target::Target,
};

use crate::{
    Options,
    client::{Snapshot, Update},
    input::{action, perform},
    model::Model,
    palette::Theme,
    view,
};

const MS: u64 = 1_000_000;
/// Monotonic time of the answers.
pub(crate) const NOW_NS: u64 = 5_000_000 * MS;

pub(crate) fn ledger(entries: &[(&str, u64)]) -> Vec<LedgerEntry> {
    let entry = |&(account, ms): &(&str, u64)| LedgerEntry {
        account: account.to_owned(),
        ns: ms * MS,
        count: ms / 3 + 1,
    };
    entries.iter().map(entry).collect()
}

pub(crate) fn lock(address: u64) -> Target {
    Target::Lock(LockTarget { address })
}

pub(crate) fn file(path: &str) -> Target {
    Target::File(FileTarget {
        path: path.to_owned(),
        inode: 77,
    })
}

pub(crate) fn peer(address: &str) -> Target {
    Target::Peer(PeerTarget {
        address: address.to_owned(),
    })
}

pub(crate) fn process(pid: u32, comm: &str) -> Target {
    Target::Process(ProcessTarget {
        pid,
        comm: comm.to_owned(),
    })
}

/// A request in flight on thread `tid` of process 4100.
pub(crate) fn request(
    tid: u32,
    target: &str,
    age_ms: u64,
    now: (&str, u64, Option<Target>),
) -> InFlightRequest {
    let (account, for_ms, wait) = now;
    InFlightRequest {
        started: Some(RequestStarted {
            request_id: format!("{tid:032x}"),
            method: "GET".to_owned(),
            target: target.to_owned(),
            route: target.split('?').next().unwrap_or_default().to_owned(),
            pid: 4100,
            tid,
            comm: "gunicorn".to_owned(),
            start_time: None,
            start_monotonic_ns: NOW_NS - age_ms * MS,
            host: "shop.example".to_owned(),
            client: "192.0.2.7:51034".to_owned(),
        }),
        age_ns: age_ms * MS,
        phase: "working".to_owned(),
        account: account.to_owned(),
        since_ns: NOW_NS - for_ms * MS,
        wait_target: wait.map(|target| WaitTarget {
            target: Some(target),
        }),
        ledger: ledger(&[
            ("net.upstream", age_ms / 2),
            ("cpu", age_ms / 3),
            ("run_queue", 1),
        ]),
        binding: "thread".to_owned(),
        operations: Vec::new(),
        shapes_left_out: 0,
        open_operations: Vec::new(),
    }
}

/// Operations of one shape, 3 ms each but for a slow one.
pub(crate) fn operation(protocol: &str, shape: &str, count: u64) -> Operation {
    Operation {
        protocol: protocol.to_owned(),
        peer: "127.0.0.1:5432".to_owned(),
        shape: shape.to_owned(),
        count,
        total_ns: count * 3 * MS + 17 * MS,
        slowest_ns: 20 * MS,
        repeated: count >= 10,
        ..Operation::default()
    }
}

/// A shape that `requests` requests asked for, `each` times.
pub(crate) fn shape(protocol: &str, shape: &str, requests: u64, each: u64) -> Shape {
    let count = requests * each;
    Shape {
        protocol: protocol.to_owned(),
        shape: shape.to_owned(),
        peer: "127.0.0.1:5432".to_owned(),
        count,
        errors: count / 2_000,
        requests,
        repeated: if each >= 10 { requests } else { 0 },
        rate_per_s: count as f64 / 60.0,
        total_ns: count * 800_000,
        p50_ns: 700_000,
        p95_ns: 2 * MS,
        max_ns: 31 * MS,
        time_share: count as f64 / 40_000.0,
        sampled: false,
        routes: Vec::new(),
    }
}

/// A route that used `ms` of worker time within the window.
pub(crate) fn route(method: &str, route: &str, ms: u64, accounts: &[(&str, u64)]) -> Route {
    Route {
        method: method.to_owned(),
        route: route.to_owned(),
        requests: ms * 2,
        server_errors: ms / 1000,
        client_errors: ms / 500,
        unanswered: 0,
        rate_per_s: ms as f64 / 700.0,
        p50_ns: ms * 3210,
        p95_ns: ms * 15_400,
        p99_ns: ms * 61_000,
        max_ns: ms * 122_000,
        total_ns: ms * MS,
        worker_share: ms as f64 / 20_000.0,
        ledger: ledger(accounts),
        in_flight: u32::try_from(ms / 2000).unwrap(),
        operations_per_request: ms as f64 / 250.0,
        operations_sampled: false,
    }
}

pub(crate) fn worker(tid: u32, now: (&str, u64, &str), busy: f64, route: &str) -> Worker {
    let (account, for_ms, wait_text) = now;
    Worker {
        pid: 4100,
        tid,
        comm: "gunicorn".to_owned(),
        state: if route.is_empty() { "idle" } else { "busy" }.to_owned(),
        account: account.to_owned(),
        since_ns: if account.is_empty() {
            0
        } else {
            NOW_NS - for_ms * MS
        },
        busy_share: busy,
        cpu_share: busy / 3.0,
        requests: u64::from(tid % 1000) * 31,
        request_id: if route.is_empty() {
            String::new()
        } else {
            format!("{tid:032x}")
        },
        route: route.to_owned(),
        wait_text: wait_text.to_owned(),
    }
}

/// A busy host.
pub(crate) fn snapshot() -> Snapshot {
    Snapshot {
        info: info(),
        in_flight: in_flight(),
        routes: routes(),
        workers: workers(),
        shapes: shapes(),
    }
}

/// The same, of an agent that does not read operations.
pub(crate) fn without_operations() -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.info.status.as_mut().unwrap().operations = false;
    snapshot.shapes.shapes.clear();
    for request in &mut snapshot.in_flight.requests {
        request.operations.clear();
        request.open_operations.clear();
    }
    for route in &mut snapshot.routes.routes {
        route.operations_per_request = 0.0;
    }
    snapshot
}

fn shapes() -> ShapesResponse {
    let several = Shape {
        peer: String::new(),
        sampled: true,
        ..shape("redis", "GET ?", 900, 3)
    };
    ShapesResponse {
        monotonic_ns: NOW_NS,
        window_s: 60.0,
        shapes: vec![
            shape(
                "postgresql",
                "select name, price from item where id = ?",
                940,
                37,
            ),
            several,
            shape(
                "postgresql",
                "update cart set total = ? where id = ?",
                514,
                1,
            ),
            shape("memcached", "get ?", 12, 1),
        ],
        folded: 0,
        folded_more: false,
    }
}

fn in_flight() -> InFlightResponse {
    let mut answer = bare_in_flight();
    answer.requests[0].operations = vec![
        operation(
            "postgresql",
            "select name, price from item where id = ?",
            37,
        ),
        operation("redis", "GET ?", 2),
    ];
    answer.requests[0].shapes_left_out = 3;
    answer.requests[0].open_operations = vec![OpenOperation {
        protocol: "postgresql".to_owned(),
        peer: "127.0.0.1:5432".to_owned(),
        shape: "select pg_sleep(?)".to_owned(),
        age_ns: 3_000_000_000,
    }];
    answer.requests[1].operations = vec![operation("redis", "SET ? ...", 1)];
    answer
}

fn bare_in_flight() -> InFlightResponse {
    InFlightResponse {
        monotonic_ns: NOW_NS,
        requests: vec![
            request(
                4102,
                "/report?year=?",
                12_400,
                ("net.upstream", 812, Some(peer("127.0.0.1:5432"))),
            ),
            request(
                4103,
                "/cart/17",
                1_240,
                (
                    "lock.file",
                    1_190,
                    Some(file("/srv/shop/var/locks/cart.lock")),
                ),
            ),
            request(4101, "/users/8812", 93, ("cpu", 2, None)),
            request(
                4104,
                "/thumb",
                61,
                ("child", 44, Some(process(4177, "convert"))),
            ),
            request(4105, "/", 5, ("lock.futex", 3, Some(lock(0x7f3a_10c4)))),
        ],
    }
}

fn routes() -> RoutesResponse {
    RoutesResponse {
        monotonic_ns: NOW_NS,
        window_s: 60.0,
        routes: vec![
            route(
                "GET",
                "/report",
                11_000,
                &[("net.upstream", 9000), ("cpu", 1500), ("run_queue", 500)],
            ),
            route(
                "POST",
                "/cart/{id}",
                6000,
                &[("lock.file", 3500), ("disk.sync", 1500), ("cpu", 1000)],
            ),
            route(
                "GET",
                "/users/{id}",
                2400,
                &[("cpu", 1500), ("net.upstream", 700), ("unexplained", 200)],
            ),
            route("GET", "/", 600, &[("cpu", 400), ("net.client_write", 200)]),
        ],
        folded: 0,
        folded_more: false,
    }
}

fn workers() -> WorkersResponse {
    WorkersResponse {
        monotonic_ns: NOW_NS,
        workers: vec![
            worker(4101, ("cpu", 2, ""), 0.31, "GET /users/{id}"),
            worker(
                4102,
                ("net.upstream", 812, "127.0.0.1:5432"),
                0.97,
                "GET /report",
            ),
            worker(
                4103,
                ("lock.file", 1190, "/srv/shop/var/locks/cart.lock"),
                0.64,
                "POST /cart/{id}",
            ),
            worker(4106, ("", 0, ""), 0.0, ""),
        ],
    }
}

pub(crate) fn info() -> InfoResponse {
    InfoResponse {
        status: Some(AgentStatus {
            version: "0.1.0".to_owned(),
            kernel: "6.1.0-25-amd64".to_owned(),
            started: None,
            processes: 2,
            threads: 6,
            requests_finished: 40_000,
            requests_in_flight: 5,
            replay: false,
            operations: true,
        }),
        features: vec![
            Feature {
                name: "core".to_owned(),
                available: true,
                reason: String::new(),
            },
            Feature {
                name: "signals".to_owned(),
                available: false,
                reason: "tracepoint signal_deliver is missing; needs a newer kernel".to_owned(),
            },
        ],
        losses: Vec::new(),
        rss_bytes: 31 << 20,
        cpu_ns: 4_200 * MS,
        subscribers: 1,
    }
}

pub(crate) fn with_losses(mut snapshot: Snapshot) -> Snapshot {
    let loss = |reason: &str, count, pid| Loss {
        reason: reason.to_owned(),
        count,
        pid,
    };
    snapshot.info.losses = vec![loss("payload_cut", 3, 0), loss("ring_full", 12_345, 4100)];
    snapshot
}

/// A view without data at time 0.
pub(crate) fn empty() -> Model {
    Model::new("local", &Options::default(), Duration::ZERO)
}

/// A view with these answers at 2 s, after answers of 364 requests less at 0 s.
pub(crate) fn model_of(snapshot: Snapshot) -> Model {
    let mut model = empty();
    let mut earlier = snapshot.clone();
    if let Some(status) = &mut earlier.info.status {
        status.requests_finished = status.requests_finished.saturating_sub(364);
    }
    model.apply(Update::Snapshot(Box::new(earlier)), Duration::ZERO);
    model.apply(Update::Snapshot(Box::new(snapshot)), Duration::from_secs(2));
    model
}

/// A view of the busy host.
pub(crate) fn model() -> Model {
    model_of(snapshot())
}

/// Presses keys: characters stand for themselves.
pub(crate) fn press(model: &mut Model, keys: &str) {
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            '\t' => KeyCode::Tab,
            '\x08' => KeyCode::Backspace,
            c => KeyCode::Char(c),
        };
        press_code(model, code);
    }
}

pub(crate) fn press_code(model: &mut Model, code: KeyCode) {
    let key = KeyEvent::new(code, KeyModifiers::NONE);
    if let Some(action) = action(key, model.ui.typing) {
        perform(model, action);
    }
}

/// Draws on a terminal of this size at 2 s, as the live view does, and returns it.
pub(crate) fn terminal(
    model: &mut Model,
    (width, height): (u16, u16),
    theme: Theme,
    now: Duration,
) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let mut feedback = view::Feedback::default();
    terminal
        .draw(|frame| feedback = view::draw(model, theme, now, frame.buffer_mut()))
        .unwrap();
    model.learn(feedback.page, feedback.longest_scroll);
    terminal
}

/// A terminal without colours.
pub(crate) const fn at_keys() -> Theme {
    Theme {
        keys: true,
        ..Theme::plain()
    }
}

/// The same as text.
pub(crate) fn screen(model: &mut Model, size: (u16, u16)) -> String {
    let terminal = terminal(model, size, at_keys(), Duration::from_secs(2));
    view::to_text(terminal.backend().buffer())
}
