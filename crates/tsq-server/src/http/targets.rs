//! Requests whose target holds characters that should be percent-encoded and that every other server takes:
//! `GET /api/v1/series?match[]=up{job="api"}`, as `curl -g` sends it.
//!
//! The HTTP library below refuses them. This stream encodes them while they are read; everything else passes through
//! as it is, and a connection whose requests cannot be told apart with certainty passes through from then on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a header line that are looked at: enough for those that say how a body is delimited.
const LINE_MAX: usize = 64;

/// A connection that encodes what must be encoded in the targets of its requests.
#[derive(Debug)]
pub(crate) struct EncodedTargets<S> {
    stream: S,
    encoder: Encoder,
    /// Encoded bytes that did not fit where they were asked for.
    pending: Vec<u8>,
}

impl<S> EncodedTargets<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, encoder: Encoder::new(), pending: Vec::new() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for EncodedTargets<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.pending.is_empty() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(context, buf))?;
            match this.encoder.encode(&buf.filled()[before..]) {
                Some(encoded) => this.pending = encoded,
                None => return Poll::Ready(Ok(())),
            }
            buf.set_filled(before);
        }
        let len = this.pending.len().min(buf.remaining());
        buf.put_slice(&this.pending[..len]);
        this.pending.drain(..len);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for EncodedTargets<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Follows the requests of one connection.
#[derive(Debug)]
struct Encoder {
    place: Place,
    /// The beginning of the current line of a request's head.
    line: Vec<u8>,
    /// Bytes of the body that follows the head.
    body_len: u64,
}

/// Where in a request the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In its first line.
    First,
    Headers,
    Body(u64),
    /// Not in a request of a kind that is known here.
    Unknown,
}

impl Encoder {
    fn new() -> Self {
        Self { place: Place::First, line: Vec::with_capacity(LINE_MAX), body_len: 0 }
    }

    /// The bytes with targets encoded; `None` when they stay as they are.
    fn encode(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut encoded: Option<Vec<u8>> = None;
        let mut at = 0;
        while at < bytes.len() {
            match self.place {
                Place::Unknown => break,
                Place::Body(left) => {
                    let skipped = left.min((bytes.len() - at) as u64);
                    at += skipped as usize;
                    self.place = if left == skipped { Place::First } else { Place::Body(left - skipped) };
                    if let Some(out) = &mut encoded {
                        out.extend_from_slice(&bytes[at - skipped as usize..at]);
                    }
                }
                Place::First | Place::Headers => {
                    let byte = bytes[at];
                    if self.place == Place::First && is_special(byte) {
                        let out = encoded.get_or_insert_with(|| bytes[..at].to_vec());
                        out.extend_from_slice(format!("%{byte:02X}").as_bytes());
                    } else if let Some(out) = &mut encoded {
                        out.push(byte);
                    }
                    self.head_byte(byte);
                    at += 1;
                }
            }
        }
        if let Some(out) = &mut encoded {
            out.extend_from_slice(&bytes[at..]);
        }
        encoded
    }

    fn head_byte(&mut self, byte: u8) {
        if byte != b'\n' {
            if self.line.len() < LINE_MAX {
                self.line.push(byte);
            }
            return;
        }
        let line = self.line.trim_ascii_end();
        self.place = match self.place {
            // Line ends before a request are allowed.
            Place::First if line.is_empty() => Place::First,
            // The preface of HTTP/2.
            Place::First if line.starts_with(b"PRI ") => Place::Unknown,
            Place::First => {
                self.body_len = 0;
                Place::Headers
            }
            _ if line.is_empty() && self.body_len == 0 => Place::First,
            _ if line.is_empty() => Place::Body(self.body_len),
            _ => match body_len(line) {
                Some(Ok(len)) => {
                    self.body_len = len;
                    Place::Headers
                }
                Some(Err(())) => Place::Unknown,
                None => Place::Headers,
            },
        };
        self.line.clear();
    }
}

/// What may not stand in a target.
fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | 0x7f..)
}

/// The length of the body if this header says it; an error where it is delimited in another way.
fn body_len(line: &[u8]) -> Option<Result<u64, ()>> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii());
    match name.as_slice() {
        b"content-length" => {
            let text = std::str::from_utf8(value).ok().filter(|text| line.len() < LINE_MAX && !text.starts_with('+'));
            Some(text.and_then(|text| text.parse().ok()).ok_or(()))
        }
        b"transfer-encoding" | b"upgrade" => Some(Err(())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What comes out when the bytes arrive in pieces of `size`.
    fn encoded(bytes: &[u8], size: usize) -> String {
        let mut encoder = Encoder::new();
        let mut out = Vec::new();
        for piece in bytes.chunks(size) {
            out.extend(encoder.encode(piece).unwrap_or_else(|| piece.to_vec()));
        }
        out.iter().map(|&byte| char::from(byte)).collect()
    }

    #[test]
    fn targets_are_encoded_and_nothing_else() {
        let first = b"\r\nGET /a?m=\"<\xc3>\" HTTP/1.1\r\nX: \"<\xc3>\"\r\n\r\n".as_slice();
        let second = b"POST /b HTTP/1.1\r\nCONTENT-length:  7 \r\n\r\n\"<\n\r\n\">".as_slice();
        let third = b"GET /\" HTTP/1.0\nA:b\n\n".as_slice();
        let want = "\r\nGET /a?m=%22%3C%C3%3E%22 HTTP/1.1\r\nX: \"<\u{c3}>\"\r\n\r\n\
                    POST /b HTTP/1.1\r\nCONTENT-length:  7 \r\n\r\n\"<\n\r\n\">GET /%22 HTTP/1.0\nA:b\n\n";
        for size in 1..80 {
            assert_eq!(encoded(&[first, second, third].concat(), size), want, "pieces of {size}");
        }
    }

    #[test]
    fn what_is_not_understood_passes() {
        for head in [
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
        ] {
            let text = format!("{head}GET /\"<>\" HTTP/1.1\r\n\r\n");
            assert_eq!(encoded(text.as_bytes(), 7), text);
        }
    }

    #[tokio::test]
    async fn small_reads_get_everything() {
        let (mut client, server) = tokio::io::duplex(1024);
        client.write_all(b"GET /\"\"\"\" HTTP/1.1\r\n\r\n").await.unwrap();
        drop(client);
        let mut server = EncodedTargets::new(server);
        let mut out = Vec::new();
        let mut three = [0; 3];
        loop {
            match server.read(&mut three).await.unwrap() {
                0 => break,
                len => out.extend_from_slice(&three[..len]),
            }
        }
        assert_eq!(out, b"GET /%22%22%22%22 HTTP/1.1\r\n\r\n");
    }
}
