//! `sched_process_exit`: a thread ends; its book is closed.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext};
use whyslow_abi::{
    record::{LifecycleKind, ProgramEvent},
    thread::{PROGRAM, ThreadState},
};

use crate::{
    connection,
    emit::{self, Life},
    kernel::{
        self, OFF_SIGNAL_FLAGS, OFF_SIGNAL_LIVE, OFF_TASK_EXIT_CODE, OFF_TASK_SIGNAL, current_task,
    },
    ledger,
    program::{self, Told},
    thread::{self, write_begin, write_end},
};

/// All threads of the process are ending (`include/linux/sched/signal.h`).
const SIGNAL_GROUP_EXIT: u32 = 4;

/// Entry.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn process_exit(_ctx: BtfTracePointContext) -> i32 {
    let task = current_task();
    let Some(mark) = thread::mark(task) else {
        return 0;
    };
    let Some((index, slot)) = thread::slot_of(mark) else {
        thread::ended(task);
        return 0;
    };
    // SAFETY: no preconditions; the task is the current one.
    let (now, code) = unsafe {
        (
            bpf_ktime_get_ns(),
            kernel::load::<u32, _>(task, OFF_TASK_EXIT_CODE.load()),
        )
    };
    // The kernel has counted this thread out already (`do_exit`).
    let signal: u64 = kernel::probe(task as u64, OFF_TASK_SIGNAL.load());
    let live: i32 = kernel::probe(signal, OFF_SIGNAL_LIVE.load());
    let flags: u32 = kernel::probe(signal, OFF_SIGNAL_FLAGS.load());
    write_begin(slot);
    if slot.state != ThreadState::Running as u32 {
        ledger::settle_switch_in(slot, task, now);
    }
    ledger::tick(slot, now);
    ledger::refresh_counters(slot, task);
    connection::on_exit(slot, live == 0 || flags & SIGNAL_GROUP_EXIT != 0, now);
    write_end(slot);
    if slot.flags & PROGRAM != 0 {
        let told = Told {
            event: ProgramEvent::Exit,
            other: 0,
            code,
            last: u32::from(live == 0),
            slot: index,
            parent: 0,
            image: 0,
        };
        program::tell(task, slot, &told, now);
        thread::ended(task);
        thread::release(index);
        return 0;
    }
    let life = Life {
        event: LifecycleKind::Exit,
        other: 0,
        code,
        last: u32::from(live == 0),
        slot: index,
    };
    emit::lifecycle(task, Some(slot), &life, now);
    thread::ended(task);
    thread::release(index);
    0
}
