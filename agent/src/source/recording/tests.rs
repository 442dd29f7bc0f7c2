use std::{
    fs,
    io::Cursor,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use whyslow_engine::input::{Input, Settings};

use super::*;
use crate::{
    pipeline::{Pipeline, Timing},
    sink::{
        filter::Filter,
        json::JsonLines,
        printer::{Printer, PrinterSink},
    },
    source::Source as _,
    testing::{ScriptSource, SimWorker, TempDir},
};

fn header(raw: bool) -> Header {
    Header {
        version: "1.2.3".to_owned(),
        kernel: "6.1.0-test".to_owned(),
        raw,
        settings: Settings {
            host_id: 7,
            start_ns: 5,
            start_unix_ns: 1_709_210_095_000_000_000,
            ..Settings::default()
        },
        features: Vec::new(),
    }
}

fn inputs() -> Vec<Input> {
    let (mut worker, adopted) = SimWorker::new(42);
    vec![
        adopted,
        worker.begin("GET /users/7?secret=hunter2 HTTP/1.1"),
        worker.exchange(true, b"*2\r\n$3\r\nGET\r\n$7\r\nhunter2\r\n"),
        worker.exchange(false, b"$7\r\nhunter2\r\n"),
        // A secret in two pieces.
        worker.exchange(true, b"*2\r\n$3\r\nDEL\r\n$7\r\nhunt"),
        worker.exchange(true, b"er2\r\n"),
        worker.exchange(false, b"-ERR no hunt"),
        worker.exchange(false, b"er2\r\n"),
        worker.end(200),
        Input::Losses(vec![1, 2, 3]),
        Input::Tick {
            now_ns: worker.now_ns() + 1_000_000_000,
        },
    ]
}

fn record(path: &Path, raw: bool) {
    let mut recorder = Recorder::create(path, &header(raw), false).unwrap();
    for input in inputs() {
        recorder.write(&input).unwrap();
    }
    recorder.finish().unwrap();
}

/// What can be read, and how it ended.
fn read(bytes: &[u8]) -> (Vec<Input>, Result<(), RecordingError>) {
    let mut found = Vec::new();
    let mut reader = match Reader::new(Path::new("test.whyslow"), Cursor::new(bytes)) {
        Ok(reader) => reader,
        Err(error) => return (found, Err(error)),
    };
    loop {
        match reader.next_input() {
            Ok(Some(input)) => found.push(input),
            Ok(None) => return (found, Ok(())),
            Err(error) => return (found, Err(error)),
        }
    }
}

#[test]
fn what_was_written_is_read() {
    let folder = TempDir::new();
    let path = folder.path().join("r");
    record(&path, true);
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.header(), &header(true));
    let (found, end) = read(&fs::read(&path).unwrap());
    end.unwrap();
    assert_eq!(found, inputs());
}

#[test]
fn secrets_are_not_in_the_file_unless_raw() {
    let folder = TempDir::new();
    let holds_secret = |raw: bool| {
        let path = folder.path().join(format!("r-{raw}"));
        record(&path, raw);
        let bytes = fs::read(&path).unwrap();
        bytes.windows(7).any(|window| window == b"hunter2")
    };
    assert!(!holds_secret(false));
    assert!(holds_secret(true));
    // Nor is a piece of it, or any byte of what was said to servers.
    let bytes = fs::read(folder.path().join("r-false")).unwrap();
    for piece in [b"hunt".as_slice(), b"er2", b"\r\nGET", b"$7\r\n"] {
        assert!(!bytes.windows(piece.len()).any(|window| window == piece));
    }
}

#[test]
fn a_cut_at_any_byte_keeps_all_whole_inputs() {
    let folder = TempDir::new();
    let path = folder.path().join("r");
    record(&path, false);
    let bytes = fs::read(&path).unwrap();
    let (all, _) = read(&bytes);
    let mut most = 0;
    for cut in 0..bytes.len() {
        let (found, end) = read(&bytes[..cut]);
        let error = end.unwrap_err();
        match cut {
            0 => assert!(matches!(error, RecordingError::NotARecording(_)), "{error}"),
            _ => assert!(matches!(error, RecordingError::Truncated { .. }), "{error}"),
        }
        assert_eq!(found, all[..found.len()], "cut at {cut}");
        assert!(found.len() >= most, "a longer file has no fewer inputs");
        most = found.len();
        assert_eq!(error.to_string().lines().count(), 2);
    }
    assert_eq!(most, all.len(), "only the end mark is missing");
}

