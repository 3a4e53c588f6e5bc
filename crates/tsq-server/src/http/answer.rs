//! Answers of `/api/v1`: the envelope, and the response it becomes.

use std::io::Write as _;

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::http::error::{ApiError, ErrorType};
use crate::http::json;

/// Answers shorter than this are not worth compressing: they fit into one packet.
const GZIP_MIN: usize = 1400;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A successful answer under construction. What is written to `data` is the value of the key `data`.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The envelope so far: it is opened, and a handler appends exactly one JSON value.
    pub(crate) data: Vec<u8>,
    pub(crate) warnings: Vec<String>,
    pub(crate) infos: Vec<String>,
}

impl Answer {
    pub(crate) fn new() -> Self {
        let data = br#"{"status":"success","data":"#.to_vec();
        Self { data, warnings: Vec::new(), infos: Vec::new() }
    }

    /// An answer without content: 204.
    pub(crate) fn empty() -> Self {
        Self { data: Vec::new(), warnings: Vec::new(), infos: Vec::new() }
    }

    /// Writes small, fixed shapes: fields in the order of their declaration.
    pub(crate) fn serialize(&mut self, value: &impl serde::Serialize) {
        let start = self.data.len();
        serde_json::to_writer(&mut self.data, value).expect("plain structs become JSON, and memory takes it");
        json::escape_html(&mut self.data, start);
    }

    /// Says that `limit` cut something off.
    pub(crate) fn truncated(&mut self) {
        self.warnings.push("results truncated due to limit".to_owned());
    }

    /// The finished JSON.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        for (name, texts) in [("warnings", &self.warnings), ("infos", &self.infos)] {
            if !texts.is_empty() {
                self.data.push(b',');
                json::string(&mut self.data, name);
                self.data.push(b':');
                json::strings(&mut self.data, texts);
            }
        }
        self.data.push(b'}');
        self.data
    }
}

/// The JSON of a failure.
fn error_json(error: &ApiError) -> Vec<u8> {
    let mut out = br#"{"status":"error","errorType":"#.to_vec();
    json::string(&mut out, error.error_type.name());
    out.extend_from_slice(b",\"error\":");
    json::html_string(&mut out, &error.message);
    out.push(b'}');
    out
}

/// Whether the client takes gzip.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(axum::http::header::ACCEPT_ENCODING);
    let mut codings = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = quality.trim().strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q == 0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// A response with a whole body, compressed if that is asked for and worth it. May take long for large bodies.
pub(crate) fn respond(status: StatusCode, content_type: HeaderValue, body: Vec<u8>, gzip: bool) -> Response {
    let compress = gzip && body.len() >= GZIP_MIN;
    let mut response = plain(status, content_type, if compress { gzipped(&body) } else { body });
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if compress {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn plain(status: StatusCode, content_type: HeaderValue, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    // Level 1: JSON of numbers shrinks nearly as much as with 6, at a third of the time.
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 6), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}

/// The response to a request of `/api/v1`.
pub(crate) fn api_response(result: Result<Answer, ApiError>, gzip: bool) -> Response {
    match result {
        Ok(answer) if answer.data.is_empty() => {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Ok(answer) => respond(StatusCode::OK, JSON, answer.finish(), gzip),
        Err(error) => {
            let mut response = respond(error.error_type.status(), JSON, error_json(&error), gzip);
            if error.error_type == ErrorType::Unavailable {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            response
        }
    }
}

/// A plain-text response.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Response {
    plain(status, HeaderValue::from_static("text/plain; charset=utf-8"), text.into().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope() {
        let mut answer = Answer::new();
        answer.data.extend_from_slice(b"[]");
        assert_eq!(answer.finish(), br#"{"status":"success","data":[]}"#);
        let mut answer = Answer::new();
        answer.data.extend_from_slice(b"{}");
        answer.truncated();
        answer.infos.push("i".to_owned());
        let want = r#"{"status":"success","data":{},"warnings":["results truncated due to limit"],"infos":["i"]}"#;
        assert_eq!(String::from_utf8(answer.finish()).unwrap(), want);
        let error = ApiError::parameter("query", "1:5: parse error: \"x\"");
        let want = r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:5: parse error: \"x\""}"#;
        assert_eq!(String::from_utf8(error_json(&error)).unwrap(), want);
    }

    #[test]
    fn gzip_is_used_when_asked_for() {
        for (value, want) in
            [("gzip", true), ("deflate, GZIP;q=0.5", true), ("gzip;q=0", false), ("br", false), ("identity", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert("accept-encoding", HeaderValue::from_static(value));
            assert_eq!(accepts_gzip(&headers), want, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
        let response = respond(StatusCode::OK, JSON, vec![b'a'; 5000], true);
        assert_eq!(response.headers()["content-encoding"], "gzip");
        assert!(!respond(StatusCode::OK, JSON, vec![b'a'; 50], true).headers().contains_key("content-encoding"));
    }
}
