//! The demo's visitors: a few clients that ask the application at an easy pace.
//!
//! Not a benchmark. Each client has one keep-alive connection and one request at a time, and
//! rests between two; one more uploads slowly. All end when the value is dropped.
//!
//! After some requests a client takes a new connection. Without that, all would stay for ever with
//! the gunicorn worker that took their first one, which is the worker that has imported the
//! application first.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Number of ordinary clients.
const CLIENTS: u64 = 6;

/// The longest that anything of the demo takes to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Requests of one connection: at least this many, and at most as many again.
const PER_CONNECTION: u64 = 5;

/// What is asked, and how often out of the sum of the weights.
const MIX: &[(u64, &str)] = &[
    (30, "GET /"),
    (24, "GET /users/{n}"),
    (12, "GET /products"),
    (8, "POST /checkout"),
    (6, "GET /report"),
    (6, "GET /thumbnail"),
    (5, "GET /archive"),
    (4, "GET /export"),
    (3, "GET /partner"),
    (2, "GET /users/100000"),
];

/// Running clients.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
}

impl Load {
    /// Begins to ask the application on this loopback port.
    pub(crate) fn start(port: u16) -> Self {
        let shared = Arc::new(Shared::default());
        let mut threads = Vec::new();
        for number in 0..CLIENTS {
            let shared = Arc::clone(&shared);
            threads.push(thread::spawn(move || {
                let mut dice = Dice::new(number);
                let mut left = 0;
                visit(port, &shared, |client| {
                    if left == 0 {
                        left = PER_CONNECTION + dice.below(PER_CONNECTION + 1);
                    }
                    left -= 1;
                    let answer = client.ask(&dice.request());
                    client.closing |= left == 0;
                    thread::sleep(Duration::from_millis(10 + dice.below(60)));
                    answer
                });
            }));
        }
        let uploads = Arc::clone(&shared);
        threads.push(thread::spawn(move || {
            visit(port, &uploads, Client::upload_slowly)
        }));
        Self { shared, threads }
    }

    /// Requests that were answered until now.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Requests that were not: the connection broke, or nothing came in time.
    pub(crate) fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A client that panicked has said so itself.
            drop(thread.join());
        }
    }
}

/// Asks until told to stop; connects again when a connection broke.
fn visit(port: u16, shared: &Shared, mut ask: impl FnMut(&mut Client) -> Result<()>) {
    let mut client = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let connected = match client.take() {
            Some(client) => Ok(client),
            None => Client::connect(port),
        };
        let asked = connected.and_then(|mut connected| {
            ask(&mut connected)?;
            Ok(connected)
        });
        match asked {
            Ok(connected) => {
                shared.answered.fetch_add(1, Ordering::Relaxed);
                client = (!connected.closing).then_some(connected);
            }
            Err(_) => {
                shared.failed.fetch_add(1, Ordering::Relaxed);
                // A server that refuses is not asked in a tight loop.
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// One keep-alive connection.
struct Client {
    stream: BufReader<TcpStream>,
    /// The server said that it closes the connection, or the client has asked enough on it.
    closing: bool,
}

impl Client {
    fn connect(port: u16) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, LIMIT).context("connect")?;
        stream
            .set_read_timeout(Some(LIMIT))
            .context("limit reads")?;
        stream
            .set_write_timeout(Some(LIMIT))
            .context("limit writes")?;
        stream.set_nodelay(true).context("send at once")?;
        Ok(Self {
            stream: BufReader::new(stream),
            closing: false,
        })
    }

    /// Sends `GET /path` or the like and reads the whole answer.
    fn ask(&mut self, request: &str) -> Result<()> {
        let length = if request.starts_with("POST") {
            "Content-Length: 0\r\n"
        } else {
            ""
        };
        self.write(format!("{request} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n").as_bytes())?;
        self.read_answer()
    }

    /// A body in eight parts with pauses, as over a bad line.
    fn upload_slowly(&mut self) -> Result<()> {
        const PART: [u8; 8192] = [b'x'; 8192];
        let length = PART.len() * 8;
        let head =
            format!("POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        self.write(head.as_bytes())?;
        for _ in 0..8 {
            thread::sleep(Duration::from_millis(60));
            self.write(&PART)?;
        }
        self.read_answer()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes).context("write")
    }

    fn read_answer(&mut self) -> Result<()> {
        let mut length = None;
        let mut line = String::new();
        loop {
            line.clear();
            ensure!(
                self.stream.read_line(&mut line).context("read")? > 0,
                "closed"
            );
            let Some((name, value)) = line.trim_end().split_once(':') else {
                if line.trim_end().is_empty() {
                    break;
                }
                continue;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse().context("read Content-Length")?);
            }
            if name.eq_ignore_ascii_case("connection") {
                self.closing |= value.trim().eq_ignore_ascii_case("close");
            }
        }
        let length: u64 = length.context("an answer without Content-Length")?;
        let body = &mut Read::by_ref(&mut self.stream).take(length);
        let read = std::io::copy(body, &mut std::io::sink()).context("read the body")?;
        ensure!(read == length, "the body is cut");
        Ok(())
    }
}

