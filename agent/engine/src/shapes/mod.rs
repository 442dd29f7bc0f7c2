//! Shapes: what finished requests asked of servers, by protocol and shape over all routes, with figures over
//! a window.
//!
//! Only operations that a finished request tells are counted, so that the sums are those of the requests.
//! Bounded: what finds no place goes to the `(other)` of its protocol, and is counted. A shape that nobody
//! asked for within the longest window gives its place away.

pub(crate) mod askers;

use std::{
    collections::{HashMap, HashSet},
    hash::Hasher as _,
    sync::Arc,
};

use askers::{Askers, Sums};

use crate::{
    attribution::operations::{Counted, OTHER},
    hash::FastHasher,
    output::{RouteName, Shape},
    pipeline::ShapesView,
    routes::{
        histogram::Histogram,
        window::{self, FINE_NS, Span, Window},
    },
};

/// Shapes kept.
const LIMIT: usize = 500;
/// Hashes of folded shapes kept to count them: of more it is only known that they are more.
const FOLDED_LIMIT: usize = 8_192;

/// Figures of one slot, or of several added up.
#[derive(Debug, Default)]
struct Figures {
    count: u64,
    errors: u64,
    requests: u64,
    repeated: u64,
    total_ns: u64,
    max_ns: u64,
    sampled: bool,
    answers_sampled: bool,
    times_shared: bool,
    times: Histogram,
    askers: Askers,
}

impl window::Figures for Figures {
    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.errors += other.errors;
        self.requests += other.requests;
        self.repeated += other.repeated;
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.sampled |= other.sampled;
        self.answers_sampled |= other.answers_sampled;
        self.times_shared |= other.times_shared;
        self.times.merge(&other.times);
        self.askers.merge(&other.askers);
    }
}

#[derive(Debug)]
struct Entry {
    protocol: &'static str,
    shape: String,
    /// `None`: several.
    peer: Option<Arc<str>>,
    /// The last request that asked for it: one that asks two servers is still one. And whether it was
    /// counted as one that repeats.
    last: (u64, bool),
    window: Window<Figures>,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Shapes {
    limit: usize,
    start_ns: u64,
    /// By `PROTOCOL shape`. The hasher is the standard one: strangers choose the keys.
    entries: HashMap<String, Entry>,
    folded: HashSet<u64>,
    key: String,
    /// Requests that were counted.
    requests: u64,
    swept_ns: u64,
}

impl Shapes {
    pub(crate) fn new(start_ns: u64) -> Self {
        Self::with_limit(LIMIT, start_ns)
    }

    fn with_limit(limit: usize, start_ns: u64) -> Self {
        Self {
            limit,
            start_ns,
            entries: HashMap::new(),
            folded: HashSet::new(),
            key: String::new(),
            requests: 0,
            swept_ns: 0,
        }
    }

    /// A request of a route (if it has one) that ended, with all that it asked for.
    pub(crate) fn end(
        &mut self,
        time_ns: u64,
        route: Option<&Arc<RouteName>>,
        operations: &[Counted],
    ) {
        self.requests += 1;
        let request = self.requests;
        for counted in operations {
            let operation = &counted.operation;
            let entry = self.entry(operation.protocol, &operation.shape, &operation.peer);
            if entry
                .peer
                .as_ref()
                .is_some_and(|peer| **peer != *operation.peer)
            {
                entry.peer = None;
            }
            let again = entry.last.0 == request;
            let one_by_one = operation.is_one_by_one();
            let repeats = one_by_one && !(again && entry.last.1);
            entry.last = (request, one_by_one || (again && entry.last.1));
            let figures = entry.window.at(time_ns);
            figures.count += operation.count;
            figures.errors += operation.errors;
            figures.requests += u64::from(!again);
            figures.repeated += u64::from(repeats);
            figures.total_ns = figures.total_ns.saturating_add(operation.total_ns);
            figures.max_ns = figures.max_ns.max(operation.slowest_ns);
            figures.sampled |= operation.sampled;
            figures.answers_sampled |= operation.answers_sampled;
            figures.times_shared |= operation.times_shared;
            counted.add_times_to(&mut figures.times);
            let sums = Sums {
                requests: u64::from(!again),
                repeated: u64::from(repeats),
                count: operation.count,
                total_ns: operation.total_ns,
            };
            figures.askers.add(route, sums);
        }
    }

