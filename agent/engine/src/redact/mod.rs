//! Takes secrets out of raw inputs, in place: lengths and the engine's results stay the same.
//!
//! Query values become `?`; user information, values of path parameters and of headers that the
//! engine does not use, and bodies become `*`.
//! A head may be cut anywhere between records: state is kept per connection, and what cannot be
//! placed is blanked. Bytes behind the used part of a payload are zeroed.
//!
//! Of what is said to servers and answered, no byte stays: what was found in them takes their place
//! ([`Input::Findings`]), as the engine would have found it.

mod operations;
mod scrub;
mod target;

use std::mem::offset_of;

use operations::Conversations;
use scrub::Scrubber;
pub(crate) use target::target;
use whyslow_abi::{
    connection::{ConnectionState, RESPONSE_HEAD},
    record::{
        BEGIN_PAYLOAD, BEGIN_PIPELINED, BeginRecord, DataHead, DataRecord, EndReason, EndRecord,
        ExecutedRecord, LIBRARY_TEXT, LibraryTextRecord, PIECE_PAYLOAD, PROGRAM_ARGUMENTS,
        PROGRAM_FILE, PieceRecord, ProgramRecord, RecordKind, ShortDataRecord, TEXT_WHOLE,
    },
};

use crate::{
    command, decode,
    hash::FastMap,
    input::Input,
    protocol::{http, sqlite},
};

/// Connections followed at the most.
const LIMIT: usize = 65_536;

/// A connection's request side.
#[derive(Clone, Debug)]
struct Stream {
    scrubber: Scrubber,
    /// Bytes of the present request, as the kernel side counts, that were placed.
    position: u64,
    /// The kernel side's next begin is of bytes of a body.
    body_goes_on: bool,
}

/// Rewrites a stream of raw records. Keeps a little state per connection, since a head may be
/// continued in a later record.
#[derive(Debug, Default)]
pub struct Redactor {
    streams: FastMap<u64, Stream>,
    conversations: Conversations,
}

impl Redactor {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Rewrites whatever of an input may hold secrets.
    pub fn redact_input(&mut self, input: &mut Input) {
        match input {
            Input::Record(record) => {
                let findings = self.conversations.findings(record);
                self.redact(record);
                if let Some(findings) = findings {
                    let record = std::mem::take(record);
                    *input = Input::Findings { record, findings };
                }
            }
            Input::Connection {
                state: Some(state), ..
            } => self.redact_connection(state),
            _ => {}
        }
    }

    /// Rewrites one record (`whyslow_abi::record`); the length stays as it is. A record that
    /// cannot be decoded is zeroed behind its header.
    pub fn redact(&mut self, record: &mut [u8]) {
        self.rewrite(record);
    }

    /// Rewrites the bytes of a `whyslow_abi::connection::ConnectionState`.
    pub fn redact_connection(&mut self, state: &mut [u8]) {
        redact_state(state);
    }

    fn rewrite(&mut self, record: &mut [u8]) {
        let size = match decode::kind(record) {
            Ok(RecordKind::Begin) => size_of::<BeginRecord>(),
            Ok(RecordKind::Piece) => size_of::<PieceRecord>(),
            Ok(RecordKind::End) => size_of::<EndRecord>(),
            Ok(RecordKind::Data) => size_of::<DataRecord>(),
            Ok(RecordKind::ShortData) => size_of::<ShortDataRecord>(),
            Ok(RecordKind::LibraryText) => size_of::<LibraryTextRecord>(),
            Ok(RecordKind::Executed) => size_of::<ExecutedRecord>(),
            Ok(RecordKind::Program) => size_of::<ProgramRecord>(),
            Ok(
                RecordKind::Lifecycle
                | RecordKind::Signal
                | RecordKind::Mark
                | RecordKind::LoopStall
                | RecordKind::Service
                | RecordKind::Wait
                | RecordKind::Tried,
            ) => return,
            Err(_) => 0,
        };
        if size == 0 || record.len() < size {
            let from = record.len().min(32);
            record[from..].fill(0);
            return;
        }
        record[size..].fill(0);
        match decode::record(record) {
            Ok(decode::Record::Begin(begin)) => self.begin(&begin, record),
            Ok(decode::Record::Piece(piece)) => self.piece(&piece, record),
            Ok(decode::Record::End(end)) => self.end(&end, record),
            Ok(decode::Record::Data(data)) => blank_data(&data, record),
            Ok(decode::Record::LibraryText(text)) => shape_text(&text, record),
            Ok(decode::Record::Program(program)) => name_program(&program, record),
            Ok(_) => {}
            Err(_) => record[32..].fill(0),
        }
    }

