//! What a client's packets mean.

use std::sync::Arc;

use super::super::{
    client::{Finding, SHAPE_LIMIT},
    sql::{self, Dialect, Statements},
};
use super::{
    EMPTY, FETCH, NOT_CAPTURED, UNKNOWN,
    command::{
        self, CHANGE_USER, CREATE_DB, DEBUG, DROP_DB, FIELD_LIST, INIT_DB, LAST_PREPARED, PING,
        PROCESS_INFO, PROCESS_KILL, QUERY, QUIT, REFRESH, RESET_CONNECTION, SET_OPTION, SHUTDOWN,
        STATISTICS, STMT_BULK_EXECUTE, STMT_CLOSE, STMT_EXECUTE, STMT_FETCH, STMT_PREPARE,
        STMT_RESET, STMT_SEND_LONG_DATA,
    },
    framing::Packet,
    open::{Command, Expect, Statement},
    recognise,
    session::MysqlSession,
};

/// `CLIENT_COMPRESS`, `CLIENT_ZSTD_COMPRESSION_ALGORITHM`: flags of a login.
const COMPRESS: u32 = 1 << 5 | 1 << 26;
/// What a shape that is not the whole statement ends in.
const CUT: &str = "...";

impl MysqlSession {
    /// Takes a packet.
    pub(super) fn asked(&mut self, packet: Packet, found: &mut Vec<Finding>) {
        let new = std::mem::take(&mut self.new);
        if self.infile {
            if packet.len == 0 {
                self.end_infile();
                self.next = Some(packet.last.wrapping_add(1));
            }
            return;
        }
        if packet.first != 0 {
            return self.within_exchange(packet, new, found);
        }
        if packet.len == 0 || self.open.is_full() {
            return self.lose_client(found);
        }
        if self.server_lost {
            self.close_all(found);
        }
        let body = self.client.take_body();
        let whole = body.len() as u64 == packet.len;
        let expect = self.command(&body, whole, found);
        self.client.give_back(body);
        if let Some(expect) = expect {
            self.expect(expect, packet);
        }
    }

    /// The client's file is over, or the server has had enough of it.
    pub(super) fn end_infile(&mut self) {
        self.infile = false;
        self.client.opaque = false;
        if std::mem::take(&mut self.client_lost) {
            self.client.reset();
        }
    }

    /// A packet that begins no command: a login, or more of one.
    fn within_exchange(&mut self, packet: Packet, new: bool, found: &mut Vec<Finding>) {
        if new && packet.first == 1 {
            let flags = recognise::flags(self.client.body()).unwrap_or_default();
            if packet.len == recognise::SSL_REQUEST_LEN as u64 && flags & recognise::SSL != 0 {
                self.forget();
                found.push(Finding::Encrypted);
                return;
            }
            self.compresses = flags & COMPRESS != 0;
            self.expect(Expect::Login, packet);
        } else if !matches!(self.open.front(), Some(command) if matches!(command.expect, Expect::Login))
        {
            self.lose_client(found);
        }
    }

    fn expect(&mut self, expect: Expect, packet: Packet) {
        let first = self.open.is_empty();
        let number = packet.last.wrapping_add(1);
        self.open.push(Command { expect, number });
        if first {
            self.begin_answer();
        }
    }

    /// Takes a command; returns what answers it.
    fn command(&mut self, body: &[u8], whole: bool, found: &mut Vec<Finding>) -> Option<Expect> {
        let Some(command) = body.first() else {
            // It was not captured what it is.
            Self::missed(found);
            return Some(Expect::Statement(Statement::default()));
        };
        Some(match *command {
            QUERY => Expect::Statement(self.query(body, whole, found)),
            STMT_PREPARE => {
                let text = body.get(1..).unwrap_or_default();
                let shape: Arc<str> = self.shape(text, whole).into();
                self.prepared.asked(Arc::clone(&shape));
                Expect::Prepare(shape)
            }
            STMT_EXECUTE | STMT_BULK_EXECUTE => {
                let shape = self.prepared_shape(body);
                let several = command::has_several_results(&shape);
                Self::ask((*shape).to_owned(), found);
                Expect::Statement(Statement {
                    counts: true,
                    several,
                    ..Statement::default()
                })
            }
            STMT_FETCH => {
                let shape = self.prepared_shape(body);
                Self::ask(fetch(&shape), found);
                Expect::Fetch
            }
            STMT_CLOSE => {
                if let Some(statement) = command::statement(body) {
                    self.prepared.remove(statement);
                }
                return None;
            }
            STMT_SEND_LONG_DATA | QUIT => return None,
            FIELD_LIST => Expect::Fields,
            PROCESS_INFO => Expect::Statement(Statement::default()),
            CHANGE_USER => {
                self.prepared.clear();
                Expect::Login
            }
            RESET_CONNECTION => {
                self.prepared.clear();
                Expect::One
            }
            INIT_DB | CREATE_DB | DROP_DB | REFRESH | SHUTDOWN | STATISTICS | PROCESS_KILL
            | DEBUG | PING | STMT_RESET | SET_OPTION => Expect::One,
            // A replica, or none of MySQL's.
            _ => {
                self.stop(found);
                return None;
            }
        })
    }

