//! Words in memory that threads wait on (futexes): who waited, who was woken by whom, and what that tells of who held a
//! lock.
//!
//! The kernel knows no owner of a futex, and no difference between a lock and an event. A word shows a lock where a
//! thread that was woken on it has later woken another on it: it had been let in, and let the next one in. Then whoever
//! wakes has held the lock since the waking before, so the wakings during a wait cut it into the times of its holders.
//! Waiting threads are woken in their order: one that is woken during another's wait has waited as long as that, so its
//! record, which only long waits have, is there.

use std::collections::VecDeque;

use crate::{hash::mix, recent::Recent};

/// Words kept.
const WORDS: usize = 4_096;
/// Waits kept of each.
const PAST: usize = 32;
/// Memory is used again for other things: what a word showed holds for so long.
const MEMORY_NS: u64 = 60_000_000_000;
/// Times that threads must have let each other in, where none was seen to wait behind another.
const TURNS: u64 = 2;
/// The same, to be sure.
const TURNS_CERTAIN: u64 = 3;

/// A thread, by process and thread id.
pub(crate) type Who = (u32, u32);

/// A wait that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Past {
    pub(crate) who: Who,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    /// Who ended it; thread 0: not known.
    pub(crate) waker: Who,
}

/// Who held the lock for most of a wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Held {
    pub(crate) who: Who,
    /// How long.
    pub(crate) ns: u64,
    /// When he let it go for the last time in the wait.
    pub(crate) until_ns: u64,
    /// Times that the word behaved like a lock.
    pub(crate) turns: u64,
    /// That it is a lock is beyond doubt.
    pub(crate) certain: bool,
}

#[derive(Debug)]
struct Word {
    key: (u32, u64),
    past: VecDeque<Past>,
    /// Times that a thread which was woken has woken another.
    turns: u64,
    /// The other was waiting already when the first was let in: no two events do that.
    queued: bool,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Locks {
    words: Recent<Word>,
}

impl Default for Locks {
    fn default() -> Self {
        Self {
            words: Recent::new(WORDS),
        }
    }
}

impl Locks {
    /// A wait on a word of a process's memory is over: who held it, where it shows a lock.
    pub(crate) fn waited(&mut self, key: (u32, u64), past: Past) -> Option<Held> {
        let make = || Word {
            key,
            past: VecDeque::new(),
            turns: 0,
            queued: false,
        };
        let id = mix(key.1) ^ mix(u64::from(key.0) << 32);
        let (word, _) = self.words.entry(id, make);
        let stale = word.past.back();
        let stale = stale.is_some_and(|it| it.end_ns + MEMORY_NS < past.end_ns);
        if word.key != key || stale {
            *word = make();
        }
        word.learn(&past);
        let held = word.holder(&past);
        if word.past.len() == PAST {
            word.past.pop_front();
        }
        word.past.push_back(past);
        held
    }
}

impl Word {
    /// Whether who has ended the wait had been let in before.
    fn learn(&mut self, past: &Past) {
        if past.waker.1 == 0 || past.waker == past.who {
            return;
        }
        let mut before = self.past.iter().rev();
        let before = before.find(|it| it.who == past.waker && it.end_ns <= past.end_ns);
        if let Some(before) = before {
            self.turns = self.turns.saturating_add(1);
            self.queued |= before.end_ns > past.start_ns;
        }
    }

