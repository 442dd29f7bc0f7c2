//! `mm_vmscan_*_reclaim_begin` and `_end`: a thread that wants memory has to free some first, for the host or for its
//! control group. That is work of its own, on the CPU: it is told from what the thread computes.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext};
use whyslow_abi::{account::Account, thread::ThreadState};

use crate::{
    kernel::current_task,
    ledger,
    thread::{self, write_begin, write_end},
};

/// Entry, for the host.
#[btf_tracepoint(function = "mm_vmscan_direct_reclaim_begin")]
pub fn reclaim_begin(_ctx: BtfTracePointContext) -> i32 {
    begins()
}

/// Entry, for a control group.
#[btf_tracepoint(function = "mm_vmscan_memcg_reclaim_begin")]
pub fn group_reclaim_begin(_ctx: BtfTracePointContext) -> i32 {
    begins()
}

/// Entry, for the host.
#[btf_tracepoint(function = "mm_vmscan_direct_reclaim_end")]
pub fn reclaim_end(_ctx: BtfTracePointContext) -> i32 {
    ends()
}

/// Entry, for a control group.
#[btf_tracepoint(function = "mm_vmscan_memcg_reclaim_end")]
pub fn group_reclaim_end(_ctx: BtfTracePointContext) -> i32 {
    ends()
}

#[inline(always)]
fn begins() -> i32 {
    let Some(slot) = thread::watched(current_task()) else {
        return 0;
    };
    // Else its last switch-in is still to be settled, and what follows with it.
    if slot.state == ThreadState::Running as u32 {
        write_begin(slot);
        // SAFETY: no preconditions.
        ledger::tick(slot, unsafe { bpf_ktime_get_ns() });
        slot.state = ThreadState::Reclaims as u32;
        write_end(slot);
    }
    0
}

#[inline(always)]
fn ends() -> i32 {
    let Some(slot) = thread::watched(current_task()) else {
        return 0;
    };
    let runs = slot.state == ThreadState::Running as u32;
    // It runs: it has lost the CPU meanwhile, and all since it got it again was for memory too.
    if runs || slot.state == ThreadState::Reclaims as u32 {
        // SAFETY: no preconditions.
        let now = unsafe { bpf_ktime_get_ns() };
        write_begin(slot);
        ledger::add(slot, Account::Memory, now.wrapping_sub(slot.since_ns), 0);
        slot.state = ThreadState::Running as u32;
        slot.since_ns = now;
        write_end(slot);
    }
    0
}
