//! Prepared statements, files, and the commands that are no operations.

use super::*;

#[test]
fn prepared_statements() {
    for deprecates_eof in [false, true] {
        for (parameters, columns) in [(2, 2), (0, 2), (2, 0), (0, 0)] {
            check(
                &[
                    Client(prepare("select a, 'secret' from t where b = ?")),
                    Server(prepared(7, parameters, columns, deprecates_eof)),
                    Client(execute(7, 0)),
                    Server(packets(1, &set_bodies(2, STATUS, deprecates_eof))),
                    Client(about(command::STMT_RESET, 7)),
                    Server(ok(0)),
                    Client(command(
                        command::STMT_SEND_LONG_DATA,
                        b"\x07\0\0\0\0\0secret",
                    )),
                    Client(execute(7, 0)),
                    Server(packet(1, &error_body(1213))),
                    Client(about(command::STMT_CLOSE, 7)),
                    Client(execute(7, 0)),
                    Server(packet(1, &error_body(1243))),
                ],
                &[
                    asked("select a, ? from t where b = ?"),
                    rows(2),
                    asked("select a, ? from t where b = ?"),
                    failed("1213"),
                    asked(UNKNOWN),
                    failed("1243"),
                ],
            );
        }
    }
}

#[test]
fn prepared_earlier() {
    check(
        &[Client(execute(3, 0)), Server(set(1))],
        &[asked(UNKNOWN), rows(1)],
    );
    // Both make the server forget.
    for forget in [command::RESET_CONNECTION, command::CHANGE_USER] {
        check(
            &[
                Client(prepare("select ?")),
                Server(prepared(1, 1, 1, false)),
                Client(command(forget, b"")),
                Server(ok(0)),
                Client(execute(1, 0)),
                Server(packet(1, &error_body(1243))),
            ],
            &[asked(UNKNOWN), failed("1243")],
        );
    }
}

#[test]
fn a_statement_that_cannot_be_prepared() {
    check(
        &[
            Client(prepare("selec")),
            Server(packet(1, &error_body(1064))),
            Client(query("select 1")),
            Server(set(1)),
        ],
        &[asked("select ?"), rows(1)],
    );
}

#[test]
fn definitions_that_are_not_sent() {
    // MySQL says so in a byte behind the rest.
    let mut body = b"\0\x05\0\0\0\x02\0\x01\0\0\0\0".to_vec();
    body.push(0);
    check(
        &[
            Client(prepare("select ?")),
            Server(packet(1, &body)),
            Client(execute(5, 0)),
            Server(set(1)),
        ],
        &[asked("select ?"), rows(1)],
    );
}

#[test]
fn cursors() {
    let fetch = || {
        let mut rest = 1_u32.to_le_bytes().to_vec();
        rest.extend(2_u32.to_le_bytes());
        Client(command(command::STMT_FETCH, &rest))
    };
    for deprecates_eof in [false, true] {
        let mut bodies = set_bodies(0, STATUS | CURSOR, deprecates_eof);
        if !deprecates_eof {
            // The EOF packet behind the columns is the last.
            bodies.truncate(3);
            bodies.push(eof_body(STATUS | CURSOR));
        }
        let end = if deprecates_eof {
            ok_instead_of_eof(STATUS | CURSOR)
        } else {
            eof_body(STATUS | CURSOR)
        };
        let batch = packets(1, &[row_body("a"), row_body("b"), end]);
        check(
            &[
                Client(prepare("select a from t")),
                Server(prepared(1, 0, 2, deprecates_eof)),
                Client(execute(1, 1)),
                Server(packets(1, &bodies)),
                fetch(),
                Server(batch.clone()),
                fetch(),
                Server(batch),
            ],
            &[
                asked("select a from t"),
                rows(0),
                asked("fetch: select a from t"),
                rows(2),
                asked("fetch: select a from t"),
                rows(2),
            ],
        );
    }
}

#[test]
fn shapes_of_cursors_are_bounded() {
    let sql = format!("select {}", "é, ".repeat(400));
    let found = findings(&[
        Client(prepare(&sql)),
        Server(prepared(1, 0, 1, false)),
        Client(command(command::STMT_FETCH, &[1, 0, 0, 0, 1, 0, 0, 0])),
    ]);
    let [Finding::Asked { shape }] = &found[..] else {
        panic!("{found:?}");
    };
    let limit = super::super::super::client::SHAPE_LIMIT;
    assert!(shape.len() <= limit && shape.len() > limit - 8, "{shape}");
    assert!(
        shape.starts_with("fetch: select é") && shape.ends_with("..."),
        "{shape}"
    );
}

#[test]
fn mariadb_pipelines_and_executes_in_bulk() {
    let mut bulk = about(command::STMT_BULK_EXECUTE, 9);
    bulk.extend([0x80, 0, 3, 0, 0, 6]);
    bulk[0] += 6;
    bulk.extend(b"secret");
    bulk[0] += 6;
    check(
        &[
            Client(prepare("insert into t values (?)")),
            Server(prepared(9, 1, 0, true)),
            Client(bulk),
            Server(ok(3)),
        ],
        &[asked("insert into t values (...)"), rows(3)],
    );
    // Prepared and executed without waiting, the statement by no number.
    check(
        &[
            Client(
                [
                    prepare("select a from t"),
                    execute(command::LAST_PREPARED, 0),
                ]
                .concat(),
            ),
            Server([prepared(2, 0, 2, false), set(3)].concat()),
            Client([query("select 1"), query("select b")].concat()),
            Server([set(1), set(2)].concat()),
        ],
        &[
            asked("select a from t"),
            rows(3),
            asked("select ?"),
            asked("select b"),
            rows(1),
            rows(2),
        ],
    );
}

