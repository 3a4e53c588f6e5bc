//! The merge on read: the normative rule for what a series holds, whatever the order of arrival, flush and compaction.
//!
//! `Float` and `Histogram`: one sample a time; a value before a stale marker, then the greatest ordered bits.
//! `Run` and `RunHistogram`: a set of (time, step, value) in that order; equal triples collapse.
//! Of samples that are equal but for their start times, the one with the latest known start stays.

use std::cmp::Ordering;

use crate::histogram::Histogram;
use crate::sample::{Kind, Samples, TimeRange, is_stale};

/// Order-preserving image of a float: a total order of all bit patterns.
pub(crate) fn ordered_bits(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// Brings samples of one kind into the order and uniqueness of the merge rule.
///
/// O(n) when they are already, O(n log n) otherwise.
pub(crate) fn normalise(kind: Kind, samples: &mut Samples) {
    if is_normal(kind, samples) {
        return;
    }
    let mut order: Vec<usize> = (0..samples.len()).collect();
    order.sort_by(|&left, &right| {
        compare(kind, samples, left, right).then_with(|| compare_starts(samples.start(left), samples.start(right)))
    });
    let mut kept: Vec<usize> = Vec::with_capacity(order.len());
    for index in order {
        match kept.last_mut() {
            // The winner of equal ones is the last: the order puts it there.
            Some(last) if !kind.has_step() && samples.times[*last] == samples.times[index] => *last = index,
            Some(last) if compare(kind, samples, *last, index) == Ordering::Equal => *last = index,
            _ => kept.push(index),
        }
    }
    pick_rows(samples, &kept);
}

fn is_normal(kind: Kind, samples: &Samples) -> bool {
    if !kind.has_step() {
        return samples.times.is_sorted_by(|left, right| left < right);
    }
    (1..samples.len()).all(|index| {
        let by_time = samples.times[index - 1].cmp(&samples.times[index]);
        by_time == Ordering::Less
            || (by_time == Ordering::Equal && compare(kind, samples, index - 1, index) == Ordering::Less)
    })
}

fn compare(kind: Kind, samples: &Samples, left: usize, right: usize) -> Ordering {
    let by_time = samples.times[left].cmp(&samples.times[right]);
    let by_step = || match kind.has_step() {
        true => samples.steps[left].cmp(&samples.steps[right]),
        false => Ordering::Equal,
    };
    let by_value = || match kind.is_histogram() {
        true => compare_histograms(kind, &samples.histograms[left], &samples.histograms[right]),
        false => compare_floats(kind, samples.values[left], samples.values[right]),
    };
    by_time.then_with(by_step).then_with(by_value)
}

/// Which of two start times wins: a known one before an unknown one, then the later.
pub(crate) fn compare_starts(left: i64, right: i64) -> Ordering {
    (left != 0, left).cmp(&(right != 0, right))
}

/// Which of two floats wins a time: the greater.
fn compare_floats(kind: Kind, left: f64, right: f64) -> Ordering {
    let stale = |value| kind == Kind::Float && is_stale(value);
    stale(right).cmp(&stale(left)).then(ordered_bits(left).cmp(&ordered_bits(right)))
}

fn compare_histograms(kind: Kind, left: &Histogram, right: &Histogram) -> Ordering {
    let stale = |histogram: &Histogram| kind == Kind::Histogram && histogram.is_stale();
    let floats = |left: &[f64], right: &[f64]| {
        left.iter().map(|value| ordered_bits(*value)).cmp(right.iter().map(|value| ordered_bits(*value)))
    };
    let head = |h: &Histogram| [h.count, h.sum, h.zero_count, h.zero_threshold].map(ordered_bits);
    let layout = |h: &Histogram| (h.schema, h.reset_hint as u8, h.integer);
    let spans = |h: &Histogram| -> Vec<(i32, u32)> {
        let both = h.positive_spans.iter().chain(&h.negative_spans);
        both.map(|span| (span.offset, span.length)).collect()
    };
    stale(right)
        .cmp(&stale(left))
        .then_with(|| head(left).cmp(&head(right)))
        .then_with(|| layout(left).cmp(&layout(right)))
        .then_with(|| left.positive_spans.len().cmp(&right.positive_spans.len()))
        .then_with(|| spans(left).cmp(&spans(right)))
        .then_with(|| floats(&left.positive, &right.positive))
        .then_with(|| floats(&left.negative, &right.negative))
        .then_with(|| floats(&left.custom_values, &right.custom_values))
}

/// Replaces samples by those of these rows, in this order.
pub(crate) fn pick_rows(samples: &mut Samples, order: &[usize]) {
    fn pick<T: Clone>(column: &mut Vec<T>, order: &[usize]) {
        if !column.is_empty() {
            *column = order.iter().map(|&index| column[index].clone()).collect();
        }
    }
    pick(&mut samples.times, order);
    pick(&mut samples.steps, order);
    pick(&mut samples.values, order);
    pick(&mut samples.histograms, order);
    pick(&mut samples.starts, order);
}

/// Drops the samples outside of a range from ordered samples.
pub(crate) fn clip(samples: &mut Samples, range: TimeRange) {
    let start = samples.times.partition_point(|&time| time < range.min_ms);
    let end = samples.times.partition_point(|&time| time <= range.max_ms);
    fn cut<T>(column: &mut Vec<T>, start: usize, end: usize) {
        if !column.is_empty() {
            column.truncate(end);
            column.drain(..start.min(end));
        }
    }
    cut(&mut samples.steps, start, end);
    cut(&mut samples.values, start, end);
    cut(&mut samples.histograms, start, end);
    cut(&mut samples.starts, start, end);
    cut(&mut samples.times, start, end);
}

/// Appends samples of the same kind.
pub(crate) fn extend(samples: &mut Samples, more: &Samples) {
    let before = samples.len();
    samples.times.extend_from_slice(&more.times);
    samples.steps.extend_from_slice(&more.steps);
    samples.values.extend_from_slice(&more.values);
    samples.histograms.extend_from_slice(&more.histograms);
    samples.append_starts(before, &more.starts);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::{STALE_NAN_BITS, stale_nan};

    fn floats(pairs: &[(i64, f64)]) -> Samples {
        let (times, values) = pairs.iter().copied().unzip();
        Samples { times, values, ..Samples::default() }
    }

    #[test]
    fn a_value_beats_a_stale_marker_and_the_greater_value_wins() {
        let mut samples = floats(&[(3, 1.0), (1, stale_nan()), (1, -5.0), (2, stale_nan()), (3, 2.0), (3, -0.0)]);
        normalise(Kind::Float, &mut samples);
        assert_eq!(samples.times, [1, 2, 3]);
        assert_eq!(samples.values[0], -5.0);
        assert_eq!(samples.values[1].to_bits(), STALE_NAN_BITS);
        assert_eq!(samples.values[2], 2.0);
    }

    #[test]
    fn of_equal_samples_the_latest_known_start_stays() {
        let (times, values, starts) = (vec![1, 1, 1, 2, 2, 3, 3], vec![5.0, 5.0, 4.0, 7.0, 7.0, 1.0, 2.0], vec![]);
        let mut samples = Samples { times, values, starts, ..Samples::default() };
        samples.starts = vec![-9, 0, 8, 3, 4, 6, 0];
        normalise(Kind::Float, &mut samples);
        assert_eq!((samples.times, samples.values), (vec![1, 2, 3], vec![5.0, 7.0, 2.0]));
        assert_eq!(samples.starts, [-9, 4, 0], "the start is that of the sample that wins");
    }

    #[test]
    fn runs_are_sets_of_triples() {
        let mut samples = Samples {
            times: vec![5, 5, 5, 4, 5],
            steps: vec![2, 1, 1, 9, 1],
            values: vec![0.5, 0.0, -0.0, 1.0, 0.0],
            ..Samples::default()
        };
        normalise(Kind::Run, &mut samples);
        assert_eq!(samples.times, [4, 5, 5, 5]);
        assert_eq!(samples.steps, [9, 1, 1, 2]);
        assert_eq!(
            samples.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
            [1.0_f64.to_bits(), (-0.0_f64).to_bits(), 0, 0.5_f64.to_bits()]
        );
    }

    proptest! {
        /// However samples arrive, and however often, the merge gives the same.
        #[test]
        fn arrival_order_and_repetition_do_not_matter(
            triples in prop::collection::vec((0_i64..8, 0_i64..3, 0_u64..4, -1_i64..3), 0..40),
            rotate in 0_usize..40,
        ) {
            let value = |bits: u64| f64::from_bits([0, 1 << 63, STALE_NAN_BITS, 0x7ff8_0000_0000_0001][bits as usize]);
            for kind in [Kind::Float, Kind::Run] {
                let build = |triples: &[(i64, i64, u64, i64)]| {
                    let mut samples = Samples {
                        times: triples.iter().map(|t| t.0).collect(),
                        steps: if kind.has_step() { triples.iter().map(|t| t.1).collect() } else { vec![] },
                        values: triples.iter().map(|t| value(t.2)).collect(),
                        starts: triples.iter().map(|t| t.3).collect(),
                        ..Samples::default()
                    };
                    normalise(kind, &mut samples);
                    let bits: Vec<u64> = samples.values.iter().map(|value| value.to_bits()).collect();
                    (samples.times, samples.steps, bits, samples.starts)
                };
                let mut other = triples.clone();
                other.rotate_left(rotate % triples.len().max(1));
                other.extend_from_slice(&triples[..triples.len() / 2]);
                prop_assert_eq!(build(&triples), build(&other));
            }
        }
    }
}
