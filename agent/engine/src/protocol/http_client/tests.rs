//! Whole conversations, in one piece and in any two; hidden bytes, hostile servers, secrets.

use super::super::client::SHAPE_LIMIT;
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
    // How many parts an answer came in makes no difference.
    found.dedup_by(|a, b| a == b && matches!(a, Finding::Answering { .. }));
    found
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
    ] {
        assert_eq!(HttpClient.recognise(bytes), Recognised::No, "{bytes:?}");
    }
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
        ("GET /", "API.example.com:8080", "GET api.example.com/"),
        ("GET /a", "127.0.0.1:80", "GET /a"),
        ("GET /a", "[::1]:80", "GET /a"),
        ("GET /a", "u:p@h", "GET h/a"),
        ("GET /a", "a b", "GET /a"),
        (
            "GET http://u:p@proxied.org:81/a?b",
            "x",
            "GET proxied.org/a",
        ),
        ("OPTIONS *", "h", "OPTIONS *"),
        ("GET /u/me@example.org/x", "", "GET /u/{id}/x"),
        ("GET /u/me%40example.org", "", "GET /u/{id}"),
        ("GET /O(Key='abc')/x", "", "GET /O(Key=?/x"),
        ("GET /a;s=abc/b", "", "GET /a/b"),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(shape_of(request.as_bytes()), expected, "{line}");
    }
}

#[test]
fn long_bodies_of_which_the_ends_are_captured() {
    let mut response = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec();
    response.extend(vec![b'x'; 100_000]);
    let mut post = b"POST /a HTTP/1.1\r\nContent-Length: 90000\r\n\r\n".to_vec();
    post.extend(vec![b'x'; 90_000]);
    assert_eq!(
        run_cut(&[Write(&post), Read(&response), Write(GET), Read(OK)]),
        [asked("POST /a"), answered(), asked("GET api/a"), answered()]
    );
    // In pieces, the last of which has the next response too.
    let long =
        b"HTTP/1.1 404 No\r\nServer: as long as what is captured of the end of a read\r\n\r\n";
    let rest = [&response[50_000..], long].concat();
    assert_eq!(
        plain(
            &[
                Write(GET),
                Write(GET),
                Read(&response[..30_000]),
                Read(&response[30_000..50_000]),
                Read(&rest)
            ],
            (FRONT, TAIL)
        ),
        [
            asked("GET api/a"),
            asked("GET api/a"),
            answered(),
            part(None)
        ]
    );
}

