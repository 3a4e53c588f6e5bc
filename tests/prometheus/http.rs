//! As much of an HTTP client as the tests need: GET, JSON answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longest silence of a server.
const PATIENCE: Duration = Duration::from_secs(20);

/// The status and body of `GET path?params`. HTTP/1.0: the body ends where the connection does.
pub(crate) fn get(to: SocketAddr, path: &str, params: &[(&str, &str)]) -> std::io::Result<(u16, String)> {
    let query: Vec<String> = params.iter().map(|(key, value)| format!("{}={}", escaped(key), escaped(value))).collect();
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path}?{} HTTP/1.0\r\nHost: {to}\r\n\r\n", query.join("&"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) =
        answer.split_once("\r\n\r\n").ok_or_else(|| std::io::Error::other("an answer without a head"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no status in {head:?}")))?;
    Ok((status, body.to_owned()))
}

/// The JSON that a server answers, whatever its status.
pub(crate) fn json(to: SocketAddr, path: &str, params: &[(&str, &str)]) -> Result<Value, String> {
    let (status, body) = get(to, path, params).map_err(|error| format!("GET {path} of {to}: {error}"))?;
    serde_json::from_str(&body).map_err(|error| format!("GET {path} of {to}: status {status}, {error}: {body:.300}"))
}

/// The `data` of a successful answer.
pub(crate) fn data(to: SocketAddr, path: &str, params: &[(&str, &str)]) -> Result<Value, String> {
    let mut answer = json(to, path, params)?;
    match answer["status"].as_str() {
        Some("success") => Ok(answer["data"].take()),
        _ => Err(format!("GET {path} {params:?} of {to}: {answer}")),
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