    fn entry(&mut self, protocol: &'static str, shape: &str, peer: &Arc<str>) -> &mut Entry {
        self.name(protocol, shape);
        let mut shape = shape;
        if shape != OTHER
            && self.entries.len() >= self.limit
            && !self.entries.contains_key(&self.key)
        {
            if self.folded.len() < FOLDED_LIMIT {
                let mut hasher = FastHasher::default();
                hasher.write(self.key.as_bytes());
                self.folded.insert(hasher.finish());
            }
            self.name(protocol, OTHER);
            shape = OTHER;
        }
        let key = std::mem::take(&mut self.key);
        self.entries.entry(key).or_insert_with(|| Entry {
            protocol,
            shape: shape.to_owned(),
            peer: (shape != OTHER).then(|| Arc::clone(peer)),
            last: (0, false),
            window: Window::default(),
        })
    }

    fn name(&mut self, protocol: &str, shape: &str) {
        self.key.clear();
        self.key.push_str(protocol);
        self.key.push(' ');
        self.key.push_str(shape);
    }

    /// Drops old figures; once per some seconds.
    pub(crate) fn tick(&mut self, now_ns: u64) {
        if now_ns < self.swept_ns.saturating_add(FINE_NS) {
            return;
        }
        self.swept_ns = now_ns;
        self.entries.retain(|_, entry| {
            entry.window.expire(now_ns);
            !entry.window.is_empty()
        });
    }

    /// Figures over the last `window_s` seconds (0: 60, at most 600).
    pub(crate) fn view(&self, now_ns: u64, window_s: u32) -> ShapesView {
        let span = Span::back_from(now_ns, window_s, self.start_ns);
        let shown: Vec<(&Entry, Figures)> = self
            .entries
            .values()
            .map(|entry| (entry, entry.window.since(span.start_ns)))
            .filter(|(_, figures)| figures.count > 0)
            .collect();
        let all_ns = shown.iter().fold(0_u64, |sum, (_, figures)| {
            sum.saturating_add(figures.total_ns)
        });
        let mut shapes: Vec<Shape> = shown
            .iter()
            .map(|(entry, figures)| shape(entry, figures, span.covered_s, all_ns))
            .collect();
        shapes.sort_by(|a, b| {
            b.total_ns
                .cmp(&a.total_ns)
                .then_with(|| a.protocol.cmp(b.protocol))
                .then_with(|| a.shape.cmp(&b.shape))
        });
        ShapesView {
            shapes,
            folded: self.folded.len() as u64,
            folded_more: self.folded.len() >= FOLDED_LIMIT,
            window_s: span.covered_s,
        }
    }
}

fn shape(entry: &Entry, figures: &Figures, covered_s: f64, all_ns: u64) -> Shape {
    Shape {
        protocol: entry.protocol,
        shape: entry.shape.clone(),
        peer: entry.peer.clone(),
        count: figures.count,
        errors: figures.errors,
        requests: figures.requests,
        repeated: figures.repeated,
        rate_per_s: figures.count as f64 / covered_s,
        total_ns: figures.total_ns,
        p50_ns: figures.times.quantile(0.50).min(figures.max_ns),
        p95_ns: figures.times.quantile(0.95).min(figures.max_ns),
        max_ns: figures.max_ns,
        time_share: if all_ns == 0 {
            0.0
        } else {
            figures.total_ns as f64 / all_ns as f64
        },
        sampled: figures.sampled,
        answers_sampled: figures.answers_sampled,
        times_shared: figures.times_shared,
        routes: figures.askers.by_time(),
    }
}

#[cfg(test)]
mod tests;
