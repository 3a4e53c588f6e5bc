//! From a request to a blocking handler and back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use http_body_util::{BodyExt, Limited};
use tsq::promql::CancelFlag;
use tsq::{Db, Snapshot};
use tsq_runs::{AxisName, RunSource, Runs};

use super::{Cost, Endpoint, Methods};
use crate::app::App;
use crate::http::answer::{Answer, accepts_gzip, api_response, text};
use crate::http::error::{ApiError, ErrorType};
use crate::http::params::{self, Params};
use crate::work::CancelOnDrop;

/// What a handler is given.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) db: Db,
    pub(crate) params: Params,
    /// The segment that stands for `{name}` in the endpoint's path, decoded.
    pub(crate) segment: Option<Vec<u8>>,
    /// Set when the client is gone.
    pub(crate) cancel: CancelFlag,
    /// How long it waited for its turn.
    pub(crate) queued: Duration,
    /// When it has to be done.
    pub(crate) deadline: Instant,
}

impl Call {
    /// What is stored now.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, ApiError> {
        Ok(self.db.snapshot()?)
    }

    /// What is stored now, with the labels and on the axis of runs.
    pub(crate) fn source(&self) -> Result<RunSource, ApiError> {
        let axis = match self.params.get("axis") {
            None => AxisName::default(),
            Some(name) => AxisName::parse(name).ok_or_else(|| {
                let names = AxisName::ALL.map(AxisName::name).join(", ");
                ApiError::parameter("axis", format!("{name:?} is none of {names}"))
            })?,
        };
        let lookback = self.params.lookback()?.unwrap_or(self.app.config.engine.lookback);
        let lookback_ms = i64::try_from(lookback.as_millis()).unwrap_or(i64::MAX);
        Ok(self.runs().source(axis, lookback_ms)?)
    }

    /// The runs of the database.
    pub(crate) fn runs(&self) -> &Runs {
        self.app.runs().expect("the runs are open before the database is served")
    }

    /// Fails once the client is gone, the time is up or `answer` is too large. Called between steps of long work.
    pub(crate) fn check(&self, answer: &Answer) -> Result<(), ApiError> {
        self.check_bytes(answer.data.len())
    }

    /// As [`Call::check`], for an answer of this many bytes.
    pub(crate) fn check_bytes(&self, bytes: usize) -> Result<(), ApiError> {
        let bytes_max = self.app.config.limits.answer_bytes;
        if self.cancel.is_canceled() {
            return Err(ApiError::new(ErrorType::Canceled, "the client closed the connection"));
        }
        if Instant::now() > self.deadline {
            return Err(ApiError::new(ErrorType::Timeout, "the request took longer than its timeout"));
        }
        if bytes > bytes_max {
            let message =
                format!("the answer is larger than {bytes_max} bytes: narrow match[], start and end, or set limit");
            return Err(ApiError::new(ErrorType::Execution, message));
        }
        Ok(())
    }
}

/// Serves a request by an endpoint's handler, off the sockets' threads.
pub(crate) async fn serve(app: Arc<App>, endpoint: &'static Endpoint, request: Request) -> Response {
    let gzip = accepts_gzip(request.headers());
    let Some(db) = app.db().cloned() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
    };
    if endpoint.methods == Methods::Change
        && let Err(error) = refuse_foreign_pages(request.headers())
    {
        return api_response(Err(error), gzip);
    }
    let answer = move |call: &Call| api_response((endpoint.run)(call), gzip);
    run(app, db, endpoint.path, endpoint.cost, request, answer)
        .await
        .unwrap_or_else(|error| api_response(Err(error), gzip))
}

