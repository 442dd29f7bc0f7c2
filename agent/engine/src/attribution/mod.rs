//! Ledgers to requests: how far a response is, which thread's time is a request's, and what a
//! finished request looks like. No tables, no events: functions of what is handed in.

pub(crate) mod finish;
pub(crate) mod handover;
pub(crate) mod ledger;
pub(crate) mod live;
pub(crate) mod operations;
pub(crate) mod progress;
pub(crate) mod queue;
pub(crate) mod waits;
