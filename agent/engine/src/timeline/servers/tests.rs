//! What findings of sessions become: whose operation, from when to when.

use super::*;

const OWNER: Owner = (1, 1);

fn whole(bytes: &[u8]) -> Chunk<'_> {
    Chunk {
        front: bytes,
        tail: b"",
        len: bytes.len() as u64,
    }
}

/// Protocol, shape, begin, end, error of what was answered.
type Told = (&'static str, String, u64, u64, Option<String>);

struct Connection {
    servers: Servers,
    told: Vec<Told>,
}

impl Connection {
    fn new() -> Self {
        Self {
            servers: Servers::new(SessionOptions::default()),
            told: Vec::new(),
        }
    }

    fn server(&mut self) -> &mut Server {
        self.servers.of(7, 0, String::new).0
    }

    fn write(&mut self, now_ns: u64, bytes: &[u8]) -> Outcome {
        let outcome = self.server().written(Some(OWNER), whole(bytes), now_ns);
        self.tell(&outcome);
        outcome
    }

    fn read(&mut self, now_ns: u64, bytes: &[u8]) -> Outcome {
        let outcome = self.server().read(Some(OWNER), whole(bytes), now_ns);
        self.tell(&outcome);
        outcome
    }

    fn tell(&mut self, outcome: &Outcome) {
        let name = self.server().protocol().map_or("", |it| it.name());
        let told = outcome.answers.iter().map(|answer| {
            let shape = answer.operation.shape.to_string();
            let error = answer.error.clone();
            (name, shape, answer.begin_ns, answer.end_ns, error)
        });
        self.told.extend(told);
    }

    fn open(&mut self) -> Vec<(String, u64)> {
        let open = self.server().open_of(OWNER);
        open.map(|open| (open.shape.to_string(), open.end_ns(99)))
            .collect()
    }
}

fn told(protocol: &'static str, shape: &str, begin_ns: u64, end_ns: u64) -> Told {
    (protocol, shape.to_owned(), begin_ns, end_ns, None)
}

const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

#[test]
fn answers_in_another_order_have_their_own_times() {
    let query = |id: u8, kind: u8| {
        let mut bytes = vec![0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(b"\x02db\0\0");
        bytes.extend([kind, 0, 1]);
        bytes
    };
    let answer = |id: u8, kind: u8, code: u8| {
        let mut bytes = query(id, kind);
        bytes[2] = 0x81;
        bytes[3] = 0x80 | code;
        bytes
    };
    let mut connection = Connection::new();
    connection.write(10, &query(1, 1));
    connection.write(11, &query(2, 28));
    connection.read(30, &answer(2, 28, 0));
    connection.read(50, &answer(1, 1, 3));
    let mut failed = told("dns", "A db", 10, 50);
    failed.4 = Some("NXDOMAIN".to_owned());
    assert_eq!(connection.told, [told("dns", "AAAA db", 11, 30), failed]);
}

#[test]
fn an_answer_without_an_end_was_over_with_its_last_read() {
    let mut connection = Connection::new();
    connection.write(10, b"GET /a HTTP/1.0\r\n\r\n");
    connection.read(20, b"HTTP/1.0 500 No\r\n\r\nhello");
    connection.read(30, b"more");
    assert_eq!(connection.open(), [("GET /a".to_owned(), 30)]);
    connection.write(90, b"GET /b HTTP/1.0\r\n\r\n");
    let mut failed = told("http", "GET /a", 10, 30);
    failed.4 = Some("500".to_owned());
    assert_eq!(connection.told, [failed]);
    assert_eq!(connection.open(), [("GET /b".to_owned(), 99)]);
}

#[test]
fn what_is_open_ends_with_its_connection() {
    let mut connection = Connection::new();
    connection.write(10, b"GET /a HTTP/1.0\r\n\r\n");
    connection.read(20, b"HTTP/1.0 200 OK\r\n\r\nhello");
    let outcome = connection.server().lost(50);
    connection.tell(&outcome);
    assert_eq!(connection.told, [told("http", "GET /a", 10, 20)]);
    // Of these answers it is known that they go on.
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhe"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nConte",
    ] {
        let mut connection = Connection::new();
        connection.write(10, b"GET /a HTTP/1.1\r\n\r\n");
        connection.read(20, answer);
        let outcome = connection.server().lost(50);
        connection.tell(&outcome);
        let mut lost = told("http", "GET /a", 10, 50);
        lost.4 = Some("connection lost".to_owned());
        assert_eq!(connection.told, [lost]);
    }
    let mut connection = Connection::new();
    connection.write(10, b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n");
    let outcome = connection.server().lost(50);
    connection.tell(&outcome);
    let lost = |begin_ns| {
        let error = Some("connection lost".to_owned());
        ("redis", "PING".to_owned(), begin_ns, 50, error)
    };
    assert_eq!(connection.told, [lost(10), lost(50)]);
    assert!(connection.open().is_empty());
    // Where nothing was understood nothing is lost.
    assert!(Connection::new().server().lost(50).answers.is_empty());
}

#[test]
fn lines_in_capitals_are_inline_commands() {
    for (line, answer, protocol) in [
        (&b"GET k\r\n"[..], &b"$1\r\nv\r\n"[..], "redis"),
        (b"get k\r\n", b"END\r\n", "memcached"),
        (
            b"GET /k HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 204 No\r\n\r\n",
            "http",
        ),
    ] {
        let mut connection = Connection::new();
        connection.write(10, line);
        connection.read(20, answer);
        let told: Vec<_> = connection.told.iter().map(|told| told.0).collect();
        assert_eq!(told, [protocol]);
    }
}

#[test]
fn a_database_that_agrees_to_encrypt_is_tls() {
    let mut connection = Connection::new();
    connection.write(10, b"\x00\x00\x00\x08\x04\xd2\x16\x2f");
    let outcome = connection.read(20, b"S");
    assert!(!outcome.missed);
    assert!(connection.server().protocol().unwrap().is_opaque());
    connection.write(30, HELLO);
    connection.read(40, &[0; 9]);
    connection.write(50, b"\x17\x03\x03\x00\x20aaaa");
    assert_eq!(connection.told, [told("tls", "encrypted", 30, 40)]);
    assert_eq!(connection.open(), [("encrypted".to_owned(), 99)]);
}

#[test]
fn a_client_that_asks_mysql_to_encrypt_is_tls() {
    let mut connection = Connection::new();
    // Protocol 4.1 and SSL; the longest packet; a character set.
    let mut asks = b"\x20\x00\x00\x01\x00\x0a\x00\x00\x00\x00\x00\x01\x21".to_vec();
    asks.resize(4 + 32, 0);
    let outcome = connection.write(10, &asks);
    assert!(!outcome.missed);
    assert_eq!(connection.open(), []);
    connection.write(30, HELLO);
    connection.read(40, &[0; 9]);
    connection.write(50, b"\x17\x03\x03\x00\x20aaaa");
    assert_eq!(connection.told, [told("tls", "encrypted", 30, 40)]);
}

#[test]
fn a_tunnel_is_tls_from_its_first_write_on() {
    let mut connection = Connection::new();
    connection.write(10, b"CONNECT api:443 HTTP/1.1\r\n\r\n");
    connection.read(20, b"HTTP/1.1 200 Go on\r\n\r\n");
    connection.write(30, HELLO);
    connection.read(40, &[0; 9]);
    connection.write(50, b"\x17\x03\x03\x00\x20aaaa");
    assert_eq!(
        connection.told,
        [
            told("http", "CONNECT api:443", 10, 20),
            told("tls", "encrypted", 30, 40)
        ]
    );
}

#[test]
fn what_is_not_understood_is_looked_at_anew_later() {
    let mut connection = Connection::new();
    for n in 0..4 {
        let outcome = connection.write(n, b"\x01\x02garbage\xff");
        assert_eq!(outcome.uninteresting, n == 3);
    }
    assert!(!connection.write(5, b"*1\r\n$4\r\nPING\r\n").uninteresting);
    assert!(connection.open().is_empty(), "it is ignored");
    connection.servers.note_given_up(7, 1_000);
    assert_eq!(connection.servers.next_to_try(TRY_AGAIN_NS), None);
    let later = 1_000 + TRY_AGAIN_NS;
    assert_eq!(connection.servers.next_to_try(later), Some(7));
    assert_eq!(connection.servers.next_to_try(later), None);
    connection.server().gap(later);
    connection.write(later, b"*1\r\n$4\r\nPING\r\n");
    assert_eq!(connection.open(), [("PING".to_owned(), 99)]);
}

#[test]
fn open_operations_have_a_bound_over_all_connections() {
    let mut servers = Servers::new(SessionOptions::default());
    servers.note_open(0, OPEN);
    assert!(!servers.is_full());
    servers.note_open(0, 1);
    assert!(servers.is_full());
    servers.note_open(OPEN, 0);
    assert!(!servers.is_full());
}

/// Behind a statement that fails the server begins none.
#[test]
fn statements_of_one_text_are_told_when_they_begin() {
    let mut connection = Connection::new();
    connection.write(10, b"Q\0\0\0\x21select 1; select a; select b\0");
    assert_eq!(connection.open(), [("select ?".to_owned(), 99)]);
    let several = |connection: &mut Connection| -> Vec<bool> {
        let open = connection.server().open_of(OWNER);
        open.map(|it| it.several).collect()
    };
    assert_eq!(several(&mut connection), [true]);
    let done = b"C\0\0\0\x0dSELECT 1\0";
    let outcome = connection.read(20, done);
    assert!(outcome.answers[0].operation.waited_for);
    assert_eq!(connection.open(), [("select a".to_owned(), 99)]);
    assert_eq!(several(&mut connection), [true]);
    assert!(!outcome.answers[0].operation.several);
    // Behind them another request asks on the same connection.
    let other = Some((2, 2));
    let query = whole(b"Q\0\0\0\x0dselect c\0");
    connection.server().written(other, query, 30);
    let outcome = connection.read(40, b"E\0\0\0\x0cC42703\0\0Z\0\0\0\x05I");
    let operation = &outcome.answers[0].operation;
    assert_eq!(
        (operation.owner, operation.waited_for),
        (Some(OWNER), false)
    );
    let mut failed = told("postgresql", "select a", 20, 40);
    failed.4 = Some("42703".to_owned());
    let first = told("postgresql", "select ?", 10, 20);
    assert_eq!(connection.told, [first, failed]);
    assert_eq!(connection.open(), []);
    let outcome = connection.read(50, &[&done[..], b"Z\0\0\0\x05I"].concat());
    assert_eq!(outcome.answers[0].operation.owner, other);
}

#[test]
fn answers_that_came_together_and_were_read_in_part_are_marked() {
    let answers = b"$600\r\n".to_vec();
    let in_part = |len| Chunk {
        front: &answers,
        tail: b"\r\n:1\r\n",
        len,
    };
    let unseen = |outcome: &Outcome| -> Vec<bool> {
        let answers = outcome.answers.iter();
        answers.map(|it| it.operation.answer_unseen).collect()
    };
    // One alone: where it ends is what counts.
    let mut connection = Connection::new();
    connection.write(10, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    let read = Chunk {
        front: &answers,
        tail: b"\r\n",
        len: 608,
    };
    let outcome = connection.server().read(Some(OWNER), read, 20);
    assert_eq!(unseen(&outcome), [false]);
    // Several: those in the middle were not seen.
    connection.write(
        30,
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n",
    );
    let outcome = connection.server().read(Some(OWNER), in_part(612), 40);
    assert_eq!(unseen(&outcome), [true, true]);
    // The rest comes with the next read.
    let mut several = Connection::new();
    several.write(10, b"Q\0\0\0\x17select 1; select 2\0");
    let front = Chunk {
        front: b"T\0\0\x03\xe8",
        tail: b"",
        len: 1_200,
    };
    several.server().read(Some(OWNER), front, 20);
    let rest = several.read(30, b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I");
    assert_eq!(unseen(&rest), [true, true]);
    // What the server begins then is one of several.
    several.write(40, b"Q\0\0\0\x17select 1; select 2\0");
    let chunk = Chunk {
        front: b"C\0\0\0\x0dSELECT 1\0T\0\0\x03\xe8",
        tail: b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I",
        len: 1_038,
    };
    let together = several.server().read(Some(OWNER), chunk, 50);
    assert_eq!(unseen(&together), [true, true]);
    // What is asked later is answered whole.
    connection.write(50, b"*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n");
    assert_eq!(unseen(&connection.read(60, b":2\r\n")), [false]);
}

#[test]
fn a_beginning_in_pieces_is_put_together() {
    let mut connection = Connection::new();
    for (at, byte) in b"*1\r\n$4\r\nPING\r\n".iter().enumerate() {
        connection.write(10 + at as u64, &[*byte]);
    }
    connection.read(90, b"+PONG\r\n");
    assert_eq!(connection.told, [told("redis", "PING", 21, 90)]);
}

#[test]
fn pieces_that_were_answered_begin_nothing() {
    let mut connection = Connection::new();
    connection.write(10, b"*1\r\n");
    connection.read(11, b"?");
    connection.write(12, b"$4\r\nPING\r\n");
    assert!(connection.server().protocol().is_none());
    let outcomes = [13, 14, 15].map(|now| {
        connection
            .write(now, b"{\"what\": \"is it\"}\n")
            .uninteresting
    });
    assert_eq!(outcomes, [false, false, true]);
}

#[test]
fn the_front_of_a_statement_counts_for_it() {
    let mut connection = Connection::new();
    let mut query = b"Q\0\0\x08\x00select '".to_vec();
    query.resize(2048, b'x');
    query.extend(b"\0");
    query[1..5].copy_from_slice(&2048_u32.to_be_bytes());
    for piece in query.chunks(512) {
        connection.write(10, piece);
    }
    let bytes: u64 = connection.server().open_of(OWNER).map(|o| o.bytes).sum();
    assert_eq!(bytes, 2049);
}

#[test]
fn what_was_answered_unseen_was_over_then() {
    let mut connection = Connection::new();
    let ping = b"*1\r\n$4\r\nPING\r\n".repeat(3);
    connection.write(10, &ping);
    let front = b"$2\r\n".to_vec();
    let read = Chunk {
        front: &front,
        tail: b"",
        len: 9_000,
    };
    connection.server().read(Some(OWNER), read, 20);
    let server = connection.server();
    let over: Vec<u64> = server
        .open_of(OWNER)
        .map(|open| server.over_ns(open, 90))
        .collect();
    assert!(!over.is_empty());
    assert!(over.iter().all(|ns| *ns == 20), "{over:?}");
}
