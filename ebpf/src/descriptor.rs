//! What a descriptor is: a walk through the kernel's tables at the moment of use.
//!
//! `files_struct` -> `fdtable` -> `file` -> inode and socket. Nothing is cached: descriptors that
//! were opened before the start, inherited, duplicated or passed are all right, and one that was
//! closed and opened anew is never confused.

use whyslow_abi::{
    account::Account,
    descriptor::{DescriptorKind, IoKind},
};

use crate::kernel::*;

const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;
const S_IFREG: u16 = 0o100_000;
const S_IFDIR: u16 = 0o040_000;
const S_IFCHR: u16 = 0o020_000;
const S_IFBLK: u16 = 0o060_000;
const S_IFIFO: u16 = 0o010_000;

/// Address families.
pub const AF_UNIX: u16 = 1;
/// See `AF_UNIX`.
pub const AF_INET: u16 = 2;
/// See `AF_UNIX`.
pub const AF_INET6: u16 = 10;
/// `TCP_LISTEN`; unix sockets use the same value.
const LISTENING: u8 = 10;
const SOCK_STREAM: u16 = 1;

/// An open file, as far as it was walked. Addresses are of kernel structures; 0: none.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Descriptor {
    /// What it is.
    pub kind: DescriptorKind,
    /// Address family of a socket.
    pub family: u16,
    /// `struct file`.
    pub file: u64,
    /// `struct inode`.
    pub inode: u64,
    /// `struct sock`.
    pub sock: u64,
}

impl Descriptor {
    /// Nothing known.
    pub const NONE: Self = Self {
        kind: DescriptorKind::Unknown,
        family: 0,
        file: 0,
        inode: 0,
        sock: 0,
    };

    /// The kind that its bytes are counted by.
    #[inline(always)]
    pub fn io_kind(&self) -> IoKind {
        match self.kind {
            DescriptorKind::Accepted => IoKind::Client,
            DescriptorKind::File | DescriptorKind::Directory => IoKind::Disk,
            DescriptorKind::Upstream => IoKind::Upstream,
            _ => IoKind::Ipc,
        }
    }

    /// The account of waiting until it can be read.
    #[inline(always)]
    pub fn read_account(&self, woken_by_child: bool) -> Account {
        match self.kind {
            DescriptorKind::File | DescriptorKind::Directory => Account::DiskRead,
            DescriptorKind::Accepted | DescriptorKind::Listener => Account::NetClientRead,
            _ => self.other_account(woken_by_child),
        }
    }

    /// The account of waiting until it can be written.
    #[inline(always)]
    pub fn write_account(&self, woken_by_child: bool) -> Account {
        match self.kind {
            DescriptorKind::File | DescriptorKind::Directory => Account::DiskWrite,
            DescriptorKind::Accepted => Account::NetClientWrite,
            _ => self.other_account(woken_by_child),
        }
    }

    #[inline(always)]
    fn other_account(&self, woken_by_child: bool) -> Account {
        match self.kind {
            DescriptorKind::Upstream => Account::NetUpstream,
            DescriptorKind::Pipe | DescriptorKind::LocalSocket | DescriptorKind::Event => {
                if woken_by_child {
                    Account::Child
                } else {
                    Account::Ipc
                }
            }
            DescriptorKind::Process => Account::Child,
            DescriptorKind::Timer => Account::Sleep,
            _ => Account::Unexplained,
        }
    }
}

/// Walks descriptor `fd` of the current process.
#[inline(always)]
pub fn walk(fd: u64, out: &mut Descriptor) {
    *out = Descriptor::NONE;
    walk_descriptor(fd, core::ptr::from_mut(out));
}

/// Fills `out`, which is nothing yet. A function of its own for the verifier too, which looks at it once and
/// not on each way that leads here. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_descriptor(fd: u64, out: *mut Descriptor) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    if let Some(out) = unsafe { out.as_mut() } {
        walk_to(fd, out);
    }
    0
}

