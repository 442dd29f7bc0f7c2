//! Sessions over bytes that servers and clients would send. What is captured in part is in `partial`.

mod commands;
mod hostile;
mod partial;
mod recognised;

use super::super::client::{Chunk, Finding, Session};
use super::*;

/// Who sent a transfer, and what.
#[derive(Clone, Debug)]
enum Sent {
    Client(Vec<u8>),
    Server(Vec<u8>),
}
use Sent::{Client, Server};

/// Autocommit is on.
const STATUS: u16 = 2;
const MORE: u16 = 8;
const CURSOR: u16 = 0x40;
const NO_BACKSLASH: u16 = 0x200;

fn packet(number: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32).to_le_bytes()[..3].to_vec();
    bytes.push(number);
    bytes.extend(body);
    bytes
}

/// Packets numbered from `first` on.
fn packets(first: u8, bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut number = first;
    let mut bytes = Vec::new();
    for body in bodies {
        bytes.extend(packet(number, body));
        number = number.wrapping_add(1);
    }
    bytes
}

fn command(kind: u8, rest: &[u8]) -> Vec<u8> {
    packet(0, &[&[kind], rest].concat())
}

fn query(sql: &str) -> Vec<u8> {
    command(command::QUERY, sql.as_bytes())
}

fn prepare(sql: &str) -> Vec<u8> {
    command(command::STMT_PREPARE, sql.as_bytes())
}

fn execute(statement: u32, cursor: u8) -> Vec<u8> {
    let mut rest = statement.to_le_bytes().to_vec();
    rest.extend([cursor, 1, 0, 0, 0]);
    rest.extend(b"\x00\x01\xfd\x00\x06secret");
    command(command::STMT_EXECUTE, &rest)
}

fn about(kind: u8, statement: u32) -> Vec<u8> {
    command(kind, &statement.to_le_bytes())
}

/// A login with a name and what proves it.
fn login(flags: u32) -> Vec<u8> {
    let mut body = (flags | 0x0200).to_le_bytes().to_vec();
    body.extend(0x0100_0000_u32.to_le_bytes());
    body.push(45);
    body.extend([0; 23]);
    body.extend(b"user\0\x14secret secret secret!database\0");
    packet(1, &body)
}

fn ok_body(rows: u8, status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    vec![0, rows, 0, low, high, 0, 0]
}

fn eof_body(status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    vec![0xfe, 0, 0, low, high]
}

fn ok_instead_of_eof(status: u16) -> Vec<u8> {
    let mut body = ok_body(0, status);
    body[0] = 0xfe;
    body
}

fn error_body(code: u16) -> Vec<u8> {
    let mut body = vec![0xff];
    body.extend(code.to_le_bytes());
    body.extend(b"#42S02Table 'secret' doesn't exist");
    body
}

fn column_body() -> Vec<u8> {
    b"\x03def\x01d\x01t\x01t\x01a\x01a\x0c\x2d\0\x0b\0\0\0\xfd\0\0\0\0\0".to_vec()
}

fn row_body(value: &str) -> Vec<u8> {
    let mut body = vec![value.len() as u8];
    body.extend(value.as_bytes());
    body.extend(b"\x01x");
    body
}

/// A result set of two columns.
fn set_bodies(rows: usize, status: u16, deprecates_eof: bool) -> Vec<Vec<u8>> {
    let mut bodies = vec![vec![2], column_body(), column_body()];
    if !deprecates_eof {
        bodies.push(eof_body(STATUS));
    }
    bodies.extend(vec![row_body("value"); rows]);
    bodies.push(if deprecates_eof {
        ok_instead_of_eof(status)
    } else {
        eof_body(status)
    });
    bodies
}

fn set(rows: usize) -> Vec<u8> {
    packets(1, &set_bodies(rows, STATUS, false))
}

fn ok(rows: u8) -> Vec<u8> {
    packet(1, &ok_body(rows, STATUS))
}

