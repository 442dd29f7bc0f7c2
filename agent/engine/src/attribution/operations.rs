//! What a request asked of others, grouped by shape. Bounded, whatever it asks for.

use std::sync::Arc;

use crate::{output::Operation, routes::histogram::Histogram};

/// Shapes kept per request; the rest is counted under [`OTHER`], by protocol.
const SHAPES: usize = 64;
/// The shape of what does not fit.
pub(crate) const OTHER: &str = "(other)";

/// The protocol of connections whose protocol is not known.
pub(crate) const UNKNOWN: &str = "unknown";
/// The shape of what is asked there, but for the server.
pub(crate) const NOT_UNDERSTOOD: &str = "not understood";

/// One operation that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done<'a> {
    pub(crate) protocol: &'static str,
    pub(crate) peer: &'a Arc<str>,
    pub(crate) shape: &'a str,
    pub(crate) asked_ns: u64,
    pub(crate) ns: u64,
    pub(crate) first_byte_ns: u64,
    pub(crate) rows: u64,
    pub(crate) rows_estimated: bool,
    /// Not all of its answer was seen.
    pub(crate) answer_unseen: bool,
    /// Nothing else was open on its connection when it was asked.
    pub(crate) waited_for: bool,
    /// It was answered in one read with others: how long it took itself is not known.
    pub(crate) together: bool,
    pub(crate) bytes: u64,
    pub(crate) error: Option<&'a str>,
    /// What was asked could not be read.
    pub(crate) opaque: bool,
}

/// Operations of one shape, and how their times are spread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) operation: Operation,
    /// Of those whose time is known to be their own. Empty for a single one, whose time is the total: most shapes
    /// are asked for once.
    times: Histogram,
}

impl Counted {
    /// The time of a single one is kept with those that come now.
    fn join_single(&mut self) {
        if self.operation.count == 1 && !self.operation.times_shared {
            self.times.add(self.operation.total_ns);
        }
    }

    fn add(&mut self, done: &Done<'_>) {
        self.join_single();
        let operation = &mut self.operation;
        if operation.count > 0 && !done.together && done.ns > 0 {
            self.times.add(done.ns);
        }
        if !done.together {
            operation.slowest_ns = operation.slowest_ns.max(done.ns);
        }
        operation.times_shared |= done.together;
        operation.count += 1;
        operation.sampled |= done.opaque;
        operation.rows_estimated |= done.rows_estimated;
        operation.answers_sampled |= done.answer_unseen;
        operation.round_trips += u64::from(done.waited_for);
        operation.total_ns = operation.total_ns.saturating_add(done.ns);
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

    fn merge(&mut self, other: &Self) {
        self.join_single();
        let (operation, more) = (&mut self.operation, &other.operation);
        if operation.count > 0 {
            other.add_times_to(&mut self.times);
        } else {
            self.times.merge(&other.times);
        }
        operation.count += more.count;
        operation.sampled |= more.sampled;
        operation.times_shared |= more.times_shared;
        operation.rows_estimated |= more.rows_estimated;
        operation.answers_sampled |= more.answers_sampled;
        operation.round_trips += more.round_trips;
        operation.total_ns = operation.total_ns.saturating_add(more.total_ns);
        operation.slowest_ns = operation.slowest_ns.max(more.slowest_ns);
        operation.first_byte_ns = operation.first_byte_ns.saturating_add(more.first_byte_ns);
        operation.rows = operation.rows.saturating_add(more.rows);
        operation.bytes = operation.bytes.saturating_add(more.bytes);
        operation.errors = operation.errors.saturating_add(more.errors);
        if !more.last_error.is_empty() {
            operation.last_error.clone_from(&more.last_error);
        }
    }

    /// Adds their times to `times`.
    pub(crate) fn add_times_to(&self, times: &mut Histogram) {
        if self.operation.count == 1 {
            if !self.operation.times_shared {
                times.add(self.operation.total_ns);
            }
        } else {
            times.merge(&self.times);
        }
    }
}

/// Operations by shape.
#[derive(Clone, Debug, Default)]
struct Book {
    entries: Vec<Counted>,
    /// Where the last one was counted: the next is often of the same shape.
    last: usize,
    /// Some may be missing.
    sampled: bool,
}

/// The operations of one request. What it asks for once it has begun to answer is kept apart until it has
/// written more: what comes after the last write is no part of it, and which that is only its end tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operations {
    book: Book,
    /// From when on, and what, since the last write.
    after: Option<Box<(u64, Book)>>,
}

impl Operations {
    /// Counts one.
    pub(crate) fn add(&mut self, done: &Done<'_>) {
        self.book_of(done.asked_ns).add(done);
    }

