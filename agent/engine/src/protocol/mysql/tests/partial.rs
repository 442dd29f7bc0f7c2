//! Transfers of which only the front and the end were captured.

use super::*;

const FRONT: usize = 512;
const TAIL: usize = 64;

/// A transfer of which so much was captured. That an answer goes on is left out.
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
    found.retain(|finding| {
        !matches!(
            finding,
            Finding::Answering { .. } | Finding::RowsEstimated | Finding::Several
        )
    });
}

fn captured(transfers: &[Sent]) -> Vec<Finding> {
    let mut session = Mysql.session();
    let mut found = Vec::new();
    for sent in transfers {
        partly(&mut *session, sent, FRONT, TAIL, &mut found);
    }
    found
}

/// A query that is followed without doubt.
pub(super) fn next() -> [Sent; 2] {
    [Client(query("select 1")), Server(set(1))]
}

/// What comes of it.
fn then() -> [Finding; 2] {
    [asked("select ?"), rows(1)]
}

#[test]
fn rows_that_were_not_captured() {
    for deprecates_eof in [false, true] {
        for count in [40, 100, 200, 400] {
            let answer = packets(1, &set_bodies(count, STATUS, deprecates_eof));
            // Behind the columns, before the end of them, and from the first column on.
            for front in [512, 60, 20] {
                // Of 256 rows and more it must be known how long they are.
                if count > 256 && front < 512 {
                    continue;
                }
                let mut session = Mysql.session();
                let mut found = Vec::new();
                transfer(&mut *session, &Client(query("select a")), &mut found);
                partly(
                    &mut *session,
                    &Server(answer.clone()),
                    front,
                    TAIL,
                    &mut found,
                );
                assert_eq!(found, [asked("select a"), rows(count as u64)], "{front}");
                for sent in next() {
                    transfer(&mut *session, &sent, &mut found);
                }
                assert_eq!(found[2..], then());
            }
        }
    }
}

/// Rows of about so many bytes, which differ.
fn uneven(count: usize, about: usize, deprecates_eof: bool) -> Vec<u8> {
    let mut bodies = set_bodies(0, STATUS, deprecates_eof);
    let last = bodies.pop();
    for number in 0..count {
        bodies.push(row_body(&"x".repeat(about + number * 7 % 13)));
    }
    bodies.extend(last);
    packets(1, &bodies)
}

#[test]
fn an_answer_over_several_reads() {
    for deprecates_eof in [false, true] {
        for (count, about) in [(600, 5), (5000, 10), (5000, 100), (300, 200), (3, 200)] {
            let answer = uneven(count, about, deprecates_eof);
            for size in [700, 1000, 1500, 8192] {
                let mut transfers = vec![Client(query("select a"))];
                transfers.extend(answer.chunks(size).map(|part| Server(part.to_vec())));
                transfers.extend(next());
                let expected = [&[asked("select a"), rows(count as u64)][..], &then()].concat();
                assert_eq!(
                    captured(&transfers),
                    expected,
                    "{count} of {about} by {size}"
                );
            }
        }
    }
    let answer = set(600);
    // The end of the end may come alone.
    for last in 1..40 {
        let (front, rest) = answer.split_at(answer.len() - last);
        let transfers = [
            Client(query("select a")),
            Server(front.to_vec()),
            Server(rest.to_vec()),
        ];
        let found = captured(&transfers);
        assert!(
            matches!(
                &found[..],
                [
                    _,
                    Finding::Answered {
                        rows: 30..=600,
                        error: None
                    }
                ]
            ),
            "{last}: {found:?}"
        );
    }
}

#[test]
fn one_row_longer_than_what_was_captured() {
    let mut long = vec![0xfc, 0x88, 0x13];
    long.resize(3 + 5000, b'x');
    let bodies = [
        vec![1],
        column_body(),
        eof_body(STATUS),
        long,
        eof_body(STATUS),
    ];
    let answer = packets(1, &bodies);
    for tail in 9..TAIL {
        let mut session = Mysql.session();
        let mut found = Vec::new();
        transfer(&mut *session, &Client(query("select a")), &mut found);
        partly(
            &mut *session,
            &Server(answer.clone()),
            FRONT,
            tail,
            &mut found,
        );
        assert_eq!(found, [asked("select a"), rows(1)], "{tail}");
    }
}

