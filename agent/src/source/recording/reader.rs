//! Reads a recording, and plays it back as a [`Source`].

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    time::Instant,
};

use whyslow_abi::{ABI_VERSION, read_plain, record::RecordHeader};
use whyslow_engine::{
    input::{Input, Settings},
    output::{Command, Query},
};

use super::{Header, MAGIC, MAX_FRAME};
use crate::source::{Depth, Feature, Source};

/// Why a recording cannot be read (on).
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It does not begin like one.
    #[error("{path} is no recording of whyslow\nhint: make one with: whyslow record FILE", path = .0.display())]
    NotARecording(PathBuf),
    /// Its records have another layout.
    #[error("{path} was recorded with ABI version {found}, this whyslow reads {ABI_VERSION}\nhint: replay it with the whyslow that recorded it", path = .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// It ends within.
    #[error("{path} is cut off at byte {offset}: all inputs before were replayed\nhint: the recorder was killed or its disk was full", path = .path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// End of the last whole frame.
        offset: u64,
    },
    /// A frame is no input.
    #[error("{path} is damaged at byte {offset}: all inputs before were replayed\nhint: copy the file again from where it was recorded", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Start of the bad frame.
        offset: u64,
    },
    /// The file cannot be read.
    #[error("cannot read {path}: {error}\nhint: check the path and its permissions", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A recording being read.
#[derive(Debug)]
pub struct Reader<R> {
    path: PathBuf,
    input: R,
    /// End of the last whole frame.
    offset: u64,
    header: Header,
    frame: Vec<u8>,
}

impl Reader<BufReader<File>> {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// See [`RecordingError`].
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let file = File::open(path).map_err(|error| RecordingError::Io {
            path: path.to_owned(),
            error,
        })?;
        Self::new(path, BufReader::new(file))
    }
}

impl<R: Read> Reader<R> {
    /// Reads the header of what `input` delivers; `path` is its name in errors.
    ///
    /// # Errors
    /// See [`RecordingError`].
    pub fn new(path: &Path, mut input: R) -> Result<Self, RecordingError> {
        let path = path.to_owned();
        let mut front = [0; MAGIC.len() + 4];
        let count = fill(&mut input, &mut front).map_err(|error| RecordingError::Io {
            path: path.clone(),
            error,
        })?;
        let known = count.min(MAGIC.len());
        if count == 0 || front[..known] != MAGIC[..known] {
            return Err(RecordingError::NotARecording(path));
        }
        if count < front.len() {
            return Err(RecordingError::Truncated { path, offset: 0 });
        }
        let mut version = [0; 4];
        version.copy_from_slice(&front[MAGIC.len()..]);
        let found = u32::from_le_bytes(version);
        if found != ABI_VERSION {
            return Err(RecordingError::Version { path, found });
        }
        let mut frames = Frames {
            path: &path,
            input: &mut input,
            offset: front.len() as u64,
            frame: Vec::new(),
        };
        let header = frames.next()?.ok_or_else(|| RecordingError::Damaged {
            path: path.clone(),
            offset: front.len() as u64,
        })?;
        let (offset, frame) = (frames.offset, frames.frame);
        Ok(Self {
            path,
            input,
            offset,
            header,
            frame,
        })
    }

    /// How it was made.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next input; `None` at the end.
    ///
    /// # Errors
    /// See [`RecordingError`].
    pub fn next_input(&mut self) -> Result<Option<Input>, RecordingError> {
        let mut frames = Frames {
            path: &self.path,
            input: &mut self.input,
            offset: self.offset,
            frame: std::mem::take(&mut self.frame),
        };
        let input = frames.next();
        self.offset = frames.offset;
        self.frame = frames.frame;
        input
    }
}

/// Reads frames; keeps where the last whole one ended.
struct Frames<'a, R> {
    path: &'a Path,
    input: &'a mut R,
    offset: u64,
    frame: Vec<u8>,
}

impl<R: Read> Frames<'_, R> {
    fn next<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>, RecordingError> {
        let mut length = [0; 4];
        self.read(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 {
            return Ok(None);
        }
        if length > MAX_FRAME {
            return Err(self.damaged());
        }
        let mut frame = std::mem::take(&mut self.frame);
        frame.resize(length, 0);
        self.read(&mut frame)?;
        let (value, rest) = postcard::take_from_bytes(&frame).map_err(|_| self.damaged())?;
        if !rest.is_empty() {
            return Err(self.damaged());
        }
        self.offset += 4 + length as u64;
        self.frame = frame;
        Ok(Some(value))
    }

    fn read(&mut self, into: &mut [u8]) -> Result<(), RecordingError> {
        match fill(self.input, into) {
            Ok(count) if count == into.len() => Ok(()),
            Ok(_) => Err(RecordingError::Truncated {
                path: self.path.to_owned(),
                offset: self.offset,
            }),
            Err(error) => Err(RecordingError::Io {
                path: self.path.to_owned(),
                error,
            }),
        }
    }

    fn damaged(&self) -> RecordingError {
        RecordingError::Damaged {
            path: self.path.to_owned(),
            offset: self.offset,
        }
    }
}

