//! Adding and subtracting histograms.
//!
//! The two sides need one layout: the coarser schema, the wider zero bucket, and of custom bounds those they share.

use tsq_core::{CUSTOM_BUCKETS_SCHEMA, Histogram, ResetHint};

use super::bounds::exponential_bound;
use super::side::Side;
use super::uses_custom_buckets;
use crate::kernels::kahan::Kahan;

/// Exponential and custom buckets cannot be combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IncompatibleSchemas;

/// What there is to say about a sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Combined {
    /// One histogram said "reset", the other "no reset".
    pub reset_collision: bool,
    /// Custom bounds differed; only the common ones are left.
    pub bounds_reconciled: bool,
}

/// A histogram being computed, with compensated counts.
#[derive(Clone, Debug)]
pub(crate) struct HistogramSum {
    schema: i8,
    reset_hint: ResetHint,
    zero_threshold: f64,
    zero_count: Kahan,
    count: Kahan,
    sum: Kahan,
    positive: Side,
    negative: Side,
    custom_values: Vec<f64>,
}

impl HistogramSum {
    /// A sum of one histogram.
    pub(crate) fn new(histogram: &Histogram) -> Self {
        let custom = uses_custom_buckets(histogram);
        Self {
            schema: histogram.schema,
            reset_hint: histogram.reset_hint,
            zero_threshold: if custom { 0.0 } else { histogram.zero_threshold },
            zero_count: Kahan::new(if custom { 0.0 } else { histogram.zero_count }),
            count: Kahan::new(histogram.count),
            sum: Kahan::new(histogram.sum),
            positive: Side::read(&histogram.positive_spans, &histogram.positive),
            negative: if custom { Side::default() } else { Side::read(&histogram.negative_spans, &histogram.negative) },
            custom_values: if custom { histogram.custom_values.clone() } else { Vec::new() },
        }
    }

    /// Merges buckets into those of a coarser schema; a finer one and custom buckets change nothing.
    pub(crate) fn coarsen(&mut self, schema: i8) {
        if !self.is_custom() && schema < self.schema {
            self.positive.coarsen(self.schema, schema);
            self.negative.coarsen(self.schema, schema);
            self.schema = schema;
        }
    }

    /// Adds a histogram.
    ///
    /// # Errors
    /// One has exponential buckets, the other custom ones; the sum is as before.
    pub(crate) fn add(&mut self, other: &Histogram) -> Result<Combined, IncompatibleSchemas> {
        self.combine(Self::new(other), false)
    }

    /// Takes a histogram away. Counts may become negative.
    ///
    /// # Errors
    /// As for [`Self::add`].
    pub(crate) fn sub(&mut self, other: &Histogram) -> Result<Combined, IncompatibleSchemas> {
        self.combine(Self::new(other), true)
    }

    /// Adds another sum.
    ///
    /// # Errors
    /// As for [`Self::add`].
    pub(crate) fn merge(&mut self, other: Self) -> Result<Combined, IncompatibleSchemas> {
        self.combine(other, false)
    }

