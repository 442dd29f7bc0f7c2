//! What a server's packets mean.

use super::super::client::Finding;
use super::{
    NOT_CAPTURED,
    command::has_several_results,
    framing::Packet,
    open::Expect,
    packet::{self, EOF, EOF_LEN, ERR, INFILE, OK, PROGRESS, Status},
    session::MysqlSession,
};

/// Columns that a result set has at the most (`MAX_FIELDS`, `sql/sql_const.h`).
const COLUMNS: u64 = 4_096;

/// How far an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Its first packet comes, or that of another of its results.
    First,
    /// Definitions of so many columns come.
    Columns(u64),
    /// An EOF packet, or already a row.
    BehindColumns,
    Rows,
    /// Definitions of so many parameters and columns of a statement come.
    Definitions(u32),
}

impl MysqlSession {
    /// Takes a packet.
    pub(super) fn answered(&mut self, packet: Packet, found: &mut Vec<Finding>) {
        let first = self.server.body().first().copied();
        let trails = self.trailing.take() == Some(packet.first);
        if trails && first == Some(EOF) && packet.len == EOF_LEN {
            return;
        }
        if self.infile {
            self.end_infile();
        }
        let Some(command) = self.open.front() else {
            // A server that says goodbye has not been asked.
            if first != Some(ERR) {
                self.lose_server(found);
            }
            return;
        };
        let next = self.next.replace(packet.last.wrapping_add(1));
        let expected = next.is_none_or(|next| next == packet.first);
        if let Some(code) = packet::error(self.server.body()) {
            return self.fail(code, found);
        }
        match command.expect {
            Expect::Login => self.login(first),
            _ if !expected => self.lose_server(found),
            Expect::One => {
                self.note_status(packet);
                self.done();
            }
            Expect::Fields => {
                if packet::end_of_rows(self.server.body(), packet.len).is_some() {
                    self.done();
                }
            }
            Expect::Prepare(_) => self.preparing(packet, found),
            Expect::Fetch => self.row(packet, found),
            Expect::Statement(_) => self.result(packet, found),
        }
    }

    /// The first open command is answered.
    fn done(&mut self) {
        self.open.pop();
        self.begin_answer();
    }

    fn login(&mut self, first: Option<u8>) {
        if first == Some(OK) {
            if let Some(end) = packet::ok(self.server.body()) {
                self.backslash = Some(end.status.backslash());
            }
            self.done();
        } else {
            // Others are questions.
            self.next = None;
        }
    }

    /// Takes the status of an answer of one packet.
    fn note_status(&mut self, packet: Packet) {
        let body = self.server.body();
        let end = match body.first() {
            Some(&OK) if packet.len >= 7 => packet::ok(body),
            _ => packet::end_of_rows(body, packet.len),
        };
        if let Some(end) = end {
            self.backslash = Some(end.status.backslash());
        }
    }

    fn preparing(&mut self, packet: Packet, found: &mut Vec<Finding>) {
        let first = self.server.body().first();
        if let Answer::Definitions(left) = self.answer {
            if first == Some(&EOF) && packet.len == EOF_LEN {
                return;
            }
            self.answer = Answer::Definitions(left - 1);
            if left == 1 {
                self.done();
                self.trailing = Some(packet.last.wrapping_add(1));
            }
            return;
        }
        let told = packet::prepare(self.server.body());
        let (Some(told), Some(command)) = (told, self.open.front()) else {
            return self.lose_server(found);
        };
        if let Expect::Prepare(shape) = &command.expect {
            self.prepared.insert(told.statement, shape.clone());
        }
        if told.definitions == 0 {
            self.done();
        } else {
            self.answer = Answer::Definitions(told.definitions);
        }
    }

    fn result(&mut self, packet: Packet, found: &mut Vec<Finding>) {
        match self.answer {
            Answer::First => self.first_of_result(packet, found),
            Answer::Columns(left) => {
                self.answer = match left {
                    0 | 1 => Answer::BehindColumns,
                    _ => Answer::Columns(left - 1),
                };
            }
            Answer::BehindColumns if packet.len == EOF_LEN => match packet::eof(self.server.body())
            {
                Some(end) if end.status.cursor() => self.result_over(end.status, true, found),
                Some(_) => self.answer = Answer::Rows,
                None => self.row(packet, found),
            },
            _ => self.row(packet, found),
        }
    }

