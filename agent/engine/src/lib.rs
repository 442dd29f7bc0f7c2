//! The engine: kernel records in, requests, routes and workers out.
//!
//! Pure: no clock, no I/O, no threads, no unsafe. [`Engine::step`] takes one [`input::Input`] and appends
//! to a list of [`output::Output`]s. Whatever the outside knows comes in as an input (kernel records,
//! answers to queries, ticks), so a recording of the inputs replays to the same outputs.
#![forbid(unsafe_code)]

pub mod input;
pub mod output;
