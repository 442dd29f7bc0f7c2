//! Tells the host what was seen: one JSON object per line. The other side of the contract is
//! `xtask/src/vm/report.rs`: first the plan, then a result per planned test, last the end.

use std::{fs::File, io::Write};

use anyhow::Result;
use serde_json::{Value, json};

/// The line of records.
#[derive(Debug)]
pub(crate) struct Records {
    port: File,
    told: usize,
    failed: usize,
}

impl Records {
    /// Begins with the plan.
    ///
    /// # Errors
    /// The port cannot be written to.
    pub(crate) fn begin(port: File, tests: &[String]) -> Result<Self> {
        let mut records = Self {
            port,
            told: 0,
            failed: 0,
        };
        records.write(&json!({ "kind": "plan", "tests": tests }))?;
        Ok(records)
    }

    /// Tells a result.
    ///
    /// # Errors
    /// The port cannot be written to.
    pub(crate) fn test(&mut self, name: &str, result: &Result<String>) -> Result<()> {
        let (outcome, detail) = match result {
            Ok(measured) => ("passed", measured.clone()),
            Err(error) => ("failed", format!("{error:#}")),
        };
        self.told += 1;
        self.failed += usize::from(result.is_err());
        self.write(&json!({ "kind": "test", "name": name, "outcome": outcome, "detail": detail }))
    }

    /// Passes a line of a log on.
    ///
    /// # Errors
    /// The port cannot be written to.
    pub(crate) fn log(&mut self, source: &str, line: &str) -> Result<()> {
        self.write(&json!({ "kind": "log", "source": source, "line": line }))
    }

    /// True while no test has failed.
    pub(crate) fn passed(&self) -> bool {
        self.failed == 0
    }

    /// Ends it, and gives the port back.
    ///
    /// # Errors
    /// The port cannot be written to.
    pub(crate) fn end(mut self) -> Result<File> {
        let end = json!({ "kind": "end", "tests": self.told });
        self.write(&end)?;
        Ok(self.port)
    }

    fn write(&mut self, record: &Value) -> Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.port.write_all(&line)?;
        Ok(())
    }
}
