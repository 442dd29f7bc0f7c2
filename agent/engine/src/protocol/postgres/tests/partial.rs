//! Transfers of which only the front and the end were captured.

use super::*;

pub(super) const FRONT: usize = 256;
pub(super) const TAIL: usize = 64;

/// A transfer of which so much was captured.
pub(super) fn partly(
    session: &mut dyn Session,
    sent: &Sent,
    front: usize,
    tail: usize,
    found: &mut Vec<Finding>,
) {
    let (Client(bytes) | Server(bytes)) = sent;
    let front = front.min(bytes.len());
    let chunk = Chunk {
        front: &bytes[..front],
        tail: &bytes[bytes.len() - tail.min(bytes.len() - front)..],
        len: bytes.len() as u64,
    };
    match sent {
        Client(_) => session.written(chunk, found),
        Server(_) => session.read(chunk, found),
    }
    // What comes of that is seen where it is taken.
    found.retain(|it| *it != Finding::Several);
}

pub(super) fn captured(transfers: &[Sent]) -> Vec<Finding> {
    let mut session = Postgres.session();
    let mut found = Vec::new();
    for sent in transfers {
        partly(&mut *session, sent, FRONT, TAIL, &mut found);
    }
    found
}

pub(super) fn many_rows() -> Vec<u8> {
    row("a value of some length").repeat(100)
}

pub(super) fn long_statement() -> String {
    format!("select {} from t where b = $1", "column, ".repeat(60))
}

/// Begins as a shape of `long_statement` and is cut.
pub(super) fn is_long(finding: &Finding) -> bool {
    matches!(finding, Finding::Asked { shape } | Finding::Begun { shape } if shape.starts_with("select column, ") && shape.ends_with("..."))
}

/// A query that is followed without doubt.
pub(super) fn next() -> [Sent; 2] {
    [
        Client(query("select 1")),
        Server([done("SELECT 1"), ready()].concat()),
    ]
}

#[test]
fn rows_that_were_not_captured() {
    for end in [
        [done("SELECT 100"), ready()].concat(),
        [done("SELECT 100"), message(b'3', b""), ready()].concat(),
    ] {
        let read = [many_rows(), end].concat();
        let transfers = [&[Client(query("select a")), Server(read)][..], &next()].concat();
        assert_eq!(
            captured(&transfers),
            [asked("select a"), rows(100), asked("select ?"), rows(1)]
        );
    }
}

#[test]
fn an_answer_over_several_reads() {
    let answer = [many_rows(), many_rows(), done("SELECT 200"), ready()].concat();
    for size in [700, 1000, 1500] {
        let mut transfers = vec![Client(query("select a"))];
        transfers.extend(answer.chunks(size).map(|part| Server(part.to_vec())));
        transfers.extend(next());
        let expected = [asked("select a"), rows(200), asked("select ?"), rows(1)];
        assert_eq!(captured(&transfers), expected, "{size}");
    }
    // The end of the end may come alone.
    for last in 1..40 {
        let (front, rest) = answer.split_at(answer.len() - last);
        let transfers = [
            Client(query("select a")),
            Server(front.to_vec()),
            Server(rest.to_vec()),
        ];
        assert_eq!(
            captured(&transfers),
            [asked("select a"), rows(200)],
            "{last}"
        );
    }
}

#[test]
fn one_message_longer_than_what_was_captured() {
    let read = [row(&"x".repeat(5000)), done("SELECT 1"), ready()].concat();
    for tail in 0..TAIL {
        let mut session = Postgres.session();
        let mut found = Vec::new();
        transfer(&mut *session, &Client(query("select a")), &mut found);
        partly(
            &mut *session,
            &Server(read.clone()),
            FRONT,
            tail,
            &mut found,
        );
        if tail >= 20 {
            assert_eq!(found, [asked("select a"), rows(1)], "{tail}");
        } else if tail >= 6 {
            // The tag is missing.
            assert_eq!(found, [asked("select a"), rows(0)], "{tail}");
        } else {
            assert_eq!(found, [asked("select a")], "{tail}");
        }
    }
    // It ends where the read ends: nothing is lost.
    let reads = [
        Server(row(&"x".repeat(5000))),
        Server([done("SELECT 1"), ready()].concat()),
    ];
    let transfers = [&[Client(query("select a"))][..], &reads].concat();
    let mut session = Postgres.session();
    let mut found = Vec::new();
    for sent in &transfers {
        partly(&mut *session, sent, FRONT, 0, &mut found);
    }
    assert_eq!(found, [asked("select a"), rows(1)]);
}