    /// Of those asked for at that time not all were seen.
    pub(crate) fn mark_sampled(&mut self, asked_ns: u64) {
        self.book_of(asked_ns).sampled = true;
    }

    /// An answer was read at that time, and what it answers was not understood: of each server one is told, and what
    /// it asked for, how often and how long, is not known.
    pub(crate) fn note_not_understood(&mut self, peer: &Arc<str>, now_ns: u64) {
        self.book_of(now_ns).note_not_understood(peer);
    }

    /// The request has written to its client before this time, and since the last operation before it.
    pub(crate) fn answered(&mut self, now_ns: u64) {
        self.commit();
        self.after = Some(Box::new((now_ns, Book::default())));
    }

    /// What was asked for since the last write is of the next: takes it out.
    pub(crate) fn take_after(&mut self) -> Self {
        let after = self.after.take();
        Self {
            book: after.map_or_else(Book::default, |after| after.1),
            after: None,
        }
    }

    fn book_of(&mut self, asked_ns: u64) -> &mut Book {
        match self.after.as_deref_mut() {
            Some((since_ns, after)) if asked_ns >= *since_ns => after,
            _ => &mut self.book,
        }
    }

    fn commit(&mut self) {
        if let Some(after) = self.after.take() {
            self.book.merge(after.1);
        }
    }

    /// All of them that were asked for before the request's end, most time first. `repeated`: from which
    /// count on a shape is.
    pub(crate) fn into_entries(mut self, repeated: u64, end_ns: u64) -> Vec<Counted> {
        if self
            .after
            .as_deref()
            .is_some_and(|(since, _)| *since > end_ns)
        {
            self.after = None;
        }
        self.commit();
        self.book.into_entries(repeated)
    }

    /// Those that are over by now, most time first, at most `limit`; and how many shapes that leaves out.
    pub(crate) fn so_far(&self, repeated: u64, limit: usize) -> (Vec<Operation>, u32) {
        if self.after.is_none() {
            return self.book.so_far(repeated, limit);
        }
        let mut all = self.clone();
        all.commit();
        all.book.so_far(repeated, limit)
    }
}

impl Book {
    fn add(&mut self, done: &Done<'_>) {
        let index = self.place(done.protocol, done.peer, done.shape);
        if let Some(entry) = self.entries.get_mut(index) {
            self.last = index;
            entry.add(done);
        }
    }

    fn note_not_understood(&mut self, peer: &Arc<str>) {
        // The server is all that tells them apart.
        let shape = format!("{NOT_UNDERSTOOD} ({peer})");
        let index = self.place(UNKNOWN, peer, &shape);
        if let Some(entry) = self.entries.get_mut(index) {
            let operation = &mut entry.operation;
            operation.count = 1;
            operation.round_trips = 1;
            operation.sampled = true;
            operation.answers_sampled = true;
        }
    }

    fn merge(&mut self, other: Self) {
        self.sampled |= other.sampled;
        for counted in &other.entries {
            let operation = &counted.operation;
            if operation.protocol == UNKNOWN {
                self.note_not_understood(&operation.peer);
                continue;
            }
            let index = self.place(operation.protocol, &operation.peer, &operation.shape);
            if let Some(entry) = self.entries.get_mut(index) {
                entry.merge(counted);
            }
        }
    }

    fn place(&mut self, protocol: &'static str, peer: &Arc<str>, shape: &str) -> usize {
        let same = |entry: &Counted| {
            let operation = &entry.operation;
            operation.shape == shape && operation.protocol == protocol && *operation.peer == **peer
        };
        if self.entries.get(self.last).is_some_and(same) {
            return self.last;
        }
        if let Some(index) = self.entries.iter().position(same) {
            return index;
        }
        let fits = self.entries.len() < SHAPES;
        let other = |entry: &Counted| {
            entry.operation.shape == OTHER && entry.operation.protocol == protocol
        };
        if !fits && let Some(index) = self.entries.iter().position(other) {
            return index;
        }
        let operation = Operation {
            protocol,
            // Of what does not fit, it may be several.
            peer: if fits { Arc::clone(peer) } else { "".into() },
            shape: if fits { shape } else { OTHER }.to_owned(),
            ..Operation::default()
        };
        self.entries.push(Counted {
            operation,
            times: Histogram::default(),
        });
        self.entries.len() - 1
    }

    fn into_entries(mut self, repeated: u64) -> Vec<Counted> {
        for entry in &mut self.entries {
            entry.operation.repeated = is_repeated(&entry.operation, repeated);
            entry.operation.sampled |= self.sampled;
        }
        self.entries
            .sort_by(|a, b| by_time(&a.operation, &b.operation));
        self.entries
    }