/// Numbers that look random and are the same each time (xorshift).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ (seed + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn request(&mut self) -> String {
        let sum: u64 = MIX.iter().map(|(weight, _)| weight).sum();
        let mut drawn = self.below(sum);
        for (weight, request) in MIX {
            if drawn < *weight {
                return request.replace("{n}", &(1 + self.below(200)).to_string());
            }
            drawn -= weight;
        }
        "GET /".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::TcpListener;

    use whyslow_servers::wait_until;

    use super::*;

    #[test]
    fn the_mix_has_every_kind_in_it() {
        let mut dice = Dice::new(0);
        let drawn: BTreeSet<String> = (0..2000).map(|_| dice.request()).collect();
        let kinds = MIX.iter().filter(|(_, request)| !request.contains("{n}"));
        for (_, request) in kinds {
            assert!(drawn.contains(*request), "{request}");
        }
        assert!(drawn.contains("GET /users/1") && !drawn.contains("GET /users/0"));
    }

    #[test]
    fn answers_are_read_to_their_end() -> Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let server = thread::spawn(move || -> Result<()> {
            let (stream, _) = listener.accept()?;
            let mut stream = BufReader::new(stream);
            for answer in [
                "Content-Length: 2\r\n\r\nok",
                "connection: close\r\ncontent-length: 0\r\n\r\n",
            ] {
                let mut line = String::new();
                while stream.read_line(&mut line)? > 2 {
                    line.clear();
                }
                write!(stream.get_mut(), "HTTP/1.1 200 OK\r\n{answer}")?;
            }
            Ok(())
        });
        let mut client = Client::connect(port)?;
        client.ask("GET /")?;
        assert!(!client.closing);
        client.ask("GET /")?;
        assert!(client.closing);
        server.join().expect("no panic")
    }

    #[test]
    fn clients_take_new_connections() -> Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let accepted = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&accepted);
        // It ends with this process: an accept cannot be called off.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || {
                    let mut stream = BufReader::new(stream);
                    let mut line = String::new();
                    while stream.read_line(&mut line).is_ok_and(|length| length > 0) {
                        if line == "\r\n" {
                            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                            let _ = stream.get_mut().write_all(answer);
                        }
                        line.clear();
                    }
                });
            }
        });
        let load = Load::start(port);
        wait_until(LIMIT, "new connections", || {
            accepted.load(Ordering::Relaxed) >= 2 * (CLIENTS + 1)
        })?;
        assert_eq!(load.failed(), 0);
        Ok(())
    }

    #[test]
    fn a_server_that_is_gone_is_counted_as_failures_and_stopping_still_works() -> Result<()> {
        let load = Load::start(whyslow_servers::free_port()?);
        wait_until(LIMIT, "a failure", || load.failed() > 0)?;
        assert_eq!(load.answered(), 0);
        Ok(())
    }
}
