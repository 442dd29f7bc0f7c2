//! What is taken for memcached, and what is not.

use super::*;

#[test]
fn recognises_text() {
    for line in [
        "get k\r\n",
        "get a b c\r\nset",
        "gets k\r\n",
        "gat 0 k\r\n",
        "set k 0 -1 5\r\nhello\r\n",
        "set k 0 0 5 noreply\r\n",
        "cas k 0 0 5 17\r\n",
        "incr k 1\r\n",
        "delete k\r\n",
        "touch k 60\r\n",
        "flush_all\r\n",
        "flush_all 10 noreply\r\n",
        "stats\r\n",
        "stats items\r\n",
        "version\r\n",
        "mn\r\n",
        "mg Zm9v b v k q O1\r\n",
        "ms k 5 T0\r\n",
    ] {
        for at in 0..line.find('\n').unwrap() {
            let front = &line.as_bytes()[..at];
            assert_eq!(
                Memcached.recognise(front),
                Recognised::Undecided,
                "{line} {at}"
            );
        }
        assert_eq!(
            Memcached.recognise(line.as_bytes()),
            Recognised::Yes,
            "{line}"
        );
    }
}

#[test]
fn other_text_is_not_recognised() {
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"get / HTTP/1.1\r\n",
        b"GET k\r\n",
        b"get\r\n",
        b"get \r\n",
        b"get a\tb\r\n",
        b"get k\n",
        b"set k 0 0\r\n",
        b"set k 0 0 x\r\n",
        b"set k 0 0 1 2\r\n",
        b"delete 12\r\n",
        b"touch 12\r\n",
        b"put 0 0 60 5\r\n",
        b"version 1\r\n",
        b"mg k 1\r\n",
        b"quit\r\n",
        b"PING\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\x16\x03\x01\x02\x00",
        b"\x0f\x00\x00\x00\x03SELECT 1",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"Q\x00\x00\x00\x0dSELECT 1\x00",
        b"getx",
        b"get \x01",
    ] {
        assert_eq!(Memcached.recognise(bytes), Recognised::No, "{bytes:?}");
    }
    let long = format!("get {}", "k".repeat(251));
    assert_eq!(Memcached.recognise(long.as_bytes()), Recognised::No);
}

#[test]
fn recognises_binary() {
    for whole in [
        request(0x00, 0, (b"", b"k", b"")),
        request(0x11, 9, (&[0; 8], b"k", b"v")),
        request(0x0a, 0, (b"", b"", b"")),
        request(0x10, 0, (b"", b"items", b"")),
        request(0x21, 0, (b"", b"PLAIN", b"\0u\0p")),
    ] {
        for at in 1..24 {
            let front = Memcached.recognise(&whole[..at]);
            assert_eq!(front, Recognised::Undecided, "{at}");
        }
        assert_eq!(Memcached.recognise(&whole[..24]), Recognised::Yes);
    }
    let long = "k".repeat(251);
    for bytes in [
        request(0x77, 0, (b"", b"k", b"")),
        request(0x00, 0, (b"", b"", b"")),
        request(0x00, 0, (b"x", b"k", b"")),
        request(0x00, 0, (b"", b"k", b"v")),
        request(0x01, 0, (b"", b"k", b"v")),
        request(0x00, 0, (b"", long.as_bytes(), b"")),
        response(0x00, 0, 0, b"v"),
        vec![0x80; 24],
        vec![0x80, 0xff],
    ] {
        assert_eq!(Memcached.recognise(&bytes), Recognised::No, "{bytes:?}");
    }
}
