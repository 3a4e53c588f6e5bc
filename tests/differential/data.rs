//! Random series of every kind that queries meet, the same for the same seed.
//!
//! Two and a half hours from [`START_MS`] on. Series appear, end with a staleness marker, come back, have gaps longer than
//! the lookback, restart counting, and are measured at regular and at odd times.

use std::collections::BTreeMap;

use tsq_core::{Histogram, Labels, is_stale, stale_nan};
use tsq_ingest::remote_write::{TimeSeries, WriteRequest, encode_v2};
use tsq_tests::random::Random;

use crate::histograms::{Buckets, Shape};

/// Time of the first samples.
pub(crate) const START_MS: i64 = 1_700_000_000_000;
/// Time after the last samples.
pub(crate) const END_MS: i64 = START_MS + 9_000_000;

/// Samples of one request lie this close together. Series that change between floats and histograms do so only from one
/// request to the next: inside of a series a request holds all floats before all histograms.
const SLICE_MS: i64 = 120_000;

/// What the samples of a metric are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Floats that go up and down.
    Gauge,
    /// Floats with NaN, infinities, zeros with a sign, and the smallest and largest numbers.
    Special,
    /// Floats that count.
    Counter,
    /// Buckets of classic histograms, by `le`.
    Bucket,
    /// Native histograms that count, with exponential buckets.
    Exponential,
    /// Native histograms that count, with custom buckets.
    Custom,
    /// Native histograms that count, with custom buckets of several kinds.
    Uneven,
    /// Native histograms that do not count.
    GaugeHistogram,
    /// Sometimes floats, sometimes native histograms.
    Mixed,
    /// Seconds since 1970.
    Time,
    /// Always 1, with labels that say something about an instance.
    Info,
}

/// A metric and the labels that some of its series have.
#[derive(Clone, Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) class: Class,
    /// Values by label name, that of the metric not among them.
    pub(crate) labels: BTreeMap<String, Vec<String>>,
}

/// All series, and the metrics they belong to.
pub(crate) struct Data {
    pub(crate) metrics: Vec<Metric>,
    pub(crate) series: Vec<TimeSeries>,
}

/// The jobs and the number of instances of each.
const JOBS: [(&str, usize); 3] = [("api", 4), ("db", 3), ("web", 2)];
const BOUNDS: [&str; 7] = ["0.1", "0.25", "0.5", "1", "2.5", "10", "+Inf"];

/// How a metric is made: name, class, series per instance.
const METRICS: &[(&str, Class, usize)] = &[
    ("temperature", Class::Gauge, 2),
    ("queue_length", Class::Gauge, 2),
    ("memory_bytes", Class::Gauge, 1),
    ("höhe.µ", Class::Gauge, 1),
    ("odd_values", Class::Special, 1),
    ("requests_total", Class::Counter, 3),
    ("cpu_seconds_total", Class::Counter, 2),
    ("bytes_total", Class::Counter, 1),
    ("latency_seconds_bucket", Class::Bucket, 1),
    ("uneven_seconds_bucket", Class::Bucket, 1),
    ("wait_seconds", Class::Exponential, 2),
    ("size_bytes", Class::Exponential, 1),
    ("custom_seconds", Class::Custom, 2),
    ("uneven_custom_seconds", Class::Uneven, 1),
    ("open_connections", Class::GaugeHistogram, 1),
    ("changing", Class::Mixed, 2),
    ("started_time_seconds", Class::Time, 1),
    ("target_info", Class::Info, 1),
    ("build_info", Class::Info, 1),
];

impl Data {
    /// The data of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut maker = Maker { random: Random::new(seed), data: Data { metrics: Vec::new(), series: Vec::new() } };
        for &(name, class, variants) in METRICS {
            maker.metric(name, class, variants);
        }
        maker.lone_series();
        let mut data = maker.data;
        data.series.sort_by(|a, b| a.labels.iter().cmp(b.labels.iter()));
        for metric in &mut data.metrics {
            metric.gather_labels(&data.series);
        }
        data
    }

    /// The series as remote write 2.0 requests, by time.
    ///
    /// The first one creates all series, with nothing but staleness markers: Prometheus answers in the order in which
    /// series were created, tsq in that of their labels.
    pub(crate) fn requests(&self) -> Vec<Vec<u8>> {
        let marker = |series: &TimeSeries| TimeSeries {
            labels: series.labels.clone(),
            samples: vec![(START_MS - 1, stale_nan())],
            ..TimeSeries::default()
        };
        let first = WriteRequest { series: self.series.iter().map(marker).collect(), metadata: Vec::new() };
        let slices = (START_MS..END_MS).step_by(SLICE_MS as usize);
        let slices = slices.map(|start| self.slice(start, start + SLICE_MS));
        std::iter::once(first).chain(slices).map(|request| encode_v2(&request)).collect()
    }

    fn slice(&self, start_ms: i64, end_ms: i64) -> WriteRequest {
        let within = |time_ms: i64| (start_ms..end_ms).contains(&time_ms);
        let cut = |series: &TimeSeries| TimeSeries {
            labels: series.labels.clone(),
            samples: series.samples.iter().filter(|(time_ms, _)| within(*time_ms)).copied().collect(),
            histograms: series.histograms.iter().filter(|(time_ms, _)| within(*time_ms)).cloned().collect(),
            ..TimeSeries::default()
        };
        let series = self.series.iter().map(cut);
        let series = series.filter(|series| !series.samples.is_empty() || !series.histograms.is_empty()).collect();
        WriteRequest { series, metadata: Vec::new() }
    }

    /// Samples of both kinds.
    pub(crate) fn sample_counts(&self) -> (usize, usize) {
        let floats = self.series.iter().map(|series| series.samples.len()).sum();
        (floats, self.series.iter().map(|series| series.histograms.len()).sum())
    }
}

