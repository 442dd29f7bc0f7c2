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
        "POST http://*:******@h/p?a=",
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

const USERS: [&str; 9] = [
    "CONNECT u:SECRET@h:443 HTTP/1.1\r\nHost: h\r\n\r\n",
    "CONNECT SECRET@h:443 HTTP/1.1\r\nHost: SECRET@h\r\n\r\n",
    "GET https:u:SECRET@h/x HTTP/1.1\r\nHost:u:SECRET@h:80\r\n\r\n",
    "GET https:/u:SECRET@h/x HTTP/1.1\r\nHost: SECRET@SECRET@h \r\n\r\n",
    "GET //u:SECRET@h/x HTTP/1.1\r\n\r\n",
    "GET //SECRET:SECRET@h?a=SECRET HTTP/1.1\r\n\r\n",
    "GET http://u:a SECRET@h/x HTTP/1.1\r\n\r\n",
    "GET /x;jsessionid=SECRET/y;b=SECRET;c=SECRET?d=SECRET HTTP/1.1\r\n\r\n",
    "GET http://SECRET@h/x;j=SECRET SECRET;j=SECRET HTTP/1.1\r\n\r\n",
];

#[test]
fn user_information_and_path_parameters_go_however_the_bytes_are_cut() {
    for text in USERS {
        let whole = scrubbed(&[text]);
        assert!(!whole.contains("SECRET"), "{whole}");
        for cut in 1..text.len() {
            let (a, b) = text.split_at(cut);
            let out = scrubbed(&[a, b]);
            assert!(!out.contains("SECRET"), "cut at {cut}: {out}");
            // No part of it either, but for letters that begin a version.
            assert!(
                !out.contains("SEC") && !out.contains("RET"),
                "cut at {cut}: {out}"
            );
            assert!(
                out.ends_with("HTTP/1.1\r\n\r\n") || out.contains("\r\nHost:"),
                "{out}"
            );
        }
    }
}

#[test]
fn the_engine_sees_the_same_in_what_is_left() {
    use crate::protocol::{Protocol as _, http::Http1};
    for text in USERS {
        let out = scrubbed(&[text]);
        let (raw, kept) = (
            Http1.request(text.as_bytes(), true),
            Http1.request(out.as_bytes(), true),
        );
        let shown = |target: &[u8]| crate::redact::target(std::str::from_utf8(target).unwrap());
        assert_eq!(shown(raw.target), shown(kept.target), "{text}");
        assert!(!shown(raw.target).contains("SECRET"));
        assert_eq!(raw.host, kept.host, "{text}");
        let route = |target: &[u8]| {
            let mut out = String::new();
            let target = std::str::from_utf8(target).unwrap();
            crate::routes::template::template(target, &[], &mut out);
            out
        };
        assert_eq!(route(raw.target), route(kept.target), "{text}");
        assert!(!route(raw.target).contains("SECRET"), "{text}");
    }
}
