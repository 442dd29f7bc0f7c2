//! Secrets anywhere in a stream, however it is cut.

use super::*;

fn scrubbed(pieces: &[&str]) -> String {
    let mut scrubber = Scrubber::request();
    let mut out = String::new();
    for piece in pieces {
        let mut bytes = piece.as_bytes().to_vec();
        scrubber.scrub(&mut bytes);
        assert_eq!(bytes.len(), piece.len());
        out.push_str(&String::from_utf8(bytes).unwrap());
    }
    out
}

const SECRETS: &str = "POST http://u:SECRET@h/p?a=SECRET&b=x SECRET&SECRET HTTP/1.1\r\n\
    Cookie: SECRET\r\nX: y\r\n SECRET\r\nAuthorization:SECRET\r\nSECRET SECRET\r\nHost: h\r\n\
    Content-Length: 6\r\n\r\nSECRETGET /?k=SECRET HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\
    \r\n6;x=SECRET\r\nSECRET\r\n0\r\nT: SECRET\r\n\r\nGET /z HTTP/1.1\r\n\r\n\x16SECRET";

#[test]
fn secrets_go_wherever_they_are() {
    let out = scrubbed(&[SECRETS]);
    assert!(!out.contains("SECRET"), "{out}");
    for kept in [
        "POST http://?:??????@h/p?a=",
        "Host: h\r\n",
        "\r\n6;",
        "GET /z HTTP/1.1",
    ] {
        assert!(out.contains(kept), "{kept}: {out}");
    }
}

#[test]
fn secrets_go_however_the_bytes_are_cut() {
    let whole = scrubbed(&[SECRETS]);
    for cut in 1..SECRETS.len() {
        let (a, b) = SECRETS.split_at(cut);
        let out = scrubbed(&[a, b]);
        assert!(!out.contains("SECRET"), "cut at {cut}: {out}");
        // A cut within the target may blank more; after it all is the same.
        if cut > SECRETS.find('\n').unwrap() && !SECRETS[cut - 1..].starts_with("?k=SEC") {
            assert_eq!(out.len(), whole.len());
            assert_eq!(out[out.len() - 30..], whole[whole.len() - 30..], "{cut}");
        }
    }
}

#[test]
fn skipped_bodies() {
    let mut scrubber = Scrubber::request();
    let mut head = b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nab".to_vec();
    scrubber.scrub(&mut head);
    assert!(head.ends_with(b"\r\n\r\n**"));
    assert!(scrubber.in_body());
    scrubber.skip(8);
    let mut next = b"GET /n HTTP/1.1\r\n".to_vec();
    scrubber.scrub(&mut next);
    assert_eq!(next, b"GET /n HTTP/1.1\r\n");
    scrubber.skip(1);
    let mut lost = b"anything".to_vec();
    scrubber.scrub(&mut lost);
    assert_eq!(lost, b"********");
}
