//! Batches as a whole: every bit comes back, and no bytes make decoding panic.

use proptest::prelude::*;

use super::*;
use crate::histogram::{CUSTOM_BUCKETS_SCHEMA, ResetHint, Span};
use crate::sample::stale_nan;

fn decoded(payload: &[u8]) -> Result<BatchRecord> {
    let mut record = BatchRecord::default();
    decode(payload, &mut Scratch::default(), &mut record)?;
    Ok(record)
}

/// Encodes, compares, and tries every truncation.
fn round_trip(record: &BatchRecord) -> Vec<u8> {
    let (mut scratch, mut out) = (Scratch::default(), Vec::new());
    encode(record, &mut scratch, &mut out);
    let got = decoded(&out).unwrap();
    assert_same(&got, record);
    let mut again = Vec::new();
    encode(record, &mut scratch, &mut again);
    assert_eq!(again, out, "a used scratch changes nothing");
    for cut in 0..out.len() {
        assert!(decoded(&out[..cut]).is_err(), "{cut} of {} bytes decoded", out.len());
    }
    out
}

/// Equality of every bit.
fn assert_same(got: &BatchRecord, want: &BatchRecord) {
    let bits = |record: &BatchRecord| -> Vec<Vec<u64>> {
        let exemplars: Vec<f64> = record.exemplars.iter().map(|(_, exemplar)| exemplar.value).collect();
        let columns = record.groups.iter().map(|group| &group.values).chain([&exemplars]);
        columns.map(|column| column.iter().map(|value| value.to_bits()).collect()).collect()
    };
    assert_eq!(bits(got), bits(want));
    let without_values = |record: &BatchRecord| {
        let mut record = record.clone();
        record.groups.iter_mut().for_each(|group| group.values.clear());
        record.exemplars.iter_mut().for_each(|(_, exemplar)| exemplar.value = 0.0);
        record
    };
    assert_eq!(without_values(got), without_values(want));
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

fn histogram() -> Histogram {
    Histogram {
        schema: 3,
        reset_hint: ResetHint::NotReset,
        integer: true,
        zero_threshold: 1e-128,
        zero_count: 2.0,
        count: 21.0,
        sum: 0.1 + 0.2,
        positive_spans: vec![Span { offset: -3, length: 2 }, Span { offset: 7, length: 1 }],
        negative_spans: vec![Span { offset: 0, length: 1 }],
        positive: vec![5.0, 6.0, 7.0],
        negative: vec![1.0],
        custom_values: Vec::new(),
    }
}

fn custom_histogram() -> Histogram {
    Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        reset_hint: ResetHint::Gauge,
        count: 1.5,
        sum: -0.0,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive: vec![0.5, 1.0],
        custom_values: vec![0.1, f64::INFINITY],
        ..Histogram::default()
    }
}

fn everything() -> BatchRecord {
    let job = labels(&[("__name__", "up"), ("job", "api"), ("zone", "api")]);
    let other = labels(&[("__name__", "loss"), ("run", "r-1")]);
    let mut record = BatchRecord {
        definitions: vec![
            Definition { log_ref: 7, kind: Kind::Float, labels: job.clone() },
            Definition { log_ref: u32::MAX, kind: Kind::Run, labels: other.clone() },
            Definition { log_ref: 0, kind: Kind::Histogram, labels: Labels::empty() },
        ],
        exemplars: vec![(job, Exemplar { labels: labels(&[("trace_id", "abc")]), value: stale_nan(), time_ms: -5 })],
        metadata: vec![Metadata {
            metric: "up".to_owned(),
            metric_type: "gauge".to_owned(),
            unit: String::new(),
            help: "Whether the target is up, ja oder nein \u{2764}".to_owned(),
        }],
        ..BatchRecord::default()
    };
    *record.group_mut(Kind::Float) = Group {
        refs: vec![7, 7, 3],
        times: vec![1_700_000_000_000, i64::MIN, i64::MAX],
        values: vec![1.0, -0.0, stale_nan()],
        ..Group::default()
    };
    *record.group_mut(Kind::Histogram) = Group {
        refs: vec![0, 1, 2],
        times: vec![1, 2, 3],
        histograms: vec![histogram(), custom_histogram(), Histogram::stale()],
        starts: vec![0, 1_600_000_000_000, -5],
        ..Group::default()
    };
    *record.group_mut(Kind::Run) = Group {
        refs: vec![u32::MAX, u32::MAX],
        times: vec![5, 5],
        steps: vec![-1, i64::MAX],
        values: vec![0.25, f64::INFINITY],
        ..Group::default()
    };
    *record.group_mut(Kind::RunHistogram) =
        Group { refs: vec![9], times: vec![0], steps: vec![100], histograms: vec![histogram()], ..Group::default() };
    record
}

