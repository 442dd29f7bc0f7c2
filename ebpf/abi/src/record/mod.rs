//! Records in the rings. Each begins with a [`RecordHeader`]; a shape has a fixed size.

mod binding;
mod library;
mod lock;
mod program;
mod tried;

pub use binding::{LoopStallRecord, MarkKind, MarkRecord};
pub use library::{
    EXECUTION_CONTINUED, EXECUTION_OPEN, ExecutedRecord, LIBRARY_SPENT, LIBRARY_TEXT,
    LibraryTextKind, LibraryTextRecord, TEXT_WHOLE,
};
pub use lock::{PATH_DEPTH, PATH_NAME, WaitRecord};
pub use tried::{
    TRIED_DIRECTORY, TRIED_PATH, TRIED_REMOVED, TRIED_SPENT, TRIES_BUDGET, TriedRecord,
};

pub use program::{PROGRAM_ARGUMENTS, PROGRAM_FILE, ProgramEvent, ProgramRecord};

use crate::{
    Plain,
    account::Account,
    connection::ConnectionState,
    queue::QueueTimes,
    thread::Service,
    totals::Totals,
    wait::{WAIT_NAME, WAITS_KEPT, Wait},
};

crate::integer_enum! {
    /// Shape and meaning of a record.
    pub enum RecordKind: u32 {
        /// [`BeginRecord`]: a request began: its first bytes were read.
        Begin = 1 => "begin",
        /// [`PieceRecord`]: more bytes of a request whose response has not begun.
        Piece = 2 => "piece",
        /// [`EndRecord`]: the state of a connection's request, for one of [`EndReason`].
        End = 3 => "end",
        /// [`LifecycleRecord`].
        Lifecycle = 4 => "lifecycle",
        /// [`SignalRecord`].
        Signal = 5 => "signal",
        /// [`DataRecord`]: bytes that a thread exchanged with a server of its own.
        Data = 6 => "data",
        /// [`ShortDataRecord`]: the same of a short transfer.
        ShortData = 7 => "short_data",
        /// [`ProgramRecord`]: a program that a watched process started.
        Program = 8 => "program",
        /// [`ServiceRecord`]: a server that is followed has answered.
        Service = 13 => "service",
        /// [`MarkRecord`]: a moment of a thread that works on what another has read.
        Mark = 9 => "mark",
        /// [`LoopStallRecord`]: an event loop did not come back to poll.
        LoopStall = 10 => "loop_stall",
        /// [`WaitRecord`]: a wait for a lock is over.
        Wait = 11 => "wait",
        /// [`TriedRecord`]: a thread tried to create what may be a lock.
        Tried = 12 => "tried",
        /// [`LibraryTextRecord`]: a database library was given a text.
        LibraryText = 16 => "library_text",
        /// [`ExecutedRecord`]: a database library executed a statement.
        Executed = 17 => "executed",
    }
}

/// Front of every record. 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RecordHeader {
    /// When it happened, monotonic.
    pub time_ns: u64,
    /// [`RecordKind`].
    pub kind: u32,
    /// Thread it happened in (initial PID namespace).
    pub tid: u32,
    /// Its process.
    pub tgid: u32,
    /// Generation of its slot; 0 when it has none.
    pub generation: u32,
    /// Sequence number of the thread's records (over all rings): a gap is a loss. 0 when it has
    /// no slot.
    pub sequence: u32,
    /// Padding.
    pub reserved: u32,
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for RecordHeader {}

/// Payload bytes of a [`BeginRecord`].
pub const BEGIN_PAYLOAD: usize = 1024;
/// Payload bytes of a [`PieceRecord`].
pub const PIECE_PAYLOAD: usize = 1024;
/// Bytes shipped of one request at the most, over all records.
pub const REQUEST_CAPTURE: usize = 8192;

/// Bit of [`BeginRecord::flags`]: nothing was read: the thread wrote a second response, so this
/// is the next pipelined request. `payload_len` is 0; its head lies in bytes already shipped.
pub const BEGIN_PIPELINED: u32 = 1;
/// Bit of [`BeginRecord::flags`]: the thread is an event loop: it has waited for clients with `epoll_wait`.
pub const BEGIN_LOOP: u32 = 2;

/// A request began on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct BeginRecord {
    /// Front.
    pub header: RecordHeader,
    /// Inode number of the socket.
    pub connection: u64,
    /// Number of the request on it.
    pub request: u32,
    /// Descriptor.
    pub fd: i32,
    /// Bits: `BEGIN_PIPELINED`, `BEGIN_LOOP`.
    pub flags: u32,
    /// `AF_INET`, `AF_INET6` or `AF_UNIX`.
    pub family: u16,
    /// Peer's port, network byte order.
    pub peer_port_be: u16,
    /// Local port, host byte order.
    pub local_port: u16,
    /// Padding.
    pub reserved: [u16; 3],
    /// Peer's address as in memory; IPv4 in the first 4 bytes.
    pub peer_address: [u8; 16],
    /// Name of the reader, NUL-padded.
    pub comm: [u8; 16],
    /// Ledger of the reader at this moment.
    pub totals: Totals,
    /// What went before the read; of a pipelined one without a meaning.
    pub queue: QueueTimes,
    /// Bytes that the read returned.
    pub read_len: u32,
    /// Bytes of `payload` in use.
    pub payload_len: u32,
    /// What was read.
    pub payload: [u8; BEGIN_PAYLOAD],
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for BeginRecord {}

