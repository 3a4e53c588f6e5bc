//! Histograms of OTLP as native histograms, and sums of them.

use tsq_core::{CUSTOM_BUCKETS_SCHEMA, Histogram, Span};

use super::delta::Explicit;

/// Largest integer count that a float holds exactly.
const EXACT_MAX: u64 = 1 << 53;

/// The finest schema of native histograms; OTLP has scales up to 20.
const SCHEMA_MAX: i32 = 8;
const SCHEMA_MIN: i32 = -4;

/// Buckets of a running total, empty ones between others included. More are merged into wider ones.
const DENSE_MAX: i64 = 4096;

/// Empty buckets that are cheaper written than skipped.
const GAP_MAX: usize = 2;

/// Buckets of one sign as OTLP has them: `counts[k]` lies in (base^(offset + k), base^(offset + k + 1)].
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Buckets {
    pub(super) offset: i64,
    pub(super) counts: Vec<u64>,
}

impl Buckets {
    /// Leaves out empty buckets at both ends.
    fn trim(&mut self) {
        let used = self.counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        self.counts.truncate(used);
        let empty = self.counts.iter().take_while(|count| **count == 0).count();
        self.counts.drain(..empty);
        self.offset = if self.counts.is_empty() { 0 } else { self.offset + empty as i64 };
    }

    fn end(&self) -> i64 {
        self.offset + self.counts.len() as i64
    }

    /// Merges 2^shift neighbours into one.
    fn merge(&mut self, shift: u32) -> Result<(), String> {
        if shift == 0 || self.counts.is_empty() {
            return Ok(());
        }
        let shift = shift.min(62);
        let first = self.offset >> shift;
        let mut merged = 0;
        for at in 0..self.counts.len() {
            let place = (((self.offset + at as i64) >> shift) - first) as usize;
            let count = self.counts[at];
            if place >= merged {
                merged = place + 1;
                self.counts[place] = count;
            } else {
                self.counts[place] = total(self.counts[place], count)?;
            }
        }
        self.counts.truncate(merged);
        self.offset = first;
        Ok(())
    }

    /// Adds buckets of the same scale.
    fn add(&mut self, more: &Self) -> Result<(), String> {
        if more.counts.is_empty() {
            return Ok(());
        }
        if self.counts.is_empty() {
            self.clone_from(more);
            return Ok(());
        }
        let (first, end) = (self.offset.min(more.offset), self.end().max(more.end()));
        let mut counts = vec![0; (end - first) as usize];
        for side in [&*self, more] {
            let start = (side.offset - first) as usize;
            for (sum, count) in counts[start..].iter_mut().zip(&side.counts) {
                *sum = total(*sum, *count)?;
            }
        }
        (self.offset, self.counts) = (first, counts);
        Ok(())
    }

    /// Buckets that both together would have.
    fn width_with(&self, more: &Self) -> i64 {
        match (self.counts.is_empty(), more.counts.is_empty()) {
            (true, _) => more.counts.len() as i64,
            (_, true) => self.counts.len() as i64,
            _ => self.end().max(more.end()) - self.offset.min(more.offset),
        }
    }

    /// The upper bound of the bucket that `threshold` cuts, if it holds anything; else `threshold`.
    fn widened(&self, schema: i32, threshold: f64) -> f64 {
        let cut =
            self.bounds(schema).find(|(lower, upper, count)| *lower < threshold && threshold < *upper && *count > 0);
        cut.map_or(threshold, |(_, upper, _)| upper)
    }

    /// Takes out what lies at or below `threshold`.
    fn take_below(&mut self, schema: i32, threshold: f64) -> Result<u64, String> {
        let below = self.bounds(schema).take_while(|(_, upper, _)| *upper <= threshold).count();
        let sum = self.counts[..below].iter().try_fold(0, |sum, count| total(sum, *count))?;
        self.counts.drain(..below);
        self.offset += below as i64;
        self.trim();
        Ok(sum)
    }

    /// Lower and upper bounds, and counts.
    fn bounds(&self, schema: i32) -> impl Iterator<Item = (f64, f64, u64)> {
        let bound = move |index: i64| (index as f64 * f64::from(-schema).exp2()).exp2();
        (self.offset..).zip(&self.counts).map(move |(index, count)| (bound(index), bound(index + 1), *count))
    }
}

fn total(one: u64, two: u64) -> Result<u64, String> {
    one.checked_add(two).ok_or_else(|| "its counts are above 2^64 in total".to_owned())
}

/// An exponential histogram whose scale is a schema of native histograms.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exponential {
    schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) zero_count: u64,
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    positive: Buckets,
    negative: Buckets,
}

