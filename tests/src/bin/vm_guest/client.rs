//! Asks requests of the servers, and keeps what was asked and answered.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

/// Longest wait for an answer; emulation is slow.
const PATIENCE: Duration = Duration::from_secs(20);

/// One request and its answer.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Target of the request line.
    pub(crate) target: String,
    /// Status code that came back.
    pub(crate) status: u16,
    /// Process that served it, where the server tells.
    pub(crate) pid: Option<u32>,
    /// What the server measured with its own clock, ns, where it tells.
    pub(crate) waited_ns: Option<u64>,
}

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens.
    pub(crate) fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect {address}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// One request on this connection, which stays open.
    ///
    /// # Errors
    /// No whole answer came.
    pub(crate) fn ask(&mut self, target: &str) -> Result<Asked> {
        self.exchange(target, "keep-alive")
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// No whole answer came.
    pub(crate) fn ask_once(address: &str, target: &str) -> Result<Asked> {
        Self::connect(address)?.exchange(target, "close")
    }

    /// Sends a request and does not wait for an answer.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn send(&mut self, target: &str, connection: &str) -> Result<()> {
        let head = format!("GET {target} HTTP/1.1\r\nHost: vm\r\nConnection: {connection}\r\n\r\n");
        self.stream.get_mut().write_all(head.as_bytes())?;
        Ok(())
    }

    fn exchange(&mut self, target: &str, connection: &str) -> Result<Asked> {
        self.send(target, connection)?;
        let asked = self.answer(target, connection);
        asked.with_context(|| format!("GET {target}"))
    }

    fn answer(&mut self, target: &str, connection: &str) -> Result<Asked> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("no status in {line:?}"))?;
        let mut length = None;
        loop {
            let mut header = String::new();
            ensure!(
                self.stream.read_line(&mut header)? > 0,
                "the head has no end"
            );
            let Some((name, value)) = header.trim().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse::<usize>()?);
            }
        }
        let mut body = Vec::new();
        if connection == "close" {
            self.stream.read_to_end(&mut body)?;
        } else {
            body.resize(length.context("no Content-Length")?, 0);
            self.stream.read_exact(&mut body)?;
        }
        let text = String::from_utf8_lossy(&body);
        let mut words = text.split_whitespace();
        Ok(Asked {
            target: target.to_owned(),
            status,
            pid: words.next().and_then(|word| word.parse().ok()),
            waited_ns: words.next().and_then(|word| word.parse().ok()),
        })
    }
}
