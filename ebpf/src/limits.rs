//! Limits of control groups, and memory: what the scheduler and the memory management have noted in the task.

use whyslow_abi::thread::ThreadSlot;

use crate::kernel::{
    self, MEMSTALL_MASK, OFF_CFS_RQ_THROTTLES, OFF_GROUP_PARENT, OFF_GROUP_PERIOD, OFF_GROUP_QUOTA,
    OFF_GROUP_REFILL, OFF_RSS_FILE, OFF_TASK_CFS_RQ, OFF_TASK_GROUP, OFF_TASK_MEMSTALL,
    OFF_TASK_MM, OFF_TASK_THROTTLED, PAGE_BYTES, RSS_STRIDE, Task, probe,
};

/// Value of an offset that this kernel does not have.
const NONE: u64 = u64::MAX;
/// `MM_ANONPAGES` and `MM_SHMEMPAGES`, beside `MM_FILEPAGES`, which is 0.
const ANONYMOUS: u64 = 1;
const SHARED: u64 = 3;

/// Whether a task that leaves the CPU runnable has used up the quota of its control group. Since Linux 6.18 each
/// task is marked; before, the queue that it lies in.
#[inline(always)]
pub fn leaves_throttled(task: *const Task) -> bool {
    if OFF_TASK_THROTTLED.load() != NONE {
        // SAFETY: a tracepoint's argument.
        return unsafe { kernel::load::<u8, _>(task, OFF_TASK_THROTTLED.load()) } & 1 != 0;
    }
    queue_is_throttled(task)
}

/// 1: the quota of a task's control group is used up while it is woken, so it waits for more; since Linux 6.18
/// such a task runs until it would go back to its program.
#[inline(always)]
pub fn wakes_throttled(task: *const Task) -> u32 {
    u32::from(OFF_TASK_THROTTLED.load() == NONE && queue_is_throttled(task))
}

#[inline(always)]
fn queue_is_throttled(task: *const Task) -> bool {
    if OFF_TASK_CFS_RQ.load() == NONE || OFF_CFS_RQ_THROTTLES.load() == NONE {
        return false;
    }
    // SAFETY: a tracepoint's argument.
    let queue: u64 = unsafe { kernel::load(task, OFF_TASK_CFS_RQ.load()) };
    probe::<i32>(queue, OFF_CFS_RQ_THROTTLES.load()) > 0
}

/// Control groups looked at, from a task's own upwards.
const LEVELS: u32 = 8;
/// `RUNTIME_INF`: no quota.
const UNLIMITED: u64 = u64::MAX;

/// Of the time since `since` that a task was kept from a CPU for its quota, the end: when the quota was filled up
/// again. What is left of the time until `now`, others were running. A function of its own for the verifier too.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn refilled(group: u64, since: u64, now: u64) -> u64 {
    let mut group = group;
    let mut level = 0;
    while level < LEVELS && group != 0 {
        if probe::<u64>(group, OFF_GROUP_QUOTA.load()) != UNLIMITED {
            let next = probe::<u64>(group, OFF_GROUP_REFILL.load());
            let last = next.wrapping_sub(probe::<u64>(group, OFF_GROUP_PERIOD.load()));
            if last > since && last < now {
                return last;
            }
        }
        group = probe::<u64>(group, OFF_GROUP_PARENT.load());
        level += 1;
    }
    now
}

/// See [`refilled`]; `task` gets the CPU now.
#[inline(always)]
pub fn throttled_until(task: *const Task, since: u64, now: u64) -> u64 {
    if OFF_TASK_GROUP.load() == NONE || OFF_GROUP_REFILL.load() == NONE {
        return now;
    }
    // A plain number, as the verifier wants it of what is handed to a function.
    let group = probe::<u64>(task as u64, OFF_TASK_GROUP.load());
    refilled(group, since, now)
}

/// Whether the kernel counts the task as held up for want of memory (`task_struct.in_memstall`).
#[inline(always)]
pub fn wants_memory(task: *const Task) -> bool {
    if OFF_TASK_MEMSTALL.load() == NONE {
        return false;
    }
    // SAFETY: a tracepoint's argument.
    let bits: u8 = unsafe { kernel::load(task, OFF_TASK_MEMSTALL.load()) };
    u64::from(bits) & MEMSTALL_MASK.load() != 0
}

/// Notes how much memory the process of the current task has resident. One that is ending has none: what it had
/// stays.
#[inline(always)]
pub fn note_resident(slot: &mut ThreadSlot, task: *const Task) {
    if OFF_TASK_MM.load() == NONE || OFF_RSS_FILE.load() == NONE {
        return;
    }
    // SAFETY: the current task.
    let memory: u64 = unsafe { kernel::load(task, OFF_TASK_MM.load()) };
    if memory == 0 {
        return;
    }
    let first = OFF_RSS_FILE.load();
    let mut pages = probe::<i64>(memory, first);
    pages += probe::<i64>(memory, first + ANONYMOUS * RSS_STRIDE.load());
    pages += probe::<i64>(memory, first + SHARED * RSS_STRIDE.load());
    let pages = if pages > 0 { pages as u64 } else { 0 };
    slot.totals.resident_bytes = pages * PAGE_BYTES.load();
}
