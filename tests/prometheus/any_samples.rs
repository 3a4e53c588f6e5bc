//! Samples that no scrape makes, read from tsq by a Prometheus: it answers what tsq answers.

use tsq::{Batch, Histogram, Kind, Labels, ResetHint, Span, stale_nan};
use tsq_server::ServerConfig;

use crate::compare;
use crate::process::Programs;
use crate::queries::{self, Query};
use crate::reading::start_reader;
use crate::recording::Tsq;

/// Unix time of the newest samples, about.
const END_S: i64 = 1_700_000_000;
const STEP_MS: i64 = 15_000;

/// Samples of a series; one every 15 s, the last at the end.
const SAMPLES: i64 = 240;

/// Samples of a series that is longer than a frame of Prometheus.
const NOISY: i64 = 300_000;

const QUERIES: &str = r#"
instant 0 | {__name__=~"any_.+"}
instant -1800 | {__name__=~"any_.+"}
range -3600 0 60 | {__name__=~"any_.+", __name__!="any_noise"}
range -3600 0 60 | rate({__name__=~"any_.*counter.*"}[5m])
range -3600 0 60 | increase({__name__=~"any_.*counter.*"}[2m])
range -3600 0 60 | delta(any_gauge_histogram[5m])
range -3600 0 60 | resets({__name__=~"any_.*counter.*"}[10m])
range -3600 0 60 | changes({__name__=~"any_.+"}[5m])
range -3600 0 60 | histogram_quantile(0.9, rate({__name__=~"any_.*counter_histogram"}[5m]))
range -3600 0 60 | histogram_count({__name__=~"any_.*histogram"})
range -3600 0 120 | count_over_time({__name__=~"any_.+"}[7m])
range -3600 0 120 | last_over_time(any_mixed[1m])
range -3600 0 120 | present_over_time(any_stale[2m])
range -3600 0 120 | sum by (__name__) ({__name__=~"any_(float|gauge)_.*histogram"})
range -3600 0 60 | absent(any_stale)
instant 0 | any_special[1h]
instant 0 | count_over_time(any_noise[300000s]) + 1
instant 0 | sum(max_over_time(any_noise[300000s]))
instant -150000 | any_noise
instant -1800000000 | any_old
instant 0 | count({__name__=~"any_many"})
instant 0 ordered | sort_desc(any_many > 1997)
"#;

/// Differences between the answers of a Prometheus that reads from tsq and tsq's own.
pub(crate) fn problems(programs: &Programs) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a temporary folder can be created");
    let server = Tsq::start(true, ServerConfig { data: dir.path().join("tsq"), ..ServerConfig::default() });
    for batch in batches(server.db.batch()) {
        assert_eq!(server.db.append(&batch).expect("samples can be stored").rejected, 0);
    }
    let (_process, reader) = start_reader(programs, &dir.path().join("reads"), &[server.address]);
    let queries = queries::parse(QUERIES, END_S);
    let problem = |query: &Query| {
        let want = query.ask(server.address).unwrap_or_else(|error| panic!("{}: {error}", query.text));
        assert_ne!(compare::series_count(&want), 0, "{}: no series", query.text);
        crate::another_answer("any samples", reader, query, &want)
    };
    queries.iter().filter_map(problem).collect()
}

fn batches(empty: Batch) -> Vec<Batch> {
    let mut all = empty.clone();
    floats(&mut all);
    histograms(&mut all);
    for number in 0..2000 {
        all.series(Kind::Float, &labels(&[("__name__", "any_many"), ("of", &format!("{number:05}"))]));
        all.float(1000 * END_S, f64::from(number));
    }
    let mut noise = empty;
    noise.series(Kind::Float, &labels(&[("__name__", "any_noise"), ("of", "any_noise")]));
    for at in 0..NOISY {
        noise.float(1000 * (END_S - NOISY + 1 + at), noisy(at));
    }
    vec![all, noise]
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).expect("the labels are good")
}

fn time(at: i64) -> i64 {
    1000 * END_S - (SAMPLES - 1 - at) * STEP_MS
}

/// A number whose bits all look random.
fn noisy(at: i64) -> f64 {
    (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) as f64 / 3.0
}

