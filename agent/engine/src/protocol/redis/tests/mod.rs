//! Whole conversations: every command, reply and mode, in one piece and in any two.

mod partial;

use super::super::client::{ERROR_LIMIT, SHAPE_LIMIT};
use super::*;

/// What a test's connection moves.
#[derive(Clone, Copy, Debug)]
enum Io<'a> {
    Write(&'a [u8]),
    Read(&'a [u8]),
}
use Io::{Read, Write};

const FRONT: usize = 256;
const TAIL: usize = 64;
const SECRET: &str = "hunter2secret";

fn whole(bytes: &[u8]) -> Chunk<'_> {
    Chunk {
        front: bytes,
        tail: b"",
        len: bytes.len() as u64,
    }
}

/// The chunk as it is captured when `front` and `tail` bytes are.
fn cut(bytes: &[u8], front: usize, tail: usize) -> Chunk<'_> {
    let front = front.min(bytes.len());
    let tail = tail.min(bytes.len() - front);
    Chunk {
        front: &bytes[..front],
        tail: &bytes[bytes.len() - tail..],
        len: bytes.len() as u64,
    }
}

fn feed(session: &mut dyn Session, io: Io<'_>, found: &mut Vec<Finding>) {
    match io {
        Write(bytes) => session.written(whole(bytes), found),
        Read(bytes) => session.read(whole(bytes), found),
    }
}

fn feed_cut(session: &mut dyn Session, io: Io<'_>, found: &mut Vec<Finding>) {
    match io {
        Write(bytes) => session.written(cut(bytes, FRONT, TAIL), found),
        Read(bytes) => session.read(cut(bytes, FRONT, TAIL), found),
    }
}

fn pieces<'a>(io: Io<'a>, at: usize) -> [Io<'a>; 2] {
    match io {
        Write(bytes) => [Write(&bytes[..at]), Write(&bytes[at..])],
        Read(bytes) => [Read(&bytes[..at]), Read(&bytes[at..])],
    }
}

fn bytes_of<'a>(io: Io<'a>) -> &'a [u8] {
    match io {
        Write(bytes) | Read(bytes) => bytes,
    }
}