#[test]
fn errors_that_were_not_captured() {
    // Its front is there: the code is known.
    let long = format!("SERROR\0C22P02\0M{}\0Rraise_it\0\0", "x".repeat(2000));
    let read = [message(b'E', long.as_bytes()), message(b'Z', b"E")].concat();
    assert_eq!(
        captured(&[Client(query("select a")), Server(read)]),
        [asked("select a"), failed("22P02")]
    );
    // After rows only its end is there.
    for status in [b"I", b"E"] {
        let read = [many_rows(), error("57014"), message(b'Z', status)].concat();
        assert_eq!(
            captured(&[Client(query("select a")), Server(read)]),
            [asked("select a"), failed(UNKNOWN_ERROR)]
        );
    }
    // A description ends in zero bytes as well.
    let read = [many_rows(), many_rows(), ran("")[10..].to_vec(), ready()].concat();
    assert_eq!(
        captured(&[Client(query("select a")), Server(read)]),
        [asked("select a"), rows(0)]
    );
}

#[test]
fn a_statement_longer_than_what_was_captured() {
    let found = captured(&[
        Client(query(&long_statement())),
        Server([done("SELECT 2"), ready()].concat()),
    ]);
    assert!(is_long(&found[0]), "{found:?}");
    assert_eq!(found[1..], [rows(2)]);
    // Long, but captured: only so much is kept.
    let sql = format!("select {}'secret'", "a, ".repeat(5000));
    let found = findings(&[
        Client(query(&sql)),
        Server([done("SELECT 2"), ready()].concat()),
    ]);
    assert_eq!(found.len(), 2);
}

#[test]
fn a_bind_behind_a_long_statement_is_told() {
    // libpq writes all of it at once; the Bind lies where nothing was captured.
    for value in [3, 30, 300, 3000] {
        let parts = [
            parse("", &long_statement()),
            bind_value("", "", value),
            describe('P', ""),
            execute(""),
            sync(),
        ];
        let transfers = [
            &[
                Client(parts.concat()),
                Server([ran("SELECT 1"), ready()].concat()),
            ][..],
            &next(),
        ]
        .concat();
        let found = captured(&transfers);
        assert!(is_long(&found[0]), "{found:?}");
        assert_eq!(found[1..], [rows(1), asked("select ?"), rows(1)], "{value}");
    }
}

#[test]
fn a_begin_before_a_long_statement() {
    let write = [
        parse("", "BEGIN"),
        bind("", ""),
        execute(""),
        parse("", &long_statement()),
        bind_value("C_1", "", 300),
        execute("C_1"),
        sync(),
    ]
    .concat();
    let found = captured(&[
        Client(write),
        Server([done("BEGIN"), done("SELECT 1"), ready()].concat()),
    ]);
    assert_eq!(found[0], asked("BEGIN"));
    assert!(is_long(&found[1]), "{found:?}");
    assert_eq!(found[2..], [rows(0), rows(1)]);
}

#[test]
fn a_long_statement_that_is_only_prepared() {
    let name = "stmtcache_0123456789abcdef0123456789abcdef0123456789abcdef";
    let write = [parse(name, &long_statement()), describe('S', name), sync()].concat();
    let found = captured(&[
        Client(write),
        Server([message(b'1', b""), message(b'n', b""), ready()].concat()),
        Client([bind("", name), execute(""), sync()].concat()),
        Server([message(b'2', b""), done("SELECT 1"), ready()].concat()),
    ]);
    assert!(is_long(&found[0]), "{found:?}");
    assert_eq!(found[1..], [rows(1)]);
}

#[test]
fn a_long_value_hides_nothing() {
    let found = captured(&[
        Client([parse("s", "select $1"), sync()].concat()),
        Client(
            [
                bind_value("", "s", 5000),
                describe('P', ""),
                execute(""),
                sync(),
            ]
            .concat(),
        ),
        Server([message(b'1', b""), ready(), ran("SELECT 1"), ready()].concat()),
    ]);
    assert_eq!(found, [asked("select ?"), rows(1)]);
}

