//! Whole conversations, in one piece and in any two.

mod partial;

use super::super::client::{Chunk, Finding};
use super::*;

/// What a test's connection moves.
#[derive(Clone, Copy, Debug)]
enum Io<'a> {
    Write(&'a [u8]),
    Read(&'a [u8]),
}
use Io::{Read, Write};

const FRONT: usize = 512;
const TAIL: usize = 64;
const SECRET: &str = "hunter2secret";
const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: api\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn chunk(bytes: &[u8], front: usize, tail: usize) -> Chunk<'_> {
    let front = front.min(bytes.len());
    let tail = tail.min(bytes.len() - front);
    Chunk {
        front: &bytes[..front],
        tail: &bytes[bytes.len() - tail..],
        len: bytes.len() as u64,
    }
}

fn feed(session: &mut dyn Session, io: Io<'_>, limits: (usize, usize), found: &mut Vec<Finding>) {
    match io {
        Write(bytes) => session.written(chunk(bytes, limits.0, limits.1), found),
        Read(bytes) => session.read(chunk(bytes, limits.0, limits.1), found),
    }
}

fn plain(ios: &[Io<'_>], limits: (usize, usize)) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut session = HttpClient.session();
    for io in ios {
        feed(&mut *session, *io, limits, &mut found);
    }
    settled(found)
}

/// How many parts an answer came in makes no difference.
fn settled(found: Vec<Finding>) -> Vec<Finding> {
    let mut settled = Vec::new();
    let mut part = None;
    for finding in found {
        match finding {
            Finding::Answering { .. } => part = Some(finding),
            Finding::Answered { .. } => {
                part = None;
                settled.push(finding);
            }
            _ => {
                settled.extend(part.take());
                settled.push(finding);
            }
        }
    }
    settled.extend(part);
    settled
}

fn split<'a>(io: Io<'a>, at: usize) -> [Io<'a>; 2] {
    match io {
        Write(bytes) => [Write(&bytes[..at]), Write(&bytes[at..])],
        Read(bytes) => [Read(&bytes[..at]), Read(&bytes[at..])],
    }
}

fn bytes_of(io: Io<'_>) -> &[u8] {
    match io {
        Write(bytes) | Read(bytes) => bytes,
    }
}

