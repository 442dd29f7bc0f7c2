//! System calls by what they can wait for: a table from number to [`SyscallKind`], one per
//! architecture, and the coarser [`SyscallClass`] that calls are counted by.

crate::integer_enum! {
    /// How a system call waits, and where its descriptor and buffer are.
    pub enum SyscallKind: u8 {
        /// Nothing special.
        Other = 0 => "other",
        /// Reads from descriptor `arg0` into the buffer `arg1`.
        Read = 1 => "read",
        /// Reads from descriptor `arg0` into the iovec array `arg1`.
        ReadVector = 2 => "readv",
        /// Receives from socket `arg0` into the msghdr `arg1`.
        ReceiveMessage = 3 => "recvmsg",
        /// Writes the buffer `arg1` to descriptor `arg0`.
        Write = 4 => "write",
        /// Writes the iovec array `arg1` to descriptor `arg0`.
        WriteVector = 5 => "writev",
        /// Sends the msghdr `arg1` to socket `arg0`.
        SendMessage = 6 => "sendmsg",
        /// `sendfile(out = arg0, in = arg1)`.
        SendFile = 7 => "sendfile",
        /// `splice(in = arg0, .., out = arg2)`.
        Splice = 8 => "splice",
        /// `poll(fds = arg0, n = arg1)`.
        Poll = 9 => "poll",
        /// `select(n = arg0, read = arg1, write = arg2)`.
        Select = 10 => "select",
        /// `epoll_wait(epfd = arg0, events = arg1)`.
        EpollWait = 11 => "epoll_wait",
        /// `accept(fd = arg0)`; the result is the new descriptor.
        Accept = 12 => "accept",
        /// `connect(fd = arg0)`.
        Connect = 13 => "connect",
        /// `close(fd = arg0)`.
        Close = 14 => "close",
        /// `shutdown(fd = arg0)`.
        Shutdown = 15 => "shutdown",
        /// `futex(uaddr = arg0)`.
        Futex = 16 => "futex",
        /// `flock(fd = arg0)`.
        Flock = 17 => "flock",
        /// `fcntl(fd = arg0, cmd = arg1)`: a lock when the command is a waiting one.
        Fcntl = 18 => "fcntl",
        /// `fsync(fd = arg0)` and its family.
        Sync = 19 => "sync",
        /// Looks up or reads file-system state, or a program to run.
        FileLookup = 20 => "file_lookup",
        /// Changes file-system state.
        FileChange = 21 => "file_change",
        /// Asked to sleep.
        Sleep = 22 => "sleep",
        /// Waits for a child (`wait4(pid = arg0)`, `waitid(.., id = arg1)`).
        WaitChild = 23 => "wait_child",
        /// Starts a process or thread.
        Spawn = 24 => "spawn",
        /// `listen(fd = arg0)`.
        Listen = 25 => "listen",
        /// io_uring's calls.
        IoUring = 26 => "io_uring",
        /// Changes the address space.
        Memory = 27 => "memory",
        /// `restart_syscall`: goes on with what was interrupted.
        Restart = 28 => "restart",
    }
}

crate::integer_enum! {
    /// Classes that system calls are counted by.
    pub enum SyscallClass: u8 {
        /// Everything else.
        Other = 0 => "other",
        /// Reads and receives.
        Read = 1 => "read",
        /// Writes and sends.
        Write = 2 => "write",
        /// poll, select, epoll.
        Poll = 3 => "poll",
        /// accept, connect, close, shutdown, listen.
        Connection = 4 => "connection",
        /// futex.
        Futex = 5 => "futex",
        /// File locks.
        FileLock = 6 => "file_lock",
        /// fsync family.
        Sync = 7 => "sync",
        /// Other file-system calls.
        FileSystem = 8 => "file_system",
        /// Sleeps.
        Sleep = 9 => "sleep",
        /// Processes and threads.
        Process = 10 => "process",
        /// Address space.
        Memory = 11 => "memory",
    }
}

impl SyscallKind {
    /// The class that calls of this kind are counted in.
    #[must_use]
    pub const fn class(self) -> SyscallClass {
        match self {
            Self::Read | Self::ReadVector | Self::ReceiveMessage => SyscallClass::Read,
            Self::Write | Self::WriteVector | Self::SendMessage | Self::SendFile | Self::Splice => {
                SyscallClass::Write
            }
            Self::Poll | Self::Select | Self::EpollWait => SyscallClass::Poll,
            Self::Accept | Self::Connect | Self::Close | Self::Shutdown | Self::Listen => {
                SyscallClass::Connection
            }
            Self::Futex => SyscallClass::Futex,
            Self::Flock => SyscallClass::FileLock,
            Self::Sync => SyscallClass::Sync,
            Self::Fcntl | Self::FileLookup | Self::FileChange => SyscallClass::FileSystem,
            Self::Sleep => SyscallClass::Sleep,
            Self::WaitChild | Self::Spawn => SyscallClass::Process,
            Self::Memory => SyscallClass::Memory,
            Self::Other | Self::IoUring | Self::Restart => SyscallClass::Other,
        }
    }
}

/// Table size; a power of two, so that a masked number is always inside.
pub const TABLE_SIZE: usize = 512;

