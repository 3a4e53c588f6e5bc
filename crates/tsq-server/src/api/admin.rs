//! Maintenance on request.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::call::Call;
use super::{Cost, Endpoint, Methods};
use crate::http::answer::Answer;
use crate::http::error::ApiError;
use crate::http::time::{format_rfc3339, parse_bool};

pub(super) static ENDPOINTS: &[Endpoint] =
    &[change("/api/v1/admin/tsdb/compact", compact), change("/api/v1/admin/tsdb/snapshot", backup)];

const fn change(path: &'static str, run: fn(&Call) -> Result<Answer, ApiError>) -> Endpoint {
    Endpoint { path, methods: Methods::Change, cost: Cost::Maintenance, run }
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
    call.db.backup(call.db.path().join("snapshots").join(&name))?;
    let mut answer = Answer::new();
    answer.serialize(&BTreeMap::from([("name", name)]));
    Ok(answer)
}
