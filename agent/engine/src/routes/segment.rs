//! Whether a piece of a path, or a label of a host's name, is a value or a name. The one place that judges:
//! templates of routes, shapes of outgoing HTTP and names of hosts follow it.
//!
//! A value that is told may be a secret, and a name that is taken for a value costs some sense only: doubt is a
//! value. A secret that reads like a word is told all the same.

/// Longest name, bytes.
const NAME_LIMIT: usize = 48;
/// Longest piece of a name that is not made of words.
const WORD_LIMIT: usize = 24;
/// Characters that names of resources do without: of addresses, credentials, keys and encoded bytes.
const NOT_IN_NAMES: &[char] = &[':', '@', '=', '%', '\'', '"', '('];
/// What keys of well-known services begin with.
const KEYS: &[&str] = &[
    "sk_",
    "pk_",
    "rk_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "whsec_",
    "shpat_",
    "npm_",
    "hf_",
    "AKIA",
    "ASIA",
    "AIza",
    "eyJ",
];
/// Shortest of such keys, bytes.
const KEY_LENGTH: usize = 16;

/// Whether `segment` is a value: a number, an identifier, a token, an address.
pub(crate) fn is_value(segment: &str) -> bool {
    if segment.is_empty() {
        return false;
    }
    let is_key = segment.len() >= KEY_LENGTH && KEYS.iter().any(|key| segment.starts_with(key));
    segment.len() > NAME_LIMIT
        || is_key
        || segment.contains(NOT_IN_NAMES)
        || is_number_or_token(segment)
        || segment
            .split(|character: char| !character.is_ascii_alphanumeric())
            .any(|piece| Piece::new(piece).is_random())
}

/// Dates, versions, UUIDs, and tokens in which dashes and dots are letters like others.
fn is_number_or_token(segment: &str) -> bool {
    let count = |wanted: fn(&u8) -> bool| segment.bytes().filter(wanted).count();
    let digits = count(u8::is_ascii_digit);
    let upper = count(u8::is_ascii_uppercase);
    let lower = count(u8::is_ascii_lowercase);
    let dashes = count(|byte| matches!(byte, b'-' | b'_' | b'.'));
    let len = segment.len();
    let sign = usize::from(segment.starts_with('+'));
    let number = digits > 0 && digits + dashes + sign == len;
    let uuid = len == 36 && dashes == 4 && count(u8::is_ascii_hexdigit) == 32;
    let mixed = digits >= 3 || (digits >= 1 && upper >= 3 && lower >= 3);
    let token = len >= 20 && mixed && digits + upper + lower + dashes >= len - 2;
    number || uuid || (token && !is_file(segment))
}

/// Whether it ends like a file's name: such have versions.
fn is_file(segment: &str) -> bool {
    segment.rsplit_once('.').is_some_and(|(_, end)| {
        (1..=5).contains(&end.len()) && end.bytes().all(|byte| byte.is_ascii_lowercase())
    })
}

/// What letters and digits in a row are made of.
#[derive(Debug, Default)]
struct Piece {
    digits: usize,
    digit_runs: usize,
    upper: usize,
    lower: usize,
    /// As in `getUserById`, which has 4; digits part words as well.
    words: usize,
    hex: bool,
}

impl Piece {
    fn new(piece: &str) -> Self {
        let bytes = piece.as_bytes();
        let mut made = Self {
            hex: bytes.iter().all(u8::is_ascii_hexdigit),
            ..Self::default()
        };
        let mut before = b' ';
        for (at, byte) in bytes.iter().enumerate() {
            if byte.is_ascii_digit() {
                made.digits += 1;
                made.digit_runs += usize::from(!before.is_ascii_digit());
            } else {
                let upper = byte.is_ascii_uppercase();
                let ends_capitals = upper && bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
                let begins = !before.is_ascii_alphabetic()
                    || (upper && before.is_ascii_lowercase())
                    || ends_capitals;
                made.upper += usize::from(upper);
                made.lower += usize::from(!upper);
                made.words += usize::from(begins);
            }
            before = *byte;
        }
        made
    }

    fn is_random(&self) -> bool {
        let letters = self.upper + self.lower;
        let len = letters + self.digits;
        let one_case = self.upper == 0 || self.lower == 0;
        let hash = self.hex && ((len >= 8 && self.digits > 0) || len >= 16);
        let number = letters == 0 && len >= 6;
        let strewn = len >= 10 && self.digit_runs >= 2;
        let capitals = len >= 16 && self.lower == 0 && self.digits > 0;
        let short_words = (len >= 8 && self.digits > 0 && !one_case && letters < 2 * self.words)
            || (len >= 16 && self.digits > 0 && 2 * letters < 5 * self.words)
            || (len >= 20 && letters < 3 * self.words);
        hash || number || strewn || capitals || short_words || (len > WORD_LIMIT && one_case)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for segment in [
            "17",
            "+4917",
            "2024-05-01",
            "3.6.0",
            "invoice-102345",
            "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "deadbee1",
            "deadbeefdeadbeef",
            "db-7f9c6d5b8-x2x4q",
            "app.3f2a9c1b.js",
            "AKIAIOSFODNN7EXAMPLE",
            "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
            "sk_live_abcdefghijkl",
            "ghp_abcdefghijklmnop",
            "xoxb-zqxjkvwyzqxjkvwy",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIi",
            "eyJhbGciOiJub25lIn0.e30.",
            "dQw4w9WgXcQ",
            "aB3xY9zQ",
            "4ec39hqlyj",
            "Zm9vYmFyYmF6cXV4",
            "dGhpcyBpcyBhIHNlY3JldA==",
            "TmV2ZXIgZ29ubmEgZ2l2ZSB5b3UgdXA",
            "kJhGfDsAqWeRtYuIoPlM",
            "zqxjkvwyzqxjkvwyzqxjkvwyz",
            "password:x",
            "me@example.org",
            "me%40example.org",
            "a%2Fb",
            "key=x",
            "O(Key='abc')",
            "Products(5)",
            "my-post-about-python-3-12-of-2024",
        ] {
            assert!(is_value(segment), "{segment}");
        }
        assert!(is_value(&"long-".repeat(10)));
    }

    #[test]
    fn names() {
        for segment in [
            "",
            "*",
            "api",
            "v1",
            "v2",
            "v1beta1",
            "v1alpha1",
            "oauth2",
            "user-profile",
            "getUserById",
            "getS3Url",
            "getAllActiveUsersByOrganizationId",
            "GetUserByIdV2Async",
            "index.html",
            "static",
            "jquery-3.6.0.min.js",
            "bootstrap-4.6.123.bundle.min.js",
            "app.css",
            "$metadata",
            ".well-known",
            "openid-configuration",
            "x86_64",
            "base64",
            "sha256sum",
            "ISO8601",
            "2fa",
            "i18n",
            "deadbeef",
            "facade",
            "internationalization",
            "how-to-bake-a-very-good-cake",
            "stra\u{df}e",
            "_http",
            "db-1",
        ] {
            assert!(!is_value(segment), "{segment}");
        }
    }
}
