//! Remote write from the bytes of a request to what the database gives back.

mod common;

use std::path::Path;

use common::{TestDb, dump};
use proptest::prelude::*;
use tsq_core::{Appended, Batch, Exemplar, Histogram, Labels, Metadata, RejectReason, ResetHint, Span};
use tsq_ingest::DecodeError;
use tsq_ingest::remote_write::{
    Counts, TimeSeries, V1Labels, WriteRequest, decode_v1, decode_v2, decompress, encode_v1, encode_v2,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Version {
    V1,
    V2,
}

const VERSIONS: [Version; 2] = [Version::V1, Version::V2];

impl Version {
    fn encode(self, request: &WriteRequest) -> Vec<u8> {
        match self {
            Self::V1 => encode_v1(request),
            Self::V2 => encode_v2(request),
        }
    }

    /// Decodes a body (no snappy) without storing it.
    fn decode(self, body: &[u8], batch: &mut Batch) -> Result<Counts, DecodeError> {
        match self {
            Self::V1 => decode_v1(body, batch),
            Self::V2 => decode_v2(body, batch).map(|(counts, _)| counts),
        }
    }

    fn store(self, db: &TestDb, body: &[u8]) -> (Counts, Appended) {
        let mut batch = db.db.batch();
        match self {
            Self::V1 => {
                let counts = decode_v1(body, &mut batch).unwrap();
                (counts, db.db.append_with(&batch, &V1Labels).unwrap())
            }
            Self::V2 => {
                let (counts, labels) = decode_v2(body, &mut batch).unwrap();
                (counts, db.db.append_with(&batch, &labels).unwrap())
            }
        }
    }
}

fn plain(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    decompress(body, 32 << 20, &mut out).unwrap();
    out
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/remote_write").join(name)).unwrap()
}

/// 1.0 has no start timestamps.
fn without_starts(text: &str) -> String {
    text.lines().map(|line| line.split(" start=").next().unwrap_or(line).to_owned() + "\n").collect()
}

#[test]
fn payloads_of_an_independent_encoder_are_stored_exactly() {
    for name in ["floats", "histograms", "extras"] {
        let all = String::from_utf8(golden(&format!("{name}.txt"))).unwrap();
        for (version, file) in [(Version::V1, "v1"), (Version::V2, "v2")] {
            let want = if version == Version::V1 { without_starts(&all) } else { all.clone() };
            let db = TestDb::new();
            let body = plain(&golden(&format!("{name}.{file}.snappy")));
            let (counts, appended) = version.store(&db, &body);
            assert_eq!(counts.rejected, 0, "{name} {file}: {:?}", counts.rejections);
            assert_eq!(appended.rejected, 0, "{name} {file}: {:?}", appended.rejections);
            assert_eq!((counts.floats, counts.histograms), (appended.floats, appended.histograms), "{name} {file}");
            assert_eq!(dump(&db.db), want, "{name} {file}");
            // The same request again is a success and changes nothing.
            assert_eq!(version.store(&db, &body).1.rejected, 0, "{name} {file}");
            let samples = |text: &str| text.lines().filter(|line| !line.starts_with("exemplar")).count();
            assert_eq!(samples(&dump(&db.db)), samples(&want), "{name} {file}");
        }
    }
}

#[test]
fn no_damage_to_a_payload_panics() {
    let mut batch = Batch::default();
    for name in ["floats", "histograms", "extras"] {
        for (version, file) in [(Version::V1, "v1"), (Version::V2, "v2")] {
            let body = plain(&golden(&format!("{name}.{file}.snappy")));
            for cut in 0..body.len() {
                batch.clear();
                let cut_off = version.decode(&body[..cut], &mut batch);
                assert!(cut_off.is_ok() || batch.is_empty(), "a failed decode leaves nothing behind");
            }
            for bit in 0..body.len() * 8 {
                let mut body = body.clone();
                body[bit / 8] ^= 1 << (bit % 8);
                batch.clear();
                match version.decode(&body, &mut batch) {
                    Ok(_) => (),
                    Err(error) => assert!(error.offset() <= body.len() && batch.is_empty(), "{error}"),
                }
            }
        }
    }
}

fn series(pairs: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
    let labels = Labels::from_pairs(pairs.iter().copied()).unwrap();
    TimeSeries { labels, samples: samples.to_vec(), ..TimeSeries::default() }
}

fn request(series: Vec<TimeSeries>) -> WriteRequest {
    WriteRequest { series, metadata: Vec::new() }
}

#[test]
fn a_series_without_a_name_is_refused_and_named() {
    let all = request(vec![series(&[("__name__", "good")], &[(1, 1.0)]), series(&[("job", "x")], &[(1, 1.0)])]);
    let mut batch = Batch::default();
    let mut out = tsq_core::LabelsBuilder::default();
    let body = plain(&encode_v1(&all));
    let counts = decode_v1(&body, &mut batch).unwrap();
    assert_eq!((counts.series, counts.floats), (2, 2));
    let label = b"\x0a\x08\x0a\x03job\x12\x01x";
    let error = tsq_core::LabelSource::labels(&V1Labels, label, &mut out).unwrap_err();
    assert_eq!(error.to_string(), r#"series {job="x"} has no metric name (label __name__)"#);

    let body = plain(&encode_v2(&all));
    let (_, labels) = decode_v2(&body, &mut batch).unwrap();
    out.clear();
    let refs: Vec<u8> = [3_u32, 4].iter().flat_map(|reference| reference.to_le_bytes()).collect();
    let error = tsq_core::LabelSource::labels(&labels, &refs, &mut out).unwrap_err();
    assert_eq!(error.kind(), tsq_core::ErrorKind::InvalidArgument);
    assert_eq!(error.to_string(), r#"series {job="x"} has no metric name (label __name__)"#);
}

#[test]
fn label_sets_that_are_none_are_refused_with_a_reason() {
    for (bytes, want) in [
        (&b"\x0a\x03\x12\x01x"[..], "a label name is empty (its value is \"x\")"),
        (b"\x0a\x06\x0a\x01\xff\x12\x01x", "label name \"\u{fffd}\" is not valid UTF-8 at its byte 0"),
        (b"\x0a\x07\x0a\x01a\x12\x02x\xff", "label \"a\": label value \"x\u{fffd}\" is not valid UTF-8 at its byte 1"),
        (
            b"\x0a\x05\x0a\x09abc",
            "the labels are no protobuf messages: byte 4: expected 9 more bytes of a field, found 3",
        ),
    ] {
        let mut out = tsq_core::LabelsBuilder::default();
        let error = tsq_core::LabelSource::labels(&V1Labels, bytes, &mut out).unwrap_err();
        assert_eq!(error.to_string(), want);
    }
}

#[test]
fn references_outside_of_the_symbol_table_refuse_their_series_only() {
    let ok = b"\x2a\x15\x0a\x02\x01\x02\x12\x0f\x09\0\0\0\0\0\0\xf0\x3f\x10\x80\x80\x80\x80\x08";
    let outside = b"\x2a\x10\x0a\x02\x01\x09\x12\x02\x10\x01\x12\x02\x10\x02\x12\x02\x10\x03";
    let odd = b"\x2a\x09\x0a\x03\x01\x02\x01\x12\x02\x10\x01";
    let symbols = b"\x22\x00\x22\x08__name__\x22\x02up";
    let body = [&symbols[..], ok, outside, odd].concat();
    let db = TestDb::new();
    let (counts, appended) = Version::V2.store(&db, &body);
    assert_eq!((counts.floats, counts.rejected, appended.floats), (1, 4, 1));
    let messages: Vec<_> = counts.rejections.iter().map(|rejection| (rejection.samples, &*rejection.message)).collect();
    assert_eq!(
        messages,
        [
            (3, "labels_refs[1] is 9, the request has 3 symbols"),
            (1, "3 label references are no pairs of name and value")
        ]
    );
    assert_eq!(dump(&db.db), "float {__name__=up} 2147483648 3ff0000000000000\n");
}

fn histogram() -> Histogram {
    Histogram {
        integer: true,
        schema: 2,
        count: 6.0,
        zero_count: 1.0,
        sum: 9.5,
        positive_spans: vec![Span { offset: -3, length: 2 }, Span { offset: 4, length: 1 }],
        positive: vec![1.0, 3.0, 1.0],
        ..Histogram::default()
    }
}

#[test]
fn inconsistent_histograms_are_refused_one_by_one() {
    let float = Histogram { integer: false, ..histogram() };
    let custom = Histogram {
        schema: -53,
        count: 3.0,
        zero_count: 0.0,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive: vec![1.0, 2.0],
        custom_values: vec![1.0],
        ..histogram()
    };
    let cases = [
        (Histogram { schema: 9, ..histogram() }, "schema 9 is none of -4 to 8 and -53"),
        (
            Histogram { positive: vec![1.0, 3.0], ..histogram() },
            "the positive spans have 3 buckets, but there are 2 counts",
        ),
        (Histogram { positive: vec![-1.0, 3.0, 1.0], ..histogram() }, "positive bucket 0 has the count -1"),
        (Histogram { positive: vec![1.0, -3.0, 1.0], ..float.clone() }, "positive bucket 1 has the count -3"),
        (Histogram { count: 7.0, ..histogram() }, "its buckets hold 6 observations, its count is 7"),
        (Histogram { count: -1.0, ..float.clone() }, "the count -1 is negative"),
        (Histogram { zero_threshold: f64::NAN, ..histogram() }, "the zero threshold is NaN"),
        (
            Histogram {
                positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: -1, length: 1 }],
                ..histogram()
            },
            "positive span 1 has the negative offset -1",
        ),
        (
            Histogram { positive_spans: vec![Span { offset: i32::MAX, length: 3 }], ..histogram() },
            "positive span 0 ends at bucket 2147483650, outside of 32 bits",
        ),
        (Histogram { custom_values: vec![1.0], ..histogram() }, "schema 2 has 1 custom bucket bounds"),
        (
            Histogram { custom_values: vec![1.0, 1.0], ..custom.clone() },
            "custom bucket bounds are not ascending: 1 then 1",
        ),
        (Histogram { custom_values: vec![f64::INFINITY], ..custom.clone() }, "custom bucket bound inf is not finite"),
        (Histogram { custom_values: vec![], ..custom.clone() }, "2 custom buckets, but only 0 bounds"),
        (
            Histogram { positive_spans: vec![Span { offset: -1, length: 2 }], ..custom.clone() },
            "a custom bucket span has the negative offset -1",
        ),
        (Histogram { zero_threshold: 0.5, ..custom }, "custom buckets have neither a zero bucket nor negative ones"),
    ];
    let labels = Labels::from_pairs([("__name__", "h")]).unwrap();
    for (bad, want) in cases {
        let histograms = vec![(1, histogram()), (2, bad), (3, Histogram { sum: 10.0, ..histogram() })];
        let all = request(vec![TimeSeries { labels: labels.clone(), histograms, ..TimeSeries::default() }]);
        for version in VERSIONS {
            let db = TestDb::new();
            let (counts, appended) = version.store(&db, &plain(&version.encode(&all)));
            assert_eq!((counts.histograms, counts.rejected, appended.histograms), (2, 1, 2), "{want}");
            assert_eq!(counts.rejections[0].reason, RejectReason::InvalidHistogram);
            assert_eq!(counts.rejections[0].message, format!("histogram of series h at time 2: {want}"));
            assert_eq!(dump(&db.db).lines().count(), 2);
        }
    }
}

#[test]
fn a_request_that_explodes_in_memory_is_refused() {
    // Empty histograms of two bytes each: 16 MiB of them would be gigabytes of memory.
    let histograms = b"\x22\x00".repeat(8 << 20);
    let mut body = b"\x0a\x80\x80\x80\x08".to_vec();
    body.extend_from_slice(&histograms);
    let mut batch = Batch::default();
    let error = decode_v1(&body, &mut batch).unwrap_err();
    assert_eq!(error.kind(), tsq_ingest::DecodeErrorKind::TooLarge);
    assert!(batch.is_empty());
}

#[test]
fn the_forms_of_a_label_set_have_keys_of_their_own() {
    let labels = Labels::from_pairs([("__name__", "up")]).unwrap();
    let body = encode_v1(&request(vec![series(&[("__name__", "up")], &[(1, 1.0)])]));
    // All three forms of one series, appended to one database, are one series.
    let db = TestDb::new();
    Version::V1.store(&db, &plain(&body));
    let body = encode_v2(&request(vec![series(&[("__name__", "up")], &[(2, 1.0)])]));
    Version::V2.store(&db, &plain(&body));
    let mut batch = db.db.batch();
    batch.series(tsq_core::Kind::Float, &labels);
    batch.float(3, 1.0);
    db.db.append(&batch).unwrap();
    let times: Vec<_> = dump(&db.db).lines().map(|line| line.split(' ').nth(2).unwrap().to_owned()).collect();
    assert_eq!(times, ["1", "2", "3"]);
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        (-1000..1000_i32).prop_map(f64::from),
        Just(tsq_core::stale_nan())
    ]
}

