//! What is not captured, and what no client or server should send.

use super::*;

#[test]
fn large_values_are_passed_over() {
    let value = vec![b'*'; 5000];
    let set = array(&[b"SET", b"k", &value, b"EX", b"10"]);
    let mut written = set.clone();
    written.extend(command("GET k"));
    let mut reply = b"+OK\r\n$5000\r\n".to_vec();
    reply.extend_from_slice(&value);
    reply.extend_from_slice(b"\r\n");
    let ios = [
        Write(&written),
        Read(&reply),
        Write(&set),
        Read(b"-OOM\r\n"),
    ];
    let found = run_cut(&ios);
    let expected = [
        asked("SET ? ..."),
        asked("GET ?"),
        answered(0),
        answered(0),
        asked("SET ? ..."),
        failed("OOM"),
    ];
    assert_eq!(found, expected);
    // The value's end at the end of the write, without its last bytes.
    let set = array(&[b"SET", b"k", &value]);
    let mut session = Redis.session();
    let mut found = Vec::new();
    session.written(cut(&set, FRONT, 0), &mut found);
    feed(&mut *session, Read(b"+OK\r\n"), &mut found);
    feed(&mut *session, Write(&command("GET k")), &mut found);
    assert_eq!(found, [asked("SET ? ..."), answered(0), asked("GET ?")]);
}

#[test]
fn a_value_over_many_writes() {
    let value = vec![b'\n'; 3000];
    let set = array(&[b"SET", b"k", &value]);
    let writes: Vec<Io<'_>> = set.chunks(700).map(Write).collect();
    let mut ios = writes.clone();
    ios.push(Read(b"+OK\r\n"));
    assert_eq!(run_cut(&ios), [asked("SET ? ..."), answered(0)]);
}

/// A command with so many keys that most were not captured.
fn many_keys() -> Vec<u8> {
    let keys: Vec<String> = (0..200).map(|key| format!("key:{key}")).collect();
    let mut words: Vec<&[u8]> = vec![b"MGET"];
    words.extend(keys.iter().map(String::as_bytes));
    array(&words)
}

