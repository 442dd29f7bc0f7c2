//! SQL text to its *shape*: what is left when literals are removed, so that two executions of the same
//! statement look the same and no user's data leaves the process.
//!
//! Not a parser: it knows tokens, not grammar, and accepts what no server would. What must stay true: a
//! byte of a literal or a comment never gets into a shape, wherever the text was cut, unless the user asked
//! for that ([`Dialect::with_literals`]); work is linear in the text; a shape has at most [`SHAPE_LIMIT`] bytes.
//!
//! Keywords and identifiers stay as written, white space and comments become one blank, literals and
//! parameters become `?`. `IN (?, ?)` becomes `IN (...)`, `ARRAY[?, ?]` becomes `ARRAY[...]`, rows after
//! `VALUES` become one `VALUES (...)`. A shape that is not the whole statement ends in `...`.

mod as_sent;
mod lexer;
#[cfg(test)]
mod mysql_tests;
mod names;
#[cfg(test)]
mod secrets;
mod shaper;
#[cfg(test)]
mod tests;

use super::client::SHAPE_LIMIT;
use as_sent::{as_sent, told};
use lexer::{Lexer, Token};
use shaper::Shaper;

/// Most statements that one text is split into; those behind are not told.
pub(crate) const STATEMENT_LIMIT: usize = 1024;

/// Which SQL it is, as far as its tokens differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    kind: Kind,
    backslash: Backslash,
    /// Shapes are texts as sent.
    literals: bool,
}

/// What a backslash in a plain string literal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backslash {
    /// A character like others.
    Plain,
    /// It takes the next byte with it.
    Escapes,
    /// The server was not heard telling: a literal whose end depends on it is cut there.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    PostgreSql,
    MySql,
    Sqlite,
}

impl Dialect {
    /// `"name"`, nested comments, `$tag$text$tag$`, `E'text'`.
    pub(crate) const POSTGRESQL: Self = Self {
        kind: Kind::PostgreSql,
        backslash: Backslash::Plain,
        literals: false,
    };
    /// MySQL and MariaDB: `` `name` ``, `"text"`, `#` comments, backslashes, `/*!` code.
    pub(crate) const MYSQL: Self = Self {
        kind: Kind::MySql,
        backslash: Backslash::Escapes,
        literals: false,
    };
    /// `"name"`, `` `name` ``, `[name]`.
    pub(crate) const SQLITE: Self = Self {
        kind: Kind::Sqlite,
        backslash: Backslash::Plain,
        literals: false,
    };

    /// The same dialect where the server told otherwise about backslashes: PostgreSQL's
    /// `standard_conforming_strings = off`, MySQL's `NO_BACKSLASH_ESCAPES`.
    pub(crate) const fn with_backslash(self, backslash: bool) -> Self {
        let backslash = if backslash {
            Backslash::Escapes
        } else {
            Backslash::Plain
        };
        Self { backslash, ..self }
    }

    /// The same dialect where the server told before anybody listened.
    pub(crate) const fn with_unknown_backslash(self) -> Self {
        Self {
            backslash: Backslash::Unknown,
            ..self
        }
    }

    /// The same dialect, whose shapes are the statements as sent: literals and comments stay, since the user
    /// wants them.
    pub(crate) const fn with_literals(self, literals: bool) -> Self {
        Self { literals, ..self }
    }
}

/// Shape of `text` as a whole; semicolons at its end are dropped. `complete`: `text` is all that was sent.
pub(crate) fn shape(dialect: Dialect, text: &[u8], complete: bool) -> String {
    if dialect.literals {
        return as_sent(text, complete);
    }
    let mut shaper = Shaper::default();
    let mut cut = !complete;
    for token in Lexer::new(dialect, text, complete) {
        if token == Token::Cut {
            cut = true;
            break;
        }
        shaper.take(token);
        if shaper.is_full() {
            break;
        }
    }
    shaper.finish(cut)
}

/// What a text is split into.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    /// Shapes of the statements, empty ones left out, at most [`STATEMENT_LIMIT`].
    pub(crate) shapes: Vec<String>,
    /// More may stand behind those.
    pub(crate) more: bool,
}

