//! Where events go: subscribers over gRPC, JSON lines, lines for people.
//!
//! A sink sees each event once, in order, on the engine's thread. It converts nothing unless it
//! wants the event: [`Pending::wire`] makes the wire form at most once for all sinks.

use std::sync::Arc;

use whyslow_engine::output::Event;
use whyslow_proto::v1;

use crate::host::Anchor;

mod children;
pub mod fields;
pub mod filter;
pub mod grpc;
pub mod hub;
pub mod json;
mod operations;
pub mod printer;
pub mod text;
pub mod wire;

/// Takes events.
pub trait Sink: Send {
    /// One event.
    ///
    /// # Errors
    /// The sink is over; so is the pipeline that it was given to.
    fn event(&mut self, event: &mut Pending<'_>) -> anyhow::Result<()>;

    /// All events of one turn of the pipeline were given.
    ///
    /// # Errors
    /// As [`Sink::event`].
    fn flush(&mut self, now_ns: u64) -> anyhow::Result<()> {
        let _ = now_ns;
        Ok(())
    }
}

/// An event with its wire form, made when first asked for.
#[derive(Debug)]
pub struct Pending<'a> {
    /// As the engine gave it.
    pub event: &'a Event,
    anchor: Anchor,
    wire: Option<Arc<v1::Event>>,
}

impl<'a> Pending<'a> {
    /// An event that nobody asked for yet.
    #[must_use]
    pub fn new(event: &'a Event, anchor: Anchor) -> Self {
        Self {
            event,
            anchor,
            wire: None,
        }
    }

    /// The wire form.
    pub fn wire(&mut self) -> Arc<v1::Event> {
        self.wire
            .get_or_insert_with(|| Arc::new(wire::event(self.event, self.anchor)))
            .clone()
    }
}
