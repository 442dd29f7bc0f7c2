//! A load of a fixed number of requests at a fixed rate: every request that was sent is known, and so is
//! every answer. One thread and `poll(2)`, so that on a small machine the client leaves the CPUs to
//! what is measured.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::http::find;

/// Longest time without any progress before the load gives up.
const STALL_LIMIT: Duration = Duration::from_secs(20);

/// What to send.
#[derive(Clone, Debug)]
pub struct Plan {
    /// To whom.
    pub address: SocketAddr,
    /// Connections open at once.
    pub connections: usize,
    /// Requests per second over all connections; 0: as fast as answers come.
    pub rate_per_s: u64,
    /// Requests in all.
    pub requests: u64,
    /// Many requests per connection; else a connection for each.
    pub keep_alive: bool,
    /// Path and query.
    pub target: String,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests written in full.
    pub sent: u64,
    /// Responses read in full with a status below 400.
    pub answered: u64,
    /// Requests that got no response, or one of 400 and above.
    pub failed: u64,
    /// From the first request to the last response.
    pub elapsed: Duration,
    /// Time from the write to the whole response, ns, in order of the responses.
    pub latencies_ns: Vec<f64>,
}

impl Report {
    /// Responses per second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn rate_per_s(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// One connection of the load.
#[derive(Debug, Default)]
struct Lane {
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
    /// When the request in flight was written.
    sent: Option<Instant>,
}

/// Sends the plan's requests, and waits for all answers.
///
/// # Errors
/// When nothing moves for 20 s. A request without an answer is no error: it is in the report.
pub fn run(plan: &Plan) -> Result<Report> {
    let connection = if plan.keep_alive {
        "keep-alive"
    } else {
        "close"
    };
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n",
        plan.target
    );
    let mut lanes: Vec<Lane> = Vec::new();
    lanes.resize_with(plan.connections, Lane::default);
    let mut report = Report::default();
    let start = Instant::now();
    let mut moved = start;
    // Each ends as an answer or a failure.
    let mut begun = 0;
    while report.answered + report.failed < plan.requests {
        let due = due(plan, start.elapsed());
        for lane in lanes.iter_mut().filter(|lane| lane.sent.is_none()) {
            if begun >= due {
                break;
            }
            begun += 1;
            match write(lane, plan, request.as_bytes()) {
                Ok(()) => report.sent += 1,
                Err(_) => fail(lane, &mut report),
            }
            moved = Instant::now();
        }
        if read_ready(&mut lanes, &mut report, plan)? {
            moved = Instant::now();
        }
        if moved.elapsed() > STALL_LIMIT {
            bail!("no answer for 20 s: {report:?}");
        }
    }
    report.elapsed = start.elapsed();
    Ok(report)
}

/// Requests that should have been written by now.
fn due(plan: &Plan, elapsed: Duration) -> u64 {
    if plan.rate_per_s == 0 {
        return plan.requests;
    }
    let due = u128::from(plan.rate_per_s) * elapsed.as_micros() / 1_000_000 + 1;
    u64::try_from(due).map_or(plan.requests, |due| due.min(plan.requests))
}

fn write(lane: &mut Lane, plan: &Plan, request: &[u8]) -> Result<()> {
    let stream = match lane.stream.take() {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect_timeout(&plan.address, STALL_LIMIT)?;
            stream.set_nodelay(true)?;
            stream
        }
    };
    let stream = lane.stream.insert(stream);
    stream.set_nonblocking(false)?;
    stream.write_all(request)?;
    stream.set_nonblocking(true)?;
    lane.sent = Some(Instant::now());
    Ok(())
}

/// The request in flight, if any, has failed; the connection goes with it.
fn fail(lane: &mut Lane, report: &mut Report) {
    report.failed += 1;
    *lane = Lane::default();
}

