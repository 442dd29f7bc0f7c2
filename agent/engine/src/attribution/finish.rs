//! An open request and how it ended, to a finished request.

use std::sync::Arc;

use whyslow_abi::{totals::Totals, wait::Wait};

use super::{
    handover::Work,
    ledger,
    progress::{Completeness, Progress},
    waits,
};
use crate::{
    losses::reason,
    output::{Binding, EndReason, RequestFinished, RequestStarted},
    timeline::{ThreadKey, request::OpenRequest},
};

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome<'a> {
    pub(crate) reason: EndReason,
    pub(crate) end_ns: u64,
    pub(crate) status: u16,
    /// Last read from the client; 0: not known.
    pub(crate) last_read_ns: u64,
    /// 0: nothing was written.
    pub(crate) first_write_ns: u64,
    pub(crate) last_write_ns: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Thread at the end, and its ledger there.
    pub(crate) account: Option<(ThreadKey, &'a Totals)>,
    pub(crate) waits: &'a [Wait],
    /// Why the time is not the reader's, when the thread at the end is another or not known.
    pub(crate) otherwise: &'static str,
}

impl<'a> Outcome<'a> {
    /// A response was written, at least in part: the request ends with its last write.
    pub(crate) fn written(
        request: &OpenRequest,
        progress: &Progress<'a>,
        noticed: EndReason,
    ) -> Option<Self> {
        let last = progress.last?;
        let complete = progress.completeness(request.method(), request.protocol);
        Some(Self {
            reason: progress.end_reason(complete, noticed),
            end_ns: last.last_write_ns,
            status: progress.status(),
            last_read_ns: progress.last_read_ns,
            first_write_ns: progress.first_write_ns,
            last_write_ns: last.last_write_ns,
            bytes_in: progress.bytes_in,
            bytes_out: progress.bytes_out,
            account: Some((ThreadKey::of_writer(last), &last.totals)),
            waits: &last.waits,
            otherwise: "another thread wrote the response",
        })
    }

