//! Routes: requests grouped by method and path template, with their figures over a window.
//!
//! Bounded: what finds no place goes to `(other)`, and is counted. A route without a request for ten
//! minutes gives its place away.

mod digits;
mod figures;
pub(crate) mod histogram;
pub(crate) mod segment;
pub(crate) mod template;
pub(crate) mod window;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use figures::{ClientTimes, Figures, Sample};
use template::Rule;
use window::{Span, Window};

use crate::{
    output::{RequestFinished, Route, RouteName},
    pipeline::RoutesView,
};

/// Index of the overflow entry.
const OTHER: u32 = 0;
/// Its name.
pub(crate) const OTHER_NAME: &str = "(other)";
/// Hashes of folded routes kept to count them: of more it is only known that they are more.
const FOLDED_LIMIT: usize = 8_192;

#[derive(Clone, Debug, Default)]
struct Entry {
    name: Arc<RouteName>,
    requests: u64,
    server_errors: u64,
    client_errors: u64,
    unanswered: u64,
    in_flight: u32,
    window: Window<Figures>,
    free: bool,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Routes {
    rules: Vec<Rule>,
    limit: usize,
    start_ns: u64,
    /// `METHOD template` to index. The hasher is the standard one: strangers choose the keys.
    index: HashMap<String, u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    folded: HashSet<u64>,
    key: String,
    swept_ns: u64,
}

impl Routes {
    pub(crate) fn new(rules: &[String], limit: usize, start_ns: u64) -> Self {
        let other = Entry {
            name: Arc::new(RouteName::other()),
            ..Entry::default()
        };
        Self {
            rules: rules.iter().map(|rule| Rule::new(rule)).collect(),
            limit: limit.clamp(1, 100_000),
            start_ns,
            index: HashMap::new(),
            entries: vec![other],
            free: Vec::new(),
            folded: HashSet::new(),
            key: String::new(),
            swept_ns: 0,
        }
    }

    /// A request of this method and target began: its route, as index and name.
    pub(crate) fn begin(&mut self, method: &str, target: &str) -> (u32, &str) {
        self.key.clear();
        self.key.push_str(method);
        self.key.push(' ');
        template::template(target, &self.rules, &mut self.key);
        let index = match self.index.get(self.key.as_str()) {
            Some(index) => *index,
            None => self.insert(method),
        };
        let entry = &mut self.entries[index as usize];
        entry.in_flight = entry.in_flight.saturating_add(1);
        (index, &entry.name.route)
    }

