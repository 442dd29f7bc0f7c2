//! Tokens to a shape: blanks folded, signs and lists of values taken together, length bounded.

use super::{SHAPE_LIMIT, Token, names::Names};

/// What a shape ends in when the statement goes on.
const CUT: &str = "...";

/// Words after which a sign belongs to a number.
const BEFORE_VALUE: &[&str] = &[
    "select",
    "distinct",
    "where",
    "and",
    "or",
    "not",
    "in",
    "values",
    "limit",
    "offset",
    "between",
    "like",
    "ilike",
    "glob",
    "match",
    "regexp",
    "escape",
    "set",
    "when",
    "then",
    "else",
    "case",
    "on",
    "by",
    "having",
    "returning",
    "return",
    "is",
    "as",
    "from",
    "for",
    "interval",
    "default",
    "call",
];

/// Words that are literals where a value is expected.
const CONSTANTS: &[&str] = &["null", "true", "false"];

/// Words that are values in a list that is folded.
const VALUE_WORDS: &[&str] = &["null", "true", "false", "default"];

/// What the body of a routine begins with, where that is no literal.
const BODIES: &[&str] = &["begin", "return", "insert", "update", "delete", "replace"];

/// Writes the shape of one statement.
#[derive(Debug, Default)]
pub(super) struct Shaper {
    out: String,
    /// White space came since the last token.
    blank: bool,
    /// More was to be written than is kept.
    full: bool,
    last: Last,
    /// The last token was a word.
    after_word: bool,
    /// Where a sign stands that belongs to the number behind it, if one follows.
    sign: Option<usize>,
    fold: Fold,
    setting: Setting,
    names: Names,
}

/// Whether the statement gives a setting its value. That may be a bare word: `SET a TO b`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Setting {
    /// Nothing came yet.
    #[default]
    Start,
    /// After ALTER.
    Alter,
    /// After ALTER ROLE, ALTER FUNCTION and the like.
    AlterThing,
    /// After CREATE.
    Create,
    /// After CREATE FUNCTION.
    CreateRoutine,
    /// After SET, before its `=` or TO.
    Name,
    /// What comes is a value.
    Value,
    No,
}

impl Setting {
    fn after(self, token: Token<'_>) -> Self {
        let is = |names: &[&str]| matches!(token, Token::Word(word) if is_one(word, names));
        match self {
            _ if token == Token::Other(b";") => Self::Start,
            Self::Start if is(&["set", "pragma"]) => Self::Name,
            Self::Start if is(&["alter"]) => Self::Alter,
            Self::Start if is(&["create"]) => Self::Create,
            // Its parameters hold no secrets, and changes of columns stand behind them.
            Self::Alter if is(&["table"]) => Self::No,
            Self::Alter => Self::AlterThing,
            Self::Create if is(&["function", "procedure"]) => Self::CreateRoutine,
            Self::Create if is(&["or", "replace"]) => self,
            Self::AlterThing | Self::CreateRoutine if is(&["set"]) => Self::Name,
            Self::CreateRoutine if is(BODIES) => Self::No,
            Self::Name if is(&["to"]) => Self::Value,
            Self::Name if matches!(token, Token::Other(b"=" | b":=")) => Self::Value,
            Self::AlterThing | Self::CreateRoutine | Self::Name | Self::Value => self,
            _ => Self::No,
        }
    }
}

/// What the last token was, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    #[default]
    Start,
    In,
    Values,
    Array,
    /// `::`.
    Cast,
    /// Any other word or sign that a value may follow.
    Operator,
    /// A value or a name: a sign after it has two sides.
    Operand,
}

/// A list that may be folded. Its values are written as long as there is room; offsets are into the
/// shape, behind the opening parenthesis.
#[derive(Clone, Copy, Debug, Default)]
enum Fold {
    #[default]
    No,
    /// Within a list.
    List {
        start: usize,
        depth: u32,
        rows: bool,
        /// It has a value.
        values: bool,
    },
    /// After a folded row of VALUES.
    AfterRow { start: usize },
    /// After a comma after such a row. `blank`: white space was before it.
    AfterComma { start: usize, blank: bool },
    /// Within a further row.
    Row { start: usize, depth: u32 },
}

