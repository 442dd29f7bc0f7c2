//! Rows of the lists: cells, order, and what a filter sees.
//!
//! From wire messages to cells with meaning ("this account, that target"); not what they look like.
//! What must stay true: each text in a cell is cleaned; a list's cells stand in the order of its
//! columns.

use std::cmp::Ordering;

use whyslow_proto::v1::{
    InFlightRequest, LedgerEntry, Operation, Route, Shape, WaitTarget, Worker, wait_target::Target,
};

use crate::{
    client::Snapshot,
    columns::Column,
    model::List,
    number::{about, at_least, count, duration, rate, share, total},
    text::{Cut, clean, width},
};

/// The overflow entry of routes.
pub(crate) const OTHER_ROUTE: &str = "(other)";
/// Open operations that the agent tells of a request at the most.
const MOST_OPEN: usize = 8;

/// What a row is about: stays the same from answer to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// Request id.
    Request(String),
    /// Method and path template.
    Route(String, String),
    /// Process and thread.
    Worker(u32, u32),
    /// Protocol and shape.
    Shape(String, String),
}

impl Key {
    fn of_request(request: &InFlightRequest) -> Self {
        let started = request.started.as_ref();
        Self::Request(started.map(|s| s.request_id.clone()).unwrap_or_default())
    }

    fn of_route(route: &Route) -> Self {
        Self::Route(route.method.clone(), route.route.clone())
    }

    const fn of_worker(worker: &Worker) -> Self {
        Self::Worker(worker.pid, worker.tid)
    }

    fn of_shape(shape: &Shape) -> Self {
        Self::Shape(shape.protocol.clone(), shape.shape.clone())
    }

    /// The request with this key.
    pub(crate) fn request<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a InFlightRequest> {
        snapshot
            .in_flight
            .requests
            .iter()
            .find(|r| Self::of_request(r) == *self)
    }

    /// The route with this key.
    pub(crate) fn route<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a Route> {
        snapshot
            .routes
            .routes
            .iter()
            .find(|r| Self::of_route(r) == *self)
    }

    /// The worker with this key.
    pub(crate) fn worker<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a Worker> {
        snapshot
            .workers
            .workers
            .iter()
            .find(|w| Self::of_worker(w) == *self)
    }

    /// The shape with this key.
    pub(crate) fn shape<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a Shape> {
        snapshot
            .shapes
            .shapes
            .iter()
            .find(|s| Self::of_shape(s) == *self)
    }

    /// There is such a row.
    pub(crate) fn is_in(&self, snapshot: &Snapshot) -> bool {
        match self {
            Self::Request(_) => self.request(snapshot).is_some(),
            Self::Route(..) => self.route(snapshot).is_some(),
            Self::Worker(..) => self.worker(snapshot).is_some(),
            Self::Shape(..) => self.shape(snapshot).is_some(),
        }
    }
}

/// What a cell shows.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Text.
    Text(String, Cut),
    /// Text that means trouble.
    Alarm(String),
    /// An account and what is waited for.
    Account(String, String),
    /// Parts of a whole, by account.
    Ledger(Vec<LedgerEntry>),
    /// A share of 0 to 1.
    Share(f64),
}

/// A target gets at least so much room, or is left out.
pub(crate) const SHORTEST: usize = 4;

impl Content {
    /// Columns that it takes uncut; `bar`: those of a ledger. A share fits into any.
    pub(crate) fn width(&self, bar: usize) -> usize {
        match self {
            Self::Text(text, _) | Self::Alarm(text) => width(text),
            Self::Account(account, target) if target.is_empty() => width(account),
            Self::Account(account, target) => width(account) + 1 + width(target).max(SHORTEST),
            Self::Ledger(_) => bar,
            Self::Share(_) => 0,
        }
    }
}

/// What a cell is sorted by.
#[derive(Clone, Debug)]
pub(crate) enum By {
    Number(f64),
    Text(String),
}

/// A cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) content: Content,
    pub(crate) by: By,
}

/// A row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) key: Key,
    /// One per column of the list.
    pub(crate) cells: Vec<Cell>,
}

impl Row {
    /// The filter (lower case) is somewhere in the row.
    pub(crate) fn matches(&self, filter: &str) -> bool {
        self.cells.iter().any(|cell| match &cell.content {
            Content::Text(text, _) | Content::Alarm(text) => contains(text, filter),
            Content::Account(account, target) => contains(&format!("{account} {target}"), filter),
            Content::Ledger(entries) => entries.iter().any(|e| contains(&e.account, filter)),
            Content::Share(_) => false,
        })
    }
}

fn contains(text: &str, filter: &str) -> bool {
    text.to_lowercase().contains(filter)
}

/// Order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sorting {
    /// Column.
    pub(crate) column: usize,
    /// Against the column's natural order.
    pub(crate) inverted: bool,
    list: List,
}

