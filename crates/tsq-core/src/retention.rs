//! How long samples are kept: rules by selector, applied by readers at once and by compaction to the bytes.

use std::sync::Arc;
use std::time::Duration;

use crate::block::BlockReader;
use crate::error::Result;
use crate::labels::Labels;
use crate::options::{Options, RetentionRule};
use crate::query::all_match;
use crate::sample::TimeRange;
use crate::tombstones::Intervals;

/// The rules of a database.
#[derive(Clone, Debug)]
pub(crate) struct Retention {
    rules: Arc<[RetentionRule]>,
    /// For series that no rule matches.
    default: Option<Duration>,
}

impl Retention {
    pub(crate) fn of(options: &Options) -> Self {
        let rules = &options.retention_rules;
        // A rule for all series is a default: what stands behind it is never asked.
        match rules.iter().position(|rule| rule.matchers.is_empty()) {
            Some(end) => Self { rules: rules[..end].into(), default: rules[end].keep },
            None => Self { rules: rules.as_slice().into(), default: options.retention },
        }
    }

    /// How long each rule keeps, the default last.
    fn periods(&self) -> impl Iterator<Item = Option<Duration>> {
        self.rules.iter().map(|rule| rule.keep).chain([self.default])
    }

    /// Since when samples are kept at a moment; `None` when all are, whatever their age.
    pub(crate) fn at(&self, now_ms: i64) -> Option<Arc<Horizons>> {
        self.periods().any(|period| period.is_some()).then(|| {
            let kept_ms = |period: Duration| i64::try_from(period.as_millis()).unwrap_or(i64::MAX);
            let since =
                |period: Option<Duration>| period.map_or(i64::MIN, |period| now_ms.saturating_sub(kept_ms(period)));
            Arc::new(Horizons { rules: Arc::clone(&self.rules), since_ms: self.periods().map(since).collect() })
        })
    }
}

/// Since when the samples of each series are kept, at one moment.
#[derive(Debug)]
pub(crate) struct Horizons {
    rules: Arc<[RetentionRule]>,
    /// One time a rule, that of the default last. `i64::MIN`: all are kept.
    since_ms: Box<[i64]>,
}

impl Horizons {
    /// Samples at this time or later are kept, whatever their series.
    pub(crate) fn newest_ms(&self) -> i64 {
        self.since_ms.iter().copied().max().unwrap_or(i64::MIN)
    }

    /// Samples before this time are not kept, whatever their series.
    pub(crate) fn oldest_ms(&self) -> i64 {
        self.since_ms.iter().copied().min().unwrap_or(i64::MIN)
    }

    /// The number of the rule for a series: the first that matches, or the default behind the last.
    fn rule(&self, labels: &Labels) -> usize {
        self.rules.iter().position(|rule| all_match(&rule.matchers, labels)).unwrap_or(self.rules.len())
    }

    /// Since when the samples of a series are kept.
    pub(crate) fn since_ms(&self, labels: &Labels) -> i64 {
        self.since_ms[self.rule(labels)]
    }

    /// What is left of a range for a series; `None` for nothing.
    pub(crate) fn clip(&self, labels: &Labels, range: TimeRange) -> Option<TimeRange> {
        let since_ms = if range.min_ms < self.newest_ms() { self.since_ms(labels) } else { i64::MIN };
        let min_ms = range.min_ms.max(since_ms);
        (min_ms <= range.max_ms).then(|| TimeRange::new(min_ms, range.max_ms))
    }

    /// What is left of a range for any series; `None` for nothing.
    pub(crate) fn clip_all(&self, range: TimeRange) -> Option<TimeRange> {
        let min_ms = range.min_ms.max(self.oldest_ms());
        (min_ms <= range.max_ms).then(|| TimeRange::new(min_ms, range.max_ms))
    }

    /// Deleted and expired times of a series whose samples begin at `min_ms`.
    pub(crate) fn gone(
        &self,
        labels: &Labels,
        min_ms: i64,
        deleted: Option<&Arc<Intervals>>,
    ) -> Option<Arc<Intervals>> {
        let since_ms = if min_ms < self.newest_ms() { self.since_ms(labels) } else { i64::MIN };
        if since_ms <= min_ms {
            return deleted.cloned();
        }
        let mut gone = deleted.map_or_else(Intervals::default, |deleted| (**deleted).clone());
        gone.add(TimeRange::new(i64::MIN, since_ms - 1));
        Some(Arc::new(gone))
    }
}

/// Deleted and expired times of a series, when there may be rules.
pub(crate) fn gone(
    horizons: Option<&Horizons>,
    labels: &Labels,
    min_ms: i64,
    deleted: Option<&Arc<Intervals>>,
) -> Option<Arc<Intervals>> {
    match horizons {
        Some(horizons) => horizons.gone(labels, min_ms, deleted),
        None => deleted.cloned(),
    }
}

/// When the samples of a block expire: how many of each rule's series end when.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    samples: u64,
    /// One list a rule: times and the samples of chunks that end then, ascending.
    ends: Vec<Vec<(i64, u64)>>,
}

