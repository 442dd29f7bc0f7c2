//! Prepared statements of a connection, as far as they are remembered.

use std::{collections::VecDeque, sync::Arc};

/// Statements that are kept; the one that was prepared first goes first.
const STATEMENTS: usize = 256;

/// Shapes by the numbers that the server gave.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// Oldest first. Few enough to look through.
    statements: VecDeque<(u32, Arc<str>)>,
    /// The one that the client asked for last.
    last: Option<Arc<str>>,
}

impl Prepared {
    /// The client asks for one.
    pub(super) fn asked(&mut self, shape: Arc<str>) {
        self.last = Some(shape);
    }

    /// The server has prepared one.
    pub(super) fn insert(&mut self, statement: u32, shape: Arc<str>) {
        self.remove(statement);
        if self.statements.len() >= STATEMENTS {
            self.statements.pop_front();
        }
        self.statements.push_back((statement, shape));
    }

    pub(super) fn get(&self, statement: u32) -> Option<Arc<str>> {
        let mut newest_first = self.statements.iter().rev();
        newest_first
            .find(|(other, _)| *other == statement)
            .map(|(_, shape)| Arc::clone(shape))
    }

    /// The one that the client asked for last, whether the server has answered or not.
    pub(super) fn last(&self) -> Option<Arc<str>> {
        self.last.clone()
    }

    pub(super) fn remove(&mut self, statement: u32) {
        self.statements.retain(|(other, _)| *other != statement);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