/// More bytes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PieceRecord {
    /// Front.
    pub header: RecordHeader,
    /// Inode number of the socket.
    pub connection: u64,
    /// Number of the request on it.
    pub request: u32,
    /// Bytes that the read returned.
    pub read_len: u32,
    /// Offset of `payload` within the bytes read for this request.
    pub offset: u32,
    /// Bytes of `payload` in use.
    pub payload_len: u32,
    /// What was read.
    pub payload: [u8; PIECE_PAYLOAD],
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for PieceRecord {}

/// Bytes of the front of a transfer in one [`DataRecord`]; longer writes take several.
pub const DATA_FRONT: usize = 512;
/// Bytes of its end.
pub const DATA_TAIL: usize = 64;
/// Bytes of a [`ShortDataRecord`].
pub const DATA_SHORT: usize = 128;
/// Records that one write takes at the most.
pub const DATA_PIECES: usize = 64;
/// Data records of one request at the most.
pub const DATA_BUDGET: u32 = 8192;
/// Data records of a thread between two requests at the most: what it says then belongs to nobody, but whoever
/// reads the connection later must know.
pub const DATA_BETWEEN: u32 = 256;

/// Bit of [`DataHead::flags`]: the thread wrote; else it read.
pub const DATA_WRITTEN: u32 = 1;
/// Bit of [`DataHead::flags`]: no more are shipped for this request.
pub const DATA_SPENT: u32 = 2;
/// Bit of [`DataHead::flags`]: bytes of this connection before these were not shipped, or may not have been.
/// The record is a [`DataRecord`].
pub const DATA_GAP: u32 = 4;
/// Bit of [`DataHead::flags`]: since the thread's data record before, it has written to the client of its request:
/// what it asks from here on may come after the response.
pub const DATA_ANSWERED: u32 = 8;
/// Bit of [`DataHead::flags`]: plain text, as a library that encrypts got or gave it. The record is a
/// [`DataRecord`].
pub const DATA_PLAIN: u32 = 1 << 16;

/// Front of both records of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DataHead {
    /// Front; the time is the return of the system call.
    pub header: RecordHeader,
    /// Inode number of the socket to the server.
    pub peer: u64,
    /// Inode number of the socket that the thread's last request came from; 0: none.
    pub connection: u64,
    /// Number of the request on that. It may be over.
    pub request: u32,
    /// Bits: `DATA_WRITTEN`, `DATA_SPENT`, `DATA_GAP`, `DATA_ANSWERED`, `DATA_PLAIN`.
    pub flags: u32,
    /// Bytes that this record stands for.
    pub len: u32,
    /// Bytes of `front` in use.
    pub front_len: u32,
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for DataHead {}

