//! Blanks secrets in a stream of HTTP/1.x bytes, in place, byte by byte: user information, values of
//! queries, of path parameters and of headers that are not needed, bodies. State is kept from piece to piece, so a head may be cut
//! anywhere. What cannot be placed is blanked.

use crate::protocol::{
    BodyFraming,
    authority::Front,
    body::ChunkDecoder,
    http::{Framing, METHOD_LIMIT, is_method_byte, may_be_version},
};

/// Request headers whose values stay.
const KEPT_REQUEST: &[&[u8]] = &[
    b"host",
    b"content-length",
    b"transfer-encoding",
    b"connection",
    b"expect",
    b"traceparent",
    b"x-request-id",
    b"x-request-start",
    b"x-queue-start",
];
/// Response headers whose values stay.
const KEPT_RESPONSE: &[&[u8]] = &[b"content-length", b"transfer-encoding", b"connection"];
/// Longest header name kept.
const NAME_LIMIT: usize = 64;
/// Longest value looked at.
const VALUE_LIMIT: usize = 256;

const BLANK: u8 = b'*';

/// Where the next byte is.
#[derive(Clone, Debug)]
enum Place {
    /// Before or within the method; its length so far.
    Method(usize),
    /// Within a target, before its path. The front of it was in an earlier piece, or not.
    Front(Front, bool),
    /// Within the path.
    Path,
    /// Within the name of a path parameter.
    ParameterName,
    /// Within its value.
    ParameterValue,
    /// Within the name of a query parameter.
    QueryName,
    /// Within its value.
    QueryValue,
    /// After a space behind the target: bytes of the version that matched.
    Version(usize),
    /// Within a status line.
    StatusLine,
    /// At the begin of a header line; a CR was seen.
    LineStart(bool),
    HeaderName,
    HeaderValue(bool),
    /// Within a body: bytes left.
    Body(u64),
    Chunks(ChunkDecoder),
    /// Not known: everything is blanked.
    Lost,
}

/// The scrubber of one direction of one connection.
#[derive(Clone, Debug)]
pub(super) struct Scrubber {
    place: Place,
    response: bool,
    /// Where the target was when the version began.
    before_version: Place,
    name: Vec<u8>,
    value: Vec<u8>,
    framing: Framing,
}

impl Scrubber {
    /// At the begin of a request.
    pub(super) fn request() -> Self {
        Self::at(Place::Method(0), false)
    }

    /// At the begin of a response.
    pub(super) fn response() -> Self {
        Self::at(Place::StatusLine, true)
    }

    /// Nowhere known.
    pub(super) fn lost() -> Self {
        Self::at(Place::Lost, false)
    }

    fn at(place: Place, response: bool) -> Self {
        Self {
            place,
            response,
            before_version: Place::Path,
            name: Vec::new(),
            value: Vec::new(),
            framing: Framing::default(),
        }
    }

    /// Whether the next byte is known to be of a body.
    pub(super) fn in_body(&self) -> bool {
        match &self.place {
            Place::Body(left) => *left > 0,
            Place::Chunks(decoder) => !decoder.is_done() && !decoder.is_broken(),
            _ => false,
        }
    }

    /// `count` bytes were not captured.
    pub(super) fn skip(&mut self, count: u64) {
        if count == 0 {
            return;
        }
        self.place = match self.place {
            Place::Body(left) if left > count => Place::Body(left - count),
            Place::Body(left) if left == count => Place::Method(0),
            _ => Place::Lost,
        };
    }

