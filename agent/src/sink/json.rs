//! JSON lines: one event per line, in the proto3 JSON mapping (64-bit integers are strings, fields
//! at their default are left out).

use whyslow_proto::v1;

use super::{fields::Fields, printer::Format};

/// Writes JSON lines.
#[derive(Debug, Default)]
pub struct JsonLines {
    fields: Option<Fields>,
}

impl JsonLines {
    /// Whole events, or only `fields` of them.
    #[must_use]
    pub fn new(fields: Option<Fields>) -> Self {
        Self { fields }
    }
}

impl Format for JsonLines {
    fn write(&mut self, event: &v1::Event, out: &mut Vec<u8>) -> anyhow::Result<()> {
        match &self.fields {
            None => serde_json::to_writer(&mut *out, event)?,
            Some(fields) => {
                let Some(kept) = fields.prune(&serde_json::to_value(event)?) else {
                    return Ok(());
                };
                serde_json::to_writer(&mut *out, &kept)?;
            }
        }
        out.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use whyslow_proto::v1::event::Event as Kind;

    use super::*;
    use crate::{host::Anchor, sink::wire, testing};

    fn event() -> v1::Event {
        let anchor = Anchor {
            monotonic_ns: 1_000_000_000,
            unix_ns: 1_709_210_095_000_000_000,
        };
        let request = wire::request_finished(&testing::finished(), anchor);
        wire::wrap(Kind::RequestFinished(request), 2_500_000_000, anchor)
    }

    fn print(fields: &[&str]) -> Value {
        let fields = (!fields.is_empty()).then(|| Fields::parse(fields).unwrap());
        let mut out = Vec::new();
        JsonLines::new(fields).write(&event(), &mut out).unwrap();
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn the_promised_shape() {
        let line = print(&[]);
        assert_eq!(line["monotonicNs"], "2500000000");
        assert_eq!(line["time"], "2024-02-29T12:34:56.500Z");
        let request = &line["requestFinished"];
        for (field, value) in [
            ("requestId", json!("000000000000000000000000000000ab")),
            ("method", json!("GET")),
            ("target", json!("/users/7?q=?")),
            ("route", json!("/users/{id}")),
            ("status", json!(200)),
            ("endReason", json!("complete")),
            ("pid", json!(100)),
            ("tid", json!(101)),
            ("comm", json!("gunicorn")),
            ("startTime", json!("2024-02-29T12:34:56Z")),
            ("startMonotonicNs", json!("2000000000")),
            ("wallNs", json!("5000000")),
            ("binding", json!("thread")),
            ("bytesIn", json!("120")),
            ("bytesOut", json!("4096")),
            ("contextSwitches", json!("4")),
            ("minorFaults", json!("5")),
            ("majorFaults", json!("6")),
            ("headReadNs", json!("7")),
            ("sendNs", json!("9")),
            ("socketQueueNs", json!("10")),
            ("loss", json!(["payload_cut"])),
            ("traceparent", json!("00-1-2-01")),
            ("xRequestId", json!("abc")),
            (
                "bytes",
                json!([{"kind": "client", "in": "120", "out": "4096"}]),
            ),
            ("syscalls", json!([{"class": "read", "count": "3"}])),
            (
                "waits",
                json!([{
                    "account": "disk.sync",
                    "startNs": "2000500000",
                    "ns": "3000000",
                    "waitTarget": {"file": {"path": "/var/lib/app.db", "inode": "12"}},
                }]),
            ),
        ] {
            assert_eq!(request[field], value, "{field}");
        }
    }

    #[test]
    fn ledger_entries_name_account_and_ns() {
        let ledger = print(&[])["requestFinished"]["ledger"].clone();
        assert_eq!(
            ledger[0],
            json!({"account": "disk.sync", "ns": "4000000", "count": "2"})
        );
        // proto3 JSON leaves a zero out; whoever reads it takes an absent count for 0.
        assert_eq!(ledger[1]["account"], "cpu");
        assert_eq!(
            ledger[1].get("count").map_or("0", |c| c.as_str().unwrap()),
            "0"
        );
    }

    #[test]
    fn it_reads_back_as_the_same_event() {
        let mut out = Vec::new();
        JsonLines::default().write(&event(), &mut out).unwrap();
        let back: v1::Event = serde_json::from_slice(&out).unwrap();
        assert_eq!(back, event());
    }

    #[test]
    fn fields_keep_only_what_they_name() {
        assert_eq!(
            print(&["route", "requestFinished.ledger.account", "monotonicNs"]),
            json!({
                "monotonicNs": "2500000000",
                "requestFinished": {
                    "route": "/users/{id}",
                    "ledger": [{"account": "disk.sync"}, {"account": "cpu"}],
                },
            })
        );
    }

    #[test]
    fn an_event_without_the_fields_gets_no_line() {
        let mut out = Vec::new();
        let fields = Fields::parse(&["parentPid"]).unwrap();
        JsonLines::new(Some(fields))
            .write(&event(), &mut out)
            .unwrap();
        assert!(out.is_empty());
    }
}
