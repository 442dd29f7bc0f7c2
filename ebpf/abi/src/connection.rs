//! The state of one HTTP connection: value of the hash map `CONNECTIONS`, keyed by the socket's
//! inode number. It holds one request at a time: the current one, or the last one until the next
//! begins. Its `totals` are those of the thread that wrote last, at that write.

use crate::{
    Plain,
    queue::QueueTimes,
    totals::Totals,
    wait::{WAITS_KEPT, Wait},
};

crate::integer_enum! {
    /// How far the exchange is.
    pub enum ConnectionPhase: u32 {
        /// No request yet.
        Idle = 0 => "idle",
        /// A request was read (head, perhaps body); no response byte was written.
        Request = 1 => "request",
        /// Response bytes were written.
        Response = 2 => "response",
    }
}

/// Bit of [`ConnectionState::flags`]: a read returned 0: the client closed its side.
pub const CLIENT_CLOSED: u32 = 1;
/// Bit of [`ConnectionState::flags`]: a read or write failed with `EPIPE`, `ECONNRESET` or
/// `ETIMEDOUT`.
pub const CLIENT_RESET: u32 = 2;
/// Bit of [`ConnectionState::flags`]: an interim response (1xx) was written.
pub const INTERIM_RESPONSE: u32 = 4;

/// Bit of [`ConnectionState::flags`]: the server shut the connection down and nothing was written
/// since: its end has been told.
pub const SHUT_DOWN: u32 = 8;

/// Bit of [`ConnectionState::flags`]: it speaks another protocol since a response of status 101, whose end
/// has been told.
pub const UPGRADED: u32 = 16;

/// Value of the map `DESCRIPTORS`: the socket behind a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SocketPlace {
    /// Its inode number.
    pub id: u64,
    /// Address of its `struct file`.
    pub file: u64,
}

// SAFETY: integers only.
unsafe impl Plain for SocketPlace {}

/// Bytes kept of a response's head.
pub const RESPONSE_HEAD: usize = 1024;

/// One connection and its current or last request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ConnectionState {
    /// Inode number of the socket: the connection's identity.
    pub id: u64,
    /// Number of the request on this connection, from 1.
    pub request: u32,
    /// [`ConnectionPhase`].
    pub phase: u32,
    /// `CLIENT_CLOSED` and the like; of the current request.
    pub flags: u32,
    /// Descriptor it was read from.
    pub fd: i32,
    /// Process that reads it.
    pub tgid: u32,
    /// Thread that read the head.
    pub reader_tid: u32,
    /// Slot generation of the reader.
    pub reader_generation: u32,
    /// Thread that wrote last, or failed to; 0: none.
    pub writer_tid: u32,
    /// Slot generation of the writer.
    pub writer_generation: u32,
    /// Writes of the response so far.
    pub writes: u32,
    /// Return of the read that brought the first byte.
    pub begin_ns: u64,
    /// Return of the last read from the client.
    pub last_read_ns: u64,
    /// Return of the first write of the response; 0: none.
    pub first_write_ns: u64,
    /// Return of the last write of the response; 0: none.
    pub last_write_ns: u64,
    /// Return of the write that failed before any succeeded, since the client was gone; 0: none.
    pub failed_write_ns: u64,
    /// Bytes read for this request, body included.
    pub bytes_in: u64,
    /// Bytes written for it, head included, interim responses not.
    pub bytes_out: u64,
    /// What went before its first read; of a pipelined one without a meaning.
    pub queue: QueueTimes,
    /// Bytes of the request shipped so far.
    pub captured_in: u32,
    /// Bytes of `response` in use.
    pub captured_out: u32,
    /// The last bytes of the last write (a chunked body ends with `0\r\n\r\n`); zero when not read.
    pub tail: [u8; 8],
    /// First bytes of the response.
    pub response: [u8; RESPONSE_HEAD],
    /// Ledger of the writer at the last write, or at the one that failed; of the reader at the begin
    /// while there was none.
    pub totals: Totals,
    /// Longest waits of the writer from the begin to the last write.
    pub waits: [Wait; WAITS_KEPT],
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for ConnectionState {}

/// Bit of a value of the map `SERVERS`: user space has no use for the bytes of this connection. The agent sets it.
/// Of each request only the first read there is told.
pub const SERVER_IGNORED: u32 = 1;
/// Bits of a value of the map `SERVERS` that stand for the request of which that read was last told.
pub const SERVER_READER: u32 = !0xff;
/// Bit of a value of the map `SERVERS`: bytes of this connection were not shipped since the last that were.
pub const SERVER_GAP: u32 = 2;

const _: () = assert!(align_of::<ConnectionState>() == 8);
const _: () = assert!(
    size_of::<ConnectionState>()
        == 120
            + size_of::<QueueTimes>()
            + RESPONSE_HEAD
            + size_of::<Totals>()
            + WAITS_KEPT * size_of::<Wait>()
);
