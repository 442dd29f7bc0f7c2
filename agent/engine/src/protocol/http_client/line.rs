//! Lines of a head, put together from pieces: of a long one only the front is kept.

/// Bytes of a line that are kept. Longer targets and values are not looked at to their end.
const LIMIT: usize = 1024;

/// A line that is being read.
#[derive(Debug, Default)]
pub(super) struct Line {
    bytes: Vec<u8>,
    cut: bool,
}

impl Line {
    /// Takes bytes from the front of `bytes`, up to the end of the line; whether that was reached.
    pub(super) fn feed(&mut self, bytes: &mut &[u8]) -> bool {
        let end = memchr::memchr(b'\n', bytes);
        let (here, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        let room = LIMIT - self.bytes.len();
        self.cut |= here.len() > room;
        self.bytes
            .extend_from_slice(here.get(..room).unwrap_or(here));
        *bytes = rest.get(1..).unwrap_or_default();
        end.is_some()
    }

    /// What of it was kept, without its end.
    pub(super) fn text(&self) -> &[u8] {
        match self.bytes.strip_suffix(b"\r") {
            Some(text) if !self.cut => text,
            _ => &self.bytes,
        }
    }

    /// Only its front was kept.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Another begins.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.cut = false;
    }
}