fn floats(out: &mut Batch) {
    let mut series = |name: &str, value: &dyn Fn(i64) -> Option<f64>| {
        out.series(Kind::Float, &labels(&[("__name__", name), ("of", name)]));
        for at in 0..SAMPLES {
            value(at).into_iter().for_each(|value| out.float(time(at), value));
        }
    };
    series("any_counter", &|at| Some((at % 100 * 7) as f64));
    series("any_stale", &|at| Some(if at / 10 % 2 == 0 { at as f64 } else { stale_nan() }));
    series("any_gap", &|at| (at / 40 % 2 == 0).then(|| noisy(at)));
    let special = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, f64::NAN, -1e-300];
    series("any_special", &|at| Some(special[at as usize % special.len()]));
    out.series(Kind::Float, &labels(&[("__name__", "any_old"), ("of", "any_old")]));
    out.float(-1000 * 100_000_000, -1.5);
    // A run: several steps at one time, of which the last counts.
    out.series(Kind::Run, &labels(&[("__name__", "any_run"), ("of", "any_run")]));
    for at in 0..SAMPLES {
        out.run(time(at), 2 * at, 1.0);
        out.run(time(at), 2 * at + 1, at as f64);
    }
}

fn histograms(out: &mut Batch) {
    let mut series = |name: &str, make: &dyn Fn(i64) -> Histogram| {
        out.series(Kind::Histogram, &labels(&[("__name__", name), ("of", name)]));
        for at in 0..SAMPLES {
            out.histogram(time(at), make(at));
        }
    };
    // Never close to zero: Prometheus 3.5 extrapolates histograms further down than later versions.
    let reset = |at: i64| 100 + at % 70;
    series("any_counter_histogram", &|at| histogram(reset(at), true));
    series("any_float_counter_histogram", &|at| halved(histogram(reset(at), false)));
    series("any_gauge_histogram", &|at| gauge(histogram((at * 37) % 50, true)));
    series("any_float_gauge_histogram", &|at| gauge(halved(histogram((at * 37) % 50, false))));
    series("any_custom_counter_histogram", &|at| custom(reset(at)));
    series("any_stale_histogram", &|at| if at % 20 < 15 { histogram(at, true) } else { Histogram::stale() });
    // Buckets appear and vanish.
    series("any_layouts_counter_histogram", &|at| match at / 30 % 3 {
        0 => histogram(100 + at, true),
        1 => Histogram { schema: 2, ..histogram(100 + at, true) },
        _ => {
            let mut wider = histogram(100 + at, true);
            wider.positive_spans.push(Span { offset: 3, length: 1 });
            wider.positive.push(1.0);
            wider.count += 1.0;
            wider
        }
    });
    let mixed = labels(&[("__name__", "any_mixed"), ("of", "any_mixed")]);
    for at in 0..SAMPLES {
        if at / 12 % 2 == 0 {
            out.series(Kind::Float, &mixed);
            out.float(time(at), at as f64);
        } else {
            out.series(Kind::Histogram, &mixed);
            out.histogram(time(at), histogram(at, at % 5 != 0));
        }
    }
}

/// Counts that grow with `number`.
fn histogram(number: i64, integer: bool) -> Histogram {
    let n = number as f64;
    let (positive, negative) = (vec![n, 2.0 * n, 0.0, n + 1.0], vec![n]);
    let zero_count = 3.0 * n;
    let count = zero_count + positive.iter().chain(&negative).sum::<f64>();
    Histogram {
        schema: 1,
        integer,
        zero_threshold: 0.001,
        zero_count,
        count,
        sum: noisy(number),
        positive_spans: vec![Span { offset: -1, length: 2 }, Span { offset: 2, length: 2 }],
        negative_spans: vec![Span { offset: 4, length: 1 }],
        positive,
        negative,
        ..Histogram::default()
    }
}

fn gauge(h: Histogram) -> Histogram {
    Histogram { reset_hint: ResetHint::Gauge, ..h }
}

fn halved(mut h: Histogram) -> Histogram {
    h.positive.iter_mut().chain(&mut h.negative).for_each(|count| *count /= 2.0);
    (h.count, h.zero_count) = (h.count / 2.0, h.zero_count / 2.0);
    h
}

fn custom(number: i64) -> Histogram {
    let n = number as f64;
    Histogram {
        schema: tsq::CUSTOM_BUCKETS_SCHEMA,
        integer: true,
        count: 4.0 * n,
        sum: noisy(number),
        positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }],
        positive: vec![n, 2.0 * n, n],
        custom_values: vec![0.005, 0.1, 2.5],
        ..Histogram::default()
    }
}
