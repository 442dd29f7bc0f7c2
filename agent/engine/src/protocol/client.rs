//! Protocols that a watched process speaks as a client: bytes of a connection to operations. A protocol
//! is one file or folder beside this one and one line in [`CLIENT_PROTOCOLS`].
//!
//! A session sees bytes only: no request, no thread, no time. Its memory is bounded, its work on any
//! input is linear, and whatever a peer sends, it neither panics nor makes up operations: what it could
//! not read it says with [`Finding::Missed`].

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::{Recognised, dns, http_client, memcached, mysql, postgres, redis, tls};

/// Protocols, in the order they are tried.
pub(crate) static CLIENT_PROTOCOLS: &[&dyn ClientProtocol] = &[
    &tls::Tls,
    &dns::Dns,
    &http_client::HttpClient,
    &mysql::Mysql,
    &postgres::Postgres,
    &redis::Redis,
    &memcached::Memcached,
];

/// Longest shape that is kept, bytes; longer ones are cut at a character and end in `...`.
pub(crate) const SHAPE_LIMIT: usize = 512;
/// What was sent, as a shape that keeps literals: cut at [`SHAPE_LIMIT`]. `complete`: nothing is behind `bytes`.
pub(crate) fn cut_at_limit(bytes: &[u8], complete: bool) -> String {
    const CUT: &str = "...";
    let front = bytes.get(..SHAPE_LIMIT + 4).unwrap_or(bytes);
    let mut text = String::from_utf8_lossy(front).into_owned();
    if complete && text.len() <= SHAPE_LIMIT && front.len() == bytes.len() {
        return text;
    }
    let mut end = text.len().min(SHAPE_LIMIT - CUT.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push_str(CUT);
    text
}

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
    /// As `Answered`, for the operation with this number among those that are open, the oldest being 0: of
    /// protocols whose answers come in any order.
    AnsweredAt {
        /// Its number.
        index: usize,
        /// As in `Answered`.
        rows: u64,
        /// As in `Answered`.
        error: Option<String>,
    },
    /// A part of the answer to the oldest open operation was read, and its end cannot be told: it was the
    /// last part, unless this comes again.
    Answering {
        /// As in `Answered`.
        error: Option<String>,
        /// It told how long it is, and that is not reached: with the connection, it is lost.
        unfinished: bool,
    },
    /// The answer to the oldest open operation ended with the part that [`Finding::Answering`] last told of.
    AnsweredBefore,
    /// Rows that the next answer tells are an estimate: not all of them were captured.
    RowsEstimated,
    /// Not all bytes of what was read were captured: of the answers that end in it, if there are several, the rows
    /// and errors told are a lower bound.
    ReadInPart,
    /// The connection is encrypted from here on: with the next bytes that look so, these included.
    Encrypted,
    /// Some bytes could not be read: operations may be missing, so counts are a lower bound from here on.
    Missed,
    /// An answer was read on a connection of which it is not known what is spoken there.
    NotUnderstood,
    /// The server has begun a further operation of several that were asked for at once, and of which it runs none
    /// behind one that fails: it is the oldest that is open.
    Begun {
        /// As in `Asked`.
        shape: String,
    },
    /// Behind the operation that was asked or begun last, others are to be begun.
    Several,
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

/// What the user decided about shapes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionOptions {
    /// Literals, keys and arguments stay in shapes.
    pub(crate) show_literals: bool,
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

    /// The same as the user wants it. A protocol whose shapes leave nothing out needs none of its own.
    fn session_with(&self, _options: SessionOptions) -> Box<dyn Session> {
        self.session()
    }

    /// What is asked cannot be read: counts are of round trips, which operations may share.
    fn is_opaque(&self) -> bool {
        false
    }

    /// The first and last bytes of an answer tell its rows, and whether it failed.
    fn tells_at_ends(&self) -> bool {
        true
    }

    /// Operations are asked side by side, and answered in any order; one that is not answered was given
    /// up when its request turned to another server, which is an error by this name.
    fn side_by_side(&self) -> Option<&'static str> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: SessionOptions = SessionOptions {
        show_literals: true,
    };

    fn asked(protocol: &dyn ClientProtocol, options: SessionOptions, bytes: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        let mut session = protocol.session_with(options);
        // In two writes, as a socket may take them.
        let (front, rest) = bytes.split_at(bytes.len() / 2);
        for front in [front, rest] {
            let chunk = Chunk {
                front,
                len: front.len() as u64,
                ..Chunk::default()
            };
            session.written(chunk, &mut found);
        }
        found
            .into_iter()
            .filter_map(|finding| match finding {
                Finding::Asked { shape } => Some(shape),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn what_was_sent_is_told_only_when_it_is_wanted() {
        let redis = b"*3\r\n$3\r\nSET\r\n$6\r\nsecret\r\n$4\r\n4711\r\n*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\nGET 'a b'  c\r\n";
        let memcached = b"set secret 0 0 4\r\n4711\r\nget secret\r\n";
        let query = b"Q\0\0\0\x10select 4711\0";
        type Case<'a> = (
            &'a dyn ClientProtocol,
            &'a [u8],
            &'a [&'a str],
            &'a [&'a str],
        );
        let sql = b"/* c */ call p('4711'); select 2";
        let mut mysql = vec![sql.len() as u8 + 1, 0, 0, 0, 3];
        mysql.extend_from_slice(sql);
        let cases: [Case<'_>; 4] = [
            (
                &mysql::Mysql,
                &mysql,
                &["call p(?)"],
                &["/* c */ call p('4711')"],
            ),
            (
                &redis::Redis,
                redis,
                &["SET ? ...", "AUTH ?", "GET ? ..."],
                &["SET secret 4711", "AUTH ?", "GET a b c"],
            ),
            (
                &memcached::Memcached,
                memcached,
                &["set ?", "get ?"],
                &["set secret 0 0 4", "get secret"],
            ),
            (&postgres::Postgres, query, &["select ?"], &["select 4711"]),
        ];
        for (protocol, bytes, hidden, shown) in cases {
            assert_eq!(asked(protocol, SessionOptions::default(), bytes), hidden);
            assert_eq!(asked(protocol, SHOWN, bytes), shown);
        }
    }

    #[test]
    fn what_is_told_as_sent_is_bounded_and_says_where_it_ends() {
        let value = "v".repeat(9_000);
        let redis = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9000\r\n{value}\r\n");
        let memcached = format!("get {}\r\n", "key ".repeat(2_000));
        for (protocol, bytes) in [
            (&redis::Redis as &dyn ClientProtocol, &redis),
            (&memcached::Memcached, &memcached),
        ] {
            let told = asked(protocol, SHOWN, bytes.as_bytes());
            assert_eq!(told.len(), 1);
            assert!(
                told[0].ends_with("...") && told[0].len() == SHAPE_LIMIT,
                "{told:?}"
            );
        }
        // The value was not captured.
        let mut found = Vec::new();
        let chunk = Chunk {
            front: redis.as_bytes().get(..30).unwrap(),
            tail: &[],
            len: redis.len() as u64,
        };
        redis::Redis.session_with(SHOWN).written(chunk, &mut found);
        let shape = "SET k vvv...".to_owned();
        assert_eq!(found, [Finding::Asked { shape }]);
    }
}