#[test]
fn an_error_behind_rows_that_were_not_captured() {
    let mut bodies = set_bodies(100, STATUS, false);
    bodies.pop();
    bodies.push(error_body(1317));
    assert_eq!(
        captured(
            &[
                &[Client(query("select a")), Server(packets(1, &bodies))][..],
                &next()
            ]
            .concat()
        ),
        [&[asked("select a"), failed("1317")][..], &then()].concat()
    );
}

#[test]
fn an_end_that_was_not_captured() {
    let answer = set(100);
    let mut session = Mysql.session();
    let mut found = Vec::new();
    transfer(&mut *session, &Client(query("select a")), &mut found);
    let chunk = Chunk {
        front: &answer[..FRONT],
        tail: b"",
        len: answer.len() as u64,
    };
    // It may be the last read.
    session.read(chunk, &mut found);
    let answering = Finding::Answering {
        error: None,
        unfinished: false,
    };
    assert_eq!(found, [asked("select a"), answering]);
    for sent in next() {
        transfer(&mut *session, &sent, &mut found);
    }
    // Who writes has read the end of it.
    assert_eq!(found[2], Finding::AnsweredBefore);
    assert_eq!(found[3..], then());
}

#[test]
fn short_rows_in_long_reads() {
    let of = |values: &mut dyn Iterator<Item = String>| {
        let mut bodies = vec![vec![1], column_body(), eof_body(STATUS)];
        bodies.extend(values.map(|value| [&[value.len() as u8], value.as_bytes()].concat()));
        bodies.push(eof_body(STATUS));
        let answer = packets(1, &bodies);
        let mut transfers = vec![Client(query("select a"))];
        transfers.extend(answer.chunks(16_384).map(|part| Server(part.to_vec())));
        captured(&transfers)
    };
    let alike = of(&mut (10_000..30_000).map(|number: u32| number.to_string()));
    assert_eq!(alike, [asked("select a"), rows(20_000)]);
    // Where their length changes, it is not above the truth, and near it.
    let growing = of(&mut (1..=20_000).map(|number: u32| number.to_string()));
    assert!(
        matches!(
            growing[1],
            Finding::Answered {
                rows: 19_000..=20_000,
                error: None
            }
        ),
        "{growing:?}"
    );
}

/// Findings of transfers; `None`: a gap.
fn with_gaps(transfers: &[Option<Sent>]) -> Vec<Finding> {
    let mut session = Mysql.session();
    let mut found = Vec::new();
    for sent in transfers {
        match sent {
            Some(sent) => transfer(&mut *session, sent, &mut found),
            None => session.gap(&mut found),
        }
    }
    found
}

