//! What SQLite does for a request: one record per execution of a statement, from its first step until it is
//! done, reset or finalized; and one per text that it was given.
//!
//! An execution that goes on is told too, when its first row is there and whenever their number is a power of
//! two: a request may end with a cursor open.

use aya_ebpf::helpers::generated::bpf_probe_read_user_str;
use whyslow_abi::{
    library::{Execution, LibraryCall, OPEN, PREPARE, PREPARE_FLAGS, STEP},
    loss::LossReason,
    record::{
        EXECUTION_CONTINUED, EXECUTION_OPEN, ExecutedRecord, LIBRARY_SPENT, LIBRARY_TEXT,
        LibraryTextKind, LibraryTextRecord, RecordHeader, RecordKind, TEXT_WHOLE,
    },
    thread::ThreadSlot,
};

use crate::{
    emit::{self, SUBMIT},
    library::{Caller, clock},
    maps::{EARLY_CALLS, EXECUTIONS, count_loss},
    payload::read_user,
};

/// `SQLITE_ROW`.
const ROW: i32 = 100;
/// `SQLITE_DONE`.
const DONE: i32 = 101;

/// Makes room for the calls of a thread that is not watched yet.
#[inline(always)]
pub fn note_early(caller: Caller) {
    if !caller.mark.is_candidate() || EARLY_CALLS.get_ptr_mut(caller.tid).is_some() {
        return;
    }
    let none = LibraryCall {
        stack: 0,
        return_address: 0,
        function: 0,
        begin_ns: 0,
        connection: 0,
        request: 0,
        generation: 0,
        missed: 0,
        reserved: 0,
        arguments: [0; 6],
    };
    // Without room for it, the text is not known: its statement is one that was prepared earlier.
    let _ = EARLY_CALLS.insert(caller.tid, none, 0);
}

/// A step has returned.
#[inline(always)]
pub fn stepped(caller: Caller, slot: &mut ThreadSlot, call: &LibraryCall, result: i32) {
    if call.function != STEP {
        return;
    }
    let now = clock();
    let statement = call.arguments[0];
    let key = caller.object(statement);
    // SAFETY: a live map value. A statement is used by one thread at a time.
    let known = unsafe { EXECUTIONS.get_ptr_mut(key).and_then(|known| known.as_mut()) };
    let before = known.as_deref();
    let (mut execution, goes_on) = so_far(before, call, now.wrapping_sub(call.begin_ns));
    let missed = if call.missed != 0 { LIBRARY_SPENT } else { 0 };
    if result != ROW {
        let code = if result == DONE { 0 } else { result };
        ship(slot, &execution, statement, (code, missed), now);
        if known.is_some() {
            let _ = EXECUTIONS.remove(key);
        }
        return;
    }
    execution.rows += 1;
    if execution.rows == 1 {
        execution.first_row_ns = execution.total_ns;
    }
    if execution.rows & (execution.rows - 1) == 0 {
        ship(
            slot,
            &execution,
            statement,
            (0, EXECUTION_OPEN | missed),
            now,
        );
    }
    match known {
        Some(known) if goes_on => *known = execution,
        _ => {
            let _ = EXECUTIONS.insert(key, execution, 0);
        }
    }
}

/// An execution with one more step, of `ns`; whether it is one that was known. One that another request has begun goes on,
/// but for this one anew.
#[inline(always)]
fn so_far(known: Option<&Execution>, call: &LibraryCall, ns: u64) -> (Execution, bool) {
    let mut continued = 0;
    if let Some(known) = known {
        if known.request == call.request && known.connection == call.connection {
            let mut execution = *known;
            execution.total_ns = execution.total_ns.wrapping_add(ns);
            return (execution, true);
        }
        continued = 1;
    }
    let execution = Execution {
        begin_ns: call.begin_ns,
        total_ns: ns,
        first_row_ns: 0,
        rows: 0,
        connection: call.connection,
        request: call.request,
        continued,
    };
    (execution, false)
}

/// A statement was reset or finalized.
#[inline(always)]
pub fn ended(caller: Caller, slot: &mut ThreadSlot, statement: u64) {
    let key = caller.object(statement);
    // SAFETY: a live map value; it is copied.
    let Some(execution) = EXECUTIONS
        .get_ptr_mut(key)
        .map(|execution| unsafe { *execution })
    else {
        return;
    };
    ship(slot, &execution, statement, (0, 0), clock());
    let _ = EXECUTIONS.remove(key);
}