    /// Blanks what must not be kept of `bytes`, which come next.
    pub(super) fn scrub(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            if matches!(self.place, Place::QueryName) && !name_goes_on(&bytes[at..]) {
                self.place = Place::QueryValue;
            }
            let taken = match self.place {
                Place::Front(front, continued) => self.front(front, continued, &mut bytes[at..]),
                Place::HeaderValue(true) => self.host(&mut bytes[at..]),
                _ => 0,
            };
            if taken > 0 {
                at += taken;
                continue;
            }
            let in_name = match self.place {
                Place::LineStart(_) => !matches!(bytes[at], b'\r' | b'\n' | b' ' | b'\t'),
                Place::HeaderName => at == 0,
                _ => false,
            };
            if in_name && !self.is_name(&bytes[at..]) {
                // The line may be anything: it is blanked up to its end.
                self.place = Place::HeaderValue(false);
            }
            let byte = bytes[at];
            bytes[at] = self.byte(byte);
            at += 1;
        }
    }

    /// Whether `bytes` go on with a header name: a colon follows, or (cut) it may be one of those
    /// whose values stay.
    fn is_name(&self, bytes: &[u8]) -> bool {
        match bytes.iter().find(|byte| matches!(byte, b':' | b'\n')) {
            Some(byte) => *byte == b':',
            None => {
                let mut name = match self.place {
                    Place::HeaderName => self.name.clone(),
                    _ => Vec::new(),
                };
                name.extend(bytes.iter().take(NAME_LIMIT));
                self.kept().iter().any(|kept| {
                    let front = kept.get(..name.len());
                    front.is_some_and(|front| front.eq_ignore_ascii_case(&name))
                })
            }
        }
    }

    /// Headers whose values stay.
    fn kept(&self) -> &'static [&'static [u8]] {
        if self.response {
            KEPT_RESPONSE
        } else {
            KEPT_REQUEST
        }
    }

    /// Takes one byte; returns what to keep in its place.
    fn byte(&mut self, byte: u8) -> u8 {
        match &mut self.place {
            Place::Method(len) => {
                let len = *len;
                self.method(len, byte)
            }
            Place::Front(..)
            | Place::Path
            | Place::ParameterName
            | Place::ParameterValue
            | Place::QueryName
            | Place::QueryValue => self.target(byte),
            Place::Version(matched) => {
                let matched = *matched;
                self.version(matched, byte)
            }
            Place::StatusLine => {
                if byte == b'\n' {
                    self.place = Place::LineStart(false);
                }
                byte
            }
            Place::LineStart(_) | Place::HeaderName => self.name(byte),
            Place::HeaderValue(keep) => {
                let keep = *keep;
                self.header_value(keep, byte)
            }
            Place::Body(left) => {
                *left -= 1;
                if *left == 0 {
                    self.next_message();
                }
                BLANK
            }
            Place::Chunks(_) => self.chunk(byte),
            Place::Lost => BLANK,
        }
    }

    fn method(&mut self, len: usize, byte: u8) -> u8 {
        if len == 0 && byte.is_ascii_whitespace() {
            return byte;
        }
        if byte == b' ' && len > 0 {
            self.place = Place::Front(Front::Start, false);
            return byte;
        }
        if !is_method_byte(byte) || len >= METHOD_LIMIT {
            self.place = Place::Lost;
            return BLANK;
        }
        self.place = Place::Method(len + 1);
        byte
    }

    /// Takes the front of a target; returns how many bytes, 0 where a byte ends it. User information
    /// is blanked; and all but delimiters when the end is not here, since an `@` may still come.
    fn front(&mut self, mut front: Front, continued: bool, bytes: &mut [u8]) -> usize {
        let line = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let line = line.unwrap_or(bytes.len());
        // A space may be part of the target.
        let space = (0..line).find(|at| bytes[*at] == b' ' && may_be_version(&bytes[at + 1..line]));
        let limit = space.unwrap_or(line);
        let (start, end) = front.advance(&bytes[..limit]);
        let ends = end.is_some() || limit < bytes.len() && limit + 1 < bytes.len();
        let len = end.unwrap_or(limit);
        let authority = &mut bytes[start.min(len)..len];
        let user = if continued || !ends {
            authority.len()
        } else {
            let at = authority.iter().rposition(|byte| *byte == b'@');
            at.unwrap_or(0)
        };
        for byte in &mut authority[..user] {
            if !matches!(byte, b':' | b'/' | b'@') {
                *byte = BLANK;
            }
        }
        self.place = if end.is_some() {
            Place::Path
        } else {
            Place::Front(front, !ends)
        };
        len
    }

    /// Takes the value of the header Host as far as it is here; returns how many bytes, 0: at its
    /// end, or it is another header. User information is blanked; and all when the end is not
    /// here.
    fn host(&self, bytes: &mut [u8]) -> usize {
        if self.response || !self.name.eq_ignore_ascii_case(b"host") {
            return 0;
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let user = match end {
            Some(end) => bytes[..end].iter().rposition(|byte| *byte == b'@'),
            None => Some(bytes.len()),
        };
        for byte in &mut bytes[..user.unwrap_or(0)] {
            if !byte.is_ascii_whitespace() {
                *byte = BLANK;
            }
        }
        end.unwrap_or(bytes.len())
    }

    fn target(&mut self, byte: u8) -> u8 {
        match (byte, &self.place) {
            (b'\n', _) => {
                self.place = Place::LineStart(false);
                byte
            }
            (b'\r', _) => byte,
            (b' ', _) => {
                self.before_version = std::mem::replace(&mut self.place, Place::Version(0));
                byte
            }
            (
                b'?',
                Place::Path | Place::ParameterName | Place::ParameterValue | Place::Front(..),
            )
            | (b'&', Place::QueryName | Place::QueryValue) => {
                self.place = Place::QueryName;
                byte
            }
            (b'/', Place::ParameterName | Place::ParameterValue) => {
                self.place = Place::Path;
                byte
            }
            (b';', Place::Path | Place::ParameterName | Place::ParameterValue) => {
                self.place = Place::ParameterName;
                byte
            }
            (b'=', Place::ParameterName) => {
                self.place = Place::ParameterValue;
                byte
            }
            (b'=', Place::QueryName) => {
                self.place = Place::QueryValue;
                byte
            }
            (_, Place::QueryValue) => b'?',
            // A question mark would begin a query here.
            (_, Place::ParameterValue) => BLANK,
            _ => byte,
        }
    }

    /// A space may be part of the target: then what follows is of it again.
    fn version(&mut self, matched: usize, byte: u8) -> u8 {
        const VERSION: &[u8] = b"HTTP/1.";
        if byte == b'\n' {
            self.place = Place::LineStart(false);
            return byte;
        }
        if byte == b'\r' {
            return byte;
        }
        let fits = match VERSION.get(matched) {
            Some(expected) => *expected == byte,
            None => matched == VERSION.len() && byte.is_ascii_digit(),
        };
        if fits {
            self.place = Place::Version(matched + 1);
            return byte;
        }
        self.place = match std::mem::replace(&mut self.before_version, Place::Path) {
            Place::QueryName => Place::QueryValue,
            // The rest of the target's front is behind this byte, which may be secret too.
            Place::Front(front, _) => {
                self.place = Place::Front(front, true);
                let mut one = [byte];
                return match self.front(front, true, &mut one) {
                    0 => self.target(byte),
                    _ => one[0],
                };
            }
            before => before,
        };
        self.target(byte)
    }

    fn name(&mut self, byte: u8) -> u8 {
        if let Place::LineStart(cr) = self.place {
            match byte {
                b'\n' => {
                    self.head_end();
                    return byte;
                }
                b'\r' if !cr => {
                    self.place = Place::LineStart(true);
                    return byte;
                }
                b' ' | b'\t' => {
                    // A folded line goes on with the value before.
                    self.place = Place::HeaderValue(false);
                    return byte;
                }
                _ => {
                    self.name.clear();
                    self.place = Place::HeaderName;
                }
            }
        }
        match byte {
            b'\n' => {
                self.place = Place::LineStart(false);
                byte
            }
            b'\r' => byte,
            b':' => {
                let mut kept = self.kept().iter();
                let keep = kept.any(|name| name.eq_ignore_ascii_case(&self.name));
                self.value.clear();
                self.place = Place::HeaderValue(keep);
                byte
            }
            _ if self.name.len() >= NAME_LIMIT || !(is_method_byte(byte) || byte == b'.') => {
                // No name: the line is blanked up to its end.
                self.name.push(0);
                self.place = Place::HeaderValue(false);
                BLANK
            }
            _ => {
                self.name.push(byte);
                byte
            }
        }
    }

    fn header_value(&mut self, keep: bool, byte: u8) -> u8 {
        match byte {
            b'\n' => {
                if keep {
                    self.framing.header(&self.name, self.value.trim_ascii());
                }
                self.place = Place::LineStart(false);
                byte
            }
            b'\r' => byte,
            _ if keep => {
                if self.value.len() < VALUE_LIMIT {
                    self.value.push(byte);
                }
                byte
            }
            _ => BLANK,
        }
    }

    fn head_end(&mut self) {
        let framing = std::mem::take(&mut self.framing);
        self.place = if self.response {
            Place::Lost
        } else {
            match framing.body(BodyFraming::None) {
                BodyFraming::Length(left) if left > 0 => Place::Body(left),
                BodyFraming::Chunked => Place::Chunks(ChunkDecoder::default()),
                _ => Place::Method(0),
            }
        };
    }

    fn next_message(&mut self) {
        self.place = Place::Method(0);
    }

    fn chunk(&mut self, byte: u8) -> u8 {
        let Place::Chunks(decoder) = &mut self.place else {
            return BLANK;
        };
        let frames = decoder.frames(byte);
        decoder.feed(&[byte]);
        if decoder.is_done() {
            self.next_message();
        } else if decoder.is_broken() {
            self.place = Place::Lost;
            return BLANK;
        }
        if frames { byte } else { BLANK }
    }
}

/// Whether the parameter that `bytes` begin in has a `=`: else it has no name, and all of it may
/// be secret.
fn name_goes_on(bytes: &[u8]) -> bool {
    let end = bytes
        .iter()
        .find(|byte| matches!(byte, b'=' | b'&' | b' ' | b'\n'));
    match end {
        Some(b'=') => true,
        // An empty one.
        Some(_) => matches!(bytes[0], b'&' | b' ' | b'\n' | b'\r'),
        None => false,
    }
}

#[cfg(test)]
mod tests;
