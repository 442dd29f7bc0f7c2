//! `X-Request-Start` and `X-Queue-Start`: when a proxy took the request, as it says itself.
//!
//! nginx writes `t=1700000000.123` (seconds), Heroku `1700000000123` (milliseconds), Apache `t=1700000000123456`
//! (microseconds). All are wall clock; which unit is meant is told by the size.

/// A time between 2001 and 5138 in seconds has 10 or 11 digits.
const SECONDS_BELOW: u64 = 100_000_000_000;
const MILLISECONDS_BELOW: u64 = SECONDS_BELOW * 1_000;
const MICROSECONDS_BELOW: u64 = MILLISECONDS_BELOW * 1_000;
const LEAST_SECONDS: u64 = 1_000_000_000;

/// The time, ns since the epoch; `None`: it is none.
pub(crate) fn parse(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    let value = value.strip_prefix(b"t=").unwrap_or(value);
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 19 || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    if whole < LEAST_SECONDS {
        return None;
    }
    let unit_ns = match whole {
        0..SECONDS_BELOW => 1_000_000_000,
        SECONDS_BELOW..MILLISECONDS_BELOW => 1_000_000,
        MILLISECONDS_BELOW..MICROSECONDS_BELOW => 1_000,
        _ => 1,
    };
    let mut ns = whole.checked_mul(unit_ns)?;
    let mut place_ns = unit_ns;
    for digit in fraction.bytes() {
        place_ns /= 10;
        ns = ns.checked_add(u64::from(digit - b'0') * place_ns)?;
    }
    Some(ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_that_proxies_write() {
        let wanted = Some(1_700_000_000_123_000_000);
        for value in [
            "t=1700000000.123",
            "1700000000.123",
            "1700000000123",
            "t=1700000000123.0",
            "t=1700000000123000",
            " t=1700000000123000000 ",
        ] {
            assert_eq!(parse(value.as_bytes()), wanted, "{value}");
        }
        assert_eq!(parse(b"1700000000"), Some(1_700_000_000_000_000_000));
        assert_eq!(
            parse(b"t=1700000000.1234567891234"),
            Some(1_700_000_000_123_456_789)
        );
    }

    #[test]
    fn one_of_two_headers_is_taken() {
        use crate::protocol::{Protocol as _, http::Http1};
        let of = |headers: &str| {
            let head = format!("GET / HTTP/1.1\r\n{headers}\r\n");
            let found = Http1.request(head.as_bytes(), true).queue_start;
            found.map(|(name, value)| (name, String::from_utf8_lossy(value).into_owned()))
        };
        assert_eq!(of("Host: h\r\n"), None);
        let start = Some(("X-Request-Start", "t=1".to_owned()));
        assert_eq!(of("x-request-start: t=1\r\n"), start);
        assert_eq!(of("X-Queue-Start: 2\r\nX-Request-Start: t=1\r\n"), start);
        assert_eq!(of("X-Request-Start: t=1\r\nX-Queue-Start: 2\r\n"), start);
        assert_eq!(
            of("X-QUEUE-START: 2\r\n"),
            Some(("X-Queue-Start", "2".to_owned()))
        );
    }

    #[test]
    fn anything_else_is_no_time() {
        for value in [
            "",
            "t=",
            "t=.5",
            "now",
            "-1",
            "1.2.3",
            "t=12",
            "17000000e8",
            "18446744073709551615",
            "99999999999999999999",
            "t=1700000000,123",
            "1700000000.x",
        ] {
            assert_eq!(parse(value.as_bytes()), None, "{value}");
        }
        assert_eq!(parse(&[0xff; 12]), None);
    }
}
