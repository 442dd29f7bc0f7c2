//! The account book of one thread: every nanosecond goes to exactly one account.
//!
//! Running time is closed at each switch-out and at each mark. Blocked time is summed up while the
//! system call lasts (`pending_ns`) and settled at its end, when it is known what was waited for.
//! After [`tick`] with no pending time, the sum of all accounts has grown by exactly the time that
//! has passed since the last such moment.

use aya_ebpf::helpers::generated::bpf_task_pt_regs;
use whyslow_abi::{
    account::Account,
    loss::LossReason,
    thread::{ThreadSlot, ThreadState},
};

use crate::{
    arch::SyscallRegisters,
    classify,
    kernel::{
        self, OFF_TASK_MAJ_FLT, OFF_TASK_MIN_FLT, OFF_TASK_NIVCSW, OFF_TASK_NVCSW,
        OFF_TASK_RUN_DELAY, Task,
    },
    limits,
    maps::count_loss,
    thread::{write_begin, write_end},
};

/// Adds time to an account.
#[inline(always)]
pub fn add(slot: &mut ThreadSlot, account: Account, ns: u64, count: u32) {
    slot.totals.ns[account as usize] = slot.totals.ns[account as usize].wrapping_add(ns);
    slot.totals.count[account as usize] = slot.totals.count[account as usize].wrapping_add(count);
}

/// As [`add`], for an account that is not known when compiling.
#[inline(always)]
pub fn add_any(slot: &mut ThreadSlot, account: u8, ns: u64, count: u32) {
    let index = core::hint::black_box(account as usize);
    if index < Account::COUNT {
        slot.totals.ns[index] = slot.totals.ns[index].wrapping_add(ns);
        slot.totals.count[index] = slot.totals.count[index].wrapping_add(count);
    }
}

/// Closes the running time at `now`. The thread is the current one.
#[inline(always)]
pub fn tick(slot: &mut ThreadSlot, now: u64) {
    if slot.state == ThreadState::Running as u32 {
        add(slot, Account::Cpu, now.wrapping_sub(slot.since_ns), 0);
    }
    slot.state = ThreadState::Running as u32;
    slot.since_ns = now;
}

/// The thread runs although its switch-in was not booked: it was not seen (programs do not run in
/// every context of every kernel), or nobody was seen to wake the thread. How long it waited for a
/// CPU is what the kernel's own account of that has grown by; what else passed was the wait, if it
/// was in a system call (which returns at once after a wait), else running.
#[inline(always)]
pub fn settle_switch_in(slot: &mut ThreadSlot, task: *const Task, now: u64) {
    let away = now.wrapping_sub(slot.since_ns);
    if slot.state == ThreadState::Unknown as u32 {
        // Nothing is known of the time before.
    } else if slot.state == ThreadState::Throttled as u32 {
        add(slot, Account::Throttled, away, 1);
    } else if slot.state == ThreadState::Reclaims as u32 {
        add(slot, Account::Memory, away, 0);
    } else if !knows_run_delay() {
        count_loss(LossReason::MissedSwitch);
        let blocked = close_wait(slot, waited(slot, now).unwrap_or(0));
        add(slot, Account::Unexplained, away.wrapping_sub(blocked), 1);
    } else {
        let delay = run_delay(task).wrapping_sub(slot.run_delay);
        let delay = if delay < away { delay } else { away };
        let rest = away - delay;
        let wait = match waited(slot, now) {
            Some(wait) if wait < rest => wait,
            None if slot.state == ThreadState::Faulted as u32
                || slot.state == ThreadState::Stopped as u32 =>
            {
                0
            }
            _ => rest,
        };
        let blocked = close_wait(slot, wait);
        add(slot, Account::RunQueue, delay, 1);
        add(slot, Account::Cpu, rest.wrapping_sub(blocked), 0);
    }
    slot.state = ThreadState::Running as u32;
    slot.since_ns = now;
}

#[inline(always)]
fn knows_run_delay() -> bool {
    OFF_TASK_RUN_DELAY.load() != u64::MAX
}

/// Time that the thread has waited for a CPU since it began.
#[inline(always)]
fn run_delay(task: *const Task) -> u64 {
    // SAFETY: `task` is the current task; the offset is known.
    unsafe { kernel::load(task, OFF_TASK_RUN_DELAY.load()) }
}

/// From the switch-out to the first waking after it; `None` without a waking in that interval.
#[inline(always)]
fn waited(slot: &ThreadSlot, now: u64) -> Option<u64> {
    let (out, woken) = (slot.since_ns, slot.wake_ns);
    (woken >= out && woken <= now).then(|| woken.wrapping_sub(out))
}

