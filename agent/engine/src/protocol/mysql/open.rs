//! Commands that wait for their answer, in the order in which they are answered.

use std::{collections::VecDeque, sync::Arc};

/// Commands that may wait at a time.
const LIMIT: usize = 4_096;
/// Statements behind the first of a command, over all commands, whose shapes are kept.
const FURTHER: usize = 1_024;

/// What answers a command.
#[derive(Debug)]
pub(super) enum Expect {
    /// A statement's results.
    Statement(Statement),
    /// COM_STMT_PREPARE.
    Prepare(Arc<str>),
    /// Rows of a cursor.
    Fetch,
    /// Definitions of columns.
    Fields,
    /// Logging in: packets to and fro.
    Login,
    /// One packet.
    One,
}

/// The statement of a command that the server is at.
#[derive(Debug, Default)]
pub(super) struct Statement {
    /// It is an operation.
    pub(super) counts: bool,
    /// It may have any number of result sets, and ends in an OK packet.
    pub(super) several: bool,
    /// Shapes of those behind it, which the server has not begun.
    pub(super) further: VecDeque<String>,
    /// More stand behind those, or may.
    pub(super) more: bool,
    /// The end of the text was not read: the server tells whether more stand behind.
    pub(super) cut: bool,
    /// Some of its results were not captured, and maybe whole results of those behind it.
    pub(super) hidden: bool,
}

impl Statement {
    /// None stands behind it, as far as its text was read.
    pub(super) fn is_last(&self) -> bool {
        self.further.is_empty() && !self.more
    }
}

/// A command.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) expect: Expect,
    /// Number of the first packet of its answer.
    pub(super) number: u8,
}

impl Command {
    /// An operation is open with it.
    pub(super) fn is_operation(&self) -> bool {
        match &self.expect {
            Expect::Statement(statement) => statement.counts,
            Expect::Fetch => true,
            _ => false,
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Open {
    commands: VecDeque<Command>,
    further: usize,
}

impl Open {
    /// No more may wait.
    pub(super) fn is_full(&self) -> bool {
        self.commands.len() >= LIMIT
    }

    pub(super) fn push(&mut self, mut command: Command) {
        if let Expect::Statement(statement) = &mut command.expect {
            let room = FURTHER - self.further.min(FURTHER);
            if statement.further.len() > room {
                statement.further.truncate(room);
                statement.more = true;
                statement.cut = true;
            }
            self.further += statement.further.len();
        }
        self.commands.push_back(command);
    }

    pub(super) fn front(&self) -> Option<&Command> {
        self.commands.front()
    }

    /// The statement of the first command.
    pub(super) fn statement(&mut self) -> Option<&mut Statement> {
        match &mut self.commands.front_mut()?.expect {
            Expect::Statement(statement) => Some(statement),
            _ => None,
        }
    }

    /// The next statement of the first command.
    pub(super) fn next_statement(&mut self) -> Option<String> {
        let next = self.statement()?.further.pop_front();
        self.further -= usize::from(next.is_some());
        next
    }

    pub(super) fn pop(&mut self) -> Option<Command> {
        let command = self.commands.pop_front()?;
        if let Expect::Statement(statement) = &command.expect {
            self.further -= statement.further.len();
        }
        Some(command)
    }

    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }
}
