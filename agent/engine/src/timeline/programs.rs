//! Processes that watched ones have started: what each runs, since when, and for which request. Bounded: the oldest
//! goes.

use std::{collections::VecDeque, sync::Arc};

use whyslow_abi::{account::Account, thread::ThreadSlot, totals::Totals};

use super::threads::Sample;
use crate::{
    attribution::{ledger, live},
    hash::FastMap,
    output::{Child, LedgerEntry, RouteName},
};

/// Processes followed at the most.
pub(crate) const LIMIT: usize = 8_192;
/// Children of a request that are told one by one.
pub(crate) const CHILDREN: usize = 16;
/// Children of a request that have ended, kept until it does.
const KEPT: usize = 64;
/// Behind the name of what runs the program of its parent.
pub(crate) const FORKED: &str = " (fork)";
/// What stands for several children.
pub(crate) const OTHERS: &str = "(others)";

/// What a thread's slot said.
#[derive(Clone, Debug)]
struct Seen {
    sample: Sample,
    first_output_ns: u64,
    files_opened: u32,
}

/// One process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    /// Fork, or the first exec that was seen, monotonic.
    pub(crate) start_ns: u64,
    /// `start_boottime`; 0: not known.
    pub(crate) process_start_ns: u64,
    /// Its last exec; 0: none, it runs what its parent ran.
    pub(crate) exec_ns: u64,
    /// What it runs; of one without an exec, the name of its thread.
    pub(crate) command: Arc<str>,
    /// Serial number of the request that it was started for.
    pub(crate) request: Option<u64>,
    /// The route of that.
    pub(crate) route: Option<Arc<RouteName>>,
    /// It serves requests of its own.
    pub(crate) serves: bool,
    /// 0: it lives.
    pub(crate) ended_ns: u64,
    pub(crate) code: u32,
    pub(crate) files_opened: u32,
    first_output_ns: u64,
    /// Ledger of its main thread, at its end.
    totals: Option<Box<Totals>>,
    /// CPU time of its other threads that have ended.
    others_cpu_ns: u64,
    seen: Option<Box<Seen>>,
}

impl Program {
    /// A process that has just begun.
    pub(crate) fn new(pid: u32, parent: u32, start_ns: u64, process_start_ns: u64) -> Self {
        Self {
            pid,
            parent,
            start_ns,
            process_start_ns,
            ..Self::default()
        }
    }

    /// It runs another program from now on.
    pub(crate) fn exec(&mut self, time_ns: u64, command: Arc<str>) {
        self.exec_ns = time_ns;
        self.command = command;
        self.first_output_ns = 0;
    }

    /// A thread of it ended.
    pub(crate) fn thread_ended(&mut self, is_main: bool, totals: &Totals, output: (u64, u32)) {
        if is_main {
            self.totals = Some(Box::new(*totals));
        } else {
            let cpu_ns = totals.ns[Account::Cpu as usize];
            self.others_cpu_ns = self.others_cpu_ns.saturating_add(cpu_ns);
        }
        let (first_ns, files) = output;
        if first_ns != 0 && (self.first_output_ns == 0 || first_ns < self.first_output_ns) {
            self.first_output_ns = first_ns;
        }
        self.files_opened = self.files_opened.saturating_add(files);
    }

    /// The slot of its main thread was read.
    fn sampled(&mut self, slot: &ThreadSlot, sample: Sample) {
        self.seen = Some(Box::new(Seen {
            sample,
            first_output_ns: slot.first_output_ns,
            files_opened: slot.files_opened,
        }));
    }

    /// From fork to exit, or until `now_ns`.
    pub(crate) fn wall_ns(&self, now_ns: u64) -> u64 {
        self.end_or(now_ns).saturating_sub(self.start_ns)
    }

    fn end_or(&self, now_ns: u64) -> u64 {
        match self.ended_ns {
            0 => now_ns,
            ended => ended,
        }
    }

    /// CPU time of all its threads, as far as it is known.
    pub(crate) fn cpu_ns(&self, now_ns: u64) -> u64 {
        let ledger = self.ledger(now_ns);
        let main = ledger.iter().find(|entry| entry.account == Account::Cpu);
        let main = main.map_or(0, |entry| entry.ns);
        main.saturating_add(self.others_cpu_ns)
    }

    /// Of its main thread, with what it does at `now_ns`; empty: not known.
    fn ledger(&self, now_ns: u64) -> Vec<LedgerEntry> {
        if let Some(totals) = self.totals_at(now_ns) {
            return ledger::of(totals);
        }
        let Some(seen) = &self.seen else {
            return Vec::new();
        };
        let now = live::now(&seen.sample);
        live::ledger(&seen.sample, &now, (&Totals::ZERO, self.start_ns), now_ns)
    }

    /// Its ledger, where it has ended by then.
    fn totals_at(&self, now_ns: u64) -> Option<&Totals> {
        let over = self.ended_ns != 0 && self.ended_ns <= now_ns;
        self.totals.as_deref().filter(|_| over)
    }