impl Exponential {
    /// Buckets of this scale, merged when it is finer than any schema. Refused when it is coarser, or when the buckets
    /// lie outside of 32 bits.
    pub(super) fn new(scale: i64, positive: Buckets, negative: Buckets) -> Result<Self, String> {
        if scale < i64::from(SCHEMA_MIN) {
            return Err(format!("scale {scale} is below {SCHEMA_MIN}, the coarsest of native histograms"));
        }
        let schema = scale.min(i64::from(SCHEMA_MAX)) as i32;
        let (zero_threshold, zero_count, count, sum) = (0.0, 0, 0, None);
        let mut new = Self { schema, zero_threshold, zero_count, count, sum, positive, negative };
        let shift = u32::try_from(scale - i64::from(schema)).unwrap_or(u32::MAX);
        for side in [&mut new.positive, &mut new.negative] {
            side.trim();
            if i32::try_from(side.offset).is_err() || i32::try_from(side.end()).is_err() {
                return Err(format!("buckets {} to {} are outside of 32 bits", side.offset, side.end()));
            }
            side.merge(shift)?;
        }
        Ok(new)
    }

    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + 8 * (self.positive.counts.capacity() + self.negative.counts.capacity())
    }

    /// Adds a histogram. Scales and zero buckets become the coarser of both; the total may become coarser still to stay
    /// within bounds. Nothing changes on an error.
    pub(super) fn add(&mut self, more: &Self) -> Result<(), String> {
        let (mut sum, mut more) = (self.clone(), more.clone());
        let schema = fitting_schema(&sum, &more)?;
        sum.coarsen(schema)?;
        more.coarsen(schema)?;
        let threshold = common_threshold(&sum, &more);
        sum.widen_zero(threshold)?;
        more.widen_zero(threshold)?;
        sum.positive.add(&more.positive)?;
        sum.negative.add(&more.negative)?;
        sum.zero_count = total(sum.zero_count, more.zero_count)?;
        sum.count = total(sum.count, more.count)?;
        sum.sum = sum.sum.zip(more.sum).map(|(one, two)| one + two);
        *self = sum;
        Ok(())
    }

    fn coarsen(&mut self, schema: i32) -> Result<(), String> {
        let shift = (self.schema - schema).unsigned_abs();
        self.schema = schema;
        self.positive.merge(shift)?;
        self.negative.merge(shift)
    }

    fn widen_zero(&mut self, threshold: f64) -> Result<(), String> {
        if threshold > self.zero_threshold {
            self.zero_threshold = threshold;
            for side in [&mut self.positive, &mut self.negative] {
                self.zero_count = total(self.zero_count, side.take_below(self.schema, threshold)?)?;
            }
        }
        Ok(())
    }

    /// The native histogram; an error says what is wrong with it.
    pub(super) fn native(&self) -> Result<Histogram, String> {
        if self.zero_threshold.is_nan() || self.zero_threshold < 0.0 {
            return Err(format!("the zero threshold is {}", self.zero_threshold));
        }
        let mut histogram = Histogram {
            schema: self.schema as i8,
            integer: true,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count as f64,
            count: exact(self.count)?,
            sum: self.sum.unwrap_or(f64::NAN),
            ..Histogram::default()
        };
        // The bucket of the index i is that of the upper bound base^i.
        sparse(
            self.positive.offset + 1,
            &self.positive.counts,
            &mut histogram.positive_spans,
            &mut histogram.positive,
        )?;
        sparse(
            self.negative.offset + 1,
            &self.negative.counts,
            &mut histogram.negative_spans,
            &mut histogram.negative,
        )?;
        check_total(&histogram)?;
        Ok(histogram)
    }
}

/// The finest schema in which the sum of both is within bounds.
fn fitting_schema(one: &Exponential, two: &Exponential) -> Result<i32, String> {
    let finest = one.schema.min(two.schema);
    let fits = |schema: &i32| -> Result<bool, String> {
        let (mut one, mut two) = (one.clone(), two.clone());
        one.coarsen(*schema)?;
        two.coarsen(*schema)?;
        let width = one.positive.width_with(&two.positive).max(one.negative.width_with(&two.negative));
        Ok(width <= DENSE_MAX)
    };
    for schema in (SCHEMA_MIN..=finest).rev() {
        if fits(&schema)? {
            return Ok(schema);
        }
    }
    Err(format!("its buckets and those before it span more than {DENSE_MAX}, even merged to schema {SCHEMA_MIN}"))
}

