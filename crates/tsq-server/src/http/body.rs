//! Bodies of requests, read within bounds of size, memory and time.

use std::fmt;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::BodyExt;

use crate::app::App;
use crate::work::Lease;

/// Room that is made for a body because its length was announced.
const ANNOUNCED_MAX: usize = 4 << 20;

/// Why a body was not taken.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// It has more bytes than this.
    TooLarge(usize),
    /// All bodies in flight would have more bytes than this.
    Busy(usize),
    /// It did not arrive within this time.
    Late(Duration),
    /// The connection broke, or the body is no HTTP.
    Broken(String),
}

impl BodyError {
    /// The status code of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Late(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(limit) => write!(f, "the body is larger than {limit} bytes"),
            Self::Busy(total) => write!(f, "requests in flight would take more than {total} bytes"),
            Self::Late(patience) => write!(f, "the body did not arrive within {patience:?}"),
            Self::Broken(error) => write!(f, "cannot read the body: {error}"),
        }
    }
}

/// Reads a body of at most `bytes_max` bytes, which `lease` takes from the budget of requests in flight.
pub(crate) async fn read_body(
    app: &App,
    mut body: Body,
    bytes_max: usize,
    lease: &mut Lease,
) -> Result<Vec<u8>, BodyError> {
    let patience = app.config.limits.body_timeout;
    let whole = async {
        let read = read_frames(app, &mut body, bytes_max, lease).await;
        if read.is_err() {
            drain(&mut body, 4 * bytes_max).await;
        }
        read
    };
    tokio::time::timeout(patience, whole).await.unwrap_or(Err(BodyError::Late(patience)))
}

async fn read_frames(app: &App, body: &mut Body, bytes_max: usize, lease: &mut Lease) -> Result<Vec<u8>, BodyError> {
    let announced = body.size_hint().exact().and_then(|len| usize::try_from(len).ok());
    if announced.is_some_and(|len| len > bytes_max) {
        return Err(BodyError::TooLarge(bytes_max));
    }
    let mut read = Vec::with_capacity(announced.unwrap_or(0).min(ANNOUNCED_MAX));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > bytes_max {
            return Err(BodyError::TooLarge(bytes_max));
        }
        if !lease.grow(data.len()) {
            return Err(BodyError::Busy(app.request_bytes.total()));
        }
        read.extend_from_slice(&data);
    }
    Ok(read)
}

/// Reads what is left of a refused body, within reason: most senders look for an answer only after they have sent
/// everything, and would see a broken connection instead.
async fn drain(body: &mut Body, bytes_max: usize) {
    let mut left = bytes_max;
    if body.size_hint().lower() > bytes_max as u64 {
        return;
    }
    while let Some(Ok(frame)) = body.frame().await {
        let len = frame.data_ref().map_or(0, Bytes::len);
        let Some(less) = left.checked_sub(len) else { return };
        left = less;
    }
}