#[test]
fn a_pipeline_that_was_not_captured_is_missed() {
    let mut write = Vec::new();
    for _ in 0..50 {
        write.extend([bind("", "s"), execute("")].concat());
    }
    write.extend(sync());
    let found = captured(&[
        Client([parse("s", "select $1"), sync()].concat()),
        Server([message(b'1', b""), ready()].concat()),
        Client(write),
        Server([done("SELECT 1").repeat(50), ready()].concat()),
        next()[0].clone(),
        next()[1].clone(),
    ]);
    let missed = found
        .iter()
        .filter(|finding| **finding == Finding::Missed)
        .count();
    let asks = found
        .iter()
        .filter(|finding| matches!(finding, Finding::Asked { .. }))
        .count();
    let answers = found
        .iter()
        .filter(|finding| matches!(finding, Finding::Answered { .. }))
        .count();
    assert!(missed >= 1 && asks < 51 && asks == answers, "{found:?}");
    assert!(found.contains(&asked(NOT_CAPTURED)));
    assert_eq!(found[found.len() - 2..], [asked("select ?"), rows(1)]);
}

#[test]
fn an_answer_to_nothing_is_a_missed_operation() {
    let read = [many_rows(), done("SELECT 100"), ready()].concat();
    assert_eq!(
        captured(&[&[Server(read)][..], &next()].concat()),
        [Finding::Missed, asked("select ?"), rows(1)]
    );
}

#[test]
fn a_lost_client_is_found_after_a_ready() {
    // The write goes on in the next one, so its end tells nothing.
    let texts = ["x".repeat(700), "y".repeat(100)];
    let write = [query("select a"), query(&texts[0]), query(&texts[1])].concat();
    let (front, rest) = write.split_at(write.len() - 3);
    let found = captured(&[
        Client(front.to_vec()),
        Client(rest.to_vec()),
        Client(query("not seen")),
        Server([done("SELECT 1"), ready(), done("SELECT 1")].concat()),
        Client(query("not seen either")),
        Server(
            [
                ready(),
                done("SELECT 1"),
                ready(),
                done("SELECT 1"),
                ready(),
            ]
            .concat(),
        ),
        next()[0].clone(),
        next()[1].clone(),
    ]);
    assert_eq!(found[0], asked("select a"));
    assert!(
        matches!(&found[1], Finding::Asked { shape } if shape.starts_with('x')),
        "{found:?}"
    );
    assert_eq!(found[2], Finding::Missed);
    assert_eq!(
        found
            .iter()
            .filter(|finding| **finding == Finding::Missed)
            .count(),
        1
    );
    assert_eq!(found[found.len() - 2..], [asked("select ?"), rows(1)]);
}

#[test]
fn data_to_copy_hides_no_operations() {
    let data = message(b'd', b"a line of text\n").repeat(100);
    let transfers = [
        Client([run("copy t from stdin"), sync()].concat()),
        Server(
            [
                message(b'1', b""),
                message(b'2', b""),
                message(b'G', &[0, 0, 1, 0, 0]),
            ]
            .concat(),
        ),
        Client(data.clone()),
        Client([data, message(b'c', b""), sync()].concat()),
        Server([done("COPY 200"), ready()].concat()),
    ];
    assert_eq!(
        captured(&[&transfers[..], &next()].concat()),
        [
            asked("copy t from stdin"),
            rows(200),
            asked("select ?"),
            rows(1)
        ]
    );
}

#[test]
fn a_tail_that_overlaps_the_front() {
    let bytes = [query("select a"), query("select b")].concat();
    for front in 0..=bytes.len() {
        for tail in 0..=bytes.len() {
            let mut session = Postgres.session();
            let mut found = Vec::new();
            let chunk = Chunk {
                front: &bytes[..front],
                tail: &bytes[bytes.len() - tail..],
                len: bytes.len() as u64,
            };
            session.written(chunk, &mut found);
            if front + tail >= bytes.len() {
                assert_eq!(
                    found,
                    [asked("select a"), asked("select b")],
                    "{front} {tail}"
                );
            }
        }
    }
}

#[test]
fn bytes_out_of_step() {
    let found = captured(&[
        Client(query("select a")),
        Server(b"\xffsome bytes from the middle".to_vec()),
        Server([row("x"), done("SELECT 5"), ready()].concat()),
        Client(b"\xffsome bytes from the middle".to_vec()),
        Client(query("not seen")),
        Server([done("SELECT 1"), ready()].concat()),
        next()[0].clone(),
        next()[1].clone(),
    ]);
    assert_eq!(
        found,
        [
            asked("select a"),
            Finding::Missed,
            rows(5),
            Finding::Missed,
            asked("select ?"),
            rows(1),
        ]
    );
}
