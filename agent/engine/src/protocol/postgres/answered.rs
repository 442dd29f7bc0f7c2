//! What a server's messages mean.

use super::super::client::Finding;
use super::{
    UNKNOWN_ERROR,
    framing::Input,
    message::{rows, sqlstate, text},
    session::{PostgresSession, Setup},
};

impl PostgresSession {
    /// Takes the answer to the question whether the connection is to be encrypted; `true`: it is not.
    pub(super) fn may_go_on_in_clear(
        &mut self,
        input: &mut Input<'_>,
        found: &mut Vec<Finding>,
    ) -> bool {
        match input.first() {
            Some(b'N') => {
                input.skip_byte();
                self.setup = Setup::Packets;
                true
            }
            // An error of a server that is too old to know the question, or of a proxy.
            Some(b'E') => {
                self.setup = Setup::Packets;
                true
            }
            Some(b'S') => {
                self.forget();
                found.push(Finding::Encrypted);
                false
            }
            // Encrypted by GSSAPI, or not PostgreSQL.
            _ => {
                self.stop(found);
                false
            }
        }
    }

    /// Takes a message. `whole`: its body was kept whole.
    pub(super) fn answered(&mut self, kind: u8, whole: bool, found: &mut Vec<Finding>) {
        // Notices, notifications and parameters come at any time.
        if !matches!(kind, b'N' | b'A' | b'S') {
            self.ready = kind == b'Z';
        }
        match kind {
            b'D' => self.rows = self.rows.saturating_add(1),
            b'C' => {
                let body = self.server.take_body();
                let rows = text(&body).map_or(0, |(tag, _)| rows(tag));
                self.server.give_back(body);
                self.answer(rows, found);
            }
            // EmptyQueryResponse, FunctionCallResponse.
            b'I' | b'V' => self.answer(0, found),
            // PortalSuspended tells no number.
            b's' => self.answer(self.rows, found),
            b'E' => self.fail(found),
            b'G' | b'W' => {
                self.copying = true;
                self.pending.copy_in();
            }
            b'S' if whole => self.parameter(),
            b'Z' => {
                let group = self.pending.ready();
                Self::end_group(group, found);
                self.copying = false;
                self.rows = 0;
            }
            _ => {}
        }
    }

    fn answer(&mut self, rows: u64, found: &mut Vec<Finding>) {
        self.rows = 0;
        self.copying = false;
        if self.pending.answer() {
            found.push(Finding::Answered { rows, error: None });
            if let Some((shape, last)) = self.pending.begin_next() {
                found.push(Finding::Begun { shape });
                found.extend((!last).then_some(Finding::Several));
            }
        } else if !self.client_lost {
            // It was asked for where nothing was captured.
            Self::missed(found);
        }
    }

    fn fail(&mut self, found: &mut Vec<Finding>) {
        self.rows = 0;
        self.copying = false;
        let body = self.server.take_body();
        if self.pending.answer() {
            found.push(Finding::Answered {
                rows: 0,
                error: Some(sqlstate(&body).unwrap_or(UNKNOWN_ERROR).to_owned()),
            });
        }
        self.server.give_back(body);
        self.pending.fail();
    }

    /// Takes a ParameterStatus: with `standard_conforming_strings` off, backslashes escape.
    fn parameter(&mut self) {
        let body = self.server.take_body();
        if let Some((b"standard_conforming_strings", value)) = text(&body) {
            self.dialect = self.dialect.with_backslash(value == b"off\0");
        }
        self.server.give_back(body);
    }
}
