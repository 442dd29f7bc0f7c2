//! A secret as every argument of commands that are no SQL, and what the server says of it: nothing of it is
//! told, wherever the bytes are split, cut or missing. A protocol adds a table. (SQL: `sql/secrets.rs`.)

use super::super::client::{CLIENT_PROTOCOLS, Chunk, Finding};
use super::tells_secret;

/// Commands by their words, which are sent as RESP arrays.
const REDIS: &[&[&str]] = &[
    &["AUTH", "zqxjkvwy"],
    &["AUTH", "zqxjkvwy", "zqxjkvwy"],
    &[
        "HELLO", "3", "AUTH", "zqxjkvwy", "zqxjkvwy", "SETNAME", "zqxjkvwy",
    ],
    &[
        "CONFIG",
        "SET",
        "requirepass",
        "zqxjkvwy",
        "masterauth",
        "zqxjkvwy",
    ],
    &["CONFIG", "GET", "zqxjkvwy"],
    &["CONFIG", "zqxjkvwy"],
    &["EVAL", "return 'zqxjkvwy'", "1", "zqxjkvwy", "zqxjkvwy"],
    &["EVALSHA", "zqxjkvwy", "0"],
    &["SCRIPT", "LOAD", "zqxjkvwy"],
    &["FCALL", "zqxjkvwy", "0"],
    &["FUNCTION", "LOAD", "zqxjkvwy"],
    &["GET", "zqxjkvwy"],
    &["SET", "zqxjkvwy", "zqxjkvwy", "EX", "zqxjkvwy"],
    &["MSET", "zqxjkvwy", "zqxjkvwy"],
    &["HSET", "zqxjkvwy", "zqxjkvwy", "zqxjkvwy"],
    &["ACL", "SETUSER", "zqxjkvwy", "on", ">zqxjkvwy", "~zqxjkvwy"],
    &["ACL", "zqxjkvwy"],
    &[
        "MIGRATE", "zqxjkvwy", "6379", "", "0", "1000", "AUTH", "zqxjkvwy", "KEYS", "zqxjkvwy",
    ],
    &[
        "MIGRATE", "h", "6379", "k", "0", "1000", "AUTH2", "zqxjkvwy", "zqxjkvwy",
    ],
    &["CLIENT", "SETNAME", "zqxjkvwy"],
    &["CLIENT", "zqxjkvwy", "zqxjkvwy"],
    &["CLIENT", "REPLY", "zqxjkvwy"],
    &["CLIENT", "KILL", "USER", "zqxjkvwy"],
    &["PUBLISH", "zqxjkvwy", "zqxjkvwy"],
    &["SUBSCRIBE", "zqxjkvwy"],
    &["XADD", "zqxjkvwy", "*", "zqxjkvwy", "zqxjkvwy"],
    &["DEBUG", "zqxjkvwy", "zqxjkvwy"],
    &["ECHO", "zqxjkvwy"],
    &["PING", "zqxjkvwy"],
    &["OBJECT", "zqxjkvwy", "zqxjkvwy"],
    &["GET", "a\r\n*1\r\n$8\r\nzqxjkvwy"],
    &["SET", "k", "*1\r\n$8\r\nzqxjkvwy\r\n"],
];

/// Lines that people type.
const REDIS_INLINE: &[&str] = &[
    "AUTH zqxjkvwy\r\n",
    "SET 'zqxjkvwy' \"zqxjkvwy zqxjkvwy\"\r\n",
    "CONFIG SET requirepass zqxjkvwy\r\n",
    "zqxjkvwy\r\n",
    "'zqxjkvwy' a\r\n",
    "\"zqxjkvwy\r\n",
];

const MEMCACHED: &[&[u8]] = &[
    b"get zqxjkvwy\r\n",
    b"gets zqxjkvwy a zqxjkvwy\r\n",
    b"gat 0 zqxjkvwy\r\n",
    b"set zqxjkvwy 0 0 8\r\nzqxjkvwy\r\n",
    b"set zqxjkvwy 0 0 10 noreply\r\n\r\nzqxjkvwy\r\n",
    b"set a 0 0 16\r\nget b\r\n\r\nzqxjkvwy\r\n",
    b"cas zqxjkvwy 0 0 8 1\r\nzqxjkvwy\r\n",
    b"set zqxjkvwy zqxjkvwy zqxjkvwy zqxjkvwy\r\nzqxjkvwy\r\n",
    b"incr zqxjkvwy 1\r\n",
    b"incr a zqxjkvwy\r\n",
    b"delete zqxjkvwy\r\n",
    b"touch zqxjkvwy 1\r\n",
    b"stats zqxjkvwy\r\n",
    b"mg zqxjkvwy v t k Ozqxjkvwy\r\n",
    b"ms zqxjkvwy 8 T0 Ozqxjkvwy Fzqxjkvwy\r\nzqxjkvwy\r\n",
    b"md zqxjkvwy q Ozqxjkvwy\r\nmn\r\n",
    b"ma zqxjkvwy Ozqxjkvwy N0 J13 D1\r\n",
    b"me zqxjkvwy\r\n",
    b"zqxjkvwy\r\n",
    b"zqxjkvwy zqxjkvwy\r\n",
    b"lru tune zqxjkvwy\r\n",
    // The first that is set on a connection that asks for it, in text: user and password.
    b"set auth 0 0 17\r\nzqxjkvwy zqxjkvwy\r\n",
    // SASL: user and password.
    b"\x80\x21\x00\x05\x00\x00\x00\x00\x00\x00\x00\x17\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\
      PLAIN\0zqxjkvwy\0zqxjkvwy",
    b"\x80\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\
      zqxjkvwy",
    b"\x80\x01\x00\x08\x08\x00\x00\x00\x00\x00\x00\x18zqxj\x00\x00\x00\x00\x00\x00\x00\x00\
      \0\0\0\0\0\0\0\0zqxjkvwyzqxjkvwy",
];