/// `(result, flags)`
#[inline(always)]
fn ship(
    slot: &mut ThreadSlot,
    execution: &Execution,
    statement: u64,
    (result, flags): (i32, u32),
    now: u64,
) {
    let mut flags = flags;
    if execution.continued != 0 {
        flags |= EXECUTION_CONTINUED;
    }
    if flags & EXECUTION_OPEN == 0 {
        flags |= spend(slot, execution.connection, execution.request);
    }
    let sequence = emit::next_sequence(slot);
    let Some(mut entry) = emit::reserve::<ExecutedRecord>() else {
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is room for one record.
    unsafe {
        emit::fill_header(
            &raw mut (*record).header,
            RecordKind::Executed,
            slot,
            sequence,
            now,
        );
        (*record).statement = statement;
        (*record).connection = execution.connection;
        (*record).begin_ns = execution.begin_ns;
        (*record).total_ns = execution.total_ns;
        (*record).first_row_ns = execution.first_row_ns;
        (*record).rows = execution.rows;
        (*record).request = execution.request;
        (*record).result = result;
        (*record).flags = flags;
        (*record).reserved = 0;
    }
    entry.submit(SUBMIT);
}

/// One record less that the open request may still take; the flag when that was the last.
#[inline(always)]
fn spend(slot: &mut ThreadSlot, connection: u64, request: u32) -> u32 {
    if slot.data_budget == 0 || slot.connection != connection || slot.request != request {
        return 0;
    }
    slot.data_budget -= 1;
    if slot.data_budget == 0 {
        LIBRARY_SPENT
    } else {
        0
    }
}

/// What came of a text.
struct Given {
    kind: LibraryTextKind,
    /// 0: nothing, it failed.
    object: u64,
    database: u64,
    text: u64,
    /// Bytes of it as the caller says; negative: up to its NUL.
    bytes: i32,
    /// Where the address of what follows the statement is; 0: nowhere.
    rest: u64,
}

/// `None`: nothing to tell of.
#[inline(always)]
fn outcome(call: &LibraryCall, result: i32) -> Option<Given> {
    let [first, second, third, fourth, fifth, sixth] = call.arguments;
    if call.function == OPEN {
        let object = read_user::<u64>(second)?;
        return (result == 0).then_some(Given {
            kind: LibraryTextKind::Opened,
            object,
            database: 0,
            text: first,
            bytes: -1,
            rest: 0,
        });
    }
    let (place, rest) = match call.function {
        PREPARE => (fourth, fifth),
        PREPARE_FLAGS => (fifth, sixth),
        _ => return None,
    };
    let object = if result == 0 {
        read_user::<u64>(place)?
    } else {
        0
    };
    // An empty text makes no statement, and is no error.
    (object != 0 || result != 0).then_some(Given {
        kind: LibraryTextKind::Prepared,
        object,
        database: first,
        text: second,
        bytes: third as i32,
        rest,
    })
}

/// A function that was given a text has returned.
#[inline(always)]
pub fn given(
    caller: Caller,
    slot: Option<&'static mut ThreadSlot>,
    call: &LibraryCall,
    result: i32,
) {
    let Some(given) = outcome(call, result) else {
        return;
    };
    let now = clock();
    let (header, flags) = front(caller, slot, call, now);
    let Some(mut entry) = emit::reserve::<LibraryTextRecord>() else {
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is room for one record.
    unsafe {
        (*record).header = header;
        (*record).object = given.object;
        (*record).database = given.database;
        (*record).connection = call.connection;
        (*record).request = call.request;
        (*record).ns = now.wrapping_sub(call.begin_ns);
        (*record).kind = given.kind as u32;
        (*record).result = result;
        (*record).reserved = 0;
        let len = copy_text(&raw mut (*record).text, given.text);
        let used = within(len, &given);
        let whole = len < LIBRARY_TEXT as u32 - 1 || used < len;
        (*record).text_len = used;
        (*record).flags = flags | if whole { TEXT_WHOLE } else { 0 };
    }
    entry.submit(SUBMIT);
}

/// Front of a record about a text, and its first flags. A failure is an operation, and takes of the budget.
#[inline(always)]
fn front(
    caller: Caller,
    slot: Option<&'static mut ThreadSlot>,
    call: &LibraryCall,
    now: u64,
) -> (RecordHeader, u32) {
    let (generation, sequence, flags) = match slot {
        Some(slot) => (
            slot.generation,
            emit::next_sequence(slot),
            spend(slot, call.connection, call.request),
        ),
        None => (0, 0, 0),
    };
    let header = RecordHeader {
        time_ns: now,
        kind: RecordKind::LibraryText as u32,
        tid: caller.tid,
        tgid: caller.tgid,
        generation,
        sequence,
        reserved: 0,
    };
    (header, flags)
}

/// Bytes of a text of `len` that are of the statement: it may be followed by others.
#[inline(always)]
fn within(len: u32, given: &Given) -> u32 {
    let mut used = u64::from(len);
    if given.bytes >= 0 && (given.bytes as u64) < used {
        used = given.bytes as u64;
    }
    if given.rest != 0
        && let Some(next) = read_user::<u64>(given.rest)
        && next > given.text
        && next - given.text < used
    {
        used = next - given.text;
    }
    used as u32
}

/// Copies a text up to its NUL; returns its length without that.
///
/// # Safety
/// `to` must be writable.
#[inline(always)]
unsafe fn copy_text(to: *mut [u8; LIBRARY_TEXT], address: u64) -> u32 {
    // SAFETY: by the contract; a bad source is an error code.
    let copied =
        unsafe { bpf_probe_read_user_str(to.cast(), LIBRARY_TEXT as u32, address as *const _) };
    if copied <= 0 {
        count_loss(LossReason::UserReadFault);
        return 0;
    }
    copied as u32 - 1
}
