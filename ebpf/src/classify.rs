//! What a system call waited for: called at its exit, with its arguments still at hand, and only
//! when the thread was blocked in it.

use aya_ebpf::helpers::generated::bpf_task_pt_regs;
use whyslow_abi::{
    account::Account,
    descriptor::DescriptorKind,
    syscall::SyscallKind,
    thread::ThreadSlot,
    wait::{WAIT_NAME, WAITS_KEPT, Wait, WaitTargetKind},
};

use crate::{
    arch::{SYSCALLS, SyscallRegisters, WAITID, opens},
    descriptor::{self, AF_INET, AF_INET6, AF_UNIX, Descriptor},
    interpreter,
    kernel::*,
    ledger, names,
    payload::read_user,
    service, turn,
};

const F_SETLKW: u64 = 7;
const F_OFD_SETLKW: u64 = 38;
const POLLIN_LIKE: u32 = 0x01 | 0x02 | 0x10 | 0x40 | 0x80;
const POLLOUT: u32 = 0x04;
/// A wait whose descriptor is not known.
const NO_DESCRIPTOR: u64 = u64::MAX;

/// The account of time blocked outside of any system call.
#[inline(always)]
pub fn fault_account() -> Account {
    Account::DiskFault
}

/// The kind of a system call, from its number.
#[inline(always)]
pub fn table_entry(number: i32) -> u16 {
    let index = number as usize;
    if index < SYSCALLS.len() {
        SYSCALLS[index]
    } else {
        0
    }
}

/// What a blocked system call waited for.
struct Cause {
    account: Account,
    target: WaitTargetKind,
    fd: i32,
    a: u64,
}

impl Cause {
    const fn plain(account: Account) -> Self {
        Self {
            account,
            target: WaitTargetKind::None,
            fd: -1,
            a: 0,
        }
    }
}

/// While blocking, notes what is not known any more afterwards: a descriptor of the sets of a `select`, which are
/// overwritten when it times out; who holds a lock.
#[inline(always)]
pub fn note_block(slot: &mut ThreadSlot, number: i32, registers: SyscallRegisters) {
    let kind = table_entry(number) as u8;
    if kind == SyscallKind::Select as u8 {
        slot.selected_fd = first_of_sets(registers).0;
    } else if kind == SyscallKind::Futex as u8 {
        interpreter::note_holder(slot, registers.arg0());
    } else if kind == SyscallKind::EpollWait as u8 {
        turn::blocks(slot, registers.arg0());
    }
}

/// Lowest descriptor in the first set that has one: read, write, except; whether it is to be written.
#[inline(always)]
fn first_of_sets(registers: SyscallRegisters) -> (i32, bool) {
    let limit = registers.arg0();
    let read = first_selected(registers.arg1(), limit);
    if read >= 0 {
        return (read, false);
    }
    let write = first_selected(registers.arg2(), limit);
    if write >= 0 {
        return (write, true);
    }
    (first_selected(registers.arg3(), limit), false)
}

/// Words of a full `fd_set`.
const SET_WORDS: u64 = 16;

/// Lowest descriptor in a set of `limit`; -1: none. A function of its own for the verifier too.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn first_selected(set: u64, limit: u64) -> i32 {
    let mut index = 0u64;
    while index < SET_WORDS {
        if set == 0 || index * 64 >= limit {
            break;
        }
        let bits = read_user::<u64>(set + index * 8).unwrap_or(0);
        if bits != 0 {
            return (index * 64) as i32 + bits.trailing_zeros() as i32;
        }
        index += 1;
    }
    -1
}

