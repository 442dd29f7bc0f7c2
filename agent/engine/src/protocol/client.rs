//! Protocols that a watched process speaks as a client: bytes of a connection to operations. A protocol
//! is one file or folder beside this one and one line in [`CLIENT_PROTOCOLS`].
//!
//! A session sees bytes only: no request, no thread, no time. Its memory is bounded, its work on any
//! input is linear, and whatever a peer sends, it neither panics nor makes up operations: what it could
//! not read it says with [`Finding::Missed`].

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::{Recognised, memcached, postgres, redis};

/// Protocols, in the order they are tried.
pub(crate) static CLIENT_PROTOCOLS: &[&dyn ClientProtocol] =
    &[&postgres::Postgres, &redis::Redis, &memcached::Memcached];

/// Longest shape that is kept, bytes; longer ones are cut at a character and end in `...`.
pub(crate) const SHAPE_LIMIT: usize = 512;
/// Longest error code or message that is kept, bytes.
#[cfg(test)]
pub(crate) const ERROR_LIMIT: usize = 64;

/// Operations of one session that are open at a time; more of them were not heard of.
pub(crate) const OPEN_LIMIT: u64 = 1 << 17;

/// Bytes that one system call moved. A front part was captured, and sometimes the end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chunk<'a> {
    /// From the first byte on.
    pub(crate) front: &'a [u8],
    /// The last bytes, where `front` does not reach the end; empty: not captured.
    pub(crate) tail: &'a [u8],
    /// Bytes moved: at least those of `front`.
    pub(crate) len: u64,
}

impl<'a> Chunk<'a> {
    /// All bytes were captured.
    pub(crate) fn is_whole(&self) -> bool {
        self.front.len() as u64 >= self.len
    }

    /// Front, number of bytes that were not captured, end.
    pub(crate) fn parts(&self) -> (&'a [u8], u64, &'a [u8]) {
        let behind = self.len.saturating_sub(self.front.len() as u64);
        // What of the end lies in the front was read there.
        let here = usize::try_from(behind).unwrap_or(usize::MAX);
        let seen = self.tail.len().saturating_sub(here);
        let tail = self.tail.get(seen..).unwrap_or_default();
        (self.front, behind - tail.len() as u64, tail)
    }
}

/// What a session found, in the order of the bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// The client asked for something: an operation begins.
    Asked {
        /// Literals are removed.
        shape: String,
    },
    /// The answer to the oldest open operation is complete.
    Answered {
        /// Rows, where the protocol tells; else 0.
        rows: u64,
        /// Error code (SQLSTATE, first word of a Redis error), when it failed.
        error: Option<String>,
    },
    /// Some bytes could not be read: operations may be missing, so counts are a lower bound from here on.
    Missed,
}

/// One connection of a client.
pub(crate) trait Session: Debug + Send {
    /// The client wrote.
    fn written(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>);

    /// The client read what the server wrote.
    fn read(&mut self, chunk: Chunk<'_>, found: &mut Vec<Finding>);

    /// Bytes of this connection were not seen, in either direction, nor how many. What is open is given up:
    /// answered, so that nothing of it is left open, and the session goes on at the next clear beginning.
    /// The default is for sessions that keep nothing from one transfer to the next.
    fn gap(&mut self, found: &mut Vec<Finding>) {
        found.push(Finding::Missed);
    }
}

/// One protocol that clients speak.
pub(crate) trait ClientProtocol: Sync + Debug {
    /// Name on the wire: `postgresql`, `redis`.
    fn name(&self) -> &'static str;

    /// Whether a client's write begins with these bytes. The connection may be older than the agent, so
    /// they need not be its first.
    fn recognise(&self, written: &[u8]) -> Recognised;

    /// A session that has seen nothing.
    fn session(&self) -> Box<dyn Session>;
}
