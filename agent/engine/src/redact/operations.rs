//! What is said to servers, as a recording keeps it: findings, no bytes.
//!
//! Bytes with their literals blanked would have to be judged byte by byte in every protocol, and what one of
//! them judged wrongly would leave the machine. Shapes leave it anyway.

use crate::{
    decode::{self, Record},
    input::{Finding, Findings},
    protocol::client::SessionOptions,
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
        let id = data.conversation();
        // As the engine: a connection begins with a record that tells who the server is.
        let speech = match data.server() {
            Some(_) => Some(self.map.entry(id, Speech::new).0),
            None => self.map.known(id),
        };
        let Some(speech) = speech else {
            return Some(Findings::default());
        };
        let (mut gap, mut found) = (Vec::new(), Vec::new());
        if data.gap() {
            speech.gap(&mut gap);
        }
        let heard = if data.written() {
            // Whatever the user wants to see: no literals.
            speech.written(data.chunk(), SessionOptions::default(), &mut found)
        } else {
            speech.read(data.chunk(), &mut found)
        };
        let protocol = speech.protocol().map_or("", |protocol| protocol.name());
        Some(Findings {
            protocol: protocol.to_owned(),
            gap: runs(gap),
            found: runs(found),
            uninteresting: heard.given_up,
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