    fn begin(&mut self, begin: &decode::Begin, record: &mut [u8]) {
        let raw = &begin.raw;
        if self.streams.len() >= LIMIT && !self.streams.contains_key(&raw.connection) {
            self.streams.clear();
        }
        let stream = self
            .streams
            .entry(raw.connection)
            .or_insert_with(|| Stream {
                scrubber: Scrubber::request(),
                position: 0,
                body_goes_on: false,
            });
        if raw.flags & BEGIN_PIPELINED == 0 && !stream.body_goes_on {
            stream.scrubber = Scrubber::request();
        }
        stream.body_goes_on = false;
        stream.position = u64::from(raw.read_len);
        let captured = begin.payload().len();
        let payload = &mut record[offset_of!(BeginRecord, payload)..][..BEGIN_PAYLOAD];
        stream.scrubber.scrub(&mut payload[..captured]);
        payload[captured..].fill(0);
        let skipped = u64::from(raw.read_len).saturating_sub(captured as u64);
        stream.scrubber.skip(skipped);
    }

    fn piece(&mut self, piece: &decode::Piece, record: &mut [u8]) {
        let raw = &piece.raw;
        let captured = piece.payload().len();
        let payload = &mut record[offset_of!(PieceRecord, payload)..][..PIECE_PAYLOAD];
        payload[captured..].fill(0);
        let Some(stream) = self.streams.get_mut(&raw.connection) else {
            Scrubber::lost().scrub(&mut payload[..captured]);
            return;
        };
        let offset = u64::from(raw.offset);
        match offset.checked_sub(stream.position) {
            Some(hole) => stream.scrubber.skip(hole),
            None => stream.scrubber = Scrubber::lost(),
        }
        stream.scrubber.scrub(&mut payload[..captured]);
        let read = u64::from(raw.read_len);
        stream.scrubber.skip(read.saturating_sub(captured as u64));
        stream.position = offset.saturating_add(read.max(captured as u64));
    }

    fn end(&mut self, end: &decode::End, record: &mut [u8]) {
        redact_state(&mut record[offset_of!(EndRecord, state)..]);
        let state = &end.raw.state;
        match end.reason {
            EndReason::Closed => {
                self.streams.remove(&state.id);
            }
            EndReason::NextRequest => {
                if let Some(stream) = self.streams.get_mut(&state.id) {
                    let hole = state.bytes_in.saturating_sub(stream.position);
                    stream.scrubber.skip(hole);
                    stream.position = stream.position.max(state.bytes_in);
                    stream.body_goes_on = stream.scrubber.in_body();
                }
            }
            EndReason::Shutdown
            | EndReason::ThreadMoved
            | EndReason::NextResponse
            | EndReason::ThreadEnded
            | EndReason::ProcessEnded => {}
        }
    }
}

/// Rewrites one record alone: what cannot be judged without the records before it is blanked.
pub fn redact_record(bytes: &mut [u8]) {
    Redactor::new().rewrite(bytes);
}