/// The answer to a PREPARE.
fn prepared(statement: u32, parameters: u16, columns: u16, deprecates_eof: bool) -> Vec<u8> {
    let mut body = vec![0];
    body.extend(statement.to_le_bytes());
    body.extend(columns.to_le_bytes());
    body.extend(parameters.to_le_bytes());
    body.extend([0, 0, 0]);
    let mut bodies = vec![body];
    for count in [parameters, columns] {
        bodies.extend(vec![column_body(); usize::from(count)]);
        if count > 0 && !deprecates_eof {
            bodies.push(eof_body(STATUS));
        }
    }
    packets(1, &bodies)
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
    let mut session = Mysql.session();
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
    check(
        &[
            Client(login(0)),
            // Another way to prove it, a question, an answer with the password, and a welcome.
            Server(packet(2, b"\xfecaching_sha2_password\0salt")),
            Client(packet(3, b"secret password\0")),
            Server(packet(4, b"\x01\x04")),
            Client(packet(5, b"\x03select secret\0")),
            Server(packet(6, &ok_body(0, STATUS))),
            Client(query("SELECT a FROM t WHERE b = 'it\\'s secret'")),
            Server(set(2)),
            Client(command(command::QUIT, b"")),
        ],
        &[asked("SELECT a FROM t WHERE b = ?"), rows(2)],
    );
    let denied = packet(2, b"\xff\x15\x04#28000Access denied");
    check(&[Client(login(0)), Server(denied)], &[]);
    assert_eq!(
        findings(&[Server(packet(0, b"\xff\xc7\x0f#08S01too long idle"))]),
        []
    );
}

#[test]
fn encryption_and_compression() {
    let next = [Client(query("select 1")), Server(set(1))];
    let mut ssl = (0x0200 | recognise::SSL).to_le_bytes().to_vec();
    ssl.extend([0; 28]);
    let encrypted = [
        Client(packet(1, &ssl)),
        Client(b"\x16\x03\x01\x02\0".to_vec()),
    ];
    check(&[&encrypted[..], &next].concat(), &[Finding::Encrypted]);
    for flag in [1 << 5, 1 << 26] {
        let start = [Client(login(flag)), Server(packet(2, &ok_body(0, STATUS)))];
        let compressed = [
            Client(b"\x0d\0\0\0\0\0\0\x09\0\0\0\x03select 1".to_vec()),
            Server(b"\x0b\0\0\x01\0\0\0\x07\0\0\x01\0\0\0\x02\0\0\0".to_vec()),
        ];
        assert_eq!(
            findings(&[&start[..], &compressed, &compressed].concat()),
            [Finding::Missed]
        );
        // The server does not.
        assert_eq!(
            findings(&[&start[..], &next].concat()),
            [asked("select ?"), rows(1)]
        );
    }
}

#[test]
fn rows_of_results() {
    for deprecates_eof in [false, true] {
        for count in [0, 1, 3, 300] {
            let bodies = set_bodies(count, STATUS, deprecates_eof);
            let transfers = [Client(query("select a")), Server(packets(1, &bodies))];
            let expected = [asked("select a"), rows(count as u64)];
            if count < 300 {
                check(&transfers, &expected);
            } else {
                assert_eq!(findings(&transfers), expected);
            }
        }
    }
    // NULL, an empty text, and one of the length that an EOF packet has.
    let values = [b"\xfb".to_vec(), vec![0], b"\x04abcd".to_vec()];
    let bodies = [
        &[vec![1], column_body(), eof_body(STATUS)][..],
        &values,
        &[eof_body(STATUS)],
    ]
    .concat();
    check(
        &[Client(query("a")), Server(packets(1, &bodies))],
        &[asked("a"), rows(3)],
    );
    check(
        &[Client(query("update t set a = 1")), Server(ok(7))],
        &[asked("update t set a = ?"), rows(7)],
    );
}

#[test]
fn columns_that_are_known_already() {
    // MySQL's way and MariaDB's, with and without definitions.
    for (first, definitions) in [
        ([1, 2], true),
        ([2, 1], true),
        ([0, 2], false),
        ([2, 0], false),
    ] {
        for eof in [false, true] {
            let mut bodies = vec![first.to_vec()];
            if definitions {
                bodies.extend([column_body(), column_body()]);
            }
            bodies.extend(eof.then(|| eof_body(STATUS)));
            bodies.push(row_body("value"));
            bodies.push(if eof {
                eof_body(STATUS)
            } else {
                ok_instead_of_eof(STATUS)
            });
            check(
                &[Client(query("a")), Server(packets(1, &bodies))],
                &[asked("a"), rows(1)],
            );
        }
    }
}

#[test]
fn errors() {
    check(
        &[
            Client(query("select 'secret' from nowhere")),
            Server(packet(1, &error_body(1146))),
            Client(query("b")),
            Server(packets(
                1,
                &[
                    vec![1],
                    column_body(),
                    eof_body(STATUS),
                    row_body("x"),
                    error_body(1317),
                ],
            )),
        ],
        &[
            asked("select ? from nowhere"),
            failed("1146"),
            asked("b"),
            failed("1317"),
        ],
    );
    // MariaDB's report of progress ends nothing.
    check(
        &[
            Client(query("alter table t engine = innodb")),
            Server(packet(1, b"\xff\xff\xff\x01\x01\x02\x00\x00\x00\x05stage")),
            Server(packet(2, &ok_body(0, STATUS))),
        ],
        &[asked("alter table t engine = innodb"), rows(0)],
    );
}

