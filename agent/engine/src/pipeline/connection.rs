//! A connection was looked up in the kernel's table: the way a keep-alive request's end is found
//! before the next one begins.

use whyslow_abi::{
    account::Account,
    connection::{ConnectionPhase, ConnectionState},
};

use super::Engine;
use crate::{
    attribution::{
        live,
        progress::{Completeness, Progress},
    },
    decode,
    losses::reason,
    output::{EndReason, Output, Query},
    timeline::{ThreadKey, request::OpenRequest, threads::Threads},
};

/// Look-ups in a row without the request, after which it is given up. One is not enough: the
/// record of its end may still lie in the ring.
const MISSING_LIMIT: u8 = 2;

/// A response whose head was not captured in whole is over when nothing more is written for this
/// long after all that its head tells was.
const QUIET_NS: u64 = 400_000_000;

/// A response that does not tell its end is over when nothing more is written for this long and
/// its writer has turned to clients.
const IDLE_NS: u64 = 500_000_000;
/// What its writer does is asked for after this time, so that it is known at the next look-up.
const ASK_NS: u64 = 100_000_000;

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
        let read_to = request.offset_base.saturating_add(state.bytes_in);
        request.note_read(read_to, state.last_read_ns);
        let progress = Progress::new(request, state);
        let complete = progress.completeness(request.method(), request.protocol);
        let quiet = self.now_ns >= state.last_write_ns.saturating_add(QUIET_NS);
        let flush = quiet
            && complete == Completeness::Unknown
            && progress.enough_for_cut_head(request.method(), request.protocol);
        let idle = match progress.last.filter(|_| progress.end_untold(complete)) {
            Some(last) => idle(request, last, &mut self.threads, self.now_ns, out),
            None => false,
        };
        if phase == ConnectionPhase::Response {
            request.seen = Some(Box::new(*state));
        }
        if complete == Completeness::Complete {
            self.close_written(id, state, EndReason::Complete, self.now_ns, out);
        } else if stale || flush || idle {
            self.give_up(id, self.now_ns, out);
        }
    }
}

/// Whether a response that does not tell its end is over: nothing was written for a while after
/// `last`, and its writer waits for a client or has begun another request since. Asks what the
/// writer does where that is not known.
fn idle(
    request: &OpenRequest,
    last: &ConnectionState,
    threads: &mut Threads,
    now_ns: u64,
    out: &mut Vec<Output>,
) -> bool {
    let read = request.offset_base.saturating_add(last.bytes_in);
    if request.body.as_ref().and_then(|body| body.complete(read)) == Some(false) {
        // It may well wait for this very client.
        return false;
    }
    let quiet_ns = now_ns.saturating_sub(last.last_write_ns);
    let writer = ThreadKey::of_writer(last);
    let moved = writer == request.reader && request.moved_at_writes == Some(last.writes);
    let turned = moved
        || threads
            .of(writer)
            .and_then(|thread| thread.sample.as_deref())
            .is_some_and(|sample| {
                sample.since_ns >= last.last_write_ns
                    && live::now(sample).account == Some(Account::NetClientRead)
            });
    if !turned && quiet_ns >= ASK_NS {
        out.push(Output::Query(Query::Thread { tid: writer.tid }));
    }
    turned && quiet_ns >= IDLE_NS
}