#[test]
fn bytes_that_were_not_seen_at_all() {
    let [ask, answer] = next();
    let then = then();
    let open = asked("select a");
    let given_up = [open.clone(), rows(0), Finding::Missed];
    // Between a command and its answer, and within either.
    let half = |sent: &Sent| match sent {
        Client(bytes) => Client(bytes[..bytes.len() / 2].to_vec()),
        Server(bytes) => Server(bytes[bytes.len() / 2..].to_vec()),
    };
    let first = Some(Client(query("select a")));
    let prepares = [
        Some(Client(prepare("select b"))),
        Some(Server(prepared(1, 0, 1, true))),
    ];
    for (before, lost) in [
        (vec![first.clone()], &given_up[..]),
        (vec![first, None, Some(half(&answer))], &given_up),
        (vec![Some(half(&ask))], &given_up[2..]),
        (vec![Some(Client(login(0)))], &given_up[2..]),
        (vec![], &given_up[2..]),
    ] {
        let after = [None, Some(ask.clone()), Some(answer.clone())];
        let found = with_gaps(&[&prepares[..], &before, &after].concat());
        assert_eq!(found, [lost, &then].concat(), "{before:?}");
        // A new connection begins behind it, or what was prepared is executed.
        let after = [
            None,
            Some(Client(login(0))),
            Some(Server(packet(2, &ok_body(0, STATUS)))),
        ];
        let found = with_gaps(
            &[
                &before[..],
                &after,
                &[Some(ask.clone()), Some(answer.clone())],
            ]
            .concat(),
        );
        assert_eq!(found, [lost, &then].concat(), "{before:?}");
        let after = [None, Some(Client(execute(1, 0))), Some(answer.clone())];
        let found = with_gaps(&[&prepares[..], &before, &after].concat());
        assert_eq!(found[found.len() - 2..], [asked("select b"), rows(1)]);
    }
    // A file.
    let load = Client(query("load data local infile 'f' into table t"));
    let request = Server(packet(1, b"\xfbf"));
    let file = Client(packet(5, b"\x03select secret"));
    let found = with_gaps(&[
        Some(load),
        Some(request),
        None,
        Some(file),
        Some(ask),
        Some(answer),
    ]);
    assert_eq!(found[1..], [&given_up[1..], &then].concat());
}

#[test]
fn results_that_were_not_captured() {
    let results = |count: usize, end: &[Vec<u8>]| {
        let mut bodies = Vec::new();
        for _ in 0..count {
            bodies.extend(set_bodies(3, STATUS | MORE, false));
        }
        bodies.extend(end.to_vec());
        Server(packets(1, &bodies))
    };
    let count = |found: &[Finding]| {
        let asked = found
            .iter()
            .filter(|f| matches!(f, Finding::Asked { .. } | Finding::Begun { .. }))
            .count();
        let answered = found
            .iter()
            .filter(|f| matches!(f, Finding::Answered { .. } | Finding::AnsweredBefore))
            .count();
        (asked, answered, found.contains(&Finding::Missed))
    };
    let last = set_bodies(3, STATUS, false);
    let sql = "select a;".repeat(20);
    let found = captured(&[&[Client(query(&sql)), results(19, &last)][..], &next()].concat());
    assert_eq!(count(&found), (21, 21, false), "{found:?}");
    let told: u64 = found
        .iter()
        .map(|f| match f {
            Finding::Answered { rows, .. } => *rows,
            _ => 0,
        })
        .sum();
    assert!((4..=61).contains(&told), "{told}");
    // Which of them failed is not known.
    let error = [error_body(1146)];
    let found = captured(&[&[Client(query(&sql)), results(10, &error)][..], &next()].concat());
    let (asked, answered, missed) = count(&found);
    assert!(asked == answered && asked <= 12 && missed, "{found:?}");
    // More than are taken down.
    let sql = "select a;".repeat(300);
    let found = captured(&[&[Client(query(&sql)), results(299, &last)][..], &next()].concat());
    let (asked, answered, missed) = count(&found);
    assert!(asked == answered && asked <= 301 && missed, "{asked}");
    // A procedure.
    let end = [ok_body(0, STATUS)];
    let found = captured(&[&[Client(query("call p()")), results(20, &end)][..], &next()].concat());
    assert_eq!(count(&found), (2, 2, false), "{found:?}");
    assert_eq!(found[2..], then());
}

#[test]
fn rows_that_were_not_captured_are_an_estimate() {
    for (count, estimated) in [(1, false), (2, false), (1000, true)] {
        let mut session = Mysql.session();
        let mut found = Vec::new();
        transfer(&mut *session, &Client(query("select a")), &mut found);
        let answer = set(count);
        let front = answer.len().min(FRONT);
        let chunk = Chunk {
            front: &answer[..front],
            tail: &answer[answer.len() - TAIL.min(answer.len() - front)..],
            len: answer.len() as u64,
        };
        session.read(chunk, &mut found);
        let told = found.contains(&Finding::RowsEstimated);
        assert_eq!(told, estimated, "{count}: {found:?}");
    }
}

