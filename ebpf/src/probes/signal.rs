//! `signal_generate` and `signal_deliver`: who ends a watched process, and when it takes it.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext};
use whyslow_abi::{
    record::{RecordHeader, RecordKind, SignalKind, SignalRecord},
    thread::ThreadSlot,
};

use crate::{
    emit::{self, SUBMIT},
    kernel::{self, *},
    thread,
};

/// Signals that end a process unless it catches them: HUP, INT, QUIT, ILL, TRAP, ABRT, BUS, FPE,
/// KILL, SEGV, TERM, XCPU, SYS.
const DEADLY: u64 = 1 << 1
    | 1 << 2
    | 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 6
    | 1 << 7
    | 1 << 8
    | 1 << 9
    | 1 << 11
    | 1 << 15
    | 1 << 24
    | 1 << 31;

#[inline(always)]
fn deadly(signal: i32) -> bool {
    signal > 0 && signal < 32 && DEADLY & (1 << signal) != 0
}

/// Entry: a signal is sent. The sender is the current thread.
#[btf_tracepoint(function = "signal_generate")]
pub fn signal_generate(ctx: BtfTracePointContext) -> i32 {
    let signal = ctx.arg::<i32>(0);
    if !deadly(signal) {
        return 0;
    }
    let target: *const Task = ctx.arg(2);
    if thread::watched(target).is_none() {
        return 0;
    }
    // `struct kernel_siginfo *`, or 0 and 1 for "none" and "from the kernel".
    let info = ctx.arg::<u64>(1);
    let code = if info > 1 { probe::<i32>(info, 8) } else { 0 };
    ship(SignalKind::Generate, signal, code, target, None);
    0
}

/// Entry: a signal is taken. The receiver is the current thread.
#[btf_tracepoint(function = "signal_deliver")]
pub fn signal_deliver(ctx: BtfTracePointContext) -> i32 {
    let signal = ctx.arg::<i32>(0);
    if !deadly(signal) {
        return 0;
    }
    let task = current_task();
    let Some(slot) = thread::watched(task) else {
        return 0;
    };
    ship(SignalKind::Deliver, signal, 0, task, Some(slot));
    0
}

#[inline(always)]
fn ship(
    event: SignalKind,
    signal: i32,
    code: i32,
    target: *const Task,
    slot: Option<&mut ThreadSlot>,
) {
    let (generation, sequence) = match slot {
        Some(slot) => (slot.generation, emit::next_sequence(slot)),
        None => (0, 0),
    };
    let current = current_task();
    let Some(mut entry) = emit::reserve_signal::<SignalRecord>() else {
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is room for one record; the tasks come from the kernel.
    unsafe {
        (*record).header = RecordHeader {
            time_ns: bpf_ktime_get_ns(),
            kind: RecordKind::Signal as u32,
            tid: kernel::pid(current),
            tgid: kernel::tgid(current),
            generation,
            sequence,
            reserved: 0,
        };
        (*record).event = event as u32;
        (*record).signal = signal;
        (*record).code = code;
        (*record).target_tid = kernel::pid(target);
        (*record).target_tgid = kernel::tgid(target);
        let group: u64 = probe(target as u64, OFF_TASK_SIGNAL.load());
        (*record).group_exit_code = probe(group, OFF_SIGNAL_GROUP_EXIT_CODE.load());
        kernel::copy(
            &raw mut (*record).comm,
            (current as u64 + OFF_TASK_COMM.load()) as *const [u8; 16],
        );
    }
    entry.submit(SUBMIT);
}
