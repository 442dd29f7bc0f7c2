//! Where in a request target the authority lies: user information, host and port.
//!
//! It is looked for in any target that could hold one, right or not: what a client sent wrongly
//! (`https:user:password@host/`) is as secret as what it sent rightly.

/// A target up to its path, byte by byte: `http:`, `//`, user information, host, port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    Start,
    /// After the slash that begins a path, or `//`.
    Slash,
    /// Within what may be a scheme; nothing but the authority of a CONNECT else.
    Scheme,
    /// After its colon.
    Colon,
    /// After the slashes before an authority.
    Slashes,
    Authority,
    /// Behind it.
    End,
}

impl Front {
    fn next(self, byte: u8) -> Self {
        match (self, byte) {
            (_, b'?' | b'#') | (Self::Slash | Self::End, _)
                if byte != b'/' || self == Self::End =>
            {
                Self::End
            }
            (Self::Start, b'/') => Self::Slash,
            (Self::Slash | Self::Colon | Self::Slashes, b'/') => Self::Slashes,
            (_, b'/') => Self::End,
            (Self::Scheme, b':') => Self::Colon,
            (Self::Start | Self::Scheme, _) if is_scheme(byte) => Self::Scheme,
            _ => Self::Authority,
        }
    }

    /// Goes on over `bytes`: where the authority begins in them (at their end: not in them), and
    /// the path, the query or nothing behind it, when that is reached.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> (usize, Option<usize>) {
        let mut start = 0;
        for (at, byte) in bytes.iter().enumerate() {
            let before = *self;
            *self = before.next(*byte);
            match *self {
                Self::Slash | Self::Slashes => start = at + 1,
                Self::End if before == Self::Slash => return (at, Some(at)),
                Self::End => return (start, Some(at)),
                _ => {}
            }
        }
        (start, None)
    }
}

const fn is_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// The begin and the end of a whole target's authority; both the same: it has none.
pub(crate) fn authority(target: &str) -> (usize, usize) {
    let (start, end) = Front::Start.advance(target.as_bytes());
    (start, end.unwrap_or(target.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        for (target, expected) in [
            ("/a/b", ""),
            ("/", ""),
            ("", ""),
            ("?a@b", ""),
            ("*", "*"),
            ("h:443", "h:443"),
            ("u:p@h:443", "u:p@h:443"),
            ("http://u:p@h/a", "u:p@h"),
            ("http:/u:p@h/a", "u:p@h"),
            ("https:u:p@h/a", "https:u:p@h"),
            ("//u:p@h?a", "u:p@h"),
            ("u:p@h:/a", "u:p@h:"),
        ] {
            let (start, end) = authority(target);
            assert_eq!(&target[start..end], expected, "{target}");
            for cut in 0..=target.len() {
                let mut front = Front::Start;
                let first = front.advance(&target.as_bytes()[..cut]).1;
                let rest = || {
                    front
                        .advance(&target.as_bytes()[cut..])
                        .1
                        .map(|at| cut + at)
                };
                let found = first.or_else(rest).unwrap_or(target.len());
                assert_eq!(found, end, "{target} cut at {cut}");
            }
        }
    }
}