/// Books the pending time of the current system call. `walked` is its descriptor, for calls that
/// have one (reads, writes and the like). Returns, of a wait for a lock that is long enough to be kept, its account,
/// else -1. A function of its own for the verifier too.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn settle(
    slot: *mut ThreadSlot,
    kind: u32,
    result: i64,
    walked: *mut Descriptor,
) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let (Some(slot), Some(walked)) = (unsafe { slot.as_mut() }, unsafe { walked.as_mut() }) else {
        return -1;
    };
    let kind = kind as u8;
    // SAFETY: a helper of the current task's saved registers.
    let registers = unsafe { bpf_task_pt_regs(current_task() as *mut _) };
    let registers = SyscallRegisters(registers as *const _);
    let mut cause = cause(slot, kind, registers, result, walked);
    if cause.account as u8 == Account::NetUpstream as u8
        && names::is_resolver(walked, slot.name_socket) != 0
    {
        cause.account = Account::NetDns;
    }
    if kind == SyscallKind::EpollWait as u8 && cause.account as u8 == Account::NetClientRead as u8 {
        slot.turn.epoll = registers.arg0() as u32 + 1;
    }
    let account = cause.account as u8;
    ledger::add_any(slot, account, slot.pending_ns, slot.pending_count);
    if slot.pending_ns < WAIT_FLOOR_NS.load() {
        return -1;
    }
    keep_wait(
        slot,
        &cause,
        (registers.number(), waker(slot, kind, result)),
        walked,
    );
    if account == Account::LockFutex as u8 || account == Account::LockFile as u8 {
        i32::from(account)
    } else {
        -1
    }
}

#[inline(always)]
fn cause(
    slot: &mut ThreadSlot,
    kind: u8,
    registers: SyscallRegisters,
    result: i64,
    walked: &mut Descriptor,
) -> Cause {
    let by_child = slot.woken_by_child != 0;
    let fd = registers.arg0();
    match kind {
        k if k == SyscallKind::Read as u8
            || k == SyscallKind::ReadVector as u8
            || k == SyscallKind::ReceiveMessage as u8 =>
        {
            of_descriptor(walked.read_account(by_child), fd)
        }
        k if k == SyscallKind::Write as u8
            || k == SyscallKind::WriteVector as u8
            || k == SyscallKind::SendMessage as u8
            || k == SyscallKind::SendFile as u8 =>
        {
            of_descriptor(walked.write_account(by_child), fd)
        }
        k if k == SyscallKind::Accept as u8 || k == SyscallKind::Connect as u8 => {
            descriptor::walk(fd, walked);
            let account = if k == SyscallKind::Accept as u8 {
                Account::NetClientRead
            } else {
                Account::NetUpstream
            };
            of_descriptor(account, fd)
        }
        k if k == SyscallKind::Splice as u8 => spliced(registers, by_child, walked),
        k if k == SyscallKind::Poll as u8 => polled(slot, registers, result, walked),
        k if k == SyscallKind::Select as u8 => selected(slot, registers, result, walked),
        k if k == SyscallKind::EpollWait as u8 => epolled(slot, registers, result, walked),
        k if k == SyscallKind::Futex as u8 => Cause {
            account: Account::LockFutex,
            target: WaitTargetKind::Futex,
            fd: -1,
            a: fd,
        },
        k if k == SyscallKind::Flock as u8 => {
            descriptor::walk(fd, walked);
            of_descriptor(Account::LockFile, fd)
        }
        k if k == SyscallKind::Fcntl as u8 => controlled(registers, walked),
        k if k == SyscallKind::Sync as u8 => {
            descriptor::walk(fd, walked);
            of_descriptor(Account::DiskSync, fd)
        }
        k if k == SyscallKind::FileLookup as u8 && result >= 0 && opens(registers.number()) => {
            opened(result as u64, by_child, walked)
        }
        // A signal that its child caused: `sigsuspend`, `sigtimedwait`, `pause`.
        k if k == SyscallKind::Other as u8 && by_child => Cause::plain(Account::Child),
        _ => without_descriptor(kind, registers),
    }
}

/// One end of a splice is a pipe: the other is what it is about.
#[inline(always)]
fn spliced(registers: SyscallRegisters, by_child: bool, walked: &mut Descriptor) -> Cause {
    descriptor::walk(registers.arg0(), walked);
    if walked.kind != DescriptorKind::Pipe {
        return of_descriptor(walked.read_account(by_child), registers.arg0());
    }
    descriptor::walk(registers.arg2(), walked);
    of_descriptor(walked.write_account(by_child), registers.arg2())
}