    fn ask(shape: String, found: &mut Vec<Finding>) {
        found.push(Finding::Asked { shape });
    }

    /// Asks for the first statement of a text. The others are asked for when the server begins them: it
    /// stops at one that fails, and may not take the text for several at all.
    fn query(&mut self, body: &[u8], whole: bool, found: &mut Vec<Finding>) -> Statement {
        let sent = command::text(body);
        let whole = whole && sent.is_some();
        let sent = sent.unwrap_or_default();
        let (dialect, text, complete) = self.readable(sent, whole);
        let Statements { mut shapes, more } = sql::statements(dialect, text, complete);
        let more = more || sql::may_end(sent.get(text.len()..).unwrap_or_default());
        let further = shapes.split_off(shapes.len().min(1));
        let first = match shapes.pop() {
            None => EMPTY.to_owned(),
            Some(shape) if shape == CUT => NOT_CAPTURED.to_owned(),
            Some(shape) => shape,
        };
        let several = command::has_several_results(&first);
        Self::ask(first, found);
        if !further.is_empty() || more {
            found.push(Finding::Several);
        }
        Statement {
            counts: true,
            several,
            further: further.into(),
            more,
            cut: !complete || more,
            hidden: false,
        }
    }

    /// Shape of a text as a whole.
    fn shape(&self, text: &[u8], whole: bool) -> String {
        let (dialect, text, complete) = self.readable(text, whole);
        match sql::shape(dialect, text, complete) {
            shape if shape.is_empty() => EMPTY.to_owned(),
            shape if shape == CUT => NOT_CAPTURED.to_owned(),
            shape => shape,
        }
    }

    /// Where it is not known whether backslashes escape, a text is read up to the first: behind it, what is
    /// within a literal and what is not could be mixed up.
    fn readable<'a>(&self, text: &'a [u8], whole: bool) -> (Dialect, &'a [u8], bool) {
        let at = memchr::memchr(b'\\', text);
        let settled = self.backslash.filter(|_| self.open.is_empty());
        match (settled, at) {
            (Some(backslash), None) => (self.dialect.with_backslash(backslash), text, whole),
            (None, None) => (self.dialect, text, whole),
            (Some(backslash), Some(_)) if !has_word(text, b"sql_mode") => {
                (self.dialect.with_backslash(backslash), text, whole)
            }
            (_, Some(at)) => (self.dialect, text.get(..at).unwrap_or_default(), false),
        }
    }

    /// Shape of the statement that a command is about.
    fn prepared_shape(&self, body: &[u8]) -> Arc<str> {
        let shape = match command::statement(body) {
            Some(LAST_PREPARED) => self.prepared.last(),
            Some(statement) => self.prepared.get(statement),
            None => Some(NOT_CAPTURED.into()),
        };
        shape.unwrap_or_else(|| UNKNOWN.into())
    }
}

/// Shape of what fetches rows of a statement.
fn fetch(shape: &str) -> String {
    let room = SHAPE_LIMIT - FETCH.len();
    if shape.len() <= room {
        return format!("{FETCH}{shape}");
    }
    let mut end = room - CUT.len();
    while !shape.is_char_boundary(end) {
        end -= 1;
    }
    format!("{FETCH}{}{CUT}", shape.get(..end).unwrap_or_default())
}

fn has_word(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len())
        .any(|window| window.eq_ignore_ascii_case(word))
}
