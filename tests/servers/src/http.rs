//! The least of an HTTP client: one GET on one connection. Not a load generator.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Everything after the blank line, chunk framing included.
    pub body: String,
}

/// Asks `http://127.0.0.1:port/path` and closes the connection.
///
/// # Errors
/// When it cannot connect, an operation takes longer than `limit`, or the answer is no HTTP.
pub fn get(port: u16, path: &str, limit: Duration) -> Result<Response> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    send(port, request.as_bytes(), limit).with_context(|| format!("GET {path} on port {port}"))
}

/// Sends a whole request, which must ask to close the connection, and reads the answer.
///
/// # Errors
/// As [`get`].
pub fn send(port: u16, request: &[u8], limit: Duration) -> Result<Response> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, limit).context("connect")?;
    stream
        .set_read_timeout(Some(limit))
        .context("limit the read")?;
    stream
        .set_write_timeout(Some(limit))
        .context("limit the write")?;
    stream.write_all(request).context("write the request")?;
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .context("read the response")?;
    parse(&String::from_utf8_lossy(&answer)).context("the answer is no HTTP response")
}

fn parse(answer: &str) -> Option<Response> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut words = head.lines().next()?.split(' ');
    words
        .next()
        .filter(|version| version.starts_with("HTTP/"))?;
    let status = words.next()?.parse().ok()?;
    Some(Response {
        status,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_read() {
        let response = parse("HTTP/1.1 404 Not Found\r\nA: b\r\n\r\ngone").expect("HTTP");
        assert_eq!(
            response,
            Response {
                status: 404,
                body: "gone".to_owned()
            }
        );
    }

    #[test]
    fn anything_else_is_refused() {
        assert_eq!(parse(""), None);
        assert_eq!(parse("HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(parse("SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(parse("HTTP/1.1 abc\r\n\r\n"), None);
    }
}