#[test]
fn statements_that_were_captured_in_part() {
    let sql = format!("select {} from t where a = 'secret'", "a, ".repeat(1000));
    let found = captured(&[&[Client(query(&sql)), Server(set(1))][..], &next()].concat());
    assert!(
        matches!(&found[0], Finding::Asked { shape } if shape.starts_with("select a, a, ") && shape.ends_with("...")),
        "{found:?}"
    );
    assert_eq!(found[1], rows(1));
    assert_eq!(found[2..], then());
    // Of the packet only the header, or its kind too.
    for (front, expected) in [
        (4, vec![Finding::Missed]),
        (5, vec![asked(NOT_CAPTURED), rows(1)]),
    ] {
        let mut session = Mysql.session();
        let mut found = Vec::new();
        partly(
            &mut *session,
            &Client(query("select 2")),
            front,
            0,
            &mut found,
        );
        for sent in [&[Server(set(1))][..], &next()].concat() {
            transfer(&mut *session, &sent, &mut found);
        }
        assert_eq!(found, [&expected[..], &then()].concat(), "{front}");
    }
}

#[test]
fn commands_that_were_not_captured() {
    let many = query("select a").repeat(100);
    let answers = Server(set(1).repeat(100));
    let found = captured(&[&[Client(many), answers][..], &next()].concat());
    let asks = found
        .iter()
        .filter(|f| matches!(f, Finding::Asked { .. } | Finding::Begun { .. }))
        .count();
    let answered = found
        .iter()
        .filter(|f| matches!(f, Finding::Answered { .. } | Finding::AnsweredBefore))
        .count();
    assert!(
        asks == answered && asks > 30 && asks < 101,
        "{asks} {answered}"
    );
    assert!(found.contains(&Finding::Missed));
    assert_eq!(found[found.len() - 2..], then());
}

#[test]
fn statements_behind_what_is_kept() {
    let sql = "select 1;".repeat(1_000);
    let mut bodies = vec![ok_body(0, STATUS | MORE); 999];
    bodies.push(ok_body(0, STATUS));
    // The server tells how many there were.
    let found = findings(&[Client(query(&sql)), Server(packets(1, &bodies))]);
    let asked = |it: &&Finding| matches!(it, Finding::Asked { .. } | Finding::Begun { .. });
    assert_eq!(found.iter().filter(asked).count(), 1_000);
    assert!(found.contains(&Finding::Missed));
    // What it tells was not captured.
    let found = captured(&[Client(query(&sql)), Server(packets(1, &bodies))]);
    assert!(found.contains(&Finding::Missed));
    // One alone.
    let sql = format!("select {} from t", "a, ".repeat(1_000));
    let found = captured(&[Client(query(&sql)), Server(set(300))]);
    assert!(!found.contains(&Finding::Missed), "{found:?}");
}

#[test]
fn a_file_that_was_not_captured() {
    let file = [packet(2, &[b'x'; 300]).repeat(9), packet(11, b"")].concat();
    let transfers = [
        Client(query("load data local infile 'f' into table t")),
        Server(packet(1, b"\xfbf")),
        Client(file),
        Server(packet(12, &ok_body(9, STATUS))),
    ];
    assert_eq!(
        captured(&[&transfers[..], &next()].concat()),
        [
            &[asked("load data local infile ? into table t"), rows(9)][..],
            &then()
        ]
        .concat()
    );
}

#[test]
fn definitions_that_were_not_captured() {
    for deprecates_eof in [false, true] {
        let transfers = [
            Client(prepare("select a from t")),
            Server(prepared(3, 2, 40, deprecates_eof)),
            Client(execute(3, 0)),
            Server(set(1)),
        ];
        assert_eq!(
            captured(&[&transfers[..], &next()].concat()),
            [&[asked("select a from t"), rows(1)][..], &then()].concat()
        );
    }
}
