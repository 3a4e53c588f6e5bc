//! `status/tsdb`: how many series there are, and which labels make them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use tsq::{Labels, METRIC_NAME, Series, Source, TimeRange};

use super::call::Call;
use super::{Cost, Endpoint, Methods};
use crate::http::answer::Answer;
use crate::http::error::ApiError;
use crate::http::time::parse_int;

pub(super) static ENDPOINTS: &[Endpoint] =
    &[Endpoint { path: "/api/v1/status/tsdb", methods: Methods::Get, cost: Cost::Reads, run: status }];

/// Label pairs that are counted at once. Above it the rarest are forgotten, so that their counts may come out too low.
const PAIRS_MAX: usize = 200_000;

/// Series that are read at once.
const BATCH: usize = 1024;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    head_stats: HeadStats,
    series_count_by_metric_name: Vec<NamedCount>,
    label_value_count_by_label_name: Vec<NamedCount>,
    memory_in_bytes_by_label_name: Vec<NamedCount>,
    series_count_by_label_value_pair: Vec<NamedCount>,
}

/// Prometheus shows its head here; these are all series of the database.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeadStats {
    num_series: u64,
    num_label_pairs: u64,
    chunk_count: u64,
    min_time: i64,
    max_time: i64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct NamedCount {
    name: String,
    value: u64,
}

fn status(call: &Call) -> Result<Answer, ApiError> {
    let limit = call.params.get("limit").map_or(Ok(10), |text| parse_int(text, "Atoi"));
    let limit = limit.ok().and_then(|limit| usize::try_from(limit).ok()).filter(|&limit| limit > 0);
    let limit = limit.ok_or_else(|| ApiError::bad_data("limit must be a positive number"))?;
    let snapshot = call.snapshot()?;
    let mut series = SeriesCounts::default();
    let mut answer = Answer::new();
    let mut stream = snapshot.select(&[], TimeRange::ALL)?;
    loop {
        let batch = stream.next_batch(BATCH)?;
        if batch.is_empty() {
            break;
        }
        batch.iter().for_each(|one| series.add(one));
        call.check(&answer)?;
    }
    let values = value_counts(call, &snapshot)?;
    answer.serialize(&Status {
        head_stats: series.head_stats(values.iter().map(|v| v.count).sum()),
        series_count_by_metric_name: top(series.by_metric, limit),
        label_value_count_by_label_name: top(values.iter().map(|v| (v.name.clone(), v.count)), limit),
        memory_in_bytes_by_label_name: top(values.iter().map(|v| (v.name.clone(), v.bytes)), limit),
        series_count_by_label_value_pair: top(series.by_pair, limit),
    });
    Ok(answer)
}

#[derive(Debug, Default)]
struct SeriesCounts {
    total: u64,
    chunks: u64,
    /// Times of the first and last sample.
    times: Option<TimeRange>,
    /// Sorted selections bring the series of a metric together, so this is as long as there are metrics.
    by_metric: BTreeMap<String, u64>,
    by_pair: HashMap<String, u64>,
    /// Pairs with this count or less were forgotten before.
    forgotten: u64,
}

impl SeriesCounts {
    fn add(&mut self, series: &Series) {
        self.chunks += series.chunk_count();
        let times = series.time_range();
        let joined = |known: TimeRange| TimeRange::new(known.min_ms.min(times.min_ms), known.max_ms.max(times.max_ms));
        self.times = Some(self.times.map_or(times, joined));
        self.add_labels(series.labels());
    }

    fn head_stats(&self, num_label_pairs: u64) -> HeadStats {
        // What Prometheus shows of an empty head.
        let times = self.times.unwrap_or(TimeRange::new(i64::MAX, i64::MIN));
        HeadStats {
            num_series: self.total,
            num_label_pairs,
            chunk_count: self.chunks,
            min_time: times.min_ms,
            max_time: times.max_ms,
        }
    }

    fn add_labels(&mut self, labels: &Labels) {
        self.total += 1;
        match self.by_metric.get_mut(labels.metric_name()) {
            Some(count) => *count += 1,
            None => _ = self.by_metric.insert(labels.metric_name().to_owned(), 1),
        }
        for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
            *self.by_pair.entry(format!("{name}={value}")).or_default() += 1;
        }
        while self.by_pair.len() > PAIRS_MAX {
            self.forgotten += 1;
            let least = self.forgotten;
            self.by_pair.retain(|_, count| *count > least);
        }
    }
}

struct ValueCount {
    name: String,
    count: u64,
    bytes: u64,
}

fn value_counts(call: &Call, source: &dyn Source) -> Result<Vec<ValueCount>, ApiError> {
    let count = |name: String| {
        call.check(&Answer::new())?;
        let values = source.label_values(&name, &[], TimeRange::ALL)?;
        let bytes = values.iter().map(|value| value.len() as u64).sum();
        Ok(ValueCount { name, count: values.len() as u64, bytes })
    };
    source.label_names(&[], TimeRange::ALL)?.into_iter().map(count).collect()
}

/// The `limit` largest counts, largest first; equal ones by name.
fn top(counts: impl IntoIterator<Item = (String, u64)>, limit: usize) -> Vec<NamedCount> {
    let mut counts: Vec<_> = counts.into_iter().map(|(name, value)| NamedCount { name, value }).collect();
    counts.sort_unstable_by(|one, two| (Reverse(one.value), &one.name).cmp(&(Reverse(two.value), &two.name)));
    counts.truncate(limit);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_pairs_are_forgotten_and_common_ones_kept() {
        let mut counts = SeriesCounts::default();
        for run in 0..PAIRS_MAX as u64 + 10 {
            let run = run.to_string();
            counts.add_labels(&Labels::from_pairs([("__name__", "loss"), ("job", "train"), ("run", &run)]).unwrap());
        }
        assert!(counts.by_pair.len() <= PAIRS_MAX);
        assert_eq!(counts.by_pair["job=train"], PAIRS_MAX as u64 + 10);
        assert_eq!(top(counts.by_metric, 10), [NamedCount { name: "loss".to_owned(), value: PAIRS_MAX as u64 + 10 }]);
    }

    #[test]
    fn the_largest_come_first() {
        let counts = [("b", 2), ("a", 2), ("c", 9)].map(|(name, count)| (name.to_owned(), count));
        let names: Vec<_> = top(counts, 2).into_iter().map(|count| count.name).collect();
        assert_eq!(names, ["c", "a"]);
    }
}
