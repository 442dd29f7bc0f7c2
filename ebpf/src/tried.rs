//! Creating what must not exist before: so do programs whose locks are files, and try again after a sleep where they
//! find that it exists.

use aya_ebpf::helpers::generated::bpf_probe_read_user_str;
use whyslow_abi::{
    account::Account,
    record::{
        RecordKind, TRIED_DIRECTORY, TRIED_PATH, TRIED_REMOVED, TRIED_SPENT, TRIES_BUDGET,
        TriedRecord,
    },
    thread::ThreadSlot,
};

use crate::{
    arch::{Creates, SyscallRegisters, creates},
    emit::{self, SUBMIT},
    library::clock,
};

const EEXIST: i64 = -17;
const O_EXCL: u64 = 0o200;

/// A call about files returned.
#[inline(always)]
pub fn on_return(slot: &mut ThreadSlot, registers: SyscallRegisters, result: i64) {
    if result < 0 && result != EEXIST || slot.tries_left == 0 {
        return;
    }
    let (path, flags) = match creates(slot.interrupted) {
        Creates::Nothing => return,
        Creates::Open => (registers.arg0(), registers.arg1()),
        Creates::OpenAt => (registers.arg1(), registers.arg2()),
        Creates::Second => (registers.arg1(), O_EXCL),
        Creates::Third => (registers.arg2(), O_EXCL),
        Creates::Fourth => (registers.arg3(), O_EXCL),
        Creates::Directory => (registers.arg0(), O_EXCL | DIRECTORY),
        Creates::DirectoryAt => (registers.arg1(), O_EXCL | DIRECTORY),
        Creates::Removes => (registers.arg0(), REMOVED),
        Creates::RemovesAt => (registers.arg1(), REMOVED),
    };
    // Only who has created something is asked what it removes.
    let removes = flags == REMOVED && slot.tries_left != TRIES_BUDGET && result == 0;
    if flags & O_EXCL != 0 || removes {
        ship_try(slot, path, result, flags);
    }
}

/// Among the flags of an `open`: none of those.
const DIRECTORY: u64 = 1 << 40;
const REMOVED: u64 = 1 << 41;

/// Ships a try. A function of its own for the verifier. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ship_try(slot: *mut ThreadSlot, path: u64, result: i64, flags: u64) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let Some(slot) = (unsafe { slot.as_mut() }) else {
        return 0;
    };
    slot.tries_left = slot.tries_left.wrapping_sub(1);
    let sequence = emit::next_sequence(slot);
    let Some(mut entry) = emit::reserve::<TriedRecord>() else {
        return 0;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is room for one record; a bad path is an error code.
    unsafe {
        emit::fill_header(
            &raw mut (*record).header,
            RecordKind::Tried,
            slot,
            sequence,
            clock(),
        );
        (*record).connection = slot.connection;
        (*record).request = slot.request;
        (*record).result = result as i32;
        (*record).flags = 0;
        if slot.tries_left == 0 {
            (*record).flags |= TRIED_SPENT;
        }
        if flags & DIRECTORY != 0 {
            (*record).flags |= TRIED_DIRECTORY;
        }
        if flags & REMOVED != 0 {
            (*record).flags |= TRIED_REMOVED;
        }
        (*record).sleep_ns = slot.totals.ns[Account::Sleep as usize];
        (*record).sleep_count = slot.totals.count[Account::Sleep as usize];
        (*record).path[0] = 0;
        bpf_probe_read_user_str(
            (&raw mut (*record).path).cast(),
            TRIED_PATH as u32,
            path as *const _,
        );
    }
    entry.submit(SUBMIT);
    0
}
