//! Programs: what was started, by command over all processes, with figures over a window.
//!
//! A run counts when it ends; what runs is counted beside. Bounded: what finds no place goes to `(other)`, and is
//! counted. A command that did not run within the longest window gives its place away.

use std::{
    collections::{HashMap, HashSet},
    hash::Hasher as _,
    sync::Arc,
};

use crate::{
    hash::FastHasher,
    output::{self, ProgramRoute},
    pipeline::ProgramsView,
    routes::{
        histogram::Histogram,
        window::{self, FINE_NS, Span, Window},
    },
    shapes::askers::{Askers, Sums},
    timeline::programs::Program,
};

/// Commands kept.
const LIMIT: usize = 500;
/// What stands for the others.
const OTHER: &str = "(other)";
/// Hashes of folded commands kept to count them.
const FOLDED_LIMIT: usize = 8_192;

/// Figures of one slot, or of several added up.
#[derive(Debug, Default)]
struct Figures {
    count: u64,
    failures: u64,
    cpu_ns: u64,
    wall_ns: u64,
    waited_ns: u64,
    max_ns: u64,
    files_opened: u64,
    walls: Histogram,
    startups: Histogram,
    askers: Askers,
}

impl window::Figures for Figures {
    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.failures += other.failures;
        self.cpu_ns = self.cpu_ns.saturating_add(other.cpu_ns);
        self.wall_ns = self.wall_ns.saturating_add(other.wall_ns);
        self.waited_ns = self.waited_ns.saturating_add(other.waited_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.files_opened = self.files_opened.saturating_add(other.files_opened);
        self.walls.merge(&other.walls);
        self.startups.merge(&other.startups);
        self.askers.merge(&other.askers);
    }
}

/// The table.
#[derive(Debug)]
pub(crate) struct ProgramTable {
    limit: usize,
    start_ns: u64,
    /// By command. The hasher is the standard one: strangers choose the keys.
    entries: HashMap<Arc<str>, Window<Figures>>,
    folded: HashSet<u64>,
    swept_ns: u64,
}

impl ProgramTable {
    pub(crate) fn new(start_ns: u64) -> Self {
        Self::with_limit(LIMIT, start_ns)
    }

    fn with_limit(limit: usize, start_ns: u64) -> Self {
        Self {
            limit,
            start_ns,
            entries: HashMap::new(),
            folded: HashSet::new(),
            swept_ns: 0,
        }
    }

    /// A process that ran a program has ended.
    pub(crate) fn end(&mut self, time_ns: u64, program: &Program) {
        let figures = self.figures(time_ns, &program.command);
        let wall_ns = program.wall_ns(program.ended_ns);
        figures.count += 1;
        figures.failures += u64::from(program.code != 0);
        figures.cpu_ns = figures
            .cpu_ns
            .saturating_add(program.cpu_ns(program.ended_ns));
        figures.wall_ns = figures.wall_ns.saturating_add(wall_ns);
        figures.max_ns = figures.max_ns.max(wall_ns);
        figures.files_opened += u64::from(program.files_opened);
        figures.walls.add(wall_ns);
        if program.startup_ns() > 0 {
            figures.startups.add(program.startup_ns());
        }
        let sums = Sums {
            requests: 0,
            repeated: 0,
            count: 1,
            total_ns: wall_ns,
        };
        figures.askers.add(program.route.as_ref(), sums);
    }

    /// A request that has ended has waited for a run of that command.
    pub(crate) fn waited(&mut self, time_ns: u64, command: &Arc<str>, ns: u64) {
        if ns > 0 {
            let figures = self.figures(time_ns, command);
            figures.waited_ns = figures.waited_ns.saturating_add(ns);
        }
    }

    fn figures(&mut self, time_ns: u64, command: &Arc<str>) -> &mut Figures {
        let mut key = Arc::clone(command);
        if self.entries.len() >= self.limit && !self.entries.contains_key(&key) {
            if self.folded.len() < FOLDED_LIMIT {
                let mut hasher = FastHasher::default();
                hasher.write(key.as_bytes());
                self.folded.insert(hasher.finish());
            }
            key = OTHER.into();
        }
        self.entries.entry(key).or_default().at(time_ns)
    }

    /// Drops old figures; once per some seconds.
    pub(crate) fn tick(&mut self, now_ns: u64) {
        if now_ns < self.swept_ns.saturating_add(FINE_NS) {
            return;
        }
        self.swept_ns = now_ns;
        self.entries.retain(|_, window| {
            window.expire(now_ns);
            !window.is_empty()
        });
    }