/// Of what `fcntl` does, only locks are waited for.
#[inline(always)]
fn controlled(registers: SyscallRegisters, walked: &mut Descriptor) -> Cause {
    descriptor::walk(registers.arg0(), walked);
    let command = registers.arg1();
    let account = if command == F_SETLKW || command == F_OFD_SETLKW {
        Account::LockFile
    } else {
        Account::Unexplained
    };
    of_descriptor(account, registers.arg0())
}

/// A FIFO opens when its other end does.
#[inline(always)]
fn opened(fd: u64, by_child: bool, walked: &mut Descriptor) -> Cause {
    descriptor::walk(fd, walked);
    if walked.kind == DescriptorKind::Pipe {
        return of_descriptor(walked.read_account(by_child), fd);
    }
    *walked = Descriptor::NONE;
    Cause::plain(Account::DiskRead)
}

#[inline(always)]
fn without_descriptor(kind: u8, registers: SyscallRegisters) -> Cause {
    let account = match kind {
        k if k == SyscallKind::FileLookup as u8 => Account::DiskRead,
        k if k == SyscallKind::FileChange as u8 => Account::DiskWrite,
        k if k == SyscallKind::Close as u8 => Account::DiskWrite,
        k if k == SyscallKind::Sleep as u8 => Account::Sleep,
        k if k == SyscallKind::Spawn as u8 => Account::Child,
        k if k == SyscallKind::WaitChild as u8 => {
            // `waitid` has the kind of its id first: 1 is a process, 3 a descriptor of one.
            let pid = if registers.number() != WAITID {
                registers.arg0() as i32
            } else if registers.arg0() == 1 {
                registers.arg1() as i32
            } else {
                0
            };
            return Cause {
                account: Account::Child,
                target: WaitTargetKind::Process,
                fd: -1,
                a: if pid > 0 { pid as u64 } else { 0 },
            };
        }
        _ => Account::Unexplained,
    };
    Cause::plain(account)
}

/// The target is told by [`keep_wait`] from the walked descriptor.
#[inline(always)]
fn of_descriptor(account: Account, fd: u64) -> Cause {
    Cause {
        account,
        target: WaitTargetKind::None,
        fd: fd as i32,
        a: 0,
    }
}

#[inline(always)]
fn ready(walked: &Descriptor, fd: u64, to_write: bool, by_child: bool) -> Cause {
    let account = if to_write {
        walked.write_account(by_child)
    } else {
        walked.read_account(by_child)
    };
    of_descriptor(account, fd)
}

/// Entries of a `poll` looked at.
const POLLED: u64 = 128;

/// The first entry of a `poll` of `count` that was ready; of one that timed out, the first of all. 0: not among
/// the first. A function of its own for the verifier too.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn first_polled(set: u64, count: u64, timed_out: u32) -> u64 {
    let mut index = 0u64;
    while index < POLLED {
        if index >= count {
            break;
        }
        let entry = read_user::<u64>(set + index * 8).unwrap_or(0);
        if entry >> 48 != 0 || timed_out != 0 {
            return entry;
        }
        index += 1;
    }
    0
}

/// `poll`: the first descriptor that was ready, else the first one asked for.
#[inline(always)]
fn polled(
    slot: &ThreadSlot,
    registers: SyscallRegisters,
    result: i64,
    walked: &mut Descriptor,
) -> Cause {
    let (set, count) = (registers.arg0(), registers.arg1());
    if count == 0 {
        return Cause::plain(Account::Sleep);
    }
    let entry = first_polled(set, count, u32::from(result <= 0));
    if entry == 0 {
        return Cause::plain(Account::Unexplained);
    }
    let fd = entry & 0xffff_ffff;
    let asked = (entry >> 32) as u32 & 0xffff;
    let returned = (entry >> 48) as u32;
    let events = if returned != 0 { returned } else { asked };
    descriptor::walk(fd, walked);
    let to_write = events & POLLOUT != 0 && events & POLLIN_LIKE == 0;
    ready(walked, fd, to_write, slot.woken_by_child != 0)
}

