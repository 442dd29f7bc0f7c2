//! Harness of the live tests.

pub mod servers;
