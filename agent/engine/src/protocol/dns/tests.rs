//! Questions and answers in datagrams and streams, in any order; what is cut, hostile, or not DNS.

use super::super::client::{Chunk, Finding, SHAPE_LIMIT};
use super::*;

fn whole(bytes: &[u8]) -> Chunk<'_> {
    Chunk {
        front: bytes,
        tail: b"",
        len: bytes.len() as u64,
    }
}

fn name(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes
}

/// Id, flags, counts, question.
fn message(id: u16, flags: u16, records: u16, text: &str, kind: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [id, flags, 1, records, 0, 0] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend(name(text));
    bytes.extend(kind.to_be_bytes());
    bytes.extend(1_u16.to_be_bytes());
    bytes
}

fn query(id: u16, text: &str, kind: u16) -> Vec<u8> {
    message(id, 0x0100, 0, text, kind)
}

/// With EDNS.
fn query_edns(id: u16, text: &str, kind: u16) -> Vec<u8> {
    let mut bytes = query(id, text, kind);
    bytes[11] = 1;
    bytes.extend(b"\0\0\x29\x04\xd0\0\0\0\0\0\0");
    bytes
}

fn answer(id: u16, code: u16, records: u16, text: &str, kind: u16) -> Vec<u8> {
    let mut bytes = message(id, 0x8180 | code, records, text, kind);
    for _ in 0..records {
        bytes.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01");
    }
    bytes
}

fn prefixed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    [&length.to_be_bytes()[..], message].concat()
}

fn asked(shape: &str) -> Finding {
    Finding::Asked {
        shape: shape.to_owned(),
    }
}

fn answered(index: usize, rows: u64, error: Option<&str>) -> Finding {
    Finding::AnsweredAt {
        index,
        rows,
        error: error.map(str::to_owned),
    }
}

const A: u16 = 1;
const AAAA: u16 = 28;

#[test]
fn recognised() {
    for bytes in [query(7, "db.internal", A), query_edns(7, "", 2)] {
        let edns = bytes[11] == 1;
        for (bytes, prefix) in [(bytes.clone(), 0), (prefixed(&bytes), 2)] {
            assert_eq!(Dns.recognise(&bytes), Recognised::Yes);
            for cut in 0..bytes.len() {
                let recognised = Dns.recognise(&bytes[..cut]);
                // Behind the question only EDNS is missing.
                let question = bytes.len() - if edns { 11 } else { 0 };
                let expected = if cut > question {
                    Recognised::Yes
                } else {
                    Recognised::Undecided
                };
                assert_eq!(recognised, expected, "{cut} {prefix}");
            }
        }
    }
    let mut bad = Vec::new();
    for (at, value) in [
        (2, 0x81),
        (2, 0x28),
        (3, 0x80),
        (5, 2),
        (7, 1),
        (9, 1),
        (11, 3),
    ] {
        let mut bytes = query(7, "db.internal", A);
        bytes[at] = value;
        bad.push(bytes);
    }
    bad.push([query(7, "a", A), vec![0]].concat());
    bad.push(query(7, "a", 0));
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"*1\r\n$4\r\nPING\r\n",
        b"get key\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"Q\x00\x00\x00\x0dselect 1\x00",
        // memcached, binary: GET.
        b"\x80\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00",
    ] {
        bad.push(bytes.to_vec());
    }
    for bytes in bad {
        assert_eq!(Dns.recognise(&bytes), Recognised::No, "{bytes:?}");
    }
}

#[test]
fn answers_in_any_order() {
    let mut session = Dns.session();
    let mut found = Vec::new();
    session.written(whole(&query(1, "db.internal", A)), &mut found);
    session.written(whole(&query_edns(2, "DB.internal", AAAA)), &mut found);
    session.read(whole(&answer(2, 0, 0, "db.INTERNAL", AAAA)), &mut found);
    session.read(whole(&answer(1, 0, 2, "db.internal", A)), &mut found);
    // Late, forged, and nobody's.
    session.read(whole(&answer(1, 0, 2, "db.internal", A)), &mut found);
    session.read(whole(&answer(9, 0, 2, "db.internal", A)), &mut found);
    assert_eq!(
        found,
        [
            asked("A db.internal"),
            asked("AAAA db.internal"),
            answered(1, 0, None),
            answered(0, 2, None)
        ]
    );
}

