//! Records of database libraries that a process calls into.

use crate::{Plain, record::RecordHeader};

/// Bytes of a text in a [`LibraryTextRecord`].
pub const LIBRARY_TEXT: usize = 512;

crate::integer_enum! {
    /// What a text is.
    pub enum LibraryTextKind: u32 {
        /// `object` is a statement, the text its SQL.
        Prepared = 0 => "prepared",
        /// `object` is a database, the text its name.
        Opened = 1 => "opened",
    }
}

/// Bit of [`LibraryTextRecord::flags`]: the text is all there.
pub const TEXT_WHOLE: u32 = 1;
/// Bit of the flags of either record: no more are shipped for this request, or one before it was missed.
pub const LIBRARY_SPENT: u32 = 2;
/// Bit of [`ExecutedRecord::flags`]: the execution goes on; a later record has all of it.
pub const EXECUTION_OPEN: u32 = 4;
/// Bit of [`ExecutedRecord::flags`]: another request has begun it, and has counted it.
pub const EXECUTION_CONTINUED: u32 = 8;

/// A database library was given a text, with a request open on the thread or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LibraryTextRecord {
    /// Front; the time is the return of the function.
    pub header: RecordHeader,
    /// Address of what came of it; 0: nothing, see `result`.
    pub object: u64,
    /// Address of the database that a statement is for.
    pub database: u64,
    /// Connection of the thread's request; 0: none is open.
    pub connection: u64,
    /// Time within the function.
    pub ns: u64,
    /// Number of the request on `connection`.
    pub request: u32,
    /// [`LibraryTextKind`].
    pub kind: u32,
    /// Result code of the function; 0: success.
    pub result: i32,
    /// Bits: `TEXT_WHOLE`, `LIBRARY_SPENT`.
    pub flags: u32,
    /// Bytes of `text` in use.
    pub text_len: u32,
    /// Padding.
    pub reserved: u32,
    /// The text.
    pub text: [u8; LIBRARY_TEXT],
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for LibraryTextRecord {}

/// A database library executed a statement for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ExecutedRecord {
    /// Front.
    pub header: RecordHeader,
    /// Address of the statement.
    pub statement: u64,
    /// Connection of the request that it was executed for.
    pub connection: u64,
    /// First step.
    pub begin_ns: u64,
    /// Time within the library so far.
    pub total_ns: u64,
    /// The part of it up to the first row; 0: there was none.
    pub first_row_ns: u64,
    /// Rows so far.
    pub rows: u64,
    /// Number of the request on `connection`.
    pub request: u32,
    /// Result code of the last step; of one that ended early, 0.
    pub result: i32,
    /// Bits: `EXECUTION_OPEN`, `EXECUTION_CONTINUED`, `LIBRARY_SPENT`.
    pub flags: u32,
    /// Padding.
    pub reserved: u32,
}

// SAFETY: integers only, padding explicit.
unsafe impl Plain for ExecutedRecord {}

const _: () = assert!(size_of::<LibraryTextRecord>() == 32 + 32 + 24 + LIBRARY_TEXT);
const _: () = assert!(size_of::<ExecutedRecord>() == 32 + 48 + 16);
