//! `sys_exit`: a system call returns. Saved registers still hold its number and arguments.

use core::hint::black_box;

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext};
use aya_log_ebpf::debug;
use whyslow_abi::{
    account::Account,
    descriptor::DescriptorKind,
    record::LifecycleKind,
    syscall::{SyscallClass, SyscallKind},
    thread::{PROGRAM, ThreadSlot, ThreadState, USED_IO_URING},
};

use crate::{
    arch::{
        LISTEN, RECVFROM, RECVMMSG, RECVMSG, SENDMMSG, SENDTO, SyscallRegisters, opens,
        stack_pointer,
    },
    classify,
    connection::{self, Transfer},
    data::{Exchange, count_round_trip},
    descriptor::{self, Descriptor},
    emit::{self, Life},
    handover, interpreter,
    kernel::{self, COPY_DATA, DISCOVER, SELF_TGID, Task, current_task},
    ledger, lock, names, parts, payload, program,
    queue::{forget_queued, note_accepted, note_port},
    thread::{self, Line, NO_SLOT, make_candidate, watch, write_begin, write_end},
    tried, turn,
};

const EAGAIN: i64 = -11;
const ECONNRESET: i64 = -104;
const ETIMEDOUT: i64 = -110;
const MSG_PEEK: u64 = 2;
/// Reads of a candidate that were not HTTP until only one of so many is looked at.
const STRIKES: u32 = 16;

/// Entry.
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    let task = current_task();
    let registers = SyscallRegisters(ctx.arg(0));
    let Some(mark) = thread::mark(task) else {
        if registers.number() == LISTEN {
            listened(task, ctx.arg(1));
        }
        return 0;
    };
    if let Some((_, slot)) = thread::slot_of(mark) {
        watched(task, slot, registers, ctx.arg(1));
    } else if mark.is_candidate() {
        candidate(&ctx, task, registers, ctx.arg(1));
    }
    0
}

