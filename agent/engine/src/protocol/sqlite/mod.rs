//! SQLite, as a process uses its library (SQLite 3, `sqlite.org/c3ref`): texts, names of databases, result
//! codes. Not bytes of a connection: what is executed, the kernel side tells.

#[cfg(test)]
mod tests;

use super::sql::{self, Dialect};

/// Name on the wire; also the peer where the database is not known.
pub(crate) const NAME: &str = "sqlite";
/// Shape of a statement that was prepared before the library was probed, or as UTF-16, which is not read.
pub(crate) const UNKNOWN: &str = "unknown (prepared earlier)";

/// Shape of the statement that `text` holds. `whole`: nothing of it is missing.
pub(crate) fn shape(text: &[u8], whole: bool) -> String {
    if text.is_empty() {
        return UNKNOWN.to_owned();
    }
    sql::shape(Dialect::SQLITE, text, whole)
}

/// Name of a database for people: the path, as the application gave it. The parameters of a URI may hold keys.
pub(crate) fn database(name: &[u8]) -> &[u8] {
    let is_uri = name
        .get(..5)
        .is_some_and(|front| front.eq_ignore_ascii_case(b"file:"));
    let end = if is_uri {
        name.iter()
            .position(|byte| matches!(byte, b'?' | b'#'))
            .unwrap_or(name.len())
    } else {
        name.len()
    };
    name.get(..end).unwrap_or_default()
}

/// Names of the primary result codes, by number (`sqlite3.h`).
const CODES: &[&str] = &[
    "",
    "ERROR",
    "INTERNAL",
    "PERM",
    "ABORT",
    "BUSY",
    "LOCKED",
    "NOMEM",
    "READONLY",
    "INTERRUPT",
    "IOERR",
    "CORRUPT",
    "NOTFOUND",
    "FULL",
    "CANTOPEN",
    "PROTOCOL",
    "EMPTY",
    "SCHEMA",
    "TOOBIG",
    "CONSTRAINT",
    "MISMATCH",
    "MISUSE",
    "NOLFS",
    "AUTH",
    "FORMAT",
    "RANGE",
    "NOTADB",
];

/// Name of a result code: `SQLITE_BUSY`. An extended code has the primary one in its lowest byte. `None`:
/// success.
pub(crate) fn error(code: i32) -> Option<String> {
    if code == 0 {
        return None;
    }
    let primary = usize::from(code.to_le_bytes()[0]);
    Some(match CODES.get(primary) {
        Some(name) if !name.is_empty() => format!("SQLITE_{name}"),
        _ => format!("SQLITE_{code}"),
    })
}
