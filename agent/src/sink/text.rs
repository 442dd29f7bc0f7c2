//! Lines for people: one per event, and below a finished request some for what it asked of servers. For
//! machines there is JSON.
//!
//! What must stay true: text that came from the network is never sent to a terminal as it is.

use std::{borrow::Cow, fmt::Write as _};

use whyslow_proto::v1::{self, event::Event as Kind};
use whyslow_top::printable;

use super::{children::children, fields::Fields, operations::operations, printer::Format};
use crate::host;

/// Accounts shown for each request.
const ACCOUNTS: usize = 3;

/// Shortest time before the first read that is shown.
const QUEUED_FLOOR_NS: u64 = 1_000_000;

/// Writes lines.
#[derive(Debug, Default)]
pub struct TextLines;

impl Format for TextLines {
    fn write(&mut self, event: &v1::Event, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let Some(kind) = &event.event else {
            return Ok(());
        };
        let line = match kind {
            Kind::RequestFinished(request) => finished(request),
            Kind::RequestStarted(request) => started(request),
            Kind::WaitObserved(observed) => wait_observed(observed),
            Kind::WorkerStarted(worker) => format!(
                "worker started  pid {} tid {} {} ({})",
                worker.pid, worker.tid, worker.comm, worker.reason
            ),
            // A thread of a pool comes and goes; that is no news unless it took the process along.
            Kind::WorkerEnded(worker) if !worker.process_ended => return Ok(()),
            Kind::WorkerEnded(worker) => worker_ended(worker),
            Kind::LoopStalled(stalled) => loop_stalled(stalled),
            Kind::Loss(loss) => format!("loss  {} {}", loss.reason, loss.count),
            // What it says of the agent is for `whyslow top` and for JSON.
            Kind::AgentStatus(_) => return Ok(()),
        };
        let time = match kind {
            Kind::RequestFinished(request) => request.start_time,
            _ => event.time,
        };
        let time = time.map_or_else(String::new, |time| host::local_time_of_day(&time));
        out.extend(format!("{time}  {}\n", printable(&line)).bytes());
        if let Kind::RequestFinished(request) = kind {
            blame(&request.waits, out);
            children(request, out);
            operations(&request.operations, out);
        }
        Ok(())
    }
}

fn wait_observed(observed: &v1::WaitObserved) -> String {
    let wait = observed.wait.clone().unwrap_or_default();
    let who = match &*observed.request {
        "" => &observed.comm,
        request => request,
    };
    let blame = wait
        .blame()
        .unwrap_or_else(|| "by whom is not known".to_owned());
    format!(
        "wait  {} {}  {who} (tid {}), {blame}",
        wait.account,
        duration(wait.ns),
        observed.tid
    )
}

/// Who kept a request waiting: a line for each of its longest waits of which that is known.
fn blame(waits: &[v1::Wait], out: &mut Vec<u8>) {
    for wait in waits {
        if let Some(words) = wait.blame() {
            let line = format!("  {} {}, {words}", wait.account, duration(wait.ns));
            out.extend(format!("{}\n", printable(&line)).bytes());
        }
    }
}

/// Columns of chosen fields, separated by tabs.
#[derive(Debug)]
pub struct Columns {
    fields: Fields,
}

impl Columns {
    /// These columns.
    #[must_use]
    pub fn new(fields: Fields) -> Self {
        Self { fields }
    }
}

impl Format for Columns {
    fn write(&mut self, event: &v1::Event, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let Some(row) = self.fields.row(&serde_json::to_value(event)?) else {
            return Ok(());
        };
        let row: Vec<Cow<'_, str>> = row.iter().map(|text| printable(text)).collect();
        out.extend(row.join("\t").bytes());
        out.push(b'\n');
        Ok(())
    }
}

