//! Which `"..."` of SQLite are names. SQLite takes it for a text wherever a value may stand and no such column is
//! known (<https://sqlite.org/quirks.html#dblquote>), so only what the grammar lets be nothing but a name is
//! told as one; all else is taken for a text. A column that stands alone in an expression is lost by that.

use super::{Token, shaper::is_one};

/// Deepest parentheses that are told apart.
const LEVELS: usize = 16;

/// Words of which only a name follows.
const BEFORE_NAME: &[&str] = &[
    "from",
    "join",
    "into",
    "update",
    "table",
    "index",
    "view",
    "trigger",
    "exists",
    "as",
    "references",
    "constraint",
    "column",
    "add",
    "rename",
    "to",
    "with",
    "recursive",
];

/// Words that end the tables of FROM and the assignments of SET.
const CLAUSES: &[&str] = &[
    "select",
    "values",
    "where",
    "group",
    "having",
    "window",
    "union",
    "intersect",
    "except",
    "order",
    "limit",
    "returning",
];

/// What stands behind a `"..."`, as far as it tells a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    Dot,
    Parenthesis,
    Equals,
    /// What ends an element of a list of columns.
    End,
    Other,
}

impl Behind {
    /// `rest`: the text behind it.
    pub(super) fn of(rest: &[u8]) -> Self {
        match rest.trim_ascii_start() {
            [b'.', next, ..] if !matches!(next, b'.' | b'0'..=b'9') => Self::Dot,
            [b'(', ..] => Self::Parenthesis,
            [b'=', ..] => Self::Equals,
            [b',' | b')', ..] => Self::End,
            _ => Self::Other,
        }
    }
}

/// What the elements are that commas part, at one level of parentheses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Level {
    #[default]
    Expressions,
    /// After FROM: each begins with a table.
    Tables,
    /// Of CREATE TABLE: each begins with a column or a keyword.
    Definitions,
    /// Names.
    Columns,
    /// After SET.
    Assignments,
}

/// What an opening parenthesis begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Opens {
    #[default]
    Expressions,
    /// Such a list, behind a name that is to come.
    BehindName(Level),
    List(Level),
}

/// What the last token was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    #[default]
    Other,
    /// One of which only a name follows.
    BeforeName,
    Dot,
    /// An element of the level begins.
    Separator,
    Distinct,
}

/// Follows one statement, token by token.
#[derive(Debug, Default)]
pub(super) struct Names {
    levels: [Level; LEVELS],
    depth: usize,
    opens: Opens,
    last: Last,
    /// `INTO` is before a value.
    vacuum: bool,
    /// What is created comes next.
    creates: bool,
    /// `ON` is before the table of an index or trigger.
    on_table: bool,
}

impl Names {
    /// Whether a `"..."` that comes next is a name.
    pub(super) fn is_name(&self, behind: Behind) -> bool {
        match (behind, self.last) {
            (Behind::Dot | Behind::Parenthesis, _) | (_, Last::BeforeName | Last::Dot) => true,
            (_, Last::Separator) => match self.level() {
                Level::Expressions => false,
                Level::Tables | Level::Definitions => true,
                Level::Columns => behind == Behind::End,
                Level::Assignments => behind == Behind::Equals,
            },
            _ => false,
        }
    }

