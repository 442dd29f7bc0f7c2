//! Whole conversations: every command, answer and mode, in one piece and in any two.

mod partial;
mod recognised;

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

fn whole(bytes: &[u8]) -> Chunk<'_> {
    cut(bytes, bytes.len(), 0)
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

/// The chunk in two pieces.
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

fn findings<'a>(ios: impl IntoIterator<Item = Io<'a>>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut session = Memcached.session();
    for io in ios {
        feed(&mut *session, io, &mut found);
    }
    found
}

/// Findings of a connection; the same with every chunk split at every offset, and byte by byte.
fn run(ios: &[Io<'_>]) -> Vec<Finding> {
    let expected = findings(ios.iter().copied());
    for (index, io) in ios.iter().enumerate() {
        for at in 0..=bytes_of(*io).len() {
            let split = ios.iter().enumerate().flat_map(|(other, io)| {
                let at = if other == index { at } else { 0 };
                pieces(*io, at)
            });
            assert_eq!(findings(split), expected, "chunk {index} split at {at}");
        }
    }
    let bytes = ios.iter().flat_map(|io| {
        bytes_of(*io).chunks(1).map(|byte| match io {
            Write(_) => Write(byte),
            Read(_) => Read(byte),
        })
    });
    assert_eq!(findings(bytes), expected, "byte by byte");
    expected
}

/// Findings where only the ends of long chunks are captured.
fn run_cut(ios: &[Io<'_>]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut session = Memcached.session();
    for io in ios {
        match *io {
            Write(bytes) => session.written(cut(bytes, FRONT, TAIL), &mut found),
            Read(bytes) => session.read(cut(bytes, FRONT, TAIL), &mut found),
        }
    }
    found
}

/// Extras, key, value.
type Body<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// A binary message: magic, opcode, status or bucket, opaque, extras, key, value.
fn message(
    magic: u8,
    opcode: u8,
    status: u16,
    opaque: u32,
    (extras, key, value): Body<'_>,
) -> Vec<u8> {
    let mut bytes = vec![magic, opcode];
    bytes.extend((key.len() as u16).to_be_bytes());
    bytes.extend([extras.len() as u8, 0]);
    bytes.extend(status.to_be_bytes());
    bytes.extend(((extras.len() + key.len() + value.len()) as u32).to_be_bytes());
    bytes.extend(opaque.to_be_bytes());
    bytes.extend([0; 8]);
    bytes.extend([extras, key, value].concat());
    bytes
}

fn request(opcode: u8, opaque: u32, body: Body<'_>) -> Vec<u8> {
    message(0x80, opcode, 0, opaque, body)
}

fn response(opcode: u8, status: u16, opaque: u32, value: &[u8]) -> Vec<u8> {
    message(0x81, opcode, status, opaque, (b"", b"", value))
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

/// What follows the questions.
fn answers(found: &[Finding]) -> &[Finding] {
    &found[shapes(found).len()..]
}

/// Command, reply, shape; values, or the error.
const CONVERSATIONS: &[(&str, &str, &str, Result<u64, &str>)] = &[
    ("get k\r\n", "END\r\n", "get ?", Ok(0)),
    (
        "get k\r\n",
        "VALUE k 0 5\r\nEND\r\n\r\nEND\r\n",
        "get ?",
        Ok(1),
    ),
    (
        "gets a b c\r\n",
        "VALUE a 0 1 7\r\nx\r\nVALUE c 0 0 8\r\n\r\nEND\r\n",
        "gets ...",
        Ok(2),
    ),
    ("gat 60 k\r\n", "END\r\n", "gat ?", Ok(0)),
    (
        "gats 60 a b\r\n",
        "VALUE a 0 1 7\r\nx\r\nEND\r\n",
        "gats ...",
        Ok(1),
    ),
    ("get noreply\r\n", "END\r\n", "get ?", Ok(0)),
    ("set k 0 0 5\r\nget x\r\n", "STORED\r\n", "set ?", Ok(0)),
    ("add k 0 0 0\r\n\r\n", "NOT_STORED\r\n", "add ?", Ok(0)),
    ("replace k 0 0 1\r\nx\r\n", "STORED\r\n", "replace ?", Ok(0)),
    ("append k 0 0 1\r\nx\r\n", "STORED\r\n", "append ?", Ok(0)),
    ("prepend k 0 0 1\r\nx\r\n", "STORED\r\n", "prepend ?", Ok(0)),
    ("cas k 0 0 1 77\r\nx\r\n", "EXISTS\r\n", "cas ?", Ok(0)),
    ("incr k 1\r\n", "12\r\n", "incr ?", Ok(0)),
    ("decr k 1\r\n", "NOT_FOUND\r\n", "decr ?", Ok(0)),
    ("delete k\r\n", "DELETED\r\n", "delete ?", Ok(0)),
    ("delete noreply\r\n", "DELETED\r\n", "delete ?", Ok(0)),
    ("touch k 60\r\n", "TOUCHED\r\n", "touch ?", Ok(0)),
    ("flush_all\r\n", "OK\r\n", "flush_all", Ok(0)),
    ("flush_all 10\r\n", "OK\r\n", "flush_all", Ok(0)),
    ("version\r\n", "VERSION 1.6.21\r\n", "version", Ok(0)),
    (
        "stats\r\n",
        "STAT pid 1\r\nSTAT x 2\r\nEND\r\n",
        "stats",
        Ok(0),
    ),
    ("stats reset\r\n", "RESET\r\n", "stats ?", Ok(0)),
    ("verbosity 1\r\n", "OK\r\n", "verbosity", Ok(0)),
    (
        "set k 0 0 5\r\nhello\r\n",
        "SERVER_ERROR out of memory\r\n",
        "set ?",
        Err("SERVER_ERROR"),
    ),
    ("set k 0 0\r\n", "ERROR\r\n", "set ?", Err("ERROR")),
    (
        "incr k x\r\n",
        "CLIENT_ERROR invalid\r\n",
        "incr ?",
        Err("CLIENT_ERROR"),
    ),
    ("nosuch k\r\n", "ERROR\r\n", "unknown", Err("ERROR")),
    ("\r\n", "ERROR\r\n", "unknown", Err("ERROR")),
    ("get k\n", "END\r\n", "get ?", Ok(0)),
];

#[test]
fn commands_and_their_answers() {
    for (written, read, shape, outcome) in CONVERSATIONS {
        let found = run(&[
            Write(written.as_bytes()),
            Read(read.as_bytes()),
            Write(b"version\r\n"),
            Read(b"VERSION 1\r\n"),
        ]);
        let finding = outcome.map_or_else(failed, answered);
        let expected = [asked(shape), finding, asked("version"), answered(0)];
        assert_eq!(found, expected, "{written}");
    }
}

#[test]
fn pipelines_of_text() {
    let found = run(&[
        Write(b"set k 0 0 5\r\nhello\r\nget k\r\nget a b\r\nmg k v\r\nincr k 1\r\n"),
        Read(b"STORED\r\nVALUE k 0 5\r\nhello\r\nEND\r\nEND\r\nVA 5\r\nhello\r\n"),
        Read(b"CLIENT_ERROR cannot increment\r\n"),
    ]);
    assert_eq!(
        shapes(&found),
        ["set ?", "get ?", "get ...", "mg ?", "incr ?"]
    );
    let expected = [
        answered(0),
        answered(1),
        answered(0),
        answered(1),
        failed("CLIENT_ERROR"),
    ];
    assert_eq!(answers(&found), expected);
}

#[test]
fn without_replies_operations_are_answered_in_turn() {
    let found = run(&[
        Write(b"set k 0 0 1 noreply\r\nx\r\n"),
        Write(b"delete k noreply\r\nflush_all noreply\r\n"),
        Write(b"get k\r\nincr k 1 noreply\r\nget l\r\n"),
        Read(b"END\r\nVALUE l 0 1\r\nx\r\nEND\r\n"),
        Write(b"quit\r\n"),
    ]);
    let expected = [
        asked("set ?"),
        answered(0),
        asked("delete ?"),
        answered(0),
        asked("flush_all"),
        answered(0),
        asked("get ?"),
        asked("incr ?"),
        asked("get ?"),
        answered(0),
        answered(0),
        answered(1),
        asked("quit"),
        answered(0),
    ];
    assert_eq!(found, expected);
}

#[test]
fn meta_commands() {
    for (written, read, shape, finding) in [
        ("mg k v\r\n", "VA 2 f0\r\nEN\r\n", "mg ?", answered(1)),
        ("mg k\r\n", "HD\r\n", "mg ?", answered(1)),
        ("mg k v\r\n", "EN\r\n", "mg ?", answered(0)),
        (
            "mg Zm9v b v k\r\n",
            "VA 1 kZm9v b\r\nx\r\n",
            "mg ?",
            answered(1),
        ),
        ("ms k 2 T0 c\r\nxx\r\n", "HD c1\r\n", "ms ?", answered(0)),
        ("ms k 0\r\n\r\n", "NS\r\n", "ms ?", answered(0)),
        ("md k\r\n", "NF\r\n", "md ?", answered(0)),
        ("ma k v D2\r\n", "VA 2\r\n10\r\n", "ma ?", answered(0)),
        ("me k\r\n", "ME k exp=-1 la=2\r\n", "me ?", answered(0)),
        (
            "ms k x\r\n",
            "CLIENT_ERROR bad data chunk\r\n",
            "ms ?",
            failed("CLIENT_ERROR"),
        ),
        ("mn\r\n", "MN\r\n", "mn", answered(0)),
    ] {
        let found = run(&[
            Write(written.as_bytes()),
            Read(read.as_bytes()),
            Write(b"mn\r\n"),
            Read(b"MN\r\n"),
        ]);
        let expected = [asked(shape), finding, asked("mn"), answered(0)];
        assert_eq!(found, expected, "{written}");
    }
}

#[test]
fn quiet_meta_commands_end_with_mn() {
    let found = run(&[
        Write(b"mg a v q\r\nmg b v q\r\nmg c v q\r\nms d 1 q\r\nx\r\nmd e q\r\nmn\r\n"),
        Read(b"VA 1\r\nx\r\nNS\r\nMN\r\n"),
        Write(b"mg a v\r\n"),
        Read(b"EN\r\n"),
    ]);
    assert_eq!(
        shapes(&found),
        ["mg ?", "mg ?", "mg ?", "ms ?", "md ?", "mn", "mg ?"]
    );
    let rows = found.iter().map(|finding| match finding {
        Finding::Answered { rows, error: None } => *rows,
        _ => 0,
    });
    assert_eq!(rows.sum::<u64>(), 1);
    assert_eq!(found[found.len() - 2..], [asked("mg ?"), answered(0)]);
    assert_eq!(found.len(), 14);
}

#[test]
fn quiet_meta_commands_end_with_a_loud_one() {
    // EN cannot be said of a quiet one.
    let found = run(&[Write(b"mg a v q\r\nmg b v\r\n"), Read(b"EN\r\n")]);
    assert_eq!(answers(&found), [answered(0), answered(0)]);
    // VA can: whose it was is not to be told, but the next write finds nothing open.
    let found = run(&[
        Write(b"mg a v q\r\nmg b v\r\n"),
        Read(b"VA 1\r\nx\r\n"),
        Write(b"ms k 1\r\nx\r\n"),
        Read(b"HD\r\n"),
    ]);
    let expected = [
        asked("mg ?"),
        asked("mg ?"),
        answered(1),
        answered(0),
        asked("ms ?"),
        answered(0),
    ];
    assert_eq!(found, expected);
    // A set that went well says nothing.
    let found = run(&[
        Write(b"ms k 1 q\r\nx\r\n"),
        Write(b"get k\r\n"),
        Read(b"VALUE k 0 1\r\nx\r\nEND\r\n"),
    ]);
    assert_eq!(answers(&found), [answered(0), answered(1)]);
}

#[test]
fn binary_requests_and_responses() {
    let flags = [0; 8];
    let numbers = [0; 20];
    let cases: [(u8, Body<'_>, &str); 12] = [
        (0x00, (b"", b"k", b""), "get ?"),
        (0x01, (&flags, b"k", b"value"), "set ?"),
        (0x02, (&flags, b"k", b""), "add ?"),
        (0x04, (b"", b"k", b""), "delete ?"),
        (0x05, (&numbers, b"k", b""), "incr ?"),
        (0x07, (b"", b"", b""), "quit"),
        (0x08, (b"", b"", b""), "flush_all"),
        (0x0a, (b"", b"", b""), "noop"),
        (0x0b, (b"", b"", b""), "version"),
        (0x1c, (b"\0\0\0\0", b"k", b""), "touch ?"),
        (0x21, (b"", b"PLAIN", b"\0user\0password"), "sasl_auth"),
        (0x77, (b"", b"k", b""), "unknown"),
    ];
    for (opcode, body, shape) in cases {
        for (status, finding) in [
            (0, answered(u64::from(opcode == 0))),
            (1, answered(0)),
            (2, failed("KEY_EEXISTS")),
            (5, failed("NOT_STORED")),
            (0x82, failed("ENOMEM")),
            (0x86, failed("STATUS_0x0086")),
        ] {
            let found = run(&[
                Write(&request(opcode, 7, body)),
                Read(&response(opcode, status, 7, b"some text")),
            ]);
            assert_eq!(found, [asked(shape), finding], "{opcode:#x} {status:#x}");
        }
    }
}

#[test]
fn quiet_binary_requests() {
    let mut written = Vec::new();
    for key in 1..=4 {
        written.extend(request(0x0d, key, (b"", b"k", b"")));
    }
    written.extend(request(0x11, 5, (&[0; 8], b"k", b"v")));
    written.extend(request(0x0a, 6, (b"", b"", b"")));
    let mut read = response(0x0d, 0, 2, b"value");
    read.extend(response(0x0d, 0, 4, b"value"));
    read.extend(response(0x0a, 0, 6, b""));
    let found = run(&[Write(&written), Read(&read)]);
    assert_eq!(
        shapes(&found),
        ["get ?", "get ?", "get ?", "get ?", "set ?", "noop"]
    );
    let expected = [0, 1, 0, 1, 0, 0].map(answered);
    assert_eq!(answers(&found), expected);
    // A quiet one that fails, then one that is not quiet.
    let written = [
        request(0x11, 1, (&[0; 8], b"k", b"v")),
        request(0x00, 2, (b"", b"k", b"")),
    ];
    let read = [response(0x11, 3, 1, b"Too large."), response(0, 1, 2, b"")];
    let found = run(&[Write(&written.concat()), Read(&read.concat())]);
    assert_eq!(answers(&found), [failed("E2BIG"), answered(0)]);
    let quit = request(0x17, 3, (b"", b"", b""));
    assert_eq!(run(&[Write(&quit)]), [asked("quit"), answered(0)]);
}

#[test]
fn binary_statistics_end_with_an_empty_one() {
    let mut read = message(0x81, 0x10, 0, 1, (b"", b"pid", b"1"));
    read.extend(message(0x81, 0x10, 0, 1, (b"", b"uptime", b"2")));
    let last = response(0x10, 0, 1, b"");
    let found = run(&[
        Write(&request(0x10, 1, (b"", b"", b""))),
        Read(&read),
        Read(&last),
        Read(&last),
    ]);
    assert_eq!(found, [asked("stats"), answered(0), Finding::Missed]);
}
