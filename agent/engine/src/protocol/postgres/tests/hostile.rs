//! Bytes that no client or server sends.

use super::super::session::PostgresSession;
use super::partial::{next, partly};
use super::*;

#[test]
fn after_a_hostile_length_a_ready_is_waited_for() {
    for length in [0_u32, 3, (1 << 30) + 1, u32::MAX] {
        let mut hostile = b"Q".to_vec();
        hostile.extend(length.to_be_bytes());
        check(
            &[&[Client(hostile.clone())][..], &next(), &next()].concat(),
            // The first tells where the server is, and is not counted.
            &[Finding::Missed, asked("select ?"), rows(1)],
        );
        hostile[0] = b'D';
        check(
            &[&[Client(query("a")), Server(hostile)][..], &next()].concat(),
            &[
                asked("a"),
                Finding::Missed,
                asked("select ?"),
                Finding::ReadInPart,
                rows(0),
                rows(0),
            ],
        );
    }
    let mut packet = startup();
    packet[1] = 9;
    check(&[Client(packet)], &[Finding::Missed]);
    check(
        &[Client(startup_packet(2 << 16, b"u\0"))],
        &[Finding::Missed],
    );
    // Long, but allowed: skipped, not allocated.
    let mut long = b"Q".to_vec();
    long.extend((1_u32 << 30).to_be_bytes());
    check(&[Client(long)], &[]);
}

#[test]
fn too_many_syncs() {
    let found = findings(&[
        Client(sync().repeat(10_000)),
        Server(ready()),
        next()[0].clone(),
        next()[1].clone(),
    ]);
    assert_eq!(found, [Finding::Missed, asked("select ?"), rows(1)]);
}

#[test]
fn memory_is_bounded() {
    let mut session = PostgresSession::new();
    let mut found = Vec::new();
    // A Query, a row and an error that go on and on.
    for kind in [b'Q', b'D', b'E'] {
        let mut bytes = vec![kind];
        bytes.extend((1_u32 << 30).to_be_bytes());
        bytes.extend([b'x'; 4096]);
        let sent = match kind {
            b'Q' => Client(bytes),
            _ => Server(bytes),
        };
        let mut session = PostgresSession::new();
        for _ in 0..64 {
            transfer(&mut session, &sent, &mut found);
        }
        let kept = session.client.take_body().capacity() + session.server.take_body().capacity();
        assert!(kept <= 2 * framing::KEPT_OF_QUERY, "{kept}");
    }
    assert_eq!(found, []);
    // Names without end.
    for number in 0..3000 {
        let name = format!("{number:0>100}");
        let sql = format!("select {}", "a, ".repeat(400));
        let bytes = [parse(&name, &sql), bind(&name, &name), sync()].concat();
        transfer(&mut session, &Client(bytes), &mut found);
    }
    assert_eq!(found, []);
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
        startup(),
        query("select 'secret'"),
        run("select 1"),
        parse("s", "select 2"),
        bind("p", "s"),
        execute("p"),
        sync(),
        done("SELECT 1"),
        ready(),
        error("42601"),
        row("x"),
        message(b'G', b"\0\0\0"),
        message(b'd', b"x"),
    ];
    for _ in 0..2000 {
        let mut session = Postgres.session();
        let mut found = Vec::new();
        let mut asks = 0;
        for _ in 0..20 {
            let mut bytes = Vec::new();
            for _ in 0..random.below(8) {
                bytes.extend(&pieces[random.below(pieces.len())]);
            }
            for _ in 0..random.below(4) {
                let at = random.below(bytes.len() + 1);
                bytes.splice(at..at, [random.below(256) as u8]);
            }
            bytes.truncate(random.below(bytes.len() + 1).max(bytes.len() / 2));
            let _ = Postgres.recognise(&bytes);
            let sent = if random.below(2) == 0 {
                Client(bytes)
            } else {
                Server(bytes)
            };
            partly(
                &mut *session,
                &sent,
                random.below(300),
                random.below(80),
                &mut found,
            );
        }
        for finding in &found {
            match finding {
                Finding::Asked { shape } => {
                    asks += 1;
                    assert!(shape.len() <= super::super::super::client::SHAPE_LIMIT);
                }
                // No more answers than operations.
                Finding::Answered { .. } => asks -= 1,
                Finding::Encrypted | Finding::ReadInPart => {}
                other => assert_eq!(*other, Finding::Missed),
            }
            assert!(asks >= 0, "{found:?}");
        }
    }
}

#[test]
fn what_is_shown_of_a_session_has_no_literals() {
    let mut session = Postgres.session();
    let mut found = Vec::new();
    let bytes = query("select 'secret'");
    for sent in [Client(bytes.clone()), Client(bytes[..15].to_vec())] {
        transfer(&mut *session, &sent, &mut found);
    }
    assert!(!format!("{session:?} {found:?}").contains("secret"));
}
