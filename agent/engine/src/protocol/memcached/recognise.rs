//! Whether bytes are memcached's: a first line that is a command in every word, or a binary header
//! that is a request in every field.

use super::super::Recognised;
use super::binary::{self, Header};
use super::token::{HEADER_LEN, decimal};

/// Longest key.
const KEY_LIMIT: usize = 250;
/// Longest line that is waited for.
const LINE_LIMIT: usize = 2048;

/// Commands of the text protocol that tell it.
const COMMANDS: &[&str] = &[
    "get",
    "gets",
    "gat",
    "gats",
    "set",
    "add",
    "replace",
    "append",
    "prepend",
    "cas",
    "incr",
    "decr",
    "delete",
    "touch",
    "flush_all",
    "stats",
    "version",
    "verbosity",
    "mg",
    "ms",
    "md",
    "ma",
    "me",
    "mn",
];

/// Whether `bytes` are the front of a command.
pub(super) fn recognise(bytes: &[u8]) -> Recognised {
    match bytes.first() {
        None => Recognised::Undecided,
        Some(&binary::REQUEST) => recognise_binary(bytes),
        Some(_) => recognise_text(bytes),
    }
}

fn recognise_binary(bytes: &[u8]) -> Recognised {
    let header = bytes
        .get(..HEADER_LEN)
        .and_then(|header| <[u8; HEADER_LEN]>::try_from(header).ok());
    match (header, bytes.get(1)) {
        (Some(header), _) if Header::new(header).is_well_formed() => Recognised::Yes,
        (None, None) => Recognised::Undecided,
        (None, Some(opcode)) if binary::operation(*opcode).is_some() => Recognised::Undecided,
        _ => Recognised::No,
    }
}

fn recognise_text(bytes: &[u8]) -> Recognised {
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return recognise_cut(bytes);
    };
    let line = bytes
        .get(..end)
        .and_then(|line| line.strip_suffix(b"\r"))
        .unwrap_or_default();
    if is_command(line) {
        Recognised::Yes
    } else {
        Recognised::No
    }
}

/// A line whose end is not there.
fn recognise_cut(bytes: &[u8]) -> Recognised {
    let line = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let mut words = line.split(|byte| *byte == b' ');
    let name = words.next().unwrap_or_default();
    let is_begin = |command: &&str| {
        if name.len() == line.len() {
            command.as_bytes().starts_with(name)
        } else {
            command.as_bytes() == name
        }
    };
    // The last word may end with the key to come.
    let is_word = |word: &[u8]| word.is_empty() || is_key(word);
    if bytes.len() <= LINE_LIMIT && COMMANDS.iter().any(is_begin) && words.all(is_word) {
        Recognised::Undecided
    } else {
        Recognised::No
    }
}

fn is_command(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ');
    let name = words.next().unwrap_or_default();
    let mut words = Words(words);
    match name {
        b"get" | b"gets" => words.keys(),
        b"gat" | b"gats" => words.number() && words.keys(),
        b"set" | b"add" | b"replace" | b"append" | b"prepend" => words.storage() && words.noreply(),
        b"cas" => words.storage() && words.number() && words.noreply(),
        b"incr" | b"decr" | b"touch" => words.key() && words.number() && words.noreply(),
        // Beanstalk has a `delete` too, of a job's number.
        b"delete" => {
            words
                .0
                .next()
                .is_some_and(|key| is_key(key) && decimal(key).is_none())
                && words.noreply()
        }
        b"flush_all" => words
            .0
            .all(|word| decimal(word).is_some() || word == b"noreply"),
        b"verbosity" => words.number() && words.noreply(),
        b"stats" => words.0.by_ref().take(2).all(is_key) && words.0.next().is_none(),
        b"version" | b"mn" => words.0.next().is_none(),
        b"mg" | b"md" | b"ma" | b"me" => words.key() && words.flags(),
        b"ms" => words.key() && words.number() && words.flags(),
        _ => false,
    }
}

/// The words after a command's name.
struct Words<I>(I);

impl<'a, I: Iterator<Item = &'a [u8]>> Words<I> {
    fn key(&mut self) -> bool {
        self.0.next().is_some_and(is_key)
    }

    /// One or more. (`get / HTTP/1.1` is somebody's HTTP.)
    fn keys(&mut self) -> bool {
        self.key() && self.0.all(|key| is_key(key) && !key.starts_with(b"HTTP/"))
    }

    /// Expiry times may be negative.
    fn number(&mut self) -> bool {
        self.0
            .next()
            .is_some_and(|word| decimal(word.strip_prefix(b"-").unwrap_or(word)).is_some())
    }

    fn storage(&mut self) -> bool {
        self.key() && self.number() && self.number() && self.number()
    }

    /// The end, or `noreply` before it.
    fn noreply(&mut self) -> bool {
        match self.0.next() {
            None => true,
            Some(word) => word == b"noreply" && self.0.next().is_none(),
        }
    }

    fn flags(&mut self) -> bool {
        self.0
            .all(|flag| is_key(flag) && flag.first().is_some_and(u8::is_ascii_alphabetic))
    }
}

fn is_key(word: &[u8]) -> bool {
    (1..=KEY_LIMIT).contains(&word.len()) && !word.iter().any(|byte| *byte <= b' ' || *byte == 0x7f)
}