#[inline(always)]
fn walk_to(fd: u64, out: &mut Descriptor) {
    let task = current_task();
    // SAFETY: typed loads from the current task on; the verifier checks each step.
    unsafe {
        let files: *const u8 = load(task, OFF_TASK_FILES.load());
        if files.is_null() {
            return;
        }
        let table: *const u8 = load(files, OFF_FILES_FDT.load());
        if table.is_null() {
            return;
        }
        let max: u32 = load(table, OFF_FDT_MAX_FDS.load());
        let fd = fd & 0xffff_ffff;
        if fd >= u64::from(max) {
            return;
        }
        let array: u64 = load(table, OFF_FDT_FD.load());
        let file = probe::<u64>(array, fd * 8);
        if file != 0 {
            describe(file, out);
        }
    }
}

/// Tells what kind of open file this is. Member by member: one read of a larger piece costs more.
#[inline(always)]
pub fn describe(file: u64, out: &mut Descriptor) {
    out.file = file;
    out.inode = probe::<u64>(file, OFF_FILE_INODE.load());
    let mode = probe::<u16>(out.inode, OFF_INODE_MODE.load());
    out.kind = match mode & S_IFMT {
        S_IFSOCK => {
            let socket = probe::<u64>(file, OFF_FILE_PRIVATE.load());
            describe_socket(socket, out)
        }
        S_IFIFO => DescriptorKind::Pipe,
        S_IFCHR | S_IFBLK => DescriptorKind::Device,
        S_IFDIR => DescriptorKind::Directory,
        // A pidfd looks like a regular file; eventfd and the like have no type at all.
        S_IFREG => match anonymous(file) {
            DescriptorKind::Unknown => DescriptorKind::File,
            kind => kind,
        },
        _ => anonymous(file),
    };
}

#[inline(always)]
fn anonymous(file: u64) -> DescriptorKind {
    let operations = probe::<u64>(file, OFF_FILE_OP.load());
    if operations == OPS_EPOLL.load() {
        DescriptorKind::Epoll
    } else if operations == OPS_EVENT.load() {
        DescriptorKind::Event
    } else if operations == OPS_TIMER.load() {
        DescriptorKind::Timer
    } else if operations == OPS_PIDFD.load() {
        DescriptorKind::Process
    } else {
        DescriptorKind::Unknown
    }
}

#[inline(always)]
fn describe_socket(socket: u64, out: &mut Descriptor) -> DescriptorKind {
    let sock = probe::<u64>(socket, OFF_SOCKET_SK.load());
    out.sock = sock;
    if sock == 0 {
        return DescriptorKind::Unknown;
    }
    // Family and state lie beside each other (`sock_common`).
    let word = probe::<u32>(sock, OFF_SK_FAMILY.load());
    let family = word as u16;
    let state = (word >> ((OFF_SK_STATE.load() - OFF_SK_FAMILY.load()) * 8)) as u8;
    out.family = family;
    if state == LISTENING {
        return DescriptorKind::Listener;
    }
    match family {
        AF_INET | AF_INET6 => {
            // An accepted socket inherits its listener's limit; a connecting one has 0.
            if probe::<u32>(sock, OFF_SK_MAX_ACK_BACKLOG.load()) != 0 {
                DescriptorKind::Accepted
            } else {
                DescriptorKind::Upstream
            }
        }
        AF_UNIX => describe_unix(socket, sock),
        _ => DescriptorKind::LocalSocket,
    }
}

/// An accepted unix socket carries its listener's address; a connecting one has none, its peer
/// does; a pair has none at either end.
#[inline(always)]
fn describe_unix(socket: u64, sock: u64) -> DescriptorKind {
    if probe::<u16>(socket, OFF_SOCKET_TYPE.load()) != SOCK_STREAM {
        return DescriptorKind::LocalSocket;
    }
    if probe::<u64>(sock, OFF_UNIX_ADDR.load()) != 0 {
        return DescriptorKind::Accepted;
    }
    let peer = probe::<u64>(sock, OFF_UNIX_PEER.load());
    if peer != 0 && probe::<u64>(peer, OFF_UNIX_ADDR.load()) != 0 {
        DescriptorKind::Upstream
    } else {
        DescriptorKind::LocalSocket
    }
}

/// Steps in the tree of an epoll instance's members: two or three for each member.
const STEPS: u32 = 256;

