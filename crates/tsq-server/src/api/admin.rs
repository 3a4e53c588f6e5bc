//! Maintenance on request.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use tsq::promql::parse_any_selector;

use super::call::Call;
use super::series::time_range;
use super::{Cost, Endpoint, Methods};
use crate::http::answer::Answer;
use crate::http::error::ApiError;
use crate::http::time::{format_rfc3339, parse_bool};

pub(super) static ENDPOINTS: &[Endpoint] = &[
    change("/api/v1/admin/tsdb/compact", Cost::Maintenance, compact),
    change("/api/v1/admin/tsdb/snapshot", Cost::Maintenance, backup),
    change("/api/v1/admin/tsdb/delete_series", Cost::Reads, delete_series),
    change("/api/v1/admin/tsdb/clean_tombstones", Cost::Maintenance, clean_tombstones),
];

const fn change(path: &'static str, cost: Cost, run: fn(&Call) -> Result<Answer, ApiError>) -> Endpoint {
    Endpoint { path, methods: Methods::Change, cost, run }
}

/// Deletes what is stored of all series that any `match[]` selects, from `start` to `end`; answers when that is durable.
fn delete_series(call: &Call) -> Result<Answer, ApiError> {
    call.params.check_form()?;
    if call.params.query_texts("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let range = time_range(call)?;
    let parse =
        |text: Result<&str, ApiError>| parse_any_selector(text?).map_err(|error| ApiError::parameter("match[]", error));
    let sets: Vec<_> = call.params.query_texts("match[]").map(parse).collect::<Result<_, _>>()?;
    // As in Prometheus, a range that ends before it begins holds nothing, and is no error.
    if range.min_ms <= range.max_ms {
        for matchers in &sets {
            call.runs().delete_samples(matchers, range)?;
        }
    }
    Ok(Answer::empty())
}

/// Rewrites the blocks that hold deleted samples; answers when their bytes are gone.
fn clean_tombstones(call: &Call) -> Result<Answer, ApiError> {
    call.db.clean_tombstones()?;
    Ok(Answer::empty())
}

/// Flushes the head and compacts; answers when that is done.
fn compact(call: &Call) -> Result<Answer, ApiError> {
    call.db.compact()?;
    Ok(Answer::empty())
}

/// Makes a copy in `snapshots/NAME` of the data directory; answers when it is complete. It always holds everything.
fn backup(call: &Call) -> Result<Answer, ApiError> {
    let skip_head = call.params.get("skip_head").map_or(Ok(false), parse_bool);
    let failure = |error| ApiError::parameter("skip_head", format!("unable to parse boolean: {error}"));
    if skip_head.map_err(failure)? {
        return Err(ApiError::parameter("skip_head", "a snapshot always holds everything"));
    }
    let number = call.app.backups.fetch_add(1, Ordering::Relaxed);
    let time = format_rfc3339(call.app.now_ms()).replace(['-', ':', '.'], "");
    let name = format!("{time}-{number}");
    call.runs().backup(&call.db.path().join("snapshots").join(&name))?;
    let mut answer = Answer::new();
    answer.serialize(&BTreeMap::from([("name", name)]));
    Ok(answer)
}
