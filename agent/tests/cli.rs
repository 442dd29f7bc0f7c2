//! The command itself, as a shell sees it: exit codes, the last line of an error, closed pipes. None
//! of it needs root or a kernel.
#![expect(
    clippy::unwrap_used,
    reason = "test code outside of a #[test] function"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use whyslow::source::recording::{Header, Recorder};
use whyslow_engine::input::{Input, Settings};

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("whyslow-cli-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// A recording in which the loss counters grew `losses` times.
    fn recording(&self, name: &str, losses: u64) -> String {
        let path = self.file(name);
        let header = Header {
            version: "0".to_owned(),
            kernel: "test".to_owned(),
            raw: false,
            settings: Settings::default(),
            features: Vec::new(),
        };
        let mut recorder = Recorder::create(path.as_ref(), &header, false).unwrap();
        for count in 1..=losses {
            recorder.write(&Input::Losses(vec![count])).unwrap();
            let now_ns = count * 1_000_000_000;
            recorder.write(&Input::Tick { now_ns }).unwrap();
        }
        recorder.finish().unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn whyslow(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whyslow"));
    command
        .args(args)
        .env_remove("WHYSLOW_SOCKET")
        .env_remove("WHYSLOW_CONFIG")
        .env_remove("WHYSLOW_TOKEN_FILE")
        .env_remove("RUST_LOG");
    command
}

fn run(args: &[&str]) -> Output {
    whyslow(args).output().unwrap()
}

/// Runs, expects failure with `code`, one line with `part`, and a hint as the last line.
fn fails(args: &[&str], code: i32, part: &str) {
    let output = run(args);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 2, "{args:?}: {error}");
    assert!(
        lines[0].starts_with("whyslow: ") && lines[0].contains(part),
        "{args:?}: {error}"
    );
    assert!(lines[1].starts_with("hint: "), "{args:?}: {error}");
}

#[test]
fn usage_errors_are_told_apart_from_failures() {
    let folder = Folder::new("usage");
    let nobody = folder.file("nobody.sock");
    for (args, part) in [
        (["watch", "--status", "teapot"], "teapot"),
        (["watch", "--kind", "nothing"], "nothing"),
        (["watch", "--fields", "colour"], "colour"),
        (["watch", "--connect", "somewhere"], "somewhere"),
    ] {
        fails(&args, 2, part);
    }
    for command in ["watch", "top"] {
        fails(&[command, "--socket", &nobody], 1, "no agent answers on");
    }
    let closed = "http://127.0.0.1:9";
    fails(&["watch", "--connect", closed], 1, "no agent answers on");
    for args in [
        &["frobnicate"][..],
        &["watch", "--min-duration", "soon"],
        &[],
    ] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}

#[test]
fn one_wording_for_what_is_no_agent() {
    // Port 9 is nobody's; on the other port somebody speaks another protocol.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in other.incoming() {
            let _ = stream
                .unwrap()
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let other = format!("http://{address}");
    let commands: [&[&str]; 2] = [&["watch"], &["top", "--once"]];
    for command in commands {
        let connect = |to| [command, &["--connect", to]].concat();
        let closed = "http://127.0.0.1:9";
        let text = format!("whyslow: no agent answers on {closed}: ");
        fails(&connect(closed), 1, &text);
        let text = format!("whyslow: what answers on {other} is no agent: ");
        fails(&connect(&other), 1, &text);
    }
}

#[test]
fn impossible_values_are_refused_with_an_example() {
    for (args, part) in [
        (["watch", "--status", "9xx"], "9xx"),
        (["agent", "--listen", "localhost"], "127.0.0.1:7878"),
        (["agent", "--pid", "x"], "a number such as 4711"),
        (["watch", "--pid", "x"], "a number such as 4711"),
        (["top", "--port", "http"], "a number such as 8000"),
    ] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(part), "{args:?}: {error}");
    }
}

#[test]
fn a_bad_configuration_names_file_and_line() {
    let folder = Folder::new("config");
    let path = folder.file("whyslow.toml");
    fs::write(&path, "port = [80]\nprot = [81]\n").unwrap();
    fails(
        &["doctor", "--config", &path],
        1,
        "whyslow.toml:2: unknown key `prot`: did you mean `port`?",
    );
    let missing = folder.file("missing.toml");
    fails(
        &["doctor", "--config", &missing],
        1,
        "cannot read the configuration",
    );
}

#[test]
fn recordings_good_cut_and_bad() {
    let folder = Folder::new("replay");
    let good = folder.recording("good", 3);
    let whole = run(&["replay", &good, "--json"]);
    assert_eq!(whole.status.code(), Some(0));
    assert!(whole.stderr.is_empty());
    let text = String::from_utf8(whole.stdout).unwrap();
    assert_eq!(text.matches(r#""reason":"ring_full""#).count(), 3, "{text}");

    let cut = folder.file("cut");
    let bytes = fs::read(&good).unwrap();
    fs::write(&cut, &bytes[..bytes.len() - 5]).unwrap();
    fails(&["replay", &cut, "--json"], 1, "is cut off at byte");
    let before = run(&["replay", &cut, "--json"]).stdout;
    let before = String::from_utf8(before).unwrap();
    let same: Vec<&str> = text.lines().take(2).collect();
    assert_eq!(before.lines().take(2).collect::<Vec<_>>(), same);
    assert!(
        !before.contains("3000000000"),
        "the cut input is not made up: {before}"
    );

    let mut other = bytes;
    other[18] ^= 1;
    let version = folder.file("version");
    fs::write(&version, other).unwrap();
    fails(&["replay", &version], 1, "ABI version");
    let garbage = folder.file("garbage");
    fs::write(&garbage, "GET / HTTP/1.1\r\n").unwrap();
    fails(&["replay", &garbage], 1, "is no recording");
    fails(&["replay", &folder.file("missing")], 1, "No such file");
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let folder = Folder::new("pipe");
    let long = folder.recording("long", 20_000);
    let mut replay = whyslow(&["replay", &long, "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(replay.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert!(line.contains("ring_full"), "{line}");
    drop(output);
    let ended = replay.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.stderr.is_empty());
}

#[test]
fn doctor_prints_a_reason_for_each_no() {
    let folder = Folder::new("doctor");
    let socket = folder.file("agent.sock");
    let output = run(&["doctor", "--json", "--socket", &socket]);
    let list: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let core = list.iter().find(|f| f["name"] == "core").unwrap();
    let code = i32::from(core["available"] != true);
    assert_eq!(output.status.code(), Some(code), "{core}");
    for name in ["privileges", "kernel", "btf", "memlock", "core", "agent"] {
        assert!(list.iter().any(|f| f["name"] == name), "{name} is missing");
    }
    for feature in &list {
        let reason = feature["reason"].as_str().unwrap();
        assert!(
            feature["available"] == true || !reason.is_empty(),
            "{feature}"
        );
        assert!(!reason.contains('\n'), "{feature}");
    }
}
