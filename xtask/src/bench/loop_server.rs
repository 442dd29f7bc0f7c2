//! The measured process: an HTTP server of one thread that, within a request, does one thing in a tight loop
//! and answers with the nanoseconds it took for each.
//!
//! It is a server so that the agent takes it for one: the loop runs on a watched thread with a request open.
//! It pins itself to one CPU, as does the partner that it plays ping-pong with.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsRawFd,
    path::Path,
    time::Instant,
};

use anyhow::{Context, Result, ensure};

/// Serves until killed; the port goes to `file`.
///
/// # Errors
/// When it cannot listen.
pub(super) fn serve(file: &Path) -> Result<()> {
    pin_to_last_cpu()?;
    let (mine, partners) = (pipe()?, pipe()?);
    std::thread::spawn(move || {
        let mut byte = [0_u8];
        while mine.0.read_byte(&mut byte) && partners.1.write_byte(byte) {}
    });
    let partner = (partners.0, mine.1);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let new = file.with_extension("new");
    fs::write(&new, listener.local_addr()?.port().to_string())?;
    fs::rename(&new, file)?;
    for stream in listener.incoming() {
        // A client that breaks off is its own affair.
        let _ = answer(&mut stream?, &partner);
    }
    Ok(())
}

fn answer(stream: &mut TcpStream, partner: &(Pipe, Pipe)) -> Result<()> {
    let mut bytes = [0_u8; 1024];
    let n = stream.read(&mut bytes)?;
    let request = std::str::from_utf8(&bytes[..n])?;
    let target = request.split(' ').nth(1).context("no target")?;
    let (what, count) = target
        .trim_start_matches('/')
        .split_once('/')
        .context("no count")?;
    let count: u32 = count.parse()?;
    let start = Instant::now();
    match what {
        "read" => read_zero(count)?,
        "switch" => ping_pong(count, partner)?,
        _ => ensure!(what == "nothing", "no such loop"),
    }
    let each = start.elapsed().as_secs_f64() * 1e9 / f64::from(count.max(1));
    let body = format!("{each}\n");
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}

/// One-byte reads of `/dev/zero`.
fn read_zero(count: u32) -> Result<()> {
    let zero = File::open("/dev/zero")?;
    let mut byte = [0_u8];
    for _ in 0..count {
        // SAFETY: the descriptor is open and the buffer has the length given.
        let n = unsafe { libc::read(zero.as_raw_fd(), byte.as_mut_ptr().cast(), 1) };
        ensure!(n == 1, "read of /dev/zero");
    }
    Ok(())
}

/// `count` half round trips: each is one context switch, one waking, one read and one write.
fn ping_pong(count: u32, partner: &(Pipe, Pipe)) -> Result<()> {
    let mut byte = [1_u8];
    for _ in 0..count / 2 {
        ensure!(
            partner.1.write_byte(byte) && partner.0.read_byte(&mut byte),
            "the partner is gone"
        );
    }
    Ok(())
}

/// One end of a pipe.
#[derive(Debug)]
struct Pipe(File);

impl Pipe {
    fn read_byte(&self, byte: &mut [u8; 1]) -> bool {
        matches!((&self.0).read(byte), Ok(1))
    }

    fn write_byte(&self, byte: [u8; 1]) -> bool {
        matches!((&self.0).write(&byte), Ok(1))
    }
}

/// Reading and writing end.
fn pipe() -> Result<(Pipe, Pipe)> {
    let (reader, writer) = std::io::pipe()?;
    let reader = std::os::fd::OwnedFd::from(reader);
    let writer = std::os::fd::OwnedFd::from(writer);
    Ok((Pipe(reader.into()), Pipe(writer.into())))
}

/// Threads started later inherit it.
fn pin_to_last_cpu() -> Result<()> {
    let last = std::thread::available_parallelism()?.get() - 1;
    // SAFETY: zero is the empty set; CPU_SET stays within it for any CPU below its 1,024; the set outlives
    // the call.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(last, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    ensure!(
        result == 0,
        "pin to CPU {last}: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}
