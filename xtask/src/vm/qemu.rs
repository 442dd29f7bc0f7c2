//! Boots a kernel with an initramfs in QEMU and waits for its end.
//!
//! Software emulation only (`-accel tcg`): `/dev/kvm` may open and still not carry a stock guest.
//! No network, disk or display. The guest ends itself through the `isa-debug-exit` device with
//! the value 0x10, which makes QEMU leave with status 33. A panic, an `init` that returns and a
//! power-off all give 0: only 33 is success.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// The emulator.
pub(crate) const PROGRAM: &str = "qemu-system-x86_64";

/// Status of a guest that says it has passed: `(0x10 << 1) | 1`.
const PASSED: i32 = 33;

/// Kernel command line. `oops=panic`: an oops would hang the machine until the timeout. `nokaslr`: addresses are those of
/// the kernel's symbols.
/// `whyslow.vm_guest`: the guest refuses to run as the init of anything else.
const COMMAND_LINE: &str =
    "console=ttyS0 panic=-1 oops=panic quiet loglevel=4 nokaslr whyslow.vm_guest=1";

/// Longest time until the emulator has told what its processors are at.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What to boot.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    /// Kernel image.
    pub(crate) kernel: &'a Path,
    /// Folder for the initramfs and what the machine writes.
    pub(crate) folder: &'a Path,
    /// Memory, MiB.
    pub(crate) memory_mib: u32,
    /// Time after which it is stopped.
    pub(crate) timeout: Duration,
}

/// How a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The guest said it has passed.
    Passed,
    /// QEMU left with another status; `None`: by a signal.
    Status(Option<i32>),
    /// It was stopped.
    Timeout,
}

impl Machine<'_> {
    /// Where the initramfs is expected.
    pub(crate) fn initramfs(&self) -> PathBuf {
        self.folder.join("initramfs.cpio")
    }

    /// Kernel log: what came over the first serial port.
    pub(crate) fn console(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    /// Records: what came over the second serial port.
    pub(crate) fn records(&self) -> PathBuf {
        self.folder.join("records.jsonl")
    }

    /// What the emulator says.
    fn log(&self) -> PathBuf {
        self.folder.join("qemu.log")
    }

    /// Runs it to its end. Files of an earlier run are written over.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub(crate) fn run(&self) -> Result<End> {
        for file in [self.console(), self.records()] {
            fs::write(&file, "").with_context(|| format!("cannot write {}", file.display()))?;
        }
        let log = File::create(self.log())?;
        let mut child = self
            .command()
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {PROGRAM}"))?;
        let deadline = Instant::now() + self.timeout;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(match status.code() {
                    Some(PASSED) => End::Passed,
                    code => End::Status(code),
                });
            }
            if Instant::now() >= deadline {
                self.ask_where(&mut child);
                child.kill()?;
                child.wait()?;
                return Ok(End::Timeout);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Has the emulator write down in its log what its processors are at: a kernel that spins with interrupts off says
    /// nothing itself.
    fn ask_where(&self, child: &mut Child) {
        let asked = child
            .stdin
            .as_mut()
            .map(|monitor| monitor.write_all(b"info registers -a\n"));
        if !matches!(asked, Some(Ok(()))) {
            return;
        }
        let deadline = Instant::now() + ANSWER_LIMIT;
        // The last line of what is known of a processor begins so.
        let told =
            || fs::read_to_string(self.log()).is_ok_and(|log| log.matches("XMM15").count() >= 2);
        while !told() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where the processors of a machine were when it was stopped: their instruction pointers and flags.
    pub(crate) fn stopped_at(&self) -> Vec<String> {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines = log.lines().filter(|line| line.starts_with("RIP="));
        lines.map(str::to_owned).collect()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args([
                "-machine",
                "q35",
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max",
                "-smp",
                "2",
            ])
            .args([
                "-m",
                &self.memory_mib.to_string(),
                "-nodefaults",
                "-no-user-config",
            ])
            .args(["-display", "none", "-no-reboot", "-nic", "none"])
            .args(["-monitor", "stdio"])
            .arg("-serial")
            .arg(format!("file:{}", self.console().display()))
            .arg("-serial")
            .arg(format!("file:{}", self.records().display()))
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initramfs())
            .args(["-append", COMMAND_LINE]);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_emulated_and_sees_no_network_or_disk() {
        let machine = Machine {
            kernel: Path::new("/k/vmlinuz"),
            folder: Path::new("/run/6.1"),
            memory_mib: 512,
            timeout: Duration::from_secs(1),
        };
        let command = machine.command();
        let line: Vec<String> = command
            .get_args()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect();
        let line = line.join(" ");
        assert!(line.contains("-accel tcg"), "{line}");
        assert!(!line.contains("kvm"), "{line}");
        assert!(line.contains("-nic none"), "{line}");
        assert!(line.contains("-serial file:/run/6.1/console.log"), "{line}");
        assert!(line.contains("oops=panic"), "{line}");
        // The first serial port is the console, the second has the records: order matters.
        assert!(
            line.find("console.log") < line.find("records.jsonl"),
            "{line}"
        );
    }
}
