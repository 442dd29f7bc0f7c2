//! Options of every subcommand that prints events: which ones, and how.

use std::{io::Write, time::Duration};

use clap::Args;
use whyslow_proto::v1::SubscribeRequest;

use super::{duration, usage, value};
use crate::sink::{
    fields::Fields,
    json::JsonLines,
    printer::{Format, Printer},
    text::{Columns, TextLines},
};

/// Kinds in lines for people when they ask for none.
const TEXT_KINDS: &[&str] = &["requestFinished", "workerEnded", "loopStalled"];
/// The same in columns of fields.
const COLUMN_KINDS: &[&str] = &["requestFinished"];

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
    #[arg(long = "pid", value_name = "PID", value_delimiter = ',', value_parser = value::pid)]
    pids: Vec<u32>,
    /// Only these events: requestStarted, requestFinished, workerStarted, workerEnded, loopStalled, waitObserved
    /// [default: all but waitObserved with --json, else requestFinished, and workerEnded and loopStalled without
    /// --fields]; loss is always told
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
    /// Everything, as JSON lines.
    pub(super) fn json_lines() -> Self {
        Self {
            json: true,
            ..Self::default()
        }
    }

    /// The filter, as a subscription.
    pub(super) fn subscription(&self) -> SubscribeRequest {
        let columns = !self.json && !self.fields.is_empty();
        let kinds: &[&str] = match (self.json, columns) {
            (true, _) => &[],
            (false, true) => COLUMN_KINDS,
            (false, false) => TEXT_KINDS,
        };
        let kinds = if self.kinds.is_empty() {
            kinds.iter().map(|&kind| kind.to_owned()).collect()
        } else {
            self.kinds.clone()
        };
        SubscribeRequest {
            kinds,
            routes: self.route.clone(),
            statuses: self.status.clone(),
            min_wall_ns: self.min_duration.map_or(0, duration::nanoseconds),
            pids: self.pids.clone(),
            // A column of a request that has not ended says little; its end will say all.
            in_flight_first: !columns,
        }
    }

    /// A printer to `out`.
    pub(super) fn printer<W: Write>(&self, out: W) -> anyhow::Result<Printer<W>> {
        let fields = match self.fields.as_slice() {
            [] => None,
            paths => Some(Fields::parse(paths).map_err(usage)?),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_output_has_its_own_default_kinds() {
        let lines = OutputArgs::default().subscription();
        assert_eq!(
            lines.kinds,
            ["requestFinished", "workerEnded", "loopStalled"]
        );
        assert!(lines.in_flight_first);
        let columns = OutputArgs {
            fields: vec!["route".to_owned()],
            ..OutputArgs::default()
        }
        .subscription();
        assert_eq!(columns.kinds, ["requestFinished"]);
        assert!(!columns.in_flight_first);
        let json = OutputArgs {
            json: true,
            ..OutputArgs::default()
        }
        .subscription();
        assert!(json.kinds.is_empty() && json.in_flight_first);
        let chosen = OutputArgs {
            kinds: vec!["workerStarted".to_owned()],
            ..OutputArgs::default()
        };
        assert_eq!(chosen.subscription().kinds, ["workerStarted"]);
    }

    #[test]
    fn fields_are_checked_before_anything_is_printed() {
        let args = OutputArgs {
            fields: vec!["rute".to_owned()],
            ..OutputArgs::default()
        };
        assert!(args.printer(Vec::new()).is_err());
    }
}
