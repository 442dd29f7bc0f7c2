//! Handshakes, connections that are older than the agent, and what only looks so.

use super::*;

fn whole(bytes: &[u8]) -> Chunk<'_> {
    Chunk {
        front: bytes,
        tail: b"",
        len: bytes.len() as u64,
    }
}

fn sealed(kind: u8, length: u16) -> Vec<u8> {
    let [high, low] = length.to_be_bytes();
    let mut bytes = vec![kind, 3, 3, high, low];
    bytes.extend(std::iter::repeat_n(0xa5, usize::from(length)));
    bytes
}

fn hello() -> Vec<u8> {
    let mut bytes = sealed(HANDSHAKE, 512);
    bytes[2] = 1;
    bytes[5] = CLIENT_HELLO;
    bytes
}

fn asked() -> Finding {
    Finding::Asked {
        shape: "encrypted".to_owned(),
    }
}

const PART: Finding = Finding::Answering {
    error: None,
    unfinished: false,
};

#[test]
fn records_are_recognised_and_nothing_else() {
    let several = [sealed(0x14, 1), sealed(HANDSHAKE, 40), sealed(DATA, 300)].concat();
    for bytes in [hello(), sealed(DATA, 32), several] {
        for cut in 0..bytes.len() {
            let expected = match cut {
                0..HEADER => Recognised::Undecided,
                HEADER if bytes[0] == HANDSHAKE => Recognised::Undecided,
                _ => Recognised::Yes,
            };
            assert_eq!(Tls.recognise(&bytes[..cut]), expected, "{cut}");
        }
    }
    let text_behind = [sealed(DATA, 32), b"GET / HTTP/1.1".to_vec()].concat();
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"*1\r\n$4\r\nPING\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"\x17\x03\x01\x00\x00",
        b"\x17\x03\x05\x00\x20",
        b"\x17\x03\x03\xff\xff",
        b"\x16\x03\x01\x00\x10\x02",
        b"\x14\x03\x03\x00\x02",
        // MySQL: a statement of 66,327 bytes.
        b"\x17\x03\x01\x00\x03select",
        &text_behind,
    ] {
        assert_eq!(Tls.recognise(bytes), Recognised::No, "{bytes:?}");
    }
}

#[test]
fn a_round_trip_is_an_operation() {
    let mut session = Tls.session();
    let mut found = Vec::new();
    session.written(whole(&hello()), &mut found);
    session.read(whole(&[0; 5]), &mut found);
    session.read(whole(&[0; 90]), &mut found);
    // In two writes, both before an answer.
    session.written(whole(&sealed(DATA, 60)), &mut found);
    session.written(whole(&sealed(DATA, 600)), &mut found);
    session.read(whole(&sealed(DATA, 60)), &mut found);
    session.written(whole(&sealed(DATA, 19)), &mut found);
    session.written(whole(&sealed(ALERT, 2)), &mut found);
    assert_eq!(
        found,
        [asked(), PART, PART, Finding::AnsweredBefore, asked(), PART]
    );
}

#[test]
fn what_comes_before_the_first_record_is_none() {
    let mut session = Tls.session();
    let mut found = Vec::new();
    session.written(whole(b"\x00\x00\x00\x08\x04\xd2\x16\x2f"), &mut found);
    session.read(whole(b"S"), &mut found);
    session.written(whole(b""), &mut found);
    assert_eq!(found, []);
    session.written(whole(&hello()), &mut found);
    assert_eq!(found, [asked()]);
}

#[test]
fn gaps_give_up_what_is_open() {
    let mut session = Tls.session();
    let mut found = Vec::new();
    session.written(whole(&hello()), &mut found);
    session.gap(&mut found);
    session.gap(&mut found);
    session.read(whole(&[0; 9]), &mut found);
    session.written(whole(&sealed(DATA, 60)), &mut found);
    assert_eq!(
        found,
        [
            asked(),
            Finding::AnsweredBefore,
            Finding::Missed,
            Finding::Missed,
            asked()
        ]
    );
}
