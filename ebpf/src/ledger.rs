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
    kernel::{self, OFF_TASK_MAJ_FLT, OFF_TASK_MIN_FLT, OFF_TASK_NIVCSW, OFF_TASK_NVCSW, Task},
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

/// The thread runs although its switch-in was not seen (some kernels miss a few, out of a kernel
/// worker). How long it waited is known up to its waking; what followed was waiting for a CPU or
/// running, nobody knows how much of each.
#[inline(always)]
pub fn missed_switch_in(slot: &mut ThreadSlot, now: u64) {
    if slot.state == ThreadState::Unknown as u32 {
        slot.since_ns = now;
    } else {
        count_loss(LossReason::MissedSwitch);
        let blocked = close_wait(slot, now);
        let rest = now.wrapping_sub(slot.since_ns).wrapping_sub(blocked);
        add(slot, Account::Unexplained, rest, 1);
    }
    slot.state = ThreadState::Running as u32;
    slot.since_ns = now;
}

/// Books the blocked part of the time since the switch-out, and returns it: up to the first waking
/// after the switch-out. Without one in that interval (it was woken while it went to sleep) there
/// was no wait.
#[inline(always)]
fn close_wait(slot: &mut ThreadSlot, now: u64) -> u64 {
    let out = slot.since_ns;
    let woken = slot.wake_ns;
    let within = woken >= out && woken <= now;
    let blocked = if within { woken.wrapping_sub(out) } else { 0 };
    if slot.state == ThreadState::Faulted as u32 {
        // Not within a system call: a page fault (or a stop, which no account names).
        add(slot, classify::fault_account(), blocked, 1);
    } else if slot.state == ThreadState::Blocked as u32 {
        if slot.pending_count == 0 {
            slot.pending_start_ns = out;
        }
        slot.pending_ns = slot.pending_ns.wrapping_add(blocked);
        slot.pending_count += 1;
    } else {
        return 0;
    }
    blocked
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
}

/// The thread leaves the CPU. `voluntary`: it is not runnable any more.
#[inline(always)]
pub fn switch_out(slot: &mut ThreadSlot, task: *const Task, voluntary: bool, now: u64) {
    write_begin(slot);
    if slot.state == ThreadState::Running as u32 {
        add(slot, Account::Cpu, now.wrapping_sub(slot.since_ns), 1);
    } else {
        missed_switch_in(slot, now);
    }
    slot.since_ns = now;
    if voluntary {
        // SAFETY: a helper of the current task's saved registers; `task` is the current task.
        let registers = SyscallRegisters(unsafe { bpf_task_pt_regs(task as *mut _) as *const _ });
        let number = registers.number();
        slot.syscall = number;
        if number < 0 {
            slot.state = ThreadState::Faulted as u32;
        } else {
            slot.state = ThreadState::Blocked as u32;
            slot.arguments[0] = registers.arg0();
            slot.arguments[1] = registers.arg1();
            slot.arguments[2] = registers.arg2();
            classify::note_select(slot, number, registers);
        }
    } else {
        slot.state = ThreadState::Runnable as u32;
    }
    write_end(slot);
}

/// The thread gets the CPU: what was not waiting was waiting for it.
#[inline(always)]
pub fn switch_in(slot: &mut ThreadSlot, now: u64) {
    write_begin(slot);
    let away = now.wrapping_sub(slot.since_ns);
    if slot.state == ThreadState::Running as u32 {
        add(slot, Account::Unexplained, away, 1);
        count_loss(LossReason::MissedSwitch);
    } else if slot.state != ThreadState::Unknown as u32 {
        let blocked = close_wait(slot, now);
        add(slot, Account::RunQueue, away.wrapping_sub(blocked), 1);
    }
    slot.state = ThreadState::Running as u32;
    slot.since_ns = now;
    write_end(slot);
}
