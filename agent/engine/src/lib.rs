//! The engine: kernel records in, requests, routes and workers out.
//!
//! Pure: no clock, no I/O, no threads, no unsafe. [`Engine::step`] takes one [`input::Input`] and appends
//! to a list of [`output::Output`]s. Whatever the outside knows comes in as an input (kernel records,
//! answers to queries, ticks), so a recording of the inputs replays to the same outputs.
#![forbid(unsafe_code)]

pub mod input;
pub mod output;
mod pipeline;
pub mod redact;

pub use input::{Input, ProcessFact, Settings, WaitFact};
pub use output::{Command, Event, EventKind, Output, Query};
pub use pipeline::{Engine, RoutesView, Stats};
