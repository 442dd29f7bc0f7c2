//! The core object: the per-thread ledger, HTTP connections, lifecycles and signals.
#![no_std]
#![no_main]

mod arch;
mod classify;
mod connection;
mod data;
mod descriptor;
mod emit;
mod frame;
mod interpreter;
mod kernel;
mod ledger;
mod library;
mod lock;
mod maps;
mod names;
mod parts;
mod payload;
mod probes;
mod sqlite;
mod thread;
mod tls;
mod tried;