    fn holder(&self, past: &Past) -> Option<Held> {
        if past.waker.1 == 0 || !self.queued && self.turns < TURNS {
            return None;
        }
        let within = |it: &&Past| it.end_ns > past.start_ns && it.end_ns < past.end_ns;
        let mut ends: Vec<(u64, Who)> = self
            .past
            .iter()
            .filter(within)
            .filter(|it| it.waker.1 != 0)
            .map(|it| (it.end_ns, it.waker))
            .collect();
        ends.push((past.end_ns, past.waker));
        ends.sort_unstable();
        let mut sums: Vec<(Who, u64, u64)> = Vec::new();
        let mut from = past.start_ns;
        for (end, who) in ends {
            let ns = end.saturating_sub(from);
            match sums.iter_mut().find(|it| it.0 == who) {
                Some(sum) => (sum.1, sum.2) = (sum.1 + ns, end),
                None => sums.push((who, ns, end)),
            }
            from = end;
        }
        let (who, ns, until_ns) = sums.into_iter().max_by_key(|it| it.1)?;
        Some(Held {
            who,
            ns,
            until_ns,
            turns: self.turns,
            certain: self.queued || self.turns >= TURNS_CERTAIN,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: (u32, u64) = (1, 0x7f00);

    fn past(tid: u32, start_ns: u64, end_ns: u64, waker: u32) -> Past {
        Past {
            who: (1, tid),
            start_ns,
            end_ns,
            waker: (u32::from(waker != 0), waker),
        }
    }

    #[test]
    fn an_event_has_no_holder() {
        let mut locks = Locks::default();
        // A producer wakes one consumer after the other.
        for n in 0..100 {
            let wait = past(10 + n as u32 % 3, n * 100, n * 100 + 90, 7);
            assert_eq!(locks.waited(WORD, wait), None);
        }
    }

    #[test]
    fn who_was_let_in_and_lets_the_next_in_held_a_lock() {
        let mut locks = Locks::default();
        // 5 has it, 6 and 7 wait.
        assert_eq!(locks.waited(WORD, past(6, 100, 200, 5)), None);
        let held = locks.waited(WORD, past(7, 110, 1_000, 6)).unwrap();
        assert_eq!((held.who, held.ns), ((1, 6), 800));
        assert!(held.certain);
        assert_eq!(held.until_ns, 1_000);
    }

    #[test]
    fn wakings_cut_a_wait_into_the_times_of_holders() {
        let mut locks = Locks::default();
        locks.waited(WORD, past(6, 100, 700, 5));
        locks.waited(WORD, past(7, 101, 800, 6));
        // The last to let it go had it for the shortest time.
        let held = locks.waited(WORD, past(8, 102, 900, 7)).unwrap();
        assert_eq!((held.who, held.ns, held.until_ns), ((1, 5), 598, 700));
        // One that came back counts once.
        locks.waited(WORD, past(5, 750, 1_000, 8));
        let held = locks.waited(WORD, past(6, 850, 1_090, 5)).unwrap();
        assert_eq!((held.who, held.ns), ((1, 8), 100));
    }

    #[test]
    fn taking_turns_shows_a_lock_after_a_while() {
        let mut locks = Locks::default();
        let mut known = Vec::new();
        for n in 0..6_u64 {
            let (who, waker) = if n % 2 == 0 { (5, 6) } else { (6, 5) };
            let held = locks.waited(WORD, past(who, n * 100, n * 100 + 50, waker));
            known.push(held.map(|it| it.certain));
        }
        let expected = [None, None, Some(false), Some(true), Some(true), Some(true)];
        assert_eq!(known, expected);
        // The memory may be something else by now.
        let late = MEMORY_NS + 1_000;
        assert_eq!(locks.waited(WORD, past(5, late, late + 50, 6)), None);
    }

    #[test]
    fn a_wait_that_nobody_ended_has_no_holder() {
        let mut locks = Locks::default();
        locks.waited(WORD, past(6, 100, 200, 5));
        locks.waited(WORD, past(7, 110, 300, 6));
        assert_eq!(locks.waited(WORD, past(8, 120, 400, 0)), None);
    }

    #[test]
    fn words_of_two_processes_are_two() {
        let mut locks = Locks::default();
        locks.waited(WORD, past(6, 100, 200, 5));
        assert_eq!(locks.waited((2, WORD.1), past(7, 110, 300, 6)), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut locks = Locks::default();
        for n in 0..3 * WORDS as u64 {
            locks.waited((1, n), past(6, n, n + 1, 5));
        }
        for n in 0..1_000 {
            locks.waited(WORD, past(6, n, n + 1, 5));
        }
        let id = mix(WORD.1) ^ mix(u64::from(WORD.0) << 32);
        assert_eq!(locks.words.get(id).unwrap().past.len(), PAST);
    }
}