    /// Figures over the last `window_s` seconds (0: 60, at most 600). Those first that cost most: CPU time, and time
    /// that requests waited for them.
    pub(crate) fn view<'a>(
        &self,
        now_ns: u64,
        window_s: u32,
        living: impl Iterator<Item = &'a Program>,
    ) -> ProgramsView {
        let span = Span::back_from(now_ns, window_s, self.start_ns);
        let mut running: HashMap<&str, u32> = HashMap::new();
        for program in living.filter(|it| it.exec_ns != 0 && !it.serves) {
            let known = self.entries.contains_key(&program.command);
            let command = if known || self.entries.len() < self.limit {
                &*program.command
            } else {
                OTHER
            };
            *running.entry(command).or_default() += 1;
        }
        let mut programs = Vec::new();
        for (command, window) in &self.entries {
            let figures = window.since(span.start_ns);
            let running = running.remove(&**command).unwrap_or(0);
            if figures.count > 0 || figures.waited_ns > 0 || running > 0 {
                programs.push(row(Arc::clone(command), &figures, running, span.covered_s));
            }
        }
        for (command, count) in running {
            let none = Figures::default();
            programs.push(row(command.into(), &none, count, span.covered_s));
        }
        programs.sort_by(|a, b| {
            let cost = |it: &output::Program| it.cpu_ns.saturating_add(it.waited_ns);
            cost(b)
                .cmp(&cost(a))
                .then_with(|| b.wall_ns.cmp(&a.wall_ns))
                .then_with(|| a.command.cmp(&b.command))
        });
        programs.truncate(2 * self.limit);
        ProgramsView {
            programs,
            folded: self.folded.len() as u64,
            folded_more: self.folded.len() >= FOLDED_LIMIT,
            window_s: span.covered_s,
        }
    }
}

fn row(command: Arc<str>, figures: &Figures, running: u32, covered_s: f64) -> output::Program {
    let routes = figures.askers.by_time();
    output::Program {
        command,
        count: figures.count,
        rate_per_s: figures.count as f64 / covered_s,
        running,
        failures: figures.failures,
        cpu_ns: figures.cpu_ns,
        wall_ns: figures.wall_ns,
        waited_ns: figures.waited_ns,
        wall_p50_ns: figures.walls.quantile(0.50).min(figures.max_ns),
        wall_p95_ns: figures.walls.quantile(0.95).min(figures.max_ns),
        wall_max_ns: figures.max_ns,
        started_up: figures.startups.total(),
        startup_p50_ns: figures.startups.quantile(0.50),
        startup_p95_ns: figures.startups.quantile(0.95),
        files_opened: figures.files_opened,
        routes: routes
            .into_iter()
            .map(|route| ProgramRoute {
                name: route.name,
                count: route.count,
                wall_ns: route.total_ns,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::RouteName;
    use whyslow_abi::{account::Account, totals::Totals};

    const MS: u64 = 1_000_000;
    const S: u64 = 1_000 * MS;

    fn run(command: &str, wall_ns: u64, cpu_ns: u64) -> Program {
        let mut program = Program::new(7, 1, S, 0);
        program.exec(S, command.into());
        let mut totals = Totals::ZERO;
        totals.ns[Account::Cpu as usize] = cpu_ns;
        program.thread_ended(true, &totals, (S + wall_ns / 2, 3));
        program.ended_ns = S + wall_ns;
        program
    }

    #[test]
    fn a_storm_of_helpers_is_the_first_line() {
        let mut table = ProgramTable::new(0);
        let route = Arc::new(RouteName {
            method: "GET".to_owned(),
            route: "/".to_owned(),
        });
        for n in 0..50 {
            let mut helper = run("python3 helper.py", 1_400 * MS, 900 * MS);
            helper.route = Some(Arc::clone(&route));
            helper.code = u32::from(n == 0);
            table.end(2 * S, &helper);
        }
        table.end(2 * S, &run("backup", 40 * S, S));
        table.waited(2 * S, &"python3 helper.py".into(), 70 * S);
        let idle = run("daemon", 1, 1);
        let view = table.view(3 * S, 0, std::iter::once(&idle));
        let first = &view.programs[0];
        assert_eq!(
            (&*first.command, first.count, first.failures),
            ("python3 helper.py", 50, 1)
        );
        assert_eq!((first.cpu_ns, first.waited_ns), (45 * S, 70 * S));
        assert_eq!(
            (first.wall_p50_ns, first.startup_p50_ns),
            (1_400 * MS, 700 * MS)
        );
        assert_eq!((first.routes[0].count, first.files_opened), (50, 150));
        let last = &view.programs[2];
        assert_eq!((&*last.command, last.count, last.running), ("daemon", 0, 1));
    }

    #[test]
    fn endless_commands_are_one_entry() {
        let mut table = ProgramTable::with_limit(3, 0);
        for n in 0..2 * FOLDED_LIMIT {
            table.end(2 * S, &run(&format!("tool{n}"), MS, MS));
        }
        let view = table.view(3 * S, 0, std::iter::empty());
        assert_eq!(view.programs.len(), 4);
        assert_eq!((view.folded, view.folded_more), (FOLDED_LIMIT as u64, true));
        let count: u64 = view.programs.iter().map(|program| program.count).sum();
        assert_eq!(count, 2 * FOLDED_LIMIT as u64, "none is lost");
        table.tick(2_000 * S);
        assert!(table.entries.is_empty());
    }
}
