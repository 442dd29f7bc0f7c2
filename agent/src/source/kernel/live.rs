//! What a blocked thread waits for now: its slot holds the system call and its arguments, the rest
//! is looked up here, when somebody looks. The accounts are those that the kernel side will settle
//! the wait to, as far as that can be told before it ends.

use whyslow_abi::{
    account::Account,
    syscall::SyscallKind,
    thread::{ThreadSlot, ThreadState},
};
use whyslow_engine::{input::WaitFact, output::Target};

use super::{process, sockets::SocketTables};

#[cfg(target_arch = "aarch64")]
use whyslow_abi::syscall::AARCH64 as SYSCALLS;
#[cfg(target_arch = "x86_64")]
use whyslow_abi::syscall::X86_64 as SYSCALLS;

/// `fcntl` commands that wait for a lock.
const WAITING_LOCKS: [u64; 2] = [7, 38];

/// Looks up the current wait of a thread; `None` when it is not blocked. `is_interpreter_lock`: whether a futex of a
/// process is one.
#[must_use]
pub(super) fn current_wait(
    slot: &ThreadSlot,
    sockets: &mut SocketTables,
    is_interpreter_lock: &dyn Fn(u32, u64) -> bool,
) -> Option<WaitFact> {
    if slot.state == ThreadState::Faulted as u32 {
        return Some(WaitFact {
            account: Account::DiskFault as u8,
            target: Target::Unknown,
        });
    }
    if slot.state != ThreadState::Blocked as u32 {
        return None;
    }
    let kind = kind(slot.syscall)?;
    let mut look = Look {
        pid: slot.tgid,
        slot,
        sockets,
        is_interpreter_lock,
    };
    let (account, target) = look.classify(kind);
    Some(WaitFact {
        account: account as u8,
        target,
    })
}

fn kind(number: i32) -> Option<SyscallKind> {
    let entry = SYSCALLS.get(usize::try_from(number).ok()?)?;
    SyscallKind::try_from((entry & 0xff) as u8).ok()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

struct Look<'a> {
    pid: u32,
    slot: &'a ThreadSlot,
    sockets: &'a mut SocketTables,
    is_interpreter_lock: &'a dyn Fn(u32, u64) -> bool,
}

