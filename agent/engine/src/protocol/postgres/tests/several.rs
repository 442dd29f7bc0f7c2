//! Several statements of one Query: the server begins them one by one, and none behind one that fails.

use super::partial::*;
use super::*;

#[test]
fn a_query_of_several_statements() {
    check(
        &[
            Client(query(
                "begin; select 1; update t set a = 2 where b = ';'; commit;",
            )),
            Server(
                [
                    done("BEGIN"),
                    row("1"),
                    done("SELECT 1"),
                    done("UPDATE 7"),
                    done("COMMIT"),
                    ready(),
                ]
                .concat(),
            ),
        ],
        &[
            asked("begin"),
            rows(0),
            begun("select ?"),
            rows(1),
            begun("update t set a = ? where b = ?"),
            rows(7),
            begun("commit"),
            rows(0),
        ],
    );
    // The server runs nothing behind an error, and nothing at all of what it cannot parse.
    check(
        &[
            Client(query("select 1; selec; select 3")),
            Server([done("SELECT 1"), error("42601"), ready()].concat()),
        ],
        &[asked("select ?"), rows(1), begun("selec"), failed("42601")],
    );
    check(
        &[
            Client(query("select 1; selec; select 3")),
            Server([error("42601"), ready()].concat()),
            Client(query("select 1 from a")),
            Server([done("SELECT 1"), ready()].concat()),
        ],
        &[
            asked("select ?"),
            failed("42601"),
            asked("select ? from a"),
            rows(1),
        ],
    );
}

#[test]
fn several_statements_before_others_that_are_open() {
    check(
        &[
            Client([query("select a; select b"), run("select c"), sync()].concat()),
            Server([done("SELECT 1"), done("SELECT 2"), ready()].concat()),
            Server([ran("SELECT 3"), ready()].concat()),
        ],
        &[
            asked("select a"),
            asked("select c"),
            rows(1),
            begun("select b"),
            rows(2),
            rows(3),
        ],
    );
}

#[test]
fn the_last_of_several_has_rows() {
    let read = [
        done("BEGIN"),
        many_rows(),
        done("SELECT 100"),
        done("UPDATE 3"),
        ready(),
    ]
    .concat();
    assert_eq!(
        captured(&[
            Client(query("begin; select a; update b set c = 1")),
            Server(read)
        ]),
        [
            asked("begin"),
            rows(0),
            begun("select a"),
            rows(0),
            begun("update b set c = ?"),
            rows(3),
        ]
    );
}

#[test]
fn which_of_several_failed_is_not_known() {
    let sql = "begin; select a; update b set c = 1";
    let part = |front: usize, reads: &[&[u8]]| {
        let mut session = Postgres.session();
        let mut found = Vec::new();
        partly(&mut *session, &Client(query(sql)), FRONT, TAIL, &mut found);
        for (front, read) in [front, FRONT].into_iter().zip(reads) {
            let read = Server(read.to_vec());
            partly(&mut *session, &read, front, TAIL, &mut found);
        }
        if reads.is_empty() {
            session.gap(&mut found);
        }
        found
    };
    let read = [done("BEGIN"), many_rows(), error("22012"), ready()].concat();
    let (before, end) = read.split_at(read.len() - ready().len());
    // Of two the server has told that it has begun them, or of one.
    let second = [begun("select a"), rows(0)];
    let missed = [Finding::Missed];
    let first = [asked("begin"), rows(0)];
    for (front, told) in [
        (5, [&first[..], &second, &missed].concat()),
        (4, [&first[..], &missed].concat()),
    ] {
        assert_eq!(part(front, &[&read]), told);
        let mut parts = part(front, &[before, end]);
        parts.retain(|it| *it != Finding::ReadInPart);
        assert_eq!(parts, told);
    }
    assert_eq!(part(0, &[]), [&first[..], &missed].concat());
}

#[test]
fn statements_behind_the_cut_are_missed() {
    let sql = format!("select 1; {}; select 2", long_statement());
    let found = captured(&[
        Client(query(&sql)),
        Server(
            [
                done("SELECT 1"),
                done("SELECT 2"),
                done("SELECT 3"),
                ready(),
            ]
            .concat(),
        ),
    ]);
    assert_eq!(found.len(), 6);
    assert_eq!(found[0], Finding::Missed);
    assert_eq!(found[1..3], [asked("select ?"), rows(1)]);
    assert!(is_long(&found[3]), "{found:?}");
    assert_eq!(found[4..], [rows(2), Finding::Missed]);
    // Of the answers only the front and the end are seen.
    let answers = [many_rows(), done("SELECT 100").repeat(3), ready()].concat();
    let found = captured(&[Client(query(&sql)), Server(answers)]);
    assert_eq!(found[0], Finding::Missed);
    // One statement, as far as it is seen.
    let long = format!("{} and a = ';'; -- ;", long_statement());
    let found = captured(&[Client(query(&long)), Server(done("SELECT 1"))]);
    assert_eq!(found[1..], [rows(1)]);
}

#[test]
fn many_statements_are_counted() {
    let long = format!("insert into t values ('{}')", ";a".repeat(9_000));
    for (statements, sql) in [
        (100, "select 1;".repeat(100)),
        (1_000, "select 1;".repeat(1_000)),
        (2, format!("{long}; commit")),
        (1, long),
    ] {
        let [client, server] = [
            query(&sql),
            [done("SELECT 1").repeat(statements), ready()].concat(),
        ];
        let found = findings(&[Client(client), Server(server)]);
        assert_eq!(found.len(), 2 * statements);
        assert!(!found.contains(&Finding::Missed), "{statements}");
    }
    for sql in ["select 1;".repeat(5_000), "a;".repeat(1_025)] {
        let found = findings(&[Client(query(&sql))]);
        assert_eq!(found[0], Finding::Missed);
    }
}

#[test]
fn a_backslash_that_is_not_understood_may_hide_statements() {
    for (sql, hides) in [
        ("select '\\'; select 2; select '", true),
        ("select '\\n', a from t;", false),
    ] {
        let mut session = Postgres.session();
        let mut found = Vec::new();
        partly(&mut *session, &Client(query(sql)), FRONT, 0, &mut found);
        assert_eq!(found.contains(&Finding::Missed), hides, "{sql}");
    }
}

#[test]
fn behind_an_execute_without_a_sync_a_query_is_not_followed() {
    let write = [run("select a"), query("select b; select c"), sync()].concat();
    let found = findings(&[
        Client(write.clone()),
        Server([ran("SELECT 1"), done("SELECT 1"), done("SELECT 1"), ready()].concat()),
        Server(ready()),
    ]);
    assert_eq!(found[..3], [asked("select a"), Finding::Missed, rows(1)]);
    // It fails, and the server skips the Query: no more is told than was asked.
    let found = findings(&[Client(write), Server([error("22012"), ready()].concat())]);
    assert_eq!(found, [asked("select a"), Finding::Missed, failed("22012")]);
}

#[test]
fn an_end_that_may_be_that_of_either_begins_nothing() {
    let write = [query("select a"), query("select b; select c; select d")].concat();
    let answer = [many_rows(), done("SELECT 100"), ready()].concat();
    let rest = [done("SELECT 1"), error("22012"), ready()].concat();
    let found = captured(&[Client(write), Server(answer), Server(rest)]);
    let told = [
        asked("select a"),
        asked("select b"),
        rows(0),
        rows(0),
        Finding::Missed,
    ];
    assert_eq!(found[..5], told);
    let begun = found.iter().any(|it| matches!(it, Finding::Begun { .. }));
    assert!(!begun, "{found:?}");
}