/// Does blocking work for a request once it is its turn. A client that leaves cancels it.
pub(crate) async fn run<T: Send + 'static>(
    app: Arc<App>,
    db: Db,
    path: &'static str,
    cost: Cost,
    request: Request,
    work: impl FnOnce(&Call) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let segment = path_segment(path, request.uri().path())?;
    let params = read_params(&app, request).await?;
    let (arrived, timeout) = (Instant::now(), app.config.engine.timeout);
    let timeout = params.timeout()?.map_or(timeout, |asked| asked.min(timeout));
    let deadline = arrived + timeout;
    let permit = match cost {
        Cost::Small => None,
        Cost::Reads => Some(app.queries.enter(deadline).await.inspect_err(|error| app.metrics.query_failed(error))?),
        Cost::Maintenance => Some(app.maintenance.enter(arrived + app.config.limits.turn_wait).await?),
    };
    let cancel = CancelOnDrop(CancelFlag::default());
    let queued = arrived.elapsed();
    let call = Call { app: app.clone(), db, params, segment, cancel: cancel.0.clone(), queued, deadline };
    let work = move || {
        let _permit = permit;
        work(&call)
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| not_finished(&app, path, &error))
}

/// A handler that panicked or was never started.
pub(crate) fn not_finished(app: &App, path: &str, error: &tokio::task::JoinError) -> ApiError {
    if error.is_cancelled() {
        return ApiError::new(ErrorType::Unavailable, "the server is stopping");
    }
    app.metrics.panics.add(1);
    tracing::error!("{path}: a bug in tsq: {error}");
    ApiError::new(ErrorType::Internal, "a bug in tsq ended this request; the log says more")
}

/// Browsers send requests that change something from any page to any address they reach, and name the page's origin.
pub(crate) fn refuse_foreign_pages(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(origin) = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()) else { return Ok(()) };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if origin.split_once("://").is_some_and(|(_, origin_host)| origin_host.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    Err(ApiError::new(ErrorType::Forbidden, format!("pages of {origin} may not change anything here")))
}

/// The decoded segment of `path` at the place of `{name}` in `pattern`, if there is one.
fn path_segment(pattern: &str, path: &str) -> Result<Option<Vec<u8>>, ApiError> {
    let mut pairs = pattern.split('/').zip(path.split('/'));
    let segment = pairs.find(|(wanted, _)| wanted.starts_with('{')).map(|(_, segment)| segment);
    segment.map(|segment| params::decode(segment.as_bytes(), false).map_err(ApiError::bad_data)).transpose()
}

async fn read_params(app: &App, request: Request) -> Result<Params, ApiError> {
    let mut params = Params::default();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let media = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_form =
        media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded");
    if [Method::POST, Method::PUT].contains(request.method()) && is_form {
        params.parse(&read_form(app, request).await?);
    }
    params.parse(query.as_bytes());
    Ok(params)
}

async fn read_form(app: &App, request: Request) -> Result<bytes::Bytes, ApiError> {
    let limits = &app.config.limits;
    let body = Limited::new(request.into_body(), limits.form_bytes).collect();
    let Ok(read) = tokio::time::timeout(limits.body_timeout, body).await else {
        return Err(ApiError::bad_data(format!("the form did not arrive within {:?}", limits.body_timeout)));
    };
    match read {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(ApiError::bad_data(format!("the form is larger than {} bytes", limits.form_bytes)))
        }
        Err(error) => Err(ApiError::bad_data(format!("cannot read the form: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments() {
        let pattern = "/api/v1/label/{name}/values";
        assert_eq!(path_segment(pattern, "/api/v1/label/a%2Fb+c/values").unwrap().unwrap(), b"a/b+c");
        assert_eq!(path_segment("/api/v1/labels", "/api/v1/labels").unwrap(), None);
        assert!(path_segment(pattern, "/api/v1/label/%zz/values").is_err());
    }

    #[test]
    fn pages_of_other_origins_change_nothing() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
        };
        assert!(refuse_foreign_pages(&headers(&[("host", "127.0.0.1:9090")])).is_ok());
        assert!(refuse_foreign_pages(&headers(&[("host", "a:1"), ("origin", "http://a:1")])).is_ok());
        for origin in ["http://evil.example", "null", "http://a:2"] {
            assert!(refuse_foreign_pages(&headers(&[("host", "a:1"), ("origin", origin)])).is_err(), "{origin}");
        }
    }
}
