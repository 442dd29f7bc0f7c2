//! The web server under test: `vm_guest serve`. It listens, forks workers, and each worker takes
//! one connection at a time, keep-alive or not. A worker that ends is replaced.
//!
//! It measures with its own clock how long it was made to wait, and answers that: the truth that
//! the agent's ledger is compared with. Not a good web server, only a plain one.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsRawFd,
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

/// Where it listens.
pub(crate) const ADDRESS: &str = "127.0.0.1:8081";
/// Where the peer of `/upstream` listens: it answers one line, late.
pub(crate) const UPSTREAM: &str = "127.0.0.1:8082";
/// Locked by the client of `/flock`.
pub(crate) const LOCK_FILE: &str = "/tmp/lock";
/// Written by a worker that hangs: its process id.
pub(crate) const HANGING: &str = "/tmp/hanging";
/// How long a worker is made to wait.
pub(crate) const PAUSE: Duration = Duration::from_millis(30);
/// Workers: one for a connection held open, and more.
const WORKERS: usize = 3;

/// Runs until it is killed.
///
/// # Errors
/// It cannot listen, or not fork.
pub(crate) fn serve() -> Result<()> {
    let listener = TcpListener::bind(ADDRESS).context("cannot listen")?;
    for _ in 0..WORKERS {
        fork_worker(&listener)?;
    }
    loop {
        let mut status = 0;
        // SAFETY: waits for any child.
        let ended = unsafe { libc::waitpid(-1, &raw mut status, 0) };
        ensure!(ended > 0, "waitpid: {}", io::Error::last_os_error());
        fork_worker(&listener)?;
    }
}

fn fork_worker(listener: &TcpListener) -> Result<()> {
    let work = || -> libc::c_int {
        // SAFETY: no memory involved. A worker must not outlive its server.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        while let Ok((connection, _)) = listener.accept() {
            // A client that goes away is nothing to end for.
            drop(converse(&connection));
        }
        1
    };
    fork(work).map(drop)
}

/// Runs `body` in a child and returns the child's process id.
fn fork(body: impl FnOnce() -> libc::c_int) -> Result<libc::pid_t> {
    // SAFETY: the caller has one thread only, so the child may go on as it likes.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()).context("cannot fork"),
        0 => {
            let code = body();
            // SAFETY: ends the child at once, without what the parent has yet to flush.
            unsafe { libc::_exit(code) }
        }
        child => Ok(child),
    }
}

/// One connection to its end.
fn converse(connection: &TcpStream) -> Result<()> {
    let mut reader = BufReader::new(connection);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut close = false;
        loop {
            let mut header = String::new();
            ensure!(reader.read_line(&mut header)? > 0, "the head has no end");
            if header.trim().is_empty() {
                break;
            }
            close |= header.trim().eq_ignore_ascii_case("connection: close");
        }
        let target = request.split(' ').nth(1).unwrap_or_default();
        let (status, waited) = answer(target)?;
        let body = format!("{} {}\n", std::process::id(), waited.as_nanos());
        let end = if close { "close" } else { "keep-alive" };
        let response = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: {end}\r\n\r\n{body}",
            body.len()
        );
        (&*connection).write_all(response.as_bytes())?;
        if close {
            return Ok(());
        }
    }
}

/// Status line and how long it took, by the server's own clock.
fn answer(target: &str) -> Result<(&'static str, Duration)> {
    let started = Instant::now();
    match target {
        "/sleep" => thread::sleep(PAUSE),
        "/child" => wait_for_child()?,
        "/upstream" => ask_upstream()?,
        "/flock" => wait_for_file_lock()?,
        "/futex" => wait_for_thread()?,
        "/cpu" => return Ok(("200 OK", burn()?)),
        "/error" => return Ok(("500 Internal Server Error", Duration::ZERO)),
        "/missing" => return Ok(("404 Not Found", Duration::ZERO)),
        "/hang" => {
            fs::write(HANGING, std::process::id().to_string())?;
            thread::sleep(Duration::from_secs(600));
        }
        _ => return Ok(("200 OK", Duration::ZERO)),
    }
    Ok(("200 OK", started.elapsed()))
}

fn wait_for_child() -> Result<()> {
    let pause = PAUSE.as_secs_f64().to_string();
    let ended = Command::new("/bin/busybox")
        .args(["sleep", &pause])
        .status()?;
    ensure!(ended.success(), "the child ended with {ended}");
    Ok(())
}

fn ask_upstream() -> Result<()> {
    let mut answer = String::new();
    TcpStream::connect(UPSTREAM)?.read_to_string(&mut answer)?;
    ensure!(answer == "late\n", "the upstream said {answer:?}");
    Ok(())
}

fn wait_for_file_lock() -> Result<()> {
    let file = fs::File::open(LOCK_FILE)?;
    // SAFETY: an open descriptor. The lock goes when it is closed.
    let locked = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) };
    ensure!(locked == 0, "flock: {}", io::Error::last_os_error());
    lock_part()
}

/// Locks a part of a file, for which it need not wait.
fn lock_part() -> Result<()> {
    let file = fs::File::options().write(true).open(LOCK_FILE)?;
    // SAFETY: all zero is a value of it.
    let mut part: libc::flock = unsafe { std::mem::zeroed() };
    part.l_type = libc::c_short::try_from(libc::F_WRLCK)?;
    // SAFETY: an open descriptor and a live structure. The lock goes when it is closed.
    let locked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLKW, &raw const part) };
    ensure!(locked == 0, "fcntl: {}", io::Error::last_os_error());
    Ok(())
}

/// Waits on a channel: a futex.
fn wait_for_thread() -> Result<()> {
    let (sender, receiver) = mpsc::channel();
    let helper = thread::spawn(move || {
        thread::sleep(PAUSE);
        sender.send(())
    });
    receiver.recv()?;
    ensure!(
        matches!(helper.join(), Ok(Ok(()))),
        "the helper thread failed"
    );
    Ok(())
}

/// Uses the CPU, and returns how much by the kernel's clock of this thread.
fn burn() -> Result<Duration> {
    let started = thread_cpu_time()?;
    loop {
        let used = thread_cpu_time()?.saturating_sub(started);
        if used >= PAUSE {
            return Ok(used);
        }
    }
}

fn thread_cpu_time() -> Result<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a time that lives over the call.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    ensure!(done == 0, "clock_gettime: {}", io::Error::last_os_error());
    Ok(Duration::new(
        u64::try_from(time.tv_sec)?,
        u32::try_from(time.tv_nsec)?,
    ))
}
