use super::*;

#[test]
fn setting_up() {
    for packet in [
        startup(),
        startup_packet(3 << 16 | 2, b"user\0u\0\0"),
        startup_packet(80_877_103, b""),
        startup_packet(80_877_104, b""),
        startup_packet(80_877_102, &[7; 8]),
    ] {
        for cut in 0..=packet.len() {
            let expected = if cut < 8 {
                Recognised::Undecided
            } else {
                Recognised::Yes
            };
            assert_eq!(
                Postgres.recognise(&packet[..cut]),
                expected,
                "{packet:?} cut at {cut}"
            );
        }
    }
    for packet in [
        startup_packet(2 << 16, b"user\0"),
        startup_packet(80_877_103, b"x"),
        startup_packet(80_877_102, b""),
        // Kafka: Metadata, version 0, correlation 1.
        startup_packet(3 << 16, &[0, 0, 0, 1, 0, 2, b'm', b'e']),
        b"\x00\x0d\x00\x00\x01".to_vec(),
    ] {
        assert_eq!(Postgres.recognise(&packet), Recognised::No, "{packet:?}");
    }
}

#[test]
fn a_connection_that_is_older() {
    for write in [
        query("select 1"),
        query("sélect\n\t'x'"),
        [run("select $1"), sync()].concat(),
        [bind("", "stmt_1"), execute(""), sync()].concat(),
        [
            parse("s", "select $1"),
            describe('S', "s"),
            message(b'H', b""),
        ]
        .concat(),
        [close('S', "s"), sync()].concat(),
        [bind_value("p", "s", 5000), execute("p"), sync()].concat(),
        sync(),
        message(b'X', b""),
        [message(b'd', b"1\tx\n"), message(b'c', b"")].concat(),
    ] {
        let mut yes = false;
        for cut in 0..=write.len() {
            match Postgres.recognise(&write[..cut]) {
                Recognised::Yes => yes = true,
                // More bytes take nothing back.
                Recognised::Undecided => assert!(!yes, "{write:?} cut at {cut}"),
                Recognised::No => panic!("{write:?} cut at {cut}"),
            }
        }
        assert!(yes, "{write:?}");
    }
}

#[test]
fn a_front_of_what_was_written_is_enough() {
    let long = format!("select {} from t", "a, ".repeat(1000));
    for write in [query(&long), run(&long), bind_value("", "s", 5000)] {
        assert_eq!(Postgres.recognise(&write[..256]), Recognised::Yes);
    }
}

#[test]
fn all_that_was_captured_must_fit() {
    let mut write = [sync(), query("select 1")].concat();
    assert_eq!(Postgres.recognise(&write), Recognised::Yes);
    write.extend(b"Sx");
    assert_eq!(Postgres.recognise(&write), Recognised::No);
}

#[test]
fn what_else_is_spoken() {
    for write in [
        &b"POST /a HTTP/1.1\r\nHost: h\r\n\r\n"[..],
        b"DELETE /a HTTP/1.1\r\n",
        b"PUT /a HTTP/1.1\r\n",
        b"PATCH /a HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"PING\r\n",
        b"SET a b\r\n",
        b"set k 0 0 5\r\nhello\r\n",
        b"get k\r\n",
        b"delete k\r\n",
        b"cas k 0 0 1 2\r\nx\r\n",
        b"flush_all\r\n",
        b"prepend k 0 0 1\r\nx\r\n",
        b"\x80\x00\x00\x01\x00\x00\x00\x00",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        // MySQL: a query of 80 bytes, a ping, the preparation of a statement of 67 bytes.
        b"\x51\x00\x00\x00\x03select aaaaaaaaaaaaaaaaaaaaaaa",
        b"\x01\x00\x00\x00\x0e",
        b"\x44\x00\x00\x00\x16SELECT aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        b"\x50\x00\x00\x00\x16SELECT aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        b"\x51\x00\x00\x00\x16SELECT aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        b"EHLO mail\r\n",
        b"SELECT 1",
        b"Q\x00\x00\x00\x03x",
        b"Q\x00\x00\x00\x06\x01\x00",
        b"Q\x00\x00\x00\x06a\x01",
        b"Q\x00\x00\x00\x0aa\x00",
        b"Q\x7f\xff\xff\xffselect",
        b"S\x00\x00\x00\x05x",
    ] {
        assert_eq!(Postgres.recognise(write), Recognised::No, "{write:?}");
        for cut in 0..write.len() {
            assert_ne!(
                Postgres.recognise(&write[..cut]),
                Recognised::Yes,
                "{write:?} cut at {cut}"
            );
        }
    }
}