/// Bytes exchanged with a server that the process connected to, all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ShortDataRecord {
    /// Front.
    pub head: DataHead,
    /// The bytes.
    pub front: [u8; DATA_SHORT],
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for ShortDataRecord {}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ServerAddress {
    /// `AF_INET`, `AF_INET6` or `AF_UNIX`.
    pub family: u16,
    /// Port, network byte order.
    pub port_be: u16,
    /// Padding.
    pub reserved: u32,
    /// Address as in memory; IPv4 in the first 4 bytes.
    pub address: [u8; 16],
    /// Path of a unix socket (may begin with NUL: abstract); of others, anything.
    pub name: [u8; WAIT_NAME],
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for ServerAddress {}

/// Bytes exchanged with a server that the process connected to, and who that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DataRecord {
    /// Front.
    pub head: DataHead,
    /// Who the server is.
    pub server: ServerAddress,
    /// Bytes of `tail` in use.
    pub tail_len: u32,
    /// Padding.
    pub reserved: u32,
    /// First bytes.
    pub front: [u8; DATA_FRONT],
    /// Last bytes, where `front` does not reach them.
    pub tail: [u8; DATA_TAIL],
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for DataRecord {}

crate::integer_enum! {
    /// Why an [`EndRecord`] was shipped.
    pub enum EndReason: u32 {
        /// The next request began on the connection.
        NextRequest = 0 => "next_request",
        /// The server closed the connection; its state is gone. Not told again after `Shutdown`.
        Closed = 1 => "closed",
        /// The server shut the connection down.
        Shutdown = 2 => "shutdown",
        /// The thread turned to another connection. The request may go on.
        ThreadMoved = 3 => "thread_moved",
        /// A second response began in a write (pipelining), or bytes that look like one.
        NextResponse = 4 => "next_response",
        /// The thread that worked on it ended; its [`LifecycleKind::Exit`] follows.
        ThreadEnded = 5 => "thread_ended",
        /// As `ThreadEnded`, with its whole process.
        ProcessEnded = 6 => "process_ended",
    }
}

/// The state of a request, as it ended or may have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct EndRecord {
    /// Front: the thread that caused the record, not always the writer.
    pub header: RecordHeader,
    /// [`EndReason`].
    pub reason: u32,
    /// Padding.
    pub reserved: u32,
    /// Ledger of the causing thread at this moment (for a request without a response).
    pub now: Totals,
    /// Longest waits of the causing thread since its last request began.
    pub waits: [Wait; WAITS_KEPT],
    /// The connection.
    pub state: ConnectionState,
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for EndRecord {}

crate::integer_enum! {
    /// What happened to a process or thread.
    pub enum LifecycleKind: u32 {
        /// `header` is the new thread or process; `other` the thread that made it.
        Fork = 0 => "fork",
        /// A watched process runs a new program (`comm` is the new name) and is not watched any more; `other`
        /// is the id that the thread had before: it has that of the process now.
        Exec = 1 => "exec",
        /// A watched thread ended; `code` is its exit code as `wait` gives it, `last` tells
        /// whether the process ended with it.
        Exit = 2 => "exit",
        /// A process called `listen`; it is a candidate now if discovery is on.
        Listen = 3 => "listen",
        /// A candidate read an HTTP request and is watched now.
        Discovered = 4 => "discovered",
        /// A watched thread set up io_uring.
        IoUring = 5 => "io_uring",
        /// The adoption pass gave a thread a slot.
        Adopted = 6 => "adopted",
    }
}

/// A thread of a server that is followed has written to its client, after at least as long as a wait must be to be
/// kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ServiceRecord {
    /// Front; the time is the return of the write.
    pub header: RecordHeader,
    /// What it was, and how the accounts stood at its begin.
    pub service: Service,
    /// How the accounts stand now, ns.
    pub now: [u64; Account::COUNT],
    /// Its longest waits meanwhile.
    pub waits: [Wait; WAITS_KEPT],
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for ServiceRecord {}

/// Bit of [`LifecycleRecord::code`] of a thread that begins to be watched: it belongs to a server that is followed.
pub const LIFE_FOLLOWED: u32 = 1;

/// A change in a process's or thread's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LifecycleRecord {
    /// Front.
    pub header: RecordHeader,
    /// [`LifecycleKind`].
    pub event: u32,
    /// By `event`.
    pub other: u32,
    /// Exit code (`status << 8 | signal`); of a thread that begins to be watched `LIFE_FOLLOWED`, else 0.
    pub code: u32,
    /// 1 when the process ended with this thread.
    pub last: u32,
    /// Index of the slot, `u32::MAX` for none.
    pub slot: u32,
    /// Process id of the parent process.
    pub parent: u32,
    /// Start of the process: `task_struct.start_boottime` of the thread-group leader, ns since boot.
    pub process_start_ns: u64,
    /// Thread name, NUL-padded.
    pub comm: [u8; 16],
    /// Ledger at this moment (`Exit` only).
    pub totals: Totals,
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for LifecycleRecord {}

crate::integer_enum! {
    /// Which side of a signal.
    pub enum SignalKind: u32 {
        /// Sent: `header` is the sender, `target_*` the receiver.
        Generate = 0 => "generate",
        /// Taken: `header` and `target_*` are the receiver.
        Deliver = 1 => "deliver",
    }
}

/// A signal that can end a watched process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SignalRecord {
    /// Front.
    pub header: RecordHeader,
    /// [`SignalKind`].
    pub event: u32,
    /// Signal number.
    pub signal: i32,
    /// `si_code` (Generate: from `siginfo`; 0 when the kernel passes none).
    pub code: i32,
    /// `signal_struct.group_exit_code` of the receiver (Deliver).
    pub group_exit_code: i32,
    /// Receiving thread.
    pub target_tid: u32,
    /// Receiving process.
    pub target_tgid: u32,
    /// Name of the sender's thread, NUL-padded.
    pub comm: [u8; 16],
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for SignalRecord {}

const _: () = assert!(size_of::<RecordHeader>() == 32);
const _: () = assert!(
    size_of::<BeginRecord>()
        == 32 + 64 + size_of::<Totals>() + size_of::<QueueTimes>() + 8 + BEGIN_PAYLOAD
);
const _: () = assert!(size_of::<PieceRecord>() == 32 + 24 + PIECE_PAYLOAD);
const _: () = assert!(size_of::<DataHead>() == 32 + 32);
const _: () = assert!(size_of::<ServerAddress>() == 24 + WAIT_NAME);
const _: () = assert!(size_of::<ShortDataRecord>() == size_of::<DataHead>() + DATA_SHORT);
const _: () = assert!(
    size_of::<DataRecord>()
        == size_of::<DataHead>() + size_of::<ServerAddress>() + 8 + DATA_FRONT + DATA_TAIL
);
const _: () = assert!(size_of::<SignalRecord>() == 32 + 24 + 16);
const _: () = assert!(size_of::<LifecycleRecord>() == 32 + 48 + size_of::<Totals>());