impl Sorting {
    /// Order at the start: oldest request, most worker time, process, most time.
    pub(crate) fn of(list: List) -> Self {
        let first = match list {
            List::InFlight | List::Workers => "",
            List::Routes => "WORK",
            List::Shapes => "TOTAL",
        };
        let place = Column::of(list).iter().position(|c| c.name == first);
        let column = place.unwrap_or(0);
        Self {
            column,
            inverted: false,
            list,
        }
    }

    /// The column before or after.
    pub(crate) fn step(&mut self, right: bool) {
        let columns = Column::of(self.list).len();
        let step = if right { 1 } else { columns - 1 };
        self.column = (self.column + step) % columns;
        self.inverted = false;
    }

    /// Largest first.
    pub(crate) fn is_descending(self) -> bool {
        Column::of(self.list)[self.column].descending != self.inverted
    }

    /// Sorts; rows that are equal here keep the agent's order.
    pub(crate) fn sort(self, rows: &mut [Row]) {
        rows.sort_by(|a, b| {
            let order = match (&a.cells[self.column].by, &b.cells[self.column].by) {
                (By::Number(a), By::Number(b)) => a.total_cmp(b),
                (By::Text(a), By::Text(b)) => a.cmp(b),
                _ => Ordering::Equal,
            };
            if self.is_descending() {
                order.reverse()
            } else {
                order
            }
        });
    }
}

/// All rows of a list, in the agent's order.
pub(crate) fn rows(snapshot: &Snapshot, list: List) -> Vec<Row> {
    match list {
        List::InFlight => {
            let now_ns = snapshot.in_flight.monotonic_ns;
            let reads = snapshot.reads_operations();
            snapshot
                .in_flight
                .requests
                .iter()
                .map(|r| request_row(r, now_ns, reads))
                .collect()
        }
        List::Routes => {
            let reads = snapshot.reads_operations();
            let routes = snapshot.routes.routes.iter();
            routes.map(|r| route_row(r, reads)).collect()
        }
        List::Shapes => snapshot.shapes.shapes.iter().map(shape_row).collect(),
        List::Workers => {
            let now_ns = snapshot.workers.monotonic_ns;
            snapshot
                .workers
                .workers
                .iter()
                .map(|w| worker_row(w, now_ns))
                .collect()
        }
    }
}

fn request_row(request: &InFlightRequest, now_ns: u64, reads: bool) -> Row {
    let started = request.started.clone().unwrap_or_default();
    let target = request
        .wait_target
        .as_ref()
        .map(target_text)
        .unwrap_or_else(|| handed_over(request));
    Row {
        key: Key::of_request(request),
        cells: vec![
            time(Some(request.age_ns)),
            number(started.pid),
            number(started.tid),
            text(&request.phase),
            operations(request, reads),
            account(&request.account, target),
            time(since(request.since_ns, now_ns)),
            text(&request_line(&started.method, &started.target)),
        ],
    }
}

/// Operations so far; `?` when they are not told.
fn operations(request: &InFlightRequest, reads: bool) -> Cell {
    if !reads || request.binding != "thread" {
        return cell("?".to_owned(), -1.0);
    }
    let total = operations_in(request);
    let text = at_least(count(total), is_sampled(request));
    let mut cell = cell(text.clone(), total as f64);
    if request.operations.iter().any(Operation::is_one_by_one) {
        cell.content = Content::Alarm(text + "!");
    }
    cell
}

/// There were more operations than are told of a request in flight, or may have been.
pub(crate) fn is_sampled(request: &InFlightRequest) -> bool {
    request.shapes_left_out > 0
        || request.open_operations.len() >= MOST_OPEN
        || request.operations.iter().any(|one| one.sampled)
}

/// Operations that are told of a request in flight: those that are over, and those that are open.
pub(crate) fn operations_in(request: &InFlightRequest) -> u64 {
    answered_in(request).saturating_add(request.open_operations.len() as u64)
}

/// Of these, those that are over.
pub(crate) fn answered_in(request: &InFlightRequest) -> u64 {
    let counts = request.operations.iter().map(|one| one.count);
    counts.fold(0, u64::saturating_add)
}

/// A count of what should not be.
fn trouble(n: u64, lower_bound: bool) -> Cell {
    let text = at_least(count(n), lower_bound);
    let mut cell = cell(text.clone(), n as f64);
    if n > 0 {
        cell.content = Content::Alarm(text);
    }
    cell
}