fn any_histogram() -> impl Strategy<Value = Histogram> {
    let side = || prop::collection::vec((0..5_i32, prop::collection::vec(0..1000_u32, 1..4)), 0..4);
    (any::<bool>(), 0..4_u8, -4..=8_i8, side(), side(), 0..50_u32, any_value()).prop_map(
        |(integer, hint, schema, positive, negative, zero, sum)| {
            let scale = if integer { 1.0 } else { 0.5 };
            let spans = |side: &[(i32, Vec<u32>)]| {
                side.iter().map(|(offset, counts)| Span { offset: *offset, length: counts.len() as u32 }).collect()
            };
            let counts = |side: &[(i32, Vec<u32>)]| -> Vec<f64> {
                side.iter().flat_map(|(_, counts)| counts).map(|&count| f64::from(count) * scale).collect()
            };
            let (positive_counts, negative_counts) = (counts(&positive), counts(&negative));
            let zero_count = f64::from(zero) * scale;
            let count = positive_counts.iter().chain(&negative_counts).sum::<f64>() + zero_count;
            Histogram {
                schema,
                reset_hint: ResetHint::from_u8(hint).unwrap(),
                integer,
                zero_threshold: 0.001,
                zero_count,
                count,
                sum,
                positive_spans: spans(&positive),
                negative_spans: spans(&negative),
                positive: positive_counts,
                negative: negative_counts,
                custom_values: Vec::new(),
            }
        },
    )
}

