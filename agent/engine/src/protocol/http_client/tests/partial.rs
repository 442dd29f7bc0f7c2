//! Bytes that were not captured, hostile peers, secrets.

use super::super::super::client::SHAPE_LIMIT;
use super::*;

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
        [asked("GET api/a"), unfinished()]
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

#[test]
fn gaps_give_up_what_is_open() {
    let mut post = b"POST /a HTTP/1.1\r\nContent-Length: 20\r\n\r\n".to_vec();
    post.extend([b'x'; 10]);
    let begun = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nbegun";
    for before in [
        &[][..],
        &[Write(GET)],
        &[Write(&post)],
        &[Write(GET), Write(GET), Read(begun)],
        &[Write(GET), Read(b"HTTP/1.0 200 OK\r\n\r\nbegun")],
        &[Write(GET), Read(b"HTTP/1.1 200 O")],
    ] {
        for after in [
            &[][..],
            &[Read(b"rest of a body\r\n")],
            &[Write(b"rest of a body")],
        ] {
            let mut session = HttpClient.session();
            let mut found = Vec::new();
            for io in before {
                feed(&mut *session, *io, (usize::MAX, 0), &mut found);
            }
            let open = |found: &[Finding]| {
                let asked = |f: &&Finding| matches!(f, Finding::Asked { .. });
                let over =
                    |f: &&Finding| matches!(f, Finding::Answered { .. } | Finding::AnsweredBefore);
                found.iter().filter(asked).count() - found.iter().filter(over).count()
            };
            session.gap(&mut found);
            assert_eq!(open(&found), 0, "{found:?}");
            assert_eq!(found.last(), Some(&Finding::Missed));
            found.clear();
            for io in after.iter().chain(&[Write(GET), Read(OK)]) {
                feed(&mut *session, *io, (usize::MAX, 0), &mut found);
            }
            assert_eq!(found, [asked("GET api/a"), answered()], "{before:?}");
        }
    }
}
