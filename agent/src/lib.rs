//! The agent: takes kernel records (or a recording), runs them through the engine, and serves what
//! comes out.
//!
//! `source` gets inputs, `pipeline` owns the engine, `sink` gives events away, `cli` is the command
//! line. The way is one: no stage calls back into an earlier one.

pub mod cli;
pub mod config;
pub mod host;
pub mod pipeline;
pub mod sink;
pub mod source;

#[cfg(test)]
mod testing;