    /// Nothing was written: the request ends when that is known.
    pub(crate) fn unanswered(
        progress: &Progress<'_>,
        noticed: EndReason,
        end_ns: u64,
        account: Option<(ThreadKey, &'a Totals)>,
        waits: &'a [Wait],
    ) -> Self {
        Self {
            reason: progress.end_reason(Completeness::Unknown, noticed),
            end_ns,
            status: 0,
            last_read_ns: progress.last_read_ns,
            first_write_ns: 0,
            last_write_ns: 0,
            bytes_in: progress.bytes_in,
            bytes_out: progress.bytes_out,
            account,
            waits,
            otherwise: "another thread closed the connection",
        }
    }

    /// Nothing is known but when.
    pub(crate) fn given_up(reason: EndReason, end_ns: u64) -> Self {
        Self {
            reason,
            end_ns,
            status: 0,
            last_read_ns: 0,
            first_write_ns: 0,
            last_write_ns: 0,
            bytes_in: 0,
            bytes_out: 0,
            account: None,
            waits: &[],
            otherwise: "its end was not seen",
        }
    }
}

/// Who worked on a request that was read by another.
#[derive(Clone, Debug)]
pub(crate) enum Worked {
    /// As far as is known, its reader.
    Reader,
    /// Another thread, and for this reason it is not certain which.
    Uncertain(&'static str),
    /// Another thread.
    By(Box<Work>),
    /// That thread, and its time is not known.
    Unseen(ThreadKey),
}

impl Worked {
    /// Thread that worked, where that was another than the reader; 0: none, or not known.
    fn tid(&self) -> u32 {
        match self {
            Self::By(work) => work.worker.tid,
            Self::Unseen(worker) => worker.tid,
            Self::Reader | Self::Uncertain(_) => 0,
        }
    }
}

/// The ledger of a request that one thread served, or why there is none.
fn bind(
    request: &OpenRequest,
    outcome: &Outcome<'_>,
    worked: &Worked,
) -> Result<Bound, (Binding, &'static str)> {
    let unknown = |why: &'static str| Err((Binding::Unknown, why));
    match worked {
        Worked::Reader => {}
        Worked::Uncertain(why) => return unknown(why),
        Worked::Unseen(_) => {
            return Err((Binding::Handoff, "what its worker did before was not seen"));
        }
        Worked::By(work) => {
            return Ok(Bound {
                binding: Binding::Handoff,
                reason: work.doubt,
                ledger: work.ledger(request.begin_ns, outcome.end_ns),
                from_ns: work.start_ns,
            });
        }
    }
    match outcome.account {
        Some((key, totals)) if key == request.reader => {
            if request.shared {
                return Err((Binding::Shared, "requests overlapped on the thread"));
            }
            let Some(begin) = &request.begin_totals else {
                return unknown("its begin was not seen");
            };
            let ledger = totals.since(begin);
            let ledger = ledger.ok_or((Binding::Unknown, "the thread's figures went backwards"))?;
            Ok(Bound {
                binding: Binding::Thread,
                reason: "",
                ledger,
                from_ns: request.begin_ns,
            })
        }
        _ => unknown(outcome.otherwise),
    }
}

/// Whose time a request's was.
struct Bound {
    binding: Binding,
    reason: &'static str,
    ledger: Totals,
    /// Waits that began before are none of it.
    from_ns: u64,
}

/// Bytes of the request itself, without those of the next one that were read with it.
fn bytes_in(request: &OpenRequest, outcome: &Outcome<'_>) -> u64 {
    let read = outcome.bytes_in.saturating_add(request.carried);
    match request.body.as_ref().and_then(|b| b.end()) {
        Some(end) => read.min(end),
        None => read,
    }
}

/// Time from the end of the head to the read of the body's last byte, ns. `None`: where the body lies is not known.
fn body_read_ns(request: &OpenRequest, outcome: &Outcome<'_>) -> Option<u64> {
    let body = request.body.as_ref()?;
    if body.is_empty() {
        return Some(0);
    }
    let head_ns = request.begin_ns.saturating_add(request.head_read_ns);
    let last_ns = match request.body_read_at_ns {
        // The last reads of a long one are counted, and not told one by one.
        0 => outcome.last_read_ns,
        at_ns => at_ns,
    };
    Some(last_ns.saturating_sub(head_ns))
}

/// Builds the finished request.
pub(crate) fn finish(
    request: OpenRequest,
    started: Arc<RequestStarted>,
    outcome: &Outcome<'_>,
    worked: &Worked,
) -> RequestFinished {
    let begin_ns = request.begin_ns;
    let wall_ns = outcome.end_ns.saturating_sub(begin_ns);
    let bytes_in = bytes_in(&request, outcome);
    let bound = bind(&request, outcome, worked);
    let mut finished = RequestFinished {
        started,
        status: outcome.status,
        end_reason: outcome.reason,
        wall_ns,
        binding: Binding::Thread,
        binding_reason: "",
        worker_tid: worked.tid(),
        ledger: Vec::new(),
        waits: Vec::new(),
        operations: Vec::new(),
        round_trips: 0,
        bytes_in,
        bytes_out: outcome.bytes_out,
        bytes: Vec::new(),
        syscalls: Vec::new(),
        context_switches: 0,
        minor_faults: 0,
        major_faults: 0,
        rss_growth_bytes: 0,
        head_read_ns: request.head_read_ns,
        first_byte_ns: outcome.first_write_ns.saturating_sub(begin_ns),
        send_ns: outcome.last_write_ns.saturating_sub(outcome.first_write_ns),
        socket_queue_ns: request.queue.socket_queue_ns,
        accept_queue_ns: request.queue.accept_queue_ns,
        accept_to_read_ns: request.queue.accept_to_read_ns,
        queue_unknown: request.queue.unknown,
        body_read_ns: body_read_ns(&request, outcome),
        proxy_queue_ns: request.proxy_queue_ns,
        children: Vec::new(),
        loss: request.loss,
        traceparent: request.traceparent,
        x_request_id: request.x_request_id,
    };
    match bound {
        Ok(bound) => {
            let waits = match worked {
                Worked::By(work) => &work.waits,
                _ => outcome.waits,
            };
            finished.waits = waits::entries(waits, bound.from_ns, outcome.end_ns);
            fill(&mut finished, &bound);
        }
        Err((binding, why)) => {
            finished.binding = binding;
            finished.binding_reason = why;
        }
    }
    finished
}

/// What is told of a request whose time is known.
fn fill(finished: &mut RequestFinished, bound: &Bound) {
    let delta = &bound.ledger;
    finished.binding = bound.binding;
    finished.binding_reason = bound.reason;
    if ledger::mismatch(delta, finished.wall_ns) {
        finished.loss.push(reason::LEDGER_MISMATCH);
    }
    finished.ledger = ledger::of(delta);
    finished.round_trips = u64::from(delta.round_trips);
    finished.bytes = ledger::bytes(delta);
    finished.syscalls = ledger::syscalls(delta);
    finished.context_switches = delta
        .voluntary_switches
        .saturating_add(delta.involuntary_switches);
    finished.minor_faults = delta.minor_faults;
    finished.major_faults = delta.major_faults;
    finished.rss_growth_bytes = delta.resident_bytes.cast_signed();
}
