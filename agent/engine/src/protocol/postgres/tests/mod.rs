//! Sessions over bytes that servers and clients would send. What is captured in part is in `partial`.

mod extended;
mod gap;
mod hostile;
mod partial;
mod recognise;
mod several;

use super::super::client::{Chunk, Finding, Session};
use super::*;

/// Who sent a transfer, and what.
#[derive(Clone, Debug)]
enum Sent {
    Client(Vec<u8>),
    Server(Vec<u8>),
}
use Sent::{Client, Server};

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn startup_packet(code: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32 + 8).to_be_bytes().to_vec();
    bytes.extend(code.to_be_bytes());
    bytes.extend(body);
    bytes
}

fn startup() -> Vec<u8> {
    startup_packet(3 << 16, b"user\0u\0database\0d\0\0")
}

fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0").as_bytes())
}

fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

/// A Bind with one value of so many bytes.
fn bind_value(portal: &str, name: &str, value: usize) -> Vec<u8> {
    let mut body = format!("{portal}\0{name}\0").into_bytes();
    body.extend([0, 0, 0, 1]);
    body.extend((value as u32).to_be_bytes());
    body.extend(std::iter::repeat_n(b'v', value));
    body.extend([0, 0]);
    message(b'B', &body)
}

fn bind(portal: &str, name: &str) -> Vec<u8> {
    bind_value(portal, name, 3)
}

fn describe(what: char, name: &str) -> Vec<u8> {
    message(b'D', format!("{what}{name}\0").as_bytes())
}

fn close(what: char, name: &str) -> Vec<u8> {
    message(b'C', format!("{what}{name}\0").as_bytes())
}

fn execute(portal: &str) -> Vec<u8> {
    message(b'E', format!("{portal}\0\0\0\0\0").as_bytes())
}

fn sync() -> Vec<u8> {
    message(b'S', b"")
}

/// Parse, Bind, Describe, Execute without names.
fn run(sql: &str) -> Vec<u8> {
    [parse("", sql), bind("", ""), describe('P', ""), execute("")].concat()
}

/// Answers to those of `run`.
fn ran(tag: &str) -> Vec<u8> {
    [
        message(b'1', b""),
        message(b'2', b""),
        message(
            b'T',
            b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0",
        ),
        done(tag),
    ]
    .concat()
}