#[test]
fn all_sections_round_trip() {
    let payload = round_trip(&everything());
    assert!(payload.len() < 500, "{}", payload.len());
    assert_eq!(round_trip(&BatchRecord::default()), [VERSION, 0]);
}

#[test]
fn strings_are_stored_once() {
    let definition = |index: u32| Definition {
        log_ref: index,
        kind: Kind::Float,
        labels: labels(&[("__name__", "requests_total"), ("instance", &format!("i{}", index % 4)), ("job", "api")]),
    };
    let record = BatchRecord { definitions: (0..1_000).map(definition).collect(), ..BatchRecord::default() };
    let mut out = Vec::new();
    encode(&record, &mut Scratch::default(), &mut out);
    assert!(out.len() < 1_000 * 10, "{} bytes for 1,000 definitions", out.len());
    assert_same(&decoded(&out).unwrap(), &record);
}

#[test]
fn a_newer_version_is_refused_as_such() {
    let mut payload = round_trip(&everything());
    payload[0] = VERSION_STARTS + 1;
    assert_eq!(decoded(&payload).unwrap_err().kind(), ErrorKind::UnsupportedFormat);
    payload[0] = 0;
    assert_eq!(decoded(&payload).unwrap_err().kind(), ErrorKind::Corrupt);
}

/// Batches of which no sample has a start time are written as they were before there were any.
#[test]
fn batches_without_starts_keep_their_version() {
    let mut record = everything();
    assert_eq!(round_trip(&record)[..3], [VERSION_STARTS, 0xff, GROUPS << 1]);
    record.groups.iter_mut().for_each(|group| group.starts.clear());
    assert_eq!(round_trip(&record)[..2], [VERSION, 0xff]);
}