/// What servers answer, that no error code may be made of.
const ANSWERS: &[(&str, &[u8])] = &[
    ("redis", b"-zqxjkvwy\r\n"),
    ("redis", b"-ERR 'zqxjkvwy'\r\n"),
    ("redis", b"!12\r\nERR zqxjkvwy\r\n"),
    ("redis", b"$8\r\nzqxjkvwy\r\n"),
    ("redis", b"+zqxjkvwy\r\n"),
    ("memcached", b"CLIENT_ERROR zqxjkvwy\r\n"),
    ("memcached", b"SERVER_ERROR zqxjkvwy\r\n"),
    ("memcached", b"zqxjkvwy\r\n"),
    ("memcached", b"VALUE zqxjkvwy 0 8\r\nzqxjkvwy\r\nEND\r\n"),
];

fn array(words: &[&str]) -> Vec<u8> {
    let words = words
        .iter()
        .map(|word| format!("${}\r\n{word}\r\n", word.len()));
    let words: Vec<String> = words.collect();
    format!("*{}\r\n{}", words.len(), words.concat()).into_bytes()
}

/// Every write of the tables with its protocol.
fn writes() -> Vec<(&'static str, Vec<u8>)> {
    let arrays = REDIS.iter().map(|words| ("redis", array(words)));
    let inline = REDIS_INLINE
        .iter()
        .map(|line| ("redis", line.as_bytes().to_vec()));
    let memcached = MEMCACHED.iter().map(|bytes| ("memcached", bytes.to_vec()));
    arrays.chain(inline).chain(memcached).collect()
}

/// A harmless command of the protocol.
fn plain(protocol: &str) -> Vec<u8> {
    match protocol {
        "redis" => array(&["GET", "k"]),
        _ => b"get k\r\n".to_vec(),
    }
}

/// Findings of chunks, with a command before and behind them.
fn findings(protocol: &str, chunks: &[Chunk<'_>], answer: &[u8]) -> Vec<Finding> {
    let protocol = CLIENT_PROTOCOLS
        .iter()
        .find(|p| p.name() == protocol)
        .unwrap();
    let (mut session, mut found) = (protocol.session(), Vec::new());
    let plain = plain(protocol.name());
    let whole = Chunk {
        front: &plain,
        tail: b"",
        len: plain.len() as u64,
    };
    session.written(whole, &mut found);
    for chunk in chunks {
        session.written(*chunk, &mut found);
    }
    let answer = Chunk {
        front: answer,
        tail: b"",
        len: answer.len() as u64,
    };
    session.read(answer, &mut found);
    session.written(whole, &mut found);
    session.gap(&mut found);
    for chunk in chunks {
        session.written(*chunk, &mut found);
    }
    found
}

#[test]
fn arguments_in_every_position() {
    for (protocol, bytes) in writes() {
        let chunk = |front, tail, len: usize| Chunk {
            front,
            tail,
            len: len as u64,
        };
        let check = |chunks: &[Chunk<'_>]| {
            for (_, answer) in ANSWERS.iter().filter(|(name, _)| *name == protocol) {
                let found = format!("{:?}", findings(protocol, chunks, answer));
                let text = String::from_utf8_lossy(&bytes);
                assert!(
                    !tells_secret(&found),
                    "{protocol} {text:?} {chunks:?}: {found}"
                );
                assert!(found.contains("Asked"), "{text:?}: {found}");
            }
        };
        for at in 0..=bytes.len() {
            let (front, rest) = bytes.split_at(at);
            // In two writes; with its end missing; with its middle missing.
            check(&[chunk(front, b"", front.len()), chunk(rest, b"", rest.len())]);
            check(&[chunk(front, b"", bytes.len() + 100)]);
            check(&[chunk(front, rest, bytes.len() + 100)]);
            // Its end alone.
            check(&[chunk(rest, b"", rest.len())]);
        }
        let bytewise: Vec<_> = bytes.chunks(1).map(|byte| chunk(byte, b"", 1)).collect();
        check(&bytewise);
    }
}