fn finished(request: &v1::RequestFinished) -> String {
    let status = match request.status {
        0 => "---".to_owned(),
        status => format!("{status:3}"),
    };
    let mut line = format!(
        "{:>8} {status} {} {}  ",
        duration(request.wall_ns),
        method(&request.method),
        request.route
    );
    let split = matches!(request.binding.as_str(), "thread" | "handoff");
    if split && !request.ledger.is_empty() {
        accounts(&request.ledger, &mut line);
        if request.worker_tid != 0 {
            let _ = write!(line, "  [{} to {}]", request.binding, request.worker_tid);
        }
    } else {
        let _ = write!(line, "[{}: {}]", request.binding, request.binding_reason);
    }
    if let Some(queued) = queued(request) {
        let _ = write!(line, "  {queued}");
    }
    if request.end_reason != "complete" && request.end_reason != "next_request" {
        let _ = write!(line, "  ({})", request.end_reason);
    }
    if !request.loss.is_empty() {
        let _ = write!(line, "  loss: {}", request.loss.join(", "));
    }
    let _ = write!(line, "  {}/{} {}", request.pid, request.tid, request.comm);
    line
}

/// How long it waited before it was read, where that is long: in the accept queue, or in its socket.
fn queued(request: &v1::RequestFinished) -> Option<String> {
    let accept_ns = request.accept_queue_ns.unwrap_or_default();
    if accept_ns >= QUEUED_FLOOR_NS {
        let at_most = if request.queue_unknown.is_empty() {
            ""
        } else {
            "at most "
        };
        return Some(format!("queued {at_most}{}", duration(accept_ns)));
    }
    let socket_ns = request.socket_queue_ns;
    (socket_ns >= QUEUED_FLOOR_NS).then(|| format!("unread {}", duration(socket_ns)))
}

fn started(request: &v1::RequestStarted) -> String {
    format!(
        "{:>8} ... {} {}  {}/{} {}",
        "begun",
        method(&request.method),
        request.route,
        request.pid,
        request.tid,
        request.comm
    )
}

fn worker_ended(worker: &v1::WorkerEnded) -> String {
    let mut line = format!(
        "worker ended  pid {} tid {} {}",
        worker.pid, worker.tid, worker.comm
    );
    if worker.signal != 0 {
        let _ = write!(line, "  by signal {}", worker.signal);
        if worker.sender_pid != 0 {
            let _ = write!(line, " from {} {}", worker.sender_pid, worker.sender_comm);
        }
    } else {
        let _ = write!(line, "  with status {}", worker.exit_code >> 8);
    }
    if !worker.request_id.is_empty() {
        let _ = write!(line, "  while serving {}", worker.request_id);
    }
    line
}

fn loop_stalled(stalled: &v1::LoopStalled) -> String {
    let mut line = format!("loop stalled  {}  ", duration(stalled.ns));
    accounts(&stalled.ledger, &mut line);
    let requests = if stalled.requests == 1 {
        "request"
    } else {
        "requests"
    };
    let _ = write!(line, "  {} {requests} open", stalled.requests);
    if !stalled.began_with.is_empty() {
        let _ = write!(line, ", began with {}", stalled.began_with);
    }
    let _ = write!(line, "  {}/{} {}", stalled.pid, stalled.tid, stalled.comm);
    line
}

/// The accounts with most time.
fn accounts(ledger: &[v1::LedgerEntry], line: &mut String) {
    for (i, entry) in ledger.iter().take(ACCOUNTS).enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        let _ = write!(line, "{comma}{} {}", entry.account, duration(entry.ns));
    }
}

fn method(method: &str) -> &str {
    if method.is_empty() { "?" } else { method }
}