#[test]
fn many_keys_in_a_partly_captured_write() {
    let mget = many_keys();
    let get = command("GET k");
    // One reply and then a write: the command was the only one.
    let found = run_cut(&[Write(&mget), Read(b"*1\r\n:1\r\n"), Write(&get)]);
    assert_eq!(found, [asked("MGET ..."), answered(1), asked("GET ?")]);
    // One more reply: there was another.
    let found = run_cut(&[
        Write(&mget),
        Read(b"*1\r\n:1\r\n+OK\r\n+OK\r\n"),
        Write(&get),
    ]);
    let expected = [
        asked("MGET ..."),
        answered(1),
        Finding::Missed,
        asked("GET ?"),
    ];
    assert_eq!(found, expected);
    // No reply before the next write: not to be told.
    let found = run_cut(&[Write(&mget), Write(&get)]);
    assert_eq!(found, [asked("MGET ..."), Finding::Missed, asked("GET ?")]);
    // Nor with a reply that was lost.
    let lost = [&b"*200\r\n"[..], &b"$1\r\na\r\n".repeat(200)].concat();
    let found = run_cut(&[Write(&mget), Read(&lost), Write(&get)]);
    let expected = [
        asked("MGET ..."),
        answered(200),
        Finding::Missed,
        asked("GET ?"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn commands_that_were_not_captured_are_missed() {
    let written = command("GET k").repeat(100);
    let found = run_cut(&[
        Write(&written),
        Read(&b"+OK\r\n".repeat(50)),
        Read(&b"+OK\r\n".repeat(50)),
        Write(&command("PING")),
        Read(b"+PONG\r\n"),
    ]);
    let count = |wanted: &Finding| found.iter().filter(|finding| *finding == wanted).count();
    assert_eq!(count(&Finding::Missed), 1);
    assert_eq!(count(&asked("GET ?")), count(&answered(0)) - 1);
    assert_eq!(found[found.len() - 2..], [asked("PING"), answered(0)]);
    // A whole command at the end of what was captured, and bytes behind it.
    let mut first = array(&[b"SET", b"k", &[b'v'; 228]]);
    assert_eq!(first.len(), FRONT);
    first.extend(command("GET k").repeat(10));
    assert_eq!(
        run_cut(&[Write(&first)]),
        [asked("SET ? ..."), Finding::Missed]
    );
}

#[test]
fn after_a_loss_only_a_command_is_a_beginning() {
    let mget = many_keys();
    let (first, second) = mget.split_at(1500);
    let found = run_cut(&[
        Write(first),
        Write(second),
        Read(b"*1\r\n:1\r\n"),
        Write(&command("GET k")),
    ]);
    assert_eq!(found, [asked("MGET ..."), answered(1), asked("GET ?")]);
}

#[test]
fn lost_answers_are_given_when_the_client_writes_again() {
    let lost = [&b"*400\r\n"[..], &b"$1\r\na\r\n".repeat(400)].concat();
    let found = run_cut(&[
        Write(&commands(&["LRANGE l 0 -1", "GET a"])),
        Read(&lost),
        Read(b"$1\r\na\r\n"),
        Write(&command("GET b")),
        Read(b"-ERR\r\n"),
    ]);
    let expected = [
        asked("LRANGE ? ..."),
        asked("GET ?"),
        answered(400),
        answered(0),
        asked("GET ?"),
        failed("ERR"),
    ];
    assert_eq!(found, expected);
    let long = format!("-ERR {}\r\n", "x".repeat(500));
    let found = run_cut(&[
        Write(&command("GET a")),
        Read(long.as_bytes()),
        Write(&command("GET b")),
    ]);
    assert_eq!(found, [asked("GET ?"), failed("ERR"), asked("GET ?")]);
}

#[test]
fn replies_to_nothing_are_missed_operations() {
    let found = run(&[Read(b"+OK\r\n+OK\r\n")]);
    assert_eq!(found, [Finding::Missed]);
}

#[test]
fn hostile_lengths_end_it() {
    let get = command("GET k");
    for bytes in [
        "*1048577\r\n",
        "*-2\r\n",
        "*99999999999999999999\r\n",
        "*2\r\n$3\r\nGET\r\n$536870913\r\n",
        "*2\r\n$3\r\nGET\r\n$-1\r\n",
    ] {
        let mut ios = vec![Write(bytes.as_bytes())];
        ios.extend([Write(&get), Read(b"+OK\r\n")]);
        let found = run(&ios);
        let missed = found.iter().filter(|f| **f == Finding::Missed).count();
        assert_eq!((missed, shapes(&found).len() < 2), (1, true), "{bytes}");
    }
    for bytes in [
        "*1048577\r\n",
        "*-2\r\n",
        "%1048577\r\n",
        "$536870913\r\n",
        "$-2\r\n",
        "*9999999999999999999999\r\n",
    ] {
        let found = run(&[
            Write(&get),
            Read(bytes.as_bytes()),
            Write(&get),
            Write(&get),
        ]);
        let expected = [asked("GET ?"), Finding::Missed, answered(0)];
        assert_eq!(found, expected, "{bytes}");
    }
}

#[test]
fn garbage_is_lost_until_the_next_write() {
    let get = command("GET k");
    let found = run(&[
        Write(&get),
        Read(b"HTTP/1.1 400\r\n"),
        Write(&get),
        Read(b"_\r\n"),
    ]);
    assert_eq!(
        found,
        [asked("GET ?"), answered(0), asked("GET ?"), answered(0)]
    );
    let mut session = Redis.session();
    let mut found = Vec::new();
    feed(&mut *session, Write(b"\x16\x03\x01\x02\x00"), &mut found);
    feed(&mut *session, Write(b"*1\r\n+x\r\n"), &mut found);
    feed(&mut *session, Write(&get), &mut found);
    assert_eq!(found, [Finding::Missed, asked("GET ?")]);
}

#[test]
fn no_secret_gets_out_wherever_the_capture_is_cut() {
    let big = SECRET.repeat(40);
    let connections: Vec<Vec<u8>> = vec![
        command(&format!("SET {SECRET} {SECRET}")),
        command(&format!("AUTH {SECRET}")),
        command(&format!("HELLO 3 AUTH {SECRET} {SECRET}")),
        command(&format!("CONFIG SET {SECRET} {SECRET}")),
        command(&format!("CONFIG {SECRET} x")),
        command(&format!("CLIENT REPLY {SECRET}")),
        commands(&[&format!("SET k {big}"), &format!("MGET {big} {big}")]),
        format!("AUTH {SECRET}\r\nSET k {SECRET}\r\n").into_bytes(),
        format!("SET \"{SECRET}\r\n{SECRET}\" x\r\n{SECRET}\r\n").into_bytes(),
    ];
    let reply = format!(
        "*2\r\n${}\r\n{SECRET}\r\n+{SECRET}\r\n-{SECRET}\r\n",
        SECRET.len()
    );
    for bytes in &connections {
        for front in 0..=bytes.len() {
            for tail in [0, TAIL, bytes.len()] {
                let mut session = Redis.session();
                let mut found = Vec::new();
                session.written(cut(bytes, front, tail), &mut found);
                session.read(cut(reply.as_bytes(), front, tail), &mut found);
                session.written(whole(&bytes[front..]), &mut found);
                session.read(whole(reply.as_bytes()), &mut found);
                session.written(whole(&command("PING")), &mut found);
                let said = format!("{found:?}").to_ascii_lowercase();
                assert!(!said.contains(SECRET), "{front} {tail} {said}");
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
        const PIECES: [&[u8]; 12] = [
            b"*",
            b"$",
            b"3",
            b"\r\n",
            b"\r\n",
            b"GET",
            b"-",
            b">",
            b"+",
            b"SUBSCRIBE",
            b"|",
            b"%",
        ];
        let mut bytes = Vec::new();
        for _ in 0..self.below(40) {
            match PIECES.get(self.below(14)) {
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
        let mut session = RedisSession::default();
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
        assert!(asked <= 20 * 40 && others <= asked + 41, "{asked} {others}");
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
    let mut session = RedisSession::default();
    let mut found = Vec::new();
    // One kind, however many: a pipeline before its answers.
    for _ in 0..100_000 {
        session.written(whole(&command("GET k")), &mut found);
    }
    assert!(!found.contains(&Finding::Missed));
    session.read(whole(&b"+OK\r\n".repeat(100_000)), &mut found);
    assert_eq!(found.len(), 200_000);
    found.clear();
    for _ in 0..5000 {
        session.written(whole(&commands(&["GET k", "PING"])), &mut found);
    }
    // 4,096 runs are kept; then they are given up, and what comes is counted again.
    assert_eq!(found.iter().filter(|f| **f == Finding::Missed).count(), 2);
    let answers = found.iter().filter(|f| **f == answered(0)).count();
    assert_eq!(answers, 2 * 4096);
    assert!(shapes(&found).len() <= 10_000 - 2);
}

#[test]
fn after_a_gap_a_command_is_a_beginning() {
    let ios = [
        Write(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"),
        Write(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"),
        Read(b"$1\r\nv\r\n"),
    ];
    let mut session = Redis.session();
    let mut found = Vec::new();
    for io in ios {
        feed(&mut *session, io, &mut found);
    }
    session.gap(&mut found);
    let shape = &asked("GET ?");
    let before = [shape, shape, &answered(0), &answered(0), &Finding::Missed];
    assert!(found.iter().eq(before), "{found:?}");
    // The rest of a value and of an answer, then a command and its answer.
    found.clear();
    for io in [
        Write(b"rest of a value\r\n"),
        Read(b"rest of one\r\n"),
        Write(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"),
        Read(b"$1\r\nv\r\n"),
    ] {
        feed(&mut *session, io, &mut found);
    }
    assert_eq!(found, [shape.clone(), answered(0)]);
    // Within a command, and twice.
    found.clear();
    feed(&mut *session, Write(b"*2\r\n$3\r\nGE"), &mut found);
    session.gap(&mut found);
    session.gap(&mut found);
    feed(&mut *session, Write(b"T\r\n$1\r\nk\r\n"), &mut found);
    feed(
        &mut *session,
        Write(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"),
        &mut found,
    );
    feed(&mut *session, Read(b"$1\r\nv\r\n"), &mut found);
    let missed = Finding::Missed;
    assert_eq!(found, [missed.clone(), missed, shape.clone(), answered(0)]);
}
