//! Native histograms that go on from sample to sample.

use std::collections::BTreeMap;

use tsq_core::{CUSTOM_BUCKETS_SCHEMA, Histogram, ResetHint, Span};
use tsq_tests::random::Random;

use crate::data::Class;

/// What stays the same in a series, mostly.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    schema: i8,
    zero_threshold: f64,
    custom_values: Vec<f64>,
    integer: bool,
    gauge: bool,
    /// Whether custom bounds change.
    uneven: bool,
    /// Whether observations below zero are made.
    negative: bool,
    /// Most observations between two samples.
    rate: u64,
    /// Scale of the observations.
    scale: f64,
    /// Restarts and changes of shape, in a thousand samples.
    changes: u64,
}

/// Bounds of custom buckets. Only [`Class::Uneven`] has others than the first.
const CUSTOM: [&[f64]; 3] = [&[0.1, 0.5, 1.0, 5.0, 10.0], &[0.5, 1.0, 2.0, 5.0], &[-1.0, 0.0, 1.0]];

impl Shape {
    /// A shape for a series of this class.
    pub(crate) fn of(class: Class, random: &mut Random) -> Self {
        let custom = match class {
            Class::Custom | Class::Uneven => true,
            Class::Mixed => random.chance(30),
            _ => false,
        };
        let bounds = if class == Class::Uneven { *random.pick(&CUSTOM) } else { CUSTOM[0] };
        Self {
            schema: if custom { CUSTOM_BUCKETS_SCHEMA } else { *random.pick(&[0, 0, 1, 2, 3, -1, 5]) },
            zero_threshold: if custom { 0.0 } else { *random.pick(&[0.0, 1e-3, 1e-3, 0.01]) },
            custom_values: if custom { bounds.to_vec() } else { Vec::new() },
            uneven: class == Class::Uneven,
            integer: random.chance(60),
            gauge: class == Class::GaugeHistogram,
            negative: !custom && random.chance(30),
            rate: *random.pick(&[2, 10, 40]),
            scale: *random.pick(&[0.01, 1.0, 3.0, 100.0]),
            changes: *random.pick(&[0, 5, 20]),
        }
    }
}

/// The state of a series.
#[derive(Clone, Debug)]
pub(crate) struct Buckets {
    shape: Shape,
    positive: BTreeMap<i32, f64>,
    negative: BTreeMap<i32, f64>,
    zero: f64,
    sum: f64,
}

impl Buckets {
    /// Before the first observation.
    pub(crate) fn new(shape: Shape) -> Self {
        Self { shape, positive: BTreeMap::new(), negative: BTreeMap::new(), zero: 0.0, sum: 0.0 }
    }

    /// What happens until the next sample.
    pub(crate) fn step(&mut self, random: &mut Random) {
        if random.below(1000) < self.shape.changes {
            self.change(random);
        } else if self.shape.gauge && random.chance(50) {
            *self = Self::new(self.shape.clone());
        }
        for _ in 0..random.below(self.shape.rate) {
            self.observe(random);
        }
    }

    /// The process starts anew, sometimes with other buckets.
    fn change(&mut self, random: &mut Random) {
        let mut shape = self.shape.clone();
        match random.below(4) {
            0 if shape.custom_values.is_empty() => shape.schema = (shape.schema + 1).min(6),
            1 if shape.custom_values.is_empty() => shape.zero_threshold = *random.pick(&[0.0, 1e-3, 0.5]),
            0 | 1 if shape.uneven => shape.custom_values = random.pick(&CUSTOM).to_vec(),
            _ => {}
        }
        *self = Self::new(shape);
    }

    fn observe(&mut self, random: &mut Random) {
        let size = random.unit() * random.unit() * self.shape.scale;
        let value = if self.shape.negative && random.chance(30) { -size } else { size };
        let weight = if self.shape.integer { 1.0 } else { *random.pick(&[1.0, 0.5, 0.1]) };
        self.sum += value * weight;
        if !self.shape.custom_values.is_empty() {
            let index = self.shape.custom_values.partition_point(|bound| *bound < value);
            *self.positive.entry(index as i32).or_insert(0.0) += weight;
        } else if value.abs() <= self.shape.zero_threshold {
            self.zero += weight;
        } else {
            let index = (value.abs().log2() * f64::from(self.shape.schema).exp2()).ceil() as i32;
            let side = if value < 0.0 { &mut self.negative } else { &mut self.positive };
            *side.entry(index).or_insert(0.0) += weight;
        }
    }

    /// The end of the series.
    pub(crate) fn staleness_marker(&self) -> Histogram {
        // Prometheus stores samples of one request by their types: a marker of another one would come out of order.
        Histogram { integer: self.shape.integer, ..Histogram::stale() }
    }

    /// The sample that is sent.
    pub(crate) fn histogram(&self) -> Histogram {
        let (positive_spans, positive) = side(&self.positive);
        let (negative_spans, negative) = side(&self.negative);
        Histogram {
            schema: self.shape.schema,
            reset_hint: if self.shape.gauge { ResetHint::Gauge } else { ResetHint::Unknown },
            integer: self.shape.integer,
            zero_threshold: self.shape.zero_threshold,
            zero_count: self.zero,
            count: self.zero + positive.iter().sum::<f64>() + negative.iter().sum::<f64>(),
            sum: self.sum,
            positive_spans,
            negative_spans,
            positive,
            negative,
            custom_values: self.shape.custom_values.clone(),
        }
    }
}

/// Runs of buckets, and their counts.
fn side(buckets: &BTreeMap<i32, f64>) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut next = 0;
    for &index in buckets.keys() {
        match spans.last_mut() {
            Some(span) if index == next => span.length += 1,
            _ => spans.push(Span { offset: index - next, length: 1 }),
        }
        next = index + 1;
    }
    (spans, buckets.values().copied().collect())
}
