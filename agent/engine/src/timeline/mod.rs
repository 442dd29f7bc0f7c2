//! What is known of threads, processes, connections and requests at this moment.
//!
//! Tables and their rules only: what an event means is decided in `pipeline`, what a finished
//! request looks like in `attribution`. Every table is bounded.

pub(crate) mod activity;
pub(crate) mod connections;
pub(crate) mod handovers;
pub(crate) mod libraries;
pub(crate) mod locks;
pub(crate) mod memory;
pub(crate) mod polls;
pub(crate) mod processes;
pub(crate) mod programs;
pub(crate) mod relay;
pub(crate) mod request;
pub(crate) mod sequence;
pub(crate) mod servers;
pub(crate) mod services;
pub(crate) mod signals;
pub(crate) mod speech;
pub(crate) mod stalls;
pub(crate) mod threads;
pub(crate) mod tries;
pub(crate) mod works;

use whyslow_abi::{connection::ConnectionState, record::RecordHeader};

/// One thread, for as long as it has its slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThreadKey {
    pub(crate) tid: u32,
    pub(crate) generation: u32,
}

impl ThreadKey {
    /// Who wrote last on a connection, or failed to.
    pub(crate) fn of_writer(state: &ConnectionState) -> Self {
        Self {
            tid: state.writer_tid,
            generation: state.writer_generation,
        }
    }
}

impl From<&RecordHeader> for ThreadKey {
    fn from(header: &RecordHeader) -> Self {
        Self {
            tid: header.tid,
            generation: header.generation,
        }
    }
}