fn any_series() -> impl Strategy<Value = TimeSeries> {
    let labels = prop::collection::btree_map("[a-zé]{1,3}", "[a-z0-9 ü\"]{1,5}", 0..5);
    let exemplar = ("[a-f0-9]{1,8}", any_value(), 0..1000_i64);
    (
        "[a-c]",
        labels,
        prop::collection::btree_map(-1000..1000_i64, any_value(), 0..4),
        prop::collection::btree_map(-1000..1000_i64, any_histogram(), 0..3),
        prop::collection::vec(exemplar, 0..3),
        [prop::collection::vec(-2000..1000_i64, 0..4), prop::collection::vec(-1..2_i64, 0..3)],
    )
        .prop_map(|(name, labels, samples, histograms, exemplars, [starts, histogram_starts])| TimeSeries {
            starts,
            histogram_starts,
            labels: Labels::from_pairs(labels.into_iter().chain([("__name__".to_owned(), name)])).unwrap(),
            samples: samples.into_iter().collect(),
            histograms: histograms.into_iter().collect(),
            exemplars: exemplars
                .into_iter()
                .map(|(id, value, time_ms)| Exemplar {
                    labels: Labels::from_pairs([("trace_id", id)]).unwrap(),
                    value,
                    time_ms,
                })
                .collect(),
        })
}

