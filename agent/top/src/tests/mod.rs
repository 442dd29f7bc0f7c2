//! Tests of the whole view: screens, keys, and a real server.

mod agent;
mod details;
pub(crate) mod fixture;
mod keys;
mod once;
mod screens;
mod styles;