#[inline(always)]
fn selected(
    slot: &ThreadSlot,
    registers: SyscallRegisters,
    result: i64,
    walked: &mut Descriptor,
) -> Cause {
    let (fd, to_write) = if result > 0 {
        first_of_sets(registers)
    } else {
        (slot.selected_fd, false)
    };
    if fd < 0 {
        return Cause::plain(if registers.arg0() == 0 || slot.selected_fd < 0 {
            Account::Sleep
        } else {
            Account::Unexplained
        });
    }
    descriptor::walk(fd as u64, walked);
    ready(walked, fd as u64, to_write, slot.woken_by_child != 0)
}

/// `epoll_wait`: the member that the first event names. When nothing was ready, the only member of the
/// instance; with several, it was for the time-out.
#[inline(always)]
fn epolled(
    slot: &mut ThreadSlot,
    registers: SyscallRegisters,
    result: i64,
    walked: &mut Descriptor,
) -> Cause {
    let by_child = slot.woken_by_child != 0;
    let mut epoll = Descriptor::NONE;
    descriptor::walk(registers.arg0(), &mut epoll);
    if epoll.kind != DescriptorKind::Epoll {
        return Cause::plain(Account::Unexplained);
    }
    if result <= 0 {
        if !descriptor::is_only_member(&epoll) {
            // It has waited for a moment in time.
            return Cause::plain(Account::Sleep);
        }
        descriptor::epoll_member(&epoll, walked);
        return of_descriptor(walked.read_account(by_child), NO_DESCRIPTOR);
    }
    let events = registers.arg1();
    let mask = read_user::<u32>(events).unwrap_or(0);
    #[cfg(bpf_target_arch = "x86_64")]
    let data = read_user::<u64>(events + 4);
    #[cfg(not(bpf_target_arch = "x86_64"))]
    let data = read_user::<u64>(events + 8);
    let data = data.unwrap_or(0);
    let found = core::ptr::from_mut(walked);
    if descriptor::epoll_member_by_number(epoll.file, data, found) == 0
        && descriptor::epoll_member_of(epoll.file, data, found) == 0
    {
        *walked = Descriptor::NONE;
        return Cause::plain(Account::Unexplained);
    }
    let to_write = mask & POLLOUT != 0 && mask & POLLIN_LIKE == 0;
    ready(walked, NO_DESCRIPTOR, to_write, by_child)
}

const EINTR: i64 = -4;
const ETIMEDOUT: i64 = -110;
/// `-ERESTARTSYS` and what follows it: a signal came.
const ERESTART: i64 = -512;

/// Who has ended the pending wait; 0: not known.
#[inline(always)]
pub fn waker(slot: &ThreadSlot, kind: u8, result: i64) -> u64 {
    let polls = kind == SyscallKind::Poll as u8
        || kind == SyscallKind::Select as u8
        || kind == SyscallKind::EpollWait as u8;
    let nobody = result == ETIMEDOUT
        || result == EINTR
        || result <= ERESTART
        || kind == SyscallKind::Sleep as u8
        || result == 0 && polls
        || slot.wake_ns < slot.pending_start_ns;
    if nobody { 0 } else { slot.waker }
}

/// Between two parts of one wait that ran out of time and was begun again, ns: looking for signals, being on no CPU.
const PARTS_GAP_NS: u64 = 3_000_000;

/// Whether a wait that begins at `start` goes on with one that ran out of time: programs wait in slices.
#[inline(always)]
fn goes_on(wait: &Wait, cause: &Cause, number: i32, start: u64) -> bool {
    wait.waker == 0
        && wait.ns != 0
        && wait.syscall == number
        && wait.fd == cause.fd
        && start.wrapping_sub(wait.start_ns + wait.ns) < PARTS_GAP_NS
}

