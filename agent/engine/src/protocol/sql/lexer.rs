//! Tokens of SQL. Literals and comments are told without their text, so that nothing behind this file can
//! let it out.

use super::{Backslash, Dialect, Kind, names::Behind};

/// One token. Bytes are as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// White space and comments.
    Blank,
    /// Keyword, identifier or variable.
    Word(&'a [u8]),
    /// Identifier with its quotes.
    Quoted(&'a [u8]),
    /// SQLite's `"..."`: a name, or a text where no such name is known; and what is behind it.
    NameOrText(&'a [u8], Behind),
    /// Number without its sign.
    Number,
    /// Any other literal.
    Text,
    /// Place of a value that is sent apart.
    Parameter,
    /// Punctuation: one byte, or `::` or `:=`.
    Other(&'a [u8]),
    /// What begins here does not end in the text. Nothing comes after it.
    Cut,
}

/// Tokens of a text, in order.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    dialect: Dialect,
    complete: bool,
    /// Within `/*! ... */`, whose content MySQL executes.
    code_comment: bool,
}

impl<'a> Lexer<'a> {
    /// `complete`: nothing is missing at the end of `text`.
    pub(super) fn new(dialect: Dialect, text: &'a [u8], complete: bool) -> Self {
        Self {
            text,
            at: 0,
            dialect,
            complete,
            code_comment: false,
        }
    }

    /// How much of the text was read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next token, and where it begins.
    pub(super) fn next_at(&mut self) -> Option<(usize, Token<'a>)> {
        let at = self.at;
        self.next().map(|token| (at, token))
    }

    /// The token at the front of `rest`, and its length.
    fn token(&mut self, first: u8, rest: &'a [u8]) -> Option<(Token<'a>, usize)> {
        let kind = self.dialect.kind;
        Some(match first {
            byte if is_blank(byte) => (Token::Blank, run(rest, is_blank)),
            b'-' if self.is_line_comment(rest) => (Token::Blank, line(kind, rest)),
            b'#' if kind == Kind::MySql => (Token::Blank, line(kind, rest)),
            b'/' if rest.get(1) == Some(&b'*') => (Token::Blank, self.comment(rest)?),
            b'*' if self.code_comment && rest.get(1) == Some(&b'/') => {
                self.code_comment = false;
                (Token::Blank, 2)
            }
            b'\'' => (Token::Text, quoted(rest, b'\'', self.dialect.backslash)?),
            b'"' if kind == Kind::MySql => {
                (Token::Text, quoted(rest, b'"', self.dialect.backslash)?)
            }
            b'"' => self.double_quoted(rest, 0)?,
            b'`' if kind != Kind::PostgreSql => name(rest, quoted(rest, b'`', Backslash::Plain)?),
            b'[' if kind == Kind::Sqlite => name(rest, memchr::memchr(b']', rest)? + 1),
            b'$' => self.dollar(rest)?,
            b'0'..=b'9' => (Token::Number, number(rest)),
            b'.' if rest.get(1).is_some_and(u8::is_ascii_digit) => (Token::Number, number(rest)),
            b'?' if kind == Kind::Sqlite => {
                let digits = run(rest.get(1..)?, |byte| byte.is_ascii_digit());
                (Token::Parameter, 1 + digits)
            }
            b'?' => (Token::Parameter, 1),
            b':' => self.colon(rest),
            b'%' => percent(rest),
            b'@' => self.at_sign(rest),
            byte if starts_word(byte) => self.word(rest)?,
            _ => other(rest, 1),
        })
    }

    /// MySQL wants a blank after the dashes: `5--3` is 8 there.
    fn is_line_comment(&self, rest: &[u8]) -> bool {
        rest.get(1) == Some(&b'-')
            && (self.dialect.kind != Kind::MySql || rest.get(2).is_none_or(|byte| is_blank(*byte)))
    }

    /// Length of a `/* */` comment, or of the opening of one that MySQL executes.
    fn comment(&mut self, rest: &[u8]) -> Option<usize> {
        if self.dialect.kind == Kind::MySql {
            let opening = match rest.get(2..) {
                Some([b'!', ..]) => 3,
                Some([b'M', b'!', ..]) => 4,
                _ => 0,
            };
            if opening > 0 {
                self.code_comment = true;
                let version = run(rest.get(opening..)?, |byte| byte.is_ascii_digit());
                return Some(opening + version.min(6));
            }
        }
        let nests = self.dialect.kind == Kind::PostgreSql;
        let mut depth = 1_u32;
        let mut at = 2;
        loop {
            match rest.get(at..)? {
                [b'*', b'/', ..] => {
                    at += 2;
                    depth -= 1;
                    if depth == 0 {
                        return Some(at);
                    }
                }
                [b'/', b'*', ..] if nests => {
                    at += 2;
                    depth += 1;
                }
                [] => return None,
                _ => at += 1,
            }
        }
    }

    /// `"..."` that begins after `prefix` bytes.
    fn double_quoted(&self, rest: &'a [u8], prefix: usize) -> Option<(Token<'a>, usize)> {
        let len = prefix + quoted(rest.get(prefix..)?, b'"', Backslash::Plain)?;
        let text = rest.get(..len)?;
        if self.dialect.kind == Kind::Sqlite {
            let behind = Behind::of(rest.get(len..)?);
            return Some((Token::NameOrText(text, behind), len));
        }
        Some((Token::Quoted(text), len))
    }

    /// `$1`, `$tag$...$tag$`, `$name`.
    fn dollar(&self, rest: &'a [u8]) -> Option<(Token<'a>, usize)> {
        let after = rest.get(1..)?;
        let digits = run(after, |byte| byte.is_ascii_digit());
        if digits > 0 {
            return Some((Token::Parameter, 1 + digits));
        }
        let tag = 1 + run(after, |byte| is_word(byte) && byte != b'$');
        match self.dialect.kind {
            Kind::PostgreSql if rest.get(tag) == Some(&b'$') => {
                let delimiter = rest.get(..=tag)?;
                Some((Token::Text, dollar_quoted(rest, delimiter)?))
            }
            // The tag may go on, or its second dollar may be what is missing.
            Kind::PostgreSql if tag == rest.len() && !self.complete => None,
            Kind::PostgreSql => Some(other(rest, 1)),
            Kind::Sqlite if tag > 1 => Some((Token::Parameter, tag)),
            _ => {
                let len = run(rest, is_word);
                Some((Token::Word(rest.get(..len)?), len))
            }
        }
    }

    /// `::` of a cast, `:=`, `:name`, or the colon of an array slice `[a:b]`.
    fn colon(&self, rest: &'a [u8]) -> (Token<'a>, usize) {
        let slice = self
            .at
            .checked_sub(1)
            .and_then(|before| self.text.get(before))
            .is_some_and(|byte| is_word(*byte) || matches!(byte, b']' | b')'));
        match rest.get(1) {
            Some(b':' | b'=') => other(rest, 2),
            Some(byte) if starts_word(*byte) && !slice => {
                (Token::Parameter, 1 + run(&rest[1..], is_word))
            }
            _ => other(rest, 1),
        }
    }

    /// A parameter in SQLite, a variable in MySQL.
    fn at_sign(&self, rest: &'a [u8]) -> (Token<'a>, usize) {
        let name = run(&rest[1..], is_word);
        match self.dialect.kind {
            Kind::Sqlite if name > 0 => (Token::Parameter, 1 + name),
            Kind::MySql => {
                let signs = run(rest, |byte| byte == b'@');
                let len = signs + run(&rest[signs..], is_word);
                (Token::Word(&rest[..len]), len)
            }
            _ => other(rest, 1),
        }
    }

    /// A word, or a literal with a letter before its quote.
    fn word(&self, rest: &'a [u8]) -> Option<(Token<'a>, usize)> {
        let len = run(rest, is_word);
        let word = rest.get(..len)?;
        let kind = self.dialect.kind;
        // The character set of a literal: `_utf8mb4'text'`, `_binary"text"`.
        if kind == Kind::MySql
            && word.starts_with(b"_")
            && let Some(quote @ (b'\'' | b'"')) = rest.get(len)
        {
            return literal(rest, len, *quote, self.dialect.backslash);
        }
        let [letter] = word else {
            return Some((Token::Word(word), len));
        };
        match (letter.to_ascii_lowercase(), rest.get(1..)?) {
            (b'x', [b'\'', ..]) => literal(rest, 1, b'\'', Backslash::Plain),
            (b'n' | b'b', [b'\'', ..]) if kind != Kind::Sqlite => {
                literal(rest, 1, b'\'', self.dialect.backslash)
            }
            (b'e', [b'\'', ..]) if kind == Kind::PostgreSql => escaped(rest),
            (b'u', [b'&', b'\'', ..]) if kind == Kind::PostgreSql => {
                literal(rest, 2, b'\'', Backslash::Plain)
            }
            (b'u', [b'&', b'"', ..]) if kind == Kind::PostgreSql => self.double_quoted(rest, 2),
            _ => Some((Token::Word(word), len)),
        }
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let rest = self.text.get(self.at..)?;
        let first = *rest.first()?;
        let within_code = self.code_comment;
        let found = self.token(first, rest).filter(|(_, len)| {
            // A server for which the code is not meant ends the comment here, and reads on.
            let text = rest.get(..*len).unwrap_or_default();
            !(within_code && self.code_comment && memchr::memmem::find(text, b"*/").is_some())
        });
        let Some((token, len)) = found else {
            self.at = self.text.len();
            return Some(Token::Cut);
        };
        self.at += len.max(1);
        let value = matches!(token, Token::Number | Token::Text | Token::Parameter);
        // A value that reaches the end of a cut text may go on behind it.
        if value && self.at >= self.text.len() && !self.complete {
            return Some(Token::Cut);
        }
        Some(token)
    }
}

fn is_blank(byte: u8) -> bool {
    byte <= b' ' || byte == 0x7f
}

fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_word(byte: u8) -> bool {
    starts_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

/// How many bytes at the front are `wanted`.
fn run(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    bytes
        .iter()
        .position(|byte| !wanted(*byte))
        .unwrap_or(bytes.len())
}

/// Length up to the end of the line. A carriage return ends it for PostgreSQL alone.
fn line(kind: Kind, rest: &[u8]) -> usize {
    let end = match kind {
        Kind::PostgreSql => memchr::memchr2(b'\n', b'\r', rest),
        Kind::MySql | Kind::Sqlite => memchr::memchr(b'\n', rest),
    };
    end.unwrap_or(rest.len())
}

/// Length of what begins with a quote and ends with the same; a doubled quote ends nothing.
fn quoted(rest: &[u8], quote: u8, backslash: Backslash) -> Option<usize> {
    let mut at = 1;
    loop {
        let byte = *rest.get(at)?;
        if byte == b'\\' && backslash == Backslash::Escapes {
            at += 2;
        } else if byte == b'\\' && backslash == Backslash::Unknown {
            let count = run(rest.get(at..)?, |byte| byte == b'\\');
            at += count;
            if count % 2 == 1 && rest.get(at) == Some(&quote) {
                // The quote is in the text, or ends it.
                return None;
            }
        } else if byte != quote {
            at += 1;
        } else if rest.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return Some(at + 1);
        }
    }
}

/// Length of a dollar-quoted text. Linear: the delimiter has a dollar at its ends only.
fn dollar_quoted(rest: &[u8], delimiter: &[u8]) -> Option<usize> {
    let mut at = delimiter.len();
    loop {
        at += memchr::memchr(b'$', rest.get(at..)?)?;
        if rest.get(at..)?.starts_with(delimiter) {
            return Some(at + delimiter.len());
        }
        at += 1;
    }
}

/// `E'...'`, and what continues it in a further line: that has escapes as well.
fn escaped<'a>(rest: &[u8]) -> Option<(Token<'a>, usize)> {
    let mut len = 1 + quoted(rest.get(1..)?, b'\'', Backslash::Escapes)?;
    loop {
        let behind = rest.get(len..)?;
        let blank = between(behind);
        let is_more = behind.get(blank) == Some(&b'\'')
            && behind
                .get(..blank)?
                .iter()
                .any(|byte| matches!(byte, b'\n' | b'\r'));
        if !is_more {
            return Some((Token::Text, len));
        }
        len += blank + quoted(behind.get(blank..)?, b'\'', Backslash::Escapes)?;
    }
}

/// Length of white space and line comments.
fn between(rest: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let behind = rest.get(at..).unwrap_or_default();
        at += match behind {
            [b'-', b'-', ..] => line(Kind::PostgreSql, behind),
            [byte, ..] if is_blank(*byte) => 1,
            _ => return at,
        };
    }
}