    fn so_far(&self, repeated: u64, limit: usize) -> (Vec<Operation>, u32) {
        let mut order: Vec<&Operation> = self.entries.iter().map(|e| &e.operation).collect();
        order.sort_by(|a, b| by_time(a, b));
        let out = u32::try_from(order.len().saturating_sub(limit)).unwrap_or(u32::MAX);
        let shown = order.into_iter().take(limit).map(|operation| Operation {
            repeated: is_repeated(operation, repeated),
            sampled: self.sampled || operation.sampled,
            ..operation.clone()
        });
        (shown.collect(), out)
    }
}

/// Of what is not known, or not told, it is not known either whether it is the same.
fn is_repeated(operation: &Operation, repeated: u64) -> bool {
    operation.count >= repeated
        && operation.shape != OTHER
        && !operation.shape.starts_with("unknown (")
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
            asked_ns: 0,
            ns,
            first_byte_ns: 1,
            rows: 2,
            bytes: 3,
            error: None,
            opaque: false,
            rows_estimated: false,
            answer_unseen: false,
            waited_for: true,
            together: false,
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
        let entries = operations.into_entries(10, 0);
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
        let entries = operations.into_entries(10, 0);
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
                .all(|e| e.operation.peer.is_empty() && !e.operation.repeated)
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
            operations.into_entries(10, 0)[0].add_times_to(&mut times);
            assert_eq!(times.total(), count);
            let median = count.div_ceil(2) * 1_000_000;
            assert!(
                times.quantile(0.5).abs_diff(median) < median / 25,
                "{count}"
            );
        }
    }

    #[test]
    fn what_is_kept_apart_for_a_while_loses_nothing() {
        let all = |parts: &[&[u64]]| {
            let mut operations = Operations::default();
            for part in parts {
                for ns in *part {
                    add(&mut operations, "redis", "a", "GET ?", *ns);
                }
                operations.answered(0);
            }
            let mut entry = operations.into_entries(10, 1).remove(0);
            let mut times = Histogram::default();
            entry.add_times_to(&mut times);
            entry.times = Histogram::default();
            (entry.operation, times.total(), times.quantile(0.5))
        };
        let whole = all(&[&[5_000, 6_000, 7_000]]);
        assert_eq!((whole.0.bytes, whole.0.rows, whole.1), (9, 6, 3));
        assert_eq!(all(&[&[5_000], &[6_000, 7_000]]), whole);
        assert_eq!(all(&[&[], &[5_000, 6_000], &[7_000]]), whole);
        assert_eq!(all(&[&[5_000], &[6_000], &[7_000]]), whole);
    }

    #[test]
    fn what_comes_after_the_last_write_is_left_out() {
        let at = |operations: &mut Operations, shape: &str, asked_ns: u64| {
            operations.add(&Done {
                protocol: "redis",
                peer: &"a".into(),
                shape,
                asked_ns,
                ns: 5,
                first_byte_ns: 1,
                rows: 1,
                error: None,
                opaque: false,
                rows_estimated: false,
                answer_unseen: false,
                waited_for: true,
                together: false,
                bytes: 0,
            });
        };
        // Asked at 10 and 15, written at 20, asked at 30 and 35, perhaps written at 40.
        let mut operations = Operations::default();
        at(&mut operations, "GET ?", 10);
        operations.answered(30);
        at(&mut operations, "GET ?", 15);
        at(&mut operations, "GET ?", 30);
        at(&mut operations, "SET ?", 35);
        operations.mark_sampled(35);
        let counts = |operations: &Operations, end_ns: u64| {
            let entries = operations.clone().into_entries(10, end_ns);
            let told = entries.into_iter().map(|e| {
                let mut times = Histogram::default();
                e.add_times_to(&mut times);
                assert_eq!(times.total(), e.operation.count);
                (e.operation.shape, e.operation.count, e.operation.sampled)
            });
            told.collect::<Vec<_>>()
        };
        assert_eq!(counts(&operations, 20), [("GET ?".to_owned(), 2, false)]);
        let all = [("GET ?".to_owned(), 3, true), ("SET ?".to_owned(), 1, true)];
        assert_eq!(counts(&operations, 40), all);
        // It goes on after that write.
        operations.answered(50);
        at(&mut operations, "SET ?", 50);
        assert_eq!(counts(&operations, 40), all);
        assert_eq!(operations.so_far(10, 9).0[0].count, 3);
        let more = [("GET ?".to_owned(), 3, true), ("SET ?".to_owned(), 2, true)];
        assert_eq!(counts(&operations, 60), more);
    }
}