/// One entry of the table: low byte [`SyscallKind`], high byte [`SyscallClass`].
const fn entry(kind: SyscallKind) -> u16 {
    (kind as u16) | ((kind.class() as u16) << 8)
}

const fn table(rows: &[(SyscallKind, &[u16])]) -> [u16; TABLE_SIZE] {
    let mut table = [0; TABLE_SIZE];
    let mut row = 0;
    while row < rows.len() {
        let (kind, numbers) = rows[row];
        let mut i = 0;
        while i < numbers.len() {
            table[numbers[i] as usize] = entry(kind);
            i += 1;
        }
        row += 1;
    }
    table
}

/// x86-64, from `arch/x86/entry/syscalls/syscall_64.tbl` of Linux 6.18.
pub const X86_64: [u16; TABLE_SIZE] = table(&[
    (SyscallKind::Read, &[0, 17, 45]),
    (SyscallKind::ReadVector, &[19, 295, 327]),
    (SyscallKind::ReceiveMessage, &[47, 299]),
    (SyscallKind::Write, &[1, 18, 44]),
    (SyscallKind::WriteVector, &[20, 296, 328]),
    (SyscallKind::SendMessage, &[46, 307]),
    (SyscallKind::SendFile, &[40]),
    (SyscallKind::Splice, &[275, 326]),
    (SyscallKind::Poll, &[7, 271]),
    (SyscallKind::Select, &[23, 270]),
    (SyscallKind::EpollWait, &[232, 281, 441]),
    (SyscallKind::Accept, &[43, 288]),
    (SyscallKind::Connect, &[42]),
    (SyscallKind::Close, &[3]),
    (SyscallKind::Shutdown, &[48]),
    (SyscallKind::Futex, &[202, 449, 454, 455, 456]),
    (SyscallKind::Flock, &[73]),
    (SyscallKind::Fcntl, &[72]),
    (SyscallKind::Sync, &[26, 74, 75, 162, 277, 306]),
    (
        SyscallKind::FileLookup,
        &[
            2, 4, 5, 6, 8, 21, 59, 322, 78, 79, 80, 81, 89, 137, 138, 191, 192, 193, 217, 257, 262,
            267, 269, 332, 437, 439,
        ],
    ),
    (
        SyscallKind::FileChange,
        &[
            76, 77, 82, 83, 84, 85, 86, 87, 88, 90, 91, 92, 93, 94, 133, 188, 189, 190, 258, 259,
            260, 263, 264, 265, 266, 268, 280, 285, 316,
        ],
    ),
    (SyscallKind::Sleep, &[35, 230]),
    (SyscallKind::WaitChild, &[61, 247]),
    (SyscallKind::Spawn, &[56, 57, 58, 435]),
    (SyscallKind::Listen, &[50]),
    (SyscallKind::IoUring, &[425, 426, 427]),
    (
        SyscallKind::Memory,
        &[9, 10, 11, 12, 25, 28, 149, 150, 151, 152],
    ),
    (SyscallKind::Restart, &[219]),
]);

/// aarch64, from `include/uapi/asm-generic/unistd.h` of Linux 6.18.
pub const AARCH64: [u16; TABLE_SIZE] = table(&[
    (SyscallKind::Read, &[63, 67, 207]),
    (SyscallKind::ReadVector, &[65, 69, 286]),
    (SyscallKind::ReceiveMessage, &[212, 243]),
    (SyscallKind::Write, &[64, 68, 206]),
    (SyscallKind::WriteVector, &[66, 70, 287]),
    (SyscallKind::SendMessage, &[211, 269]),
    (SyscallKind::SendFile, &[71]),
    (SyscallKind::Splice, &[76, 285]),
    (SyscallKind::Poll, &[73]),
    (SyscallKind::Select, &[72]),
    (SyscallKind::EpollWait, &[22, 441]),
    (SyscallKind::Accept, &[202, 242]),
    (SyscallKind::Connect, &[203]),
    (SyscallKind::Close, &[57]),
    (SyscallKind::Shutdown, &[210]),
    (SyscallKind::Futex, &[98, 449, 454, 455, 456]),
    (SyscallKind::Flock, &[32]),
    (SyscallKind::Fcntl, &[25]),
    (SyscallKind::Sync, &[81, 82, 83, 84, 227, 267]),
    (
        SyscallKind::FileLookup,
        &[
            8, 9, 10, 17, 221, 281, 43, 44, 48, 49, 50, 56, 61, 62, 78, 79, 80, 291, 437, 439,
        ],
    ),
    (
        SyscallKind::FileChange,
        &[
            5, 6, 7, 33, 34, 35, 36, 37, 38, 45, 46, 47, 52, 53, 54, 55, 88, 276,
        ],
    ),
    (SyscallKind::Sleep, &[101, 115]),
    (SyscallKind::WaitChild, &[95, 260]),
    (SyscallKind::Spawn, &[220, 435]),
    (SyscallKind::Listen, &[201]),
    (SyscallKind::IoUring, &[425, 426, 427]),
    (
        SyscallKind::Memory,
        &[214, 215, 216, 222, 226, 228, 229, 230, 231],
    ),
    (SyscallKind::Restart, &[128]),
]);
