//! Bytes to typed records, by record shape. Nothing here knows what a record means for a request.
//!
//! A record shorter than its shape or with an unknown tag is an error that the caller counts;
//! bytes beyond the shape are ignored. Lengths inside a record never exceed its payload.

use thiserror::Error;
use whyslow_abi::{
    Plain, Unknown,
    connection::{ConnectionPhase, ConnectionState},
    library::PLAIN_TEXT_OF,
    read_plain,
    record::{
        BEGIN_LOOP, BEGIN_PAYLOAD, BEGIN_PIPELINED, BeginRecord, DATA_ANSWERED, DATA_FRONT,
        DATA_GAP, DATA_PLAIN, DATA_SHORT, DATA_SPENT, DATA_TAIL, DATA_WRITTEN, DataHead,
        DataRecord, EXECUTION_CONTINUED, EXECUTION_OPEN, EndReason, EndRecord, ExecutedRecord,
        LIBRARY_SPENT, LIBRARY_TEXT, LibraryTextKind, LibraryTextRecord, LifecycleKind,
        LifecycleRecord, LoopStallRecord, MarkKind, MarkRecord, PIECE_PAYLOAD, PROGRAM_ARGUMENTS,
        PieceRecord, ProgramEvent, ProgramRecord, RecordHeader, RecordKind, ServiceRecord,
        ShortDataRecord, SignalKind, SignalRecord, TEXT_WHOLE, TriedRecord, WaitRecord,
    },
    thread::{ThreadSlot, ThreadState},
};

use crate::protocol::client::Chunk;

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum DecodeError {
    /// Fewer bytes than the shape has.
    #[error("record is cut: {0} bytes")]
    Cut(usize),
    /// A tag that names nothing.
    #[error("unknown tag {}", .0.value)]
    UnknownTag(Unknown),
}

impl From<Unknown> for DecodeError {
    fn from(unknown: Unknown) -> Self {
        Self::UnknownTag(unknown)
    }
}

/// A request began.
#[derive(Clone, Debug)]
pub(crate) struct Begin {
    pub(crate) raw: BeginRecord,
    pub(crate) pipelined: bool,
    /// Its thread is an event loop.
    pub(crate) by_loop: bool,
}

impl Begin {
    /// What was captured of the read.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.raw.payload[..(self.raw.payload_len as usize).min(BEGIN_PAYLOAD)]
    }
}

/// More bytes of a request.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) raw: PieceRecord,
}

impl Piece {
    /// What was captured of the read.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.raw.payload[..(self.raw.payload_len as usize).min(PIECE_PAYLOAD)]
    }
}

/// Bytes exchanged with a server.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack for one step; a box would be an allocation per record"
)]
pub(crate) enum Data {
    Short(ShortDataRecord),
    Long(DataRecord),
}

impl Data {
    /// Front of the record.
    pub(crate) fn head(&self) -> &DataHead {
        match self {
            Self::Short(raw) => &raw.head,
            Self::Long(raw) => &raw.head,
        }
    }

    /// By the thread; else it read.
    pub(crate) fn written(&self) -> bool {
        self.head().flags & DATA_WRITTEN != 0
    }

    /// The last that is shipped of its request.
    pub(crate) fn spent(&self) -> bool {
        self.head().flags & DATA_SPENT != 0
    }

    /// Plain text of a connection that is encrypted.
    pub(crate) fn plain(&self) -> bool {
        self.head().flags & DATA_PLAIN != 0
    }

    /// Which conversation it is a part of: that of a connection, or that in plain text of one that is encrypted.
    pub(crate) fn conversation(&self) -> u64 {
        let text = if self.plain() { PLAIN_TEXT_OF } else { 0 };
        self.head().peer | text
    }

    /// Bytes of the connection before these were not shipped.
    pub(crate) fn gap(&self) -> bool {
        self.head().flags & DATA_GAP != 0
    }

    /// A read found the end of the connection, or that it broke.
    pub(crate) fn ends(&self) -> bool {
        !self.written() && !self.gap() && self.chunk().len == 0
    }

    /// The thread has written to its client since its record before.
    pub(crate) fn answered(&self) -> bool {
        self.head().flags & DATA_ANSWERED != 0
    }

    /// Who the server is, where it is told.
    pub(crate) fn server(&self) -> Option<&DataRecord> {
        match self {
            Self::Short(_) => None,
            Self::Long(raw) => Some(raw),
        }
    }

