//! Recordings: the engine's inputs in a file, and back.
//!
//! Layout: the magic, the ABI version (u32, little endian), then frames. A frame is its length (u32,
//! little endian) and that many bytes of postcard: first a [`Header`], then one `Input` each. A frame
//! of length 0 ends the recording; without it, the recording was cut.
//!
//! What must stay true: whatever stands in a file, reading it costs bounded memory and ends in an
//! error at worst; every frame before the first bad byte is delivered.

use serde::{Deserialize, Serialize};
use whyslow_engine::input::Settings;

use super::Feature;

mod reader;
mod writer;

pub use reader::{Reader, RecordingError, ReplaySource};
pub use writer::Recorder;

/// First bytes of every recording.
const MAGIC: &[u8; 18] = b"whyslow recording\n";
/// Bytes of a frame at the most: no input comes near it.
const MAX_FRAME: usize = 1 << 20;

/// How a recording was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of whyslow.
    pub version: String,
    /// Kernel release.
    pub kernel: String,
    /// Not redacted.
    pub raw: bool,
    /// The engine's settings.
    pub settings: Settings,
    /// What the source could do.
    pub features: Vec<Feature>,
}

#[cfg(test)]
mod tests;