fn literal<'a>(
    rest: &[u8],
    prefix: usize,
    quote: u8,
    backslash: Backslash,
) -> Option<(Token<'a>, usize)> {
    let len = quoted(rest.get(prefix..)?, quote, backslash)?;
    Some((Token::Text, prefix + len))
}

/// Length of a number and of whatever is glued to it: servers refuse that, or read a name.
fn number(rest: &[u8]) -> usize {
    let hex = matches!(rest, [b'0', b'x' | b'X', ..]);
    let mut exponent = false;
    for (at, byte) in rest.iter().enumerate() {
        let sign = exponent
            && matches!(byte, b'+' | b'-')
            && rest.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !sign && !is_word(*byte) && *byte != b'.' {
            return at;
        }
        exponent = !hex && matches!(byte, b'e' | b'E');
    }
    rest.len()
}

/// `%s` and `%(name)s` of Python drivers.
fn percent(rest: &[u8]) -> (Token<'_>, usize) {
    let named = match rest.get(1) {
        Some(b'(') => run(&rest[2..], is_word),
        _ => 0,
    };
    let conversion = match rest.get(2 + named) {
        Some(b')') if named > 0 => 3 + named,
        _ => 1,
    };
    match rest.get(conversion..) {
        Some([b's']) => (Token::Parameter, conversion + 1),
        Some([b's', next, ..]) if !is_word(*next) => (Token::Parameter, conversion + 1),
        _ => other(rest, 1),
    }
}

fn name(rest: &[u8], len: usize) -> (Token<'_>, usize) {
    (Token::Quoted(rest.get(..len).unwrap_or(rest)), len)
}

fn other(rest: &[u8], len: usize) -> (Token<'_>, usize) {
    (Token::Other(rest.get(..len).unwrap_or(rest)), len)
}