impl Metric {
    fn gather_labels(&mut self, all: &[TimeSeries]) {
        for series in all.iter().filter(|series| series.labels.metric_name() == self.name) {
            for (name, value) in series.labels.iter().filter(|(name, _)| *name != "__name__") {
                let values = self.labels.entry(name.to_owned()).or_default();
                if !values.iter().any(|known| known == value) {
                    values.push(value.to_owned());
                }
            }
        }
    }
}

struct Maker {
    random: Random,
    data: Data,
}

impl Maker {
    fn metric(&mut self, name: &'static str, class: Class, variants: usize) {
        self.data.metrics.push(Metric { name, class, labels: BTreeMap::new() });
        for (job, instances) in JOBS {
            for instance in 0..instances {
                let instance = instance.to_string();
                for variant in 0..variants {
                    let mut labels = vec![("__name__", name), ("job", job), ("instance", &instance)];
                    labels.extend(variant_labels(class, name, variant, self.random.number()));
                    self.series_of(&labels, class, name);
                }
            }
        }
    }

    /// A metric with one series that has no labels.
    fn lone_series(&mut self) {
        self.data.metrics.push(Metric { name: "lone", class: Class::Gauge, labels: BTreeMap::new() });
        self.series_of(&[("__name__", "lone")], Class::Gauge, "lone");
    }

    fn series_of(&mut self, labels: &[(&str, &str)], class: Class, name: &str) {
        // Info series have no gaps: what they say at other times is tested by the scripts in tests/conformance.
        let times = if class == Class::Info { regular_times() } else { self.times() };
        match class {
            Class::Bucket => self.buckets(labels, &times, name == "uneven_seconds_bucket"),
            Class::Exponential | Class::Custom | Class::Uneven | Class::GaugeHistogram => {
                let series = self.histograms(&times, class);
                self.push(labels, Vec::new(), series);
            }
            Class::Mixed => {
                let (floats, histograms) = (self.floats(&times, Class::Gauge), self.histograms(&times, class));
                let (often, phase) = (1 + self.random.below(9) as i64, self.random.below(2) as i64);
                let is_float = |time_ms: i64| (time_ms - START_MS) / SLICE_MS / often % 2 == phase;
                // Prometheus makes a marker one of histograms where the series had those in the request before.
                let stays = |(time_ms, value): &(i64, f64)| is_float(*time_ms) && !is_stale(*value);
                let floats = floats.into_iter().filter(stays).collect();
                let histograms = histograms.into_iter().filter(|(time_ms, _)| !is_float(*time_ms)).collect();
                self.push(labels, floats, histograms);
            }
            _ => {
                let floats = self.floats(&times, class);
                self.push(labels, floats, Vec::new());
            }
        }
    }

    fn push(&mut self, labels: &[(&str, &str)], samples: Vec<(i64, f64)>, histograms: Vec<(i64, Histogram)>) {
        let labels = Labels::from_pairs(labels.iter().copied()).expect("the labels are good");
        self.data.series.push(TimeSeries { labels, samples, histograms, ..TimeSeries::default() });
    }

    /// When a series is measured, and whether its samples there are staleness markers.
    fn times(&mut self) -> Vec<(i64, bool)> {
        let random = &mut self.random;
        let interval = *random.pick(&[10_000, 15_000, 15_000, 15_000, 30_000, 60_000]);
        let jitter = *random.pick(&[0, 0, 0, 7, 900]);
        let mut time = START_MS + random.below(interval) as i64;
        if random.chance(20) {
            time += random.below(4_000_000) as i64;
        }
        let end = if random.chance(20) { END_MS - random.below(4_000_000) as i64 } else { END_MS - 1 };
        let breaks = random.chance(50);
        let mut times = Vec::new();
        while time < end {
            let is_stale = breaks && random.chance(1) || time + interval as i64 >= end && random.chance(50);
            times.push((time, is_stale));
            let missing = match random.below(1000) {
                0..10 if breaks => 1 + random.below(3),
                10..15 if breaks => random.below(60),
                _ => 0,
            };
            time += (interval * (1 + missing) + random.below(jitter + 1)) as i64;
        }
        times
    }

    fn floats(&mut self, times: &[(i64, bool)], class: Class) -> Vec<(i64, f64)> {
        let mut walk = Walk::new(class, &mut self.random);
        let mut value = |random: &mut Random, is_stale| if is_stale { stale_nan() } else { walk.next(random) };
        times.iter().map(|&(time_ms, is_stale)| (time_ms, value(&mut self.random, is_stale))).collect()
    }

