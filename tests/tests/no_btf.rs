//! A kernel without type information (BTF): said in a line, and nothing is loaded.
//!
//! The kernel here has it, so the commands run in a mount namespace of their own, where an empty file
//! system lies over its folder. The kernel ends them if they so much as ask for a program or a map.

use std::{
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, Output},
    ptr::null,
    time::Duration,
};

use anyhow::Result;
use whyslow_tests::{Live, live, live::skipped, process, servers::Scratch};

/// Longest time until a command has said what it has to say.
const LIMIT: Duration = Duration::from_secs(20);

/// What the command starts does not see `/sys/kernel/btf`; nobody else is touched.
fn hide_btf(command: &mut Command) -> &mut Command {
    let hide = || {
        let (all, folder) = (c"/".as_ptr(), c"/sys/kernel/btf".as_ptr());
        // SAFETY: only system calls, on strings that live as long as the program.
        let hidden = unsafe {
            libc::unshare(libc::CLONE_NEWNS) == 0
                // Before anything is mounted: it must not spread to the namespace that we came from.
                && libc::mount(null(), all, null(), libc::MS_REC | libc::MS_PRIVATE, null()) == 0
                && libc::mount(c"none".as_ptr(), folder, c"tmpfs".as_ptr(), 0, null()) == 0
        };
        if hidden {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // SAFETY: between fork and exec the closure makes only system calls (unshare, mount), and allocates
    // nothing.
    unsafe { command.pre_exec(hide) }
}

/// One instruction of a seccomp filter.
const fn filter(code: u32, if_not: u8, value: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: if_not,
        k: value,
    }
}

/// Ends a process by SIGSYS when it asks for a map (`BPF_MAP_CREATE`, 0) or a program (`BPF_PROG_LOAD`, 5):
/// who looks at the kernel afterwards would see what other agents on this host load.
static NOTHING_LOADED: [libc::sock_filter; 8] = {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    [
        // `struct seccomp_data`: the number at 0, the low half of the first argument at 16.
        filter(LOAD, 0, 0),
        filter(IF_EQUAL, 5, libc::SYS_bpf as u32),
        filter(LOAD, 0, 16),
        filter(IF_EQUAL, 1, 0),
        filter(RETURN, 0, libc::SECCOMP_RET_KILL_PROCESS),
        filter(IF_EQUAL, 1, 5),
        filter(RETURN, 0, libc::SECCOMP_RET_KILL_PROCESS),
        filter(RETURN, 0, libc::SECCOMP_RET_ALLOW),
    ]
};

/// What the command starts is ended when it tries to load anything (see [`NOTHING_LOADED`]).
fn forbid_loading(command: &mut Command) -> &mut Command {
    let forbid = || {
        let program = libc::sock_fprog {
            len: NOTHING_LOADED.len() as u16,
            filter: NOTHING_LOADED.as_ptr().cast_mut(),
        };
        let no_core = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the kernel reads the program and the limit during the calls, and writes to neither.
        let forbidden = unsafe {
            libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core) == 0
                && libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const program,
                ) == 0
        };
        if forbidden {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // SAFETY: between fork and exec the closure makes only system calls (setrlimit, prctl), and allocates
    // nothing.
    unsafe { command.pre_exec(forbid) }
}

/// Leave to run, when this host lets a namespace and a filter be made as well.
fn live_without_btf(name: &str) -> Result<Option<Live>> {
    let Some(live) = live(name)? else {
        return Ok(None);
    };
    match forbid_loading(hide_btf(&mut Command::new("true"))).status() {
        Ok(_) => Ok(Some(live)),
        Err(error) => {
            skipped(name, &format!("type information cannot be hidden: {error}"));
            Ok(None)
        }
    }
}

/// Runs `whyslow` with these arguments, and makes sure that it has not tried to load anything and says
/// nothing of a panic or of the verifier.
fn run(live: &Live, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(&live.binary);
    hide_btf(forbid_loading(command.args(arguments)));
    let output = process::output(&mut command, LIMIT)?;
    assert_eq!(output.status.signal(), None, "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{output:?}");
    assert!(!stderr.contains("verifier"), "{output:?}");
    Ok(output)
}

/// The filter of these tests works: with type information an agent does load, and is ended.
#[test]
fn loading_would_be_noticed() -> Result<()> {
    let Some(live) = live_without_btf("no_btf::loading_would_be_noticed")? else {
        return Ok(());
    };
    let scratch = Scratch::new("no-btf")?;
    let mut command = Command::new(&live.binary);
    command.arg("agent").arg("--socket");
    command.arg(scratch.path().join("socket"));
    let output = process::output(forbid_loading(&mut command), LIMIT)?;
    assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{output:?}");
    Ok(())
}

/// `agent` and `record` end with exit code 1, one line that names the file and one hint, and leave neither
/// a socket nor a recording.
#[test]
fn agent_and_record_say_why() -> Result<()> {
    let Some(live) = live_without_btf("no_btf::agent_and_record_say_why")? else {
        return Ok(());
    };
    let scratch = Scratch::new("no-btf")?;
    let file = scratch.path().join("file");
    let file = file.to_str().unwrap();
    for arguments in [["agent", "--socket", file], ["record", "--force", file]] {
        let output = run(&live, &arguments)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let lines: Vec<&str> = stderr.lines().collect();
        let [error, hint] = lines[..] else {
            panic!("not two lines: {output:?}");
        };
        assert!(error.starts_with("whyslow: "), "{error}");
        assert!(error.contains("/sys/kernel/btf/vmlinux"), "{error}");
        assert!(
            hint.starts_with("hint: ") && hint.contains("CONFIG_DEBUG_INFO_BTF"),
            "{hint}"
        );
        // What the system said is part of the error, not of the advice.
        assert!(!hint.contains("os error"), "{hint}");
        assert_eq!(
            scratch.path().read_dir()?.count(),
            0,
            "something is left by {arguments:?}"
        );
    }
    Ok(())
}

/// `doctor` ends with 1, with a `no` and its reason for the type information and for the programs that need
/// it; as a table and as JSON.
#[test]
fn doctor_says_no_btf() -> Result<()> {
    let Some(live) = live_without_btf("no_btf::doctor_says_no_btf")? else {
        return Ok(());
    };
    let output = run(&live, &["doctor"])?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    for name in ["btf", "core"] {
        let said = table.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some("no")
                && words.next() == Some(name)
                && line.contains("/sys/kernel/btf/vmlinux")
        });
        assert!(said, "no {name} in\n{table}");
    }

    let output = run(&live, &["doctor", "--json"])?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let features: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let btf = features
        .as_array()
        .and_then(|all| all.iter().find(|feature| feature["name"] == "btf").cloned());
    let btf = btf.unwrap_or_default();
    assert_eq!(btf["available"], false, "{features}");
    assert!(
        btf["reason"].as_str().is_some_and(|text| text.len() > 10),
        "{features}"
    );
    Ok(())
}