    /// From exec to its first output; 0: there was none.
    pub(crate) fn startup_ns(&self) -> u64 {
        let seen = self.seen.as_ref().map_or(0, |seen| seen.first_output_ns);
        let first = if self.first_output_ns != 0 {
            self.first_output_ns
        } else {
            seen
        };
        if self.exec_ns == 0 {
            return 0;
        }
        first.saturating_sub(self.exec_ns)
    }

    /// As a child of a request; what is known of it at `now_ns`, the end of the request if it has one.
    pub(crate) fn child(&self, now_ns: u64) -> Child {
        let running = self.ended_ns == 0 || self.ended_ns > now_ns;
        let files = self.seen.as_ref().map_or(0, |seen| seen.files_opened);
        Child {
            pid: self.pid,
            command: self.name(),
            parent_pid: self.parent,
            start_ns: self.start_ns,
            wall_ns: if running {
                now_ns.saturating_sub(self.start_ns)
            } else {
                self.wall_ns(now_ns)
            },
            cpu_ns: self.cpu_ns(now_ns),
            startup_ns: self.startup_ns(),
            exit_code: if running { 0 } else { self.code >> 8 & 0xff },
            signal: if running { 0 } else { self.code & 0x7f },
            running,
            files_opened: self.files_opened.max(files),
            ledger: self.ledger(now_ns),
            waited_ns: 0,
            count: 1,
        }
    }

    fn name(&self) -> Arc<str> {
        if self.exec_ns == 0 {
            format!("{}{FORKED}", self.command).into()
        } else {
            Arc::clone(&self.command)
        }
    }
}

/// Children of a request that is open.
#[derive(Debug, Default)]
struct Family {
    /// Those that live.
    living: Vec<u32>,
    /// Those that have ended, the longest.
    ended: Vec<Program>,
    /// The others together.
    rest: Option<Child>,
    /// Some are not followed.
    is_incomplete: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    living: FastMap<u32, Program>,
    /// Process and its start, oldest first; may hold some that have ended.
    order: VecDeque<(u32, u64)>,
    /// By serial number of the request.
    families: FastMap<u64, Family>,
}

impl Programs {
    pub(crate) fn get(&self, pid: u32) -> Option<&Program> {
        self.living.get(&pid)
    }

    pub(crate) fn get_mut(&mut self, pid: u32) -> Option<&mut Program> {
        self.living.get_mut(&pid)
    }

    /// Those that live.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Program> {
        self.living.values()
    }

    /// Adds one that has begun; returns the one that had to go for it.
    pub(crate) fn insert(&mut self, program: Program) -> Option<Program> {
        let (pid, start_ns) = (program.pid, program.start_ns);
        self.remove(pid);
        let mut gone = None;
        while self.living.len() >= LIMIT {
            let Some((oldest, start_ns)) = self.order.pop_front() else {
                break;
            };
            if self.is(oldest, start_ns) {
                gone = self.remove(oldest);
            }
        }
        if let Some(request) = program.request {
            self.families.entry(request).or_default().living.push(pid);
        }
        self.living.insert(pid, program);
        self.order.push_back((pid, start_ns));
        if self.order.len() > 2 * LIMIT {
            let living = &self.living;
            self.order.retain(|(pid, start_ns)| {
                living.get(pid).is_some_and(|it| it.start_ns == *start_ns)
            });
        }
        gone
    }

    fn is(&self, pid: u32, start_ns: u64) -> bool {
        self.get(pid).is_some_and(|it| it.start_ns == start_ns)
    }

    fn remove(&mut self, pid: u32) -> Option<Program> {
        let program = self.living.remove(&pid)?;
        if let Some(request) = program.request
            && let Some(family) = self.families.get_mut(&request)
        {
            family.living.retain(|other| *other != pid);
        }
        Some(program)
    }

    /// The process has ended.
    pub(crate) fn end(&mut self, pid: u32, time_ns: u64, code: u32) -> Option<Program> {
        let mut program = self.remove(pid)?;
        program.ended_ns = time_ns.max(1);
        program.code = code;
        if let Some(request) = program.request
            && let Some(family) = self.families.get_mut(&request)
        {
            family.keep(program.clone());
        }
        Some(program)
    }

    /// The process runs on unseen: nothing more will be told of it.
    pub(crate) fn lose(&mut self, pid: u32) {
        if let Some(request) = self.remove(pid).and_then(|program| program.request)
            && let Some(family) = self.families.get_mut(&request)
        {
            family.is_incomplete = true;
        }
    }

    /// Whether some of a request's children were not followed.
    pub(crate) fn is_incomplete(&self, request: u64) -> bool {
        let family = self.families.get(&request);
        family.is_some_and(|family| family.is_incomplete)
    }

    /// The slot of a thread was read.
    pub(crate) fn sampled(&mut self, slot: &ThreadSlot, sample: &Sample) {
        if slot.tid == slot.tgid
            && let Some(program) = self.living.get_mut(&slot.tgid)
        {
            program.sampled(slot, sample.clone());
        }
    }

    /// Main threads of the children that live of a request.
    pub(crate) fn living_of(&self, request: u64) -> &[u32] {
        self.families
            .get(&request)
            .map_or(&[], |family| &family.living)
    }

    /// Children of a request at `now_ns`, longest first; those after `until_ns` are none. The last may stand for
    /// several.
    pub(crate) fn children(&self, request: u64, now_ns: u64) -> Vec<Child> {
        let Some(family) = self.families.get(&request) else {
            return Vec::new();
        };
        let living = family.living.iter().filter_map(|pid| self.get(*pid));
        let mut children: Vec<Child> = living
            .chain(&family.ended)
            .filter(|program| program.start_ns <= now_ns)
            .map(|program| program.child(now_ns))
            .collect();
        children.sort_by(|a, b| {
            let longest = b.wall_ns.cmp(&a.wall_ns);
            longest
                .then(a.start_ns.cmp(&b.start_ns))
                .then(a.pid.cmp(&b.pid))
        });
        let mut rest = family.rest.clone();
        for child in children.drain(children.len().min(CHILDREN)..) {
            add(&mut rest, &child);
        }
        children.extend(rest);
        children
    }

    /// The request is told: its children are forgotten, but those that live.
    pub(crate) fn forget(&mut self, request: u64) {
        if let Some(family) = self.families.remove(&request) {
            for pid in family.living {
                if let Some(program) = self.living.get_mut(&pid) {
                    program.request = None;
                }
            }
        }
    }
}

