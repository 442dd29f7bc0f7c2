//! Where this kernel notes used-up CPU quotas, want of memory, and resident memory: each in its own way over the
//! years, and each a feature that can be missing.

use whyslow_abi::settings::global;

use super::{
    btf::KernelTypes,
    load::{Globals, off, on},
};
use crate::source::Feature;

/// Stands for a place that this kernel does not have.
const NONE: u64 = u64::MAX;

/// Finds all of them.
pub(super) fn find(types: &KernelTypes, globals: &mut Globals, features: &mut Vec<Feature>) {
    let found = [
        ("throttled", throttled(types, globals)),
        ("memory_stalls", memory_stalls(types, globals)),
        ("resident_memory", resident_memory(types, globals)),
    ];
    features.extend(found.map(|(name, missing)| match missing {
        None => on(name),
        Some(reason) => off(name, reason),
    }));
}

/// `None`: the kernel has it; else why not.
type Missing = Option<&'static str>;

/// Linux 6.18 marks the task, earlier ones the queue that it lies in.
fn throttled(types: &KernelTypes, globals: &mut Globals) -> Missing {
    let task = types.offset("task_struct", "throttled");
    let queue = types
        .offset("task_struct", "se.cfs_rq")
        .zip(types.offset("cfs_rq", "throttle_count"));
    let (queue, count) = queue.unwrap_or((NONE, NONE));
    globals.push((global::OFF_TASK_THROTTLED, task.unwrap_or(NONE)));
    globals.push((global::OFF_TASK_CFS_RQ, queue));
    globals.push((global::OFF_CFS_RQ_THROTTLES, count));
    (task.is_none() && queue == NONE)
        .then_some("the kernel was built without CONFIG_CFS_BANDWIDTH: there are no CPU quotas")
}

/// Kept by what accounts for memory pressure, which may be switched off.
fn memory_stalls(types: &KernelTypes, globals: &mut Globals) -> Missing {
    let bit = types.bit_offset("task_struct", "in_memstall");
    let kept = std::fs::read("/proc/pressure/memory").is_ok();
    let (byte, mask) = match bit {
        Some(bit) if kept => (bit / 8, 1 << (bit % 8)),
        _ => (NONE, 0),
    };
    globals.push((global::OFF_TASK_MEMSTALL, byte));
    globals.push((global::MEMSTALL_MASK, mask));
    match (bit, kept) {
        (None, _) => Some("the kernel was built without CONFIG_PSI"),
        (_, false) => Some("the kernel does not account for memory pressure: boot it with psi=1"),
        _ => None,
    }
}

/// Since Linux 6.2 there is a counter per CPU for each kind of page, before one for all.
fn resident_memory(types: &KernelTypes, globals: &mut Globals) -> Missing {
    let single = types
        .offset("mm_struct", "rss_stat.count")
        .map(|at| (at, size_of::<u64>() as u64));
    let per_cpu = || {
        let counters = types.offset("mm_struct", "rss_stat")?;
        let count = types.offset("percpu_counter", "count")?;
        Some((counters + count, types.size("percpu_counter")?))
    };
    let place = single.or_else(per_cpu);
    let (first, stride) = place.unwrap_or((NONE, 0));
    // SAFETY: no preconditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    globals.push((global::OFF_RSS_FILE, first));
    globals.push((global::RSS_STRIDE, stride));
    globals.push((global::PAGE_BYTES, u64::try_from(page).unwrap_or(4096)));
    place
        .is_none()
        .then_some("the kernel has no `mm_struct.rss_stat`")
}
