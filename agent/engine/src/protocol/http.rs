//! HTTP/1.x heads (RFC 9112), requests and responses. Not a validating parser: it reads what
//! servers accept, bare LF included, and never fails on what a stranger sends.

use super::{BodyFraming, Protocol, Recognised, RequestHead, ResponseHead, authority::Front};

/// Longest method accepted.
pub(crate) const METHOD_LIMIT: usize = 24;

/// HTTP/1.0 and HTTP/1.1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Http1;

impl Protocol for Http1 {
    fn recognise(&self, bytes: &[u8]) -> Recognised {
        let bytes = &bytes[empty_lines(bytes)..];
        let window = &bytes[..bytes.len().min(METHOD_LIMIT + 1)];
        let Some(method_end) = window.iter().position(|b| !is_method_byte(*b)) else {
            return if bytes.len() > METHOD_LIMIT {
                Recognised::No
            } else {
                Recognised::Undecided
            };
        };
        if method_end == 0 || bytes[method_end] != b' ' {
            return Recognised::No;
        }
        let Some(line_end) = find(bytes, b'\n') else {
            return Recognised::Undecided;
        };
        let line = trim_cr(&bytes[..line_end]);
        match split_request_line(line) {
            Some((_, target, version)) if is_version_1(version) && !target.is_empty() => {
                Recognised::Yes
            }
            _ => Recognised::No,
        }
    }

    fn head_end(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let empty = empty_lines(bytes);
        head_end(&bytes[empty..], from.saturating_sub(empty)).map(|end| end + empty)
    }

    fn request<'a>(&self, head: &'a [u8], complete: bool) -> RequestHead<'a> {
        let mut lines = Lines::new(&head[empty_lines(head)..]);
        let line = lines.next().unwrap_or_default();
        let (method, target) = match split_request_line(line) {
            Some((method, target, version)) if is_version_1(version) => (method, target),
            // Cut within the request line.
            _ => split_cut_line(line),
        };
        let mut request = RequestHead {
            method,
            target,
            host: b"",
            traceparent: b"",
            x_request_id: b"",
            queue_start: None,
            body: BodyFraming::None,
        };
        let mut framing = Framing::default();
        while let Some(line) = lines.next() {
            let Some((name, value)) = header(line) else {
                continue;
            };
            match name.len() {
                // Of a value that was cut it cannot be told whether it is a host.
                4 if name.eq_ignore_ascii_case(b"host") && (complete || lines.whole) => {
                    request.host = value.rsplit(|b| *b == b'@').next().unwrap_or_default();
                }
                11 if name.eq_ignore_ascii_case(b"traceparent") => request.traceparent = value,
                12 if name.eq_ignore_ascii_case(b"x-request-id") => request.x_request_id = value,
                13 if name.eq_ignore_ascii_case(b"x-queue-start")
                    && request.queue_start.is_none() =>
                {
                    request.queue_start = Some(("X-Queue-Start", value));
                }
                15 if name.eq_ignore_ascii_case(b"x-request-start") => {
                    request.queue_start = Some(("X-Request-Start", value));
                }
                14 | 17 => framing.header(name, value),
                _ => {}
            }
        }
        request.body = framing.body(if complete {
            BodyFraming::None
        } else {
            BodyFraming::Unknown
        });
        request
    }

    fn response(&self, bytes: &[u8]) -> Option<ResponseHead> {
        let status = status_line(bytes)?;
        let head_len = head_end(bytes, 0);
        let head = &bytes[..head_len.unwrap_or(bytes.len())];
        let mut framing = Framing::default();
        for line in Lines::new(head).skip(1) {
            if let Some((name, value)) = header(line) {
                framing.header(name, value);
            }
        }
        Some(ResponseHead {
            status,
            head_len: head_len.map(|len| len as u64),
            body: framing.body(if head_len.is_some() {
                BodyFraming::UntilClose
            } else {
                BodyFraming::Unknown
            }),
        })
    }

    fn response_has_body(&self, method: &[u8], status: u16) -> bool {
        !(method == b"HEAD" || (100..200).contains(&status) || status == 204 || status == 304)
    }
}

/// Content-Length and Transfer-Encoding as they are met.
#[derive(Clone, Debug, Default)]
pub(crate) struct Framing {
    length: Option<u64>,
    chunked: bool,
}

impl Framing {
    pub(crate) fn header(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(b"content-length") {
            self.length = decimal(value);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let last = value.rsplit(|b| *b == b',').next().unwrap_or_default();
            self.chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        }
    }

    pub(crate) fn body(&self, otherwise: BodyFraming) -> BodyFraming {
        match (self.chunked, self.length) {
            (true, _) => BodyFraming::Chunked,
            (false, Some(length)) => BodyFraming::Length(length),
            (false, None) => otherwise,
        }
    }
}

