//! Words with digits in them that are names: versions, formats, protocols. Any other may be a password.

/// Words that are names as they are.
const KNOWN: &[&str] = &[
    "oauth1",
    "oauth2",
    "auth0",
    "auth2",
    "fido2",
    "saml2",
    "u2f",
    "2fa",
    "utf8",
    "utf16",
    "utf32",
    "utf8mb4",
    "base16",
    "base32",
    "base58",
    "base62",
    "base64",
    "base64url",
    "crc32",
    "md5sum",
    "sha1",
    "sha2",
    "sha3",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sha1sum",
    "sha256sum",
    "sha512sum",
    "ed25519",
    "x25519",
    "secp256k1",
    "argon2",
    "rs256",
    "hs256",
    "aes128",
    "aes256",
    "x509",
    "mp3",
    "mp4",
    "m3u8",
    "bz2",
    "h264",
    "h265",
    "id3",
    "http2",
    "http3",
    "ec2",
    "route53",
    "ipv4",
    "ipv6",
    "ip4",
    "ip6",
    "pv4",
    "pv6",
    "ip2location",
    "i18n",
    "l10n",
    "g11n",
    "a11y",
    "k8s",
    "e2e",
    "p2p",
    "b2b",
    "b2c",
    "c2c",
    "d2c",
    "m2m",
    "web2",
    "web3",
    "log4j",
    "log4",
    "neo4j",
    "amd64",
    "arm64",
    "aarch64",
    "i386",
    "i686",
    "win32",
    "win64",
    "int32",
    "int64",
    "uint32",
    "uint64",
    "float32",
    "float64",
    "office365",
    "m365",
    "o365",
    "openapi3",
    "swagger2",
    "html5",
    "css3",
    "grpc2",
    "fts5",
    "geo2",
    "area51",
    "y2k",
];

/// Words that go with a number of one or two digits.
const NUMBERED: &[&str] = &[
    "step",
    "phase",
    "stage",
    "level",
    "part",
    "section",
    "chapter",
    "tab",
    "zone",
    "region",
    "shard",
    "node",
    "top",
    "php",
    "python",
    "py",
    "es",
    "vue",
    "react",
    "angular",
    "jquery",
    "bootstrap",
    "md",
    "wp",
    "tier",
    "q",
];

/// Words that go with a number of up to five digits.
const STANDARDS: &[&str] = &["iso", "rfc", "es", "iec", "cve"];

/// What a number of up to four digits is of: `3d`, `1080p`, `24h`, `1st`.
const UNITS: &[&str] = &[
    "d", "h", "m", "s", "w", "y", "k", "g", "p", "x", "z", "b", "px", "kb", "mb", "gb", "ms", "st",
    "nd", "rd", "th", "am", "pm",
];

/// What may stand between the two numbers of a version.
const STAGES: &[&str] = &["", "alpha", "beta", "rc", "pre", "p"];

/// Whether letters and digits in a row are a name. Of the words that it is made of, some have no digits, or it
/// is only one.
pub(super) fn is_name(piece: &str) -> bool {
    let (mut plain, mut numbered) = (0, 0);
    for word in words(piece) {
        if !word.contains(|character: char| character.is_ascii_digit()) {
            plain += 1;
        } else if is_known(word) || is_numbered(word, NUMBERED, 2) {
            numbered += 1;
        } else {
            return false;
        }
    }
    numbered <= 1.max(plain)
}

/// Whether it is a name whatever stands before it.
pub(super) fn is_known(word: &str) -> bool {
    is_one(word, KNOWN)
        || is_version(word)
        || is_amount(word)
        || is_numbered(word, STANDARDS, 5)
        || (word.len() <= 3 && number(word.get(1..).unwrap_or_default(), 2))
}

/// `V2` and `Url` of `getV2Url`.
pub(super) fn words(piece: &str) -> impl Iterator<Item = &str> {
    let bytes = piece.as_bytes();
    let begins = move |at: usize| {
        let is = |at: usize, of: fn(&u8) -> bool| bytes.get(at).is_some_and(of);
        let follows = at > 0 && !is(at - 1, u8::is_ascii_uppercase);
        let ends_capitals = is(at + 1, u8::is_ascii_lowercase);
        at > 0 && is(at, u8::is_ascii_uppercase) && (follows || ends_capitals)
    };
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = piece.get(start..).filter(|rest| !rest.is_empty())?;
        let end = (start + 1..piece.len()).find(|at| begins(*at));
        let end = end.unwrap_or(piece.len());
        let word = rest.get(..end - start);
        start = end;
        word
    })
}

/// `v2`, `v1beta3`.
fn is_version(word: &str) -> bool {
    let Some(rest) = word.strip_prefix(['v', 'V']) else {
        return false;
    };
    let (major, rest) = leading_number(rest);
    let minor = rest.trim_start_matches(|character: char| character.is_ascii_alphabetic());
    let stage = rest.strip_suffix(minor).unwrap_or(rest);
    number(major, 4) && is_one(stage, STAGES) && (minor.is_empty() || number(minor, 2))
}

/// `3d`, `24h`, `32x32`.
fn is_amount(word: &str) -> bool {
    let (amount, unit) = leading_number(word);
    let by = unit.strip_prefix('x').is_some_and(|by| number(by, 4));
    number(amount, 4) && (by || is_one(unit, UNITS))
}

/// `iso8601`
fn is_numbered(word: &str, stems: &[&str], digits: usize) -> bool {
    let stem = word.trim_end_matches(|character: char| character.is_ascii_digit());
    is_one(stem, stems) && number(word.get(stem.len()..).unwrap_or_default(), digits)
}

fn leading_number(word: &str) -> (&str, &str) {
    let end = word.find(|character: char| !character.is_ascii_digit());
    word.split_at(end.unwrap_or(word.len()))
}

/// Whether it is a number of so many digits at the most.
fn number(text: &str, digits: usize) -> bool {
    (1..=digits).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_one(word: &str, words: &[&str]) -> bool {
    words.iter().any(|other| word.eq_ignore_ascii_case(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_begin_with_capitals() {
        for (piece, expected) in [
            ("", vec![]),
            ("name", vec!["name"]),
            ("getS3Url", vec!["get", "S3", "Url"]),
            ("MP3Player", vec!["MP3", "Player"]),
            ("HTTPServer2", vec!["HTTP", "Server2"]),
            ("ISO8601", vec!["ISO8601"]),
        ] {
            assert_eq!(words(piece).collect::<Vec<_>>(), expected, "{piece}");
        }
    }

    #[test]
    fn versions_and_amounts_are_names() {
        for name in [
            "v1",
            "V2",
            "v2024",
            "v1beta1",
            "v1rc",
            "3d",
            "24h",
            "1080p",
            "32x32",
            "1200x630",
            "1st",
            "s3",
            "h2",
            "p95",
            "x86",
            "rfc7231",
            "ISO8601",
            "es2015",
            "step1",
            "python3",
            "getV2Url",
            "B2BPortal",
            "getS3UrlV2",
            "OAuth2Token",
        ] {
            assert!(is_name(name), "{name}");
        }
        for value in [
            "v12345",
            "v1x1",
            "v1beta123",
            "3dx",
            "12345d",
            "hunter2",
            "step123",
            "X1Y2Z3",
            "Kr1t",
            "md5crack",
            "pa55word",
            "letmein1",
            "summer24",
            "test1234",
        ] {
            assert!(!is_name(value), "{value}");
        }
    }
}
