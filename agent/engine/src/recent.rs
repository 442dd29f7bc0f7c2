//! A map with a bound. When it is full, an entry that was not used for long goes: by the clock rule
//! (second chance), so that a use costs no more than setting a mark, and making room no more than the
//! uses that were marked.

use std::collections::VecDeque;

use crate::hash::FastMap;

/// Entries by an id that the kernel gave out.
#[derive(Debug)]
pub(crate) struct Recent<V> {
    limit: usize,
    /// The entry, and whether it was used since `order` was last gone through.
    map: FastMap<u64, (V, bool)>,
    /// Every id once, those that may go first in front.
    order: VecDeque<u64>,
}

impl<V> Recent<V> {
    /// Room for `limit` entries, at least one.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            map: FastMap::default(),
            order: VecDeque::new(),
        }
    }

    /// Looks without using it.
    pub(crate) fn get(&self, id: u64) -> Option<&V> {
        self.map.get(&id).map(|(value, _)| value)
    }

    /// Uses the entry, if there is one.
    pub(crate) fn known(&mut self, id: u64) -> Option<&mut V> {
        let (value, used) = self.map.get_mut(&id)?;
        *used = true;
        Some(value)
    }

    /// Uses the entry, made when it is new; and the one that had to go for it.
    pub(crate) fn entry(&mut self, id: u64, make: impl FnOnce() -> V) -> (&mut V, Option<V>) {
        let mut gone = None;
        let is_new = !self.map.contains_key(&id);
        if is_new {
            if self.map.len() >= self.limit {
                gone = self.make_room();
            }
            self.order.push_back(id);
        }
        let (value, used) = self.map.entry(id).or_insert_with(|| (make(), false));
        *used = !is_new;
        (value, gone)
    }

    fn make_room(&mut self) -> Option<V> {
        while let Some(id) = self.order.pop_front() {
            match self.map.get_mut(&id) {
                Some((_, used)) if *used => {
                    *used = false;
                    self.order.push_back(id);
                }
                Some(_) => return self.map.remove(&id).map(|(value, _)| value),
                None => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays() {
        let mut recent = Recent::new(100);
        for id in 0..10_000 {
            // One of the first is used all the time.
            let (value, gone) = recent.entry(7, || 7);
            assert_eq!((*value, gone), (7, None));
            let (_, gone) = recent.entry(id + 1_000, || id + 1_000);
            assert_ne!(gone, Some(7), "{id}");
            assert!(recent.map.len() <= 100 && recent.order.len() == recent.map.len());
        }
        assert_eq!(recent.get(7), Some(&7));
        assert_eq!(recent.get(10_999), Some(&10_999));
        assert_eq!(recent.get(1_000), None);
    }

    #[test]
    fn the_oldest_goes_where_all_were_used() {
        let mut recent = Recent::new(3);
        for id in [1, 2, 3, 1, 2, 3] {
            let (_, gone) = recent.entry(id, || id);
            assert_eq!(gone, None);
        }
        assert_eq!(recent.entry(4, || 4).1, Some(1));
        assert_eq!(recent.entry(5, || 5).1, Some(2));
        assert_eq!(recent.entry(3, || 0).1, None);
    }
}