impl Family {
    fn keep(&mut self, program: Program) {
        self.ended.push(program);
        if self.ended.len() <= KEPT {
            return;
        }
        let shortest = (0..self.ended.len()).min_by_key(|at| self.ended[*at].wall_ns(0));
        if let Some(at) = shortest {
            let program = self.ended.swap_remove(at);
            add(&mut self.rest, &program.child(program.ended_ns));
        }
    }
}

/// Adds a child to what stands for several.
fn add(rest: &mut Option<Child>, child: &Child) {
    let rest = rest.get_or_insert_with(|| Child {
        command: OTHERS.into(),
        start_ns: child.start_ns,
        ..Child::default()
    });
    rest.count += child.count;
    rest.start_ns = rest.start_ns.min(child.start_ns);
    rest.wall_ns = rest.wall_ns.saturating_add(child.wall_ns);
    rest.cpu_ns = rest.cpu_ns.saturating_add(child.cpu_ns);
    rest.files_opened = rest.files_opened.saturating_add(child.files_opened);
    rest.running |= child.running;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(pid: u32, start_ns: u64, request: Option<u64>) -> Program {
        let mut program = Program::new(pid, 1, start_ns, 0);
        program.request = request;
        program.exec(start_ns + 5, "sleep".into());
        program
    }

    #[test]
    fn children_longest_first_and_the_rest_as_one() {
        let mut programs = Programs::default();
        for pid in 1..=100 {
            assert!(programs.insert(program(pid, 1_000, Some(7))).is_none());
            programs.end(pid, 1_000 + u64::from(pid) * 10, 3 << 8);
        }
        programs.insert(program(101, 2_500, Some(7)));
        programs.insert(program(102, 9_999, Some(7)));
        let children = programs.children(7, 3_000);
        assert_eq!(children.len(), CHILDREN + 1);
        assert_eq!((children[0].pid, children[0].wall_ns), (100, 1_000));
        assert_eq!((children[0].exit_code, children[0].running), (3, false));
        let rest = &children[CHILDREN];
        assert_eq!(
            (&*rest.command, rest.count, rest.running),
            (OTHERS, 85, true)
        );
        let wall: u64 = children.iter().map(|child| child.wall_ns).sum();
        assert_eq!(wall, (1..=100).map(|n| n * 10).sum::<u64>() + 500);
        programs.forget(7);
        assert!(programs.children(7, 3_000).is_empty());
        assert_eq!(programs.get(101).map(|it| it.request), Some(None));
    }

    #[test]
    fn one_that_outlives_its_request_is_told_as_running() {
        let mut programs = Programs::default();
        programs.insert(program(5, 1_000, Some(7)));
        programs.end(5, 9_000, 0);
        let child = &programs.children(7, 4_000)[0];
        assert_eq!((child.running, child.wall_ns), (true, 3_000));
        let child = &programs.children(7, 9_000)[0];
        assert_eq!((child.running, child.wall_ns), (false, 8_000));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut programs = Programs::default();
        let mut gone = 0;
        for n in 0..4 * LIMIT {
            let pid = u32::try_from(n).unwrap_or(0) + 1;
            gone += usize::from(programs.insert(program(pid, 1, Some(n as u64))).is_some());
            assert!(programs.living.len() <= LIMIT && programs.order.len() <= 2 * LIMIT + 1);
        }
        assert_eq!(gone, 3 * LIMIT);
    }
}