/// Head of a response: the status line and what frames the body stay.
fn redact_state(bytes: &mut [u8]) {
    let Ok(connection) = decode::connection(bytes) else {
        bytes.fill(0);
        return;
    };

    let captured = (connection.raw.captured_out as usize).min(RESPONSE_HEAD);
    let response = &mut bytes[offset_of!(ConnectionState, response)..][..RESPONSE_HEAD];
    response[captured..].fill(0);
    let mut scrubber = if http::status_line(&response[..captured]).is_some() {
        Scrubber::response()
    } else {
        Scrubber::lost()
    };
    scrubber.scrub(&mut response[..captured]);
    let tail = &mut bytes[offset_of!(ConnectionState, tail)..][..8];
    redact_tail(tail);
}

/// The end of the last write: only what tells the last chunk stays.
fn redact_tail(tail: &mut [u8]) {
    let used = tail.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    let kept = if tail[..used].ends_with(b"0\r\n\r\n") {
        5
    } else if tail[..used].ends_with(b"\r\n\r\n") {
        4
    } else {
        0
    };
    for byte in &mut tail[..used - kept] {
        if !matches!(byte, 0 | b'\r' | b'\n') {
            *byte = b'*';
        }
    }
}

/// Statements and answers hold secrets anywhere: nothing of their bytes is kept.
fn blank_data(data: &decode::Data, record: &mut [u8]) {
    record[offset_of!(DataHead, front_len)..][..4].fill(0);
    match data {
        decode::Data::Short(_) => record[offset_of!(ShortDataRecord, front)..].fill(0),
        decode::Data::Long(_) => {
            record[offset_of!(DataRecord, tail_len)..][..4].fill(0);
            record[offset_of!(DataRecord, front)..].fill(0);
        }
    }
}

/// Of a command, the words stay that tell which it is.
fn name_program(program: &decode::Program, record: &mut [u8]) {
    let words = command::words(program.file(), program.arguments(), program.is_cut());
    let joined = words.join("\0");
    let kept = joined.as_bytes();
    let kept = kept.get(..PROGRAM_ARGUMENTS).unwrap_or(kept);
    let len = u32::try_from(kept.len()).unwrap_or(0);
    for place in [
        offset_of!(ProgramRecord, arguments_len),
        offset_of!(ProgramRecord, arguments_total),
    ] {
        record[place..][..4].copy_from_slice(&len.to_ne_bytes());
    }
    let arguments = &mut record[offset_of!(ProgramRecord, arguments)..][..PROGRAM_ARGUMENTS];
    arguments.fill(0);
    arguments[..kept.len()].copy_from_slice(kept);
    let name = words.first().map_or(&[][..], |word| word.as_bytes());
    let name = name.get(..PROGRAM_FILE - 1).unwrap_or(name);
    let file = &mut record[offset_of!(ProgramRecord, file)..][..PROGRAM_FILE];
    file.fill(0);
    file[..name.len()].copy_from_slice(name);
}

/// A statement becomes its shape, of which the shape is the same; the name of a database loses what may be
/// secret.
fn shape_text(text: &decode::LibraryText, record: &mut [u8]) {
    let kept = if text.opened {
        sqlite::database(text.text()).to_vec()
    } else if text.text().is_empty() {
        Vec::new()
    } else {
        sqlite::shape(text.text(), text.whole).into_bytes()
    };
    let kept = kept.get(..LIBRARY_TEXT).unwrap_or(&kept);
    let len = u32::try_from(kept.len()).unwrap_or(0);
    let flags = text.raw.flags | TEXT_WHOLE;
    record[offset_of!(LibraryTextRecord, flags)..][..4].copy_from_slice(&flags.to_ne_bytes());
    record[offset_of!(LibraryTextRecord, text_len)..][..4].copy_from_slice(&len.to_ne_bytes());
    let place = &mut record[offset_of!(LibraryTextRecord, text)..][..LIBRARY_TEXT];
    place.fill(0);
    place[..kept.len()].copy_from_slice(kept);
}

#[cfg(test)]
mod tests;