#[test]
fn starts_of_kinds_without_samples_are_damage() {
    let mut payload = round_trip(&everything());
    for starts in [0, 1, 0xff] {
        payload[2] = starts;
        assert_eq!(decoded(&payload).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_declared_count_allocates_nothing() {
    for section in [STRINGS, DEFINITIONS, GROUPS, GROUPS << 1, GROUPS << 2, EXEMPLARS, METADATA] {
        let mut payload = vec![VERSION, section];
        push_varint(&mut payload, u64::MAX >> 1);
        payload.extend_from_slice(&[0; 30]);
        assert_eq!(decoded(&payload).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

fn any_histogram() -> impl Strategy<Value = Histogram> {
    let counts = || prop::collection::vec(prop_oneof![(0_u32..1_000).prop_map(f64::from), any::<f64>()], 0..6);
    let spans = || {
        let span = (any::<i32>(), any::<u32>()).prop_map(|(offset, length)| Span { offset, length });
        prop::collection::vec(span, 0..4)
    };
    let head = (any::<i8>(), 0_u8..4, any::<bool>(), any::<[u64; 4]>());
    (head, spans(), spans(), counts(), counts(), counts()).prop_map(
        |((schema, hint, integer, bits), positive_spans, negative_spans, positive, negative, custom_values)| {
            Histogram {
                schema,
                reset_hint: ResetHint::from_u8(hint).unwrap(),
                integer,
                zero_threshold: f64::from_bits(bits[0]),
                zero_count: if integer { f64::from(bits[1] as u32) } else { f64::from_bits(bits[1]) },
                count: if integer { f64::from(bits[2] as u32) } else { f64::from_bits(bits[2]) },
                sum: f64::from_bits(bits[3]),
                positive_spans,
                negative_spans,
                positive,
                negative,
                custom_values,
            }
        },
    )
}

fn any_labels() -> impl Strategy<Value = Labels> {
    prop::collection::btree_map("[a-c]{1,2}", "[x-z\u{e9}]{1,3}", 0..4)
        .prop_map(|pairs| Labels::from_pairs(pairs).unwrap())
}

fn any_record() -> impl Strategy<Value = BatchRecord> {
    let kind = (0_u8..4).prop_map(|kind| Kind::from_u8(kind).unwrap());
    let definition = (any::<u32>(), kind, any_labels());
    let definitions = prop::collection::vec(
        definition.prop_map(|(log_ref, kind, labels)| Definition { log_ref, kind, labels }),
        0..5,
    );
    let time = prop_oneof![1_700_000_000_000_i64..1_700_000_100_000, any::<i64>()];
    let value = prop_oneof![any::<u64>().prop_map(f64::from_bits), (0_i32..10_000).prop_map(|i| f64::from(i) / 100.0)];
    let samples = |len| prop::collection::vec((0_u32..50, time.clone(), any::<i64>(), value.clone()), 0..len);
    let histograms = || prop::collection::vec((any::<u32>(), any::<i64>(), any::<i64>(), any_histogram()), 0..3);
    let exemplar =
        (any_labels(), any_labels(), any::<u64>(), any::<i64>()).prop_map(|(series, labels, bits, time_ms)| {
            // Proptest compares exemplars by value; NaNs have their own test.
            let value = f64::from_bits(bits);
            (series, Exemplar { labels, value: if value.is_nan() { 0.5 } else { value }, time_ms })
        });
    let metadata = any::<[u8; 4]>().prop_map(|bytes| {
        let text = |index: usize| bytes[index].to_string().repeat(usize::from(bytes[index] % 3));
        Metadata { metric: text(0), metric_type: text(1), unit: text(2), help: text(3) }
    });
    let starts = any::<(u8, i64)>();
    let rest = (prop::collection::vec(exemplar, 0..3), prop::collection::vec(metadata, 0..3), starts);
    (definitions, samples(80), samples(20), histograms(), histograms(), rest).prop_map(
        |(definitions, floats, runs, histograms, run_histograms, (exemplars, metadata, (kinds, start)))| {
            let mut record = BatchRecord { definitions, exemplars, metadata, ..BatchRecord::default() };
            for (kind, samples) in [(Kind::Float, floats), (Kind::Run, runs)] {
                let group = record.group_mut(kind);
                for (number, time, step, value) in samples {
                    group.refs.push(number);
                    group.times.push(time);
                    group.values.push(value);
                    group.steps.extend(kind.has_step().then_some(step));
                }
            }
            for (kind, samples) in [(Kind::Histogram, histograms), (Kind::RunHistogram, run_histograms)] {
                let group = record.group_mut(kind);
                for (number, time, step, histogram) in samples {
                    group.refs.push(number);
                    group.times.push(time);
                    group.histograms.push(histogram);
                    group.steps.extend(kind.has_step().then_some(step));
                }
            }
            let since = |&time: &i64| if time % 5 == 0 { 0 } else { start.wrapping_add(time % 3) };
            for (_, group) in record.groups.iter_mut().enumerate().filter(|(index, _)| kinds & 1 << index != 0) {
                group.starts = group.times.iter().map(since).collect();
            }
            record
        },
    )
}

proptest! {
    #[test]
    fn any_batch_round_trips(record in any_record()) {
        round_trip(&record);
    }

    /// A checksum that holds says "as written", not "harmless": whatever decodes, decodes without a panic.
    #[test]
    fn flipped_bytes_do_not_panic(
        record in any_record(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..6),
    ) {
        let mut payload = Vec::new();
        encode(&record, &mut Scratch::default(), &mut payload);
        for (index, byte) in flips {
            let at = index.index(payload.len());
            payload[at] ^= byte;
        }
        let _ = decoded(&payload);
    }

    #[test]
    fn no_bytes_make_it_panic(sections: u8, bytes in prop::collection::vec(any::<u8>(), 0..150)) {
        for version in [VERSION, VERSION_STARTS] {
            let payload: Vec<u8> = [version, sections].into_iter().chain(bytes.iter().copied()).collect();
            let _ = decoded(&payload);
        }
    }
}
