//! A small HTTP/1.1 client that writes exactly the bytes it is given: split heads, pipelined requests,
//! slow readers and garbage are what the tests are about, and no proper client would send them.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// Longest wait for the next bytes of a response.
const READ_LIMIT: Duration = Duration::from_secs(20);

/// A response.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// Body, with a chunked coding taken off.
    pub body: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// Read but not yet used.
    buffer: Vec<u8>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When the server does not take the connection.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, READ_LIMIT)
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_read_timeout(Some(READ_LIMIT))?;
        stream.set_write_timeout(Some(READ_LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// The socket, for options.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Writes these bytes.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// A GET with an `X-Request-ID`, and its whole response.
    ///
    /// # Errors
    /// When there is no proper response.
    pub fn get(&mut self, target: &str, key: &str) -> Result<Response> {
        self.send(&get(target, key))?;
        self.response(true)
    }

    /// No more bytes will be sent.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn finish_sending(&self) -> Result<()> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// Reads a status line and headers.
    ///
    /// # Errors
    /// When the connection ends before.
    pub fn head(&mut self) -> Result<Response> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if self.fill()? == 0 {
                bail!(
                    "connection closed within a response head: {:?}",
                    String::from_utf8_lossy(&self.buffer)
                );
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        let status = head
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok())
            .with_context(|| format!("no status in {head:?}"))?;
        Ok(Response {
            status,
            head,
            body: Vec::new(),
        })
    }

    /// Reads one response. `has_body`: false for the answer to a HEAD.
    ///
    /// # Errors
    /// When the connection ends before.
    pub fn response(&mut self, has_body: bool) -> Result<Response> {
        let mut response = self.head()?;
        if !has_body || response.status == 204 || response.status == 304 || response.status < 200 {
            return Ok(response);
        }
        if let Some(length) = header(&response.head, "content-length") {
            response.body = self.exactly(length.parse()?)?;
        } else if header(&response.head, "transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
        {
            response.body = self.chunks()?;
        } else {
            while self.fill()? > 0 {}
            response.body = std::mem::take(&mut self.buffer);
        }
        Ok(response)
    }

    /// Waits for the server to close. Whatever comes before is given.
    ///
    /// # Errors
    /// When it stays open for too long.
    pub fn until_closed(&mut self) -> Result<Vec<u8>> {
        loop {
            match self.fill() {
                Ok(0) => return Ok(std::mem::take(&mut self.buffer)),
                Ok(_) => {}
                // A reset is a close too: the server had unread bytes.
                Err(error)
                    if error
                        .downcast_ref::<std::io::Error>()
                        .is_some_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset) =>
                {
                    return Ok(std::mem::take(&mut self.buffer));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn fill(&mut self) -> Result<usize> {
        let mut bytes = [0_u8; 65536];
        let n = self.stream.read(&mut bytes)?;
        self.buffer.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.buffer.len() < length {
            if self.fill()? == 0 {
                bail!("connection closed within a body");
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn line(&mut self) -> Result<String> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line = self.exactly(at + 2)?;
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if self.fill()? == 0 {
                bail!("connection closed within a chunk");
            }
        }
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(self.line()?.trim(), 16)?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.exactly(size)?);
            self.line()?;
        }
    }
}

/// Bytes of a GET with an `X-Request-ID`.
#[must_use]
pub fn get(target: &str, key: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: truth\r\nX-Request-ID: {key}\r\n\r\n").into_bytes()
}

/// A GET on a connection of its own.
///
/// # Errors
/// When there is no proper response.
pub fn get_once(address: SocketAddr, target: &str, key: &str) -> Result<Response> {
    Client::open(address)?.get(target, key)
}

/// Value of a header in a head.
#[must_use]
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Where `needle` begins.
#[must_use]
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}
