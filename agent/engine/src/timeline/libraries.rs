//! Databases and statements that watched processes have open within a library of their own, by process and
//! address. Those that were not used for longest go first; a statement that is gone from here is one that was
//! prepared earlier.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use super::servers::Owner;
use crate::{hash::FastMap, protocol::sqlite};

/// Entries of one half of a table.
const HALF: usize = 8_192;

/// An object of a library: process and address.
pub(crate) type Object = (u32, u64);

/// A bounded table. When the younger half is full it becomes the older one, and what was there goes.
#[derive(Debug)]
struct Halves<K, V> {
    young: FastMap<K, V>,
    old: FastMap<K, V>,
}

impl<K, V> Default for Halves<K, V> {
    fn default() -> Self {
        Self {
            young: HashMap::default(),
            old: HashMap::default(),
        }
    }
}

impl<K: Eq + Hash + Copy, V> Halves<K, V> {
    fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= HALF && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    fn get(&mut self, key: K) -> Option<&mut V> {
        if let Some(value) = self.old.remove(&key) {
            self.insert(key, value);
        }
        self.young.get_mut(&key)
    }
}

/// A prepared statement.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) shape: Arc<str>,
    pub(crate) database: Arc<str>,
    /// The request that prepared it, and how long that took, until it was executed.
    pub(crate) prepared: Option<(Owner, u64)>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Libraries {
    databases: Halves<Object, Arc<str>>,
    statements: Halves<Object, Statement>,
    unknown: Statement,
}

impl Default for Libraries {
    fn default() -> Self {
        Self {
            databases: Halves::default(),
            statements: Halves::default(),
            unknown: Statement {
                shape: sqlite::UNKNOWN.into(),
                database: sqlite::NAME.into(),
                prepared: None,
            },
        }
    }
}

impl Libraries {
    /// A database was opened under a name.
    pub(crate) fn opened(&mut self, database: Object, name: &[u8]) {
        let name = String::from_utf8_lossy(sqlite::database(name));
        let name: Arc<str> = if name.is_empty() {
            sqlite::NAME.into()
        } else {
            name.into()
        };
        self.databases.insert(database, name);
    }

    /// Name of a database.
    pub(crate) fn database(&mut self, database: Object) -> Arc<str> {
        self.databases.get(database).map_or_else(
            || Arc::clone(&self.unknown.database),
            |name| Arc::clone(name),
        )
    }

    /// A statement was prepared.
    pub(crate) fn prepared(&mut self, statement: Object, of: Statement) {
        self.statements.insert(statement, of);
    }

    /// What is known of a statement.
    pub(crate) fn statement(&mut self, statement: Object) -> &mut Statement {
        self.unknown.prepared = None;
        self.statements.get(statement).unwrap_or(&mut self.unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(shape: &str) -> Statement {
        Statement {
            shape: shape.into(),
            database: "a.db".into(),
            prepared: None,
        }
    }

    #[test]
    fn the_table_is_bounded_and_keeps_what_is_used() {
        let mut libraries = Libraries::default();
        libraries.prepared((1, 0), statement("kept"));
        for address in 1..100_000 {
            libraries.prepared((1, address), statement("other"));
            assert_eq!(&*libraries.statement((1, 0)).shape, "kept");
        }
        let halves = &libraries.statements;
        assert!(halves.young.len() + halves.old.len() <= 2 * HALF);
        assert_eq!(&*libraries.statement((1, 1)).shape, sqlite::UNKNOWN);
        assert_eq!(&*libraries.statement((2, 0)).shape, sqlite::UNKNOWN);
    }

    #[test]
    fn an_address_that_is_used_again_means_the_new_statement() {
        let mut libraries = Libraries::default();
        libraries.prepared((1, 5), statement("first"));
        for address in 10..10_000 {
            libraries.prepared((1, address), statement("other"));
        }
        libraries.prepared((1, 5), statement("second"));
        assert_eq!(&*libraries.statement((1, 5)).shape, "second");
        libraries.opened((1, 7), b"file:x.db?key=secret");
        assert_eq!(&*libraries.database((1, 7)), "file:x.db");
        assert_eq!(&*libraries.database((1, 8)), sqlite::NAME);
    }
}
