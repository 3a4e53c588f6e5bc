//! `series`, `labels`, `label/<name>/values`, `metadata`.

use std::collections::{BTreeSet, VecDeque};

use tsq::promql::parse_selector;
use tsq::{Matcher, Metadata, Series, SeriesStream, Source, TimeRange};

use super::call::Call;
use super::{Cost, Endpoint, Methods};
use crate::http::answer::Answer;
use crate::http::error::ApiError;
use crate::http::json;
use crate::http::names;
use crate::http::time::parse_int;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint { path: "/api/v1/series", methods: Methods::GetPost, cost: Cost::Reads, run: series },
    Endpoint { path: "/api/v1/labels", methods: Methods::GetPost, cost: Cost::Reads, run: labels },
    Endpoint { path: "/api/v1/label/{name}/values", methods: Methods::Get, cost: Cost::Reads, run: label_values },
    Endpoint { path: "/api/v1/metadata", methods: Methods::Get, cost: Cost::Reads, run: metadata },
];

/// Series that are read from a selection at once.
const BATCH: usize = 256;

/// The range of `start` and `end`, everything by default.
pub(super) fn time_range(call: &Call) -> Result<TimeRange, ApiError> {
    let min_ms = call.params.time_or("start", TimeRange::ALL.min_ms)?;
    let max_ms = call.params.time_or("end", TimeRange::ALL.max_ms)?;
    Ok(TimeRange::new(min_ms, max_ms))
}

/// The matchers of each `match[]`; `failure` makes an error of what is wrong with one.
pub(super) fn matcher_sets(call: &Call, failure: impl Fn(String) -> ApiError) -> Result<Vec<Vec<Matcher>>, ApiError> {
    let parse = |text: Result<&str, ApiError>| parse_selector(text?).map_err(|error| failure(error.to_string()));
    call.params.query_texts("match[]").map(parse).collect()
}

fn series(call: &Call) -> Result<Answer, ApiError> {
    call.params.check_form()?;
    if call.params.query_texts("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let limit = call.params.limit("limit")?.unwrap_or(usize::MAX);
    let bad_selector = |message| ApiError::parameter("match[]", message);
    let (range, sets) = (time_range(call)?, matcher_sets(call, bad_selector)?);
    let source = call.source()?;
    let mut union = Union::new(&source, &sets, range)?;
    let mut answer = Answer::new();
    answer.data.push(b'[');
    let mut count = 0;
    while let Some(series) = union.next()? {
        if count == limit {
            answer.truncated();
            break;
        }
        if count > 0 {
            answer.data.push(b',');
        }
        json::labels(&mut answer.data, series.labels());
        count += 1;
        if count % BATCH == 0 {
            call.check(&answer)?;
        }
    }
    answer.data.push(b']');
    Ok(answer)
}

/// Series of several selections: in label order, each label set once.
pub(super) struct Union<'a>(Vec<Selection<'a>>);

struct Selection<'a> {
    stream: Box<dyn SeriesStream + 'a>,
    ready: VecDeque<Series>,
}

impl<'a> Union<'a> {
    pub(super) fn new(source: &'a dyn Source, sets: &[Vec<Matcher>], range: TimeRange) -> Result<Self, ApiError> {
        let select = |matchers: &Vec<Matcher>| {
            let stream = source.select(matchers, range)?;
            Ok(Selection { stream, ready: VecDeque::new() })
        };
        Ok(Self(sets.iter().map(select).collect::<tsq::Result<_>>()?))
    }

    pub(super) fn next(&mut self) -> tsq::Result<Option<Series>> {
        for selection in &mut self.0 {
            if selection.ready.is_empty() {
                selection.ready = selection.stream.next_batch(BATCH)?.into();
            }
        }
        let Some(least) = self.0.iter().filter_map(|s| s.ready.front().map(Series::labels)).min().cloned() else {
            return Ok(None);
        };
        let mut found = None;
        for selection in &mut self.0 {
            found = selection.ready.pop_front_if(|series| *series.labels() == least).or(found);
        }
        Ok(found)
    }
}

fn labels(call: &Call) -> Result<Answer, ApiError> {
    sorted_strings(call, |source, matchers, range| source.label_names(matchers, range))
}

fn label_values(call: &Call) -> Result<Answer, ApiError> {
    let segment = call.segment.as_deref().unwrap_or_default();
    let name = std::str::from_utf8(segment).map(names::unescape).unwrap_or_default();
    if name.is_empty() {
        let shown = if segment == b"U__" { b"" } else { segment };
        return Err(ApiError::bad_data(format!("invalid label name: \"{}\"", shown.escape_ascii())));
    }
    sorted_strings(call, |source, matchers, range| source.label_values(&name, matchers, range))
}

/// The union over all `match[]`, or over everything when there is none.
fn sorted_strings(
    call: &Call,
    read: impl Fn(&dyn Source, &[Matcher], TimeRange) -> tsq::Result<Vec<String>>,
) -> Result<Answer, ApiError> {
    let limit = call.params.limit("limit")?.unwrap_or(usize::MAX);
    let (range, sets) = (time_range(call)?, matcher_sets(call, ApiError::bad_data)?);
    let source = call.source()?;
    let found = match sets.as_slice() {
        [] => read(&source, &[], range)?,
        [only] => read(&source, only, range)?,
        several => {
            let mut union = BTreeSet::new();
            for matchers in several {
                union.extend(read(&source, matchers, range)?);
            }
            union.into_iter().collect()
        }
    };
    let mut answer = Answer::new();
    if found.len() > limit {
        answer.truncated();
    }
    json::strings(&mut answer.data, found.iter().take(limit));
    call.check(&answer)?;
    Ok(answer)
}

fn metadata(call: &Call) -> Result<Answer, ApiError> {
    let limit = count(call, "limit")?.unwrap_or(usize::MAX);
    let per_metric = count(call, "limit_per_metric")?.filter(|&count| count > 0).unwrap_or(usize::MAX);
    let wanted = call.params.get("metric");
    let mut known = call.snapshot()?.metadata()?;
    known.retain(|metadata| wanted.is_none_or(|wanted| metadata.metric == wanted));
    let mut answer = Answer::new();
    write_metadata(&mut answer, &known, limit, per_metric);
    call.check(&answer)?;
    Ok(answer)
}

/// A count of metadata; a negative one is no limit, and unlike elsewhere zero means none at all.
fn count(call: &Call, name: &str) -> Result<Option<usize>, ApiError> {
    let Some(text) = call.params.get(name) else { return Ok(None) };
    let count = parse_int(text, "Atoi").map_err(|_| ApiError::bad_data(format!("{name} must be a number")))?;
    Ok(usize::try_from(count).ok())
}

/// `{"name":[{"type":"counter","unit":"","help":"text"}]}`; `known` is sorted by name.
fn write_metadata(answer: &mut Answer, known: &[Metadata], limit: usize, per_metric: usize) {
    let out = &mut answer.data;
    out.push(b'{');
    for (index, metric) in known.chunk_by(|one, two| one.metric == two.metric).take(limit).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json::html_string(out, &metric[0].metric);
        out.push(b':');
        json::list(out, metric.iter().take(per_metric), |out, metadata| {
            let pairs = [("type", &metadata.metric_type), ("unit", &metadata.unit), ("help", &metadata.help)];
            for (at, (key, value)) in pairs.into_iter().enumerate() {
                out.push(if at == 0 { b'{' } else { b',' });
                json::string(out, key);
                out.push(b':');
                json::html_string(out, value);
            }
            out.push(b'}');
        });
    }
    out.push(b'}');
}
