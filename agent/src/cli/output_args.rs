//! Options of every subcommand that prints events: which ones, and how.

use std::{io::Write, time::Duration};

use clap::Args;
use whyslow_proto::v1::SubscribeRequest;

use super::duration;
use crate::sink::{
    fields::Fields,
    json::JsonLines,
    printer::{Format, Printer},
    text::{Columns, TextLines},
};

/// Kinds that people get when they ask for none.
const TEXT_KINDS: &[&str] = &["requestFinished", "workerEnded"];

/// Which events, and how.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct OutputArgs {
    /// One JSON object per line: the proto3 JSON of whyslow.v1.Event (64-bit integers are strings)
    #[arg(long)]
    json: bool,
    /// Only this route: 'GET /users/{id}', '/users/{id}' or '/users/*'; repeatable
    #[arg(long, value_name = "ROUTE")]
    route: Vec<String>,
    /// Only this status: 500, 5xx, or none for requests without a response
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    status: Vec<String>,
    /// Only requests of at least this wall time, such as 100ms
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    min_duration: Option<Duration>,
    /// Only requests and workers of this process
    #[arg(long = "pid", value_name = "PID", value_delimiter = ',')]
    pids: Vec<u32>,
    /// Only these events: requestStarted, requestFinished, workerStarted, workerEnded [default: all
    /// with --json, else requestFinished and workerEnded]; loss is always told
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',')]
    kinds: Vec<String>,
    /// Only these fields, by their JSON names: route,wallNs,ledger.account. Columns separated by
    /// tabs; with --json, objects of only these fields
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    fields: Vec<String>,
    /// End after N finished requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after the first finished request
    #[arg(long, conflicts_with = "count")]
    once: bool,
}

impl OutputArgs {
    /// The filter, as a subscription.
    pub(super) fn subscription(&self) -> SubscribeRequest {
        let kinds = if self.kinds.is_empty() && !self.json && self.fields.is_empty() {
            TEXT_KINDS.iter().map(|&kind| kind.to_owned()).collect()
        } else {
            self.kinds.clone()
        };
        SubscribeRequest {
            kinds,
            routes: self.route.clone(),
            statuses: self.status.clone(),
            min_wall_ns: self.min_duration.map_or(0, duration::nanoseconds),
            pids: self.pids.clone(),
            in_flight_first: true,
        }
    }

    /// A printer to `out`.
    pub(super) fn printer<W: Write>(&self, out: W) -> anyhow::Result<Printer<W>> {
        let fields = match self.fields.as_slice() {
            [] => None,
            paths => Some(Fields::parse(paths)?),
        };
        let format: Box<dyn Format> = match (self.json, fields) {
            (true, fields) => Box::new(JsonLines::new(fields)),
            (false, Some(fields)) => Box::new(Columns::new(fields)),
            (false, None) => Box::new(TextLines),
        };
        let count = if self.once { Some(1) } else { self.count };
        Ok(Printer::new(format, out, count))
    }
}
