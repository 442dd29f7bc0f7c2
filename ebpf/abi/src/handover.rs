//! Values of the map `HANDOVERS`, by process id: whose threads are told with [`crate::record::MarkRecord`]s.

/// One thread has answered what another read.
pub const HANDS_OVER: u32 = 1;
/// An event loop with other threads beside it: told if an interpreter with a lock runs it, since elsewhere nothing
/// follows from such marks.
pub const MAY_HAND_OVER: u32 = 2;
