//! Payload bytes to heads of requests and responses. A protocol is one file here and one line in
//! [`SERVER_PROTOCOLS`].
//!
//! A protocol sees bytes only: no connection, no thread, no time. Its work on any input is linear.

pub(crate) mod authority;
pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod dns;
#[cfg(test)]
mod fuzz;
pub(crate) mod host_name;
pub(crate) mod http;
pub(crate) mod http_client;
pub(crate) mod memcached;
pub(crate) mod mysql;
pub(crate) mod postgres;
pub(crate) mod queue_start;
pub(crate) mod redis;
pub(crate) mod sql;
pub(crate) mod sqlite;
pub(crate) mod tls;

use std::fmt::Debug;

/// Protocols that requests come in, in the order they are tried.
pub(crate) static SERVER_PROTOCOLS: &[&dyn Protocol] = &[&http::Http1];

/// Whether bytes are the front of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recognised {
    /// They are.
    Yes,
    /// They may be: too few to tell.
    Undecided,
    /// They are not.
    No,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    /// There is none.
    None,
    /// By its length in bytes.
    Length(u64),
    /// By its last chunk.
    Chunked,
    /// By the end of the connection (responses only).
    UntilClose,
    /// The head was cut before it told.
    Unknown,
}

/// What is used of a request's head; all as sent, borrowed from the captured bytes. A target cut
/// within its authority ends before it, since user information may lie there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestHead<'a> {
    pub(crate) method: &'a [u8],
    pub(crate) target: &'a [u8],
    /// Without user information.
    pub(crate) host: &'a [u8],
    pub(crate) traceparent: &'a [u8],
    pub(crate) x_request_id: &'a [u8],
    /// When a proxy took the request: name of the header, its value.
    pub(crate) queue_start: Option<(&'static str, &'a [u8])>,
    pub(crate) body: BodyFraming,
}

/// What is used of a response's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    /// Length in bytes; `None`: its end was not captured.
    pub(crate) head_len: Option<u64>,
    pub(crate) body: BodyFraming,
}

/// One protocol that servers speak.
pub(crate) trait Protocol: Sync + Debug {
    /// Whether `bytes` are the front of a request.
    fn recognise(&self, bytes: &[u8]) -> Recognised;

    /// Length of the request head at the front of `bytes`, when it is complete. Bytes before
    /// `from` were searched before.
    fn head_end(&self, bytes: &[u8], from: usize) -> Option<usize>;

    /// Reads a recognised request head. `complete`: `head` ends where the head ends; else fields
    /// at its end are missing.
    fn request<'a>(&self, head: &'a [u8], complete: bool) -> RequestHead<'a>;

    /// Reads the head of a response from its first bytes; `None`: it is none.
    fn response(&self, bytes: &[u8]) -> Option<ResponseHead>;

    /// Whether a response to this request has a body at all.
    fn response_has_body(&self, method: &[u8], status: u16) -> bool;
}

/// The protocol that `bytes` are the front of a request of. `None` and undecided: more bytes may
/// tell.
pub(crate) fn recognise(bytes: &[u8]) -> (Recognised, Option<&'static dyn Protocol>) {
    let mut undecided = None;
    for protocol in SERVER_PROTOCOLS {
        match protocol.recognise(bytes) {
            Recognised::Yes => return (Recognised::Yes, Some(*protocol)),
            Recognised::Undecided => undecided = undecided.or(Some(*protocol)),
            Recognised::No => {}
        }
    }
    match undecided {
        Some(protocol) => (Recognised::Undecided, Some(protocol)),
        None => (Recognised::No, None),
    }
}
