//! Prepared statements and portals of a connection, as far as they are remembered.

use std::{collections::VecDeque, sync::Arc};

use super::UNKNOWN;

/// Statements with a name that are kept; the oldest goes first.
const STATEMENTS: usize = 256;
/// Portals with a name that are kept.
const PORTALS: usize = 64;
/// Longest name that is kept, bytes.
const NAME_LIMIT: usize = 128;

/// Shapes by the names that clients gave.
#[derive(Debug)]
struct Names {
    limit: usize,
    unnamed: Option<Arc<str>>,
    /// Oldest first. Few enough to look through.
    named: VecDeque<(Box<[u8]>, Arc<str>)>,
}

impl Names {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            unnamed: None,
            named: VecDeque::new(),
        }
    }

    fn get(&self, name: &[u8]) -> Option<Arc<str>> {
        if name.is_empty() {
            return self.unnamed.clone();
        }
        let mut newest_first = self.named.iter().rev();
        newest_first
            .find(|(other, _)| **other == *name)
            .map(|(_, shape)| Arc::clone(shape))
    }

    fn insert(&mut self, name: &[u8], shape: Arc<str>) {
        if name.is_empty() {
            self.unnamed = Some(shape);
            return;
        }
        self.remove(name);
        if name.len() > NAME_LIMIT {
            return;
        }
        if self.named.len() >= self.limit {
            self.named.pop_front();
        }
        self.named.push_back((name.into(), shape));
    }

    fn remove(&mut self, name: &[u8]) {
        if name.is_empty() {
            self.unnamed = None;
        } else {
            self.named.retain(|(other, _)| **other != *name);
        }
    }
}

/// What Parse and Bind told.
#[derive(Debug)]
pub(super) struct Prepared {
    statements: Names,
    portals: Names,
}

impl Prepared {
    pub(super) fn new() -> Self {
        Self {
            statements: Names::new(STATEMENTS),
            portals: Names::new(PORTALS),
        }
    }

    pub(super) fn parse(&mut self, statement: &[u8], shape: Arc<str>) {
        self.statements.insert(statement, shape);
    }

    /// Makes a portal of a statement.
    pub(super) fn bind(&mut self, portal: &[u8], statement: &[u8]) {
        let shape = self
            .statements
            .get(statement)
            .unwrap_or_else(|| UNKNOWN.into());
        self.portals.insert(portal, shape);
    }

    /// Shape of a portal's statement.
    pub(super) fn portal(&self, portal: &[u8]) -> Option<Arc<str>> {
        self.portals.get(portal)
    }

    /// Forgets the unnamed statement, and all portals: few outlive the transaction that they are of.
    pub(super) fn forget_unnamed(&mut self) {
        self.statements.unnamed = None;
        self.portals = Names::new(PORTALS);
    }

    pub(super) fn close_statement(&mut self, name: &[u8]) {
        self.statements.remove(name);
    }

    pub(super) fn close_portal(&mut self, name: &[u8]) {
        self.portals.remove(name);
    }
}
