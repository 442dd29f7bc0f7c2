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
use super::{Protocol as _, http::Http1};
use session::HttpSession;

/// Bytes of a request line from which on it is taken for one before its end was seen.
const LONG_LINE: usize = 128;

/// HTTP/1.0 and HTTP/1.1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpClient;

impl ClientProtocol for HttpClient {
    fn name(&self) -> &'static str {
        "http"
    }

    fn recognise(&self, written: &[u8]) -> Recognised {
        match Http1.recognise(written) {
            Recognised::Undecided if is_long_line(written) => Recognised::Yes,
            recognised => recognised,
        }
    }

    fn session(&self) -> Box<dyn Session> {
        Box::new(HttpSession::default())
    }
}

/// Whether bytes without a line's end are the front of a long request line: a common method, and a target.
fn is_long_line(written: &[u8]) -> bool {
    let methods = [
        &b"GET "[..],
        b"POST ",
        b"PUT ",
        b"HEAD ",
        b"DELETE ",
        b"PATCH ",
        b"OPTIONS ",
    ];
    written.len() >= LONG_LINE
        && methods.iter().any(|method| {
            written
                .strip_prefix(*method)
                .is_some_and(|target| target.starts_with(b"/") || target.starts_with(b"http://"))
        })
}
