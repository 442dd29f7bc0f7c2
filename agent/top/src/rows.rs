//! Rows of the lists: cells, order, and what a filter sees.
//!
//! From wire messages to cells with meaning ("this account, that target"); not what they look like.
//! What must stay true: each text in a cell is cleaned; a list's cells stand in the order of its
//! columns.

use std::cmp::Ordering;

use whyslow_proto::v1::{
    InFlightRequest, LedgerEntry, Listener, Operation, Program, Route, Shape, WaitTarget, Worker,
    wait_target::Target,
};

use crate::{
    client::Snapshot,
    columns::Column,
    listeners,
    model::List,
    number::{about, at_least, bytes, count, duration, rate, share, total},
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
    /// Command.
    Program(String),
    /// Address and process.
    Listener(String, u32),
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

    /// The program with this key.
    pub(crate) fn program<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a Program> {
        let Self::Program(command) = self else {
            return None;
        };
        let mut programs = snapshot.programs.programs.iter();
        programs.find(|program| program.command == *command)
    }

    /// The listening socket with this key.
    pub(crate) fn listener<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a Listener> {
        let mut listeners = snapshot.listeners.listeners.iter();
        listeners.find(|one| Self::of_listener(one) == *self)
    }

    /// There is such a row.
    pub(crate) fn is_in(&self, snapshot: &Snapshot) -> bool {
        match self {
            Self::Request(_) => self.request(snapshot).is_some(),
            Self::Route(..) => self.route(snapshot).is_some(),
            Self::Worker(..) => self.worker(snapshot).is_some(),
            Self::Shape(..) => self.shape(snapshot).is_some(),
            Self::Program(_) => self.program(snapshot).is_some(),
            Self::Listener(..) => self.listener(snapshot).is_some(),
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
            List::Programs => "COST",
            List::Listeners => "ADDRESS",
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
        List::Programs => {
            let programs = snapshot.programs.programs.iter();
            programs.map(program_row).collect()
        }
        List::Listeners => {
            let listeners = snapshot.listeners.listeners.iter();
            listeners.map(listeners::row).collect()
        }
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
pub(crate) fn trouble(n: u64, lower_bound: bool) -> Cell {
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

/// CPU time of a program's runs, and time that requests waited for them, ns.
pub(crate) fn cost_ns(program: &Program) -> u64 {
    program.cpu_ns.saturating_add(program.waited_ns)
}

fn program_row(program: &Program) -> Row {
    let known = |ns: u64| (ns > 0).then_some(ns);
    let of_one = program.cpu_ns.checked_div(program.count);
    Row {
        key: Key::Program(program.command.clone()),
        cells: vec![
            cell(rate(program.rate_per_s), program.rate_per_s),
            cell(count(program.count), program.count as f64),
            number(program.running),
            trouble(program.failures, false),
            time(Some(cost_ns(program))),
            time(Some(program.cpu_ns)),
            time(of_one),
            time(known(program.startup_p50_ns)),
            time(known(program.wall_p50_ns)),
            time(known(program.wall_p95_ns)),
            cut(&program.command, Cut::Middle),
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
            time((route.accept_queue_known > 0).then_some(route.accept_queue_p95_ns)),
            client_share(route),
            Cell {
                content: Content::Ledger(route.ledger.clone()),
                by: By::Text(top),
            },
            text(&request_line(&route.method, &route.route)),
        ],
    }
}

fn memory(resident: u64) -> Cell {
    let text = if resident == 0 {
        String::new()
    } else {
        bytes(resident)
    };
    cell(text, resident as f64)
}

/// Share of its workers' time that clients kept them waiting.
fn client_share(route: &Route) -> Cell {
    let part = route.client_wait_ns as f64 / route.total_ns as f64;
    if part.is_finite() {
        cell(share(part), part)
    } else {
        cell("?".to_owned(), -1.0)
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
            memory(worker.resident_bytes),
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

pub(crate) fn text(value: &str) -> Cell {
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

pub(crate) fn cell(value: String, by: f64) -> Cell {
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

/// As in the lists, "?" for what is not known.
pub(crate) fn known_time(ns: Option<u64>) -> Cell {
    time(ns)
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
