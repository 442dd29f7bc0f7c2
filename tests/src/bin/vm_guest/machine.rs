//! The machine around the tests: mounts, loopback, the port for records, the way out.
//!
//! Only for process 1 of a machine that was booted for this: `claim` refuses everything else, so
//! that nobody mounts over, or writes to the ports of, a machine in use.

use std::{
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::fd::AsRawFd,
};

use anyhow::{Context, Result, ensure};

/// On the kernel command line of a machine that is ours.
const CLAIM: &str = "whyslow.vm_guest=1";

/// Port of QEMU's isa-debug-exit device.
#[cfg(target_arch = "x86_64")]
const EXIT_PORT: u16 = 0xf4;

/// Value that makes QEMU leave with 33; one more, with 35.
#[cfg(target_arch = "x86_64")]
const EXIT_PASSED: u8 = 0x10;

/// Source, target, type of each file system, in order.
const MOUNTS: &[(&str, &str, &str)] = &[
    ("sysfs", "/sys", "sysfs"),
    ("devtmpfs", "/dev", "devtmpfs"),
    ("tmpfs", "/run", "tmpfs"),
    ("tmpfs", "/tmp", "tmpfs"),
    ("tracefs", "/sys/kernel/tracing", "tracefs"),
    ("bpf", "/sys/fs/bpf", "bpf"),
    ("cgroup2", "/sys/fs/cgroup", "cgroup2"),
];

/// Makes sure that this is process 1 of a machine booted for the tests.
///
/// # Errors
/// It is not.
pub(crate) fn claim() -> Result<()> {
    ensure!(
        std::process::id() == 1,
        "only for process 1 of a test machine"
    );
    mount("proc", "/proc", "proc")?;
    let line = fs::read_to_string("/proc/cmdline")?;
    ensure!(
        line.split_whitespace().any(|word| word == CLAIM),
        "not booted with {CLAIM}"
    );
    Ok(())
}

/// Mounts what a running system has, brings loopback up, counts program runs.
///
/// # Errors
/// The first step that fails.
pub(crate) fn set_up() -> Result<()> {
    for (source, target, kind) in MOUNTS {
        mount(source, target, kind)?;
    }
    loopback_up().context("loopback")?;
    // Run counts of BPF programs, read by the tests.
    fs::write("/proc/sys/kernel/bpf_stats_enabled", "1").context("bpf_stats_enabled")
}

fn mount(source: &str, target: &str, kind: &str) -> Result<()> {
    let [source, target_c, kind_c] = [source, target, kind].map(CString::new);
    let (source, target_c, kind_c) = (source?, target_c?, kind_c?);
    // SAFETY: three strings that live over the call, no data.
    let done = unsafe {
        libc::mount(
            source.as_ptr(),
            target_c.as_ptr(),
            kind_c.as_ptr(),
            0,
            std::ptr::null(),
        )
    };
    ensure!(
        done == 0,
        "mount {kind} on {target}: {}",
        io::Error::last_os_error()
    );
    Ok(())
}

/// `ip link set lo up`.
fn loopback_up() -> io::Result<()> {
    // SAFETY: plain integers; all zero is a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).unwrap_or_default();
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: an open socket and a request that lives over the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Opens the second serial port as a line that changes no byte.
///
/// # Errors
/// There is no such port.
pub(crate) fn record_port() -> io::Result<File> {
    let port = OpenOptions::new().write(true).open("/dev/ttyS1")?;
    // SAFETY: plain integers, filled by the next call.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: an open terminal and settings that live over the calls.
    let done = unsafe {
        libc::tcgetattr(port.as_raw_fd(), &raw mut settings) == 0 && {
            libc::cfmakeraw(&raw mut settings);
            libc::tcsetattr(port.as_raw_fd(), libc::TCSANOW, &raw const settings) == 0
        }
    };
    if done {
        Ok(port)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Ends the machine. Does not return where the exit device is.
pub(crate) fn leave(mut records: File, passed: bool) {
    // Nothing can be told any more if this fails; the host then misses the last record.
    drop(records.flush());
    // SAFETY: an open terminal; waits until all is sent.
    unsafe { libc::tcdrain(records.as_raw_fd()) };
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the port is asked for first; `claim` made sure that the machine is a test machine,
    // where only the exit device listens on it.
    unsafe {
        if libc::ioperm(EXIT_PORT.into(), 4, 1) == 0 {
            let value = EXIT_PASSED + u8::from(!passed);
            std::arch::asm!("out dx, al", in("dx") EXIT_PORT, in("al") value);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = passed;
}

/// Lines of the kernel log that tell of a kernel in trouble.
///
/// # Errors
/// The log cannot be read.
pub(crate) fn kernel_complaints() -> io::Result<Vec<String>> {
    const SIGNS: &[&str] = &[
        "BUG:",
        "WARNING:",
        "Oops",
        "Call Trace",
        "UBSAN",
        "KASAN",
        "soft lockup",
    ];
    const READ_ALL: libc::c_int = 3;
    let mut buffer = vec![0_u8; 1 << 20];
    let length = libc::c_int::try_from(buffer.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: a buffer of that length that lives over the call.
    let read = unsafe { libc::klogctl(READ_ALL, buffer.as_mut_ptr().cast(), length) };
    let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
    let log = String::from_utf8_lossy(&buffer[..read]);
    let bad = log
        .lines()
        .filter(|line| SIGNS.iter().any(|sign| line.contains(sign)));
    Ok(bad.map(str::to_owned).collect())
}