    fn insert(&mut self, method: &str) -> u32 {
        if self.index.len() >= self.limit {
            if self.folded.len() < FOLDED_LIMIT {
                use std::hash::Hasher;
                let mut hasher = crate::hash::FastHasher::default();
                hasher.write(self.key.as_bytes());
                self.folded.insert(hasher.finish());
            }
            return OTHER;
        }
        let entry = Entry {
            name: Arc::new(RouteName {
                method: method.to_owned(),
                route: self.key[method.len() + 1..].to_owned(),
            }),
            ..Entry::default()
        };
        let index = match self.free.pop() {
            Some(index) => {
                self.entries[index as usize] = entry;
                index
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        self.index.insert(self.key.clone(), index);
        index
    }

    /// A request that began is known by another route now, or was no request.
    pub(crate) fn cancel(&mut self, index: u32) {
        if let Some(entry) = self.entries.get_mut(index as usize) {
            entry.in_flight = entry.in_flight.saturating_sub(1);
        }
    }

    /// The name of a route, shared.
    pub(crate) fn name(&self, index: u32) -> Option<&Arc<RouteName>> {
        self.entries.get(index as usize).map(|entry| &entry.name)
    }

    /// A request ended.
    pub(crate) fn end(&mut self, index: u32, time_ns: u64, finished: &RequestFinished) {
        let Some(entry) = self.entries.get_mut(index as usize) else {
            return;
        };
        entry.in_flight = entry.in_flight.saturating_sub(1);
        entry.requests += 1;
        match finished.status {
            500..=599 => entry.server_errors += 1,
            400..=499 => entry.client_errors += 1,
            0 => entry.unanswered += 1,
            _ => {}
        }
        entry.window.at(time_ns).add(&Sample {
            wall_ns: finished.wall_ns,
            ledger: &finished.ledger,
            operations: finished.operations.iter().map(|o| o.count).sum(),
            sampled: finished.operations.iter().any(|o| o.sampled),
            client: ClientTimes::of(finished),
            accept_queue_ns: finished
                .accept_queue_ns
                .filter(|_| finished.queue_unknown.is_empty()),
        });
    }

    /// Drops old figures; once per some seconds.
    pub(crate) fn tick(&mut self, now_ns: u64) {
        if now_ns < self.swept_ns.saturating_add(window::FINE_NS) {
            return;
        }
        self.swept_ns = now_ns;
        let full = self.index.len() >= self.limit;
        for index in 1..self.entries.len() {
            let entry = &mut self.entries[index];
            entry.window.expire(now_ns);
            if full && !entry.free && entry.in_flight == 0 && entry.window.is_empty() {
                let key = format!("{} {}", entry.name.method, entry.name.route);
                *entry = Entry {
                    free: true,
                    ..Entry::default()
                };
                self.index.remove(&key);
                self.free.push(index as u32);
            }
        }
    }

    /// Figures over the last `window_s` seconds (0: 60, at most 600).
    pub(crate) fn view(&self, now_ns: u64, window_s: u32) -> RoutesView {
        let Span {
            start_ns,
            covered_s,
        } = Span::back_from(now_ns, window_s, self.start_ns);
        let shown: Vec<(&Entry, Figures)> = self
            .entries
            .iter()
            .filter(|e| !e.free && (e.requests > 0 || e.in_flight > 0))
            .map(|e| (e, e.window.since(start_ns)))
            .collect();
        let all_ns: u64 = shown
            .iter()
            .fold(0, |sum, (_, figures)| sum.saturating_add(figures.total_ns));
        let mut routes: Vec<Route> = shown
            .iter()
            .map(|(entry, figures)| route(entry, figures, covered_s, all_ns))
            .collect();
        routes.sort_by(|a, b| {
            b.total_ns
                .cmp(&a.total_ns)
                .then_with(|| a.route.cmp(&b.route))
                .then_with(|| a.method.cmp(&b.method))
        });
        RoutesView {
            routes,
            folded: self.folded.len() as u64,
            folded_more: self.folded.len() >= FOLDED_LIMIT,
            window_s: covered_s,
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

fn route(entry: &Entry, figures: &Figures, covered_s: f64, all_ns: u64) -> Route {
    Route {
        method: entry.name.method.clone(),
        route: entry.name.route.clone(),
        requests: entry.requests,
        server_errors: entry.server_errors,
        client_errors: entry.client_errors,
        unanswered: entry.unanswered,
        rate_per_s: figures.requests as f64 / covered_s,
        p50_ns: figures.histogram.quantile(0.50).min(figures.max_ns),
        p95_ns: figures.histogram.quantile(0.95).min(figures.max_ns),
        p99_ns: figures.histogram.quantile(0.99).min(figures.max_ns),
        max_ns: figures.max_ns,
        total_ns: figures.total_ns,
        worker_share: if all_ns == 0 {
            0.0
        } else {
            figures.total_ns as f64 / all_ns as f64
        },
        ledger: figures.ledger(),
        operations_per_request: if figures.requests == 0 {
            0.0
        } else {
            figures.operations as f64 / figures.requests as f64
        },
        operations_sampled: figures.sampled,
        in_flight: entry.in_flight,
        head_read_ns: figures.client.head_read_ns,
        body_read_ns: figures.client.body_read_ns,
        send_ns: figures.client.send_ns,
        client_wait_ns: figures.client.wait_ns,
        accept_queue_known: figures.queued.total(),
        accept_queue_p95_ns: figures.queued.quantile(0.95).min(figures.queued_max_ns),
        accept_queue_max_ns: figures.queued_max_ns,
    }
}

#[cfg(test)]
mod tests;
