//! One row in full: a request, a route or a worker with its ledger, or a shape.
//!
//! What must stay true: a row that is gone is shown as it was last seen, and said to be gone.

use ratatui::text::Span;
use whyslow_proto::v1::{InFlightRequest, LedgerEntry, Program, Route, Shape, Worker};

use super::{
    Line, finished, links,
    list::off,
    operations,
    overlay::{field, heading},
    paint::{account_name, ledger_bar, share_bar},
    programs,
};
use crate::{
    client::Snapshot,
    listeners,
    model::Model,
    number::{bytes, count, duration, rate, share},
    palette::{Family, Theme},
    rows::{Key, handed_over, request_line, since, target_text},
    text::{Cut, clean, fit, width},
};

/// Shortest time with clients that is shown.
pub(super) const NOTABLE_NS: u64 = 1_000_000;

/// Title and lines.
pub(super) fn lines(
    model: &Model,
    key: &Key,
    last: &Snapshot,
    theme: Theme,
    columns: u16,
) -> (&'static str, Vec<Line>) {
    let mut lines = Vec::new();
    let gone = model.snapshot.as_ref().is_some_and(|now| !key.is_in(now));
    let (title, what) = match key {
        Key::Request(_) => ("Request", "no longer in flight: as last seen"),
        Key::Route(..) => ("Route", "no longer listed: as last seen"),
        Key::Worker(..) => ("Worker", "gone: as last seen"),
        Key::Shape(..) => ("Shape", "not asked for within the window: as last seen"),
        Key::Listener(..) => ("Listener", "no longer listed: as last seen"),
        Key::Program(_) => ("Program", "not started within the window: as last seen"),
    };
    if gone {
        lines.push(Line::from(Span::styled(format!(" {what}"), theme.alarm())));
    }
    let mut page = Page {
        lines,
        theme,
        columns,
    };
    let now_ns = last.routes.monotonic_ns;
    let reads = last.reads_operations();
    let seen = model.finished.as_deref().filter(|seen| seen.key == *key);
    let finished = || finished::lines(seen, (now_ns, reads), theme, columns);
    if let Some(request) = key.request(last) {
        page.request(request, last);
    } else if let Some(shape) = key.shape(last) {
        page.shape(shape, last);
        page.lines.extend(finished());
    } else if let Some(route) = key.route(last) {
        page.route(route, last);
        page.lines.extend(finished());
    } else if let Some(program) = key.program(last) {
        page.program(program, last);
    } else if let Some(worker) = key.worker(last) {
        page.worker(worker, last);
    } else if let Some(listener) = key.listener(last) {
        for (name, value) in listeners::details(listener, last.listeners.window_s) {
            page.add(name, &value);
        }
    }
    (title, page.lines)
}

struct Page {
    lines: Vec<Line>,
    theme: Theme,
    columns: u16,
}

impl Page {
    /// Adds a field; one without a value is left out.
    fn add(&mut self, name: &str, value: &str) {
        self.lines
            .extend(field(name, value, self.theme, self.columns));
    }

    fn request(&mut self, request: &InFlightRequest, snapshot: &Snapshot) {
        let started = request.started.clone().unwrap_or_default();
        self.add(
            "request",
            &clean(&request_line(&started.method, &started.target)),
        );
        self.add(
            "age",
            &format!("{}, {}", duration(request.age_ns), clean(&request.phase)),
        );
        let mut now = account_name(&request.account);
        if let Some(ns) = since(request.since_ns, snapshot.in_flight.monotonic_ns) {
            now += &format!(" for {}", duration(ns));
        }
        self.add("now", &now);
        self.add(
            "waits for",
            &request
                .wait_target
                .as_ref()
                .map(target_text)
                .unwrap_or_default(),
        );
        let asked = operations::in_a_line(request, snapshot, self.columns);
        self.add("asked for", &asked);
        self.add("asks now", &operations::open(request));
        self.add("route", &clean(&started.route));
        let worker = format!(
            "pid {}, tid {}, {}",
            started.pid,
            started.tid,
            clean(&started.comm)
        );
        self.add("worker", &worker);
        let before = match (started.accept_queue_ns, started.proxy_queue_ns) {
            (None, None) => String::new(),
            (Some(ns), None) => format!("{} in the accept queue", duration(ns)),
            (ns, Some(proxy_ns)) => {
                let queue = ns.map_or_else(String::new, |ns| {
                    format!("{} in the accept queue; ", duration(ns))
                });
                let (proxy, header) = (duration(proxy_ns), clean(&started.proxy_queue_header));
                format!("{queue}{proxy} by {header}")
            }
        };
        self.add("queued", &before);
        self.add("binding", &clean(&request.binding));
        self.add("works", &handed_over(request));
        self.add("client", &clean(&started.client));
        self.add("host", &clean(&started.host));
        self.add(
            "started",
            &started.start_time.as_ref().map(rfc3339).unwrap_or_default(),
        );
        self.add("id", &clean(&started.request_id));
        self.ledger(&request.ledger, request.age_ns, None);
        let children = programs::children(&request.children, started.pid, self.theme, self.columns);
        self.lines.extend(children);
        let table = operations::table(request, self.theme, self.columns);
        self.lines.extend(table);
    }

