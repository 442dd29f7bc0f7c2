//! Scenario files: their shape, how they are run, and how what came out is compared.

pub(crate) mod bindings;
pub(crate) mod check;
pub(crate) mod model;
pub(crate) mod programs;
pub(crate) mod run;