/// Now, monotonic.
#[inline(always)]
fn clock() -> u64 {
    // SAFETY: no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// A process that is not known listens.
#[inline(always)]
fn listened(task: *const Task, result: i64) {
    let tgid = kernel::tgid(task);
    if result != 0 || u64::from(tgid) == SELF_TGID.load() {
        return;
    }
    if DISCOVER.load() != 0 {
        make_candidate(task, Line::NONE);
    }
    told(task, LifecycleKind::Listen, NO_SLOT, None, clock());
}

#[inline(always)]
fn told(
    task: *const Task,
    event: LifecycleKind,
    slot: u32,
    thread: Option<&mut ThreadSlot>,
    now: u64,
) {
    emit::lifecycle(
        task,
        thread,
        &Life {
            event,
            other: 0,
            code: 0,
            last: 0,
            slot,
        },
        now,
    );
}

/// A thread of a process that listens: its first read of an HTTP request makes it watched.
#[inline(always)]
fn candidate(
    ctx: &BtfTracePointContext,
    task: *const Task,
    registers: SyscallRegisters,
    result: i64,
) {
    let number = registers.number();
    let kind = classify::table_entry(number) as u8;
    if kind == SyscallKind::Listen as u8 && result == 0 {
        told(task, LifecycleKind::Listen, NO_SLOT, None, clock());
        return;
    }
    if kind == SyscallKind::Accept as u8 {
        note_accepted(registers.arg0(), result);
        return;
    }
    if !is_read(kind) || result < 8 || DISCOVER.load() == 0 || peeks(number, registers) {
        return;
    }
    let Some(link) = thread::link(task) else {
        return;
    };
    if link.strikes >= STRIKES && link.strikes % STRIKES != 0 {
        link.strikes = link.strikes.wrapping_add(1);
        return;
    }
    let mut walked = Descriptor::NONE;
    descriptor::walk(registers.arg0(), &mut walked);
    if walked.kind != DescriptorKind::Accepted {
        return;
    }
    let span = payload::span(kind, registers, result as u64);
    let is_http = payload::may_begin_request(&span);
    note_port(walked.sock, u32::from(is_http));
    if !is_http {
        link.strikes = link.strikes.wrapping_add(1);
        return;
    }
    if link.strikes >= STRIKES {
        forget_queued(walked.sock);
    }
    let now = clock();
    let line = Line::of(link);
    let Some(index) = watch(task, line, ThreadState::Running, now) else {
        return;
    };
    let Some(slot) = thread::slot_at(index) else {
        return;
    };
    debug!(ctx, "process {} serves HTTP", slot.tgid);
    // Of the same time as the begin that follows, so that it stays in front of it.
    told(task, LifecycleKind::Discovered, index, Some(slot), now);
    let transfer = Transfer {
        task,
        descriptor: &walked,
        fd: registers.arg0() as i32,
        result,
        span,
    };
    write_begin(slot);
    connection::on_read(slot, &transfer, now);
    write_end(slot);
}

#[inline(always)]
fn is_read(kind: u8) -> bool {
    kind >= SyscallKind::Read as u8 && kind <= SyscallKind::ReceiveMessage as u8
}

#[inline(always)]
fn is_write(kind: u8) -> bool {
    kind >= SyscallKind::Write as u8 && kind <= SyscallKind::SendFile as u8
}

/// Whether a write is to descriptor 1 or 2.
#[inline(always)]
fn is_output(registers: SyscallRegisters) -> bool {
    registers.arg0().wrapping_sub(1) < 2
}

/// Whether a receive only looks and leaves the bytes.
#[inline(always)]
fn peeks(number: i32, registers: SyscallRegisters) -> bool {
    (number == RECVFROM || number == RECVMMSG) && registers.arg3() & MSG_PEEK != 0
        || number == RECVMSG && registers.arg2() & MSG_PEEK != 0
}

/// Whether a read found that the other end has closed the connection, or that it broke.
#[inline(always)]
fn ends_connection(kind: u8, registers: SyscallRegisters, result: i64) -> bool {
    let nothing_asked = kind == SyscallKind::Read as u8 && registers.arg2() == 0;
    result == ECONNRESET || result == ETIMEDOUT || (result == 0 && !nothing_asked)
}

/// A system call of a watched thread.
#[inline(always)]
fn watched(task: *const Task, slot: &mut ThreadSlot, registers: SyscallRegisters, result: i64) {
    if slot.state != ThreadState::Running as u32 {
        ledger::settle_switch_in(slot, task, clock());
    }
    let mut number = registers.number();
    let mut entry = classify::table_entry(number);
    // Opaque, so that the bound is checked on the very value that is used as the index.
    let class = black_box((entry >> 8) as usize);
    if class < SyscallClass::COUNT {
        slot.totals.syscalls[class] = slot.totals.syscalls[class].wrapping_add(1);
    }
    if entry as u8 == SyscallKind::Restart as u8 {
        number = slot.interrupted;
        entry = classify::table_entry(number);
    } else {
        slot.interrupted = number;
    }
    let kind = entry as u8;
    if is_read(kind) || is_write(kind) {
        transferred(task, slot, kind, registers, result);
    } else {
        let blocked = slot.pending_count;
        if blocked != 0 {
            settle(slot, kind, registers, result);
        }
        if kind == SyscallKind::EpollWait as u8 {
            turn::begins(slot, registers.arg0(), blocked);
        }
    }
    if kind == SyscallKind::Splice as u8 {
        spliced(task, slot, registers, result);
    } else if kind >= SyscallKind::Accept as u8 {
        others(task, slot, kind, registers, result);
    }
}

/// A call that has waited, and neither reads nor writes. What a lock needs is called from here: what functions deep down
/// keep just fits on the stack that all callers share.
#[inline(always)]
fn settle(slot: &mut ThreadSlot, kind: u8, registers: SyscallRegisters, result: i64) {
    let is_futex = kind == SyscallKind::Futex as u8;
    write_begin(slot);
    let by_interpreter = is_futex && interpreter::settle_lock(slot, registers.arg0()) != 0;
    if by_interpreter {
        ledger::add(slot, Account::LockGil, slot.pending_ns, slot.pending_count);
    } else {
        let mut walked = Descriptor::NONE;
        let lock = classify::settle(slot, u32::from(kind), result, &raw mut walked);
        if lock >= 0 {
            let waker = classify::waker(slot, kind, result);
            let what = lock as u64 | registers.arg1() << 32;
            lock::tell_wait(slot, &raw const walked, what, registers.arg0(), waker);
        }
    }
    let ns = slot.pending_ns;
    slot.pending_ns = 0;
    slot.pending_count = 0;
    if is_futex && !by_interpreter && ns >= handover::FLOOR_NS {
        handover::woken(slot);
    }
    write_end(slot);
}

/// Calls that change what is known of a connection or thread.
#[inline(always)]
fn others(
    task: *const Task,
    slot: &mut ThreadSlot,
    kind: u8,
    registers: SyscallRegisters,
    result: i64,
) {
    if kind == SyscallKind::FileLookup as u8 || kind == SyscallKind::FileChange as u8 {
        let counts = slot.flags & PROGRAM != 0 && kind == SyscallKind::FileLookup as u8;
        if counts && result >= 0 && opens(registers.number()) {
            slot.files_opened = slot.files_opened.wrapping_add(1);
        }
        tried::on_return(slot, registers, result);
    } else if kind == SyscallKind::Close as u8 || kind == SyscallKind::Shutdown as u8 {
        let now = clock();
        write_begin(slot);
        if kind == SyscallKind::Close as u8 {
            connection::on_close(slot, task, registers.arg0() as i32, now);
        } else {
            connection::on_shutdown(slot, task, registers.arg0(), now);
        }
        write_end(slot);
    } else if kind == SyscallKind::Accept as u8 {
        note_accepted(registers.arg0(), result);
    } else if kind == SyscallKind::Listen as u8 && result == 0 {
        told(task, LifecycleKind::Listen, NO_SLOT, None, clock());
    } else if kind == SyscallKind::IoUring as u8 && slot.flags & USED_IO_URING == 0 && result >= 0 {
        slot.flags |= USED_IO_URING;
        told(task, LifecycleKind::IoUring, NO_SLOT, Some(slot), clock());
    }
}

/// Data was moved between a pipe and something else. What it is, is not known; that it went to a client is.
#[inline(always)]
fn spliced(task: *const Task, slot: &mut ThreadSlot, registers: SyscallRegisters, result: i64) {
    let mut walked = Descriptor::NONE;
    descriptor::walk(registers.arg2(), &mut walked);
    if result <= 0 || walked.kind != DescriptorKind::Accepted {
        return;
    }
    slot.totals.bytes_out[walked.io_kind() as usize & 3] += result as u64;
    let transfer = Transfer {
        task,
        descriptor: &walked,
        fd: registers.arg2() as i32,
        result,
        span: payload::Span::UNKNOWN,
    };
    let now = clock();
    write_begin(slot);
    connection::on_write(slot, &transfer, now);
    write_end(slot);
}

/// A read or write: its bytes are counted by kind, its wait is settled, and what goes to or comes
/// from a client is looked at.
#[inline(always)]
fn transferred(
    task: *const Task,
    slot: &mut ThreadSlot,
    kind: u8,
    registers: SyscallRegisters,
    result: i64,
) {
    if result == EAGAIN && slot.pending_count == 0 {
        return;
    }
    let mut walked = Descriptor::NONE;
    descriptor::walk(registers.arg0(), &mut walked);
    let number = registers.number();
    if number == SENDTO && walked.kind == DescriptorKind::Upstream {
        names::note(slot, &walked, registers.arg4());
    }
    if slot.pending_count != 0 {
        write_begin(slot);
        classify::settle(slot, u32::from(kind), result, &raw mut walked);
        slot.pending_ns = 0;
        slot.pending_count = 0;
        write_end(slot);
    }
    let io = walked.io_kind() as usize & 3;
    let reads = is_read(kind);
    // Those count messages, not bytes.
    if result > 0 && number != RECVMMSG && number != SENDMMSG {
        if reads {
            slot.totals.bytes_in[io] += result as u64;
        } else {
            slot.totals.bytes_out[io] += result as u64;
            if is_output(registers) {
                program::note_output(slot);
            }
        }
    }
    if peeks(number, registers) {
        return;
    }
    let ended = reads && ends_connection(kind, registers, result);
    if walked.kind == DescriptorKind::Upstream && (result > 0 || ended) {
        with_server(
            slot,
            &walked,
            kind,
            registers,
            if ended { 0 } else { result },
        );
    } else if walked.kind == DescriptorKind::Accepted {
        with_client(task, slot, &walked, kind, registers, result);
    } else if walked.kind as u8 >= DescriptorKind::Pipe as u8 && handover::may_signal(reads, result)
    {
        handover::signalled(slot, walked.kind as u32, result);
    }
}

/// Bytes went to or came from a server; none: it has ended the connection.
#[inline(always)]
fn with_server(
    slot: &mut ThreadSlot,
    walked: &Descriptor,
    kind: u8,
    registers: SyscallRegisters,
    result: i64,
) {
    let reads = is_read(kind);
    if result > 0 {
        count_round_trip(slot, !reads);
    }
    if COPY_DATA.load() == 0 || slot.flags & PROGRAM != 0 {
        return;
    }
    let span = payload::span(kind, registers, result as u64);
    let named = registers.number() == SENDTO;
    let mut exchange = Exchange {
        inode: walked.inode,
        sock: walked.sock,
        now: clock(),
        len: result as u64,
        start: span.start,
        first_len: span.first_len,
        end: span.end,
        to: if named { registers.arg4() } else { 0 },
        stack: stack_pointer(registers.0),
        family: u32::from(walked.family),
        writes: u32::from(!reads),
    };
    write_begin(slot);
    parts::exchange(slot, &mut exchange, kind, registers);
    write_end(slot);
}

/// Bytes went to or came from a client, or did not for a reason.
#[inline(always)]
fn with_client(
    task: *const Task,
    slot: &mut ThreadSlot,
    walked: &Descriptor,
    kind: u8,
    registers: SyscallRegisters,
    result: i64,
) {
    let now = clock();
    let len = if result > 0 { result as u64 } else { 0 };
    let transfer = Transfer {
        task,
        descriptor: walked,
        fd: registers.arg0() as i32,
        result,
        span: payload::span(kind, registers, len),
    };
    write_begin(slot);
    if is_read(kind) {
        connection::on_read(slot, &transfer, now);
    } else {
        connection::on_write(slot, &transfer, now);
    }
    write_end(slot);
}