    fn shape(&mut self, shape: &Shape, snapshot: &Snapshot) {
        for (name, value) in operations::of_shape(shape, snapshot.shapes.window_s) {
            self.add(name, &value);
        }
        let routes = links::used_by(shape, self.theme, self.columns);
        self.lines.extend(routes);
    }

    fn program(&mut self, program: &Program, snapshot: &Snapshot) {
        for (name, value) in programs::fields(program, snapshot.programs.window_s) {
            self.add(name, &value);
        }
        let routes = programs::started_by(program, self.theme, self.columns);
        self.lines.extend(routes);
    }

    fn route(&mut self, route: &Route, snapshot: &Snapshot) {
        let window_s = snapshot.routes.window_s;
        self.add("route", &clean(&request_line(&route.method, &route.route)));
        let requests = format!(
            "{} since the start: {} 5xx, {} 4xx, {} unanswered; {} in flight",
            count(route.requests),
            count(route.server_errors),
            count(route.client_errors),
            count(route.unanswered),
            route.in_flight
        );
        self.add("requests", &requests);
        self.add(
            "window",
            &format!("{window_s:.0} s, {} per second", rate(route.rate_per_s)),
        );
        let quantiles = format!(
            "p50 {}   p95 {}   p99 {}   max {}",
            duration(route.p50_ns),
            duration(route.p95_ns),
            duration(route.p99_ns),
            duration(route.max_ns)
        );
        self.add("wall time", &quantiles);
        let share = share(route.worker_share);
        let total = format!("{}, {share} of all routes", duration(route.total_ns));
        self.add("worker time", &total);
        let requests = route.rate_per_s * window_s;
        self.add("queued", &queued(route));
        self.add("client", &clients(route, requests));
        let operations = if snapshot.reads_operations() {
            let least = if route.operations_sampled {
                "at least "
            } else {
                ""
            };
            let mean = rate(route.operations_per_request);
            format!("{least}{mean} operations per request")
        } else {
            off(self.columns).to_owned()
        };
        self.add("asked for", &operations);
        self.ledger(&route.ledger, route.total_ns, Some(requests));
        let shapes = links::asks_for(route, requests, snapshot, self.theme, self.columns);
        self.lines.extend(shapes);
    }

    fn worker(&mut self, worker: &Worker, snapshot: &Snapshot) {
        let bar = |part| format!("{} {}", share_bar(part, 20, self.theme), share(part));
        let (busy, cpu) = (bar(worker.busy_share), bar(worker.cpu_share));
        let id = format!(
            "pid {}, tid {}, {}",
            worker.pid,
            worker.tid,
            clean(&worker.comm)
        );
        self.add("worker", &id);
        self.add("state", &clean(&worker.state));
        let mut now = account_name(&worker.account);
        if let Some(ns) = since(worker.since_ns, snapshot.workers.monotonic_ns) {
            now += &format!(" for {}", duration(ns));
        }
        self.add("now", &now);
        self.add("waits for", &clean(&worker.wait_text));
        self.add("busy", &busy);
        self.add("on CPU", &cpu);
        self.add("requests", &count(worker.requests));
        self.add("memory", &memory(worker));
        self.add("route", &clean(&worker.route));
        if worker.loop_stalls > 0 {
            self.add("loop stalls", &count(worker.loop_stalls));
        }
        let key = Key::Request(worker.request_id.clone());
        let request = key
            .request(snapshot)
            .filter(|_| !worker.request_id.is_empty());
        if let Some(request) = request {
            self.lines.push(Line::default());
            self.lines.push(heading("Request being served", self.theme));
            self.request(request, snapshot);
        }
    }