#[test]
fn any_damaged_byte_is_an_error_or_other_inputs_but_no_panic() {
    let folder = TempDir::new();
    let path = folder.path().join("r");
    record(&path, false);
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0xff;
        let (_, end) = read(&damaged);
        if at < MAGIC.len() {
            assert!(matches!(end, Err(RecordingError::NotARecording(_))));
        } else if at < MAGIC.len() + 4 {
            assert!(matches!(end, Err(RecordingError::Version { .. })));
        }
    }
}

#[test]
fn a_huge_frame_is_refused_before_memory_is_taken() {
    let folder = TempDir::new();
    let path = folder.path().join("r");
    record(&path, false);
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
    let (found, error) = read(&bytes);
    assert!(matches!(error, Err(RecordingError::Damaged { .. })));
    assert_eq!(found.len(), inputs().len());
}

#[test]
fn files_are_not_overwritten_by_accident() {
    let folder = TempDir::new();
    let path = folder.path().join("r");
    fs::write(&path, "precious").unwrap();
    let error = Recorder::create(&path, &header(false), false).unwrap_err();
    assert!(error.to_string().ends_with("--force overwrites it"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    Recorder::create(&path, &header(false), true)
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(read(&fs::read(&path).unwrap()).0, []);
}

#[test]
fn raw_recordings_are_private_even_when_the_file_was_not() {
    let folder = TempDir::new();
    for existed in [false, true] {
        let path = folder.path().join(format!("r-{existed}"));
        if existed {
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        Recorder::create(&path, &header(true), existed).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_link_is_not_followed() {
    let folder = TempDir::new();
    let (link, target) = (folder.path().join("link"), folder.path().join("target"));
    fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    for force in [false, true] {
        assert!(Recorder::create(&link, &header(false), force).is_err());
    }
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
}

#[test]
fn a_full_disk_is_one_clear_error() {
    // The kernel's own full disk.
    let error = Recorder::create(Path::new("/dev/full"), &header(false), true).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("cannot write /dev/full"), "{text}");
    assert!(text.contains("\nhint: free space"), "{text}");
}

/// Events of a whole pipeline as JSON lines, in a file: sinks are given away.
fn print_events(pipeline: Pipeline, out: &Path) -> Pipeline {
    let file = fs::File::create(out).unwrap();
    let printer = Printer::new(Box::new(JsonLines::default()), file, None);
    pipeline.with_sink(Box::new(PrinterSink::new(Filter::default(), printer)))
}

fn replay(path: &Path, out: &Path) -> anyhow::Result<u64> {
    let reader = Reader::open(path)?;
    let settings = reader.header().settings.clone();
    let source = Box::new(ReplaySource::new(reader, None));
    let stats =
        print_events(Pipeline::new(source, settings, Timing::default()), out).run_to_end()?;
    Ok(stats.requests_finished)
}

/// A live run of three requests, recorded: the recording and the events.
fn live(folder: &TempDir) -> (PathBuf, String) {
    let (recording, events) = (folder.path().join("live"), folder.path().join("live.json"));
    let (script, source) = ScriptSource::new();
    let (mut worker, adopted) = SimWorker::new(42);
    script.send([adopted]);
    for status in [200, 404, 500] {
        script.send([
            worker.begin("GET /a?x=1 HTTP/1.1"),
            worker.exchange(true, b"*2\r\n$3\r\nGET\r\n$7\r\nhunter2\r\n"),
            worker.exchange(false, b"-MOVED 1 hunter2\r\n"),
            worker.end(status),
        ]);
    }
    script.set_clock(worker.now_ns() + 5_000_000_000);
    let header = header(false);
    let recorder = Recorder::create(&recording, &header, false).unwrap();
    let pipeline = Pipeline::new(Box::new(source), header.settings, Timing::default());
    let running = print_events(pipeline.with_recorder(recorder), &events)
        .start()
        .unwrap();
    let stats = running.finish().unwrap();
    assert_eq!(stats.requests_finished, 3);
    (recording, fs::read_to_string(events).unwrap())
}

#[test]
fn a_replay_gives_the_same_events() {
    let folder = TempDir::new();
    let (recording, live) = live(&folder);
    let out = folder.path().join("replay.json");
    assert_eq!(replay(&recording, &out).unwrap(), 3);
    assert_eq!(fs::read_to_string(&out).unwrap(), live);
    assert_eq!(live.matches("requestFinished").count(), 3);
    assert_eq!(live.matches("GET ?").count(), 3);
    assert_eq!(live.matches("MOVED").count(), 3);
}

#[test]
fn a_cut_recording_is_replayed_up_to_the_cut_and_then_an_error() {
    let folder = TempDir::new();
    let (recording, live) = live(&folder);
    let bytes = fs::read(&recording).unwrap();
    fs::write(&recording, &bytes[..bytes.len() - 3]).unwrap();
    let out = folder.path().join("replay.json");
    let error = replay(&recording, &out).unwrap_err();
    assert!(matches!(
        error.downcast_ref(),
        Some(RecordingError::Truncated { .. })
    ));
    assert_eq!(fs::read_to_string(&out).unwrap(), live);
}

#[test]
fn a_paced_replay_waits_for_the_time_of_its_inputs() {
    let folder = TempDir::new();
    let path = folder.path().join("r");
    record(&path, false);
    // A second of the recording takes an hour: nothing after the first instant can be due.
    let mut source = ReplaySource::new(Reader::open(&path).unwrap(), Some(1.0 / 3600.0));
    let mut found = Vec::new();
    assert!(!source.drain(&mut found, 100).unwrap());
    assert_eq!(found.len(), 1, "the first input sets the clock");
    assert!(!source.has_ended());
    let mut quick = ReplaySource::new(Reader::open(&path).unwrap(), None);
    let mut found = Vec::new();
    assert!(!quick.drain(&mut found, 100).unwrap());
    assert_eq!(found.len(), inputs().len());
    assert!(quick.has_ended());
    assert_eq!(quick.kernel(), "6.1.0-test");
}

fn pipe(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    path
}

#[test]
fn a_pipe_that_nobody_reads_is_an_error() {
    let folder = TempDir::new();
    let path = pipe(&folder);
    let error = Recorder::create(&path, &header(false), true).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("nobody reads "), "{text}");
    assert!(text.contains("\nhint: "), "{text}");
}

#[test]
fn a_pipe_takes_a_recording_until_its_reader_stops() {
    let folder = TempDir::new();
    let path = pipe(&folder);
    let mut kept = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let mut recorder = Recorder::create(&path, &header(false), true).unwrap();
    for input in inputs() {
        recorder.write(&input).unwrap();
    }
    recorder.flush_if_due(1).unwrap();
    let mut bytes = vec![0; 1 << 16];
    let count = std::io::Read::read(&mut kept, &mut bytes).unwrap();
    assert!(!read(&bytes[..count]).0.is_empty());
    // Nobody takes more of it than a pipe holds: an end, not a wait for ever.
    let record = Input::Record(vec![0; 1_000]);
    let error = (0..10_000).find_map(|_| recorder.write(&record).err());
    let text = error.unwrap().to_string();
    assert!(text.contains("its reader does not read"), "{text}");
    recorder.finish().unwrap();
}

/// What is given up at the end of a recording is not printed beyond the count.
#[test]
fn a_count_is_the_most_that_a_replay_prints() {
    let folder = TempDir::new();
    let path = folder.path().join("open");
    let (mut done, first) = SimWorker::new(42);
    let (mut open, second) = SimWorker::new(43);
    let mut recorder = Recorder::create(&path, &header(false), false).unwrap();
    for input in [
        first,
        second,
        open.begin("GET /open HTTP/1.1"),
        done.begin("GET /done HTTP/1.1"),
        done.end(200),
    ] {
        recorder.write(&input).unwrap();
    }
    recorder.finish().unwrap();
    for (count, expected) in [(Some(1), 1), (Some(2), 2), (None, 2)] {
        let out = folder.path().join("out.json");
        let file = fs::File::create(&out).unwrap();
        let printer = Printer::new(Box::new(JsonLines::default()), file, count);
        let source = Box::new(ReplaySource::new(Reader::open(&path).unwrap(), None));
        let _ = Pipeline::new(source, header(false).settings, Timing::default())
            .with_sink(Box::new(PrinterSink::new(Filter::default(), printer)))
            .run_to_end();
        let text = fs::read_to_string(&out).unwrap();
        let finished = text.matches("\"requestFinished\"").count();
        assert_eq!(finished, expected, "{count:?}:\n{text}");
    }
}
