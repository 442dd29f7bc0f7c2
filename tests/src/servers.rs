//! The real servers of package `whyslow-servers`, which xtask uses too.

pub use whyslow_servers::*;
