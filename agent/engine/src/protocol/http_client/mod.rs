//! HTTP/1.x as clients speak it (RFC 9112): what the process asks of other services.
//!
//! An operation is a request: its shape is the method, the host where it has a name (an address tells no more
//! than the peer does) with a port that is not the usual one, and the template of the path as routes have it. Query values, headers and bodies are
//! passed over. It ends with the last byte of the response; where that cannot be told (the end of the
//! connection ends it, or the head was not captured whole) with the last byte that was read before the next
//! request. A status from 400 on is an error. Interim responses (1xx) are no answers.
//!
//! After CONNECT the connection is another's: TLS, as a rule, or HTTP again. After an upgrade (WebSocket) nothing
//! more is told. HTTP/2 is not read, with or without an upgrade: its preface is no request of HTTP/1.

mod line;
mod request;
mod response;
mod session;
mod shape;
#[cfg(test)]
mod tests;

use super::Recognised;
use super::client::{ClientProtocol, Session};
use super::{
    Protocol as _,
    http::{Http1, METHOD_LIMIT},
};
use session::HttpSession;

/// Bytes of a request line from which on it is taken for one before its end was seen.
const LONG_LINE: usize = 128;

/// Methods of RFC 9110 and 5789, and those of WebDAV that others end like.
const METHODS: [&[u8]; 11] = [
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    b"CONNECT",
    b"OPTIONS",
    b"TRACE",
    b"PATCH",
    b"PROPFIND",
    b"PROPPATCH",
];

/// HTTP/1.0 and HTTP/1.1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpClient;

impl ClientProtocol for HttpClient {
    fn name(&self) -> &'static str {
        "http"
    }

    fn recognise(&self, written: &[u8]) -> Recognised {
        match Http1.recognise(written) {
            Recognised::Yes if !asks(written.trim_ascii_start()) => Recognised::No,
            Recognised::Undecided if is_long_line(written) => Recognised::Yes,
            recognised => recognised,
        }
    }

    fn session(&self) -> Box<dyn Session> {
        Box::new(HttpSession::default())
    }
}

/// Whether bytes without a line's end are the front of a long request line.
fn is_long_line(written: &[u8]) -> bool {
    written.len() >= LONG_LINE && asks(written)
}

/// Whether a request line begins with what clients send: a piece of a body, or of a method that was split,
/// must not look like a request.
fn asks(line: &[u8]) -> bool {
    let Some(space) = memchr::memchr(b' ', line) else {
        return false;
    };
    let (method, target) = line.split_at(space);
    let target = target.trim_ascii_start();
    let is_target = target == b"*"
        || [&b"/"[..], b"* ", b"http://", b"https://"]
            .iter()
            .any(|front| target.starts_with(front));
    is_method(method) && (is_target || method == b"CONNECT")
}

/// Common ones, and others in capitals unless they are the end of a common one.
fn is_method(method: &[u8]) -> bool {
    let capitals = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    METHODS.contains(&method)
        || ((3..=METHOD_LIMIT).contains(&method.len())
            && method.iter().all(capitals)
            && !METHODS.iter().any(|common| common.ends_with(method)))
}
