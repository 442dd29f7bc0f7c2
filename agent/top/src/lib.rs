//! The live view of whyslow: requests in flight, routes and workers of one agent.
//!
//! It speaks to an agent over gRPC and needs nothing else: no root, no kernel, no shared host. The
//! caller says how to connect ([`Connector`]) and what to show ([`Options`]), then awaits [`run`],
//! which owns the terminal until the user leaves:
//!
//! ```no_run
//! # use tonic::transport::Endpoint;
//! # async fn main_() -> anyhow::Result<()> {
//! let connector = whyslow_top::Connector::new("127.0.0.1:7777", || async {
//!     Ok(Endpoint::from_static("http://127.0.0.1:7777").connect().await?)
//! });
//! whyslow_top::run(connector, whyslow_top::Options::default()).await
//! # }
//! ```
//!
//! `run` handles Ctrl-C, SIGTERM and a closed pipe itself: all three are `Ok`. While it runs, the
//! caller must not write to the terminal (send logs elsewhere).

mod client;
mod columns;
mod connect;
mod finished;
mod input;
mod listeners;
mod live;
mod model;
mod number;
mod options;
mod palette;
mod rows;
mod script;
mod signals;
mod text;
mod view;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use crate::{
    connect::Connector,
    options::{Options, Pane},
    text::printable,
};

/// Shortest and longest time between two questions.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

/// Shows the view until the user leaves (`once`: prints one snapshot).
///
/// # Errors
/// When the terminal cannot be used, or, with `once`, when the agent cannot be asked. A lost agent
/// is no error of the live view: it says so and connects again.
pub async fn run(connector: Connector, options: Options) -> anyhow::Result<()> {
    let interval = options.interval.clamp(INTERVALS.0, INTERVALS.1);
    let options = Options {
        interval,
        ..options
    };
    if options.once {
        script::once(&connector, &options).await
    } else if options.json {
        script::json_lines(connector, &options).await
    } else {
        live::run(connector, &options).await
    }
}