/// Three significant digits: `950ns`, `1.23ms`, `45.6s`; minutes from 100 s.
#[must_use]
pub fn duration(ns: u64) -> String {
    // Rounding may lift a figure into the next unit: 999.6 us is 1.00 ms.
    for (unit, size) in [("us", 1_000_u64), ("ms", 1_000_000), ("s", 1_000_000_000)] {
        if ns < 1_000 {
            return format!("{ns}ns");
        }
        let value = ns as f64 / size as f64;
        if value < 9.995 {
            return format!("{value:.2}{unit}");
        }
        if value < 99.95 {
            return format!("{value:.1}{unit}");
        }
        if value < 999.5 && unit != "s" {
            return format!("{value:.0}{unit}");
        }
    }
    let seconds = (ns + 500_000_000) / 1_000_000_000;
    format!("{}m{:02}s", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{host::Anchor, sink::wire, testing};

    fn line(change: impl FnOnce(&mut v1::RequestFinished)) -> String {
        let anchor = Anchor {
            monotonic_ns: 0,
            unix_ns: 0,
        };
        let mut request = wire::request_finished(&testing::finished(), anchor);
        change(&mut request);
        let event = wire::wrap(Kind::RequestFinished(request), 1, anchor);
        let mut out = Vec::new();
        TextLines.write(&event, &mut out).unwrap();
        // The time of day depends on the time zone of the test.
        let text = String::from_utf8(out).unwrap();
        text.split_once("  ").unwrap().1.to_owned()
    }

    #[test]
    fn a_request_is_one_line() {
        assert_eq!(
            line(|request| request.loss.clear()),
            "  5.00ms 200 GET /users/{id}  disk.sync 4.00ms, cpu 1.00ms  100/101 gunicorn\n"
        );
    }

    #[test]
    fn a_long_wait_before_the_first_read_is_said() {
        let queued = |accept_ns, unknown: &str, socket_ns| {
            let text = line(|request| {
                request.accept_queue_ns = accept_ns;
                request.queue_unknown = unknown.to_owned();
                request.socket_queue_ns = socket_ns;
                request.loss.clear();
            });
            let (_, rest) = text.split_once("cpu 1.00ms  ").unwrap();
            rest.split_once("100/101").unwrap().0.to_owned()
        };
        assert_eq!(queued(Some(3_200_000), "", 3_300_000), "queued 3.20ms  ");
        assert_eq!(
            queued(Some(3_200_000), "an upper bound", 0),
            "queued at most 3.20ms  "
        );
        assert_eq!(queued(None, "later", 4_000_000), "unread 4.00ms  ");
        assert_eq!(queued(Some(900_000), "", 999_999), "");
        assert_eq!(queued(None, "not seen", 0), "");
    }

    #[test]
    fn what_is_odd_is_said() {
        let text = line(|request| {
            request.status = 0;
            request.end_reason = "client_closed".to_owned();
            request.binding = "shared".to_owned();
            request.binding_reason = "several requests on one thread".to_owned();
        });
        for part in [
            " --- ",
            "(client_closed)",
            "[shared: several requests on one thread]",
            "loss: payload_cut",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn who_worked_is_said() {
        let text = line(|request| {
            request.binding = "handoff".to_owned();
            request.worker_tid = 103;
        });
        assert!(text.contains("cpu 1.00ms  [handoff to 103]"), "{text}");
    }

    #[test]
    fn a_stall_is_one_line() {
        let stalled = v1::LoopStalled {
            pid: 7,
            tid: 8,
            comm: "node".to_owned(),
            ns: 50_000_000,
            ledger: vec![v1::LedgerEntry {
                account: "cpu".to_owned(),
                ns: 50_000_000,
                count: 0,
            }],
            requests: 2,
            began_with: "GET /report".to_owned(),
            ..v1::LoopStalled::default()
        };
        assert_eq!(
            loop_stalled(&stalled),
            "loop stalled  50.0ms  cpu 50.0ms  2 requests open, began with GET /report  7/8 node"
        );
    }

    fn asked(shape: &str, count: u64) -> v1::Operation {
        v1::Operation {
            protocol: "postgresql".to_owned(),
            peer: "127.0.0.1:5432".to_owned(),
            shape: shape.to_owned(),
            count,
            total_ns: count * 11_000_000,
            slowest_ns: 31_000_000,
            repeated: count >= 10,
            round_trips: count,
            ..v1::Operation::default()
        }
    }

    fn below(operations: Vec<v1::Operation>) -> Vec<String> {
        let text = line(|request| request.operations = operations);
        text.lines().skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn operations_stand_below_their_request() {
        assert!(below(Vec::new()).is_empty());
        let mut failed = asked("insert into t values (...)", 2);
        failed.errors = 1;
        failed.last_error = "23505".to_owned();
        failed.sampled = true;
        assert_eq!(
            below(vec![
                asked("select * from t where id = ?", 37),
                failed,
                asked("commit", 1)
            ]),
            [
                "  postgresql  x37 repeated  407ms (slowest 31.0ms)  select * from t where id = ?",
                "  postgresql  x2 or more  22.0ms (slowest 31.0ms)  1 or more failed (23505)  insert into t values (...)",
                "  postgresql  x1  11.0ms  commit",
            ]
        );
    }

    #[test]
    fn a_pipeline_is_not_told_as_repeated() {
        let pipelined = |round_trips| v1::Operation {
            round_trips,
            ..asked("GET ?", 500)
        };
        let mut failed = pipelined(1);
        (failed.errors, failed.answers_sampled) = (2, true);
        let lines = below(vec![pipelined(1), pipelined(20), failed]);
        for (line, part) in lines.iter().zip([
            "x500 in 1 round trip  5.50s (slowest",
            "x500 in 20 round trips  5.50s (slowest",
            ")  2 or more failed  GET ?",
        ]) {
            assert!(line.contains(part) && !line.contains("repeated"), "{line}");
        }
        let mut many: Vec<_> = (0..5).map(|n| asked(&format!("select {n}"), 1)).collect();
        many.push(pipelined(1));
        assert_eq!(below(many)[5], "  … and 1 more shape");
    }

    #[test]
    fn of_many_shapes_the_first_are_shown() {
        let many = |count: usize| {
            (0..count)
                .map(|n| asked(&format!("select {n}"), 1))
                .collect()
        };
        assert_eq!(below(many(5)).len(), 5);
        assert_eq!(below(many(6))[5], "  … and 1 more shape");
        let mut operations: Vec<v1::Operation> = many(7);
        operations.push(asked("select ?", 10));
        assert_eq!(below(operations)[5], "  … and 3 more shapes, 1 repeated");
    }

    #[test]
    fn shapes_are_cut_and_printable() {
        let long = below(vec![asked(&"é".repeat(500), 1)]);
        assert!(long[0].ends_with(&format!(
            "  {}…",
            "é".repeat(crate::sink::operations::SHAPE_WIDTH)
        )));
        let odd = below(vec![asked("select \u{1b}[2J\n\u{202e}x", 1)]);
        assert_eq!(odd.len(), 1, "{odd:?}");
        assert!(odd[0].ends_with("select \\x1b[2J\\n\\u{202e}x"), "{odd:?}");
    }

    #[test]
    fn terminals_are_not_spoken_to_by_strangers() {
        let text = line(|request| request.route = "/\u{1b}[2J\n\u{9b}x".to_owned());
        assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
        assert!(text.contains("/\\x1b[2J\\n\\x9bx"), "{text:?}");
    }

    #[test]
    fn columns_are_not_reordered_by_strangers() {
        let anchor = Anchor {
            monotonic_ns: 0,
            unix_ns: 0,
        };
        for odd in "\u{200b}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}\u{9b}\t".chars() {
            let mut request = wire::request_started(&testing::finished().started, anchor);
            request.target = format!("/a{odd}b");
            let event = wire::wrap(Kind::RequestStarted(request), 1, anchor);
            let mut out = Vec::new();
            let fields = Fields::parse(&["target"]).unwrap();
            Columns::new(fields).write(&event, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with("/a\\") && !text.contains(odd), "{text:?}");
        }
    }

    #[test]
    fn deaths_are_told_with_their_sender() {
        let anchor = Anchor {
            monotonic_ns: 0,
            unix_ns: 0,
        };
        let mut worker = v1::WorkerEnded {
            pid: 1,
            tid: 2,
            comm: "gunicorn".to_owned(),
            process_ended: true,
            signal: 9,
            sender_pid: 3,
            sender_comm: "master".to_owned(),
            request_id: "ab".to_owned(),
            ..v1::WorkerEnded::default()
        };
        let print = |worker: &v1::WorkerEnded| {
            let mut out = Vec::new();
            let event = wire::wrap(Kind::WorkerEnded(worker.clone()), 1, anchor);
            TextLines.write(&event, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let text = print(&worker);
        assert!(
            text.ends_with(
                "worker ended  pid 1 tid 2 gunicorn  by signal 9 from 3 master  while serving ab\n"
            ),
            "{text}"
        );
        worker.process_ended = false;
        assert_eq!(print(&worker), "", "threads of a pool come and go");
    }

    #[test]
    fn durations() {
        for (ns, text) in [
            (0, "0ns"),
            (999, "999ns"),
            (1_000, "1.00us"),
            (12_345, "12.3us"),
            (999_600, "1.00ms"),
            (152_300_000, "152ms"),
            (1_234_000_000, "1.23s"),
            (99_940_000_000, "99.9s"),
            (125_000_000_000, "2m05s"),
        ] {
            assert_eq!(duration(ns), text, "{ns}");
        }
    }
}
