//! Programs that watched processes start: which threads are theirs, and what is told of them.
//!
//! They have slots like workers have, of which they may take a share only, so that processes without number do
//! not keep workers from being watched.

use whyslow_abi::{
    loss::LossReason,
    record::{
        LifecycleKind, PROGRAM_ARGUMENTS, ProgramEvent, ProgramRecord, RecordHeader, RecordKind,
    },
    thread::{PROGRAM, ThreadSlot},
};

use crate::{
    emit::{self, Life, SUBMIT},
    kernel::{self, *},
    library::clock,
    maps::{PROGRAM_LEAVES, count_loss},
    payload::copy_user,
};

/// Takes leave to give another program a slot; where there is none, that is counted.
#[inline(always)]
pub fn take_leave() -> bool {
    match PROGRAM_LEAVES.pop() {
        Ok(Some(_)) => true,
        _ => {
            count_loss(LossReason::ProgramSlotsFull);
            false
        }
    }
}

/// Gives leave back that was not used, or is not any more.
#[inline(always)]
pub fn give_back() {
    // The list is as long as there are leaves, so there is room.
    let _ = PROGRAM_LEAVES.push(0, 0);
}

/// The slot is not that of a program any more.
#[inline(always)]
pub fn unmark(slot: &mut ThreadSlot) {
    if slot.flags & PROGRAM != 0 {
        slot.flags &= !PROGRAM;
        give_back();
    }
}

/// A thread wrote to descriptor 1 or 2: of a program, the first time is noted. A function of its own for the stack of
/// its caller. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_output(slot: *mut ThreadSlot) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let Some(slot) = (unsafe { slot.as_mut() }) else {
        return 0;
    };
    if slot.flags & PROGRAM != 0 && slot.first_output_ns == 0 {
        slot.first_output_ns = clock();
    }
    0
}

/// The thread of a program reads what looks like a request: it is a worker like any other from now on. Returns 0 where
/// it is not to be watched as one. A function of its own for the stack of its caller.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn begins_to_serve(slot: *mut ThreadSlot, now: u64) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let Some(slot) = (unsafe { slot.as_mut() }) else {
        return 0;
    };
    if DISCOVER.load() == 0 {
        return 0;
    }
    unmark(slot);
    let task = current_task();
    let life = Life {
        event: LifecycleKind::Discovered,
        other: 0,
        code: 0,
        last: 0,
        slot: crate::thread::index_of(task),
    };
    emit::lifecycle(task, Some(slot), &life, now);
    1
}

/// What a record of a program tells beside its thread.
pub struct Told {
    /// Event.
    pub event: ProgramEvent,
    /// By event.
    pub other: u32,
    /// Exit code.
    pub code: u32,
    /// Last thread of its process.
    pub last: u32,
    /// Slot.
    pub slot: u32,
    /// Process that started it; 0: ask the kernel.
    pub parent: u32,
    /// `struct linux_binprm` of an exec; 0: none.
    pub image: u64,
}

/// Ships a record about a program's thread. Of an exec, the thread is the current one.
#[inline(always)]
pub fn tell(task: *const Task, slot: &ThreadSlot, told: &Told, now: u64) {
    let Some(mut entry) = emit::reserve::<ProgramRecord>() else {
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is room for one record; the task pointers come from the kernel.
    unsafe {
        (*record).header = RecordHeader {
            time_ns: now,
            kind: RecordKind::Program as u32,
            tid: kernel::pid(task),
            tgid: kernel::tgid(task),
            generation: slot.generation,
            sequence: 0,
            reserved: 0,
        };
        (*record).event = told.event as u32;
        (*record).other = told.other;
        (*record).code = told.code;
        (*record).last = told.last;
        (*record).slot = told.slot;
        (*record).parent = if told.parent != 0 {
            told.parent
        } else {
            let parent: u64 = kernel::probe(task as u64, OFF_TASK_REAL_PARENT.load());
            kernel::probe(parent, OFF_TASK_TGID.load())
        };
        let leader: u64 = kernel::probe(task as u64, OFF_TASK_GROUP_LEADER.load());
        (*record).process_start_ns = kernel::probe(leader, OFF_TASK_START_BOOTTIME.load());
        (*record).first_output_ns = slot.first_output_ns;
        (*record).files_opened = slot.files_opened;
        (*record).reserved = 0;
        kernel::copy(
            &raw mut (*record).comm,
            (task as u64 + OFF_TASK_COMM.load()) as *const [u8; 16],
        );
        kernel::copy(&raw mut (*record).totals, &raw const slot.totals);
        (*record).file[0] = 0;
        (*record).arguments_len = 0;
        (*record).arguments_total = 0;
        if told.image != 0 {
            name(record, task, told.image);
        }
    }
    entry.submit(SUBMIT);
}

/// Writes the path and the arguments of the program that the current thread is about to run.
///
/// # Safety
/// `record` must be room for a record.
#[inline(always)]
unsafe fn name(record: *mut ProgramRecord, task: *const Task, image: u64) {
    if OFF_BPRM_FILENAME.load() != u64::MAX {
        let path = kernel::probe::<u64>(image, OFF_BPRM_FILENAME.load());
        // SAFETY: by the contract.
        unsafe { kernel::copy_name(&raw mut (*record).file, path) };
    }
    if OFF_TASK_MM.load() == u64::MAX
        || OFF_MM_ARG_START.load() == u64::MAX
        || OFF_MM_ARG_END.load() == u64::MAX
    {
        return;
    }
    let memory = kernel::probe::<u64>(task as u64, OFF_TASK_MM.load());
    let start = kernel::probe::<u64>(memory, OFF_MM_ARG_START.load());
    let end = kernel::probe::<u64>(memory, OFF_MM_ARG_END.load());
    if memory == 0 || end <= start {
        return;
    }
    let len = end - start;
    // SAFETY: by the contract.
    unsafe {
        (*record).arguments_total = len as u32;
        (*record).arguments_len =
            copy_user::<PROGRAM_ARGUMENTS>(&raw mut (*record).arguments, start, len);
    }
}