/// Findings of a connection; the same with every chunk split at every offset, and byte by byte.
fn run(ios: &[Io<'_>]) -> Vec<Finding> {
    let mut expected = Vec::new();
    let mut session = Redis.session();
    for io in ios {
        feed(&mut *session, *io, &mut expected);
    }
    for (index, io) in ios.iter().enumerate() {
        for at in 0..=bytes_of(*io).len() {
            let mut found = Vec::new();
            let mut session = Redis.session();
            for (other, io) in ios.iter().enumerate() {
                if other == index {
                    for piece in pieces(*io, at) {
                        feed(&mut *session, piece, &mut found);
                    }
                } else {
                    feed(&mut *session, *io, &mut found);
                }
            }
            assert_eq!(found, expected, "chunk {index} split at {at}");
        }
    }
    let mut found = Vec::new();
    let mut session = Redis.session();
    for io in ios {
        for byte in bytes_of(*io).chunks(1) {
            let piece = match io {
                Write(_) => Write(byte),
                Read(_) => Read(byte),
            };
            feed(&mut *session, piece, &mut found);
        }
    }
    assert_eq!(found, expected, "byte by byte");
    expected
}

/// Findings where only the ends of long chunks are captured.
fn run_cut(ios: &[Io<'_>]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut session = Redis.session();
    for io in ios {
        feed_cut(&mut *session, *io, &mut found);
    }
    found
}

fn array(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The command that a line of words without quotes stands for, as an array.
fn command(line: &str) -> Vec<u8> {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    array(&words)
}

fn commands(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| command(line)).collect()
}

fn asked(shape: &str) -> Finding {
    Finding::Asked {
        shape: shape.to_owned(),
    }
}

fn answered(rows: u64) -> Finding {
    Finding::Answered { rows, error: None }
}

fn failed(code: &str) -> Finding {
    Finding::Answered {
        rows: 0,
        error: Some(code.to_owned()),
    }
}

fn shapes(found: &[Finding]) -> Vec<&str> {
    found
        .iter()
        .filter_map(|finding| match finding {
            Finding::Asked { shape } => Some(shape.as_str()),
            _ => None,
        })
        .collect()
}

#[test]
fn shapes_of_commands() {
    for (line, shape) in [
        ("PING", "PING"),
        ("get k", "GET ?"),
        ("SET k v", "SET ? ..."),
        ("SET k v EX 10", "SET ? ..."),
        ("MGET a", "MGET ?"),
        ("MGET a b", "MGET ..."),
        ("MGET a b c d e f g", "MGET ..."),
        ("DEL a b", "DEL ..."),
        ("CONFIG GET maxmemory", "CONFIG GET ?"),
        ("CONFIG", "CONFIG"),
        ("CONFIG NOSUCH x", "CONFIG ? ..."),
        ("client setinfo LIB-NAME redis-py", "CLIENT SETINFO ? ..."),
        ("CLIENT ID", "CLIENT ID"),
        ("XGROUP CREATE s g $", "XGROUP CREATE ? ..."),
        ("SCRIPT LOAD return", "SCRIPT LOAD ?"),
        ("JSON.GET k", "JSON.GET ?"),
        ("FT.SEARCH idx q", "FT.SEARCH ? ..."),
        ("HELLO 3 AUTH u p", "HELLO ? ..."),
        ("AUTH p", "AUTH ?"),
        ("EVALSHA sha 1 k", "EVALSHA ? ..."),
        ("NO%SUCH a", "unknown"),
        ("12 a", "unknown"),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 a", "unknown"),
    ] {
        let found = run(&[Write(&command(line)), Read(b"+OK\r\n")]);
        assert_eq!(found, [asked(shape), answered(0)], "{line}");
    }
}

#[test]
fn inline_commands() {
    for (line, shape) in [
        ("PING\r\n", "PING"),
        ("ping\n", "PING"),
        ("get k\r\n", "GET ?"),
        ("  SET k v \r\n", "SET ? ..."),
        ("\r\nSET \"k k\" 'v v'\r\n", "SET ? ..."),
        ("GET \"a \\\" b\"\r\n", "GET ?"),
        ("CONFIG GET maxmemory\r\n", "CONFIG GET ?"),
        ("hunter2 k\r\n", "unknown"),
    ] {
        let found = run(&[Write(line.as_bytes()), Read(b"+OK\r\n")]);
        assert_eq!(found, [asked(shape), answered(0)], "{line}");
    }
    assert_eq!(run(&[Write(b"\r\n  \r\n*0\r\n*-1\r\n")]), []);
}

#[test]
fn every_type_of_reply() {
    for (reply, finding) in [
        (&b"+OK\r\n"[..], answered(0)),
        (b":12\r\n", answered(0)),
        (b"$5\r\nhe\r\no\r\n", answered(0)),
        (b"$0\r\n\r\n", answered(0)),
        (b"$-1\r\n", answered(0)),
        (b"*-1\r\n", answered(0)),
        (b"*0\r\n", answered(0)),
        (b"*3\r\n$1\r\na\r\n$-1\r\n:1\r\n", answered(3)),
        (b"*2\r\n*2\r\n:1\r\n*1\r\n$1\r\na\r\n*0\r\n", answered(2)),
        (b"*1\r\n*5\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n", answered(1)),
        (b"-ERR unknown command\r\n", failed("ERR")),
        (b"-MOVED 3999 127.0.0.1:6381\r\n", failed("MOVED")),
        (b"-NOAUTH\r\n", failed("NOAUTH")),
        (b"-some words of a script\r\n", failed("unknown")),
        (b"!21\r\nSYNTAX invalid syntax\r\n", failed("SYNTAX")),
        (b"_\r\n", answered(0)),
        (b"#t\r\n", answered(0)),
        (b",1.5\r\n", answered(0)),
        (
            b"(3492890328409238509324850943850943825024385\r\n",
            answered(0),
        ),
        (b"=7\r\ntxt:abc\r\n", answered(0)),
        (b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n", answered(2)),
        (b"~2\r\n:1\r\n:2\r\n", answered(2)),
        (
            b"|1\r\n+ttl\r\n*1\r\n:3600\r\n*2\r\n:1\r\n|1\r\n+x\r\n:1\r\n:2\r\n",
            answered(2),
        ),
        (b"|0\r\n:1\r\n", answered(0)),
        (
            b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n:1\r\n",
            answered(0),
        ),
    ] {
        let get = command("GET k");
        let found = run(&[Write(&get), Read(reply), Write(&get), Read(b"+OK\r\n")]);
        let expected = [asked("GET ?"), finding, asked("GET ?"), answered(0)];
        assert_eq!(found, expected, "{reply:?}");
    }
}

#[test]
fn deep_nesting_takes_no_memory() {
    let depth = 10_000;
    let mut reply = b"*1\r\n".repeat(depth);
    reply.extend_from_slice(b":1\r\n");
    let mut session = Redis.session();
    let mut found = Vec::new();
    feed(&mut *session, Write(&command("GET k")), &mut found);
    feed(&mut *session, Read(&reply), &mut found);
    assert_eq!(found, [asked("GET ?"), answered(1)]);
}

#[test]
fn pipelines() {
    let written = commands(&["SET k v", "GET k", "NOSUCH", "LRANGE l 0 -1"]);
    let found = run(&[
        Write(&written),
        Read(b"+OK\r\n$1\r\nv\r\n-ERR no\r\n*2\r\n:1\r\n:2\r\n"),
    ]);
    let expected = [
        asked("SET ? ..."),
        asked("GET ?"),
        asked("unknown"),
        asked("LRANGE ? ..."),
        answered(0),
        answered(0),
        failed("ERR"),
        answered(2),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_transaction_counts_its_commands_and_exec() {
    let written = commands(&["MULTI", "INCR a", "GET a", "EXEC"]);
    let found = run(&[
        Write(&written),
        Read(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n$1\r\n1\r\n"),
    ]);
    assert_eq!(shapes(&found), ["MULTI", "INCR ?", "GET ?", "EXEC"]);
    assert_eq!(
        found[4..],
        [answered(0), answered(0), answered(0), answered(2)]
    );
    let written = commands(&["MULTI", "INCR", "EXEC"]);
    let found = run(&[
        Write(&written),
        Read(b"+OK\r\n-ERR wrong number\r\n-EXECABORT discarded\r\n"),
    ]);
    assert_eq!(
        found[3..],
        [answered(0), failed("ERR"), failed("EXECABORT")]
    );
}

#[test]
fn subscriptions_in_resp2() {
    let found = run(&[
        Write(&command("SUBSCRIBE a b")),
        Read(
            b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n",
        ),
        Read(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n"),
        Write(&command("PSUBSCRIBE x*")),
        Read(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n"),
        Read(b"*3\r\n$10\r\npsubscribe\r\n$2\r\nx*\r\n:3\r\n"),
        Read(b"*4\r\n$8\r\npmessage\r\n$2\r\nx*\r\n$2\r\nx1\r\n$1\r\nm\r\n"),
        Write(&command("PING")),
        Read(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
        Write(&commands(&["UNSUBSCRIBE", "PUNSUBSCRIBE", "GET k"])),
        Read(b"*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n"),
        Read(b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n"),
        Read(b"*3\r\n$12\r\npunsubscribe\r\n$2\r\nx*\r\n:0\r\n"),
        Read(b"-WRONGTYPE no\r\n"),
        Write(&command("LRANGE l 0 -1")),
        Read(b"*2\r\n$7\r\nmessage\r\n$1\r\na\r\n"),
    ]);
    let expected = [
        asked("SUBSCRIBE ..."),
        answered(0),
        asked("PSUBSCRIBE ?"),
        answered(0),
        asked("PING"),
        answered(2),
        asked("UNSUBSCRIBE"),
        asked("PUNSUBSCRIBE"),
        asked("GET ?"),
        answered(0),
        answered(0),
        failed("WRONGTYPE"),
        asked("LRANGE ? ..."),
        answered(2),
    ];
    assert_eq!(found, expected);
}

#[test]
fn subscriptions_in_resp3() {
    let found = run(&[
        Write(&commands(&["SSUBSCRIBE a b", "GET k"])),
        Read(b">3\r\n$10\r\nssubscribe\r\n$1\r\na\r\n:1\r\n"),
        Read(b">3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$1\r\nm\r\n"),
        Read(b">3\r\n$10\r\nssubscribe\r\n$1\r\nb\r\n:2\r\n*1\r\n:1\r\n"),
        Write(&command("GET k")),
        Read(b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n_\r\n"),
        Write(&command("SUNSUBSCRIBE a")),
        Read(b">3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n"),
        Write(&command("SUBSCRIBE forbidden")),
        Read(b"-NOPERM no\r\n"),
    ]);
    let expected = [
        asked("SSUBSCRIBE ..."),
        asked("GET ?"),
        answered(0),
        answered(1),
        asked("GET ?"),
        answered(0),
        asked("SUNSUBSCRIBE ?"),
        answered(0),
        asked("SUBSCRIBE ?"),
        failed("NOPERM"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn monitor_lines_are_no_replies() {
    let found = run(&[
        Write(&command("MONITOR")),
        Read(b"+OK\r\n+1339518083.1 [0 127.0.0.1:6] \"keys\" \"*\"\r\n"),
        Read(b"+1339518084.1 [0 127.0.0.1:6] \"get\" \"k\"\r\n"),
        Write(&command("PING")),
        Read(b"+1339518085.1 [0 lua] \"get\" \"k\"\r\n+PONG\r\n"),
    ]);
    assert_eq!(
        found,
        [asked("MONITOR"), answered(0), asked("PING"), answered(0)]
    );
}

#[test]
fn without_replies_operations_are_answered_at_once() {
    let lines = ["GET a", "CLIENT REPLY SKIP", "SET a b", "GET a"];
    let found = run(&[Write(&commands(&lines)), Read(b"$1\r\na\r\n*0\r\n")]);
    // The silent ones wait until it is their turn.
    assert_eq!(
        found[4..],
        [answered(0), answered(0), answered(0), answered(0)]
    );
    let found = run(&[
        Write(&commands(&["CLIENT REPLY OFF", "SET a b", "SET a c"])),
        Write(&command("CLIENT REPLY ON")),
        Read(b"+OK\r\n"),
        Write(&command("GET a")),
        Read(b"-ERR x\r\n"),
    ]);
    let expected = [
        asked("CLIENT REPLY ?"),
        answered(0),
        asked("SET ? ..."),
        answered(0),
        asked("SET ? ..."),
        answered(0),
        asked("CLIENT REPLY ?"),
        answered(0),
        asked("GET ?"),
        failed("ERR"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn recognises_commands() {
    for bytes in [
        "*1\r\n$4\r\nPING\r\n",
        "*2\r\n$3\r\nget\r\n$1\r\nk\r\n",
        "*2\r\n$8\r\nJSON.GET",
        "PING\r\n",
        "info\r\n",
        "INFO commandstats\r\n",
    ] {
        assert_eq!(
            Redis.recognise(bytes.as_bytes()),
            Recognised::Yes,
            "{bytes}"
        );
    }
    let get = command("GET k");
    for at in 0..=get.len() {
        let expected = if at < 11 {
            Recognised::Undecided
        } else {
            Recognised::Yes
        };
        assert_eq!(Redis.recognise(&get[..at]), expected, "{at}");
    }
    assert_eq!(Redis.recognise(b"PIN"), Recognised::Undecided);
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\n",
        b"INFORM / HTTP/1.1\r\n",
        b"get k\r\n",
        b"set k 0 0 1\r\na\r\n",
        b"stats\r\n",
        b"version\r\n",
        b"\x80\x00\x00\x01",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"Q\x00\x00\x00\x0dSELECT 1\x00",
        b"P\x00\x00\x00\x0d",
        b"\x0f\x00\x00\x00\x03SELECT 1",
        b"\x16\x03\x01\x02\x00",
        b"*\r\n",
        b"*0\r\n",
        b"*a\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n$0\r\n",
        b"*1\r\n$40\r\n",
        b"*1\r\n$3\r\n\x00\x01\x02",
        b"*1\r\n$3\r\n123\r\n",
        b"*2000000\r\n",
        b"* text\r\n",
    ] {
        assert_eq!(Redis.recognise(bytes), Recognised::No, "{bytes:?}");
    }
}
