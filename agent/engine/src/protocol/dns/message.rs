//! Messages: header, first question, and nothing behind it.

use super::super::{Recognised, host_name::host_name};

/// Bytes of a header.
pub(super) const HEADER: usize = 12;
/// Longest name, as it is sent.
const NAME_LIMIT: usize = 255;
/// Longest label.
const LABEL_LIMIT: u8 = 63;
/// Bytes of a message that are looked at: a header and a question.
pub(super) const FRONT: usize = HEADER + NAME_LIMIT + 4;
/// Records behind the question of a query at the most: EDNS, a signature.
const ADDITIONAL_LIMIT: u16 = 2;

/// A message's front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: u16,
    /// It is an answer.
    pub(super) answers: bool,
    /// It asks, as opposed to telling of changes.
    pub(super) is_query: bool,
    pub(super) code: u8,
    /// Records in the answer.
    pub(super) records: u16,
    /// Type and name; `None`: not captured, or there is none.
    pub(super) question: Option<String>,
}

/// Reads the front of a message; `None`: it is none.
pub(super) fn message(bytes: &[u8]) -> Option<Message> {
    let header: &[u8; HEADER] = bytes.first_chunk()?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let questions = word(4);
    let question = (questions >= 1)
        .then(|| Question::read(&bytes[HEADER..]))
        .and_then(Cut::whole);
    Some(Message {
        id: word(0),
        answers: header[2] & 0x80 != 0,
        is_query: header[2] & 0x78 == 0,
        code: header[3] & 0x0f,
        records: word(6),
        question: question.map(|question| question.shape()),
    })
}

/// Whether `bytes` are a query and all of it, or the front of one.
pub(super) fn datagram(bytes: &[u8]) -> Recognised {
    match query(bytes) {
        // EDNS and signatures may follow the question, and begin with the root's name or a name.
        Cut::Whole((rest, additional)) if (additional == 0) == rest.is_empty() => Recognised::Yes,
        Cut::Whole((b"", _)) | Cut::Short => Recognised::Undecided,
        Cut::Whole(_) | Cut::Bad => Recognised::No,
    }
}

/// As [`datagram`], behind its length, as it is sent over TCP.
pub(super) fn prefixed(bytes: &[u8]) -> Recognised {
    let Some((length, message)) = bytes.split_first_chunk() else {
        return Recognised::Undecided;
    };
    let length = usize::from(u16::from_be_bytes(*length));
    if !(HEADER + 5..=FRONT + 512).contains(&length) {
        return Recognised::No;
    }
    datagram(message.get(..length).unwrap_or(message))
}

/// What was read of bytes that may end too early.
enum Cut<T> {
    Whole(T),
    Short,
    Bad,
}

impl<T> Cut<T> {
    fn whole(self) -> Option<T> {
        match self {
            Self::Whole(whole) => Some(whole),
            Self::Short | Self::Bad => None,
        }
    }
}

/// What lies behind the question of a query, and how many records that are.
fn query(bytes: &[u8]) -> Cut<(&[u8], u16)> {
    // Id; flags: a plain query, perhaps with recursion, DNSSEC; one question; no answers, authorities.
    let fits =
        |at: usize, mask: u8, value: u8| bytes.get(at).is_none_or(|byte| byte & mask == value);
    let flags = fits(2, 0xfe, 0) && fits(3, 0xcf, 0);
    let counts = fits(4, 0xff, 0) && fits(5, 0xff, 1) && (6..11).all(|at| fits(at, 0xff, 0));
    if !flags || !counts {
        return Cut::Bad;
    }
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Cut::Short;
    };
    let additional = u16::from(header[11]);
    if additional > ADDITIONAL_LIMIT {
        return Cut::Bad;
    }
    match Question::read(rest) {
        Cut::Whole(question) if question.is_plausible() => {
            Cut::Whole((question.behind, additional))
        }
        Cut::Short => Cut::Short,
        Cut::Whole(_) | Cut::Bad => Cut::Bad,
    }
}

/// A question: name, type, class.
struct Question<'a> {
    name: &'a [u8],
    kind: u16,
    class: u16,
    behind: &'a [u8],
}

impl<'a> Question<'a> {
    fn read(bytes: &'a [u8]) -> Cut<Self> {
        let mut at = 0;
        loop {
            let Some(length) = bytes.get(at).copied() else {
                return Cut::Short;
            };
            // The first name of a message has nothing to point back to.
            if length > LABEL_LIMIT {
                return Cut::Bad;
            }
            at += 1 + usize::from(length);
            if at > NAME_LIMIT {
                return Cut::Bad;
            }
            if length == 0 {
                break;
            }
        }
        let Some((name, rest)) = bytes.split_at_checked(at) else {
            return Cut::Short;
        };
        let Some((&[a, b, c, d], behind)) = rest.split_first_chunk() else {
            return Cut::Short;
        };
        Cut::Whole(Self {
            name,
            kind: u16::from_be_bytes([a, b]),
            class: u16::from_be_bytes([c, d]),
            behind,
        })
    }

    /// Internet, Chaos, Hesiod or any (its first bit is a flag in multicast DNS), and a type.
    fn is_plausible(&self) -> bool {
        self.kind != 0 && matches!(self.class & 0x7fff, 1 | 3 | 4 | 255)
    }

    fn shape(&self) -> String {
        let name = host_name(Labels(self.name));
        let name = if name.is_empty() { "." } else { &name };
        match type_name(self.kind) {
            Some(kind) => format!("{kind} {name}"),
            None => format!("TYPE{} {name}", self.kind),
        }
    }
}

/// The labels of a name that was read whole.
struct Labels<'a>(&'a [u8]);

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first()?;
        let (label, rest) = rest.split_at_checked(usize::from(*length))?;
        self.0 = rest;
        (!label.is_empty()).then_some(label)
    }
}

/// Types that are met (IANA's "Resource Record (RR) TYPEs").
fn type_name(kind: u16) -> Option<&'static str> {
    Some(match kind {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        39 => "DNAME",
        43 => "DS",
        46 => "RRSIG",
        48 => "DNSKEY",
        52 => "TLSA",
        64 => "SVCB",
        65 => "HTTPS",
        99 => "SPF",
        252 => "AXFR",
        255 => "ANY",
        256 => "URI",
        257 => "CAA",
        _ => return None,
    })
}

/// Name of a code other than 0 (IANA's "DNS RCODEs").
pub(super) fn error(code: u8) -> Option<String> {
    Some(match code {
        0 => return None,
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        6 => "YXDOMAIN".to_owned(),
        7 => "YXRRSET".to_owned(),
        8 => "NXRRSET".to_owned(),
        9 => "NOTAUTH".to_owned(),
        10 => "NOTZONE".to_owned(),
        code => format!("RCODE{code}"),
    })
}