#[test]
fn several_statements() {
    let results = [ok_body(4, STATUS | MORE), ok_body(0, STATUS | MORE)];
    let bodies = [&results[..], &set_bodies(2, STATUS, false)].concat();
    check(
        &[
            Client(query(
                "insert into t values (1, ';'), (2, 'b'); set @a = 1; select a from t;",
            )),
            Server(packets(1, &bodies)),
        ],
        &[
            asked("insert into t values (...)"),
            rows(4),
            begun("set @a = ?"),
            rows(0),
            begun("select a from t"),
            rows(2),
        ],
    );
    // The server stops at an error, or takes the whole for one that it does not understand.
    let bodies = [set_bodies(1, STATUS | MORE, true), vec![error_body(1064)]].concat();
    check(
        &[
            Client(query("select 1; selec; select 3")),
            Server(packets(1, &bodies)),
        ],
        &[asked("select ?"), rows(1), begun("selec"), failed("1064")],
    );
    check(
        &[
            Client(query("select 1; select 2")),
            Server(packet(1, &error_body(1064))),
        ],
        &[asked("select ?"), failed("1064")],
    );
    // MariaDB answers an empty one at the end.
    let bodies = [
        set_bodies(1, STATUS | MORE, false),
        vec![ok_body(0, STATUS)],
    ]
    .concat();
    check(
        &[
            Client(query("select 1; -- secret")),
            Server(packets(1, &bodies)),
        ],
        &[asked("select ?"), rows(1)],
    );
}

#[test]
fn procedures() {
    let call = |end: u16| {
        [
            set_bodies(1, STATUS | MORE, false),
            set_bodies(2, STATUS | MORE, false),
            vec![ok_body(0, end)],
        ]
        .concat()
    };
    check(
        &[
            Client(query("call p('secret')")),
            Server(packets(1, &call(STATUS))),
        ],
        &[asked("call p(?)"), rows(3)],
    );
    let bodies = [call(STATUS | MORE), set_bodies(1, STATUS, false)].concat();
    check(
        &[
            Client(query("CALL p(1); select 1")),
            Server(packets(1, &bodies)),
        ],
        &[asked("CALL p(?)"), rows(3), begun("select ?"), rows(1)],
    );
    check(
        &[
            Client(prepare("call p(?)")),
            Server(prepared(1, 1, 0, false)),
            Client(execute(1, 0)),
            Server(packets(1, &call(STATUS))),
        ],
        &[asked("call p(?)"), rows(3)],
    );
}

#[test]
fn empty_statements() {
    for sql in ["", ";", "-- ping", "/* secret */"] {
        check(
            &[Client(query(sql)), Server(packet(1, &error_body(1065)))],
            &[asked(EMPTY), failed("1065")],
        );
    }
}

#[test]
fn backslashes_as_the_server_says() {
    let say = |status: u16| {
        [
            Client(command(command::PING, b"")),
            Server(packet(1, &ok_body(0, status))),
        ]
    };
    let run = |sql: &str| [Client(query(sql)), Server(ok(0))];
    let escaped = "select 'a\\'secret', b";
    let plain = "select 'a\\', b, 'secret'";
    check(
        &[&say(STATUS)[..], &run(escaped)].concat(),
        &[asked("select ?, b"), rows(0)],
    );
    check(
        &[&say(STATUS | NO_BACKSLASH)[..], &run(plain)].concat(),
        &[asked("select ?, b, ?"), rows(0)],
    );
    // Not known, or about to change: nothing is told behind the first backslash.
    for sql in [escaped, plain] {
        check(&run(sql), &[asked("select ..."), rows(0)]);
        let pipelined = [
            &say(STATUS)[..],
            &[Client(query("set sql_mode = 'x'")), Client(query(sql))],
        ]
        .concat();
        check(
            &pipelined,
            &[asked("set sql_mode = ?"), asked("select ...")],
        );
        let changes = format!("set SQL_Mode = 'x'; {sql}");
        check(
            &[&say(STATUS)[..], &run(&changes)].concat(),
            &[asked("set SQL_Mode = ?"), rows(0)],
        );
    }
}