    fn histograms(&mut self, times: &[(i64, bool)], class: Class) -> Vec<(i64, Histogram)> {
        let mut buckets = Buckets::new(Shape::of(class, &mut self.random));
        let mut out = Vec::with_capacity(times.len());
        for &(time_ms, is_stale) in times {
            buckets.step(&mut self.random);
            out.push((time_ms, if is_stale { buckets.staleness_marker() } else { buckets.histogram() }));
        }
        out
    }

    /// All buckets of one classic histogram. `uneven` ones have counts that are a little too low, a missing bound, or a
    /// bound that is no number.
    fn buckets(&mut self, labels: &[(&str, &str)], times: &[(i64, bool)], uneven: bool) {
        let mut all: Vec<Vec<(i64, f64)>> = vec![Vec::new(); BOUNDS.len()];
        let mut counts = [0.0; BOUNDS.len()];
        let (rate, wrong) = (1 + self.random.below(20), self.random.below(4));
        for &(time_ms, is_stale) in times {
            if self.random.chance(1) {
                counts = [0.0; BOUNDS.len()];
            }
            for _ in 0..self.random.below(rate) {
                let first = self.random.below(BOUNDS.len() as u64) as usize;
                counts[first..].iter_mut().for_each(|count| *count += 1.0);
            }
            for (index, samples) in all.iter_mut().enumerate() {
                let shift = if uneven && wrong == 0 && index % 3 == 1 { counts[index] * 1e-13 } else { 0.0 };
                let drop = if uneven && wrong == 1 && index == 4 { 3.0_f64.min(counts[index]) } else { 0.0 };
                samples.push((time_ms, if is_stale { stale_nan() } else { counts[index] + shift - drop }));
            }
        }
        for (index, (samples, bound)) in all.into_iter().zip(BOUNDS).enumerate() {
            let bound = match (uneven, wrong, index) {
                (true, 2, 6) => continue,
                (true, 3, 3) => "one",
                _ => bound,
            };
            self.push(&[labels, &[("le", bound)]].concat(), samples, Vec::new());
        }
    }
}

/// Times of a series that is always there.
fn regular_times() -> Vec<(i64, bool)> {
    (START_MS..END_MS).step_by(60_000).map(|time_ms| (time_ms, false)).collect()
}

/// Further labels of the series of an instance: some lack `env`, some have names that are no identifiers.
fn variant_labels(class: Class, name: &str, variant: usize, random: u64) -> Vec<(&'static str, &'static str)> {
    let mut labels = Vec::new();
    if let Some(path) = ["/", "/login", "/search"].get(variant)
        && class == Class::Counter
    {
        labels.push(("path", *path));
        labels.push(("code", ["200", "500", "404"][(random % 3) as usize]));
    } else if variant > 0 {
        labels.push(("part", ["", "inner", "outer"][variant % 3]));
    }
    if class == Class::Info {
        labels.push(("version", ["1.0", "1.1", "2.0"][(random % 3) as usize]));
        labels.push(("os.type", ["linux", "bsd"][(random / 3 % 2) as usize]));
    }
    if name.contains('.') {
        labels.push(("ключ.a", ["x", "y z"][(random % 2) as usize]));
    }
    labels.push(("env", ["prod", "test", "", ""][(random / 7 % 4) as usize]));
    labels
}

/// How the values of a float series go on.
struct Walk {
    class: Class,
    value: f64,
    width: f64,
    whole: bool,
}

const SPECIAL: [f64; 14] = [
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    0.0,
    -0.0,
    5e-324,
    -1e-310,
    1.797e308,
    -1.797e308,
    1e15,
    0.1,
    -2.5,
    1.0,
    1.0,
];

impl Walk {
    fn new(class: Class, random: &mut Random) -> Self {
        let width = *random.pick(&[1.0, 1.0, 3.0, 1e-6, 1e9]);
        let value = match class {
            Class::Counter if random.chance(80) => 0.0,
            Class::Counter => 1e15 * random.unit(),
            Class::Time => (random.unit() - 0.1) * 2e9,
            Class::Info => 1.0,
            _ => (random.unit() - 0.3) * 20.0 * width,
        };
        Self { class, value, width, whole: random.chance(50) }
    }

    fn next(&mut self, random: &mut Random) -> f64 {
        match self.class {
            Class::Info => {}
            Class::Special => self.value = *random.pick(&SPECIAL),
            Class::Time if random.chance(90) => {}
            Class::Time => self.value += random.unit() * 1e6,
            Class::Counter if random.chance(1) => self.value = 0.0,
            Class::Counter if random.chance(25) => {}
            Class::Counter => self.value += self.shaped(random.unit() * 10.0),
            _ if random.chance(25) => {}
            _ => self.value += self.shaped((random.unit() - 0.5) * 4.0),
        }
        self.value
    }

    fn shaped(&self, step: f64) -> f64 {
        if self.whole { step.round() * self.width.max(1.0) } else { step * self.width }
    }
}