    /// Multiplies everything. The layout stays.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.each_count(|count| count.scale(factor));
    }

    /// Divides everything. The layout stays.
    pub(crate) fn divide(&mut self, divisor: f64) {
        self.each_count(|count| count.divide(divisor));
    }

    /// Whether a count or the sum of observations is infinite.
    pub(crate) fn has_overflow(&self) -> bool {
        self.largest().is_infinite()
    }

    /// The largest count, or the sum of observations if that is larger, without sign.
    pub(crate) fn largest(&self) -> f64 {
        let heads = [self.zero_count, self.count, self.sum].into_iter();
        let buckets = self.positive.0.iter().chain(&self.negative.0).map(|&(_, count)| count);
        heads.chain(buckets).map(|count| count.sum.abs()).fold(0.0, f64::max)
    }

    /// Sets what the result says about counter resets.
    pub(crate) fn set_reset_hint(&mut self, hint: ResetHint) {
        self.reset_hint = hint;
    }

    /// The histogram, empty buckets included.
    pub(crate) fn finish(self) -> Histogram {
        let (positive_spans, positive) = self.positive.write();
        let (negative_spans, negative) = self.negative.write();
        Histogram {
            schema: self.schema,
            reset_hint: self.reset_hint,
            integer: false,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count.value(),
            count: self.count.value(),
            sum: self.sum.value(),
            positive_spans,
            negative_spans,
            positive,
            negative,
            custom_values: self.custom_values,
        }
    }

    /// The histogram without empty buckets.
    pub(crate) fn finish_compact(mut self) -> Histogram {
        for side in [&mut self.positive, &mut self.negative] {
            side.0.retain(|(_, count)| count.value() != 0.0);
        }
        self.finish()
    }

    fn combine(&mut self, mut other: Self, negate: bool) -> Result<Combined, IncompatibleSchemas> {
        let custom = self.is_custom();
        if custom != other.is_custom() {
            return Err(IncompatibleSchemas);
        }
        let reset_collision = self.combine_hints(other.reset_hint);
        let bounds_reconciled = if custom {
            self.reconcile_bounds(&mut other)
        } else {
            self.reconcile_zero_buckets(&mut other);
            self.reconcile_schemas(&mut other);
            false
        };
        for (total, mut more) in
            [(&mut self.zero_count, other.zero_count), (&mut self.count, other.count), (&mut self.sum, other.sum)]
        {
            more.scale(if negate { -1.0 } else { 1.0 });
            total.merge(more);
        }
        self.positive.add(&other.positive, negate);
        self.negative.add(&other.negative, negate);
        if bounds_reconciled {
            self.positive.0.retain(|(_, count)| count.value() != 0.0);
        }
        Ok(Combined { reset_collision, bounds_reconciled })
    }

    fn is_custom(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// The hint of a sum: that of both; a gauge if one is; else unknown. `true` if they contradict each other.
    fn combine_hints(&mut self, other: ResetHint) -> bool {
        use ResetHint::{Gauge, NotReset, Reset, Unknown};
        let mine = self.reset_hint;
        self.reset_hint = match (mine, other) {
            (a, b) if a == b => a,
            (Gauge, _) | (_, Gauge) => Gauge,
            _ => Unknown,
        };
        matches!((mine, other), (Reset, NotReset) | (NotReset, Reset))
    }

    /// Maps both onto the bounds they share, if their bounds differ.
    fn reconcile_bounds(&mut self, other: &mut Self) -> bool {
        if self.custom_values == other.custom_values {
            return false;
        }
        let common = common_bounds(&self.custom_values, &other.custom_values);
        for side in [&mut *self, &mut *other] {
            side.positive.map_indexes(bounds_mapper(&side.custom_values, &common));
            side.custom_values.clone_from(&common);
        }
        true
    }

    /// Widens both zero buckets until they are equal and cut no filled bucket.
    fn reconcile_zero_buckets(&mut self, other: &mut Self) {
        // Each widening moves a threshold up to a bucket bound, of which there is a finite number; a NaN threshold
        // would never be equal.
        while self.zero_threshold < other.zero_threshold || other.zero_threshold < self.zero_threshold {
            if self.zero_threshold < other.zero_threshold {
                self.widen_zero_bucket(other.zero_threshold);
            } else {
                other.widen_zero_bucket(self.zero_threshold);
            }
        }
    }

    fn widen_zero_bucket(&mut self, threshold: f64) {
        let (count, threshold) = self.zero_bucket_for(threshold);
        self.zero_count = count;
        self.zero_threshold = threshold;
        self.positive.drop_inside(threshold, self.schema);
        self.negative.drop_inside(threshold, self.schema);
    }

    /// Count and threshold of a zero bucket at least that wide.
    fn zero_bucket_for(&self, threshold: f64) -> (Kahan, f64) {
        let sides = [&self.positive, &self.negative];
        let threshold = widened_threshold(sides, self.schema, threshold);
        let mut count = self.zero_count;
        for side in sides {
            let inside = side.0.iter().take_while(|b| exponential_bound(b.0 - 1, self.schema) < threshold);
            inside.for_each(|&(_, more)| count.merge(more));
        }
        (count, threshold)
    }

    fn reconcile_schemas(&mut self, other: &mut Self) {
        let schema = self.schema.min(other.schema);
        let threshold = self.zero_threshold;
        self.coarsen(schema);
        other.coarsen(schema);
        // What lies within the zero bucket should have been counted there.
        other.positive.drop_below(threshold, schema);
        other.negative.drop_below(threshold, schema);
    }

    fn each_count(&mut self, mut change: impl FnMut(&mut Kahan)) {
        change(&mut self.zero_count);
        change(&mut self.count);
        change(&mut self.sum);
        for side in [&mut self.positive, &mut self.negative] {
            side.0.iter_mut().for_each(|(_, count)| change(count));
        }
    }
}

/// The smallest threshold from `threshold` up that cuts no filled bucket.
pub(super) fn widened_threshold(sides: [&Side; 2], schema: i8, mut threshold: f64) -> f64 {
    loop {
        let cut = |side: &Side| {
            side.counts()
                .find(|&(index, _)| exponential_bound(index, schema) > threshold)
                .filter(|&(index, count)| count != 0.0 && exponential_bound(index - 1, schema) < threshold)
                .map(|(index, _)| exponential_bound(index, schema))
        };
        match sides.into_iter().find_map(cut) {
            Some(bound) => threshold = bound,
            None => return threshold,
        }
    }
}

/// The bounds that are in both lists.
pub(super) fn common_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut b = b.iter().copied().peekable();
    let mut common = Vec::new();
    for &bound in a {
        while b.next_if(|&other| other < bound).is_some() {}
        if b.next_if(|&other| other == bound).is_some() {
            common.push(bound);
        }
    }
    common
}

/// Maps indexes of buckets with bounds `from`, ascending, to those of the buckets with bounds `to` that contain them.
pub(super) fn bounds_mapper<'a>(from: &'a [f64], to: &'a [f64]) -> impl FnMut(i32) -> i32 + 'a {
    move |index| {
        let upper = super::bounds::custom_bound(index, from);
        to.partition_point(|&bound| bound < upper) as i32
    }
}
