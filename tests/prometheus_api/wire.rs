//! Requests byte by byte, as no client library would send them, and answers as they came.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest silence of a server.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in lower case, in the order of the answer.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// All values of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends bytes on a connection of their own and reads what comes back until the connection ends.
pub(crate) fn exchange(to: SocketAddr, request: &[u8]) -> Result<Reply, String> {
    let io = |error: std::io::Error| format!("{to}: {error}");
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).map_err(io)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(io)?;
    stream.write_all(request).map_err(io)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(io)?;
    parse(&bytes).ok_or_else(|| format!("{to}: no answer of HTTP: {:?}", String::from_utf8_lossy(&bytes)))
}

fn parse(bytes: &[u8]) -> Option<Reply> {
    let head_len = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..head_len]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers = lines.map(header).collect::<Option<_>>()?;
    let mut reply = Reply { status, headers, body: bytes[head_len + 4..].to_vec() };
    if reply.header("transfer-encoding") == ["chunked"] {
        reply.body = unchunked(&reply.body)?;
    }
    if reply.header("content-encoding") == ["gzip"] && !reply.body.is_empty() {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(reply.body.as_slice()).read_to_end(&mut plain).ok()?;
        reply.body = plain;
    }
    Some(reply)
}

fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_len = rest.windows(2).position(|two| two == b"\r\n")?;
        let len = usize::from_str_radix(std::str::from_utf8(&rest[..line_len]).ok()?, 16).ok()?;
        rest = &rest[line_len + 2..];
        if len == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..len)?);
        rest = rest.get(len + 2..)?;
    }
}

#[test]
fn answers_are_read() {
    let plain = b"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nallow: PUT\r\n\r\nno";
    let reply = parse(plain).expect("an answer");
    assert_eq!((reply.status, reply.header("allow"), reply.text()), (405, vec!["GET", "PUT"], "no".to_owned()));
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\na\r\n0123456789\r\n0\r\n\r\n";
    assert_eq!(parse(chunked).expect("an answer").text(), "ab0123456789");
    assert_eq!(parse(b"HTTP/1.1 200 OK\r\n"), None);
}
