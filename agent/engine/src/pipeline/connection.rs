//! A connection was looked up in the kernel's table: the way a keep-alive request's end is found
//! before the next one begins.

use whyslow_abi::connection::{ConnectionPhase, ConnectionState};

use super::Engine;
use crate::{
    attribution::progress::{Completeness, Progress},
    decode,
    losses::reason,
    output::{EndReason, Output},
};

/// Look-ups in a row without the request, after which it is given up. One is not enough: the
/// record of its end may still lie in the ring.
const MISSING_LIMIT: u8 = 2;

/// A response whose head was not captured in whole is over when nothing more is written for this
/// long after all that its head tells was.
const QUIET_NS: u64 = 400_000_000;

impl Engine {
    pub(super) fn looked_up(&mut self, id: u64, state: Option<&[u8]>, out: &mut Vec<Output>) {
        let state = match state.map(decode::connection) {
            None => None,
            Some(Ok(connection)) => Some(connection),
            Some(Err(_)) => {
                self.losses.add(reason::UNKNOWN_RECORD, 1, 0);
                return;
            }
        };
        let Some(request) = self.connections.request_mut(id) else {
            return;
        };
        let found = state.filter(|s| s.raw.request == request.number);
        if let Some(ending) = &mut request.ending {
            ending.answered = true;
            if let Some(found) = found
                && ending.state.is_none()
            {
                ending.state = Some(Box::new(found.raw));
            }
            return;
        }
        match found {
            Some(found) => {
                request.missing = 0;
                self.found(id, &found.raw, found.phase, out);
            }
            None => {
                request.missing += 1;
                if request.missing >= MISSING_LIMIT {
                    self.give_up(id, self.now_ns, out);
                }
            }
        }
    }

    fn found(
        &mut self,
        id: u64,
        state: &ConnectionState,
        phase: ConnectionPhase,
        out: &mut Vec<Output>,
    ) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let stale = connection.stale;
        let Some(request) = connection.open.as_deref_mut() else {
            return;
        };
        let progress = Progress::new(request, state);
        let complete = progress.completeness(request.method(), request.protocol);
        let quiet = self.now_ns >= state.last_write_ns.saturating_add(QUIET_NS);
        let flush = quiet
            && complete == Completeness::Unknown
            && progress.enough_for_cut_head(request.method(), request.protocol);
        if phase == ConnectionPhase::Response {
            request.seen = Some(Box::new(*state));
        }
        if complete == Completeness::Complete {
            self.close_written(id, state, EndReason::Complete, self.now_ns, out);
        } else if stale || flush {
            self.give_up(id, self.now_ns, out);
        }
    }
}
