//! Steps of programs: processes that watched ones start.

use whyslow_abi::{
    account::Account,
    record::{LifecycleRecord, ProgramEvent, ProgramRecord, RecordKind},
    thread::{PROGRAM, ThreadSlot},
    wait::{Wait, WaitTargetKind},
};

use super::{
    model::Step,
    run::{Run, ms},
};
use crate::support::zeroed;

/// Start of a process, by its id.
fn start_of(pid: u32) -> u64 {
    u64::from(pid) * 1_000
}

/// A new process: who made it.
pub(crate) fn forked(record: &mut LifecycleRecord, step: &Step) {
    let Some(parent) = step.by.first() else {
        return;
    };
    record.parent = *parent;
    record.other = *step.by.last().unwrap_or(parent);
    record.process_start_ns = start_of(step.pid);
}

impl Run {
    /// "program_fork", "exec" (`data`: the file and its arguments), "program_exit" and "program_exit_last".
    pub(crate) fn program(&mut self, step: &Step, tid: u32, now_ns: u64) {
        let mut record: ProgramRecord = zeroed();
        let mut header = self.kernel.header(RecordKind::Program, tid, now_ns);
        header.sequence = 0;
        record.header = header;
        record.totals = self.kernel.threads[&tid].totals;
        record.parent = step.by.first().copied().unwrap_or(1);
        record.other = step.by.last().copied().unwrap_or(tid);
        record.process_start_ns = start_of(step.pid);
        record.comm[..4].copy_from_slice(b"prog");
        let event = match step.action.as_str() {
            "program_fork" => ProgramEvent::Fork,
            "exec" => ProgramEvent::Exec,
            _ => ProgramEvent::Exit,
        };
        record.event = event as u32;
        if event == ProgramEvent::Exec {
            let (file, _) = step.data.split_once(' ').unwrap_or((&step.data, ""));
            record.file[..file.len()].copy_from_slice(file.as_bytes());
            let arguments = step.data.replace(' ', "\0") + "\0";
            record.arguments[..arguments.len()].copy_from_slice(arguments.as_bytes());
            record.arguments_len = arguments.len() as u32;
            record.arguments_total = record.arguments_len;
        }
        record.code = step.code;
        record.last = u32::from(step.action == "program_exit_last");
        record.first_output_ns = ms(step.first_output);
        record.files_opened = step.files;
        self.kernel.send_record(&record);
    }

    /// The thread has waited for a process until now, as long as it says; `code`: which, 0 for any.
    pub(crate) fn waited_for_child(&mut self, step: &Step, tid: u32, now_ns: u64) {
        let ns = ms(step.spent.get("child").copied().unwrap_or(0.0));
        let Some(thread) = self.kernel.threads.get_mut(&tid) else {
            return;
        };
        let mut wait: Wait = zeroed();
        wait.start_ns = now_ns - ns;
        wait.ns = ns;
        wait.account = Account::Child as u8;
        wait.target = WaitTargetKind::Process as u8;
        wait.a = u64::from(step.code);
        if let Some(free) = thread.waits.iter_mut().find(|wait| wait.ns == 0) {
            *free = wait;
        }
    }

    /// What the slot of a thread says of its program: all that it did until its last step, and it runs on.
    pub(crate) fn program_slot(&self, tid: u32, slot: &mut ThreadSlot) {
        if let Some(thread) = self.kernel.threads.get(&tid)
            && tid != 100
        {
            slot.tgid = thread.tgid;
            slot.flags = PROGRAM;
            slot.totals = thread.totals;
            slot.since_ns = thread.last_ns;
        }
    }
}
