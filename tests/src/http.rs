//! A client of HTTP/1.1 that is just enough: one connection, kept alive, bodies with a declared length or in chunks.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No request of a test takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Largest answer that is read.
const BODY_MAX: u64 = 1 << 30;

/// A connection to a server; opened when first needed.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text, for messages and text formats.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// A client of the server at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// When the server cannot be reached, goes away before its answer is complete, or answers in a way this client does
    /// not know. Whether the request was carried out is unknown then.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let result = self.exchange(method, target, headers, body);
        let closing = |response: &Response| response.header("connection").is_some_and(|value| value == "close");
        if !matches!(&result, Ok(response) if !closing(response)) {
            self.stream = None;
        }
        result
    }

    /// Sends a GET request.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn get(&mut self, target: &str) -> io::Result<Response> {
        self.request("GET", target, &[], &[])
    }

    /// Sends a form, and reads the JSON of the answer, whatever its status.
    ///
    /// # Errors
    /// Why there is no answer, or none in JSON.
    pub fn form(&mut self, target: &str, fields: &[(&str, &str)]) -> Result<serde_json::Value, String> {
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let response = self.request("POST", target, &headers, fields.join("&").as_bytes());
        let response = response.map_err(|error| format!("POST {target}: {error}"))?;
        serde_json::from_slice(&response.body)
            .map_err(|error| format!("POST {target}: {} {}: {error}", response.status, response.text()))
    }

    /// Sends a remote write 1.0 request, encoded and compressed.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn remote_write(&mut self, body: &[u8]) -> io::Result<Response> {
        let headers = [
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "snappy"),
            ("x-prometheus-remote-write-version", "0.1.0"),
        ];
        self.request("POST", "/api/v1/write", &headers, body)
    }

    /// Sends a remote write 2.0 request, encoded and compressed.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn remote_write_v2(&mut self, body: &[u8]) -> io::Result<Response> {
        let headers = [
            ("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"),
            ("content-encoding", "snappy"),
            ("x-prometheus-remote-write-version", "2.0.0"),
        ];
        self.request("POST", "/api/v1/write", &headers, body)
    }

    /// Evaluates an instant query; the `data` of its answer.
    ///
    /// # Errors
    /// The answer's error, or why there is no answer.
    pub fn query(&mut self, expr: &str, time_s: i64) -> Result<serde_json::Value, String> {
        let fields = [("query", expr), ("time", &time_s.to_string())];
        let mut answer = self.form("/api/v1/query", &fields).map_err(|error| format!("{expr}: {error}"))?;
        if answer["status"] == "success" { Ok(answer["data"].take()) } else { Err(format!("{expr}: {answer}")) }
    }

    fn exchange(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Response> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(BufReader::new(connect(self.address)?)),
        };
        let mut request =
            format!("{method} {target} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n", self.address, body.len());
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        stream.get_mut().write_all(&bytes)?;
        read_response(stream)
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn read_response(stream: &mut BufReader<TcpStream>) -> io::Result<Response> {
    let line = read_line(stream)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| unknown(format!("status line {line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| unknown(format!("header line {line:?}")))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut response = Response { status, headers, body: Vec::new() };
    if response.header("transfer-encoding") == Some("chunked") {
        response.body = read_chunks(stream)?;
        return Ok(response);
    }
    let len = match response.header("content-length") {
        Some(text) => text.parse().map_err(|_| unknown(format!("content length {text:?}")))?,
        None if status == 204 => 0,
        None => return Err(unknown("an answer without content-length".to_owned())),
    };
    read_exactly(stream, len, &mut response.body)?;
    Ok(response)
}

/// A body in chunks; trailers are skipped.
fn read_chunks(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream)?;
        let len = line.split(';').next().and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
        let len = len.ok_or_else(|| unknown(format!("chunk length {line:?}")))?;
        if len == 0 {
            while !read_line(stream)?.is_empty() {}
            return Ok(body);
        }
        read_exactly(stream, len, &mut body)?;
        if !read_line(stream)?.is_empty() {
            return Err(unknown(format!("a chunk longer than its {len} bytes")));
        }
    }
}

/// Appends the next `len` bytes of the stream to a body.
fn read_exactly(stream: &mut BufReader<TcpStream>, len: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let end = body.len() as u64 + len;
    if end > BODY_MAX {
        return Err(unknown(format!("an answer of {end} bytes")));
    }
    stream.take(len).read_to_end(body)?;
    if (body.len() as u64) < end { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.take(16 << 10).read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(whole) => Ok(whole.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn unknown(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}

/// The JSON that a server answers to `GET path?params`, whatever its status.
///
/// # Errors
/// Why there is no answer, or none in JSON.
pub fn json(to: SocketAddr, path: &str, params: &[(&str, &str)]) -> Result<serde_json::Value, String> {
    let query: Vec<String> =
        params.iter().map(|(name, value)| format!("{}={}", percent_encoded(name), percent_encoded(value))).collect();
    let response = Client::new(to).get(&format!("{path}?{}", query.join("&")));
    let response = response.map_err(|error| format!("GET {path} of {to}: {error}"))?;
    serde_json::from_slice(&response.body)
        .map_err(|error| format!("GET {path} of {to}: status {}, {error}: {:.300}", response.status, response.text()))
}

/// The `data` of a successful answer.
///
/// # Errors
/// The answer's error, or why there is no answer.
pub fn data(to: SocketAddr, path: &str, params: &[(&str, &str)]) -> Result<serde_json::Value, String> {
    let mut answer = json(to, path, params)?;
    match answer["status"].as_str() {
        Some("success") => Ok(answer["data"].take()),
        _ => Err(format!("GET {path} {params:?} of {to}: {answer}")),
    }
}
