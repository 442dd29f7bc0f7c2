//! Names that the process looks up itself (RFC 1035): questions and answers over UDP, TCP, and unix sockets
//! that carry the same. What nscd, systemd-resolved (varlink) or DNS over TLS or HTTPS are asked is not read
//! here.
//!
//! An operation is a question: its type and name (`A db.internal`), until it is answered. Answers come in any
//! order. A question that is sent once more, as it was, is still the same; its answer ends it. What has not
//! been answered is over when the request asks another server, or ends.

mod message;
mod session;
mod stream;
#[cfg(test)]
mod tests;

use super::Recognised;
use super::client::{ClientProtocol, Session};
use session::DnsSession;

/// Error of a question that was not answered.
pub(crate) const NO_ANSWER: &str = "no answer";

/// DNS, as resolvers ask it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dns;

impl ClientProtocol for Dns {
    fn name(&self) -> &'static str {
        "dns"
    }

    fn recognise(&self, written: &[u8]) -> Recognised {
        match message::datagram(written) {
            Recognised::No => message::prefixed(written),
            recognised => recognised,
        }
    }

    fn session(&self) -> Box<dyn Session> {
        Box::new(DnsSession::default())
    }

    fn side_by_side(&self) -> Option<&'static str> {
        Some(NO_ANSWER)
    }
}