impl Shaper {
    /// Takes the next token.
    pub(super) fn take(&mut self, token: Token<'_>) {
        if matches!(token, Token::Blank | Token::Cut) {
            self.blank = true;
            return;
        }
        let settled = self.settled(token);
        self.names.take(token);
        let token = settled;
        self.setting = self.setting.after(token);
        if self.further_rows(token) {
            return;
        }
        self.within_list(token);
        self.write(token);
        match token {
            Token::Other(b"(" | b"[") => self.open(token),
            Token::Other(b")") => self.close("...)"),
            Token::Other(b"]") => self.close("...]"),
            _ => {}
        }
        self.last = last(token);
        self.after_word = matches!(token, Token::Word(_));
    }

    /// Nothing that comes can change the shape.
    pub(super) fn is_full(&self) -> bool {
        self.full && matches!(self.fold, Fold::No)
    }

    /// Nothing was written.
    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The shape. `cut`: the statement goes on, but not here.
    pub(super) fn finish(mut self, cut: bool) -> String {
        if cut {
            match self.fold {
                // A list that is cut has the same shape wherever it was cut.
                Fold::List { start, .. }
                | Fold::AfterRow { start }
                | Fold::AfterComma { start, .. }
                | Fold::Row { start, .. } => {
                    self.out.truncate(start);
                    self.full = false;
                }
                Fold::No if self.blank && !self.out.is_empty() => self.out.push(' '),
                Fold::No => {}
            }
        } else {
            if matches!(self.fold, Fold::AfterComma { .. }) {
                self.out.push(',');
            }
            let end = self.out.trim_end_matches([' ', ';']).len();
            self.out.truncate(end);
        }
        let added = if cut { CUT.len() } else { 0 };
        if self.full || self.out.len() + added > SHAPE_LIMIT {
            let mut end = SHAPE_LIMIT - CUT.len();
            while !self.out.is_char_boundary(end) {
                end -= 1;
            }
            self.out.truncate(end);
            self.out.push_str(CUT);
        } else if cut {
            self.out.push_str(CUT);
        }
        self.out
    }

