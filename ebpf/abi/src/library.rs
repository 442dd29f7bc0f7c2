//! Functions of shared libraries that are probed, and what the kernel side keeps of calls under way.
//!
//! A probe is told by a number which function it is on (the attach cookie), so that one program serves all
//! functions of a kind, or what is known of that place.

use crate::{Plain, record::ServerAddress};

crate::integer_enum! {
    /// A library whose functions are probed.
    pub enum Library: u32 {
        /// SQLite 3.
        Sqlite = 0 => "sqlite",
        /// OpenSSL 1.1 and later, and what has its functions (LibreSSL, BoringSSL).
        OpenSsl = 1 => "openssl",
    }
}

/// One function of a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its symbol.
    pub symbol: &'static str,
    /// What the probe is told: one of the constants here.
    pub number: u64,
}

const fn function(symbol: &'static str, number: u64) -> Function {
    Function { symbol, number }
}

/// `(db, text, bytes, statement **, rest **)`.
pub const PREPARE: u64 = 1;
/// `(db, text, bytes, flags, statement **, rest **)`.
pub const PREPARE_FLAGS: u64 = 2;
/// `(path, db **, ...)`.
pub const OPEN: u64 = 3;
/// `(statement)`.
pub const STEP: u64 = 4;

/// Functions of SQLite that compile or open. Each probe costs the kernel 0.1 s when it is let go: so those alone that
/// programs of today call. A statement that is prepared as UTF-16 is one that was prepared earlier.
pub const SQLITE_TEXTS: &[Function] = &[
    function("sqlite3_prepare_v2", PREPARE),
    function("sqlite3_prepare_v3", PREPARE_FLAGS),
    function("sqlite3_open_v2", OPEN),
];
/// The function of SQLite that executes.
pub const SQLITE_STEP: &[Function] = &[function("sqlite3_step", STEP)];
/// Functions of SQLite that end an execution.
pub const SQLITE_ENDS: &[Function] = &[
    function("sqlite3_reset", 0),
    function("sqlite3_finalize", 0),
];

/// `(ssl, buffer, bytes)`; returns how many.
pub const TLS_WRITE: u64 = 1;
/// `(ssl, buffer, bytes, done *)`; returns 1 on success.
pub const TLS_WRITE_EX: u64 = 2;
/// As `TLS_WRITE`.
pub const TLS_READ: u64 = 3;
/// As `TLS_WRITE_EX`.
pub const TLS_READ_EX: u64 = 4;
/// `(ssl)`. What it moves is of nobody's interest; its end is not seen, since it leaves by a jump through a pointer.
pub const TLS_HANDSHAKE: u64 = 5;

/// Functions of OpenSSL that move plain text.
pub const TLS_RETURNS: &[Function] = &[
    function("SSL_write", TLS_WRITE),
    function("SSL_write_ex", TLS_WRITE_EX),
    function("SSL_read", TLS_READ),
    function("SSL_read_ex", TLS_READ_EX),
];
/// Functions of OpenSSL that move bytes.
pub const TLS_CALLS: &[Function] = &[
    function("SSL_write", TLS_WRITE),
    function("SSL_write_ex", TLS_WRITE_EX),
    function("SSL_read", TLS_READ),
    function("SSL_read_ex", TLS_READ_EX),
    function("SSL_do_handshake", TLS_HANDSHAKE),
];
/// The function of OpenSSL after which the address of a connection means nothing.
pub const TLS_FREE: &[Function] = &[function("SSL_free", 0)];

crate::integer_enum! {
    /// A register that holds a function's result, of those that calls leave as they are and the one of results.
    pub enum ResultRegister: u32 {
        /// Where it is when the function returns.
        Rax = 0 => "rax",
        /// As named; so are the others.
        Rbx = 1 => "rbx",
        /// As above.
        Rbp = 2 => "rbp",
        /// As above.
        R12 = 3 => "r12",
        /// As above.
        R13 = 4 => "r13",
        /// As above.
        R14 = 5 => "r14",
        /// As above.
        R15 = 6 => "r15",
    }
}

