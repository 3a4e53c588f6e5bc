//! Maintenance on request.

use super::call::Call;
use super::{Cost, Endpoint, Methods};
use crate::http::answer::Answer;
use crate::http::error::ApiError;

pub(super) static ENDPOINTS: &[Endpoint] =
    &[Endpoint { path: "/api/v1/admin/tsdb/compact", methods: Methods::Change, cost: Cost::Small, run: compact }];

/// Flushes the head and compacts; answers when that is done.
fn compact(call: &Call) -> Result<Answer, ApiError> {
    call.db.flush()?;
    call.db.compact()?;
    Ok(Answer::empty())
}
