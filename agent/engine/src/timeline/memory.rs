//! How much memory a process has, as it was seen over time.

use crate::{input::MemoryFact, output::WorkerMemory};

/// Between two looks of the outside at the same process, ns: each walks its page tables.
const PAUSE_NS: u64 = 10_000_000_000;

/// Memory of one process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// When the outside was asked last, monotonic; 0: never.
    asked_ns: u64,
    first: u64,
    last: u64,
    peak: u64,
    fact: Option<MemoryFact>,
}

impl Memory {
    /// It had so many bytes resident; 0: not known.
    pub(crate) fn note(&mut self, resident: u64) {
        if resident == 0 {
            return;
        }
        if self.first == 0 {
            self.first = resident;
        }
        self.last = resident;
        self.peak = self.peak.max(resident);
    }

    /// The outside has looked.
    pub(crate) fn found(&mut self, fact: MemoryFact) {
        self.note(fact.resident);
        self.fact = Some(fact);
    }

    /// When the outside was asked last; `None`: that is not long ago.
    pub(crate) fn due(&self, now_ns: u64) -> Option<u64> {
        (self.asked_ns == 0 || now_ns >= self.asked_ns.saturating_add(PAUSE_NS))
            .then_some(self.asked_ns)
    }

    /// It is asked now.
    pub(crate) fn asked(&mut self, now_ns: u64) {
        self.asked_ns = now_ns.max(1);
    }

    /// For people.
    pub(crate) fn figures(&self) -> WorkerMemory {
        let fact = self.fact.unwrap_or_default();
        WorkerMemory {
            resident: self.last,
            growth: self.last.cast_signed() - self.first.cast_signed(),
            peak: self.peak,
            proportional: fact.proportional,
            shared: fact.shared,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_since_the_first_look_and_the_peak_stays() {
        let mut memory = Memory::default();
        assert_eq!(memory.figures(), WorkerMemory::default());
        for resident in [0, 100, 500, 0, 80] {
            memory.note(resident);
        }
        let figures = memory.figures();
        assert_eq!(
            (figures.resident, figures.growth, figures.peak),
            (80, -20, 500)
        );
        memory.found(MemoryFact {
            at_ns: 7,
            resident: 90,
            proportional: 60,
            shared: 40,
        });
        let figures = memory.figures();
        assert_eq!(
            (figures.resident, figures.proportional, figures.shared),
            (90, 60, 40)
        );
    }

    #[test]
    fn looks_are_seconds_apart() {
        let mut memory = Memory::default();
        assert_eq!(memory.due(5), Some(0));
        memory.asked(5);
        assert_eq!(memory.due(PAUSE_NS), None);
        assert_eq!(memory.due(PAUSE_NS + 5), Some(5));
    }
}
