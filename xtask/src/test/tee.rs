//! Runs a command, shows its output as it comes, and keeps the lines.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use anyhow::{Context, Result};

use crate::run::shown;

/// What a command left.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The lines of both streams; the order between the streams is not certain.
    pub(crate) lines: Vec<String>,
    /// Whether it ended with 0.
    pub(crate) success: bool,
}

/// Runs the command to its end. The streams are read apart, so that a line of one never lands
/// inside a line of the other.
///
/// # Errors
/// When it cannot be started or waited for.
pub(crate) fn tee(command: &mut Command) -> Result<Seen> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("start {}", shown(command)))?;
    let (sender, receiver) = channel();
    let streams: [Option<Box<dyn Read + Send>>; 2] = [
        child
            .stdout
            .take()
            .map(|stream| Box::new(stream) as Box<dyn Read + Send>),
        child
            .stderr
            .take()
            .map(|stream| Box::new(stream) as Box<dyn Read + Send>),
    ];
    for stream in streams.into_iter().flatten() {
        let sender = sender.clone();
        thread::spawn(move || send_lines(stream, &sender));
    }
    drop(sender);
    let mut lines = Vec::new();
    for line in receiver {
        println!("{line}");
        lines.push(line);
    }
    let status = child
        .wait()
        .with_context(|| format!("wait for {}", shown(command)))?;
    Ok(Seen {
        lines,
        success: status.success(),
    })
}

/// Sends each line; bytes that are no UTF-8 are replaced, since a test may print anything.
fn send_lines(stream: impl Read, sender: &Sender<String>) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(1..) = stream.read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line)
            .trim_end_matches(['\n', '\r'])
            .to_owned();
        line.clear();
        if sender.send(text).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_and_the_status_are_seen() -> Result<()> {
        let script = "echo out; echo err >&2; printf 'cut\\377'; exit 3";
        let seen = tee(Command::new("sh").args(["-c", script]))?;
        assert!(!seen.success);
        for expected in ["out", "err", "cut\u{fffd}"] {
            assert!(
                seen.lines.iter().any(|line| line == expected),
                "{:?}",
                seen.lines
            );
        }
        Ok(())
    }
}