/// Reads until `into` is full or the input ends; returns how much there was.
fn fill(input: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < into.len() {
        match input.read(&mut into[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// A recording as a source, as fast as it can be read or paced as it was recorded.
#[derive(Debug)]
pub struct ReplaySource {
    reader: Reader<BufReader<File>>,
    /// Recorded seconds per second; `None`: no pacing.
    speed: Option<f64>,
    /// Recorded and real time of the first input that has a time.
    origin: Option<(u64, Instant)>,
    /// Read, but its time has not come.
    waiting: Option<Input>,
    /// To be told at the next call.
    failure: Option<RecordingError>,
    last_ns: u64,
    ended: bool,
}

impl ReplaySource {
    /// Plays `reader`; `speed` is recorded seconds per second, `None` for as fast as possible.
    #[must_use]
    pub fn new(reader: Reader<BufReader<File>>, speed: Option<f64>) -> Self {
        let last_ns = reader.header().settings.start_ns;
        Self {
            reader,
            speed,
            origin: None,
            waiting: None,
            failure: None,
            last_ns,
            ended: false,
        }
    }

    /// Settings of the engine that it was recorded with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.reader.header().settings
    }

    fn next(&mut self) -> Option<Input> {
        if let Some(input) = self.waiting.take() {
            return Some(input);
        }
        if self.ended || self.failure.is_some() {
            return None;
        }
        match self.reader.next_input() {
            Ok(Some(input)) => Some(input),
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(error) => {
                self.failure = Some(error);
                None
            }
        }
    }

    /// Where the playback stands on the recorded clock, when it is paced.
    fn playback_ns(&self) -> Option<u64> {
        let (speed, (first_ns, started)) = (self.speed?, self.origin?);
        let ahead = (started.elapsed().as_secs_f64() * speed * 1e9) as u64;
        Some(first_ns.saturating_add(ahead))
    }

    /// Whether an input's time has come.
    fn is_due(&mut self, input: &Input) -> bool {
        let Some(time_ns) = time_of(input) else {
            return true;
        };
        self.origin.get_or_insert_with(|| (time_ns, Instant::now()));
        if self.playback_ns().is_some_and(|now_ns| now_ns < time_ns) {
            return false;
        }
        self.last_ns = self.last_ns.max(time_ns);
        true
    }
}

/// When an input came, for those that say.
fn time_of(input: &Input) -> Option<u64> {
    match input {
        Input::Tick { now_ns } => Some(*now_ns),
        Input::Record(bytes) | Input::Findings { record: bytes, .. } => {
            read_plain::<RecordHeader>(bytes).map(|header| header.time_ns)
        }
        _ => None,
    }
}

impl Source for ReplaySource {
    fn drain(&mut self, into: &mut Vec<Input>, limit: usize) -> anyhow::Result<bool> {
        for _ in 0..limit {
            let Some(input) = self.next() else {
                break;
            };
            if !self.is_due(&input) {
                self.waiting = Some(input);
                return Ok(false);
            }
            into.push(input);
        }
        // Inputs first: what was read before the bad byte counts.
        if into.is_empty()
            && let Some(failure) = self.failure.take()
        {
            self.ended = true;
            return Err(failure.into());
        }
        Ok(!self.ended)
    }

    fn answer(&mut self, _query: &Query) -> Option<Input> {
        None
    }

    fn obey(&mut self, _command: &Command) -> anyhow::Result<()> {
        Ok(())
    }

    fn sample_thread(&mut self, _tid: u32, _depth: Depth) -> Option<Input> {
        None
    }

    fn losses(&mut self) -> Option<Input> {
        None
    }

    fn monotonic_ns(&self) -> u64 {
        if self.ended {
            return self.last_ns;
        }
        self.playback_ns().unwrap_or(self.last_ns)
    }

    fn features(&self) -> Vec<Feature> {
        self.reader.header().features.clone()
    }

    fn kernel(&self) -> String {
        self.reader.header().kernel.clone()
    }

    fn is_replay(&self) -> bool {
        true
    }

    fn has_ended(&self) -> bool {
        self.ended
    }
}