/// The member of an epoll instance that a step of the walk looks at, and what of it was done.
#[derive(Clone, Copy, PartialEq)]
enum Step {
    /// Nothing: its smaller ones come first.
    Enter,
    /// The smaller ones: it is its turn.
    Visit,
    /// All: its parent comes next.
    Leave,
}

/// Fills `out` with the member of the epoll instance of `file` whose event carries `data`: programs keep a
/// descriptor there, a pointer, or a number of their own. Returns whether there is one among the first. A
/// function of its own for the verifier too.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn epoll_member_of(file: u64, data: u64, out: *mut Descriptor) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let Some(out) = (unsafe { out.as_mut() }) else {
        return 0;
    };
    let instance = probe::<u64>(file, OFF_FILE_PRIVATE.load());
    // The tree node is the first member of `epitem`: parent and colour, right, left.
    let mut item = probe::<u64>(instance, OFF_EVENTPOLL_ROOT.load());
    let mut step = Step::Enter;
    let mut steps = 0;
    while steps < STEPS {
        if item == 0 {
            return 0;
        }
        if step == Step::Enter {
            let smaller = probe::<u64>(item, 16);
            if smaller == 0 {
                step = Step::Visit;
            } else {
                item = smaller;
            }
        } else if step == Step::Visit {
            if probe::<u64>(item, OFF_EPITEM_DATA.load()) == data {
                describe(probe::<u64>(item, OFF_EPITEM_FILE.load()), out);
                return 1;
            }
            let greater = probe::<u64>(item, 8);
            step = if greater == 0 {
                Step::Leave
            } else {
                Step::Enter
            };
            item = if greater == 0 { item } else { greater };
        } else {
            let parent = probe::<u64>(item, 0) & !3;
            let was_smaller = parent != 0 && probe::<u64>(parent, 16) == item;
            step = if was_smaller {
                Step::Visit
            } else {
                Step::Leave
            };
            item = parent;
        }
        steps += 1;
    }
    0
}

/// Fills `out` with descriptor `fd` if it is the member of the epoll instance of `file` whose event carries
/// its number: found by a search, however many there are. Returns whether it is.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn epoll_member_by_number(file: u64, fd: u64, out: *mut Descriptor) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let Some(out) = (unsafe { out.as_mut() }) else {
        return 0;
    };
    walk_to(fd, out);
    let wanted = out.file;
    let instance = probe::<u64>(file, OFF_FILE_PRIVATE.load());
    let mut item = probe::<u64>(instance, OFF_EVENTPOLL_ROOT.load());
    let mut height = 0;
    while height < 32 {
        if item == 0 || wanted == 0 {
            return 0;
        }
        // In the order of the file's address, then of the number (`ep_cmp_ffd`).
        let member = probe::<u64>(item, OFF_EPITEM_FILE.load());
        let number = u64::from(probe::<u32>(item, OFF_EPITEM_FILE.load() + 8));
        if member == wanted && number == fd & 0xffff_ffff {
            return i32::from(probe::<u64>(item, OFF_EPITEM_DATA.load()) == fd);
        }
        let greater = wanted > member || wanted == member && fd & 0xffff_ffff > number;
        item = probe::<u64>(item, if greater { 8 } else { 16 });
        height += 1;
    }
    0
}

/// Whether an epoll instance has just one member.
#[inline(always)]
pub fn is_only_member(epoll: &Descriptor) -> bool {
    let instance = probe::<u64>(epoll.file, OFF_FILE_PRIVATE.load());
    let item = probe::<u64>(instance, OFF_EVENTPOLL_ROOT.load());
    item != 0 && probe::<u64>(item, 8) == 0 && probe::<u64>(item, 16) == 0
}

/// A file that an epoll instance watches (the root of its tree), for waits that ended without an
/// event.
#[inline(always)]
pub fn epoll_member(epoll: &Descriptor, out: &mut Descriptor) {
    *out = Descriptor::NONE;
    let instance = probe::<u64>(epoll.file, OFF_FILE_PRIVATE.load());
    if instance == 0 {
        return;
    }
    // The tree node is the first member of `epitem`.
    let item = probe::<u64>(instance, OFF_EVENTPOLL_ROOT.load());
    if item == 0 {
        return;
    }
    let file = probe::<u64>(item, OFF_EPITEM_FILE.load());
    if file != 0 {
        describe(file, out);
    }
}
