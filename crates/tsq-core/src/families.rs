//! Which series are the buckets of one classic histogram: those whose labels differ in `le` alone.
//!
//! In label order they need not be neighbours, but all series that agree in the labels before `le` are: a group. A writer
//! takes groups one after another, writes their families, then gives each series its chunks in label order.

use std::collections::HashMap;

use crate::block::{BlockWriter, WrittenChunk};
use crate::error::Result;
use crate::labels::Labels;
use crate::sample::{Kind, Samples};

/// The label that holds the upper bound of a bucket.
const BOUND: &str = "le";

/// A group of more series, or with longer labels, is cut: only its size suffers from that.
const GROUP_SERIES_MAX: usize = 1 << 16;
const GROUP_BYTES_MAX: usize = 16 << 20;

/// Consecutive series and the families among them.
#[derive(Debug)]
pub(crate) struct Group<K> {
    /// Series in label order, with what the writer knows about each.
    pub(crate) series: Vec<(Labels, K)>,
    /// Numbers of the series of each family, by ascending bounds; at least two.
    pub(crate) families: Vec<Vec<usize>>,
}

impl<K> Group<K> {
    /// Writes all series that have samples. `read` replaces empty samples by those that a series has of a kind, normal; it
    /// is asked once for each.
    pub(crate) fn write(
        mut self,
        writer: &mut BlockWriter,
        mut read: impl FnMut(&mut K, Kind, &mut Samples) -> Result<()>,
    ) -> Result<()> {
        let mut written: Vec<Option<Vec<WrittenChunk>>> = self.series.iter().map(|_| None).collect();
        for family in &self.families {
            let mut members: Vec<Samples> = family.iter().map(|_| Samples::default()).collect();
            for (number, samples) in family.iter().zip(&mut members) {
                read(&mut self.series[*number].1, Kind::Float, samples)?;
            }
            for (number, chunks) in family.iter().zip(writer.family(&members)?) {
                written[*number] = Some(chunks);
            }
        }
        let mut samples = Samples::default();
        for ((labels, mut key), floats) in self.series.into_iter().zip(written) {
            writer.series(&labels)?;
            floats.iter().flatten().try_for_each(|chunk| writer.place(chunk))?;
            for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Float || floats.is_none()) {
                samples.clear();
                read(&mut key, kind, &mut samples)?;
                writer.samples(kind, &samples)?;
            }
        }
        Ok(())
    }
}

/// Gathers series, which come in label order, into groups.
#[derive(Debug)]
pub(crate) struct Groups<K> {
    series: Vec<(Labels, K)>,
    /// Length of the labels that all gathered series begin with, if they have bounds.
    shared: Option<usize>,
    bytes: usize,
}

impl<K> Groups<K> {
    pub(crate) fn new() -> Self {
        Self { series: Vec::new(), shared: None, bytes: 0 }
    }

    /// Adds the next series. Returns the group before it when it begins a new one.
    pub(crate) fn push(&mut self, labels: Labels, key: K) -> Option<Group<K>> {
        let shared = bound_at(&labels).map(|(before, ..)| before.len());
        let first = self.series.first().map(|(first, _)| first.as_bytes());
        let joins = shared.is_some()
            && shared == self.shared
            && self.bytes < GROUP_BYTES_MAX
            && self.series.len() < GROUP_SERIES_MAX
            && first.is_some_and(|first| shared.is_some_and(|len| first[..len] == labels.as_bytes()[..len]));
        let finished = if joins { None } else { self.finish() };
        self.shared = shared;
        self.bytes += labels.as_bytes().len();
        self.series.push((labels, key));
        finished
    }

    /// The last group.
    pub(crate) fn finish(&mut self) -> Option<Group<K>> {
        self.bytes = 0;
        let series = std::mem::take(&mut self.series);
        if series.is_empty() {
            return None;
        }
        let families = if series.len() > 1 { families(&series) } else { Vec::new() };
        Some(Group { series, families })
    }
}

fn families<K>(series: &[(Labels, K)]) -> Vec<Vec<usize>> {
    let mut by_rest: HashMap<&[u8], usize> = HashMap::new();
    let mut families: Vec<Vec<(f64, usize)>> = Vec::new();
    for (number, (labels, _)) in series.iter().enumerate() {
        let Some((_, bound, rest)) = bound_at(labels) else { continue };
        let family = *by_rest.entry(rest).or_insert_with(|| {
            families.push(Vec::new());
            families.len() - 1
        });
        families[family].push((bound, number));
    }
    families.retain(|family| family.len() > 1);
    let ordered = |mut family: Vec<(f64, usize)>| {
        family.sort_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
        family.into_iter().map(|(_, number)| number).collect()
    };
    families.into_iter().map(ordered).collect()
}

/// The bound of a series, and the labels before and behind it.
fn bound_at(labels: &Labels) -> Option<(&[u8], f64, &[u8])> {
    let (before, bound, behind) = labels.around(BOUND)?;
    let bound = bound.parse::<f64>().ok().filter(|bound| !bound.is_nan())?;
    Some((before, bound, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied()).unwrap()
    }

    fn groups(mut all: Vec<Labels>) -> Vec<(usize, Vec<Vec<String>>)> {
        all.sort();
        let mut groups = Groups::new();
        let mut found: Vec<Group<()>> = all.into_iter().filter_map(|labels| groups.push(labels, ())).collect();
        found.extend(groups.finish());
        let text = |group: &Group<()>, number: &usize| group.series[*number].0.get("le").unwrap_or("").to_owned();
        let families = |group: &Group<()>| {
            group.families.iter().map(|family| family.iter().map(|number| text(group, number)).collect()).collect()
        };
        found.iter().map(|group| (group.series.len(), families(group))).collect()
    }

    #[test]
    fn buckets_are_found_although_other_series_lie_between_them() {
        let mut all = vec![labels(&[("__name__", "up")]), labels(&[("__name__", "x_bucket"), ("job", "a")])];
        for path in ["/", "/x"] {
            for le in ["0.1", "+Inf", "10", "2.5"] {
                all.push(labels(&[("__name__", "x_bucket"), ("job", "a"), ("le", le), ("path", path)]));
            }
        }
        all.push(labels(&[("__name__", "x_bucket"), ("job", "b"), ("le", "1"), ("path", "/")]));
        all.push(labels(&[("__name__", "x_bucket"), ("job", "a"), ("le", "none")]));
        let family = || ["0.1", "2.5", "10", "+Inf"].map(str::to_owned).to_vec();
        assert_eq!(groups(all), [(1, vec![]), (1, vec![]), (8, vec![family(), family()]), (1, vec![]), (1, vec![])]);
    }
}