/// Lines of a head without their ends; a last line that was cut is among them.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    rest: &'a [u8],
    /// The last line had its end.
    whole: bool,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(head: &'a [u8]) -> Self {
        Self {
            rest: head,
            whole: true,
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = find(self.rest, b'\n');
        self.whole = end.is_some();
        let line = &self.rest[..end.unwrap_or(self.rest.len())];
        self.rest = end.map_or(&[], |end| &self.rest[end + 1..]);
        Some(trim_cr(line))
    }
}

/// First place of `byte`.
pub(crate) fn find(bytes: &[u8], byte: u8) -> Option<usize> {
    memchr::memchr(byte, bytes)
}

fn trim_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// `token` characters of RFC 9110 that occur in methods.
pub(crate) fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn is_version_1(version: &[u8]) -> bool {
    matches!(version, [b'H', b'T', b'T', b'P', b'/', b'1', b'.', digit] if digit.is_ascii_digit())
}

/// Method, target, version. The target is what lies between the first and the last space.
fn split_request_line(line: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let first = find(line, b' ')?;
    let last = line.iter().rposition(|b| *b == b' ')?;
    (last > first).then(|| {
        (
            &line[..first],
            line[first + 1..last].trim_ascii(),
            &line[last + 1..],
        )
    })
}

/// Method and target of a request line whose end is missing.
fn split_cut_line(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(first) = find(line, b' ') else {
        return (line, b"");
    };
    let rest = &line[first + 1..];
    let end = find(rest, b' ').unwrap_or(rest.len());
    let (start, told) = Front::Start.advance(&rest[..end]);
    let version = rest.get(end + 1..).unwrap_or_default();
    // A space may be part of the target.
    let ends = told.is_some() || (!version.is_empty() && may_be_version(version));
    (
        &line[..first],
        &rest[..if ends { end } else { start.min(end) }],
    )
}

/// Whether `bytes` are the front of a version, or go on behind one.
pub(crate) fn may_be_version(bytes: &[u8]) -> bool {
    const VERSION: &[u8] = b"HTTP/1.";
    let shared = bytes.len().min(VERSION.len());
    bytes[..shared] == VERSION[..shared]
}

/// Name and value of a header line.
pub(crate) fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = find(line, b':')?;
    Some((&line[..colon], line[colon + 1..].trim_ascii()))
}

/// Status of a status line that begins `bytes`.
pub(crate) fn status_line(bytes: &[u8]) -> Option<u16> {
    let version = bytes.get(..8)?;
    if !is_version_1(version) || bytes.get(8) != Some(&b' ') {
        return None;
    }
    let digits = bytes.get(9..12)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let status = digits
        .iter()
        .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    // RFC 9112, section 4: below there are no classes, and 0 stands for no response at all.
    (status >= 100).then_some(status)
}

/// Bytes of empty lines in front of a request, which servers let pass (RFC 9112, 2.2).
fn empty_lines(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count()
}

/// Length of the head at the front of `bytes`: up to and with its empty line.
pub(crate) fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from.saturating_sub(3);
    while let Some(line_end) = find(bytes.get(at..)?, b'\n') {
        let after = at + line_end + 1;
        match bytes.get(after..) {
            Some([b'\n', ..]) => return Some(after + 1),
            Some([b'\r', b'\n', ..]) => return Some(after + 2),
            _ => at = after,
        }
    }
    None
}

fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"POST /a/b?x=1 HTTP/1.1\r\nHost: h:80\r\nContent-Length: 12\r\n\
        traceParent: 00-ab\r\nX-Request-ID:  r1 \r\nCookie: s\r\n\r\n";

    #[test]
    fn empty_lines_in_front_are_let_pass() {
        let head = b"\r\n\r\nMOVE /a HTTP/1.1\r\nHost: h\r\n\r\nrest";
        assert_eq!(Http1.recognise(head), Recognised::Yes);
        assert_eq!(Http1.recognise(b"\r\n"), Recognised::Undecided);
        assert_eq!(Http1.head_end(head, 0), Some(head.len() - 4));
        assert_eq!(Http1.head_end(&head[..head.len() - 6], 3), None);
        let request = Http1.request(&head[..head.len() - 4], true);
        assert_eq!(
            (request.method, request.target, request.host),
            (&b"MOVE"[..], &b"/a"[..], &b"h"[..])
        );
    }

    #[test]
    fn reads_a_request() {
        assert_eq!(Http1.recognise(HEAD), Recognised::Yes);
        assert_eq!(Http1.head_end(HEAD, 0), Some(HEAD.len()));
        let head = Http1.request(HEAD, true);
        assert_eq!(head.method, b"POST");
        assert_eq!(head.target, b"/a/b?x=1");
        assert_eq!(head.host, b"h:80");
        assert_eq!(head.traceparent, b"00-ab");
        assert_eq!(head.x_request_id, b"r1");
        assert_eq!(head.body, BodyFraming::Length(12));
    }

    #[test]
    fn in_pieces_it_is_undecided_until_the_line_is_there() {
        let line_end = find(HEAD, b'\n').unwrap();
        for cut in 0..HEAD.len() {
            let expected = if cut <= line_end {
                Recognised::Undecided
            } else {
                Recognised::Yes
            };
            assert_eq!(Http1.recognise(&HEAD[..cut]), expected, "{cut}");
            assert_eq!(Http1.head_end(&HEAD[..cut], 0), None, "{cut}");
            assert_eq!(Http1.head_end(HEAD, cut), Some(HEAD.len()), "{cut}");
        }
    }

    #[test]
    fn what_is_not_http_is_told() {
        for bytes in [
            &b"\x16\x03\x01"[..],
            b" GET / HTTP/1.1\r\n",
            b"GET / HTTP/2.0\r\n",
            b"PRI * HTTP/2.0\r\n",
            b"GET /\r\n",
            b"GET  HTTP/1.1\r\n",
            b"GETTTTTTTTTTTTTTTTTTTTTTTTTTTTTT",
            b"HTTP/1.1 200 OK\r\n",
            b"GET\r\n",
        ] {
            assert_eq!(Http1.recognise(bytes), Recognised::No, "{bytes:?}");
        }
    }

    #[test]
    fn a_cut_line_gives_what_is_there() {
        let head = Http1.request(b"GET /very/lo", false);
        assert_eq!((head.method, head.target), (&b"GET"[..], &b"/very/lo"[..]));
        assert_eq!(head.body, BodyFraming::Unknown);
        let head = Http1.request(b"GET /x HTT", false);
        assert_eq!(head.target, b"/x");
        assert_eq!(Http1.request(b"", false).method, b"");
    }

    #[test]
    fn user_information_is_in_no_cut() {
        let head = b"GET http://u:SECRET@h/x HTTP/1.1\r\nHost: u:SECRET@h:80\r\n\r\n";
        assert_eq!(Http1.request(head, true).host, b"h:80");
        let host = find(head, b'\n').unwrap();
        for cut in 0..head.len() {
            let request = Http1.request(&head[..cut], false);
            let path = request.target.windows(2).any(|bytes| bytes == b"@h");
            assert!(path || !request.target.contains(&b'u'), "{cut}");
            assert!(cut < host || path, "{cut}");
            assert!(matches!(request.host, b"" | b"h:80"), "{cut}");
        }
        let spaced = Http1.request(b"GET http://u:SEC RET@h/x", false);
        assert_eq!(spaced.target, b"http://");
        assert_eq!(Http1.request(b"CONNECT u:SECRET", false).target, b"");
    }

    #[test]
    fn chunked_wins_over_length() {
        let head = b"POST / HTTP/1.1\nContent-Length: 3\nTransfer-Encoding: gzip, Chunked\n\n";
        assert_eq!(Http1.head_end(head, 0), Some(head.len()));
        assert_eq!(Http1.request(head, true).body, BodyFraming::Chunked);
    }

    #[test]
    fn bad_lengths_are_no_lengths() {
        for length in ["", "-1", "1x", "99999999999999999999", "1, 1"] {
            let head = format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
            assert_eq!(
                Http1.request(head.as_bytes(), true).body,
                BodyFraming::None,
                "{length}"
            );
        }
    }

    #[test]
    fn reads_responses() {
        let head = b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(
            Http1.response(head),
            Some(ResponseHead {
                status: 404,
                head_len: Some(head.len() as u64 - 5),
                body: BodyFraming::Length(5),
            })
        );
        let close = Http1.response(b"HTTP/1.0 200\r\nA: b\r\n\r\n").unwrap();
        assert_eq!((close.status, close.body), (200, BodyFraming::UntilClose));
        let cut = Http1.response(b"HTTP/1.1 200 OK\r\nA: b\r\n").unwrap();
        assert_eq!((cut.head_len, cut.body), (None, BodyFraming::Unknown));
        for bytes in [&b""[..], b"HTTP/1.1 20", b"HTTP/2.0 200 OK", b"<html>"] {
            assert_eq!(Http1.response(bytes), None);
        }
    }

    #[test]
    fn bodies_by_method_and_status() {
        assert!(Http1.response_has_body(b"GET", 200));
        assert!(!Http1.response_has_body(b"HEAD", 200));
        for status in [101, 204, 304] {
            assert!(!Http1.response_has_body(b"GET", status));
        }
    }
}