fn done(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

fn row(value: &str) -> Vec<u8> {
    let mut body = vec![0, 1];
    body.extend((value.len() as u32).to_be_bytes());
    body.extend(value.as_bytes());
    message(b'D', &body)
}

fn error(code: &str) -> Vec<u8> {
    let fields = format!("SERROR\0VERROR\0C{code}\0Mthe message\0Fparse.c\0L1\0Rraise_it\0\0");
    message(b'E', fields.as_bytes())
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

fn asked(shape: &str) -> Finding {
    Finding::Asked {
        shape: shape.to_owned(),
    }
}

fn begun(shape: &str) -> Finding {
    Finding::Begun {
        shape: shape.to_owned(),
    }
}

fn rows(rows: u64) -> Finding {
    Finding::Answered { rows, error: None }
}

fn failed(code: &str) -> Finding {
    Finding::Answered {
        rows: 0,
        error: Some(code.to_owned()),
    }
}

/// A transfer that was captured whole.
fn transfer(session: &mut dyn Session, sent: &Sent, found: &mut Vec<Finding>) {
    let (Client(bytes) | Server(bytes)) = sent;
    let chunk = Chunk {
        front: bytes,
        tail: b"",
        len: bytes.len() as u64,
    };
    match sent {
        Client(_) => session.written(chunk, found),
        Server(_) => session.read(chunk, found),
    }
    // What comes of that is seen where it is taken.
    found.retain(|it| *it != Finding::Several);
}

fn findings(transfers: &[Sent]) -> Vec<Finding> {
    let mut session = Postgres.session();
    let mut found = Vec::new();
    for sent in transfers {
        transfer(&mut *session, sent, &mut found);
    }
    found
}

/// Checks the findings, and that they are the same wherever one of the transfers is split.
fn check(transfers: &[Sent], expected: &[Finding]) {
    assert_eq!(findings(transfers), expected);
    for (index, sent) in transfers.iter().enumerate() {
        let (Client(bytes) | Server(bytes)) = sent;
        for at in 0..=bytes.len() {
            let (front, rest) = bytes.split_at(at);
            let halves = match sent {
                Client(_) => [Client(front.to_vec()), Client(rest.to_vec())],
                Server(_) => [Server(front.to_vec()), Server(rest.to_vec())],
            };
            let mut split = transfers.to_vec();
            split.splice(index..=index, halves);
            assert_eq!(findings(&split), expected, "transfer {index} split at {at}");
        }
    }
    let bytewise: Vec<_> = transfers
        .iter()
        .flat_map(|sent| match sent {
            Client(bytes) => bytes.iter().map(|b| Client(vec![*b])).collect::<Vec<_>>(),
            Server(bytes) => bytes.iter().map(|b| Server(vec![*b])).collect(),
        })
        .collect();
    assert_eq!(findings(&bytewise), expected, "byte by byte");
}

#[test]
fn a_connection_from_its_start() {
    let authentication = [
        message(b'R', &[0, 0, 0, 10, b'S', b'C', 0, 0]),
        message(b'S', b"server_version\x0018.1\0"),
        message(b'K', &[0; 8]),
        ready(),
    ];
    check(
        &[
            Client(startup()),
            Server(authentication[0].clone()),
            Client(message(b'p', b"the password\0")),
            Server(authentication[1..].concat()),
            Client(query("SELECT a FROM t WHERE b = 'x'")),
            Server([row("1"), row("2"), done("SELECT 2"), ready()].concat()),
            Client(message(b'X', b"")),
        ],
        &[asked("SELECT a FROM t WHERE b = ?"), rows(2)],
    );
}

#[test]
fn encryption_is_asked_for() {
    let asks = || Client(startup_packet(80_877_103, b""));
    let query = [
        Client(query("select 1")),
        Server([done("SELECT 1"), ready()].concat()),
    ];
    let refused = [
        Client(startup_packet(80_877_104, b"")),
        Server(b"N".to_vec()),
        asks(),
        Server(b"N".to_vec()),
        Client(startup()),
        Server(ready()),
    ];
    check(
        &[&refused[..], &query].concat(),
        &[asked("select ?"), rows(1)],
    );
    let encrypted = [
        asks(),
        Server(b"S".to_vec()),
        Client(b"\x16\x03\x01\x02\0".to_vec()),
    ];
    check(&[&encrypted[..], &query].concat(), &[Finding::Encrypted]);
    let gss = [
        Client(startup_packet(80_877_104, b"")),
        Server(b"G".to_vec()),
    ];
    check(&[&gss[..], &query].concat(), &[Finding::Missed]);
    check(&[Client(startup_packet(80_877_102, &[1; 8]))], &[]);
}

#[test]
fn rows_of_tags() {
    for (tag, count) in [
        ("SELECT 37", 37),
        ("INSERT 0 5", 5),
        ("UPDATE 3", 3),
        ("COPY 12", 12),
        ("FETCH 0", 0),
        ("CREATE TABLE", 0),
        ("BEGIN", 0),
        ("SELECT 99999999999999999999999", 0),
        ("", 0),
    ] {
        check(
            &[Client(query("a")), Server([done(tag), ready()].concat())],
            &[asked("a"), rows(count)],
        );
    }
}

#[test]
fn an_empty_query_is_answered() {
    for sql in ["", ";", "-- ping"] {
        check(
            &[
                Client(query(sql)),
                Server([message(b'I', b""), ready()].concat()),
            ],
            &[asked(EMPTY), rows(0)],
        );
    }
    check(
        &[
            Client([run(""), sync()].concat()),
            Server(
                [
                    message(b'1', b""),
                    message(b'2', b""),
                    message(b'I', b""),
                    ready(),
                ]
                .concat(),
            ),
        ],
        &[asked(EMPTY), rows(0)],
    );
}

#[test]
fn notices_and_notifications_answer_nothing() {
    let aside = [
        message(b'N', b"SNOTICE\0C00000\0Mx\0\0"),
        message(b'A', b"\0\0\0\x01channel\0payload\0"),
        message(b'S', b"TimeZone\0UTC\0"),
    ]
    .concat();
    check(
        &[
            Server(aside.clone()),
            Client(query("notify a")),
            Server([aside.clone(), done("NOTIFY"), aside.clone(), ready()].concat()),
            Server(aside),
        ],
        &[asked("notify a"), rows(0)],
    );
}

#[test]
fn backslashes_as_the_server_says() {
    let setting = |value: &str| {
        let body = format!("standard_conforming_strings\0{value}\0");
        Server(message(b'S', body.as_bytes()))
    };
    check(
        &[
            setting("off"),
            Client(query("select 'a\\'secret', b")),
            setting("on"),
            Client(query("select 'a\\', b")),
        ],
        &[asked("select ?, b"), asked("select ?, b")],
    );
}

#[test]
fn errors_without_a_code() {
    for fields in [
        &b"\0"[..],
        b"SERROR\0\0",
        b"C4260\0\0",
        b"C42\x0001\0\0",
        b"Cdr'op\0\0",
    ] {
        check(
            &[
                Client(query("a")),
                Server([message(b'E', fields), ready()].concat()),
            ],
            &[asked("a"), failed(UNKNOWN_ERROR)],
        );
    }
}

#[test]
fn answers_to_what_was_not_seen_are_missed_operations() {
    check(
        &[
            Server([done("SELECT 1"), ready()].concat()),
            Client(query("a")),
            Server([done("SELECT 1"), ready()].concat()),
        ],
        &[Finding::Missed, asked("a"), rows(1)],
    );
    // An error is not: the server may say goodbye.
    check(&[Server(error("57P01"))], &[]);
}
