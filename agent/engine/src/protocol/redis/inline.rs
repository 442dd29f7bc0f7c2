//! Inline commands: lines of words, as typed by hand and sent by small clients. Any text could be one, so few are
//! taken for the front of a connection.

use super::super::Recognised;

/// Longest line that is looked at.
const LINE_LIMIT: usize = 2048;
/// Stands for any number of words.
const ANY: usize = usize::MAX;

/// Commands, and how many words may stand behind them. In lower case, memcached has some of them too.
const COMMANDS: &[(&str, usize, usize)] = &[
    ("GET", 1, 1),
    ("SET", 2, 6),
    ("SETNX", 2, 2),
    ("SETEX", 3, 3),
    ("GETSET", 2, 2),
    ("GETDEL", 1, 1),
    ("MGET", 1, ANY),
    ("MSET", 2, ANY),
    ("DEL", 1, ANY),
    ("UNLINK", 1, ANY),
    ("EXISTS", 1, ANY),
    ("EXPIRE", 2, 3),
    ("TTL", 1, 1),
    ("INCR", 1, 1),
    ("DECR", 1, 1),
    ("INCRBY", 2, 2),
    ("DECRBY", 2, 2),
    ("HGET", 2, 2),
    ("HSET", 3, ANY),
    ("HDEL", 2, ANY),
    ("HGETALL", 1, 1),
    ("LPUSH", 2, ANY),
    ("RPUSH", 2, ANY),
    ("LPOP", 1, 2),
    ("RPOP", 1, 2),
    ("LLEN", 1, 1),
    ("LRANGE", 3, 3),
    ("SADD", 2, ANY),
    ("SREM", 2, ANY),
    ("SMEMBERS", 1, 1),
    ("SISMEMBER", 2, 2),
    ("ZADD", 3, ANY),
    ("ZSCORE", 2, 2),
    ("PUBLISH", 2, ANY),
];

/// Whether a write begins with the whole line of such a command, in capitals.
pub(super) fn is_command(bytes: &[u8]) -> bool {
    let front = bytes.get(..LINE_LIMIT).unwrap_or(bytes);
    let line = memchr::memchr(b'\n', front).and_then(|end| front.get(..end)?.strip_suffix(b"\r"));
    let Some(line) = line else {
        return false;
    };
    let mut words = line.split(|byte| *byte == b' ').filter(|it| !it.is_empty());
    let name = words.next().unwrap_or_default();
    let known = COMMANDS.iter().find(|it| it.0.as_bytes() == name);
    let Some((_, least, most)) = known else {
        return false;
    };
    // Paths and addresses are asked for by HTTP.
    let is_target = |word: &[u8]| word.starts_with(b"/") || word.windows(3).any(|it| it == b"://");
    let is_text = line.iter().all(|byte| matches!(byte, b' '..=b'~' | 0x80..));
    let asks = words.clone().next().is_some_and(|first| !is_target(first));
    is_text && asks && (*least..=*most).contains(&words.count())
}

/// Only lines that hardly anything else begins with: any text could be an inline command.
pub(super) fn recognise(bytes: &[u8]) -> Recognised {
    let mut answer = Recognised::No;
    for line in [
        "PING\r\n",
        "INFO\r\n",
        "DBSIZE\r\n",
        "MONITOR\r\n",
        "COMMAND\r\n",
        "INFO commandstats\r\n",
        "INFO all\r\n",
    ] {
        let len = line.len().min(bytes.len());
        let (Some(front), Some(begin)) = (line.as_bytes().get(..len), bytes.get(..len)) else {
            continue;
        };
        if front.eq_ignore_ascii_case(begin) {
            if len == line.len() {
                return Recognised::Yes;
            }
            answer = Recognised::Undecided;
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_in_capitals() {
        for line in [
            &b"GET k\r\n"[..],
            b"SET k v\r\nGET k\r\n",
            b"SET k v EX 5\r\n",
            b"MGET a  b c\r\n",
        ] {
            assert!(is_command(line), "{line:?}");
        }
        for line in [
            &b"GET /a\r\n"[..],
            b"GET http://a/b\r\n",
            b"GET k",
            b"GET k\n",
            b"GET\r\n",
            b"GET a b\r\n",
            b"GET \x01\r\n",
            b"SET NAMES\r\n",
            b"GETS k\r\n",
            b"incr k 1\r\n",
            b"get k\r\n",
        ] {
            assert!(!is_command(line), "{line:?}");
        }
    }
}