#[test]
fn where_the_end_of_an_answer_is_hidden() {
    let long_head = format!(
        "HTTP/1.1 502 Bad\r\nX: {}\r\nContent-Length: 2\r\n\r\nno",
        "x".repeat(2_000)
    );
    let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..100 {
        chunked.extend(b"40\r\n");
        chunked.extend([b'x'; 64]);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    for (response, error) in [
        (long_head.as_bytes(), Some("502")),
        (chunked.as_slice(), None),
    ] {
        assert_eq!(
            run_cut(&[Write(GET), Read(response), Write(GET), Read(OK)]),
            [
                asked("GET api/a"),
                part(error),
                Finding::AnsweredBefore,
                asked("GET api/a"),
                answered()
            ]
        );
        // Captured whole, the end is known.
        let known = error.map_or_else(answered, failed);
        assert_eq!(
            plain(&[Write(GET), Read(response)], (usize::MAX, 0)),
            [asked("GET api/a"), known]
        );
    }
}

#[test]
fn requests_with_hidden_parts() {
    let long_head = format!(
        "GET /a HTTP/1.1\r\nHost: api\r\nCookie: {SECRET}{}\r\n\r\n",
        "x".repeat(2_000)
    );
    let long_line = format!("GET /a/{}?q={SECRET} HTTP/1.1\r\n\r\n", "x".repeat(2_000));
    let mut chunked = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..100 {
        chunked.extend(b"40\r\n");
        chunked.extend([b'x'; 64]);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    for (request, shape) in [
        (long_head.as_bytes(), "GET api/a"),
        (long_line.as_bytes(), "GET /a/{cut}"),
        (chunked.as_slice(), "POST /a"),
    ] {
        assert_eq!(
            run_cut(&[Write(request), Read(OK), Write(GET), Read(OK)]),
            [asked(shape), answered(), asked("GET api/a"), answered()]
        );
    }
    // A line that is kept in part though all of it was captured.
    let found = plain(&[Write(long_line.as_bytes()), Read(OK)], (usize::MAX, 0));
    assert_eq!(found, [asked("GET /a/{cut}"), answered()]);
    // Its second request is hidden, and said to be missed.
    let body = "x".repeat(1_000);
    let two = format!("POST /a HTTP/1.1\r\nContent-Length: 1000\r\n\r\n{body}");
    let two = [two.as_bytes(), GET, GET, GET, GET].concat();
    assert_eq!(run_cut(&[Write(&two)]), [asked("POST /a"), Finding::Missed]);
    // As is one that only its response tells of.
    assert_eq!(
        plain(&[Write(GET), Read(OK), Read(OK)], (usize::MAX, 0)),
        [asked("GET api/a"), answered(), Finding::Missed]
    );
    let timeout = b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        run(&[Write(GET), Read(OK), Read(timeout)]),
        [asked("GET api/a"), answered()]
    );
}

#[test]
fn no_secret_is_told() {
    let encoded = "x%40hunter2secret";
    for target in [
        format!("/a?x={SECRET}"),
        format!("/a?{SECRET}"),
        format!("/a#{SECRET}"),
        format!("/a/token={SECRET}/b"),
        format!("/a;session={SECRET}/b"),
        format!("/a/{SECRET}@example.org/b"),
        format!("/a/{encoded}/b"),
        format!("http://{SECRET}:{SECRET}@host/a"),
        format!("http://host?{SECRET}"),
        format!("//{SECRET}@host/a"),
        format!("/{}{SECRET}", "a/".repeat(600)),
        format!("/{}/{SECRET}", "a".repeat(1_100)),
        format!("/a/eyJhbGciOiJIUzI1NiJ9.{SECRET}.eyJzdWIi"),
    ] {
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: {SECRET}@api\r\nAuthorization: {SECRET}\r\n\
             Content-Length: 13\r\n\r\n{SECRET}"
        );
        let answer =
            format!("HTTP/1.1 500 {SECRET}\r\nX: {SECRET}\r\nContent-Length: 13\r\n\r\n{SECRET}");
        for limits in [(usize::MAX, 0), (FRONT, TAIL), (20, 5)] {
            let found = plain(
                &[Write(request.as_bytes()), Read(answer.as_bytes())],
                limits,
            );
            let text = format!("{found:?}");
            assert!(!text.contains("hunter2"), "{target}: {text}");
        }
        // Cut anywhere, its front is not told either.
        for cut in 0..request.len().min(1_200) {
            let mut session = HttpClient.session();
            let mut found = Vec::new();
            let front = Chunk {
                front: &request.as_bytes()[..cut],
                tail: b"",
                len: 100_000,
            };
            session.written(front, &mut found);
            let text = format!("{found:?}");
            assert!(!text.contains("hunt"), "{target} cut at {cut}: {text}");
        }
    }
}

#[test]
fn hostile_peers() {
    let endless = format!("GET /{} HTTP/1.1\r\n\r\n", "\u{1b}[31m/".repeat(5_000));
    let found = plain(&[Write(endless.as_bytes())], (usize::MAX, 0));
    let [Finding::Asked { shape }] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert!(
        shape.len() <= SHAPE_LIMIT && !shape.contains('\u{1b}'),
        "{shape:?}"
    );
    let huge = b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n";
    assert_eq!(
        plain(
            &[Write(GET), Read(huge), Read(&[b'x'; 4096])],
            (FRONT, TAIL)
        ),
        [asked("GET api/a")]
    );
    let garbage = plain(
        &[Write(GET), Read(b"\x00\xff\n\r\n"), Read(&[0; 9000])],
        (FRONT, TAIL),
    );
    assert_eq!(garbage, [asked("GET api/a"), part(None)]);
    // More requests than anybody pipelines.
    let many = GET.repeat(10_000);
    let found = plain(&[Write(&many), Read(OK)], (usize::MAX, 0));
    assert_eq!(found.len(), 4_096 + 1);
    assert_eq!(found.last(), Some(&Finding::Missed));
}

#[test]
fn any_bytes_at_all() {
    let mut seed = 1_u64;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize
    };
    let words: [&[u8]; 10] = [
        GET,
        OK,
        b"\r\n",
        b"Content-Length: 7\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 101 S\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"\x00",
    ];
    for _ in 0..20_000 {
        let mut session = HttpClient.session();
        let mut found = Vec::new();
        let (mut asked, mut over) = (0_i64, 0_i64);
        for _ in 0..next() % 8 {
            let text: Vec<u8> = (0..next() % 4)
                .flat_map(|_| words[next() % 10])
                .copied()
                .collect();
            let limits = (next() % 80, next() % 20);
            let io = if next() % 2 == 0 {
                Write(&text)
            } else {
                Read(&text)
            };
            feed(&mut *session, io, limits, &mut found);
        }
        for finding in &found {
            match finding {
                Finding::Asked { .. } => asked += 1,
                Finding::Answered { .. } | Finding::AnsweredBefore => over += 1,
                _ => {}
            }
            assert!(over <= asked, "{found:?}");
        }
    }
}
