//! The engine: kernel records in, requests, routes and workers out.
//!
//! Pure: no clock, no I/O, no threads, no unsafe. [`Engine::step`] takes one [`input::Input`] and
//! appends to a list of [`output::Output`]s. Whatever the outside knows comes in as an input (kernel records,
//! answers to queries, ticks), so a recording of the inputs replays to the same outputs.
#![forbid(unsafe_code)]

mod attribution;
mod command;
mod decode;
mod hash;
pub mod input;
mod listeners;
mod losses;
pub mod output;
mod pipeline;
mod programs;
mod protocol;
mod recent;
pub mod redact;
mod routes;
mod shapes;
mod timeline;

pub use input::{
    Finding, Findings, Input, ListenerFact, ListenersFact, ProcessFact, Settings, WaitFact,
};
pub use output::{Command, Event, EventKind, Output, Query};
pub use pipeline::{Engine, ListenersView, ProgramsView, RoutesView, ShapesView, Stats};
