//! What a request asked of others, grouped by shape. Bounded, whatever it asks for.

use std::sync::Arc;

use crate::{output::Operation, routes::histogram::Histogram};

/// Shapes kept per request; the rest is counted under [`OTHER`], by protocol.
const SHAPES: usize = 64;
/// The shape of what does not fit.
pub(crate) const OTHER: &str = "(other)";

/// One operation that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done<'a> {
    pub(crate) protocol: &'static str,
    pub(crate) peer: &'a Arc<str>,
    pub(crate) shape: &'a str,
    pub(crate) ns: u64,
    pub(crate) first_byte_ns: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) error: Option<&'a str>,
    /// What was asked could not be read.
    pub(crate) opaque: bool,
}

/// Operations of one shape, and how their times are spread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) operation: Operation,
    /// Empty for a single one, whose time is the total: most shapes are asked for once.
    times: Histogram,
}

impl Counted {
    fn add(&mut self, done: &Done<'_>) {
        let operation = &mut self.operation;
        if operation.count == 1 {
            self.times.add(operation.total_ns);
        }
        if operation.count > 0 {
            self.times.add(done.ns);
        }
        operation.count += 1;
        operation.sampled |= done.opaque;
        operation.total_ns = operation.total_ns.saturating_add(done.ns);
        operation.slowest_ns = operation.slowest_ns.max(done.ns);
        operation.first_byte_ns = operation.first_byte_ns.saturating_add(done.first_byte_ns);
        operation.rows = operation.rows.saturating_add(done.rows);
        operation.bytes = operation.bytes.saturating_add(done.bytes);
        if let Some(error) = done.error {
            operation.errors += 1;
            if operation.last_error != error {
                error.clone_into(&mut operation.last_error);
            }
        }
    }

    /// Adds their times to `times`.
    pub(crate) fn add_times_to(&self, times: &mut Histogram) {
        if self.operation.count == 1 {
            times.add(self.operation.total_ns);
        } else {
            times.merge(&self.times);
        }
    }
}

/// The operations of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operations {
    entries: Vec<Counted>,
    /// Where the last one was counted: the next is often of the same shape.
    last: usize,
    /// Some may be missing.
    sampled: bool,
}

impl Operations {
    /// Counts one.
    pub(crate) fn add(&mut self, done: &Done<'_>) {
        let index = self.place(done);
        if let Some(entry) = self.entries.get_mut(index) {
            self.last = index;
            entry.add(done);
        }
    }

    /// Not all of them were seen.
    pub(crate) fn mark_sampled(&mut self) {
        self.sampled = true;
    }

    fn place(&mut self, done: &Done<'_>) -> usize {
        let same = |entry: &Counted| {
            let operation = &entry.operation;
            operation.shape == done.shape
                && operation.protocol == done.protocol
                && *operation.peer == **done.peer
        };
        if self.entries.get(self.last).is_some_and(same) {
            return self.last;
        }
        if let Some(index) = self.entries.iter().position(same) {
            return index;
        }
        let fits = self.entries.len() < SHAPES;
        let other = |entry: &Counted| {
            entry.operation.shape == OTHER && entry.operation.protocol == done.protocol
        };
        if !fits && let Some(index) = self.entries.iter().position(other) {
            return index;
        }
        let operation = Operation {
            protocol: done.protocol,
            // Of what does not fit, it may be several.
            peer: if fits {
                Arc::clone(done.peer)
            } else {
                "".into()
            },
            shape: if fits { done.shape } else { OTHER }.to_owned(),
            ..Operation::default()
        };
        self.entries.push(Counted {
            operation,
            times: Histogram::default(),
        });
        self.entries.len() - 1
    }

    /// All of them, most time first. `repeated`: from which count on a shape is.
    pub(crate) fn into_entries(mut self, repeated: u64) -> Vec<Counted> {
        for entry in &mut self.entries {
            entry.operation.repeated = entry.operation.count >= repeated;
            entry.operation.sampled |= self.sampled;
        }
        self.entries
            .sort_by(|a, b| by_time(&a.operation, &b.operation));
        self.entries
    }