/// What a database must hold after a request of a version, written without going through the wire format.
fn stored_directly(all: &WriteRequest, version: Version) -> String {
    let db = TestDb::new();
    let mut batch = db.db.batch();
    let start = |starts: &[i64], index: usize| match version {
        Version::V1 => 0,
        Version::V2 => starts.get(index).copied().unwrap_or(0),
    };
    for series in &all.series {
        if !series.samples.is_empty() || series.histograms.is_empty() && !series.exemplars.is_empty() {
            batch.series(tsq_core::Kind::Float, &series.labels);
            for (index, &(time_ms, value)) in series.samples.iter().enumerate() {
                batch.float(time_ms, value);
                batch.start(start(&series.starts, index));
            }
        }
        if !series.histograms.is_empty() {
            batch.series(tsq_core::Kind::Histogram, &series.labels);
            for (index, (time_ms, histogram)) in series.histograms.iter().enumerate() {
                batch.histogram(*time_ms, histogram.clone());
                batch.start(start(&series.histogram_starts, index));
            }
        }
        series.exemplars.iter().for_each(|exemplar| batch.exemplar(exemplar.clone()));
    }
    all.metadata.iter().for_each(|metadata| batch.metadata(metadata.clone()));
    db.db.append(&batch).unwrap();
    dump(&db.db)
}

