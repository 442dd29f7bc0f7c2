//! PostgreSQL and what speaks as it does (CockroachDB, YugabyteDB, PgBouncer): the frontend/backend
//! protocol, version 3 (PostgreSQL 18 manual, chapter "Frontend/Backend Protocol").
//!
//! An operation is a statement of a simple Query that the server begins (behind one that fails it begins none), an
//! Execute, or a FunctionCall. An Execute that the server skips because one before it failed ends with the error
//! [`SKIPPED`]. Parse, Bind and Describe are none.
//!
//! Values are passed over, not kept, but for those in a statement where the user wants literals. Of a connection that gets encrypted nothing is told but that.

mod answered;
mod asked;
mod ending;
mod framing;
mod message;
mod names;
mod pending;
mod recognise;
mod session;
#[cfg(test)]
mod tests;

use super::Recognised;
use super::client::{ClientProtocol, Session, SessionOptions};
use session::PostgresSession;

/// Shape of an operation whose statement was prepared before the connection was watched.
pub(crate) const UNKNOWN: &str = "unknown (prepared earlier)";
/// Shape of an operation whose statement was sent, but not captured.
pub(crate) const NOT_CAPTURED: &str = "unknown (not captured)";
/// Shape of a query without a statement; drivers send it to see whether the server is there.
pub(crate) const EMPTY: &str = "(empty)";
/// Shape of a FunctionCall.
pub(crate) const FUNCTION_CALL: &str = "function call";
/// Error of an operation that the server passed over after an error before it.
pub(crate) const SKIPPED: &str = "skipped";
/// Error of an operation that failed with a code that was not captured.
pub(crate) const UNKNOWN_ERROR: &str = "unknown";

/// PostgreSQL, as its clients speak it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Postgres;

impl ClientProtocol for Postgres {
    fn name(&self) -> &'static str {
        "postgresql"
    }

    fn recognise(&self, written: &[u8]) -> Recognised {
        recognise::recognise(written)
    }

    fn session(&self) -> Box<dyn Session> {
        self.session_with(SessionOptions::default())
    }

    fn session_with(&self, options: SessionOptions) -> Box<dyn Session> {
        Box::new(PostgresSession::new().with_literals(options.show_literals))
    }
}