/// What is known at the end of a function: the attach cookie there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndState {
    /// Bytes from the stack pointer to where it was at the begin.
    pub stack_bytes: u32,
    /// Where the result is.
    pub register: ResultRegister,
}

impl EndState {
    /// At the return instruction.
    pub const AT_RETURN: Self = Self {
        stack_bytes: 0,
        register: ResultRegister::Rax,
    };

    /// As a cookie.
    #[must_use]
    pub const fn cookie(self) -> u64 {
        (self.register as u64) << 32 | self.stack_bytes as u64
    }
}

/// How much code of its library lies around a function: the attach cookie at the begin of [`STEP`]. Calls from within
/// are the library's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Bytes before it.
    pub before: u32,
    /// Bytes from its begin on.
    pub behind: u32,
}

impl Surroundings {
    /// As a cookie.
    #[must_use]
    pub const fn cookie(self) -> u64 {
        (self.before as u64) << 32 | self.behind as u64
    }

    /// From a cookie.
    #[must_use]
    pub const fn of_cookie(cookie: u64) -> Self {
        Self {
            before: (cookie >> 32) as u32,
            behind: cookie as u32,
        }
    }

    /// Whether `address` is among that code, with the function at `function`.
    #[must_use]
    pub const fn contain(self, function: u64, address: u64) -> bool {
        let from_start = address.wrapping_sub(function.wrapping_sub(self.before as u64));
        from_start < self.before as u64 + self.behind as u64
    }
}

/// A call under way on a thread: the outermost of its library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LibraryCall {
    /// Stack pointer at its begin; 0: none is under way.
    pub stack: u64,
    /// Where it returns to; 0: not known.
    pub return_address: u64,
    /// Which function.
    pub function: u64,
    /// Begin.
    pub begin_ns: u64,
    /// Connection of the thread's request.
    pub connection: u64,
    /// Number of the request on that.
    pub request: u32,
    /// Generation of the thread's slot.
    pub generation: u32,
    /// 1: of a call before it or within it, for the same request, not all was seen.
    pub missed: u32,
    /// Padding.
    pub reserved: u32,
    /// Its first arguments.
    pub arguments: [u64; 6],
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for LibraryCall {}

/// Key of a map: an object of a library in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LibraryObject {
    /// Process id.
    pub tgid: u64,
    /// Address.
    pub address: u64,
}

// SAFETY: integers only.
unsafe impl Plain for LibraryObject {}

/// Value of `EXECUTIONS`: a statement from its first step until it is done, reset or finalized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Execution {
    /// First step.
    pub begin_ns: u64,
    /// Time within steps.
    pub total_ns: u64,
    /// Time within steps until there was a row.
    pub first_row_ns: u64,
    /// Rows.
    pub rows: u64,
    /// Connection of the request that it is for.
    pub connection: u64,
    /// Number of the request on that.
    pub request: u32,
    /// 1: another request has begun it.
    pub continued: u32,
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for Execution {}

/// Value of `ENCRYPTED`: the connection that an `SSL *` moves its bytes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct EncryptedPeer {
    /// Inode number of the socket.
    pub peer: u64,
    /// Who the server is.
    pub server: ServerAddress,
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for EncryptedPeer {}

/// Value of `LIBRARY_CALLS`, of the thread with that slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LibraryCalls {
    /// Calls under way, by [`Library`].
    pub calls: [LibraryCall; Library::COUNT],
    /// Where a value of `ENCRYPTED` is made: the stack is too small for that.
    pub peer: EncryptedPeer,
}

// SAFETY: integers only.
unsafe impl Plain for LibraryCalls {}

const _: () = assert!(size_of::<LibraryCall>() == 104);
const _: () = assert!(size_of::<Execution>() == 48);
const _: () = assert!(size_of::<EncryptedPeer>() == 8 + size_of::<ServerAddress>());

/// Bit of a key of `SERVERS`: the plain text of that connection. Inode numbers of sockets are small.
pub const PLAIN_TEXT_OF: u64 = 1 << 63;