#[test]
fn a_question_that_is_sent_again_is_the_same() {
    let mut session = Dns.session();
    let mut found = Vec::new();
    for _ in 0..3 {
        session.written(whole(&query(1, "slow", A)), &mut found);
    }
    // Of another name, with the same number: another.
    session.written(whole(&query(1, "other", A)), &mut found);
    session.read(whole(&answer(1, 2, 0, "slow", A)), &mut found);
    session.written(whole(&query(1, "slow", A)), &mut found);
    assert_eq!(
        found,
        [
            asked("A slow"),
            asked("A other"),
            answered(0, 0, Some("SERVFAIL")),
            asked("A slow")
        ]
    );
}

#[test]
fn codes() {
    for (code, expected) in [
        (0, None),
        (1, Some("FORMERR")),
        (2, Some("SERVFAIL")),
        (3, Some("NXDOMAIN")),
        (5, Some("REFUSED")),
        (15, Some("RCODE15")),
    ] {
        let mut session = Dns.session();
        let mut found = Vec::new();
        session.written(whole(&query(1, "a", A)), &mut found);
        let mut bytes = answer(1, code, 0, "a", A);
        if code == 1 {
            // Servers that cannot read a question do not repeat it.
            bytes.truncate(12);
            bytes[5] = 0;
        }
        session.read(whole(&bytes), &mut found);
        assert_eq!(found[1..], [answered(0, 0, expected)], "{code}");
    }
}

/// Two questions and their answers over TCP, in any two pieces, and byte by byte.
#[test]
fn streams() {
    let asks = [
        prefixed(&query(1, "a.b", A)),
        prefixed(&query(2, "a.b", AAAA)),
    ]
    .concat();
    let answers = [
        prefixed(&answer(2, 0, 100, "a.b", AAAA)),
        prefixed(&answer(1, 3, 0, "a.b", A)),
    ]
    .concat();
    let expected = [
        asked("A a.b"),
        asked("AAAA a.b"),
        answered(1, 100, None),
        answered(0, 0, Some("NXDOMAIN")),
    ];
    // The first write has the first question, or the connection is not known for what it is.
    let first = asks.len() / 2;
    for cut in first..=asks.len() {
        let mut session = Dns.session();
        let mut found = Vec::new();
        session.written(whole(&asks[..cut]), &mut found);
        session.written(whole(&asks[cut..]), &mut found);
        session.read(whole(&answers), &mut found);
        assert_eq!(found, expected, "{cut}");
    }
    for cut in 0..=answers.len() {
        let mut session = Dns.session();
        let mut found = Vec::new();
        session.written(whole(&asks), &mut found);
        session.read(whole(&answers[..cut]), &mut found);
        session.read(whole(&answers[cut..]), &mut found);
        assert_eq!(found, expected, "{cut}");
    }
    let mut session = Dns.session();
    let mut found = Vec::new();
    session.written(whole(&asks), &mut found);
    for byte in answers.chunks(1) {
        session.read(whole(byte), &mut found);
    }
    assert_eq!(found, expected);
}

/// As glibc does: a length and what it counts, written and read apart, so that the first write tells nothing.
#[test]
fn lengths_apart() {
    let message = query(1, "a.b", A);
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    assert_eq!(Dns.recognise(&length), Recognised::Undecided);
    assert_eq!(Dns.recognise(&message), Recognised::Yes);
    let reply = answer(1, 0, 1, "a.b", A);
    let together = prefixed(&reply);
    let reply_length = u16::try_from(reply.len()).unwrap().to_be_bytes();
    for reads in [&[&reply_length[..], &reply][..], &[&together]] {
        let mut session = Dns.session();
        let mut found = Vec::new();
        session.written(whole(&message), &mut found);
        for read in reads {
            session.read(whole(read), &mut found);
        }
        session.written(whole(&length), &mut found);
        session.written(whole(&query(2, "a.b", AAAA)), &mut found);
        assert_eq!(
            found,
            [asked("A a.b"), answered(0, 1, None), asked("AAAA a.b")]
        );
    }
}

