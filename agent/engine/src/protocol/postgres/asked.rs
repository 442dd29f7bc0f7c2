//! What a client's messages mean.

use std::sync::Arc;

use super::super::{
    client::Finding,
    sql::{self, Statements},
};
use super::{
    EMPTY, FUNCTION_CALL, NOT_CAPTURED, UNKNOWN,
    message::text,
    recognise::{CANCEL, GSS, MAJOR, SSL},
    session::{PostgresSession, Setup},
};

/// A Parse, for what may be hidden behind it.
#[derive(Clone, Debug)]
pub(super) struct Parsed {
    /// Length of the statement's name.
    name: usize,
    pub(super) shape: Arc<str>,
}

impl Parsed {
    /// Whether hidden bytes behind the Parse, before a last Sync, can be told: before an Execute they have
    /// room for the Bind; else they are a Describe of the statement. The answers show when it was more.
    pub(super) fn explains(&self, hidden: u64, executes: bool) -> bool {
        let name = self.name as u64;
        if executes {
            // Type, length, portal, statement, three counts.
            hidden >= 1 + 4 + 1 + (name + 1) + 6
        } else {
            // Type, length, `S`, statement.
            hidden == 1 + 4 + 1 + (name + 1)
        }
    }
}

impl PostgresSession {
    /// Takes a message. `whole`: its body was kept whole.
    pub(super) fn asked(&mut self, kind: u8, whole: bool, found: &mut Vec<Finding>) {
        let body = self.client.take_body();
        self.parsed = None;
        let fits = match kind {
            0 => {
                self.packet(&body, found);
                true
            }
            b'Q' => self.query(&body, whole, found),
            b'P' => {
                self.parse(&body, whole);
                true
            }
            b'B' => {
                self.bind(&body);
                true
            }
            b'E' => self.execute(&body, found),
            b'C' => {
                self.close(&body);
                true
            }
            b'S' => self.pending.sync(),
            b'F' => self.ask(FUNCTION_CALL.to_owned(), Vec::new(), found),
            _ => true,
        };
        self.client.give_back(body);
        if !fits {
            self.lose_client(found);
        }
    }

    /// A packet without a type.
    fn packet(&mut self, body: &[u8], found: &mut Vec<Finding>) {
        let code = body.first_chunk().map(|code| u32::from_be_bytes(*code));
        match code {
            Some(SSL | GSS) => self.setup = Setup::AskedToEncrypt,
            // Nothing is answered, and nothing follows.
            Some(CANCEL) => {}
            Some(version) if version >> 16 == MAJOR => {
                self.setup = Setup::Done;
                // The first ReadyForQuery answers this.
                self.pending.sync();
            }
            _ => self.stop(found),
        }
    }

    fn query(&mut self, body: &[u8], whole: bool, found: &mut Vec<Finding>) -> bool {
        // A Query ends the unnamed statement and portal.
        self.prepared.close_statement(b"");
        self.prepared.close_portal(b"");
        let statement = body.strip_suffix(&[0]).filter(|_| whole).unwrap_or(body);
        let Statements { mut shapes, more } = sql::statements(self.dialect, statement, whole);
        let further = shapes.split_off(shapes.len().min(1));
        if more {
            Self::missed(found);
        }
        let first = shapes.pop().unwrap_or_else(|| EMPTY.to_owned());
        self.ask(first, further, found)
    }

    /// A message that asks for this, and then for the `further` ones, up to a ReadyForQuery; `false`: too many are
    /// pending. The further ones are told when the server begins them: it runs none behind one that fails.
    fn ask(&mut self, shape: String, further: Vec<String>, found: &mut Vec<Finding>) -> bool {
        // Behind an Execute without a Sync, the server may skip it.
        if !self.pending.has_room() || self.pending.is_unsynced() {
            return false;
        }
        found.push(Finding::Asked { shape });
        if !further.is_empty() {
            found.push(Finding::Several);
        }
        if !self.pending.query(further) {
            Self::missed(found);
        }
        true
    }

    fn parse(&mut self, body: &[u8], whole: bool) {
        let Some((name, rest)) = text(body) else {
            return;
        };
        let (statement, complete) = match text(rest) {
            Some((statement, _)) => (statement, true),
            None => (rest, whole),
        };
        let shape: Arc<str> = match sql::shape(self.dialect, statement, complete) {
            empty if empty.is_empty() => EMPTY.into(),
            shape => shape.into(),
        };
        self.prepared.parse(name, Arc::clone(&shape));
        self.parsed = Some(Parsed {
            name: name.len(),
            shape,
        });
    }

    fn bind(&mut self, body: &[u8]) {
        let Some((portal, rest)) = text(body) else {
            return;
        };
        match text(rest) {
            Some((statement, _)) => self.prepared.bind(portal, statement),
            None => self.prepared.close_portal(portal),
        }
    }

    fn execute(&mut self, body: &[u8], found: &mut Vec<Finding>) -> bool {
        if !self.pending.has_room() {
            return false;
        }
        let shape = match text(body) {
            Some((portal, _)) => self.prepared.portal(portal),
            None => Some(NOT_CAPTURED.into()),
        };
        let shape = shape
            .or_else(|| self.guess.clone())
            .unwrap_or_else(|| UNKNOWN.into());
        found.push(Finding::Asked {
            shape: (*shape).to_owned(),
        });
        self.pending.execute();
        true
    }

    fn close(&mut self, body: &[u8]) {
        let Some((name, _)) = body.get(1..).and_then(text) else {
            return;
        };
        if body.first() == Some(&b'S') {
            self.prepared.close_statement(name);
        } else {
            self.prepared.close_portal(name);
        }
    }
}