    /// The accounts, as a table. `whole_ns`: what shares are of. `requests`: for the time per
    /// request.
    fn ledger(&mut self, ledger: &[LedgerEntry], whole_ns: u64, requests: Option<f64>) {
        let theme = self.theme;
        self.lines.push(Line::default());
        self.lines.push(heading("Ledger", theme));
        if ledger.is_empty() {
            let text = " none: its time is not tied to one thread, or nothing was counted yet";
            self.lines
                .push(Line::from(Span::styled(text, theme.grey())));
            return;
        }
        let bar = self.columns.saturating_sub(2);
        let mut line = Line::from(" ");
        line.spans.extend(ledger_bar(ledger, bar, theme));
        self.lines.push(line);
        let per_request = if requests.is_some() {
            format!("{:>8}", "PER REQ")
        } else {
            String::new()
        };
        let titles = format!(
            " {:<17}{:>8}{per_request}{:>6}{:>8}",
            "ACCOUNT", "TIME", "SHARE", "COUNT"
        );
        self.lines
            .push(Line::from(Span::styled(titles, theme.strong())));
        for entry in ledger {
            self.lines.push(self.ledger_line(entry, whole_ns, requests));
        }
    }

    fn ledger_line(&self, entry: &LedgerEntry, whole_ns: u64, requests: Option<f64>) -> Line {
        let theme = self.theme;
        let part = entry.ns as f64 / whole_ns as f64;
        let mut figures = format!("{:>8}", duration(entry.ns));
        if let Some(requests) = requests {
            let per_request = (entry.ns as f64 / requests).round();
            let text = if per_request.is_finite() {
                duration(per_request as u64)
            } else {
                "?".to_owned()
            };
            figures += &format!("{text:>8}");
        }
        figures += &format!("{:>6}{:>8} ", share(part), count(entry.count));
        let name = fit(&account_name(&entry.account), 17, Cut::End);
        let indent = 17_usize.saturating_sub(width(&name));
        let used = 18 + figures.chars().count();
        let room = usize::from(self.columns).saturating_sub(used + 1).min(40);
        let bar = share_bar(part, u16::try_from(room).unwrap_or(0), theme);
        let style = theme.account(Family::of(&entry.account));
        Line::from(vec![
            Span::styled(format!(" {name}{}", " ".repeat(indent)), style),
            Span::styled(figures, theme.text()),
            Span::styled(bar, style),
        ])
    }
}

/// Memory of a worker's process; empty: not known.
fn memory(worker: &Worker) -> String {
    if worker.resident_bytes == 0 {
        return String::new();
    }
    let mut text = format!("{} resident", bytes(worker.resident_bytes));
    let growth = worker.resident_growth_bytes;
    if growth != 0 {
        let sign = if growth < 0 { '-' } else { '+' };
        text += &format!(" ({sign}{} since first seen)", bytes(growth.unsigned_abs()));
    }
    if worker.proportional_bytes != 0 {
        let (own, shared) = (worker.proportional_bytes, worker.shared_bytes);
        text += &format!(", {} its part, {} shared", bytes(own), bytes(shared));
    }
    text
}

/// Time in the accept queue; empty: no request with a connection of its own was seen.
fn queued(route: &Route) -> String {
    if route.accept_queue_known == 0 {
        return String::new();
    }
    format!(
        "p95 {}   max {}   before the accept, of {} connections",
        duration(route.accept_queue_p95_ns),
        duration(route.accept_queue_max_ns),
        count(route.accept_queue_known)
    )
}

/// Time with clients, per request; empty: none to speak of.
fn clients(route: &Route, requests: f64) -> String {
    let mean = |ns: u64| (ns as f64 / requests).round() as u64;
    let times = [
        ("head", mean(route.head_read_ns)),
        ("body", mean(route.body_read_ns)),
        ("send", mean(route.send_ns)),
        ("waited for it", mean(route.client_wait_ns)),
    ];
    let words: Vec<String> = times
        .into_iter()
        .filter(|(_, ns)| *ns >= NOTABLE_NS)
        .map(|(name, ns)| format!("{name} {}", duration(ns)))
        .collect();
    match words.len() {
        0 => String::new(),
        _ => format!("{} per request", words.join("   ")),
    }
}

/// A time stamp as in proto3 JSON.
fn rfc3339(time: &impl serde::Serialize) -> String {
    match serde_json::to_value(time) {
        Ok(serde_json::Value::String(text)) => clean(&text),
        _ => String::new(),
    }
}