/// The smallest zero threshold that cuts no bucket of both and is none of theirs too small.
fn common_threshold(one: &Exponential, two: &Exponential) -> f64 {
    let mut threshold = one.zero_threshold.max(two.zero_threshold);
    loop {
        let sides =
            [one, two].into_iter().flat_map(|side| [(side.schema, &side.positive), (side.schema, &side.negative)]);
        let widened = sides.map(|(schema, side)| side.widened(schema, threshold)).fold(threshold, f64::max);
        if widened <= threshold {
            return threshold;
        }
        threshold = widened;
    }
}

/// A native histogram with custom buckets; an error says what is wrong with it. The bounds ascend.
pub(super) fn custom(explicit: &Explicit) -> Result<Histogram, String> {
    let finite = explicit.bounds.strip_suffix(&[f64::INFINITY]).unwrap_or(&explicit.bounds);
    if let Some(bound) = finite.iter().find(|bound| !bound.is_finite()) {
        return Err(format!("the bound {bound} of a custom bucket is not finite"));
    }
    let mut histogram = Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        integer: true,
        count: exact(explicit.count)?,
        sum: explicit.sum.unwrap_or(f64::NAN),
        custom_values: finite.to_vec(),
        ..Histogram::default()
    };
    let mut counts = explicit.counts.clone();
    if finite.len() < explicit.bounds.len() {
        // Nothing lies above +Inf; what was counted there lies below.
        let above = counts.pop().unwrap_or(0);
        if let Some(last) = counts.last_mut() {
            *last = total(*last, above)?;
        }
    }
    if counts.is_empty() && explicit.count > 0 {
        counts.push(explicit.count);
    }
    sparse(0, &counts, &mut histogram.positive_spans, &mut histogram.positive)?;
    check_total(&histogram)?;
    Ok(histogram)
}

fn exact(count: u64) -> Result<f64, String> {
    if count > EXACT_MAX { Err(format!("the count {count} is above 2^53")) } else { Ok(count as f64) }
}

/// Writes buckets from index `first` on as spans, without long runs of empty ones.
fn sparse(first: i64, counts: &[u64], spans: &mut Vec<Span>, out: &mut Vec<f64>) -> Result<(), String> {
    let outside = |_| format!("bucket {first} is outside of 32 bits");
    let (mut at, mut end) = (0, 0);
    while let Some(skipped) = counts[at..].iter().position(|count| *count > 0) {
        let start = at + skipped;
        if spans.is_empty() {
            let offset = i32::try_from(first + start as i64).map_err(outside)?;
            spans.push(Span { offset, length: 0 });
            end = start;
        }
        let gap = start - end;
        if gap > GAP_MAX {
            spans.push(Span { offset: i32::try_from(gap).map_err(outside)?, length: 0 });
        } else {
            out.extend(std::iter::repeat_n(0.0, gap));
        }
        let run = counts[start..].iter().take_while(|count| **count > 0).count();
        for count in &counts[start..start + run] {
            out.push(exact(*count)?);
        }
        let span = spans.last_mut().expect("one was pushed");
        let more = if gap > GAP_MAX { run } else { gap + run };
        span.length += u32::try_from(more).map_err(outside)?;
        at = start + run;
        end = at;
    }
    Ok(())
}