/// Steps in which an [`Expiry`] tells times apart: chunks that end in the same one are one entry.
const STEP_MS: i64 = 3_600_000;

impl Expiry {
    /// Reads the index of a block, no samples.
    pub(crate) fn of(block: &Arc<BlockReader>, horizons: &Horizons) -> Result<Self> {
        let mut ends = vec![std::collections::BTreeMap::new(); horizons.since_ms.len()];
        let mut reader = block.series_reader()?;
        let mut chunks = Vec::new();
        for series in 0..block.meta().series as u32 {
            let rule = horizons.rule(&reader.labels(series)?);
            chunks.clear();
            reader.chunks(series, &mut chunks)?;
            for chunk in &chunks {
                // Not before its time.
                let end_ms = chunk.max_ms.div_euclid(STEP_MS).saturating_add(1).saturating_mul(STEP_MS);
                *ends[rule].entry(end_ms).or_insert(0) += u64::from(chunk.count);
            }
        }
        Ok(Self {
            samples: block.meta().samples,
            ends: ends.into_iter().map(|list| list.into_iter().collect()).collect(),
        })
    }

    /// Whether the block is to be written anew: half of it has expired, or all that a rule ever expires in it.
    pub(crate) fn is_due(&self, horizons: &Horizons) -> bool {
        let (mut expired, mut complete) = (0, false);
        for (ends, since_ms) in self.ends.iter().zip(&horizons.since_ms) {
            let count = ends.partition_point(|(end_ms, _)| *end_ms < *since_ms);
            expired += ends[..count].iter().map(|(_, samples)| samples).sum::<u64>();
            complete |= count > 0 && count == ends.len();
        }
        complete || expired > 0 && expired.saturating_mul(2) >= self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Matcher;

    const HOUR: Duration = Duration::from_secs(3600);
    const NOW_MS: i64 = 1_000 * STEP_MS;

    fn rule(job: &str, hours: Option<u32>) -> RetentionRule {
        RetentionRule { matchers: vec![Matcher::equal("job", job)], keep: hours.map(|hours| HOUR * hours) }
    }

    fn labels(job: &str) -> Labels {
        Labels::from_pairs([("__name__", "m"), ("job", job)]).unwrap()
    }

    fn horizons(rules: Vec<RetentionRule>, default: Option<u32>) -> Option<Arc<Horizons>> {
        let retention = default.map(|hours| HOUR * hours);
        Retention::of(&Options { retention, retention_rules: rules, ..Options::default() }).at(NOW_MS)
    }

    #[test]
    fn the_first_rule_that_matches_decides_and_the_default_comes_last() {
        let rules = vec![rule("gpu", Some(14)), rule("runs", None), rule("gpu", Some(99))];
        let horizons = horizons(rules, Some(30)).unwrap();
        assert_eq!(horizons.since_ms(&labels("gpu")), NOW_MS - 14 * STEP_MS);
        assert_eq!(horizons.since_ms(&labels("runs")), i64::MIN);
        assert_eq!(horizons.since_ms(&labels("other")), NOW_MS - 30 * STEP_MS);
        assert_eq!((horizons.oldest_ms(), horizons.newest_ms()), (i64::MIN, NOW_MS - 14 * STEP_MS));
        let old = TimeRange::new(0, NOW_MS - 20 * STEP_MS);
        assert_eq!(horizons.clip(&labels("gpu"), old), None);
        assert_eq!(horizons.clip(&labels("runs"), old), Some(old));
    }

    #[test]
    fn nothing_expires_where_no_rule_says_so() {
        assert!(horizons(vec![rule("runs", None)], None).is_none());
        let one = horizons(vec![rule("gpu", Some(1))], None).unwrap();
        assert_eq!(one.clip_all(TimeRange::ALL), Some(TimeRange::ALL));
        let all = horizons(vec![], Some(1)).unwrap();
        assert_eq!(all.clip_all(TimeRange::new(0, NOW_MS - STEP_MS - 1)), None);
        assert!(all.gone(&labels("x"), NOW_MS - STEP_MS, None).is_none());
        assert!(all.gone(&labels("x"), NOW_MS - STEP_MS - 1, None).unwrap().contains(0));
    }

    #[test]
    fn a_block_is_due_when_half_or_a_whole_rule_has_expired() {
        let horizons = horizons(vec![rule("gpu", Some(10))], Some(20)).unwrap();
        let at = |hours: i64| NOW_MS - hours * STEP_MS;
        let due = |gpu: &[(i64, u64)], other: &[(i64, u64)]| {
            Expiry { samples: 100, ends: vec![gpu.to_vec(), other.to_vec()] }.is_due(&horizons)
        };
        assert!(!due(&[(at(11), 40), (at(5), 20)], &[(at(5), 40)]), "less than half");
        assert!(due(&[(at(11), 40), (at(5), 20)], &[(at(21), 10), (at(5), 30)]), "half");
        assert!(due(&[(at(11), 1)], &[(at(5), 99)]), "all of one rule");
        assert!(!due(&[], &[(at(5), 100)]));
    }
}
