//! Events as `whyslow watch --json` prints them: proto3 JSON, so 64-bit integers are strings and fields
//! with their zero value may be missing. Only what tests look at; unknown fields are let pass.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// One line.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/event.proto")]
pub struct Event {
    #[serde(deserialize_with = "integer")]
    pub monotonic_ns: u64,
    pub request_started: Option<Started>,
    pub request_finished: Option<Finished>,
    pub worker_started: Option<WorkerStarted>,
    pub worker_ended: Option<WorkerEnded>,
    pub loop_stalled: Option<LoopStalled>,
    pub loss: Option<Loss>,
    pub agent_status: Option<serde_json::Value>,
}

/// See `whyslow.v1.RequestStarted`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/request.proto")]
pub struct Started {
    pub request_id: String,
    pub method: String,
    pub target: String,
    pub pid: u32,
    pub tid: u32,
    pub proxy_queue_header: String,
}

/// See `whyslow.v1.LedgerEntry`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/request.proto")]
pub struct LedgerEntry {
    pub account: String,
    #[serde(deserialize_with = "integer")]
    pub ns: u64,
    #[serde(deserialize_with = "integer")]
    pub count: u64,
}

/// See `whyslow.v1.Wait`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/request.proto")]
pub struct Wait {
    pub account: String,
    #[serde(deserialize_with = "integer")]
    pub start_ns: u64,
    #[serde(deserialize_with = "integer")]
    pub ns: u64,
    pub wait_target: Option<serde_json::Value>,
    pub holder: Option<Holder>,
    pub waker: Option<Waker>,
    pub served: Option<Served>,
    pub served_unknown: String,
}

/// See `whyslow.v1.Served`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/request.proto")]
pub struct Served {
    pub pid: u32,
    pub comm: String,
    #[serde(deserialize_with = "integer")]
    pub ns: u64,
    pub ledger: Vec<LedgerEntry>,
    pub blocked: Option<Blocked>,
}

/// See `whyslow.v1.Blocked`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/request.proto")]
pub struct Blocked {
    #[serde(deserialize_with = "integer")]
    pub ns: u64,
    pub waker: Waker,
}

/// See `whyslow.v1.Waker`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/request.proto")]
pub struct Waker {
    pub pid: u32,
    pub tid: u32,
    pub comm: String,
    pub request_id: String,
    pub request: String,
}

/// See `whyslow.v1.Holder`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/request.proto")]
pub struct Holder {
    pub pid: u32,
    pub tid: u32,
    pub comm: String,
    pub request_id: String,
    pub request: String,
    pub certain: bool,
    pub waits_for: Option<serde_json::Value>,
    pub share: f64,
    #[serde(deserialize_with = "integer")]
    pub samples: u64,
}

/// See `whyslow.v1.RequestFinished`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/request.proto")]
pub struct Finished {
    pub request_id: String,
    pub method: String,
    pub target: String,
    pub route: String,
    pub status: u32,
    pub end_reason: String,
    pub pid: u32,
    pub tid: u32,
    pub comm: String,
    pub start_time: String,
    #[serde(deserialize_with = "integer")]
    pub start_monotonic_ns: u64,
    #[serde(deserialize_with = "integer")]
    pub wall_ns: u64,
    pub binding: String,
    pub binding_reason: String,
    pub worker_tid: u32,
    pub ledger: Vec<LedgerEntry>,
    pub waits: Vec<Wait>,
    #[serde(deserialize_with = "integer")]
    pub bytes_in: u64,
    #[serde(deserialize_with = "integer")]
    pub bytes_out: u64,
    #[serde(deserialize_with = "integer")]
    pub context_switches: u64,
    #[serde(deserialize_with = "integer")]
    pub minor_faults: u64,
    #[serde(deserialize_with = "signed")]
    pub rss_growth_bytes: i64,
    #[serde(deserialize_with = "integer")]
    pub head_read_ns: u64,
    #[serde(deserialize_with = "integer")]
    pub first_byte_ns: u64,
    #[serde(deserialize_with = "integer")]
    pub send_ns: u64,
    #[serde(deserialize_with = "integer")]
    pub socket_queue_ns: u64,
    #[serde(deserialize_with = "known_integer")]
    pub accept_queue_ns: Option<u64>,
    #[serde(deserialize_with = "known_integer")]
    pub accept_to_read_ns: Option<u64>,
    #[serde(deserialize_with = "known_integer")]
    pub body_read_ns: Option<u64>,
    #[serde(deserialize_with = "known_integer")]
    pub proxy_queue_ns: Option<u64>,
    pub queue_unknown: String,
    pub operations: Vec<Operation>,
    pub children: Vec<Child>,
    #[serde(deserialize_with = "integer")]
    pub round_trips: u64,
    pub loss: Vec<String>,
    pub traceparent: String,
    pub x_request_id: String,
    pub host: String,
    pub client: String,
}