    /// What was captured.
    pub(crate) fn chunk(&self) -> Chunk<'_> {
        let used = |len: u32, limit: usize| (len as usize).min(limit);
        let (front, tail) = match self {
            Self::Short(raw) => (&raw.front[..used(raw.head.front_len, DATA_SHORT)], &[][..]),
            Self::Long(raw) => (
                &raw.front[..used(raw.head.front_len, DATA_FRONT)],
                &raw.tail[..used(raw.tail_len, DATA_TAIL)],
            ),
        };
        Chunk {
            front,
            tail,
            len: u64::from(self.head().len).max(front.len() as u64),
        }
    }
}

/// A text that a database library was given.
#[derive(Clone, Debug)]
pub(crate) struct LibraryText {
    pub(crate) raw: LibraryTextRecord,
    /// The name of a database; else a statement.
    pub(crate) opened: bool,
    /// The text is all there.
    pub(crate) whole: bool,
    /// The last that is shipped of its request.
    pub(crate) spent: bool,
}

impl LibraryText {
    /// What was captured.
    pub(crate) fn text(&self) -> &[u8] {
        &self.raw.text[..(self.raw.text_len as usize).min(LIBRARY_TEXT)]
    }
}

/// A database library executed a statement.
#[derive(Clone, Debug)]
pub(crate) struct Executed {
    pub(crate) raw: ExecutedRecord,
    /// It goes on.
    pub(crate) open: bool,
    /// Another request has begun it, and has counted it.
    pub(crate) continued: bool,
    /// The last that is shipped of its request.
    pub(crate) spent: bool,
}

impl From<ExecutedRecord> for Executed {
    fn from(raw: ExecutedRecord) -> Self {
        Self {
            open: raw.flags & EXECUTION_OPEN != 0,
            continued: raw.flags & EXECUTION_CONTINUED != 0,
            spent: raw.flags & LIBRARY_SPENT != 0,
            raw,
        }
    }
}

/// The state of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) raw: ConnectionState,
    pub(crate) phase: ConnectionPhase,
}

impl TryFrom<ConnectionState> for Connection {
    type Error = DecodeError;

    fn try_from(raw: ConnectionState) -> Result<Self, DecodeError> {
        let phase = ConnectionPhase::try_from(raw.phase)?;
        Ok(Self { raw, phase })
    }
}

/// A request ended, or may have.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) raw: EndRecord,
    pub(crate) reason: EndReason,
    pub(crate) phase: ConnectionPhase,
}

/// A process or thread changed.
#[derive(Clone, Debug)]
pub(crate) struct Lifecycle {
    pub(crate) raw: LifecycleRecord,
    pub(crate) event: LifecycleKind,
}

/// A program that a watched process started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) raw: ProgramRecord,
    pub(crate) event: ProgramEvent,
}

impl Program {
    /// Path of the program, as it was asked for.
    pub(crate) fn file(&self) -> &[u8] {
        let end = self.raw.file.iter().position(|byte| *byte == 0);
        &self.raw.file[..end.unwrap_or(self.raw.file.len())]
    }

    /// What was captured of its arguments.
    pub(crate) fn arguments(&self) -> &[u8] {
        &self.raw.arguments[..(self.raw.arguments_len as usize).min(PROGRAM_ARGUMENTS)]
    }

    /// Not all arguments were captured.
    pub(crate) fn is_cut(&self) -> bool {
        self.raw.arguments_total as usize > self.arguments().len()
    }
}

/// A moment of a thread that may work on what another has read.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) raw: MarkRecord,
    pub(crate) kind: MarkKind,
}

/// A deadly signal.
#[derive(Clone, Debug)]
pub(crate) struct Signal {
    pub(crate) raw: SignalRecord,
    pub(crate) event: SignalKind,
}

/// Any record.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack for one step; a box would be an allocation per record"
)]
pub(crate) enum Record {
    Begin(Begin),
    Piece(Piece),
    End(End),
    Lifecycle(Lifecycle),
    Signal(Signal),
    Data(Data),
    LibraryText(LibraryText),
    Executed(Executed),
    Service(ServiceRecord),
    Program(Program),
    Mark(Mark),
    LoopStall(LoopStallRecord),
    Wait(WaitRecord),
    Tried(TriedRecord),
}

impl Record {
    /// Front of the record.
    pub(crate) fn header(&self) -> &RecordHeader {
        match self {
            Self::Begin(begin) => &begin.raw.header,
            Self::Piece(piece) => &piece.raw.header,
            Self::End(end) => &end.raw.header,
            Self::Lifecycle(lifecycle) => &lifecycle.raw.header,
            Self::Signal(signal) => &signal.raw.header,
            Self::Data(data) => &data.head().header,
            Self::LibraryText(text) => &text.raw.header,
            Self::Executed(executed) => &executed.raw.header,
            Self::Service(service) => &service.header,
            Self::Program(program) => &program.raw.header,
            Self::Mark(mark) => &mark.raw.header,
            Self::LoopStall(raw) => &raw.header,
            Self::Wait(raw) => &raw.header,
            Self::Tried(raw) => &raw.header,
        }
    }
}

