//! What is not captured, and what no client or server should send.

use super::*;

const SECRET: &str = "hunter2secret";

fn count(found: &[Finding], wanted: &Finding) -> usize {
    found.iter().filter(|finding| *finding == wanted).count()
}

/// A get with so many keys that most were not captured.
fn many_keys() -> String {
    let keys: Vec<String> = (0..200).map(|key| format!("key:{key}")).collect();
    format!("get {}\r\n", keys.join(" "))
}

#[test]
fn large_values_are_passed_over() {
    let value = "\r\nEND".repeat(1000);
    let written = format!("set k 0 0 {}\r\n{value}\r\nget k\r\n", value.len());
    let read = format!("STORED\r\nVALUE k 0 {}\r\n{value}\r\nEND\r\n", value.len());
    let meta = format!("VA {} f0\r\n{value}\r\n", value.len());
    let found = run_cut(&[
        Write(written.as_bytes()),
        Read(read.as_bytes()),
        Write(b"mg k v f\r\n"),
        Read(meta.as_bytes()),
        Write(b"get k\r\n"),
    ]);
    let expected = [
        asked("set ?"),
        asked("get ?"),
        answered(0),
        answered(1),
        asked("mg ?"),
        answered(1),
        asked("get ?"),
    ];
    assert_eq!(found, expected);
    let mut written = request(0x01, 1, (&[0; 8], b"k", value.as_bytes()));
    written.extend(request(0x00, 2, (b"", b"k", b"")));
    let mut read = response(0x01, 0, 1, b"");
    read.extend(response(0x00, 0, 2, value.as_bytes()));
    let found = run_cut(&[Write(&written), Read(&read)]);
    assert_eq!(answers(&found), [answered(0), answered(1)]);
}

#[test]
fn a_value_over_many_writes() {
    let value = "x\r\n".repeat(1000);
    let set = format!("set k 0 0 {}\r\n{value}\r\n", value.len());
    let mut ios: Vec<Io<'_>> = set.as_bytes().chunks(700).map(Write).collect();
    ios.push(Read(b"STORED\r\n"));
    assert_eq!(run_cut(&ios), [asked("set ?"), answered(0)]);
}

