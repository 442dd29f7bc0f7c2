//! Writes a recording. Called on the engine's thread, so it buffers and writes rarely.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek as _, SeekFrom, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use whyslow_abi::ABI_VERSION;
use whyslow_engine::{input::Input, redact::Redactor};

use super::{Header, MAGIC};

/// Bytes kept before they are written.
const BUFFER: usize = 256 << 10;
/// Longest wait for the reader of a pipe: the engine's thread stands still meanwhile.
const READER_PATIENCE: Duration = Duration::from_secs(2);
/// Longest time that inputs stay in the buffer, ns.
const FLUSH_NS: u64 = 1_000_000_000;

/// A recording being written.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    file: File,
    redactor: Option<Redactor>,
    /// Whole frames.
    buffer: Vec<u8>,
    /// End of the last whole frame in the file.
    written: u64,
    inputs: u64,
    next_flush_ns: u64,
    closed: bool,
}

impl Recorder {
    /// Makes the file.
    ///
    /// # Errors
    /// It exists (without `force`), cannot be made, or cannot be written.
    pub fn create(path: &Path, header: &Header, force: bool) -> anyhow::Result<Self> {
        let file = open(path, header.raw, force)?;
        let mut buffer = MAGIC.to_vec();
        buffer.extend(ABI_VERSION.to_le_bytes());
        let mut recorder = Self {
            path: path.to_owned(),
            file,
            redactor: (!header.raw).then(Redactor::new),
            buffer,
            written: 0,
            inputs: 0,
            next_flush_ns: 0,
            closed: false,
        };
        recorder.frame(header)?;
        recorder.write_out()?;
        Ok(recorder)
    }

    /// Adds one input, redacted unless the recording is raw.
    ///
    /// # Errors
    /// The file cannot be written. It is closed then, valid up to its last whole frame.
    pub fn write(&mut self, input: &Input) -> anyhow::Result<()> {
        if self.closed {
            return Ok(());
        }
        match &mut self.redactor {
            Some(redactor) => {
                let mut input = input.clone();
                redactor.redact_input(&mut input);
                self.frame(&input)?;
            }
            None => self.frame(input)?,
        }
        self.inputs += 1;
        if self.buffer.len() >= BUFFER {
            self.write_out()?;
        }
        Ok(())
    }

    /// Writes the buffer out when it has waited long enough.
    ///
    /// # Errors
    /// As [`Recorder::write`].
    pub fn flush_if_due(&mut self, now_ns: u64) -> anyhow::Result<()> {
        if now_ns < self.next_flush_ns || self.closed {
            return Ok(());
        }
        self.next_flush_ns = now_ns + FLUSH_NS;
        self.write_out()
    }

    /// Completes the recording. Nothing happens when an error closed it before.
    ///
    /// # Errors
    /// As [`Recorder::write`].
    pub fn finish(mut self) -> anyhow::Result<()> {
        if self.closed {
            return Ok(());
        }
        self.buffer.extend([0; 4]);
        self.write_out()
    }

    fn frame(&mut self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        let start = self.buffer.len();
        self.buffer.extend([0; 4]);
        let buffer = std::mem::take(&mut self.buffer);
        self.buffer = postcard::to_extend(value, buffer).context("cannot encode an input")?;
        let length = u32::try_from(self.buffer.len() - start - 4).context("input too long")?;
        self.buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    fn write_out(&mut self) -> anyhow::Result<()> {
        let mut done = 0;
        while done < self.buffer.len() {
            match self.file.write(&self.buffer[done..]) {
                Ok(0) => return Err(self.give_up(done, &io::ErrorKind::WriteZero.into())),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(error) = wait_writable(&self.file) {
                        return Err(self.give_up(done, &error));
                    }
                }
                Err(error) => return Err(self.give_up(done, &error)),
            }
        }
        self.written += done as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Cuts the file back to its last whole frame, ends it there, and says what happened.
    fn give_up(&mut self, done: usize, error: &io::Error) -> anyhow::Error {
        self.closed = true;
        let end = self.written + whole_frames(&self.buffer, self.written == 0, done) as u64;
        self.buffer = Vec::new();
        // Best effort: a device or a full disk may refuse this as well. Readers tell a cut.
        let _ = self
            .file
            .set_len(end)
            .and_then(|()| self.file.seek(SeekFrom::Start(end)))
            .and_then(|_| self.file.write_all(&[0; 4]));
        let kept = if self.inputs > 0 {
            "; the recording ends there and can be replayed"
        } else {
            ""
        };
        anyhow::anyhow!(
            "cannot write {}: {error}{kept}\nhint: free space, or record elsewhere or for a shorter \
             --duration",
            self.path.display()
        )
    }
}

/// Bytes of whole frames within the first `done` bytes of `buffer`.
fn whole_frames(buffer: &[u8], has_magic: bool, done: usize) -> usize {
    let mut end = if has_magic { MAGIC.len() + 4 } else { 0 };
    while let Some(Ok(length)) = buffer.get(end..end + 4).map(<[u8; 4]>::try_from) {
        let next = end + 4 + u32::from_le_bytes(length) as usize;
        if next > done {
            break;
        }
        end = next;
    }
    end.min(done)
}

/// Waits until the reader of a pipe took something.
fn wait_writable(file: &File) -> io::Result<()> {
    let mut entry = libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    let limit_ms = i32::try_from(READER_PATIENCE.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: `entry` is one valid entry, and its descriptor is open as long as `file` lives.
    match unsafe { libc::poll(&raw mut entry, 1, limit_ms) } {
        0 => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "its reader does not read",
        )),
        -1 => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            error => Err(error),
        },
        _ => Ok(()),
    }
}

fn open(path: &Path, raw: bool, force: bool) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        // Not through a link that somebody else may have put there. A pipe without a reader is an
        // error, not a wait; and a reader that stops reading must not hold up the end of the
        // recording, so the flag stays (a regular file does not care).
        options
            .create(true)
            .truncate(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    } else {
        options.create_new(true);
    }
    if raw {
        options.mode(0o600);
    }
    let file = options.open(path).map_err(|error| {
        let path = path.display();
        if error.kind() == io::ErrorKind::AlreadyExists {
            anyhow::anyhow!("{path} exists\nhint: --force overwrites it")
        } else if error.raw_os_error() == Some(libc::ENXIO) {
            anyhow::anyhow!(
                "nobody reads {path}, which is a pipe\nhint: start its reader first, or record to \
                 a file"
            )
        } else {
            anyhow::anyhow!("cannot create {path}: {error}\nhint: choose another FILE")
        }
    })?;
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if raw && is_file {
        // An existing file keeps its mode when opened.
        file.set_permissions(std::fs::Permissions::from_mode(0o600))
            .with_context(|| format!("cannot make {} private", path.display()))?;
    }
    Ok(file)
}
