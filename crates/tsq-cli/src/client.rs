//! A small HTTP client: one request, one answer, no TLS.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::failure::{Failure, Result};

/// Longest wait for an answer. Servers stop queries after 30 s by default; this is for those that do not.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Largest answer that is read.
const ANSWER_BYTES: usize = 1 << 30;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Status code.
    pub status: u16,
    /// All of it.
    pub body: Bytes,
}

/// Sends a form.
pub(crate) fn post_form(url: &str, form: &[(&str, String)]) -> Result<Answer> {
    let body: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the HTTP client: {error}")))?;
    let exchange = async { tokio::time::timeout(TIMEOUT, exchange(url, body.join("&"))).await };
    let late = || Failure::failed(format!("{url} did not answer within {} s", TIMEOUT.as_secs()));
    runtime.block_on(exchange).map_err(|_| late())?
}

async fn exchange(url: &str, body: String) -> Result<Answer> {
    if url.starts_with("https://") {
        return Err(Failure::usage("tsq speaks plain http to servers; an https address needs a proxy in front"));
    }
    let request = http::Request::post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("user-agent", concat!("tsq/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| Failure::usage(format!("--url {url}: {error}; write http://127.0.0.1:9090")))?;
    if request.uri().scheme_str() != Some("http") {
        return Err(Failure::usage(format!("--url {url} is no http address; write http://127.0.0.1:9090")));
    }
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let failed = |error: &dyn std::error::Error| Failure::failed(format!("cannot reach {url}: {}", innermost(error)));
    let response = client.request(request).await.map_err(|error| failed(&error))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
    Ok(Answer { status, body: body.map_err(|error| failed(error.as_ref()))?.to_bytes() })
}

/// A time as the API takes it.
pub(crate) fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000)
}

/// The cause at the bottom: what the operating system said.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 2);
    for &byte in text.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