    fn first_of_result(&mut self, packet: Packet, found: &mut Vec<Finding>) {
        let body = self.server.body();
        match body.first() {
            Some(&OK) if packet.len >= 7 => match packet::ok(body) {
                Some(end) => {
                    self.rows = self.rows.saturating_add(end.rows);
                    self.result_over(end.status, false, found);
                }
                None => self.lose_server(found),
            },
            Some(&INFILE) => {
                self.infile = true;
                self.client.opaque = true;
                self.next = None;
            }
            Some(&EOF) => match packet::eof(body) {
                Some(end) => self.result_over(end.status, false, found),
                None => self.lose_server(found),
            },
            _ => match packet::columns(body, packet.len) {
                Some((columns @ 1..=COLUMNS, true)) => self.answer = Answer::Columns(columns),
                Some((1..=COLUMNS, false)) => self.answer = Answer::BehindColumns,
                _ => self.lose_server(found),
            },
        }
    }

    /// A row, or the end of them.
    fn row(&mut self, packet: Packet, found: &mut Vec<Finding>) {
        match packet::end_of_rows(self.server.body(), packet.len) {
            Some(end) => {
                if self.hidden.eof && packet.len == EOF_LEN {
                    // The one behind the columns was taken for a row.
                    self.rows = self.rows.saturating_sub(1);
                }
                self.result_over(end.status, true, found);
            }
            None => {
                self.answer = Answer::Rows;
                self.rows = self.rows.saturating_add(1);
                self.hidden.see(packet.len.saturating_add(4));
            }
        }
    }

    /// A result is over; `rows`: it was one with rows.
    pub(super) fn result_over(&mut self, status: Status, rows: bool, found: &mut Vec<Finding>) {
        self.backslash = Some(status.backslash());
        self.answer = Answer::First;
        // Rows of several results are one sum.
        self.hidden = self.hidden.next_result();
        let Some(statement) = self.open.statement() else {
            return self.answer_last(found);
        };
        if !status.more_results() {
            return self.answer_last(found);
        }
        if rows && statement.several {
            return;
        }
        let cut = statement.cut;
        let shape = match self.open.next_statement() {
            Some(shape) => shape,
            // It is another one for all that is known, and may have several results.
            None if cut => {
                Self::missed(found);
                NOT_CAPTURED.to_owned()
            }
            None => return,
        };
        let rows = std::mem::take(&mut self.rows);
        if let Some(statement) = self.open.statement() {
            statement.several = has_several_results(&shape);
            if std::mem::replace(&mut statement.counts, true) {
                if std::mem::take(&mut self.hidden.estimated) {
                    found.push(Finding::RowsEstimated);
                }
                found.push(Finding::Answered { rows, error: None });
            }
        }
        found.push(Finding::Begun { shape });
        let last = self.open.statement().is_none_or(|it| it.is_last());
        if !last {
            found.push(Finding::Several);
        }
    }

    /// The first open command is answered to its end, and well.
    fn answer_last(&mut self, found: &mut Vec<Finding>) {
        if let Some(command) = self.open.front()
            && command.is_operation()
        {
            let rows = self.rows;
            if self.hidden.estimated {
                found.push(Finding::RowsEstimated);
            }
            found.push(Finding::Answered { rows, error: None });
        }
        // Where not all results were captured, those of the other statements were among them.
        if let Some(statement) = self.open.statement()
            && statement.hidden
        {
            let more = statement.more;
            while let Some(shape) = self.open.next_statement() {
                found.push(Finding::Begun { shape });
                found.push(Finding::Answered {
                    rows: 0,
                    error: None,
                });
            }
            if more {
                Self::missed(found);
            }
        }
        self.done();
    }

    /// The first open command has failed; the server runs none of the statements behind it.
    pub(super) fn fail(&mut self, code: u16, found: &mut Vec<Finding>) {
        if code == PROGRESS {
            self.next = None;
            return;
        }
        if let Some(command) = self.open.front()
            && command.is_operation()
        {
            found.push(Finding::Answered {
                rows: 0,
                error: Some(code.to_string()),
            });
        }
        if let Some(statement) = self.open.statement()
            && statement.hidden
            && !statement.is_last()
        {
            // It may be one of those behind it that failed.
            Self::missed(found);
        }
        self.done();
    }
}
