//! MySQL, MariaDB and what speaks as they do (Percona, TiDB, ProxySQL): the classic protocol (MySQL 8.4
//! source documentation, "Client/Server Protocol"; MariaDB knowledge base, "Clients & Utilities, protocol").
//!
//! An operation is a statement: each one of a COM_QUERY that the server ran, and each COM_STMT_EXECUTE or
//! COM_STMT_BULK_EXECUTE. A COM_STMT_FETCH, which brings the rows of a cursor, is one of its own. Preparing,
//! closing and resetting statements are none, nor are COM_PING, COM_INIT_DB and the other commands about the
//! connection: `performance_schema` has no digest of those either.
//!
//! What the two sides agreed on when they connected is not asked: all that depends on it shows in the bytes.
//!
//! Values are passed over, not kept, but for those in a statement where the user wants literals; of logging in
//! not a byte is. Of a connection that gets encrypted nothing is told but that; one that compresses is missed.

mod answered;
mod asked;
mod command;
mod ending;
mod framing;
mod hidden;
mod open;
mod packet;
mod prepared;
mod recognise;
mod session;
#[cfg(test)]
mod tests;

use super::Recognised;
use super::client::{ClientProtocol, Session, SessionOptions};
use session::MysqlSession;

/// Shape of an operation whose statement was prepared before the connection was watched.
pub(crate) const UNKNOWN: &str = "unknown (prepared earlier)";
/// Shape of an operation whose statement was sent, but not captured.
pub(crate) const NOT_CAPTURED: &str = "unknown (not captured)";
/// Shape of a query without a statement.
pub(crate) const EMPTY: &str = "(empty)";
/// What stands before the shape of a statement whose rows are fetched by a cursor.
pub(crate) const FETCH: &str = "fetch: ";

/// MySQL, as its clients speak it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mysql;

impl ClientProtocol for Mysql {
    fn name(&self) -> &'static str {
        "mysql"
    }

    fn recognise(&self, written: &[u8]) -> Recognised {
        recognise::recognise(written)
    }

    fn session(&self) -> Box<dyn Session> {
        self.session_with(SessionOptions::default())
    }

    fn session_with(&self, options: SessionOptions) -> Box<dyn Session> {
        Box::new(MysqlSession::new().with_literals(options.show_literals))
    }

    fn tells_at_ends(&self) -> bool {
        false
    }
}
