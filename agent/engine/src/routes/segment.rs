//! Whether a piece of a path, or a label of a host's name, is a value or a name. The one place that judges:
//! templates of routes, shapes of outgoing HTTP and names of hosts follow it.
//!
//! A value that is told may be a secret, and a name that is taken for a value costs some sense only: doubt is a
//! value. A secret that reads like a word is told all the same.

use super::digits;

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
        || pieces(segment).any(|piece| Piece::new(piece).is_random())
}

/// Words behind which a secret stands: `/reset-password/{id}`.
const BEFORE_SECRETS: &[&str] = &[
    "token",
    "tokens",
    "secret",
    "secrets",
    "password",
    "passwords",
    "passwd",
    "reset",
    "verify",
    "verification",
    "confirm",
    "confirmation",
    "activate",
    "activation",
    "invite",
    "invites",
    "invitation",
    "invitations",
    "unsubscribe",
    "apikey",
    "apikeys",
    "key",
    "keys",
    "auth",
    "otp",
    "credential",
    "credentials",
];

/// The same of a path, where passwords are more likely than in the names of hosts. `before`: the segment that it
/// stands behind.
pub(crate) fn is_path_value(segment: &str, before: &str) -> bool {
    let has = |wanted: fn(&u8) -> bool| segment.bytes().any(|byte| wanted(&byte));
    let digit = has(u8::is_ascii_digit);
    let spoken = |piece: &str| {
        let mixed = piece.contains(|it: char| it.is_ascii_alphabetic())
            && piece.contains(|it: char| it.is_ascii_digit());
        !mixed || digits::is_name(piece)
    };
    let odd = has(u8::is_ascii_uppercase) || (digit && !digits::is_known(segment));
    is_value(segment)
        || (digit && !pieces(segment).all(spoken))
        || (odd
            && pieces(before)
                .flat_map(digits::words)
                .any(is_before_secrets))
}

fn is_before_secrets(word: &str) -> bool {
    let mut words = BEFORE_SECRETS.iter();
    words.any(|other| word.eq_ignore_ascii_case(other))
}

/// Letters and digits in a row.
fn pieces(segment: &str) -> impl Iterator<Item = &str> {
    segment.split(|character: char| !character.is_ascii_alphanumeric())
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
        let hash = self.hex && len >= 8;
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
            "deadbeef",
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
            "facade",
            "effaced",
            "internationalization",
            "how-to-bake-a-very-good-cake",
            "stra\u{df}e",
            "_http",
            "db-1",
        ] {
            assert!(!is_value(segment), "{segment}");
        }
    }

    #[test]
    fn values_of_paths() {
        for segment in [
            "sk-SeKr1tWrd",
            "SeKr1tWrd",
            "SeKr1tWrd.png",
            "Tr0ub4dor",
            "hunter2",
            "my-hunter2-x",
            "correct-horse-b4ttery",
            "Passw0rd",
            "pa55word",
            "letmein1",
            "deadbeef",
        ] {
            assert!(is_path_value(segment, "a"), "{segment}");
        }
        for segment in ["SeKrIt", "Summer", "db-1", "step1", "xY", "v1.tar"] {
            for before in [
                "token",
                "Secrets",
                "password",
                "reset-password",
                "verifyEmail",
                "auth",
                "api_keys",
            ] {
                assert!(is_path_value(segment, before), "{before}/{segment}");
            }
        }
    }

    #[test]
    fn names_of_paths() {
        for segment in [
            "",
            "api",
            "v1",
            "v1beta1",
            "oauth2",
            "utf8",
            "base64",
            "mp3",
            "h2",
            "s3",
            "ipv6",
            "sha256",
            "sha256sum",
            "md5",
            "ISO8601",
            "x86_64",
            "2fa",
            "i18n",
            "step1",
            "db-1",
            "getUserById",
            "getS3Url",
            "GetUserByIdV2Async",
            "jquery-3.6.0.min.js",
            "bootstrap-4.6.123.bundle.min.js",
            "favicon-32x32.png",
            "app.v2.css",
            "user-profile",
            "stra\u{df}e",
        ] {
            assert!(!is_path_value(segment, "items"), "{segment}");
        }
        for segment in ["", "v1", "oauth2", "2fa", "callback", "sign-in", "new"] {
            assert!(!is_path_value(segment, "auth"), "{segment}");
        }
        // A word that only holds one of those.
        assert!(!is_path_value("getUserById", "monkeys"));
    }
}