impl Look<'_> {
    fn classify(&mut self, kind: SyscallKind) -> (Account, Target) {
        let [first, second, third] = self.slot.arguments;
        match kind {
            SyscallKind::Read | SyscallKind::ReadVector | SyscallKind::ReceiveMessage => {
                self.descriptor(first, Direction::Read)
            }
            SyscallKind::Write
            | SyscallKind::WriteVector
            | SyscallKind::SendMessage
            | SyscallKind::SendFile => self.descriptor(first, Direction::Write),
            SyscallKind::Splice => self.descriptor(third, Direction::Write),
            SyscallKind::Accept => (Account::NetClientRead, Target::Unknown),
            SyscallKind::Connect => match self.descriptor(first, Direction::Read) {
                (Account::NetDns, target) => (Account::NetDns, target),
                (_, target) => (Account::NetUpstream, target),
            },
            SyscallKind::Poll => self.polled(first, second),
            SyscallKind::Select => match u64::try_from(self.slot.selected_fd) {
                Ok(fd) => self.descriptor(fd, Direction::Read),
                Err(_) => (Account::Sleep, Target::Unknown),
            },
            SyscallKind::EpollWait => self.epolled(first),
            SyscallKind::Futex => {
                let account = if (self.is_interpreter_lock)(self.pid, first) {
                    Account::LockGil
                } else {
                    Account::LockFutex
                };
                (account, Target::Lock { address: first })
            }
            SyscallKind::Flock => (Account::LockFile, self.file(first)),
            SyscallKind::Fcntl if WAITING_LOCKS.contains(&second) => {
                (Account::LockFile, self.file(first))
            }
            SyscallKind::Sync => (Account::DiskSync, self.file(first)),
            SyscallKind::FileLookup => (Account::DiskRead, Target::Unknown),
            SyscallKind::FileChange | SyscallKind::Close => (Account::DiskWrite, Target::Unknown),
            SyscallKind::Sleep => (Account::Sleep, Target::Unknown),
            SyscallKind::WaitChild => (Account::Child, self.waited_child()),
            SyscallKind::Spawn => (Account::Child, Target::Unknown),
            _ => (Account::Unexplained, Target::Unknown),
        }
    }

    /// Whom a wait for a child is for: `wait4(pid, ...)` or `waitid(idtype, id, ...)`. A process
    /// group is any child.
    fn waited_child(&self) -> Target {
        let [first, second, _] = self.slot.arguments;
        if i64::from(self.slot.syscall) != libc::SYS_waitid {
            return Target::Process(u32::try_from(first as i32).unwrap_or(0));
        }
        match first as u32 {
            libc::P_PID => Target::Process(second as u32),
            libc::P_PIDFD => Target::Unknown,
            _ => Target::Process(0),
        }
    }

    fn file(&self, fd: u64) -> Target {
        let Ok(fd) = i32::try_from(fd) else {
            return Target::Unknown;
        };
        match (
            process::descriptor(self.pid, fd),
            process::descriptor_inode(self.pid, fd),
        ) {
            (Some(path), Some(inode)) => Target::File { path, inode },
            _ => Target::Unknown,
        }
    }

    fn descriptor(&mut self, fd: u64, direction: Direction) -> (Account, Target) {
        let unknown = (Account::Unexplained, Target::Unknown);
        let Ok(number) = i32::try_from(fd) else {
            return unknown;
        };
        let Some(link) = process::descriptor(self.pid, number) else {
            return unknown;
        };
        if let Some(inode) = link
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'))
        {
            let Ok(inode) = inode.parse() else {
                return unknown;
            };
            return self.socket(inode, direction);
        }
        if link.starts_with("pipe:[") || link == "anon_inode:[eventfd]" {
            return (Account::Ipc, Target::Unknown);
        }
        match link.as_str() {
            "anon_inode:[timerfd]" => (Account::Sleep, Target::Unknown),
            "anon_inode:[pidfd]" | "pidfd:[0]" => (Account::Child, Target::Unknown),
            path if path.starts_with('/') && !path.starts_with("/dev/") => {
                let account = match direction {
                    Direction::Read => Account::DiskRead,
                    Direction::Write => Account::DiskWrite,
                };
                (account, self.file(fd))
            }
            _ => unknown,
        }
    }

    fn socket(&mut self, inode: u64, direction: Direction) -> (Account, Target) {
        let table = self.sockets.knowing(self.pid, inode);
        let Some(socket) = table.get(inode) else {
            return (Account::Ipc, Target::Unknown);
        };
        let target = if socket.peer.is_empty() {
            Target::Unknown
        } else {
            Target::Peer(socket.peer.clone())
        };
        let accepted = if socket.inet {
            table.listens_on(socket.local_port)
        } else {
            socket.named
        };
        let account = if socket.listening {
            Account::NetClientRead
        } else if accepted {
            match direction {
                Direction::Read => Account::NetClientRead,
                Direction::Write => Account::NetClientWrite,
            }
        } else if socket.inet && (socket.asks_for_names() || self.slot.name_socket == inode) {
            Account::NetDns
        } else if socket.inet {
            Account::NetUpstream
        } else {
            Account::Ipc
        };
        (account, target)
    }

    /// The first descriptor asked for.
    fn polled(&mut self, set: u64, count: u64) -> (Account, Target) {
        if count == 0 {
            return (Account::Sleep, Target::Unknown);
        }
        let mut entry = [0; 8];
        if process::memory(self.pid, set, &mut entry).is_none() {
            return (Account::Unexplained, Target::Unknown);
        }
        let fd = u32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]);
        let events = u16::from_ne_bytes([entry[4], entry[5]]);
        let writes = events & 0x4 != 0 && events & 0x1 == 0;
        self.descriptor(
            u64::from(fd),
            if writes {
                Direction::Write
            } else {
                Direction::Read
            },
        )
    }

    /// Of several descriptors, it is not known before the wait ends which one it was for; a loop
    /// that waits for new connections too is idle.
    fn epolled(&mut self, fd: u64) -> (Account, Target) {
        let members = i32::try_from(fd)
            .map(|fd| process::epoll_members(self.pid, fd))
            .unwrap_or_default();
        let looked: Vec<_> = members
            .iter()
            .filter_map(|fd| u64::try_from(*fd).ok())
            .map(|fd| self.descriptor(fd, Direction::Read))
            .collect();
        match looked.as_slice() {
            [one] => one.clone(),
            several
                if several
                    .iter()
                    .any(|(account, _)| *account == Account::NetClientRead) =>
            {
                (Account::NetClientRead, Target::Unknown)
            }
            _ => (Account::Unexplained, Target::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits_for(syscall: i64, arguments: [u64; 3]) -> Target {
        let bytes = vec![0; size_of::<ThreadSlot>()];
        let mut slot: ThreadSlot = whyslow_abi::read_plain(&bytes).unwrap();
        slot.state = ThreadState::Blocked as u32;
        slot.syscall = i32::try_from(syscall).unwrap();
        slot.arguments = arguments;
        let fact = current_wait(&slot, &mut SocketTables::default(), &|_, _| false).unwrap();
        assert_eq!(fact.account, Account::Child as u8);
        fact.target
    }

    #[test]
    fn children_waited_for() {
        let any = u64::from((-1_i32).cast_unsigned());
        for (syscall, arguments, expected) in [
            (libc::SYS_wait4, [42, 7, 0], Target::Process(42)),
            (libc::SYS_wait4, [any, 42, 0], Target::Process(0)),
            (libc::SYS_wait4, [0, 42, 0], Target::Process(0)),
            (libc::SYS_waitid, [0, 42, 9], Target::Process(0)),
            (libc::SYS_waitid, [1, 42, 9], Target::Process(42)),
            (libc::SYS_waitid, [2, 42, 9], Target::Process(0)),
            (libc::SYS_waitid, [3, 5, 9], Target::Unknown),
        ] {
            assert_eq!(
                waits_for(syscall, arguments),
                expected,
                "{syscall} {arguments:?}"
            );
        }
    }
}