/// Findings of a connection; the same with every chunk split at every offset, and byte by byte.
fn run(ios: &[Io<'_>]) -> Vec<Finding> {
    let all = (usize::MAX, 0);
    let expected = plain(ios, all);
    for (index, io) in ios.iter().enumerate() {
        for at in 0..=bytes_of(*io).len() {
            let mut pieces = ios[..index].to_vec();
            pieces.extend(split(*io, at));
            pieces.extend(&ios[index + 1..]);
            assert_eq!(plain(&pieces, all), expected, "chunk {index} split at {at}");
        }
    }
    let mut bytes = Vec::new();
    for io in ios {
        for byte in bytes_of(*io).chunks(1) {
            bytes.push(match io {
                Write(_) => Write(byte),
                Read(_) => Read(byte),
            });
        }
    }
    assert_eq!(plain(&bytes, all), expected, "byte by byte");
    expected
}

/// Findings where only the ends of long chunks are captured.
fn run_cut(ios: &[Io<'_>]) -> Vec<Finding> {
    plain(ios, (FRONT, TAIL))
}

fn asked(shape: &str) -> Finding {
    Finding::Asked {
        shape: shape.to_owned(),
    }
}

fn answered() -> Finding {
    Finding::Answered {
        rows: 0,
        error: None,
    }
}

fn failed(status: &str) -> Finding {
    Finding::Answered {
        rows: 0,
        error: Some(status.to_owned()),
    }
}

fn part(status: Option<&str>) -> Finding {
    Finding::Answering {
        error: status.map(str::to_owned),
        unfinished: false,
    }
}

fn unfinished() -> Finding {
    Finding::Answering {
        error: None,
        unfinished: true,
    }
}

fn shape_of(request: &[u8]) -> String {
    match run(&[Write(request)]).as_slice() {
        [Finding::Asked { shape }] => shape.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn recognised() {
    for cut in 0..GET.len() {
        let expected = if cut < b"GET /a HTTP/1.1\r\n".len() {
            Recognised::Undecided
        } else {
            Recognised::Yes
        };
        assert_eq!(HttpClient.recognise(&GET[..cut]), expected, "{cut}");
    }
    let long = format!("POST /{}", "a".repeat(506));
    assert_eq!(HttpClient.recognise(long.as_bytes()), Recognised::Yes);
    for bytes in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        b"get key\r\n",
        b"PING\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"T /chunked HTTP/1.1\r\n",
        b"OST /a HTTP/1.1\r\n",
        b"ELETE /a HTTP/1.1\r\n",
        b"get /a HTTP/1.1\r\n",
        b"3f GET /a HTTP/1.1\r\n",
        b"GET a HTTP/1.1\r\n",
        b"GET ftp://a/ HTTP/1.1\r\n",
        b"GET *a HTTP/1.1\r\n",
        b"GET /a HTTP/1\r\n",
        b"GET /a\r\n",
    ] {
        assert_eq!(HttpClient.recognise(bytes), Recognised::No, "{bytes:?}");
    }
}

#[test]
fn methods_and_targets() {
    for line in [
        "PROPFIND /a",
        "PURGE /a",
        "M-SEARCH *",
        "LIST /a",
        "UNLOCK /a",
        "LOCK /a",
        "GET http://h/a",
        "GET https://h/a",
        "CONNECT h:443",
    ] {
        let line = format!("\r\n{line} HTTP/1.1\r\n");
        assert_eq!(
            HttpClient.recognise(line.as_bytes()),
            Recognised::Yes,
            "{line}"
        );
    }
}

/// What stands where a request should begin, and is none, is said to be missed; the next one is told.
#[test]
fn nothing_is_made_of_what_is_out_of_step() {
    let chunked = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let wrong = b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\n";
    for (head, body) in [
        (
            &chunked[..],
            &b"5\r\nhello0\r\n\r\nT /chunked HTTP/1.1\r\n\r\n"[..],
        ),
        (chunked, b"zz\r\nT /chunked HTTP/1.1\r\n\r\n"),
        (wrong, b"POST /chunked HTTP/1.1\r\n\r\n"),
        (wrong, b"abc /d HTTP/1.1\r\n\r\n"),
        (wrong, b"abDELETE d HTTP/1.1\r\n\r\n"),
    ] {
        let written = [head, body].concat();
        let found = plain(
            &[Write(&written), Read(OK), Write(GET), Read(OK)],
            (usize::MAX, 0),
        );
        assert_eq!(
            found,
            [
                asked("POST /a"),
                Finding::Missed,
                answered(),
                asked("GET api/a"),
                answered()
            ],
            "{}",
            String::from_utf8_lossy(body)
        );
    }
    // Nor of the rest of a method, where the front was not looked for.
    let found = plain(
        &[
            Write(wrong),
            Write(b"zzz\n"),
            Read(OK),
            Write(b"G"),
            Write(&GET[1..]),
        ],
        (usize::MAX, 0),
    );
    assert_eq!(found, [asked("POST /a"), Finding::Missed, answered()]);
    // The end of its line is not captured.
    let cut = [wrong, &b"abT /chunked"[..], &[b'x'; 600]].concat();
    assert_eq!(
        plain(&[Write(&cut)], (60, 0)),
        [asked("POST /a"), Finding::Missed]
    );
}

#[test]
fn a_request_and_its_response() {
    assert_eq!(
        run(&[Write(GET), Read(OK), Write(GET), Read(OK)]),
        [
            asked("GET api/a"),
            answered(),
            asked("GET api/a"),
            answered()
        ]
    );
}

#[test]
fn statuses() {
    for (status, expected) in [
        ("204 No Content", answered()),
        ("304 Not Modified", answered()),
        ("301 Moved\r\nContent-Length: 0", answered()),
        ("404 Not Found\r\nContent-Length: 0", failed("404")),
        ("503 Busy\r\nTransfer-Encoding: chunked", failed("503")),
    ] {
        let mut response = format!("HTTP/1.1 {status}\r\nServer: s\r\n\r\n").into_bytes();
        if status.contains("chunked") {
            response.extend(b"2\r\nno\r\n0\r\n\r\n");
        }
        let found = run(&[Write(GET), Read(&response), Write(GET), Read(OK)]);
        assert_eq!(
            found,
            [asked("GET api/a"), expected, asked("GET api/a"), answered()],
            "{status}"
        );
    }
}

#[test]
fn bodies_of_requests() {
    let length =
        b"POST /a HTTP/1.1\r\nHost: api\r\nContent-Length: 19\r\n\r\nGET /x HTTP/1.1\r\n\r\n";
    // The body looks like a request, and is none.
    assert_eq!(
        length.len() - 19,
        length.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4
    );
    let chunked = b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(
        run(&[Write(length), Read(OK), Write(chunked), Read(OK)]),
        [asked("POST api/a"), answered(), asked("PUT /a"), answered()]
    );
}

#[test]
fn pipelined() {
    let two = [GET, b"\r\n", b"HEAD /b HTTP/1.1\r\n\r\n"].concat();
    let answers = [OK, b"HTTP/1.1 404 X\r\nContent-Length: 9\r\n\r\n"].concat();
    assert_eq!(
        run(&[Write(&two), Read(&answers), Write(GET), Read(OK)]),
        [
            asked("GET api/a"),
            asked("HEAD /b"),
            answered(),
            failed("404"),
            asked("GET api/a"),
            answered()
        ]
    );
}

#[test]
fn interim_responses_are_no_answers() {
    let head = b"POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
    let early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    assert_eq!(
        run(&[
            Write(head),
            Read(interim),
            Write(b"abc"),
            Read(early),
            Read(OK)
        ]),
        [asked("POST /a"), answered()]
    );
    // The server does not want the body, and it is not sent.
    let refused = b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        plain(
            &[Write(head), Read(refused), Write(GET), Read(OK)],
            (usize::MAX, 0)
        ),
        [
            asked("POST /a"),
            failed("417"),
            asked("GET api/a"),
            answered()
        ]
    );
}

#[test]
fn a_response_until_the_end_of_the_connection() {
    let response = b"HTTP/1.0 500 Oh\r\nServer: s\r\n\r\nhello, it goes on";
    assert_eq!(
        plain(
            &[Write(GET), Read(response), Read(b"and on")],
            (usize::MAX, 0)
        ),
        [asked("GET api/a"), part(Some("500"))]
    );
}

#[test]
fn a_response_that_stops_before_its_end() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n";
    let length = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhe";
    for response in [&chunked[..], length] {
        assert_eq!(
            run(&[Write(GET), Read(response)]),
            [asked("GET api/a"), unfinished()]
        );
    }
}

#[test]
fn upgrades_and_tunnels() {
    let upgrade = b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
    let switched = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n\x81\x05hello";
    assert_eq!(
        run(&[
            Write(upgrade),
            Read(switched),
            Write(b"\x81\x85aaaa"),
            Read(OK),
            Write(GET)
        ]),
        [asked("GET /ws"), answered()]
    );
    let connect = b"CONNECT user:pw@payments.example.com:443 HTTP/1.1\r\nHost: payments.example.com:443\r\n\r\n";
    let established = b"HTTP/1.1 200 Connection established\r\n\r\n";
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let all = (usize::MAX, 0);
    assert_eq!(
        plain(&[Write(connect), Read(established), Write(hello)], all),
        [
            asked("CONNECT payments.example.com:443"),
            answered(),
            Finding::Encrypted
        ]
    );
    assert_eq!(
        plain(
            &[Write(connect), Read(established), Write(GET), Read(OK)],
            all
        )[2..],
        [asked("GET api/a"), answered()]
    );
    let refused = b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        run(&[Write(connect), Read(refused), Write(connect)])[1..],
        [failed("407"), asked("CONNECT payments.example.com:443")]
    );
    assert_eq!(
        shape_of(b"CONNECT [::1]:8443 HTTP/1.1\r\n\r\n"),
        "CONNECT [::1]:8443"
    );
}

#[test]
fn shapes() {
    for (line, host, expected) in [
        ("GET /users/17/orders?x=1", "h", "GET h/users/{id}/orders"),
        ("GET /", "API.example.com:8080", "GET api.example.com:8080/"),
        ("GET /", "api.example.com:80", "GET api.example.com/"),
        ("GET /", "api.example.com:443", "GET api.example.com/"),
        ("GET /", "api:70000", "GET api/"),
        ("GET /", "api:", "GET api/"),
        ("GET /a", "127.0.0.1:80", "GET /a"),
        ("GET /a", "[::1]:80", "GET /a"),
        ("GET /a", "u:p@h", "GET h/a"),
        ("GET /a", "a b", "GET /a"),
        (
            "GET http://u:p@proxied.org:81/a?b",
            "x",
            "GET proxied.org:81/a",
        ),
        ("OPTIONS *", "h", "OPTIONS *"),
        ("GET /u/me@example.org/x", "", "GET /u/{id}/x"),
        ("GET /u/me%40example.org", "", "GET /u/{id}"),
        ("GET /O(Key='abc')/x", "", "GET /{id}/x"),
        ("GET /a;s=abc/b", "", "GET /a/b"),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(shape_of(request.as_bytes()), expected, "{line}");
    }
}