fn shape_row(shape: &Shape) -> Row {
    let known = |ns: u64| (ns > 0).then_some(ns);
    Row {
        key: Key::of_shape(shape),
        cells: vec![
            cell(
                at_least(count(shape.count), shape.sampled),
                shape.count as f64,
            ),
            cell(count(shape.requests), shape.requests as f64),
            trouble(shape.repeated, false),
            cell(
                about(total(shape.total_ns, shape.sampled), shape.times_shared),
                shape.total_ns as f64,
            ),
            time(known(shape.p95_ns)),
            time(known(shape.max_ns)),
            trouble(shape.errors, shape.sampled || shape.answers_sampled),
            text(&shape.protocol),
            text(&shape.peer),
            cut(&shape.shape, Cut::Middle),
        ],
    }
}

fn route_row(route: &Route, reads: bool) -> Row {
    let top = route
        .ledger
        .first()
        .map(|e| clean(&e.account))
        .unwrap_or_default();
    Row {
        key: Key::of_route(route),
        cells: vec![
            cell(rate(route.rate_per_s), route.rate_per_s),
            time(Some(route.p50_ns)),
            time(Some(route.p95_ns)),
            time(Some(route.p99_ns)),
            trouble(route.server_errors.saturating_add(route.unanswered), false),
            cell(share(route.worker_share), route.worker_share),
            match route.operations_per_request {
                mean if reads => cell(at_least(rate(mean), route.operations_sampled), mean),
                _ => cell("?".to_owned(), -1.0),
            },
            cell(route.in_flight.to_string(), f64::from(route.in_flight)),
            Cell {
                content: Content::Ledger(route.ledger.clone()),
                by: By::Text(top),
            },
            text(&request_line(&route.method, &route.route)),
        ],
    }
}

fn worker_row(worker: &Worker, now_ns: u64) -> Row {
    let busy = worker.busy_share;
    Row {
        key: Key::of_worker(worker),
        cells: vec![
            number(worker.pid),
            number(worker.tid),
            text(&worker.comm),
            text(&worker.state),
            Cell {
                content: Content::Share(busy),
                by: By::Number(busy),
            },
            cell(share(worker.cpu_share), worker.cpu_share),
            cell(count(worker.requests), worker.requests as f64),
            account(&worker.account, clean(&worker.wait_text)),
            time(since(worker.since_ns, now_ns)),
            text(&worker.route),
        ],
    }
}

/// How long ago; `None` when the start is not known.
pub(crate) const fn since(since_ns: u64, now_ns: u64) -> Option<u64> {
    if since_ns == 0 {
        None
    } else {
        Some(now_ns.saturating_sub(since_ns))
    }
}

/// "GET /users/7", whatever of it is known.
pub(crate) fn request_line(method: &str, target: &str) -> String {
    let method = if method.is_empty() { "?" } else { method };
    format!("{method} {}", if target.is_empty() { "?" } else { target })
}

/// What is waited for, in words; cleaned.
pub(crate) fn target_text(target: &WaitTarget) -> String {
    match &target.target {
        None => String::new(),
        Some(Target::Lock(lock)) => format!("{:#x}", lock.address),
        Some(Target::File(file)) if file.path.is_empty() => format!("inode {}", file.inode),
        Some(Target::File(file)) => clean(&file.path),
        Some(Target::Peer(peer)) => clean(&peer.address),
        Some(Target::Process(process)) if process.pid == 0 => "any child".to_owned(),
        Some(Target::Process(process)) if process.comm.is_empty() => format!("pid {}", process.pid),
        Some(Target::Process(process)) => {
            format!("{} (pid {})", clean(&process.comm), process.pid)
        }
    }
}

fn text(value: &str) -> Cell {
    cut(value, Cut::End)
}

fn cut(value: &str, cut: Cut) -> Cell {
    let value = if value.is_empty() {
        String::new()
    } else {
        clean(value)
    };
    Cell {
        content: Content::Text(value.clone(), cut),
        by: By::Text(value),
    }
}

fn cell(value: String, by: f64) -> Cell {
    Cell {
        content: Content::Text(value, Cut::End),
        by: By::Number(by),
    }
}

fn number(value: u32) -> Cell {
    cell(value.to_string(), f64::from(value))
}

fn time(ns: Option<u64>) -> Cell {
    match ns {
        Some(ns) => cell(duration(ns), ns as f64),
        None => cell("?".to_owned(), -1.0),
    }
}

/// Who works on a request that its reader has handed over; empty: it has not.
pub(crate) fn handed_over(request: &InFlightRequest) -> String {
    match (request.binding.as_str(), request.worker_tid) {
        ("handoff", 0) => "handed over, worker not known yet".to_owned(),
        ("handoff", worker) => format!("handed over to {worker}"),
        _ => String::new(),
    }
}

fn account(name: &str, target: String) -> Cell {
    let name = if name.is_empty() {
        "?".to_owned()
    } else {
        clean(name)
    };
    Cell {
        by: By::Text(format!("{name} {target}")),
        content: Content::Account(name, target),
    }
}