#[test]
fn many_keys_in_a_partly_captured_write() {
    let get = many_keys();
    let hits = b"VALUE key:1 0 1\r\nx\r\nEND\r\n";
    // One answer and then a write: the command was the only one.
    let found = run_cut(&[
        Write(get.as_bytes()),
        Read(hits),
        Write(get.as_bytes()),
        Read(hits),
    ]);
    let expected = [asked("get ..."), answered(1), asked("get ..."), answered(1)];
    assert_eq!(found, expected);
    // One more answer: there was another.
    let found = run_cut(&[Write(get.as_bytes()), Read(b"END\r\nEND\r\nEND\r\n")]);
    assert_eq!(found, [asked("get ..."), answered(0), Finding::Missed]);
    // No answer before the next write, or one that was lost: not to be told.
    let found = run_cut(&[Write(get.as_bytes()), Write(b"get k\r\n")]);
    assert_eq!(found, [asked("get ..."), Finding::Missed, asked("get ?")]);
    let lost = b"VALUE k 0 1\r\nx\r\n".repeat(100);
    let found = run_cut(&[Write(get.as_bytes()), Read(&lost), Write(b"get k\r\n")]);
    let expected = [
        asked("get ..."),
        answered(0),
        Finding::Missed,
        asked("get ?"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn commands_that_were_not_captured_are_missed() {
    let found = run_cut(&[
        Write(&b"get k\r\n".repeat(100)),
        Read(&b"END\r\n".repeat(50)),
        Read(&b"END\r\n".repeat(50)),
        Write(b"version\r\n"),
        Read(b"VERSION 1\r\n"),
    ]);
    assert_eq!(count(&found, &Finding::Missed), 1);
    assert_eq!(
        count(&found, &asked("get ?")) + 1,
        count(&found, &answered(0))
    );
    assert_eq!(found[found.len() - 2..], [asked("version"), answered(0)]);
    let found = run_cut(&[Write(&request(0x00, 1, (b"", b"k", b"")).repeat(20))]);
    assert_eq!(count(&found, &Finding::Missed), 1);
    assert_eq!(shapes(&found).len(), 10);
    // Within the name of a command.
    let mut session = Memcached.session();
    let mut found = Vec::new();
    session.written(cut(b"delete k\r\n", 3, 0), &mut found);
    assert_eq!(found, [Finding::Missed]);
}

#[test]
fn lost_answers_are_given_when_the_client_writes_again() {
    let lost = b"VALUE k 0 1\r\nx\r\n".repeat(100);
    let found = run_cut(&[
        Write(b"get a b\r\nget k\r\n"),
        Read(&lost),
        Read(b"END\r\nEND\r\n"),
        Write(b"get k\r\n"),
        Read(b"END\r\n"),
    ]);
    let expected = [
        asked("get ..."),
        asked("get ?"),
        answered(0),
        answered(0),
        asked("get ?"),
        answered(0),
    ];
    assert_eq!(found, expected);
    // A response to something else.
    let get = request(0x00, 1, (b"", b"k", b""));
    let found = run(&[
        Write(&get),
        Read(&response(0x0a, 0, 9, b"")),
        Write(&get),
        Read(&response(0x00, 0, 1, b"")),
    ]);
    let expected = [asked("get ?"), answered(0), asked("get ?"), answered(1)];
    assert_eq!(found, expected);
}

#[test]
fn answers_to_nothing_are_missed_operations() {
    assert_eq!(run(&[Read(b"END\r\nEND\r\n")]), [Finding::Missed]);
}

#[test]
fn garbage_is_lost_until_the_next_write() {
    let found = findings([
        Write(b"get k\r\n"),
        Read(b"HTTP/1.1 400\r\n"),
        Write(b"\x16\x03\x01\x02\x00"),
        Write(b"\x00get k\r\n"),
        Write(b"get k\r\n"),
        Read(b"VALUE k 0\r\n"),
        Write(b"version\r\n"),
    ]);
    let expected = [
        asked("get ?"),
        answered(0),
        Finding::Missed,
        asked("get ?"),
        answered(0),
        asked("version"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn hostile_lengths_end_it() {
    let mut body = request(0x01, 1, (&[0; 8], b"k", b""));
    body[8] = 0x7f;
    let mut large = response(0x00, 0, 1, b"");
    large[8] = 0x7f;
    for bytes in [
        &b"set k 0 0 536870913\r\n"[..],
        b"set k 0 0 -2\r\n",
        b"set k 0 0 99999999999999999999999\r\n",
        b"ms k 536870913\r\n",
        &body,
    ] {
        let found = run(&[Write(bytes), Write(b"get k\r\n"), Read(b"END\r\n")]);
        assert_eq!(found, [Finding::Missed], "{bytes:?}");
    }
    for bytes in [
        &b"VALUE k 0 536870913\r\n"[..],
        b"VALUE k 0 -1\r\n",
        b"VA 99999999999999999999999\r\n",
        &large,
    ] {
        let found = run(&[Write(b"get k\r\n"), Read(bytes), Write(b"get k\r\n")]);
        let expected = [asked("get ?"), Finding::Missed, answered(0)];
        assert_eq!(found, expected, "{bytes:?}");
    }
    let mut session = Memcached.session();
    let mut found = Vec::new();
    session.written(whole(&b"k ".repeat((1 << 20) + 2)), &mut found);
    assert_eq!(found, [Finding::Missed]);
}

#[test]
fn no_secret_gets_out_wherever_the_capture_is_cut() {
    let big = SECRET.repeat(30);
    let mut connections: Vec<Vec<u8>> = [
        format!("get {SECRET} {SECRET}\r\n"),
        format!("set {SECRET} 0 0 13 {SECRET}\r\n{SECRET}\r\n{SECRET}\r\n"),
        format!(
            "set k 0 0 {}\r\n{big}\r\nmg {SECRET} k O{SECRET} q\r\nmn\r\n",
            big.len()
        ),
        format!("{SECRET} k\r\nstats {SECRET}\r\n{SECRET}"),
        format!("set k {SECRET} {SECRET} {SECRET}\r\n{SECRET}\r\n"),
    ]
    .map(String::into_bytes)
    .to_vec();
    let secret = SECRET.as_bytes();
    connections.push(request(0x01, 1, (&[0; 8], secret, secret)));
    connections.push(request(0x21, 1, (b"", b"PLAIN", secret)));
    let read = format!("SERVER_ERROR {SECRET}\r\nVALUE {SECRET} 0 13\r\n{SECRET}\r\n{SECRET}\r\n");
    for bytes in &connections {
        for front in 0..=bytes.len() {
            for tail in [0, TAIL, bytes.len()] {
                let mut session = Memcached.session();
                let mut found = Vec::new();
                session.written(cut(bytes, front, tail), &mut found);
                session.read(cut(read.as_bytes(), front, tail), &mut found);
                session.written(whole(&bytes[front..]), &mut found);
                session.read(whole(read.as_bytes()), &mut found);
                session.written(whole(b"version\r\n"), &mut found);
                let said = format!("{found:?}").to_ascii_lowercase();
                assert!(!said.contains("hunter2"), "{front} {tail} {said}");
            }
        }
    }
}

/// xorshift64: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Bytes that look like the protocol here and there.
    fn bytes(&mut self) -> Vec<u8> {
        const PIECES: [&[u8]; 14] = [
            b"get k\r\n",
            b"set k 0 0 3",
            b"\r\n",
            b" ",
            b"mg k q\r\n",
            b"ms k 2 q\r\n",
            b"mn\r\n",
            b"VALUE k 0 4\r\n",
            b"END\r\n",
            b"VA 1\r\n",
            b"MN\r\n",
            b"-1",
            b"\x80\x0d\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0\0k",
            b"\x81\x0d\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0",
        ];
        let mut bytes = Vec::new();
        for _ in 0..self.below(30) {
            match PIECES.get(self.below(18)) {
                Some(piece) => bytes.extend_from_slice(piece),
                None => bytes.push(self.next() as u8),
            }
        }
        bytes
    }
}

#[test]
fn random_bytes_neither_panic_nor_pile_up() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..3000 {
        let mut session = MemcachedSession::default();
        let mut found = Vec::new();
        for _ in 0..20 {
            let bytes = random.bytes();
            let mut chunk = cut(&bytes, random.below(bytes.len() + 1), random.below(64));
            match round % 3 {
                0 => chunk = whole(&bytes),
                1 => chunk.len = random.next(),
                _ => {}
            }
            if random.below(2) == 0 {
                session.written(chunk, &mut found);
            } else {
                session.read(chunk, &mut found);
            }
        }
        let asked = shapes(&found).len();
        let others = found.len() - asked;
        assert!(asked <= 20 * 30 && others <= asked + 41, "{asked} {others}");
        for finding in &found {
            match finding {
                Finding::Asked { shape } => assert!(shape.len() <= SHAPE_LIMIT),
                Finding::Answered { error, .. } => {
                    assert!(error.as_deref().unwrap_or_default().len() <= ERROR_LIMIT);
                }
                other => assert_eq!(*other, Finding::Missed),
            }
        }
    }
}

#[test]
fn open_operations_are_bounded() {
    let mut session = MemcachedSession::default();
    let mut found = Vec::new();
    // Quiet ones that are never answered make room for each other.
    for opaque in 0..10_000 {
        let set = request(0x11, opaque, (&[0; 8], b"k", b"v"));
        session.written(whole(&set), &mut found);
    }
    assert_eq!(count(&found, &asked("set ?")), 10_000);
    assert_eq!(count(&found, &answered(0)), 10_000 - 4096);
    // Others are given up, and what comes then is counted again.
    let mut session = MemcachedSession::default();
    found.clear();
    for opaque in 0..10_000 {
        let get = request(0x00, opaque, (b"", b"k", b""));
        session.written(whole(&get), &mut found);
    }
    assert_eq!(count(&found, &Finding::Missed), 2);
    assert_eq!(shapes(&found).len(), 10_000 - 2);
    assert_eq!(count(&found, &answered(0)), 2 * 4096);
}

#[test]
fn after_a_gap_a_command_is_a_beginning() {
    let ios = [
        Write(b"get k\r\n"),
        Write(b"get k\r\n"),
        Read(b"VALUE k 0 1\r\nx\r\nEND\r\n"),
    ];
    let mut session = Memcached.session();
    let mut found = Vec::new();
    for io in ios {
        feed(&mut *session, io, &mut found);
    }
    session.gap(&mut found);
    let shape = &asked("get ?");
    let before = [shape, shape, &answered(1), &answered(0), &Finding::Missed];
    assert!(found.iter().eq(before), "{found:?}");
    // The rest of a value and of an answer, then a command and its answer.
    found.clear();
    for io in [
        Write(b"rest of a value\r\n"),
        Read(b"rest of one\r\n"),
        Write(b"get k\r\n"),
        Read(b"VALUE k 0 1\r\nx\r\nEND\r\n"),
    ] {
        feed(&mut *session, io, &mut found);
    }
    assert_eq!(found, [shape.clone(), answered(1)]);
    // Within a command, and twice.
    found.clear();
    feed(&mut *session, Write(b"get "), &mut found);
    session.gap(&mut found);
    session.gap(&mut found);
    feed(&mut *session, Write(b"key key\r\n"), &mut found);
    feed(&mut *session, Write(b"get k\r\n"), &mut found);
    feed(
        &mut *session,
        Read(b"VALUE k 0 1\r\nx\r\nEND\r\n"),
        &mut found,
    );
    let missed = Finding::Missed;
    assert_eq!(found, [missed.clone(), missed, shape.clone(), answered(1)]);
}