    /// Takes a token that is not blank.
    pub(super) fn take(&mut self, token: Token<'_>) {
        if token == Token::Other(b";") {
            *self = Self::default();
            return;
        }
        let opens = std::mem::take(&mut self.opens);
        let last = std::mem::take(&mut self.last);
        match token {
            Token::Word(word) if last == Last::Dot => self.name(word, opens, last),
            Token::Word(word) => self.word(word, opens, last),
            Token::Quoted(_) | Token::NameOrText(..) => self.name(b"", opens, last),
            Token::Other(b".") => {
                self.opens = match opens {
                    Opens::List(level) => Opens::BehindName(level),
                    _ => opens,
                };
                self.last = Last::Dot;
            }
            Token::Other(b",") => self.last = Last::Separator,
            Token::Other(b"(") => {
                self.depth = self.depth.saturating_add(1);
                self.set_level(match opens {
                    Opens::List(level) => level,
                    _ => Level::Expressions,
                });
                self.last = Last::Separator;
            }
            Token::Other(b")") => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    /// A name, or a word that is none of the keywords looked for.
    fn name(&mut self, word: &[u8], opens: Opens, last: Last) {
        self.opens = match opens {
            // `IF NOT EXISTS`.
            Opens::BehindName(_) if last != Last::Dot && is_one(word, &["if", "not"]) => opens,
            Opens::BehindName(level) => Opens::List(level),
            _ => Opens::Expressions,
        };
    }

    fn word(&mut self, word: &[u8], opens: Opens, last: Last) {
        let is = |names: &[&str]| is_one(word, names);
        let defines = self.level() == Level::Definitions;
        self.name(word, opens, last);
        self.vacuum |= is(&["vacuum"]);
        self.on_table |= self.creates && is(&["index", "trigger"]);
        self.creates = is(&["create"]) || (self.creates && is(&["unique", "temp", "temporary"]));
        if is(&["distinct"]) {
            self.last = Last::Distinct;
        } else if is(&["on"]) && std::mem::take(&mut self.on_table) {
            // The columns of an index may be texts, though nobody wants that.
            self.opens = Opens::Expressions;
            self.last = Last::BeforeName;
        } else if is(&["conflict", "using"]) || (defines && is(&["key", "unique"])) {
            self.opens = Opens::List(Level::Columns);
        } else if is(&["set"]) {
            self.opens = Opens::List(Level::Columns);
            self.last = Last::Separator;
            self.change_level(Level::Assignments);
        } else if is(CLAUSES) {
            self.opens = Opens::Expressions;
            self.change_level(Level::Expressions);
        } else if is(BEFORE_NAME) {
            self.before_name(word, opens, last);
        }
    }

    fn before_name(&mut self, word: &[u8], opens: Opens, last: Last) {
        let is = |names: &[&str]| is_one(word, names);
        let compares = is(&["from"]) && last == Last::Distinct;
        if compares || (is(&["into"]) && self.vacuum) {
            return;
        }
        self.last = Last::BeforeName;
        self.opens = if is(&["into", "references", "with", "recursive"]) {
            Opens::BehindName(Level::Columns)
        } else if is(&["table"]) {
            Opens::BehindName(Level::Definitions)
        } else if is(&["exists"]) {
            opens
        } else {
            Opens::Expressions
        };
        if is(&["from"]) {
            self.change_level(Level::Tables);
        }
    }

    fn level(&self) -> Level {
        self.levels.get(self.depth).copied().unwrap_or_default()
    }

    fn set_level(&mut self, level: Level) {
        if let Some(here) = self.levels.get_mut(self.depth) {
            *here = level;
        }
    }

    /// A clause begins, unless the level is a list: `ON DELETE SET NULL`.
    fn change_level(&mut self, level: Level) {
        if !matches!(self.level(), Level::Definitions | Level::Columns) {
            self.set_level(level);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dialect, shape, tests::check};

    /// What only a name can be stays readable.
    #[test]
    fn sqlite_names() {
        check(
            Dialect::SQLITE,
            &[
                (
                    "SELECT \"auth_user\".\"id\", \"auth_user\" . \"name\" FROM \"auth_user\" WHERE \"auth_user\".\"name\" = \"x\"",
                    "SELECT \"auth_user\".\"id\", \"auth_user\" . \"name\" FROM \"auth_user\" WHERE \"auth_user\".\"name\" = ?",
                ),
                (
                    "SELECT COUNT(*) AS \"__count\" FROM (SELECT DISTINCT \"t\".\"a\" AS \"b\" FROM \"t\", \"u\") c ORDER BY \"t\".\"id\" ASC",
                    "SELECT COUNT(*) AS \"__count\" FROM (SELECT DISTINCT \"t\".\"a\" AS \"b\" FROM \"t\", \"u\") c ORDER BY \"t\".\"id\" ASC",
                ),
                (
                    "SELECT \"a\" FROM \"t\" INNER JOIN \"u\" ON (\"t\".\"a\" = \"u\".\"b\" AND \"c\" = 'x')",
                    "SELECT ? FROM \"t\" INNER JOIN \"u\" ON (\"t\".\"a\" = \"u\".\"b\" AND ? = ?)",
                ),
                (
                    "INSERT INTO \"t\" (\"a\", \"b\") VALUES (\"x\", ?), (?, ?) RETURNING \"t\".\"id\"",
                    "INSERT INTO \"t\" (\"a\", \"b\") VALUES (...) RETURNING \"t\".\"id\"",
                ),
                (
                    "INSERT OR IGNORE INTO main.\"t\"(\"a\") SELECT \"a\" FROM \"u\"",
                    "INSERT OR IGNORE INTO main.\"t\"(\"a\") SELECT ? FROM \"u\"",
                ),
                (
                    "INSERT INTO t (\"a\") VALUES (1) ON CONFLICT(\"a\", \"b\") DO UPDATE SET \"a\" = EXCLUDED.\"a\", (\"b\",\"c\")=(1,2)",
                    "INSERT INTO t (\"a\") VALUES (...) ON CONFLICT(\"a\", \"b\") DO UPDATE SET \"a\" = EXCLUDED.\"a\", (?,?)=(?,?)",
                ),
                (
                    "UPDATE \"t\" SET \"a\" = ?, \"b\" = \"t\".\"b\" + 1, \"c\" = \"d\" WHERE \"t\".\"id\" IN (1, \"e\")",
                    "UPDATE \"t\" SET \"a\" = ?, \"b\" = \"t\".\"b\" + ?, \"c\" = ? WHERE \"t\".\"id\" IN (...)",
                ),
                (
                    "CREATE TABLE IF NOT EXISTS \"t\" (\"id\" integer NOT NULL PRIMARY KEY, \"a\" text DEFAULT \"x\" \
                     REFERENCES \"u\" (\"id\") ON DELETE SET NULL, \"b\" int, CONSTRAINT \"c\" UNIQUE (\"a\", \"b\"))",
                    "CREATE TABLE IF NOT EXISTS \"t\" (\"id\" integer NOT NULL PRIMARY KEY, \"a\" text DEFAULT ? \
                     REFERENCES \"u\" (\"id\") ON DELETE SET NULL, \"b\" int, CONSTRAINT \"c\" UNIQUE (\"a\", \"b\"))",
                ),
                (
                    "CREATE UNIQUE INDEX \"i\" ON \"t\" (\"a\", \"b\" DESC, \"c\" || d) WHERE \"e\"",
                    "CREATE UNIQUE INDEX \"i\" ON \"t\" (?, ? DESC, ? || d) WHERE ?",
                ),
                (
                    "ALTER TABLE \"t\" RENAME COLUMN \"a\" TO \"b\"",
                    "ALTER TABLE \"t\" RENAME COLUMN \"a\" TO \"b\"",
                ),
                (
                    "WITH RECURSIVE \"c\"(\"a\") AS (VALUES (\"x\")) SELECT \"max\"(\"c\".a) FROM \"c\" JOIN \"d\" USING (\"e\")",
                    "WITH RECURSIVE \"c\"(\"a\") AS (VALUES (...)) SELECT \"max\"(\"c\".a) FROM \"c\" JOIN \"d\" USING (\"e\")",
                ),
                ("DELETE FROM \"t\"", "DELETE FROM \"t\""),
                ("DROP TABLE IF EXISTS \"t\"", "DROP TABLE IF EXISTS \"t\""),
            ],
        );
        let deep = format!("select {}\"x\"", "(".repeat(100));
        let shape = shape(Dialect::SQLITE, deep.as_bytes(), true);
        assert!(shape.ends_with("(?"), "{shape}");
    }
}