/// Observations of NaN are counted but fall into no bucket, and make the sum NaN, as one that is not known is.
fn check_total(histogram: &Histogram) -> Result<(), String> {
    let buckets = histogram.positive.iter().chain(&histogram.negative).sum::<f64>() + histogram.zero_count;
    let fits = if histogram.sum.is_nan() { buckets <= histogram.count } else { buckets == histogram.count };
    if fits {
        return Ok(());
    }
    Err(format!("its buckets hold {buckets} observations, its count is {}", histogram.count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(scale: i64, offset: i64, counts: &[u64], zero: u64) -> Exponential {
        let positive = Buckets { offset, counts: counts.to_vec() };
        let mut new = Exponential::new(scale, positive, Buckets::default()).unwrap();
        new.zero_count = zero;
        new.count = zero + counts.iter().sum::<u64>();
        new.sum = Some(1.0);
        new
    }

    fn spans(histogram: &Histogram) -> (Vec<(i32, u32)>, Vec<f64>) {
        let spans = histogram.positive_spans.iter().map(|span| (span.offset, span.length)).collect();
        (spans, histogram.positive.clone())
    }

    #[test]
    fn bucket_indexes_are_one_higher_and_gaps_are_spans() {
        let native = histogram(3, -5, &[0, 1, 2, 0, 0, 4, 0, 0, 0, 5, 0], 7).native().unwrap();
        assert_eq!((native.schema, native.zero_count, native.count), (3, 7.0, 19.0));
        assert_eq!(spans(&native), (vec![(-3, 5), (3, 1)], vec![1.0, 2.0, 0.0, 0.0, 4.0, 5.0]));
        let empty = histogram(0, 12, &[0, 0], 0).native().unwrap();
        assert_eq!(spans(&empty), (vec![], vec![]));
        assert!(native.validate(1000).is_ok() && empty.validate(1000).is_ok());
    }

    #[test]
    fn fine_scales_are_merged_and_coarse_ones_refused() {
        // Indexes -3 to 3 of scale 10 become -1, -1, -1, 0, 0, 0, 0 of schema 8.
        let native = histogram(10, -3, &[1, 1, 1, 1, 1, 1, 1], 0).native().unwrap();
        assert_eq!((native.schema, spans(&native)), (8, (vec![(0, 2)], vec![3.0, 4.0])));
        let far = histogram(i64::from(i32::MAX), -1, &[1, 2], 0).native().unwrap();
        assert_eq!(spans(&far), (vec![(0, 2)], vec![1.0, 2.0]));
        let error = Exponential::new(-5, Buckets::default(), Buckets::default()).unwrap_err();
        assert!(error.contains("scale -5 is below -4"), "{error}");
        let end = Buckets { offset: i64::from(i32::MAX), counts: vec![1] };
        assert!(Exponential::new(0, end, Buckets::default()).unwrap_err().contains("32 bits"));
    }

    #[test]
    fn sums_take_the_coarser_scale_and_the_wider_zero_bucket() {
        let mut sum = histogram(1, 0, &[1, 2, 3, 4], 0);
        sum.add(&histogram(0, -1, &[10, 20], 5)).unwrap();
        // Schema 1 indexes 0..4 are schema 0 indexes 0, 0, 1, 1.
        let native = sum.native().unwrap();
        assert_eq!((native.schema, native.zero_count, native.count), (0, 5.0, 45.0));
        assert_eq!(spans(&native), (vec![(0, 3)], vec![10.0, 23.0, 7.0]));

        let mut wide = histogram(0, 4, &[1], 0);
        wide.zero_threshold = 1.5;
        sum.add(&wide).unwrap();
        // 1.5 cuts the bucket (1, 2], so that the zero bucket reaches 2.
        let native = sum.native().unwrap();
        assert_eq!((native.zero_threshold, native.zero_count), (2.0, 38.0));
        assert_eq!(spans(&native), (vec![(2, 4)], vec![7.0, 0.0, 0.0, 1.0]));
    }

    #[test]
    fn sums_stay_within_bounds() {
        let mut sum = histogram(8, 0, &[1], 0);
        sum.add(&histogram(8, 100_000, &[1], 0)).unwrap();
        assert!(sum.schema == 3 && sum.positive.counts.len() as i64 <= DENSE_MAX, "{}", sum.schema);
        let before = sum.clone();
        let error = sum.add(&histogram(-4, 1 << 30, &[1], 0)).unwrap_err();
        assert!(error.contains("span more than"), "{error}");
        assert_eq!(sum, before);
        assert!(sum.add(&histogram(0, 0, &[u64::MAX - 2], 0)).is_ok());
        assert!(sum.add(&histogram(0, 0, &[u64::MAX - 1], 0)).unwrap_err().contains("2^64"));
        assert!(sum.native().unwrap_err().contains("2^53"));
    }

    #[test]
    fn explicit_bounds_become_custom_buckets() {
        let explicit = |bounds: &[f64], counts: &[u64]| Explicit {
            bounds: bounds.to_vec(),
            counts: counts.to_vec(),
            count: counts.iter().sum(),
            sum: Some(2.0),
        };
        let native = custom(&explicit(&[0.1, 0.5, 1.0], &[3, 0, 0, 4])).unwrap();
        assert_eq!((native.schema, &native.custom_values[..]), (CUSTOM_BUCKETS_SCHEMA, &[0.1, 0.5, 1.0][..]));
        assert_eq!(spans(&native), (vec![(0, 4)], vec![3.0, 0.0, 0.0, 4.0]));
        assert!(native.validate(100).is_ok());
        let infinite = custom(&explicit(&[1.0, f64::INFINITY], &[1, 2, 3])).unwrap();
        assert_eq!((infinite.custom_values.len(), spans(&infinite)), (1, (vec![(0, 2)], vec![1.0, 5.0])));
        let boundless = custom(&Explicit { count: 3, ..Explicit::default() }).unwrap();
        assert_eq!(spans(&boundless), (vec![(0, 1)], vec![3.0]));
        assert!(custom(&Explicit { count: 9, ..explicit(&[1.0], &[1, 2]) }).unwrap_err().contains("its count is 9"));
    }
}