    /// What a token that may be a value is here.
    fn settled<'a>(&self, token: Token<'a>) -> Token<'a> {
        match token {
            // Variables begin with `@`.
            Token::Word([b'@', ..]) => token,
            Token::Word(_) | Token::Quoted(_) | Token::NameOrText(..)
                if self.setting == Setting::Value =>
            {
                Token::Text
            }
            // Behind a word they may be syntax: `is not null`, `set null`.
            Token::Word(word) if !self.after_word && is_one(word, CONSTANTS) => Token::Text,
            Token::NameOrText(name, behind) if self.names.is_name(behind) => Token::Quoted(name),
            Token::NameOrText(..) => Token::Text,
            _ => token,
        }
    }

    /// Takes what belongs to rows behind a folded one; those are not written at all.
    fn further_rows(&mut self, token: Token<'_>) -> bool {
        match (self.fold, token) {
            (Fold::AfterRow { start }, Token::Other(b",")) => {
                let blank = std::mem::take(&mut self.blank);
                self.fold = Fold::AfterComma { start, blank };
            }
            (Fold::AfterComma { start, .. }, Token::Other(b"(")) => {
                self.fold = Fold::Row { start, depth: 1 };
            }
            (Fold::AfterComma { blank, .. }, _) => {
                // It was no row: the comma is written after all.
                self.fold = Fold::No;
                let behind = std::mem::replace(&mut self.blank, blank);
                self.write(Token::Other(b","));
                self.blank = behind;
                self.last = Last::Operator;
                return false;
            }
            (Fold::Row { start, depth }, _) => {
                self.fold = match (token, depth) {
                    (Token::Other(b")"), 1) => Fold::AfterRow { start },
                    (Token::Other(b")"), _) => Fold::Row {
                        start,
                        depth: depth - 1,
                    },
                    (Token::Other(b"("), _) => Fold::Row {
                        start,
                        depth: depth.saturating_add(1),
                    },
                    _ => self.fold,
                };
            }
            (Fold::AfterRow { .. }, _) => {
                self.fold = Fold::No;
                return false;
            }
            _ => return false,
        }
        self.blank = false;
        true
    }

    /// Notes what a list that may be folded holds.
    fn within_list(&mut self, token: Token<'_>) {
        let cast = self.last == Last::Cast;
        let Fold::List { rows, values, .. } = &mut self.fold else {
            return;
        };
        let folds = match token {
            Token::Number | Token::Text | Token::Parameter => {
                *values = true;
                true
            }
            Token::Word(word) if is_one(word, VALUE_WORDS) => {
                *values = true;
                true
            }
            Token::Word(word) if *rows => !word.eq_ignore_ascii_case(b"select"),
            Token::Word(_) | Token::Quoted(_) => *rows || cast,
            _ => true,
        };
        if !folds {
            self.fold = Fold::No;
        }
    }

    /// An opening parenthesis or bracket was written.
    fn open(&mut self, token: Token<'_>) {
        let list = match self.last {
            Last::In | Last::Values => token == Token::Other(b"("),
            Last::Array => token == Token::Other(b"["),
            _ => false,
        };
        match &mut self.fold {
            Fold::List { depth, .. } => *depth = depth.saturating_add(1),
            Fold::No if list && !self.full => {
                self.fold = Fold::List {
                    start: self.out.len(),
                    depth: 1,
                    rows: self.last == Last::Values,
                    values: false,
                };
            }
            _ => {}
        }
    }

    /// A closing parenthesis or bracket was written; a folded list ends in `end`.
    fn close(&mut self, end: &str) {
        let Fold::List {
            start,
            depth,
            rows,
            values,
        } = &mut self.fold
        else {
            return;
        };
        *depth -= 1;
        if *depth > 0 {
            return;
        }
        let (start, rows, values) = (*start, *rows, *values);
        self.fold = Fold::No;
        if !values {
            return;
        }
        self.out.truncate(start);
        self.full = false;
        self.put(end);
        if rows {
            self.fold = Fold::AfterRow { start };
        }
    }

    fn write(&mut self, token: Token<'_>) {
        let sign = self.sign.take();
        if let (Token::Number, Some(at)) = (token, sign) {
            self.out.truncate(at);
            self.blank = false;
        }
        if std::mem::take(&mut self.blank) && !self.out.is_empty() {
            self.put(" ");
        }
        match token {
            Token::Number | Token::Text | Token::Parameter => self.put("?"),
            Token::Other(bytes) => {
                if matches!(bytes, b"+" | b"-") && self.last != Last::Operand {
                    self.sign = Some(self.out.len());
                }
                self.put_bytes(bytes);
            }
            Token::Word(bytes) | Token::Quoted(bytes) | Token::NameOrText(bytes, _) => {
                self.put_bytes(bytes);
            }
            Token::Blank | Token::Cut => {}
        }
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        // One character more than fits tells that it is too long.
        let bytes = bytes.get(..SHAPE_LIMIT + 4).unwrap_or(bytes);
        let text = String::from_utf8_lossy(bytes);
        if text.contains(char::is_control) {
            // Names may hold any: a terminal would obey them.
            self.put(&text.replace(char::is_control, "\u{fffd}"));
        } else {
            self.put(&text);
        }
    }

    /// Writes as long as there is room; the last piece may stand out.
    fn put(&mut self, text: &str) {
        if !self.full {
            self.out.push_str(text);
            self.full = self.out.len() > SHAPE_LIMIT;
        }
    }
}

/// What `token` means for the one behind it.
fn last(token: Token<'_>) -> Last {
    match token {
        Token::Word(word) => {
            if word.eq_ignore_ascii_case(b"in") {
                Last::In
            } else if word.eq_ignore_ascii_case(b"values") {
                Last::Values
            } else if word.eq_ignore_ascii_case(b"array") {
                Last::Array
            } else if is_one(word, BEFORE_VALUE) {
                Last::Operator
            } else {
                Last::Operand
            }
        }
        Token::Other(b")" | b"]") => Last::Operand,
        Token::Other(b"::") => Last::Cast,
        Token::Other(_) => Last::Operator,
        _ => Last::Operand,
    }
}

pub(super) fn is_one(word: &[u8], words: &[&str]) -> bool {
    words
        .iter()
        .any(|other| word.eq_ignore_ascii_case(other.as_bytes()))
}
