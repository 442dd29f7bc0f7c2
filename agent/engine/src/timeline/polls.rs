//! Which requests to look up in the kernel's table, and when: the end of a keep-alive request is
//! not told by itself until the next one.

use std::collections::VecDeque;

/// A request younger than this is not looked up.
pub(crate) const FIRST_NS: u64 = 200_000_000;
/// Time between look-ups of one request.
pub(crate) const AGAIN_NS: u64 = 240_000_000;
/// Look-ups per tick at the most.
pub(crate) const PER_TICK: usize = 2_048;

/// One request: its connection and its serial number.
pub(crate) type Entry = (u64, u64);

/// Two queues in the order of their times: a constant delay keeps each sorted.
#[derive(Debug, Default)]
pub(crate) struct Polls {
    first: VecDeque<(u64, Entry)>,
    again: VecDeque<(u64, Entry)>,
}

impl Polls {
    /// A request began. Entries of requests that ended are dropped when they come up; `limit`
    /// bounds the queue, `is_open` says which to keep when it is reached.
    pub(crate) fn begun(
        &mut self,
        now_ns: u64,
        entry: Entry,
        limit: usize,
        is_open: impl Fn(&Entry) -> bool,
    ) {
        if self.first.len() >= limit {
            self.first.retain(|(_, entry)| is_open(entry));
        }
        self.first
            .push_back((now_ns.saturating_add(FIRST_NS), entry));
    }

    /// Next request to look up now.
    pub(crate) fn due(&mut self, now_ns: u64) -> Option<Entry> {
        for queue in [&mut self.again, &mut self.first] {
            if queue.front().is_some_and(|(due, _)| *due <= now_ns) {
                return queue.pop_front().map(|(_, entry)| entry);
            }
        }
        None
    }

    /// It was looked up and may still be open.
    pub(crate) fn looked_up(&mut self, now_ns: u64, entry: Entry) {
        self.again
            .push_back((now_ns.saturating_add(AGAIN_NS), entry));
    }

    /// Oldest requests first, ended ones among them.
    pub(crate) fn oldest(&self) -> impl Iterator<Item = &Entry> {
        self.again.iter().chain(&self.first).map(|(_, entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_after_the_delay_and_again() {
        let mut polls = Polls::default();
        polls.begun(1_000, (7, 1), 10, |_| true);
        assert_eq!(polls.due(FIRST_NS), None);
        assert_eq!(polls.due(FIRST_NS + 1_000), Some((7, 1)));
        assert_eq!(polls.due(u64::MAX), None);
        polls.looked_up(5, (7, 1));
        assert_eq!(polls.due(AGAIN_NS), None);
        assert_eq!(polls.due(AGAIN_NS + 5), Some((7, 1)));
    }

    #[test]
    fn bounded_when_no_tick_comes() {
        let mut polls = Polls::default();
        for n in 0..10_000 {
            polls.begun(n, (n, n), 100, |(_, serial)| {
                serial % 50 == 0 && n - serial < 500
            });
        }
        assert!(polls.first.len() <= 200);
        assert!(polls.oldest().count() <= 200);
    }
}
