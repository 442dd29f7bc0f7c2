//! What a system call waited for: called at its exit, with its arguments still at hand, and only
//! when the thread was blocked in it.

use whyslow_abi::{
    account::Account,
    descriptor::DescriptorKind,
    syscall::SyscallKind,
    thread::ThreadSlot,
    wait::{WAIT_NAME, WAITS_KEPT, WaitTargetKind},
};

use crate::{
    arch::{SYSCALLS, SyscallRegisters},
    descriptor::{self, AF_INET, AF_INET6, AF_UNIX, Descriptor},
    kernel::*,
    ledger,
    payload::read_user,
};

const F_SETLKW: u64 = 7;
const F_OFD_SETLKW: u64 = 38;
const POLLIN_LIKE: u32 = 0x01 | 0x02 | 0x10 | 0x40 | 0x80;
const POLLOUT: u32 = 0x04;

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

/// While blocking in a `select`: remembers a descriptor of its sets, which are overwritten when it
/// times out.
#[inline(always)]
pub fn note_select(slot: &mut ThreadSlot, number: i32, registers: SyscallRegisters) {
    if table_entry(number) as u8 != SyscallKind::Select as u8 {
        return;
    }
    slot.selected_fd = first_selected(registers, registers.arg0()).0;
}

/// Lowest descriptor in the read set, else in the write set; whether it is to be written.
#[inline(always)]
fn first_selected(registers: SyscallRegisters, limit: u64) -> (i32, bool) {
    let sets = [registers.arg1(), registers.arg2()];
    let mut which = 0;
    while which < 2 {
        let set = sets[which];
        if set != 0 {
            let mut index = 0u64;
            while index < 4 {
                if index * 64 >= limit {
                    break;
                }
                let bits = read_user::<u64>(set + index * 8).unwrap_or(0);
                if bits != 0 {
                    return (
                        (index * 64) as i32 + bits.trailing_zeros() as i32,
                        which == 1,
                    );
                }
                index += 1;
            }
        }
        which += 1;
    }
    (-1, false)
}

/// Settles the pending time of the current system call. `walked` is its descriptor, for calls that
/// have one (reads, writes and the like).
#[inline(always)]
pub fn settle(
    slot: &mut ThreadSlot,
    kind: u8,
    registers: SyscallRegisters,
    result: i64,
    walked: &mut Descriptor,
) {
    let cause = cause(slot, kind, registers, result, walked);
    let ns = slot.pending_ns;
    ledger::add_any(slot, cause.account as u8, ns, slot.pending_count);
    if ns >= WAIT_FLOOR_NS.load() {
        keep_wait(slot, &cause, registers.number(), walked);
    }
    slot.pending_ns = 0;
    slot.pending_count = 0;
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
        k if k == SyscallKind::Splice as u8 => {
            descriptor::walk(registers.arg2(), walked);
            of_descriptor(walked.write_account(by_child), registers.arg2())
        }
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
        k if k == SyscallKind::Fcntl as u8 => {
            descriptor::walk(fd, walked);
            let command = registers.arg1();
            let locks = command == F_SETLKW || command == F_OFD_SETLKW;
            of_descriptor(
                if locks {
                    Account::LockFile
                } else {
                    Account::Unexplained
                },
                fd,
            )
        }
        k if k == SyscallKind::Sync as u8 => {
            descriptor::walk(fd, walked);
            of_descriptor(Account::DiskSync, fd)
        }
        _ => without_descriptor(kind, registers),
    }
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
            let pid = registers.arg0() as i32;
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
    let mut index = 0u64;
    let mut entry = 0u64;
    while index < 16 {
        if index >= count {
            break;
        }
        let candidate = read_user::<u64>(set + index * 8).unwrap_or(0);
        let returned = (candidate >> 48) as u32;
        if index == 0 || returned != 0 {
            entry = candidate;
        }
        if returned != 0 || result <= 0 {
            break;
        }
        index += 1;
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
        first_selected(registers, registers.arg0())
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

/// `epoll_wait`: most programs keep the descriptor in the event's data; when that names nothing,
/// or nothing was ready, a member of the instance stands for it.
#[inline(always)]
fn epolled(
    slot: &ThreadSlot,
    registers: SyscallRegisters,
    result: i64,
    walked: &mut Descriptor,
) -> Cause {
    let by_child = slot.woken_by_child != 0;
    if result > 0 {
        let events = registers.arg1();
        let mask = read_user::<u32>(events).unwrap_or(0);
        #[cfg(bpf_target_arch = "x86_64")]
        let data = read_user::<u32>(events + 4);
        #[cfg(not(bpf_target_arch = "x86_64"))]
        let data = read_user::<u32>(events + 8);
        if let Some(fd) = data {
            descriptor::walk(u64::from(fd), walked);
            if walked.kind != DescriptorKind::Unknown && walked.kind != DescriptorKind::File {
                let to_write = mask & POLLOUT != 0 && mask & POLLIN_LIKE == 0;
                return ready(walked, u64::from(fd), to_write, by_child);
            }
        }
    }
    let mut epoll = Descriptor::NONE;
    descriptor::walk(registers.arg0(), &mut epoll);
    if epoll.kind == DescriptorKind::Epoll {
        descriptor::epoll_member(&epoll, walked);
    }
    let account = walked.read_account(by_child);
    Cause {
        account,
        target: WaitTargetKind::None,
        fd: -1,
        a: 0,
    }
}

/// Keeps a wait among the longest of the request, in place of the shortest.
#[inline(always)]
fn keep_wait(slot: &mut ThreadSlot, cause: &Cause, number: i32, walked: &Descriptor) {
    let mut shortest = 0usize;
    let mut least = slot.waits[0].ns;
    let mut index = 1usize;
    while index < WAITS_KEPT {
        if slot.waits[index].ns < least {
            least = slot.waits[index].ns;
            shortest = index;
        }
        index += 1;
    }
    if slot.pending_ns <= least {
        return;
    }
    let (start, ns) = (slot.pending_start_ns, slot.pending_ns);
    let wait = &mut slot.waits[shortest & (WAITS_KEPT - 1)];
    wait.start_ns = start;
    wait.ns = ns;
    wait.account = cause.account as u8;
    wait.target = cause.target as u8;
    wait.syscall = number;
    wait.fd = cause.fd;
    wait.a = cause.a;
    wait.b = 0;
    wait.family = walked.family;
    wait.port_be = 0;
    if cause.target as u8 == WaitTargetKind::None as u8 {
        fill_target(wait, walked);
    }
}

#[inline(always)]
fn fill_target(wait: &mut whyslow_abi::wait::Wait, walked: &Descriptor) {
    match walked.kind {
        DescriptorKind::File | DescriptorKind::Directory => {
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
        DescriptorKind::Pipe => {
            wait.target = WaitTargetKind::Pipe as u8;
            wait.a = probe::<u64>(walked.inode, OFF_INODE_INO.load());
        }
        DescriptorKind::Upstream | DescriptorKind::Accepted => fill_peer(wait, walked),
        _ => {}
    }
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
