//! Prints events to a stream, in a format, until enough were printed or nobody reads any more.

use std::io::{self, Write};

use whyslow_proto::v1::{self, event::Event as Kind};

use super::{Pending, Sink, filter::Filter};

/// How one event is written.
pub trait Format: Send {
    /// Appends the event's line to `out`; nothing when it has none.
    ///
    /// # Errors
    /// The event cannot be written in this format.
    fn write(&mut self, event: &v1::Event, out: &mut Vec<u8>) -> anyhow::Result<()>;
}

/// Why printing ended. Neither is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrintEnd {
    /// As many requests as asked for were printed.
    #[error("printed as many requests as asked for")]
    Enough,
    /// The reader closed the pipe.
    #[error("the output was closed")]
    Closed,
}

/// Bytes kept before they are written within one batch.
const BUFFER: usize = 64 << 10;

/// Prints events.
pub struct Printer<W> {
    format: Box<dyn Format>,
    out: W,
    buffer: Vec<u8>,
    /// Finished requests still to print; `None`: no limit.
    remaining: Option<u64>,
}

impl<W: Write> Printer<W> {
    /// A printer of `count` finished requests at the most, `None`: without an end.
    pub fn new(format: Box<dyn Format>, out: W, count: Option<u64>) -> Self {
        Self {
            format,
            out,
            buffer: Vec::new(),
            remaining: count,
        }
    }

    /// Prints one event, buffered.
    ///
    /// # Errors
    /// [`PrintEnd`], or a failure to write.
    pub fn print(&mut self, event: &v1::Event) -> anyhow::Result<()> {
        if self.remaining == Some(0) {
            return Err(PrintEnd::Enough.into());
        }
        self.format.write(event, &mut self.buffer)?;
        if let (Some(remaining), Some(Kind::RequestFinished(_))) =
            (&mut self.remaining, &event.event)
        {
            *remaining = remaining.saturating_sub(1);
            if *remaining == 0 {
                self.flush()?;
                return Err(PrintEnd::Enough.into());
            }
        }
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// As [`Printer::print`].
    pub fn flush(&mut self) -> anyhow::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self
            .out
            .write_all(&self.buffer)
            .and_then(|()| self.out.flush());
        self.buffer.clear();
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => PrintEnd::Closed.into(),
            _ => anyhow::anyhow!("cannot write the output: {error}\nhint: is its disk full?"),
        })
    }

    /// The format.
    #[cfg(test)]
    pub(crate) fn output(&self) -> &W {
        &self.out
    }
}

/// A printer as a sink: what `replay` prints. It waits for its reader, which in a replay is right.
pub struct PrinterSink<W> {
    filter: Filter,
    printer: Printer<W>,
}

impl<W: Write> PrinterSink<W> {
    /// Prints what passes `filter`.
    pub fn new(filter: Filter, printer: Printer<W>) -> Self {
        Self { filter, printer }
    }
}

impl<W: Write + Send> Sink for PrinterSink<W> {
    fn event(&mut self, event: &mut Pending<'_>) -> anyhow::Result<()> {
        if self.filter.admits(&event.event.kind) {
            self.printer.print(&event.wire())?;
        }
        Ok(())
    }

    fn flush(&mut self, _now_ns: u64) -> anyhow::Result<()> {
        self.printer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{host::Anchor, sink::wire, testing};

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Line;

    impl Format for Line {
        fn write(&mut self, _event: &v1::Event, out: &mut Vec<u8>) -> anyhow::Result<()> {
            out.extend(b"line\n");
            Ok(())
        }
    }

    fn finished() -> v1::Event {
        let anchor = Anchor {
            monotonic_ns: 0,
            unix_ns: 0,
        };
        let request = wire::request_finished(&testing::finished(), anchor);
        wire::wrap(Kind::RequestFinished(request), 1, anchor)
    }

    #[test]
    fn ends_after_the_count() {
        let mut printer = Printer::new(Box::new(Line), Vec::new(), Some(2));
        printer.print(&finished()).unwrap();
        let end = printer.print(&finished()).unwrap_err();
        assert_eq!(end.downcast_ref(), Some(&PrintEnd::Enough));
        let end = printer.print(&finished()).unwrap_err();
        assert_eq!(end.downcast_ref(), Some(&PrintEnd::Enough));
        assert_eq!(printer.output(), b"line\nline\n");
    }

    #[test]
    fn a_closed_pipe_is_told_apart() {
        let mut printer = Printer::new(Box::new(Line), Broken, None);
        printer.print(&finished()).unwrap();
        let end = printer.flush().unwrap_err();
        assert_eq!(end.downcast_ref(), Some(&PrintEnd::Closed));
    }
}
