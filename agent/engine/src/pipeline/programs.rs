//! Processes that watched ones start: for which request, what they run, how they end; and what of that is told with
//! the request.

use std::sync::Arc;

use whyslow_abi::{
    account::Account,
    loss::LossReason,
    record::{LifecycleKind, ProgramEvent},
};

use super::{Engine, ProgramsView, lifecycle::NO_SLOT};
use crate::{
    command,
    decode::{self, Lifecycle, Program as Record},
    losses::reason,
    output::{Child, Output, Query, RequestFinished, RouteName, Target, WaitEntry},
    timeline::programs::{CHILDREN, FORKED, Program},
};

/// Whom a new process belongs to.
type Owner = (Option<u64>, Option<Arc<RouteName>>);

impl Engine {
    /// A record of a program's thread.
    pub(super) fn program(&mut self, record: &Record) {
        let raw = &record.raw;
        let pid = raw.header.tgid;
        let time_ns = raw.header.time_ns;
        match record.event {
            ProgramEvent::Fork => {
                let process = Program::new(pid, raw.parent, time_ns, raw.process_start_ns);
                self.process_forked(process, raw.other, &raw.comm);
            }
            ProgramEvent::Exec => self.program_began(record),
            ProgramEvent::Exit => {
                if let Some(program) = self.programs.get_mut(pid) {
                    let output = (raw.first_output_ns, raw.files_opened);
                    program.thread_ended(raw.header.tid == pid, &raw.totals, output);
                }
                if raw.last != 0 {
                    self.program_ended(pid, time_ns, raw.code);
                }
            }
        }
    }

    /// What the record of a process's life says of it as a child.
    pub(super) fn child_lifecycle(&mut self, lifecycle: &Lifecycle) {
        let raw = &lifecycle.raw;
        let header = &raw.header;
        let pid = header.tgid;
        match lifecycle.event {
            LifecycleKind::Fork if header.tid == pid => {
                let start_ns = raw.process_start_ns;
                let process = Program::new(pid, raw.parent, header.time_ns, start_ns);
                self.process_forked(process, raw.other, &raw.comm);
            }
            LifecycleKind::Discovered | LifecycleKind::Adopted => {
                if let Some(program) = self.programs.get_mut(pid) {
                    program.serves = true;
                }
            }
            // All slots that programs may have were taken.
            LifecycleKind::Exec if raw.slot == NO_SLOT => self.programs.lose(pid),
            LifecycleKind::Exit => {
                if let Some(program) = self.programs.get_mut(pid) {
                    program.thread_ended(header.tid == pid, &raw.totals, (0, 0));
                }
                if raw.last != 0 {
                    self.program_ended(pid, header.time_ns, raw.code);
                }
            }
            _ => {}
        }
    }

    fn process_forked(&mut self, mut process: Program, parent_tid: u32, comm: &[u8]) {
        (process.request, process.route) = self.owner_of(process.parent, parent_tid);
        process.command = decode::name(comm).into();
        self.add_program(process);
    }

    fn add_program(&mut self, program: Program) {
        let pid = program.pid;
        if let Some(gone) = self.programs.insert(program)
            && (gone.exec_ns != 0 || gone.request.is_some())
            && !gone.serves
        {
            self.losses.add(reason::PROGRAMS_EVICTED, 1, pid);
        }
    }

    /// A process belongs to the request of its parent process, if that was started for one; else to the one that its
    /// parent thread alone serves.
    fn owner_of(&self, parent: u32, parent_tid: u32) -> Owner {
        if let Some(program) = self.programs.get(parent)
            && !program.serves
            && (program.exec_ns != 0 || program.request.is_some())
        {
            return (program.request, program.route.clone());
        }
        let Some(thread) = self.threads.get(parent_tid) else {
            return (None, None);
        };
        let mut open = thread
            .open
            .iter()
            .filter_map(|id| self.connections.request(*id))
            .filter(|request| request.moved_at_writes.is_none());
        match (open.next(), open.next()) {
            (Some(request), None) => {
                let route = request.route.and_then(|route| self.routes.name(route));
                (Some(request.serial), route.map(Arc::clone))
            }
            _ => (None, None),
        }
    }

    fn program_began(&mut self, record: &Record) {
        let raw = &record.raw;
        let pid = raw.header.tgid;
        let time_ns = raw.header.time_ns;
        let known = self.programs.get(pid).is_some_and(|it| {
            it.process_start_ns == 0
                || raw.process_start_ns == 0
                || it.process_start_ns == raw.process_start_ns
        });
        if !known {
            // Its fork was not seen.
            let mut program = Program::new(pid, raw.parent, time_ns, raw.process_start_ns);
            if let Some(parent) = self.programs.get(raw.parent) {
                program.request = parent.request;
                program.route.clone_from(&parent.route);
            }
            self.add_program(program);
        }
        let all = self.settings.show_arguments;
        let mut command = command::command(record.file(), record.arguments(), record.is_cut(), all);
        if command.is_empty() {
            command = decode::name(&raw.comm);
        }
        if let Some(program) = self.programs.get_mut(pid) {
            program.exec(time_ns, command.into());
        }
    }

