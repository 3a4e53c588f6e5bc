//! `query_exemplars`.

use std::collections::BTreeMap;

use tsq::promql::ast;
use tsq::{Exemplar, Labels, Matcher, Source};

use super::call::Call;
use super::format::parsed;
use super::series::time_range;
use super::{Cost, Endpoint, Methods};
use crate::http::answer::Answer;
use crate::http::error::ApiError;
use crate::http::json;

pub(super) static ENDPOINTS: &[Endpoint] =
    &[Endpoint { path: "/api/v1/query_exemplars", methods: Methods::GetPost, cost: Cost::Reads, run: exemplars }];

/// Exemplars of the series that any selector of a whole query selects.
fn exemplars(call: &Call) -> Result<Answer, ApiError> {
    let range = time_range(call)?;
    if range.max_ms < range.min_ms {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let expr = parsed(call, ApiError::bad_data)?;
    let mut any = false;
    selectors(&expr, &mut |_| any = true);
    if !any {
        // Prometheus has nothing to say about a query that selects nothing.
        return Ok(Answer::empty());
    }
    let source = call.source()?;
    let mut found: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
    let mut failed = None;
    selectors(&expr, &mut |matchers| match source.exemplars(matchers, range) {
        Ok(series) => found.extend(series),
        Err(error) => failed = Some(error),
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    let mut answer = Answer::new();
    json::list(&mut answer.data, &found, |out, (labels, exemplars)| {
        out.extend_from_slice(b"{\"seriesLabels\":");
        json::labels(out, labels);
        out.extend_from_slice(b",\"exemplars\":");
        json::list(out, exemplars, json::exemplar);
        out.push(b'}');
    });
    call.check(&answer)?;
    Ok(answer)
}

/// Calls `visit` with the matchers of every selector. The parser bounds the depth.
fn selectors(expr: &ast::Expr, visit: &mut impl FnMut(&[Matcher])) {
    match &expr.node {
        ast::Node::Number { .. } | ast::Node::String(_) | ast::Node::Context(_) => {}
        ast::Node::Selector(selector) | ast::Node::Matrix { selector, .. } => visit(&selector.matchers),
        ast::Node::Subquery(subquery) => selectors(&subquery.expr, visit),
        ast::Node::Unary { expr, .. } | ast::Node::Paren(expr) => selectors(expr, visit),
        ast::Node::Binary(binary) => {
            selectors(&binary.left, visit);
            selectors(&binary.right, visit);
        }
        ast::Node::Aggregate(aggregate) => {
            selectors(&aggregate.expr, visit);
            if let Some(param) = &aggregate.param {
                selectors(param, visit);
            }
        }
        ast::Node::Call { args, .. } => args.iter().for_each(|arg| selectors(arg, visit)),
    }
}
