//! What is said to servers, as a recording keeps it: findings, no bytes.
//!
//! Bytes with their literals blanked would have to be judged byte by byte in every protocol, and what one of
//! them judged wrongly would leave the machine. Shapes leave it anyway.

use crate::{
    decode::{self, Record},
    input::{Finding, Findings},
    recent::Recent,
    timeline::{servers, speech::Speech},
};

/// Connections to servers.
#[derive(Debug)]
pub(super) struct Conversations {
    map: Recent<Speech>,
}

impl Default for Conversations {
    fn default() -> Self {
        Self {
            map: Recent::new(servers::LIMIT),
        }
    }
}

impl Conversations {
    /// What a record says, when it is one of data: maybe nothing.
    pub(super) fn findings(&mut self, record: &[u8]) -> Option<Findings> {
        let Ok(Record::Data(data)) = decode::record(record) else {
            return None;
        };
        let (speech, _) = self.map.entry(data.raw.peer, Speech::new);
        let mut found = Vec::new();
        let uninteresting = if data.written {
            speech.written(data.chunk(), &mut found)
        } else {
            speech.read(data.chunk(), &mut found);
            false
        };
        Some(Findings {
            protocol: speech.protocol().unwrap_or_default().to_owned(),
            found: runs(found),
            uninteresting,
        })
    }
}

/// One read may answer a hundred thousand operations in the same way.
fn runs(found: Vec<Finding>) -> Vec<(u32, Finding)> {
    let mut runs: Vec<(u32, Finding)> = Vec::new();
    for finding in found {
        match runs.last_mut() {
            Some((count, last)) if *last == finding => *count += 1,
            _ => runs.push((1, finding)),
        }
    }
    runs
}
