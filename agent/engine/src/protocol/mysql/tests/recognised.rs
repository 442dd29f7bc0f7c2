//! What is told from a client's writes, and what is not.

use super::super::super::client::CLIENT_PROTOCOLS;
use super::*;

/// Writes that tell MySQL wherever the connection is.
fn telling() -> Vec<Vec<u8>> {
    let mut bulk = command(
        command::STMT_BULK_EXECUTE,
        &[1, 0, 0, 0, 0x80, 0, 3, 0, 0, 1, b'x'],
    );
    bulk.extend(query("commit"));
    vec![
        login(0),
        query("select 1"),
        query("  /* a */ -- b\n (select 'é' from t)"),
        query("/*!40101 SET NAMES utf8 */"),
        query("BEGIN"),
        prepare("insert into t values (?)"),
        execute(1, 0),
        execute(0xffff_ffff, 1),
        command(command::STMT_FETCH, &[1, 0, 0, 0, 2, 0, 0, 0]),
        bulk,
        [about(command::STMT_RESET, 1), execute(1, 0)].concat(),
        command(command::QUERY, b"\x00\x01select 1"),
    ]
}

#[test]
fn writes_that_tell() {
    for write in telling() {
        for cut in 0..write.len() {
            assert_ne!(
                Mysql.recognise(&write[..cut]),
                Recognised::No,
                "{write:?} cut at {cut}"
            );
        }
        // It is the first that does.
        let first = CLIENT_PROTOCOLS
            .iter()
            .find(|protocol| protocol.recognise(&write) == Recognised::Yes);
        assert_eq!(
            first.map(|protocol| protocol.name()),
            Some("mysql"),
            "{write:?}"
        );
    }
    let mut ssl = (0x0200 | recognise::SSL).to_le_bytes().to_vec();
    ssl.extend([0; 28]);
    assert_eq!(Mysql.recognise(&packet(1, &ssl)), Recognised::Yes);
}

#[test]
fn a_front_of_what_was_written_is_enough() {
    let long = format!("select {} from t", "a, ".repeat(1000));
    let mut wide = execute(1, 0);
    wide.resize(0x1234, b'x');
    wide[..3].copy_from_slice(&[0x30, 0x12, 0]);
    for write in [query(&long), prepare(&long), wide] {
        assert_eq!(Mysql.recognise(&write[..512]), Recognised::Yes);
    }
}

#[test]
fn writes_that_others_may_make_too() {
    for write in [
        command(command::PING, b""),
        command(command::QUIT, b""),
        command(command::RESET_CONNECTION, b""),
        command(command::INIT_DB, b"shop"),
        about(command::STMT_RESET, 1),
        about(command::STMT_CLOSE, 1),
        query("-- ping"),
        query("select 'a text that goes on and on'")[..20].to_vec(),
    ] {
        assert_eq!(Mysql.recognise(&write), Recognised::Undecided, "{write:?}");
    }
}

#[test]
fn lengths_that_are_not_met() {
    for by in [-3_i8, -1, 1, 3] {
        let mut write = query("select 'a text'");
        write[0] = write[0].wrapping_add_signed(by);
        assert_eq!(Mysql.recognise(&write), Recognised::Undecided, "{by}");
    }
    let mut write = query("select 'a text'");
    write[0] -= 7;
    assert_eq!(Mysql.recognise(&write), Recognised::No);
}

#[test]
fn what_is_none() {
    let mut grpc = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    grpc.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    // MongoDB's length has itself in it.
    let mut mongo = 58_u32.to_le_bytes().to_vec();
    mongo.extend([3, 0, 0, 0, 0, 0, 0, 0, 0xdd, 7, 0, 0]);
    mongo.resize(58, 0);
    for write in [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"*1\r\n$4\r\nPING\r\n".to_vec(),
        b"get key\r\n".to_vec(),
        b"Q\0\0\0\x0dselect 1\0".to_vec(),
        b"P\0\0\0\x16\0select $1\0\0\0\0\0\0\0\0".to_vec(),
        b"\x80\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(),
        b"\x00\x00\x00\x2a\x00\x03\x00\x01\0\0\0\x01".to_vec(),
        // Somebody's own: a length, a kind, a text.
        query("hello there"),
        query("\u{1}\u{2}\u{3}"),
        command(command::STMT_EXECUTE, &[1, 0, 0, 0, 0, 2, 0, 0, 0]),
        command(0x12, b"\0\0\0\0"),
        command(0x77, b"select 1"),
        packet(2, b"\x03select 1"),
        packet(0, b""),
        mongo,
        grpc,
        login(0)[..4].iter().copied().chain([0xff; 60]).collect(),
    ] {
        let recognised = Mysql.recognise(&write);
        let cut = write.ends_with(b"1x") && recognised == Recognised::Yes;
        assert!(
            recognised == Recognised::No || cut,
            "{recognised:?}: {write:?}"
        );
    }
}