#[test]
fn attributes_before_a_query() {
    let none = [&b"\x00\x01"[..], b"select 'secret' as a"].concat();
    check(
        &[Client(command(command::QUERY, &none)), Server(set(1))],
        &[asked("select ? as a"), rows(1)],
    );
    // Two of them: a text, a number, and one that is null.
    let attributes =
        b"\x03\x01\x04\x01\xfd\x00\x05trace\x08\x00\x01n\xfe\x00\x00\x06secret\x01\0\0\0\0\0\0\0";
    let some = [&attributes[..], b"select 'secret' as a"].concat();
    check(
        &[Client(command(command::QUERY, &some)), Server(set(1))],
        &[asked("select ? as a"), rows(1)],
    );
    for cut in 2..attributes.len() {
        let found = findings(&[Client(command(command::QUERY, &some[..cut]))]);
        let text = format!("{found:?}");
        assert!(
            found.len() == 1 && !text.contains("secret"),
            "{cut}: {text}"
        );
    }
}

#[test]
fn files() {
    let load = "load data local infile '/secret' into table t";
    let request = || Server(packet(1, b"\xfb/secret"));
    // Its packets are numbered on, and what looks like a command is none.
    let file = |parts: u16| {
        let mut bytes = Vec::new();
        for part in 0..parts {
            bytes.extend(packet((part + 2) as u8, b"\x03select secret\n"));
        }
        bytes.extend(packet((parts + 2) as u8, b""));
        bytes
    };
    for parts in [0, 1, 3, 600] {
        let answer = packet((parts + 3) as u8, &ok_body(5, STATUS));
        let transfers = [
            Client(query(load)),
            request(),
            Client(file(parts)),
            Server(answer),
            Client(query("select 1")),
            Server(set(1)),
        ];
        let expected = [
            asked("load data local infile ? into table t"),
            rows(5),
            asked("select ?"),
            rows(1),
        ];
        if parts < 600 {
            check(&transfers, &expected);
        } else {
            assert_eq!(findings(&transfers), expected);
        }
    }
}

#[test]
fn commands_that_are_no_operations() {
    check(
        &[
            Client(command(command::PING, b"")),
            Server(ok(0)),
            Client(command(command::INIT_DB, b"shop")),
            Server(ok(0)),
            Client(command(command::STATISTICS, b"")),
            Server(packet(1, b"Uptime: 3  Threads: 1")),
            Client(command(command::SET_OPTION, b"\0\0")),
            Server(packet(1, &eof_body(STATUS))),
            Client(command(command::FIELD_LIST, b"t\0%")),
            Server(packets(
                1,
                &[column_body(), column_body(), eof_body(STATUS)],
            )),
            Client(command(command::PROCESS_INFO, b"")),
            Server(set(2)),
            Client(command(command::CHANGE_USER, b"u\0\x06secretd\0")),
            Server(packet(1, b"\xfemysql_native_password\0salt")),
            Client(packet(2, b"secret")),
            Server(packet(3, &ok_body(0, STATUS))),
            Client(query("select 1")),
            Server(set(1)),
        ],
        &[asked("select ?"), rows(1)],
    );
}

#[test]
fn replicas_are_left_alone() {
    let dump = command(0x12, b"\x04\0\0\0\0\0\x01\0\0\0binlog.000001");
    check(
        &[
            Client(dump),
            Server(packet(1, b"\0event")),
            Client(query("select 1")),
        ],
        &[Finding::Missed],
    );
}

#[test]
fn packets_of_more_than_16_mib() {
    let mut sql = b"\x03insert into t values ('".to_vec();
    sql.resize(0xff_ffff, b'x');
    let rest = b"'), ('secret')";
    let mut value = vec![0xfd, 0xff, 0xff, 0xff];
    value.resize(0xff_ffff, b'x');
    let mut answer = packets(1 + 1, &[vec![1], column_body(), eof_body(STATUS), value]);
    // The rest of a value that ends where a part does.
    answer.extend(packet(6, b""));
    answer.extend(packet(7, &row_body("x")));
    answer.extend(packet(8, &eof_body(STATUS)));
    let transfers = [
        Client([packet(0, &sql), packet(1, rest)].concat()),
        Server(answer),
        Client(query("select 1")),
        Server(set(1)),
    ];
    assert_eq!(
        findings(&transfers),
        [
            asked("insert into t values (..."),
            rows(2),
            asked("select ?"),
            rows(1)
        ]
    );
}
#[test]
fn literals_where_the_user_wants_them() {
    let mut session = Mysql.session_with(SessionOptions {
        show_literals: true,
    });
    let mut found = Vec::new();
    for sent in [
        Client(query("select 'a' ; select 2;")),
        Server(packets(
            1,
            &[
                set_bodies(1, STATUS | MORE, false),
                set_bodies(1, STATUS, false),
            ]
            .concat(),
        )),
        Client(prepare("select ?, 'b'")),
        Server(prepared(1, 1, 2, false)),
        Client(execute(1, 0)),
        Server(set(1)),
        Client(login(0)),
    ] {
        transfer(&mut *session, &sent, &mut found);
    }
    assert_eq!(
        found,
        [
            asked("select 'a'"),
            rows(1),
            begun("select 2"),
            rows(1),
            asked("select ?, 'b'"),
            rows(1),
            Finding::Missed,
        ]
    );
}