    /// Those that are over by now, most time first, at most `limit`; and how many shapes that leaves out.
    pub(crate) fn so_far(&self, repeated: u64, limit: usize) -> (Vec<Operation>, u32) {
        let mut order: Vec<&Operation> = self.entries.iter().map(|e| &e.operation).collect();
        order.sort_by(|a, b| by_time(a, b));
        let out = u32::try_from(order.len().saturating_sub(limit)).unwrap_or(u32::MAX);
        let shown = order.into_iter().take(limit).map(|operation| Operation {
            repeated: operation.count >= repeated,
            sampled: self.sampled || operation.sampled,
            ..operation.clone()
        });
        (shown.collect(), out)
    }
}

fn by_time(a: &Operation, b: &Operation) -> std::cmp::Ordering {
    b.total_ns.cmp(&a.total_ns).then(b.count.cmp(&a.count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(operations: &mut Operations, protocol: &'static str, peer: &str, shape: &str, ns: u64) {
        operations.add(&Done {
            protocol,
            peer: &peer.into(),
            shape,
            ns,
            first_byte_ns: 1,
            rows: 2,
            bytes: 3,
            error: None,
            opaque: false,
        });
    }

    #[test]
    fn grouped_by_shape_and_server_most_time_first() {
        let mut operations = Operations::default();
        for n in 1..=10 {
            add(&mut operations, "redis", "a", "GET ?", n);
            add(&mut operations, "redis", "b", "GET ?", 100);
        }
        add(&mut operations, "redis", "a", "SET ?", 2_000);
        let (so_far, left_out) = operations.so_far(10, 2);
        assert_eq!((so_far.len(), left_out), (2, 1));
        assert_eq!((&*so_far[0].shape, so_far[0].repeated), ("SET ?", false));
        let entries = operations.into_entries(10);
        let told: Vec<_> = entries
            .iter()
            .map(|e| {
                (
                    &*e.operation.peer,
                    e.operation.count,
                    e.operation.total_ns,
                    e.operation.slowest_ns,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("a", 1, 2_000, 2_000),
                ("b", 10, 1_000, 100),
                ("a", 10, 55, 10)
            ]
        );
        let repeated: Vec<bool> = entries.iter().map(|e| e.operation.repeated).collect();
        assert_eq!(repeated, [false, true, true]);
        assert_eq!(so_far[1], entries[1].operation);
    }

    #[test]
    fn endless_shapes_and_servers_are_one_entry_per_protocol() {
        let mut operations = Operations::default();
        for n in 0..10_000 {
            add(
                &mut operations,
                "redis",
                &format!("10.0.0.1:{n}"),
                &format!("X{n}"),
                1,
            );
            add(&mut operations, "postgresql", &n.to_string(), "select", 1);
        }
        let entries = operations.into_entries(10);
        assert_eq!(entries.len(), SHAPES + 2);
        let count: u64 = entries.iter().map(|e| e.operation.count).sum();
        assert_eq!(count, 20_000);
        let others: Vec<_> = entries
            .iter()
            .filter(|e| e.operation.shape == OTHER)
            .collect();
        assert_eq!(others.len(), 2);
        assert!(
            others
                .iter()
                .all(|e| e.operation.peer.is_empty() && e.operation.repeated)
        );
    }

    #[test]
    fn all_times_are_kept() {
        for count in [1_u64, 2, 3, 100] {
            let mut operations = Operations::default();
            for n in 1..=count {
                add(&mut operations, "redis", "a", "GET ?", n * 1_000_000);
            }
            let mut times = Histogram::default();
            operations.into_entries(10)[0].add_times_to(&mut times);
            assert_eq!(times.total(), count);
            let median = count.div_ceil(2) * 1_000_000;
            assert!(
                times.quantile(0.5).abs_diff(median) < median / 25,
                "{count}"
            );
        }
    }
}