fn cut(bytes: &[u8]) -> DecodeError {
    DecodeError::Cut(bytes.len())
}

/// Kind of the record that `bytes` begin with.
pub(crate) fn kind(bytes: &[u8]) -> Result<RecordKind, DecodeError> {
    let header: RecordHeader = read_plain(bytes).ok_or_else(|| cut(bytes))?;
    Ok(RecordKind::try_from(header.kind)?)
}

/// A record of that shape.
fn raw<T: Plain>(bytes: &[u8]) -> Result<T, DecodeError> {
    read_plain(bytes).ok_or_else(|| cut(bytes))
}

/// Decodes one record.
pub(crate) fn record(bytes: &[u8]) -> Result<Record, DecodeError> {
    Ok(match kind(bytes)? {
        RecordKind::Begin => {
            let raw = raw::<BeginRecord>(bytes)?;
            let pipelined = raw.flags & BEGIN_PIPELINED != 0;
            let by_loop = raw.flags & BEGIN_LOOP != 0;
            Record::Begin(Begin {
                raw,
                pipelined,
                by_loop,
            })
        }
        RecordKind::Piece => Record::Piece(Piece { raw: raw(bytes)? }),
        RecordKind::End => {
            let raw = raw::<EndRecord>(bytes)?;
            let reason = EndReason::try_from(raw.reason)?;
            let phase = ConnectionPhase::try_from(raw.state.phase)?;
            Record::End(End { raw, reason, phase })
        }
        RecordKind::Lifecycle => {
            let raw = raw::<LifecycleRecord>(bytes)?;
            let event = LifecycleKind::try_from(raw.event)?;
            Record::Lifecycle(Lifecycle { raw, event })
        }
        RecordKind::Signal => {
            let raw = raw::<SignalRecord>(bytes)?;
            let event = SignalKind::try_from(raw.event)?;
            Record::Signal(Signal { raw, event })
        }
        RecordKind::Service => Record::Service(raw(bytes)?),
        RecordKind::Data => Record::Data(Data::Long(raw(bytes)?)),
        RecordKind::ShortData => Record::Data(Data::Short(raw(bytes)?)),
        RecordKind::Program => {
            let raw = raw::<ProgramRecord>(bytes)?;
            let event = ProgramEvent::try_from(raw.event)?;
            Record::Program(Program { raw, event })
        }
        RecordKind::Tried => Record::Tried(read_plain(bytes).ok_or_else(|| cut(bytes))?),
        RecordKind::Wait => Record::Wait(read_plain(bytes).ok_or_else(|| cut(bytes))?),
        RecordKind::LibraryText => {
            let raw = raw::<LibraryTextRecord>(bytes)?;
            let kind = LibraryTextKind::try_from(raw.kind)?;
            Record::LibraryText(LibraryText {
                opened: kind == LibraryTextKind::Opened,
                whole: raw.flags & TEXT_WHOLE != 0,
                spent: raw.flags & LIBRARY_SPENT != 0,
                raw,
            })
        }
        RecordKind::Executed => Record::Executed(Executed::from(raw::<ExecutedRecord>(bytes)?)),
        RecordKind::Mark => {
            let raw = raw::<MarkRecord>(bytes)?;
            let kind = MarkKind::try_from(raw.kind)?;
            Record::Mark(Mark { raw, kind })
        }
        RecordKind::LoopStall => Record::LoopStall(raw(bytes)?),
    })
}

/// Decodes the state of a connection, as read from the kernel's table.
pub(crate) fn connection(bytes: &[u8]) -> Result<Connection, DecodeError> {
    let raw: ConnectionState = read_plain(bytes).ok_or_else(|| cut(bytes))?;
    Connection::try_from(raw)
}

/// Decodes a thread's slot, as read from the kernel's array.
pub(crate) fn slot(bytes: &[u8]) -> Result<(ThreadSlot, ThreadState), DecodeError> {
    let raw: ThreadSlot = read_plain(bytes).ok_or_else(|| cut(bytes))?;
    let state = ThreadState::try_from(raw.state)?;
    Ok((raw, state))
}

/// A name of the kernel, NUL-padded.
pub(crate) fn name(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests;
