//! What a request asked of others, grouped by shape.

use std::sync::Arc;

use crate::output::Operation;

/// Shapes kept per request; the rest is counted under [`OTHER`].
const SHAPES: usize = 64;
/// The shape of what does not fit.
const OTHER: &str = "(other)";
/// A shape asked for at least this often in one request is repeated.
pub(crate) const REPEATED: u64 = 10;

/// One operation that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done<'a> {
    pub(crate) protocol: &'static str,
    pub(crate) peer: &'a Arc<str>,
    pub(crate) shape: &'a str,
    pub(crate) ns: u64,
    pub(crate) first_byte_ns: u64,
    pub(crate) rows: u64,
    pub(crate) error: Option<&'a str>,
    /// What was asked could not be read.
    pub(crate) opaque: bool,
}

/// The operations of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operations {
    entries: Vec<Operation>,
    /// Where the last one was counted: the next is often of the same shape.
    last: usize,
    /// Some may be missing.
    sampled: bool,
}

impl Operations {
    /// Counts one.
    pub(crate) fn add(&mut self, done: &Done<'_>) {
        let index = self.place(done);
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        self.last = index;
        entry.count += 1;
        entry.sampled |= done.opaque;
        entry.total_ns = entry.total_ns.saturating_add(done.ns);
        entry.slowest_ns = entry.slowest_ns.max(done.ns);
        entry.first_byte_ns = entry.first_byte_ns.saturating_add(done.first_byte_ns);
        entry.rows = entry.rows.saturating_add(done.rows);
        if let Some(error) = done.error {
            entry.errors += 1;
            if entry.last_error != error {
                error.clone_into(&mut entry.last_error);
            }
        }
    }

    /// Not all of them were seen.
    pub(crate) fn mark_sampled(&mut self) {
        self.sampled = true;
    }

    fn place(&mut self, done: &Done<'_>) -> usize {
        let same = |entry: &Operation, shape: &str| {
            entry.shape == shape && entry.protocol == done.protocol && *entry.peer == **done.peer
        };
        if self
            .entries
            .get(self.last)
            .is_some_and(|e| same(e, done.shape))
        {
            return self.last;
        }
        let found = self.entries.iter().position(|e| same(e, done.shape));
        if let Some(index) = found {
            return index;
        }
        let shape = if self.entries.len() < SHAPES {
            done.shape
        } else {
            OTHER
        };
        let other = self.entries.iter().position(|e| same(e, shape));
        other.unwrap_or_else(|| {
            self.entries.push(Operation {
                protocol: done.protocol,
                peer: Arc::clone(done.peer),
                shape: shape.to_owned(),
                ..Operation::default()
            });
            self.entries.len() - 1
        })
    }

    /// All of them, most time first.
    pub(crate) fn into_entries(mut self) -> Vec<Operation> {
        for entry in &mut self.entries {
            entry.repeated = entry.count >= REPEATED;
            entry.sampled |= self.sampled;
        }
        self.entries
            .sort_by(|a, b| b.total_ns.cmp(&a.total_ns).then(b.count.cmp(&a.count)));
        self.entries
    }
}