    fn program_ended(&mut self, pid: u32, time_ns: u64, code: u32) {
        let Some(program) = self.programs.end(pid, time_ns, code) else {
            return;
        };
        if program.exec_ns != 0 && !program.serves {
            self.program_table.end(time_ns, &program);
        }
    }

    /// Asks for what is not known yet of the children of a request that is over; whether there is any.
    pub(super) fn ask_for_children(&self, request: u64, out: &mut Vec<Output>) -> bool {
        let living = self.programs.living_of(request);
        for pid in living.iter().take(CHILDREN) {
            out.push(Output::Query(Query::Thread { tid: *pid }));
        }
        !living.is_empty()
    }

    /// Tells the children of a request that has ended at `end_ns`, and forgets them.
    pub(super) fn take_children(
        &mut self,
        finished: &mut RequestFinished,
        request: u64,
        end_ns: u64,
    ) {
        finished.children = self.programs.children(request, end_ns);
        if self.programs.is_incomplete(request) {
            finished.loss.push(LossReason::ProgramSlotsFull.name());
        }
        self.programs.forget(request);
        let pid = finished.started.pid;
        cover(&mut finished.children, &finished.waits, pid);
        for child in &finished.children {
            // Its own children are within its time.
            if child.parent_pid == pid && !child.command.ends_with(FORKED) {
                self.program_table
                    .waited(end_ns.max(self.now_ns), &child.command, child.waited_ns);
            }
        }
    }

    /// Children of an open request, longest first, at `now_ns`.
    pub(super) fn children_so_far(&self, request: u64, now_ns: u64) -> Vec<Child> {
        let mut children = self.programs.children(request, now_ns);
        children.truncate(CHILDREN_IN_FLIGHT);
        children
    }

    /// Figures by command over the last `window_s` seconds (0: 60, at most 600).
    #[must_use]
    pub fn programs(&self, now_ns: u64, window_s: u32) -> ProgramsView {
        let living = self.programs.iter();
        self.program_table.view(now_ns, window_s, living)
    }
}

/// Children told with a request in flight.
const CHILDREN_IN_FLIGHT: usize = 8;

/// How much of the waits for children each of them covers by its life. A wait for a certain process is for that, and
/// for what it has started.
fn cover(children: &mut [Child], waits: &[WaitEntry], pid: u32) {
    let lines: Vec<(u32, u32)> = children.iter().map(|it| (it.pid, it.parent_pid)).collect();
    let waits = waits.iter().filter(|wait| wait.account == Account::Child);
    for wait in waits {
        for child in children.iter_mut().filter(|child| child.pid != 0) {
            if let Target::Process(wanted) = wait.target
                && wanted != 0
                && lines.iter().any(|(known, _)| *known == wanted)
                && !descends(&lines, child.pid, wanted, pid)
            {
                continue;
            }
            let end_ns = child.start_ns.saturating_add(child.wall_ns);
            let from_ns = child.start_ns.max(wait.start_ns);
            let until_ns = end_ns.min(wait.start_ns.saturating_add(wait.ns));
            child.waited_ns = child
                .waited_ns
                .saturating_add(until_ns.saturating_sub(from_ns));
        }
    }
}

/// Whether a process is another one, or was started by it or its children. `root`: where to stop.
fn descends(lines: &[(u32, u32)], pid: u32, of: u32, root: u32) -> bool {
    let mut at = pid;
    for _ in 0..lines.len() {
        if at == of {
            return true;
        }
        match lines.iter().find(|(known, _)| *known == at) {
            Some((_, parent)) if *parent != root => at = *parent,
            _ => return false,
        }
    }
    at == of
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(pid: u32, parent_pid: u32, start_ns: u64, wall_ns: u64) -> Child {
        Child {
            pid,
            parent_pid,
            start_ns,
            wall_ns,
            ..Child::default()
        }
    }

    fn wait(start_ns: u64, ns: u64, target: Target) -> WaitEntry {
        WaitEntry {
            account: Account::Child,
            start_ns,
            ns,
            target,
            holder: None,
            waker: None,
            served: None,
            served_unknown: "",
        }
    }

    #[test]
    fn a_wait_for_one_process_is_not_for_another() {
        let mut children = [
            child(10, 1, 100, 300),
            child(11, 10, 150, 100),
            child(12, 1, 100, 300),
        ];
        cover(&mut children, &[wait(200, 400, Target::Process(10))], 1);
        let waited = children.each_ref().map(|child| child.waited_ns);
        assert_eq!(waited, [200, 50, 0]);
    }

    #[test]
    fn a_wait_for_any_is_for_all_that_lived() {
        let mut children = [child(10, 1, 100, 300), child(12, 1, 350, 100)];
        let waits = [
            wait(200, 400, Target::Unknown),
            WaitEntry {
                account: Account::Sleep,
                ..wait(0, 1_000, Target::Unknown)
            },
        ];
        cover(&mut children, &waits, 1);
        let waited = children.each_ref().map(|child| child.waited_ns);
        assert_eq!(waited, [200, 100]);
    }
}