#[test]
fn long_answers_of_which_the_ends_are_captured() {
    let reply = prefixed(&answer(1, 0, 200, "a.b", A));
    let cut = Chunk {
        front: &reply[..512],
        tail: &reply[reply.len() - 64..],
        len: reply.len() as u64,
    };
    let mut session = Dns.session();
    let mut found = Vec::new();
    session.written(whole(&prefixed(&query(1, "a.b", A))), &mut found);
    session.read(cut, &mut found);
    session.written(whole(&prefixed(&query(2, "a.b", A))), &mut found);
    // Two answers in one read: the second is hidden.
    let two = [reply.clone(), reply].concat();
    session.read(
        Chunk {
            front: &two[..8],
            tail: &two[two.len() - 64..],
            len: two.len() as u64,
        },
        &mut found,
    );
    session.written(whole(&prefixed(&query(3, "a.b", A))), &mut found);
    assert_eq!(
        found,
        [
            asked("A a.b"),
            answered(0, 200, None),
            asked("A a.b"),
            answered(0, 0, None),
            Finding::Missed,
            asked("A a.b")
        ]
    );
}

#[test]
fn hostile_names() {
    let long = "abcdefghijkl-nopqrstuvwxy.".repeat(9);
    for (text, expected) in [
        ("", "A ."),
        ("17.2.0.192.in-addr.arpa", "A {id}.in-addr.arpa"),
        ("3f2504e0-4f89-11d3-9a0c-0305e82c3301.x", "A {id}.x"),
        ("a\u{1b}[0m.x", "A a??0m.x"),
        (&long, &format!("A {}", long.trim_end_matches('.'))),
    ] {
        let mut session = Dns.session();
        let mut found = Vec::new();
        session.written(whole(&query(1, text, A)), &mut found);
        assert_eq!(found, [asked(expected)], "{text}");
        assert!(expected.len() <= SHAPE_LIMIT);
    }
    // Longer than names may be, and one that points back at itself.
    let too_long = query(1, &"abcdefghijklmnopqrstuvwxy.".repeat(11), A);
    assert_eq!(Dns.recognise(&too_long), Recognised::No);
    let mut loops = query(1, "ab", A);
    loops[12] = 0xc0;
    loops[13] = 0x0c;
    assert_eq!(Dns.recognise(&loops), Recognised::No);
}

#[test]
fn many_questions_without_answers() {
    let mut session = Dns.session();
    let mut found = Vec::new();
    for id in 0..1_000 {
        session.written(whole(&query(id, "a", A)), &mut found);
    }
    let over = |finding: &&Finding| **finding == answered(0, 0, Some(NO_ANSWER));
    assert_eq!(found.iter().filter(over).count(), 1_000 - 64);
}

#[test]
fn any_bytes_at_all() {
    let mut seed = 7_u64;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize
    };
    for round in 0..20_000 {
        let mut session = Dns.session();
        let mut found = Vec::new();
        let mut open = 0_usize;
        for _ in 0..next() % 10 {
            let id = u16::try_from(next() % 3).unwrap();
            let mut bytes = match next() % 3 {
                0 => query(id, "a.b", A),
                1 => answer(id, 0, 1, "a.b", A),
                _ => query_edns(id, "x", AAAA),
            };
            if round % 2 == 0 {
                bytes = prefixed(&bytes);
            }
            if next() % 3 == 0 {
                let at = next() % bytes.len();
                bytes[at] = u8::try_from(next() % 256).unwrap();
            }
            let front = if next() % 3 == 0 {
                next() % bytes.len()
            } else {
                bytes.len()
            };
            let chunk = Chunk {
                front: &bytes[..front],
                tail: &bytes[bytes.len().min(front + next() % 9)..],
                len: bytes.len() as u64,
            };
            found.clear();
            if next() % 2 == 0 {
                session.written(chunk, &mut found);
            } else {
                session.read(chunk, &mut found);
            }
            for finding in &found {
                match finding {
                    Finding::Asked { .. } => open += 1,
                    Finding::AnsweredAt { index, .. } => {
                        assert!(*index < open);
                        open -= 1;
                    }
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn gaps_give_up_what_is_open() {
    for stream in [false, true] {
        let framed = |bytes: Vec<u8>| if stream { prefixed(&bytes) } else { bytes };
        let mut session = Dns.session();
        let mut found = Vec::new();
        session.written(whole(&framed(query(1, "a", A))), &mut found);
        session.written(whole(&framed(query(2, "b", A))), &mut found);
        session.gap(&mut found);
        session.read(whole(&framed(answer(1, 0, 1, "a", A))), &mut found);
        session.written(whole(&framed(query(3, "c", A))), &mut found);
        session.read(whole(&framed(answer(3, 0, 1, "c", A))), &mut found);
        assert_eq!(
            found,
            [
                asked("A a"),
                asked("A b"),
                answered(0, 0, None),
                answered(0, 0, None),
                Finding::Missed,
                asked("A c"),
                answered(0, 1, None)
            ]
        );
    }
}