/// The statements that `text` consists of. A semicolon within parentheses or within the body of a routine ends
/// no statement. `complete`: `text` is all that was sent; else there is `more` if a statement ended in it: a
/// single one that was cut is taken for a single one.
pub(crate) fn statements(dialect: Dialect, text: &[u8], complete: bool) -> Statements {
    let mut shapes = Vec::new();
    let mut shaper = Shaper::default();
    let mut nesting = Nesting::default();
    let mut cut = !complete;
    let mut doubt = false;
    // Where the present statement begins in the text.
    let mut start = 0;
    let mut lexer = Lexer::new(dialect, text, complete);
    while let Some((at, token)) = lexer.next_at() {
        if token == Token::Cut {
            cut = true;
            doubt = hides_more(dialect, text.get(at..).unwrap_or_default(), complete);
            break;
        }
        if token == Token::Other(b";") && nesting.is_top() {
            let whole = text.get(start..lexer.at()).unwrap_or_default();
            let shape = told(dialect, std::mem::take(&mut shaper), whole, false);
            start = lexer.at();
            nesting = Nesting::default();
            if !shape.is_empty() {
                shapes.push(shape);
            }
            if shapes.len() == STATEMENT_LIMIT {
                let more = !complete || has_text(text.get(start..));
                return Statements { shapes, more };
            }
            continue;
        }
        nesting.take(token, dialect);
        shaper.take(token);
    }
    let more = cut && (doubt || !shapes.is_empty());
    if !shaper.is_empty() || (cut && shapes.is_empty()) {
        let rest = text.get(start..).unwrap_or_default();
        shapes.push(told(dialect, shaper, rest, cut));
    }
    Statements { shapes, more }
}

/// Whether a text that was not read may hold the end of a statement, and another behind it.
pub(crate) fn may_end(text: &[u8]) -> bool {
    memchr::memchr(b';', text).is_some_and(|at| has_text(text.get(at..)))
}

/// The same of what a lexer cuts. A text that is cut goes on as it began, unless there is a backslash that is not
/// understood.
fn hides_more(dialect: Dialect, text: &[u8], complete: bool) -> bool {
    let backslash = || dialect.backslash == Backslash::Unknown && text.contains(&b'\\');
    (complete || backslash()) && may_end(text)
}

/// Whether a text is more than blanks and semicolons.
fn has_text(text: Option<&[u8]>) -> bool {
    let text = text.unwrap_or_default();
    text.iter().any(|byte| *byte > b' ' && *byte != b';')
}

/// How deep in a statement a token is. The rule for the bodies of routines (`CREATE FUNCTION .. BEGIN
/// ATOMIC ..; END`) is the one of psql, `src/fe_utils/psqlscan.l`.
#[derive(Debug, Default)]
struct Nesting {
    parentheses: u32,
    begins: u32,
    words: u32,
    creates: bool,
    routine: bool,
}

impl Nesting {
    fn is_top(&self) -> bool {
        self.parentheses == 0 && self.begins == 0
    }

    fn take(&mut self, token: Token<'_>, dialect: Dialect) {
        match token {
            Token::Other(b"(") => self.parentheses += 1,
            Token::Other(b")") => self.parentheses = self.parentheses.saturating_sub(1),
            Token::Word(word) if self.parentheses == 0 => self.word(word, dialect),
            _ => {}
        }
    }

    fn word(&mut self, word: &[u8], dialect: Dialect) {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        self.words = self.words.saturating_add(1);
        if self.words == 1 {
            self.creates = is("create");
        }
        if !self.creates {
            return;
        }
        if is("function") || is("procedure") || is("trigger") || is("event") {
            self.routine = true;
        } else if self.routine && (is("begin") || (self.begins > 0 && is("case"))) {
            self.begins += 1;
        } else if is("end") && dialect.kind != Kind::MySql {
            // MySQL has END IF and END LOOP too: there, the rest of the text is the body.
            self.begins = self.begins.saturating_sub(1);
        }
    }
}