/// Books the blocked part of the time since the switch-out; returns how much was blocked.
#[inline(always)]
fn close_wait(slot: &mut ThreadSlot, wait: u64) -> u64 {
    if slot.state == ThreadState::Faulted as u32 {
        // Not within a system call: a page fault.
        add(slot, classify::fault_account(), wait, 1);
    } else if slot.state == ThreadState::Stopped as u32 {
        add(slot, Account::Unexplained, wait, 1);
    } else if slot.state == ThreadState::Reclaiming as u32 {
        add(slot, Account::Memory, wait, 1);
    } else if slot.state == ThreadState::Blocked as u32 {
        if slot.pending_count == 0 {
            slot.pending_start_ns = slot.since_ns;
        }
        slot.pending_ns = slot.pending_ns.wrapping_add(wait);
        slot.pending_count += 1;
    } else {
        return 0;
    }
    wait
}

/// Copies the kernel's own counters of the thread into the totals.
#[inline(always)]
pub fn refresh_counters(slot: &mut ThreadSlot, task: *const Task) {
    // SAFETY: `task` is the current task.
    unsafe {
        slot.totals.voluntary_switches = kernel::load(task, OFF_TASK_NVCSW.load());
        slot.totals.involuntary_switches = kernel::load(task, OFF_TASK_NIVCSW.load());
        slot.totals.minor_faults = kernel::load(task, OFF_TASK_MIN_FLT.load());
        slot.totals.major_faults = kernel::load(task, OFF_TASK_MAJ_FLT.load());
    }
    limits::note_resident(slot, task);
}

/// How a thread leaves the CPU.
#[derive(Clone, Copy)]
pub struct Leaves {
    /// It is not runnable any more.
    pub voluntary: bool,
    /// A signal or a tracer stops it.
    pub stopped: bool,
}

/// The thread leaves the CPU.
#[inline(always)]
pub fn switch_out(slot: &mut ThreadSlot, task: *const Task, leaves: Leaves, now: u64) {
    write_begin(slot);
    if slot.state == ThreadState::Running as u32 {
        add(slot, Account::Cpu, now.wrapping_sub(slot.since_ns), 1);
    } else {
        settle_switch_in(slot, task, now);
    }
    slot.since_ns = now;
    if knows_run_delay() {
        slot.run_delay = run_delay(task);
    }
    if leaves.stopped {
        slot.state = ThreadState::Stopped as u32;
    } else if leaves.voluntary {
        // SAFETY: a helper of the current task's saved registers; `task` is the current task.
        let registers = SyscallRegisters(unsafe { bpf_task_pt_regs(task as *mut _) as *const _ });
        let number = registers.number();
        slot.syscall = number;
        if limits::wants_memory(task) {
            slot.state = ThreadState::Reclaiming as u32;
        } else if number < 0 {
            slot.state = ThreadState::Faulted as u32;
        } else {
            slot.state = ThreadState::Blocked as u32;
            slot.arguments[0] = registers.arg0();
            slot.arguments[1] = registers.arg1();
            slot.arguments[2] = registers.arg2();
            classify::note_block(slot, number, registers);
        }
    } else if limits::leaves_throttled(task) {
        slot.state = ThreadState::Throttled as u32;
    } else {
        slot.state = ThreadState::Runnable as u32;
    }
    write_end(slot);
}

/// Whether it was the quota that kept a runnable thread from a CPU.
#[inline(always)]
fn is_throttled(slot: &ThreadSlot, wait: Option<u64>) -> bool {
    slot.state == ThreadState::Throttled as u32 || wait.is_some() && slot.woken_throttled != 0
}

/// The thread gets the CPU: what was not waiting was waiting for it. Where no waking was seen, it
/// was either woken while it went to sleep, or from a context in which no program runs; the kernel's
/// account of run-queue time will tell, which it does not yet: that is left for later.
#[inline(always)]
pub fn switch_in(slot: &mut ThreadSlot, task: *const Task, now: u64) {
    let wait = waited(slot, now);
    if slot.state == ThreadState::Blocked as u32 && wait.is_none() && knows_run_delay() {
        return;
    }
    write_begin(slot);
    let away = now.wrapping_sub(slot.since_ns);
    if slot.state == ThreadState::Running as u32 {
        add(slot, Account::Unexplained, away, 1);
        count_loss(LossReason::MissedSwitch);
    } else if slot.state != ThreadState::Unknown as u32 {
        let blocked = close_wait(slot, wait.unwrap_or(0));
        let mut runnable = away.wrapping_sub(blocked);
        if is_throttled(slot, wait) {
            let since = now.wrapping_sub(runnable);
            let throttled = limits::throttled_until(task, since, now).wrapping_sub(since);
            add(slot, Account::Throttled, throttled, 1);
            runnable = runnable.wrapping_sub(throttled);
        }
        add(slot, Account::RunQueue, runnable, 1);
    }
    slot.state = ThreadState::Running as u32;
    slot.since_ns = now;
    write_end(slot);
}