/// Bytes as a sender of 2.0 writes them by hand: sample field 3 and histogram field 17 are start timestamps, which 1.0
/// does not know; there both fields are skipped, whatever they hold.
#[test]
fn start_timestamps_are_those_of_the_fields_of_version_2() {
    let sample = [0x09, 0, 0, 0, 0, 0, 0, 0x14, 0x40, 0x10, 0xe8, 0x07, 0x18, 0xf4, 0x03];
    let histogram = [0x08, 3, 0x30, 3, 0x78, 0xe8, 0x07, 0x88, 0x01, 0xf4, 0x03];
    let mut series = vec![0x0a, 2, 1, 2, 0x12, sample.len() as u8];
    series.extend_from_slice(&sample);
    series.extend_from_slice(&[0x1a, histogram.len() as u8]);
    series.extend_from_slice(&histogram);
    let mut body = vec![0x22, 0, 0x22, 8];
    body.extend_from_slice(b"__name__");
    body.extend_from_slice(&[0x22, 1, b'm', 0x2a, series.len() as u8]);
    body.extend_from_slice(&series);
    let db = TestDb::new();
    let (counts, appended) = Version::V2.store(&db, &body);
    assert_eq!((counts.floats, counts.histograms, appended.rejected), (1, 1, 0), "{:?}", counts.rejections);
    let text = dump(&db.db);
    assert_eq!(text.lines().filter(|line| line.ends_with(" start=500")).count(), 2, "{text}");

    let label = [0x0a, 0x0d, 0x0a, 8, b'_', b'_', b'n', b'a', b'm', b'e', b'_', b'_', 0x12, 1, b'm'];
    let mut series = label.to_vec();
    series.extend_from_slice(&[0x12, sample.len() as u8]);
    series.extend_from_slice(&sample);
    let body: Vec<u8> = [0x0a, series.len() as u8].into_iter().chain(series).collect();
    let db = TestDb::new();
    assert_eq!(Version::V1.store(&db, &body).0.floats, 1);
    assert!(!dump(&db.db).contains("start="));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_encoded_is_what_is_stored(list in prop::collection::vec(any_series(), 0..6)) {
        // One message a label set: conflicting values for one time are the engine's business.
        let mut list = list;
        list.sort_by(|a, b| a.labels.cmp(&b.labels));
        list.dedup_by(|a, b| a.labels == b.labels);
        let metadata = list.iter().filter(|s| !s.samples.is_empty()).map(|series| Metadata {
            metric: series.labels.metric_name().to_owned(),
            metric_type: "gauge".to_owned(),
            unit: "seconds".to_owned(),
            help: format!("Help of {}", series.labels.metric_name()),
        }).collect::<Vec<_>>();
        let all = WriteRequest { series: list, metadata };
        for version in VERSIONS {
            let want = stored_directly(&all, version);
            let db = TestDb::new();
            let (counts, _) = version.store(&db, &plain(&version.encode(&all)));
            prop_assert_eq!(&counts.rejections, &[], "{:?}", version);
            prop_assert_eq!(dump(&db.db), want, "{:?}", version);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        for version in VERSIONS {
            let _ = version.decode(&body, &mut Batch::default());
        }
        let _ = decompress(&body, 1 << 20, &mut Vec::new());
    }

    #[test]
    fn damaged_requests_never_panic(
        list in prop::collection::vec(any_series(), 1..4),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for version in VERSIONS {
            let mut body = plain(&version.encode(&request(list.clone())));
            if body.is_empty() { continue }
            for (at, byte) in &flips {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            let _ = version.decode(&body, &mut Batch::default());
        }
    }
}
