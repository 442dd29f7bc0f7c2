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
mod handover;
mod interpreter;
mod kernel;
mod ledger;
mod library;
mod limits;
mod lock;
mod maps;
mod names;
mod parts;
mod payload;
mod probes;
mod program;
mod queue;
mod service;
mod sqlite;
mod thread;
mod tls;
mod tried;
mod turn;