/// Waits at most a millisecond for answers and reads them. True when something came.
fn read_ready(lanes: &mut [Lane], report: &mut Report, plan: &Plan) -> Result<bool> {
    let mut waiting: Vec<(usize, libc::pollfd)> = Vec::with_capacity(lanes.len());
    for (index, lane) in lanes.iter().enumerate() {
        if let (Some(stream), Some(_)) = (&lane.stream, lane.sent) {
            let descriptor = libc::pollfd {
                fd: stream.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            waiting.push((index, descriptor));
        }
    }
    let mut descriptors: Vec<libc::pollfd> = waiting.iter().map(|(_, d)| *d).collect();
    // SAFETY: the array lives through the call and has the length given.
    let ready = unsafe {
        libc::poll(
            descriptors.as_mut_ptr(),
            libc::nfds_t::try_from(descriptors.len())?,
            1,
        )
    };
    if ready < 0 {
        return Err(std::io::Error::last_os_error()).context("poll");
    }
    for ((index, _), descriptor) in waiting.iter().zip(&descriptors) {
        if descriptor.revents != 0 {
            read(&mut lanes[*index], report, plan);
        }
    }
    Ok(ready > 0)
}

/// Reads what is there; closes the book of the request when its response is whole.
fn read(lane: &mut Lane, report: &mut Report, plan: &Plan) {
    let Some(stream) = &mut lane.stream else {
        return;
    };
    let mut bytes = [0_u8; 16384];
    let ended = loop {
        match stream.read(&mut bytes) {
            Ok(0) => break true,
            Ok(n) => lane.buffer.extend_from_slice(&bytes[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break true,
        }
    };
    let whole = is_whole(&lane.buffer, plan.keep_alive, ended);
    if whole {
        finish(lane, report, ended);
    } else if ended {
        fail(lane, report);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a latency in ns is far below 2^52"
)]
fn finish(lane: &mut Lane, report: &mut Report, ended: bool) {
    if let Some(sent) = lane.sent.take() {
        report.latencies_ns.push(sent.elapsed().as_nanos() as f64);
    }
    if lane.buffer.get(9).is_some_and(|digit| *digit < b'4') {
        report.answered += 1;
    } else {
        report.failed += 1;
    }
    lane.buffer.clear();
    if ended {
        lane.stream = None;
    }
}

/// The response is complete. Without keep-alive the end of the connection belongs to it: the next
/// connection must not overtake the close.
fn is_whole(buffer: &[u8], keep_alive: bool, ended: bool) -> bool {
    let by_length = response_length(buffer).map(|length| buffer.len() >= length);
    if keep_alive {
        by_length == Some(true)
    } else {
        ended && find(buffer, b"\r\n\r\n").is_some() && by_length != Some(false)
    }
}

/// Length of head and body together, once the head is whole and if it has a `Content-Length`.
fn response_length(buffer: &[u8]) -> Option<usize> {
    let end = find(buffer, b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&buffer[..end]).ok()?;
    let length = crate::http::header(head, "content-length")?;
    Some(end + length.parse::<usize>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
        assert_eq!(response_length(whole), Some(whole.len()));
        assert_eq!(response_length(&whole[..20]), None);
        assert!(is_whole(whole, true, false) && is_whole(whole, false, true));
        assert!(!is_whole(whole, false, false) && !is_whole(&whole[..40], false, true));
        assert!(is_whole(b"HTTP/1.1 200 OK\r\n\r\nto the end", false, true));
    }

    #[test]
    fn a_plan_is_due_evenly() {
        let plan = Plan {
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            connections: 1,
            rate_per_s: 1000,
            requests: 500,
            keep_alive: true,
            target: "/".to_owned(),
        };
        assert_eq!(due(&plan, Duration::ZERO), 1);
        assert_eq!(due(&plan, Duration::from_millis(100)), 101);
        assert_eq!(due(&plan, Duration::from_secs(9)), 500);
    }

    /// Counts only what was answered, over keep-alive and without, against a server of known behaviour.
    #[test]
    fn counts_answers_and_failures() -> Result<()> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = std::thread::spawn(move || -> Result<()> {
            for number in 0..4 {
                let (mut stream, _) = listener.accept()?;
                let mut bytes = [0_u8; 1024];
                let _ = stream.read(&mut bytes)?;
                if number != 2 {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
                }
            }
            Ok(())
        });
        let report = run(&Plan {
            address,
            connections: 1,
            rate_per_s: 0,
            requests: 4,
            keep_alive: false,
            target: "/".to_owned(),
        })?;
        assert!(server.join().is_ok());
        assert_eq!((report.sent, report.answered, report.failed), (4, 3, 1));
        Ok(())
    }
}
