//! `GET /federate`: the newest sample of each series that some `match[]` selects, for another Prometheus to scrape.
//!
//! Answers as Prometheus does: text, or protobuf for scrapers that prefer it; errors in plain text.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use tsq::{Labels, TimeRange};
use tsq_ingest::federation::{Escaping, Federation, FederationFormat};

use super::call::{self, Call};
use super::series::{Union, matcher_sets};
use super::{Cost, PATH_FEDERATE};
use crate::app::App;
use crate::columns::Columns;
use crate::http::answer::{accepts_gzip, respond, text};
use crate::http::error::ApiError;

pub(super) async fn federate(State(app): State<Arc<App>>, request: Request) -> Response {
    let Some(db) = app.db().cloned() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
    };
    let gzip = accepts_gzip(request.headers());
    let (format, escaping) = negotiate(request.headers());
    let work = move |call: &Call| {
        let body = newest(call, Federation::new(format, escaping))?;
        Ok(respond(StatusCode::OK, content_type(format, escaping), body, gzip))
    };
    let done: Result<Response, ApiError> =
        call::run(app, db, PATH_FEDERATE, Cost::Reads, request, work).await.and_then(|done| done);
    done.unwrap_or_else(|error| text(error.error_type.status(), error.message + "\n"))
}

/// Reads the series of all `match[]`, each once.
fn newest(call: &Call, mut federation: Federation) -> Result<Vec<u8>, ApiError> {
    let sets = matcher_sets(call, ApiError::bad_data)?;
    let lookback_ms = i64::try_from(call.app.config.engine.lookback.as_millis()).unwrap_or(i64::MAX);
    let now_ms = call.app.now_ms();
    let range = TimeRange::new(now_ms.saturating_sub(lookback_ms), now_ms);
    let snapshot = call.snapshot()?;
    let mut union = Union::new(&snapshot, &sets, range)?;
    let mut columns = Columns::default();
    while let Some(series) = union.next()? {
        columns.read(&series, range)?;
        add_newest(&mut federation, series.labels(), &columns);
        call.check_bytes(federation.bytes())?;
    }
    Ok(federation.finish())
}

/// Adds the newest sample of a series; of a float and a histogram with one time the float.
fn add_newest(federation: &mut Federation, labels: &Labels, columns: &Columns) {
    let (floats, histograms) = (&columns.floats, &columns.histograms);
    match (floats.times.last(), histograms.times.last()) {
        (None, None) => {}
        (Some(&time), other) if other.is_none_or(|&other| other <= time) => {
            federation.float(labels, time, floats.values[floats.len() - 1]);
        }
        (_, other) => {
            let time = *other.expect("without a float there is a histogram");
            federation.histogram(labels, time, &histograms.histograms[histograms.len() - 1]);
        }
    }
}

/// The format that the client likes best of those spoken here: text, unless it asks for protobuf first.
fn negotiate(headers: &HeaderMap) -> (FederationFormat, Escaping) {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let offers = values.flat_map(|value| value.split(',')).filter_map(offer);
    // Of several equally liked the first.
    let best = offers.reduce(|best, next| if next.quality > best.quality { next } else { best });
    best.map_or((FederationFormat::Text, Escaping::ALL[0]), |offer| (offer.format, offer.escaping))
}

struct Offer {
    format: FederationFormat,
    escaping: Escaping,
    quality: f32,
}

/// An item of an Accept header, if it is spoken here.
fn offer(item: &str) -> Option<Offer> {
    let mut parts = item.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
    let parameter = |name: &str| parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let format = match media.as_str() {
        "text/plain" if parameter("version").is_none_or(|version| ["0.0.4", "1.0.0"].contains(&version)) => {
            FederationFormat::Text
        }
        "application/vnd.google.protobuf"
            if parameter("proto") == Some("io.prometheus.client.MetricFamily")
                && parameter("encoding") == Some("delimited") =>
        {
            FederationFormat::Protobuf
        }
        _ => return None,
    };
    let named = |name: &str| Escaping::ALL.into_iter().find(|escaping| escaping.name() == name);
    let escaping = parameter("escaping").and_then(named).unwrap_or(Escaping::ALL[0]);
    let quality = parameter("q").map_or(1.0, |text| text.parse().unwrap_or(0.0));
    (quality > 0.0).then_some(Offer { format, escaping, quality })
}

fn content_type(format: FederationFormat, escaping: Escaping) -> HeaderValue {
    let format = match format {
        FederationFormat::Text => "text/plain; version=0.0.4; charset=utf-8",
        FederationFormat::Protobuf => {
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
        }
    };
    let text = format!("{format}; escaping={}", escaping.name());
    HeaderValue::from_str(&text).expect("the names are plain ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_negotiated() {
        use Escaping::{AllowUtf8, Underscores, Values};
        use FederationFormat::{Protobuf, Text};
        let protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        let with_histograms = format!("{protobuf};q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.1");
        let text_first = format!("{protobuf};q=0.1,text/plain;q=0.5");
        for (accept, want) in [
            ("", (Text, Underscores)),
            ("*/*", (Text, Underscores)),
            ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6", (Text, Underscores)),
            (
                "application/openmetrics-text;q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4",
                (Text, AllowUtf8),
            ),
            ("text/plain; escaping=values", (Text, Values)),
            ("text/plain;version=2;escaping=values", (Text, Underscores)),
            (&with_histograms, (Protobuf, Underscores)),
            (&text_first, (Text, Underscores)),
            ("application/vnd.google.protobuf;proto=other;encoding=delimited", (Text, Underscores)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(negotiate(&headers), want, "{accept}");
        }
        assert_eq!(content_type(Text, AllowUtf8), "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8");
    }
}