/// See `whyslow.v1.Child`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/request.proto")]
pub struct Child {
    pub pid: u32,
    pub command: String,
    pub parent_pid: u32,
    #[serde(deserialize_with = "integer")]
    pub start_ns: u64,
    #[serde(deserialize_with = "integer")]
    pub wall_ns: u64,
    #[serde(deserialize_with = "integer")]
    pub cpu_ns: u64,
    #[serde(deserialize_with = "integer")]
    pub startup_ns: u64,
    pub exit_code: u32,
    pub signal: u32,
    pub running: bool,
    pub files_opened: u32,
    pub ledger: Vec<LedgerEntry>,
    #[serde(deserialize_with = "integer")]
    pub waited_ns: u64,
    pub count: u32,
}

/// See `whyslow.v1.Operation`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/request.proto")]
pub struct Operation {
    pub protocol: String,
    pub peer: String,
    pub shape: String,
    #[serde(deserialize_with = "integer")]
    pub count: u64,
    #[serde(deserialize_with = "integer")]
    pub total_ns: u64,
    #[serde(deserialize_with = "integer")]
    pub slowest_ns: u64,
    #[serde(deserialize_with = "integer")]
    pub first_byte_ns: u64,
    #[serde(deserialize_with = "integer")]
    pub rows: u64,
    pub rows_estimated: bool,
    #[serde(default)]
    pub answers_sampled: bool,
    #[serde(deserialize_with = "integer")]
    pub errors: u64,
    pub last_error: String,
    pub repeated: bool,
    pub sampled: bool,
}

impl Finished {
    /// Time in one account, ns.
    #[must_use]
    pub fn account(&self, name: &str) -> u64 {
        self.sum(|account| account == name)
    }

    /// Time in the accounts that `wanted` picks, ns.
    pub fn sum(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        self.ledger
            .iter()
            .filter(|entry| wanted(&entry.account))
            .map(|entry| entry.ns)
            .sum()
    }

    /// The ledger by account, ms, for messages.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub fn ledger_ms(&self) -> BTreeMap<&str, f64> {
        self.ledger
            .iter()
            .map(|entry| (entry.account.as_str(), entry.ns as f64 / 1e6))
            .collect()
    }
}

/// See `whyslow.v1.WorkerStarted`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/worker.proto")]
pub struct WorkerStarted {
    pub pid: u32,
    pub tid: u32,
    pub comm: String,
    pub reason: String,
}

/// See `whyslow.v1.WorkerEnded`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/worker.proto")]
pub struct WorkerEnded {
    pub pid: u32,
    pub tid: u32,
    pub process_ended: bool,
    pub signal: u32,
    pub sender_pid: u32,
    pub sender_comm: String,
    pub request_id: String,
}

/// See `whyslow.v1.LoopStalled`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/loop.proto")]
pub struct LoopStalled {
    pub pid: u32,
    pub tid: u32,
    #[serde(deserialize_with = "integer")]
    pub start_ns: u64,
    #[serde(deserialize_with = "integer")]
    pub ns: u64,
    #[serde(deserialize_with = "integer")]
    pub run_queue_ns: u64,
    #[serde(deserialize_with = "integer")]
    pub gil_ns: u64,
    pub ledger: Vec<LedgerEntry>,
    #[serde(deserialize_with = "integer")]
    pub requests: u64,
    pub request_ids: Vec<String>,
    pub began_with: String,
}

/// See `whyslow.v1.Loss`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/loss.proto")]
pub struct Loss {
    pub reason: String,
    #[serde(deserialize_with = "integer")]
    pub count: u64,
    pub pid: u32,
}

/// A 64-bit integer of proto3 JSON: a string, by some writers a number.
fn signed<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(serde::de::Error::custom)
}

fn integer<'de, D: Deserializer<'de>>(input: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Number(u64),
    }
    match Form::deserialize(input)? {
        Form::Text(text) => text.parse().map_err(serde::de::Error::custom),
        Form::Number(number) => Ok(number),
    }
}

/// The same, where it is there.
fn known_integer<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    integer(input).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_strings_and_missing_fields() {
        let line = r#"{"monotonicNs":"12","requestFinished":{"requestId":"ab","wallNs":"100",
            "ledger":[{"account":"cpu","ns":"60","count":"2"},{"account":"sleep","ns":"40"}]}}"#;
        let event: Event = serde_json::from_str(line).unwrap();
        let finished = event.request_finished.unwrap();
        assert_eq!(event.monotonic_ns, 12);
        assert_eq!(finished.wall_ns, 100);
        assert_eq!(finished.account("cpu"), 60);
        assert_eq!(finished.account("disk.read"), 0);
        assert_eq!(finished.sum(|_| true), 100);
        assert_eq!(finished.status, 0);
    }
}
