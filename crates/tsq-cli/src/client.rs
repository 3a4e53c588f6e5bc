//! A small HTTP client: one request, one answer, no TLS.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tsq::promql::CancelFlag;

use crate::failure::{Exit, Failure, Result};

/// Longest wait for an answer. Servers stop queries after 30 s by default; this is for those that do not.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(300);

/// Largest answer that is read.
const ANSWER_BYTES: usize = 1 << 30;

/// How often a request that waits looks whether it is still wanted.
const CANCEL_CHECK: Duration = Duration::from_millis(20);

/// A request.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub url: &'a str,
    /// Sent as the body of a POST; without it the request is a GET.
    pub form: Option<&'a [(&'a str, String)]>,
    pub timeout: Duration,
    /// Set to give up: the connection is closed, which stops a query in the server as well.
    pub cancel: CancelFlag,
}

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
    Request { url, form: Some(form), timeout: TIMEOUT, cancel: CancelFlag::default() }.send()
}

impl Request<'_> {
    /// Sends it and waits for the whole answer.
    pub(crate) fn send(&self) -> Result<Answer> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("cannot start the HTTP client: {error}")))?;
        let (url, seconds) = (self.url, self.timeout.as_secs());
        let late = || Failure::failed(format!("{url} did not answer within {seconds} s"));
        let canceled = || Failure::Message(Exit::Query, "query was canceled".into());
        runtime.block_on(async {
            tokio::select! {
                answer = tokio::time::timeout(self.timeout, self.exchange()) => answer.map_err(|_| late())?,
                () = until_canceled(&self.cancel) => Err(canceled()),
            }
        })
    }

    async fn exchange(&self) -> Result<Answer> {
        let url = self.url;
        if url.starts_with("https://") {
            return Err(Failure::usage("tsq speaks plain http to servers; an https address needs a proxy in front"));
        }
        let request = self
            .http()
            .map_err(|error| Failure::usage(format!("--url {url}: {error}; write http://127.0.0.1:9090")))?;
        if request.uri().scheme_str() != Some("http") {
            return Err(Failure::usage(format!("--url {url} is no http address; write http://127.0.0.1:9090")));
        }
        let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let failed =
            |error: &dyn std::error::Error| Failure::failed(format!("cannot reach {url}: {}", innermost(error)));
        let response = client.request(request).await.map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
        Ok(Answer { status, body: body.map_err(|error| failed(error.as_ref()))?.to_bytes() })
    }

    fn http(&self) -> http::Result<http::Request<Full<Bytes>>> {
        let builder =
            http::Request::builder().uri(self.url).header("user-agent", concat!("tsq/", env!("CARGO_PKG_VERSION")));
        match self.form {
            None => builder.body(Full::default()),
            Some(form) => builder
                .method(http::Method::POST)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Full::new(Bytes::from(encoded(form)))),
        }
    }
}

async fn until_canceled(cancel: &CancelFlag) {
    while !cancel.is_canceled() {
        tokio::time::sleep(CANCEL_CHECK).await;
    }
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

/// Pairs as a form or a query string has them.
pub(crate) fn encoded(pairs: &[(&str, String)]) -> String {
    let pair = |(name, value): &(&str, String)| format!("{}={}", percent_encoded(name), percent_encoded(value));
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

pub(crate) fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 2);
    for &byte in text.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
