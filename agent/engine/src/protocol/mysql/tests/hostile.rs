//! Bytes that no client or server sends.

use super::super::session::MysqlSession;
use super::partial::{next, partly};
use super::*;

#[test]
fn lengths_that_never_come() {
    for kind in [command::QUERY, command::STMT_PREPARE, command::STMT_EXECUTE] {
        let mut session = MysqlSession::new();
        let mut found = Vec::new();
        let mut bytes = vec![0xff, 0xff, 0xff, 0, kind];
        bytes.extend([b'x'; 4096]);
        // Skipped, not allocated.
        for _ in 0..64 {
            transfer(&mut session, &Client(bytes.clone()), &mut found);
            transfer(&mut session, &Server(bytes.clone()), &mut found);
        }
        let kept = session.client.take_body().capacity() + session.server.take_body().capacity();
        assert!(kept <= 4 * framing::KEPT, "{kept}");
        assert!(
            !found.iter().any(|f| matches!(f, Finding::Asked { .. })),
            "{found:?}"
        );
    }
}

#[test]
fn answers_that_do_not_fit_are_missed() {
    for answer in [
        packet(2, &ok_body(0, STATUS)),
        packet(1, b""),
        packet(1, b"\x00\x01\x02"),
        packet(1, b"\x03abcdef"),
        packet(1, &[0xfc, 0xff, 0xff]),
        packet(1, &[0xfe, 1, 2, 3, 4, 5, 6, 7, 8]),
        packets(1, &set_bodies(1, STATUS, false)[..3]).repeat(2),
    ] {
        let transfers = [&[Client(query("a")), Server(answer.clone())][..], &next()].concat();
        let found = findings(&transfers);
        assert!(found.contains(&Finding::Missed), "{answer:?}: {found:?}");
        assert_eq!(
            found[found.len() - 2..],
            [asked("select ?"), rows(1)],
            "{answer:?}"
        );
    }
}

#[test]
fn answers_to_nothing_are_missed_operations() {
    assert_eq!(
        findings(&[&[Server(set(2))][..], &next()].concat()),
        [Finding::Missed, asked("select ?"), rows(1)]
    );
    // An error is not: the server may say goodbye.
    assert_eq!(findings(&[Server(packet(0, &error_body(1927)))]), []);
}

#[test]
fn commands_without_end() {
    let mut transfers = vec![Client(query("select a; select b").repeat(10_000))];
    transfers.extend(next());
    let found = findings(&transfers);
    let asks = found
        .iter()
        .filter(|f| matches!(f, Finding::Asked { .. }))
        .count();
    assert!(asks <= 4_097 && found.contains(&Finding::Missed), "{asks}");
    assert_eq!(found[found.len() - 2..], [asked("select ?"), rows(1)]);
}

#[test]
fn memory_is_bounded() {
    let mut session = MysqlSession::new();
    let mut found = Vec::new();
    // Statements that are never closed.
    for number in 0..3000 {
        let sql = format!("select {number} {}", "a, ".repeat(400));
        for sent in [Client(prepare(&sql)), Server(prepared(number, 0, 1, true))] {
            transfer(&mut session, &sent, &mut found);
        }
    }
    assert_eq!(found, []);
    assert!(format!("{session:?}").len() < 1 << 20);
    // Texts of many statements, without answers.
    let mut session = MysqlSession::new();
    let sql = format!("select {};", "a, ".repeat(10)).repeat(100);
    for _ in 0..3000 {
        transfer(&mut session, &Client(query(&sql)), &mut found);
    }
    assert!(format!("{session:?}").len() < 1 << 20);
}

/// Pseudo-random numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

#[test]
fn any_bytes_are_taken() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let pieces = [
        login(0),
        query("select 'secret'"),
        query("select 1; call p(2); select 3"),
        prepare("select ?"),
        execute(1, 1),
        about(command::STMT_FETCH, 1),
        command(command::PING, b""),
        command(command::CHANGE_USER, b"secret"),
        packet(2, b"x"),
        packet(3, b""),
        set(3),
        packets(1, &set_bodies(2, STATUS | MORE, true)),
        packets(1, &set_bodies(2, STATUS | CURSOR, false)),
        prepared(1, 1, 1, false),
        ok(1),
        packet(1, &error_body(1064)),
        packet(1, b"\xfbfile"),
    ];
    for _ in 0..3000 {
        let mut session = Mysql.session();
        let mut found = Vec::new();
        let mut open = 0;
        for _ in 0..20 {
            let mut bytes = Vec::new();
            for _ in 0..random.below(6) {
                bytes.extend(&pieces[random.below(pieces.len())]);
            }
            for _ in 0..random.below(4) {
                let at = random.below(bytes.len() + 1);
                bytes.splice(at..at, [random.below(256) as u8]);
            }
            bytes.truncate(random.below(bytes.len() + 1).max(bytes.len() / 2));
            let _ = Mysql.recognise(&bytes);
            let sent = if random.below(2) == 0 {
                Client(bytes)
            } else {
                Server(bytes)
            };
            let (front, tail) = (random.below(300), random.below(80));
            partly(&mut *session, &sent, front, tail, &mut found);
            if random.below(20) == 0 {
                session.gap(&mut found);
            }
        }
        for finding in &found {
            match finding {
                Finding::Asked { shape } | Finding::Begun { shape } => {
                    open += 1;
                    assert!(shape.len() <= super::super::super::client::SHAPE_LIMIT);
                }
                // No more answers than operations.
                Finding::Answered { .. } | Finding::AnsweredBefore => open -= 1,
                _ => {}
            }
            assert!(open >= 0, "{found:?}");
        }
    }
}

#[test]
fn nothing_of_a_login_is_kept() {
    let secret = || packet(3, b"secret password");
    let mut session = MysqlSession::new();
    let mut found = Vec::new();
    for sent in [
        Client(login(0)),
        Server(packet(2, b"\xfemysql_clear_password\0")),
        Client(secret()),
        Server(packet(4, b"\x01\x04")),
        Client(secret()[..12].to_vec()),
    ] {
        transfer(&mut session, &sent, &mut found);
        let kept = session.client.body();
        assert!(kept.len() <= 4 && !kept.contains(&b's'), "{kept:?}");
    }
    assert_eq!(found, []);
}
