//! Learns the addresses of the kernel's file operations for eventfd, epoll, timerfd and pidfd:
//! they are not in the symbol table of every kernel. The agent opens one of each, runs this
//! iterator once, and reads the result, before the core object is loaded.
#![no_std]
#![no_main]

mod frame;

use aya_ebpf::{btf_maps::Array, macros::btf_map};

#[allow(dead_code, reason = "shared with the core object")]
mod kernel;

use kernel::*;

/// Descriptors to look at; the agent's own.
#[btf_map]
static DESCRIPTORS: Array<u32, 8> = Array::new();
/// Their file operations.
#[btf_map]
static OPERATIONS: Array<u64, 8> = Array::new();

/// Entry.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub fn calibrate(ctx: *const TaskIteration) -> i32 {
    // SAFETY: the context of a task iterator; the task is null at the end.
    let task = unsafe { core::ptr::read_volatile(&raw const (*ctx).task) };
    if task.is_null() || u64::from(pid(task)) != SELF_TGID.load() {
        return 0;
    }
    let files: u64 = probe(task as u64, OFF_TASK_FILES.load());
    let table: u64 = probe(files, OFF_FILES_FDT.load());
    let array: u64 = probe(table, OFF_FDT_FD.load());
    let mut index = 0;
    while index < 8 {
        if let Some(fd) = DESCRIPTORS.get(index) {
            let file: u64 = probe(array, u64::from(*fd) * 8);
            if let Some(operations) = OPERATIONS.get_ptr_mut(index) {
                let value = if file == 0 {
                    0
                } else {
                    probe(file, OFF_FILE_OP.load())
                };
                // SAFETY: a live array value.
                unsafe { *operations = value }
            }
        }
        index += 1;
    }
    0
}