/// Keeps a wait among the longest of the request, in place of the shortest.
#[inline(always)]
fn keep_wait(
    slot: &mut ThreadSlot,
    cause: &Cause,
    (number, waker): (i32, u64),
    walked: &Descriptor,
) {
    let (start, ns) = (slot.pending_start_ns, slot.pending_ns);
    let followed = service::is_followed(slot);
    let mut shortest = 0usize;
    let mut least = u64::MAX;
    let mut index = 0usize;
    while index < WAITS_KEPT {
        let wait = &mut slot.waits[index];
        // A server's thread waits for its lock, whatever has interrupted that.
        let same = followed || wait.account == cause.account as u8;
        if same && goes_on(wait, cause, number, start) {
            wait.ns += ns;
            wait.waker = waker;
            if followed {
                service::note_waker(wait);
            }
            return;
        }
        if wait.ns < least {
            least = wait.ns;
            shortest = index;
        }
        index += 1;
    }
    if ns <= least {
        return;
    }
    let wait = &mut slot.waits[shortest & (WAITS_KEPT - 1)];
    wait.start_ns = start;
    wait.ns = ns;
    wait.account = cause.account as u8;
    wait.target = cause.target as u8;
    wait.syscall = number;
    wait.fd = cause.fd;
    wait.a = cause.a;
    wait.b = 0;
    wait.waker = waker;
    if followed {
        service::note_waker(wait);
    }
    wait.family = walked.family;
    wait.port_be = 0;
    if cause.target as u8 == WaitTargetKind::None as u8 {
        fill_target(wait, walked);
    }
}

#[inline(always)]
fn fill_target(wait: &mut whyslow_abi::wait::Wait, walked: &Descriptor) {
    match walked.kind {
        DescriptorKind::File | DescriptorKind::Directory => fill_file(wait, walked),
        DescriptorKind::Pipe => {
            wait.target = WaitTargetKind::Pipe as u8;
            wait.a = probe::<u64>(walked.inode, OFF_INODE_INO.load());
        }
        DescriptorKind::Upstream | DescriptorKind::Accepted => fill_peer(wait, walked),
        _ => {}
    }
}

/// The target is a file.
#[inline(always)]
pub fn fill_file(wait: &mut whyslow_abi::wait::Wait, walked: &Descriptor) {
    wait.target = WaitTargetKind::File as u8;
    wait.a = probe::<u64>(walked.inode, OFF_INODE_INO.load());
    let superblock = probe::<u64>(walked.inode, OFF_INODE_SB.load());
    wait.b = u64::from(probe::<u32>(superblock, OFF_SB_DEV.load()));
    let entry = probe::<u64>(walked.file, OFF_FILE_DENTRY.load());
    let name = probe::<u64>(entry, OFF_DENTRY_NAME.load());
    wait.name = [0; WAIT_NAME];
    // SAFETY: a live array.
    unsafe { copy_name(&raw mut wait.name, name) };
}

#[inline(always)]
fn fill_peer(wait: &mut whyslow_abi::wait::Wait, walked: &Descriptor) {
    match walked.family {
        AF_INET => {
            wait.target = WaitTargetKind::Peer as u8;
            wait.a = u64::from(probe::<u32>(walked.sock, OFF_SK_DADDR.load()));
            wait.port_be = probe::<u16>(walked.sock, OFF_SK_DPORT.load());
        }
        AF_INET6 => {
            wait.target = WaitTargetKind::Peer as u8;
            wait.a = probe::<u64>(walked.sock, OFF_SK_V6_DADDR.load());
            wait.b = probe::<u64>(walked.sock, OFF_SK_V6_DADDR.load() + 8);
            wait.port_be = probe::<u16>(walked.sock, OFF_SK_DPORT.load());
        }
        AF_UNIX => {
            wait.target = WaitTargetKind::UnixPeer as u8;
            let own = probe::<u64>(walked.sock, OFF_UNIX_ADDR.load());
            let peer = probe::<u64>(walked.sock, OFF_UNIX_PEER.load());
            let address = if own != 0 {
                own
            } else {
                probe::<u64>(peer, OFF_UNIX_ADDR.load())
            };
            // `sun_path` lies two bytes into the name.
            if address != 0 {
                wait.name = [0; WAIT_NAME];
                // SAFETY: a live array.
                unsafe {
                    copy_name(
                        &raw mut wait.name,
                        address + OFF_UNIX_ADDRESS_NAME.load() + 2,
                    )
                };
            }
        }
        _ => {}
    }
}
