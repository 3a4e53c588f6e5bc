//! Every file format: what goes out comes back in.

mod common;

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

use common::{TestDb, dump};
use proptest::prelude::*;
use tsq_core::{
    Batch, Db, Exemplar, Histogram, Kind, Labels, Metadata, ResetHint, STALE_NAN_BITS, Samples, Source, Span, TimeRange,
};
use tsq_ingest::csv::CsvOptions;
use tsq_ingest::{ExportOptions, Exported, FORMATS, Format, ImportOptions, Skipped};

/// A file in memory that can be looked at while a writer has it.
#[derive(Clone, Default)]
struct File(Rc<RefCell<Vec<u8>>>);

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn format(name: &str) -> &'static Format {
    Format::by_name(name).unwrap()
}

/// Everything a database holds, through a format. `piece` samples are written at once.
fn export(db: &Db, format: &Format, piece: usize) -> (Vec<u8>, Exported) {
    let snapshot = db.snapshot().unwrap();
    let options = ExportOptions {
        label_names: snapshot.label_names(&[], TimeRange::ALL).unwrap(),
        metadata: snapshot.metadata().unwrap(),
    };
    let file = File::default();
    let mut exporter = (format.exporter)(Box::new(file.clone()), &options).unwrap();
    let all_exemplars = snapshot.exemplars(&[], TimeRange::ALL).unwrap();
    let mut stream = snapshot.select(&[], TimeRange::ALL).unwrap();
    let mut samples = Samples::default();
    for series in stream.next_batch(usize::MAX).unwrap() {
        let found = all_exemplars.iter().find(|(labels, _)| labels == series.labels());
        let mut exemplars = found.map_or(&[][..], |(_, list)| list);
        for kind in series.kinds() {
            series.read(kind, TimeRange::ALL, &mut samples).unwrap();
            for start in (0..samples.len()).step_by(piece) {
                let part = part(&samples, start, piece);
                exporter.write(series.labels(), kind, &part, exemplars).unwrap();
                exemplars = &[];
            }
        }
    }
    let exported = exporter.finish().unwrap();
    drop(exporter);
    (Rc::try_unwrap(file.0).unwrap().into_inner(), exported)
}

fn part(samples: &Samples, start: usize, len: usize) -> Samples {
    fn cut<T: Clone>(list: &[T], start: usize, len: usize) -> Vec<T> {
        list.iter().skip(start).take(len).cloned().collect()
    }
    Samples {
        times: cut(&samples.times, start, len),
        steps: cut(&samples.steps, start, len),
        values: cut(&samples.values, start, len),
        histograms: cut(&samples.histograms, start, len),
        starts: cut(&samples.starts, start, len),
    }
}

/// Reads a whole file in batches of at most seven samples.
fn read(
    bytes: &[u8],
    format: &Format,
    options: &ImportOptions,
    batch: &mut Batch,
    mut each: impl FnMut(&Batch),
) -> Result<(), String> {
    let input = std::io::Cursor::new(bytes.to_vec());
    let mut importer = (format.importer)(Box::new(input), options).map_err(|error| error.to_string())?;
    loop {
        let more = importer.read(batch, 7).map_err(|error| error.to_string())?;
        assert!(batch.len() <= 7, "a read keeps to the number it was given");
        each(batch);
        batch.clear();
        if !more {
            return Ok(());
        }
    }
}

/// Whether a file can be read.
fn check(bytes: &[u8], format: &Format, options: &ImportOptions) -> Result<(), String> {
    read(bytes, format, options, &mut Batch::default(), |_| ())
}

/// What a database holds after a file.
fn import(bytes: &[u8], format: &Format, options: &ImportOptions) -> Result<String, String> {
    let db = TestDb::new();
    read(bytes, format, options, &mut db.db.batch(), |batch| {
        let appended = db.db.append(batch).unwrap();
        assert_eq!(appended.rejected, 0, "{:?}", appended.rejections);
    })?;
    Ok(dump(&db.db))
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

fn histogram() -> Histogram {
    Histogram {
        schema: -2,
        reset_hint: ResetHint::Gauge,
        integer: true,
        zero_threshold: 1e-300,
        zero_count: 1.0,
        count: 8.0,
        sum: f64::from_bits(0x7ff8_0000_0000_0001),
        positive_spans: vec![Span { offset: -4, length: 2 }, Span { offset: 2, length: 1 }],
        negative_spans: vec![Span { offset: 0, length: 1 }],
        positive: vec![1.0, 2.0, 3.0],
        negative: vec![1.0],
        custom_values: vec![],
    }
}

/// A database with a bit of everything.
fn everything() -> TestDb {
    let db = TestDb::new();
    let mut batch = db.db.batch();
    batch.series(Kind::Float, &labels(&[("__name__", "requests_total"), ("code", "200"), ("A", "first")]));
    batch.float(1_700_000_000_123, 1.0);
    batch.float(1_700_000_015_123, 2.5e-308);
    batch.exemplar(Exemplar { labels: labels(&[("trace_id", "a\"b")]), value: 0.25, time_ms: 1_700_000_000_100 });
    batch.series(
        Kind::Float,
        &labels(&[("__name__", "odd.name with \"quotes\""), ("step", "s"), ("le bel", "ü\n\\,;")]),
    );
    for (time, bits) in [
        (i64::MIN, 0x7ff0_0000_0000_0000),
        (-1, 0xfff0_0000_0000_0000),
        (0, 0x8000_0000_0000_0000),
        (1, 0x7ff8_0000_0000_0001),
        (2, 1),
        (i64::MAX, 0x7fef_ffff_ffff_ffff),
    ] {
        batch.float(time, f64::from_bits(bits));
    }
    batch.metadata(Metadata {
        metric: "requests_total".into(),
        metric_type: "counter".into(),
        unit: String::new(),
        help: "Requests \\ \"all\"\nof them".into(),
    });
    db.db.append(&batch).unwrap();
    db
}

/// Adds what only some formats can hold.
fn add_special_floats(db: &TestDb) {
    let mut batch = db.db.batch();
    batch.series(Kind::Float, &labels(&[("__name__", "special")]));
    batch.float(5, f64::from_bits(STALE_NAN_BITS));
    batch.float(6, f64::from_bits(0xfff8_dead_beef_0001));
    db.db.append(&batch).unwrap();
}

fn add_runs(db: &TestDb) {
    let mut batch = db.db.batch();
    batch.series(Kind::Run, &labels(&[("__name__", "loss"), ("run_id", "a1")]));
    for step in -5..20 {
        batch.run(1_700_000_000_000 + step / 3, step, 1.0 / step as f64);
    }
    db.db.append(&batch).unwrap();
}

fn add_histograms(db: &TestDb) {
    let mut batch = db.db.batch();
    batch.series(Kind::Histogram, &labels(&[("__name__", "latency")]));
    batch.histogram(1, histogram());
    batch.histogram(2, Histogram::stale());
    batch.series(Kind::RunHistogram, &labels(&[("__name__", "weights")]));
    let custom = Histogram {
        schema: -53,
        count: 0.5,
        positive_spans: vec![Span { offset: 1, length: 1 }],
        positive: vec![0.5],
        custom_values: vec![-1.0, 0.1],
        ..Histogram::default()
    };
    batch.run_histogram(1, i64::MAX, custom);
    db.db.append(&batch).unwrap();
}

fn add_starts(db: &TestDb, kind: Kind) {
    let mut batch = db.db.batch();
    for number in ["1", "2"] {
        batch.series(kind, &labels(&[("__name__", "counted"), ("number", number)]));
        for index in 0..20 {
            if kind == Kind::Histogram {
                batch.histogram(index * 10, Histogram { count: index as f64, ..Histogram::default() });
            } else {
                batch.float(index * 10, index as f64);
            }
            // None, then a steady one, then one of its own for each sample.
            batch.start(if index < 4 || number == "2" && index > 17 { 0 } else { 4 + (index / 9) * (index - 12) });
        }
    }
    db.db.append(&batch).unwrap();
}

fn without(text: &str, starts: &[&str]) -> String {
    text.lines()
        .filter(|line| !starts.iter().any(|start| line.starts_with(start)))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn every_format_gives_back_the_kinds_it_promises() {
    for format in FORMATS {
        let db = everything();
        if !["openmetrics", "prometheus"].contains(&format.name) {
            add_special_floats(&db);
        }
        if format.kinds.contains(&Kind::Run) {
            add_runs(&db);
        }
        if format.kinds.contains(&Kind::Histogram) {
            add_histograms(&db);
            add_starts(&db, Kind::Histogram);
        }
        if ["jsonl", "tsr"].contains(&format.name) {
            add_starts(&db, Kind::Float);
        }
        let mut want = dump(&db.db);
        match format.name {
            "openmetrics" => want = want.replace("metadata requests_total", "metadata requests"),
            "prometheus" => want = without(&want, &["exemplar"]),
            "csv" | "tsr" => want = without(&want, &["exemplar", "metadata"]),
            _ => (),
        }
        for piece in [1000, 3] {
            let (bytes, exported) = export(&db.db, format, piece);
            let text = String::from_utf8_lossy(&bytes);
            let got = import(&bytes, format, &ImportOptions::default());
            assert_eq!(got.as_deref(), Ok(&*want), "{} {piece}\n{text}", format.name);
            let count = |start: &str| want.lines().filter(|line| line.starts_with(start)).count() as u64;
            assert_eq!(exported.samples + count("exemplar") + count("metadata"), want.lines().count() as u64);
            assert_eq!(exported.exemplars, count("exemplar"), "{}", format.name);
        }
    }
}

#[test]
fn what_a_format_cannot_hold_is_counted() {
    let db = everything();
    add_special_floats(&db);
    add_runs(&db);
    add_histograms(&db);
    let skipped = |name: &str| export(&db.db, format(name), 1000).1.skipped.into_iter().collect::<Vec<_>>();
    assert_eq!(skipped("openmetrics"), [(Skipped::Histogram, 3), (Skipped::Step, 25), (Skipped::Stale, 1)]);
    assert_eq!(
        skipped("prometheus"),
        [(Skipped::Histogram, 3), (Skipped::Step, 25), (Skipped::Stale, 1), (Skipped::Exemplar, 1)]
    );
    assert_eq!(skipped("csv"), [(Skipped::Histogram, 3), (Skipped::Exemplar, 1)]);
    assert_eq!(skipped("tsr"), [(Skipped::Histogram, 3), (Skipped::Step, 25), (Skipped::Exemplar, 1)]);
    assert_eq!(skipped("jsonl"), []);
    add_starts(&db, Kind::Float);
    for name in ["openmetrics", "prometheus", "csv"] {
        assert_eq!(skipped(name).last(), Some(&(Skipped::Start, 30)), "{name}");
    }
    for name in ["jsonl", "tsr"] {
        assert!(skipped(name).iter().all(|(reason, _)| *reason != Skipped::Start), "{name}");
    }
}

#[test]
fn text_looks_as_written_by_hand() {
    let db = TestDb::new();
    let mut batch = db.db.batch();
    batch.series(Kind::Float, &labels(&[("__name__", "requests_total"), ("code", "200")]));
    batch.float(1_700_000_000_120, 1.0);
    batch.float(1_700_000_001_000, 1.5);
    batch.exemplar(Exemplar { labels: labels(&[("trace_id", "x")]), value: 0.25, time_ms: 1_700_000_000_500 });
    batch.series(Kind::Float, &labels(&[("__name__", "temp.c")]));
    batch.float(0, 1e300);
    let describe = |metric: &str, metric_type: &str, unit: &str| Metadata {
        metric: metric.into(),
        metric_type: metric_type.into(),
        unit: unit.into(),
        help: format!("Help of {metric}"),
    };
    batch.metadata(describe("requests_total", "counter", ""));
    batch.metadata(describe("temp.c", "unknown", "celsius"));
    db.db.append(&batch).unwrap();
    let text = |name| String::from_utf8(export(&db.db, format(name), 1000).0).unwrap();
    assert_eq!(
        text("openmetrics"),
        "# HELP requests Help of requests_total\n# TYPE requests counter\n\
         requests_total{code=\"200\"} 1 1700000000.120\n\
         requests_total{code=\"200\"} 1.5 1700000001 # {trace_id=\"x\"} 0.25 1700000000.500\n\
         # HELP \"temp.c\" Help of temp.c\n# TYPE \"temp.c\" unknown\n{\"temp.c\"} 1e300 0\n# EOF\n"
    );
    assert_eq!(
        text("prometheus"),
        "# HELP requests_total Help of requests_total\n# TYPE requests_total counter\n\
         requests_total{code=\"200\"} 1 1700000000120\nrequests_total{code=\"200\"} 1.5 1700000001000\n\
         # HELP \"temp.c\" Help of temp.c\n# TYPE \"temp.c\" untyped\n{\"temp.c\"} 1e300 0\n"
    );
    assert_eq!(
        text("csv"),
        "timestamp_ms,value,step,__name__,code\n1700000000120,1,,requests_total,200\n\
         1700000001000,1.5,,requests_total,200\n0,1e300,,temp.c,\n"
    );
}

#[test]
fn families_come_in_one_piece() {
    let metadata = [Metadata { metric: "x".into(), metric_type: "histogram".into(), ..Metadata::default() }];
    let names = ["x_count", "x_c", "y", "x_bucket", "x_sum"].map(str::to_owned).to_vec();
    assert_eq!(tsq_ingest::text::family_order(names, &metadata), ["x_bucket", "x_count", "x_sum", "x_c", "y"]);
}

fn csv(options: CsvOptions) -> ImportOptions {
    ImportOptions { csv: options, ..ImportOptions::default() }
}

#[test]
fn csv_of_others_is_read() {
    let wide = csv(CsvOptions { wide: true, label_columns: vec!["host".into()], ..CsvOptions::default() });
    let got = import(
        b"\xef\xbb\xbftime,step,host,loss,acc\n2023-11-14T22:13:20Z,1.0,a,0.5,1\n1700000001, ,b,0.25,\n",
        format("csv"),
        &wide,
    );
    let want = "float {__name__=loss,host=b} 1700000001000 3fd0000000000000\n\
                run {__name__=acc,host=a} 1700000000000 step=1 3ff0000000000000\n\
                run {__name__=loss,host=a} 1700000000000 step=1 3fe0000000000000\n";
    assert_eq!(got.as_deref(), Ok(want));

    let named = csv(CsvOptions {
        delimiter: b';',
        metric: Some("power".into()),
        time_column: Some("when".into()),
        value_column: Some("watts".into()),
        ..CsvOptions::default()
    });
    let got = import(b"when;watts;gpu\n1;250;\"0\"\n", format("csv"), &named);
    assert_eq!(got.as_deref(), Ok("float {__name__=power,gpu=0} 1000 406f400000000000\n"));
}

#[test]
fn errors_name_the_place() {
    let long = ImportOptions::default();
    for (name, input, want) in [
        ("csv", &b""[..], "line 1, column 1: the file is empty: expected a header row"),
        (
            "csv",
            b"a,b\n",
            "line 1, column 1: the header has no time column: none of timestamp_ms, time_ms, ts_ms, timestamp, time, ts, date, datetime",
        ),
        ("csv", b"time,value,metric\n1,2,a\n3,x,a\n", "line 3, column 2: expected a number, found \"x\""),
        ("csv", b"time,value,metric\n1,2,\"a\nb\"\nnoon,2,a\n", "line 4, column 1: expected a time, found \"noon\""),
        ("csv", b"time,value,metric\n1,2\n", "line 2, column 3: the row has 2 fields, the header has 3"),
        ("csv", b"time,value,metric,step\n1,2,a,1.5\n", "line 2, column 4: expected an integer step, found \"1.5\""),
        ("csv", b"time,value,metric\n1,2,\xff\n", "line 2, column 3: the field is not valid UTF-8"),
        ("jsonl", b"{}\n", "line 1, column 1: the field `metric` is missing"),
        ("jsonl", b"\n{\"metric\":{\"a\":1}}\n", "line 2, column 16: invalid type: integer `1`, expected a string"),
        (
            "jsonl",
            b"{\"metric\":{},\"valeus\":[]}\n",
            "line 1, column 21: unknown field `valeus`, expected one of `metric`, `kind`, `values`, `histograms`, `steps`, `timestamps`, `starts`, `exemplars`, `metadata`",
        ),
        ("jsonl", b"{\"metric\":{},\"values\":[1]}\n", "line 1, column 1: `values` has 1 entries, `timestamps` has 0"),
        ("jsonl", b"{\"metric\":{\"a\":\"1\",\"a\":\"2\"}}\n", "line 1, column 1: label name \"a\" is given twice"),
        ("jsonl", b"{\"metric\":{},\"kind\":\"int\"}\n", "line 1, column 1: \"int\" is no kind of samples"),
        (
            "jsonl",
            b"{\"metric\":{},\"kind\":\"float\",\"steps\":[1]}\n",
            "line 1, column 1: `steps` does not belong to samples of this kind",
        ),
        (
            "jsonl",
            b"{\"metric\":{},\"values\":[\"one\"],\"timestamps\":[1]}\n",
            "line 1, column 28: invalid value: string \"one\", expected a number, or \"NaN\", \"+Inf\", \"-Inf\" or a NaN by its bits",
        ),
        ("jsonl", b"{\"metric\"", "line 1, column 9: EOF while parsing an object"),
        ("openmetrics", b"up 1 1\n", "line 2, column 1: the input ends without a line `# EOF`: it was cut off"),
        ("prometheus", b"up 1 1\nup \xff\n", "line 2, column 4: the line is not valid UTF-8"),
        ("tsr", b"", "byte 0: invalid zstd: incomplete frame"),
        ("tsr", b"\x28\xb5\x2f\xfd\x00\x58\x11\x00\x00ab", "byte 0: expected the magic TSQREAL1, found \"ab\""),
        ("tsr", b"TSQREAL1", "byte 0: invalid zstd: Unknown frame descriptor"),
    ] {
        assert_eq!(check(input, format(name), &long), Err(want.to_owned()), "{name}");
    }
}

#[test]
fn json_of_victoriametrics_is_read() {
    let line = br#"{"metric":{"__name__":"up","job":"a"},"values":[1,null,"Infinity",0.1],"timestamps":[1,2,3,4]}"#;
    let want = "float {__name__=up,job=a} 1 3ff0000000000000\nfloat {__name__=up,job=a} 2 7ff8000000000001\n\
                float {__name__=up,job=a} 3 7ff0000000000000\nfloat {__name__=up,job=a} 4 3fb999999999999a\n";
    assert_eq!(import(line, format("jsonl"), &ImportOptions::default()).as_deref(), Ok(want));
}

#[test]
fn damaged_containers_are_errors() {
    let db = everything();
    let (bytes, _) = export(&db.db, format("tsr"), 1000);
    let options = ImportOptions::default();
    assert!(check(&bytes, format("tsr"), &options).is_ok());
    for cut in 0..bytes.len() {
        assert!(check(&bytes[..cut], format("tsr"), &options).is_err(), "{cut}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let _ = check(&bytes, format("tsr"), &options);
    }
    // Inside of sound compression.
    let plain = zstd::decode_all(&bytes[..]).unwrap();
    for cut in 9..plain.len() {
        let broken = zstd::encode_all(&plain[..cut], 1).unwrap();
        let outcome = check(&broken, format("tsr"), &options);
        assert!(outcome.is_ok() || outcome.as_ref().is_err_and(|error| error.starts_with("byte ")), "{outcome:?}");
    }
    let mut huge = b"TSQREAL1\x0d\0\0\0{\"labels\":{}}".to_vec();
    huge.extend_from_slice(&u32::MAX.to_le_bytes());
    let broken = zstd::encode_all(&huge[..], 1).unwrap();
    assert_eq!(
        check(&broken, format("tsr"), &options),
        Err("byte 29: expected 8192 bytes of times, found 0".to_owned())
    );
}

fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![any::<u64>().prop_map(f64::from_bits), (-100_000..100_000_i32).prop_map(|n| f64::from(n) / 100.0)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_samples_come_back_bit_for_bit(
        series in prop::collection::btree_map(
            ("[a-b:\\.é]{1,4}", "[ -~é\n]{0,6}"),
            (any::<bool>(), prop::collection::btree_map(any::<i64>(), any_float(), 1..6)),
            1..5,
        )
    ) {
        let db = TestDb::new();
        let mut batch = db.db.batch();
        let mut runs = false;
        for ((name, value), (is_run, samples)) in &series {
            let kind = if *is_run { Kind::Run } else { Kind::Float };
            runs |= *is_run;
            let label = if value.is_empty() { "x" } else { value };
            batch.series(kind, &labels(&[("__name__", name), (label, value)]));
            for (time, value) in samples {
                if *is_run { batch.run(*time, time / 2, *value) } else { batch.float(*time, *value) }
            }
        }
        db.db.append(&batch).unwrap();
        let want = dump(&db.db);
        for format in FORMATS.iter().filter(|format| !runs || format.kinds.contains(&Kind::Run)) {
            if ["openmetrics", "prometheus"].contains(&format.name) {
                continue; // All NaNs look alike there.
            }
            let (bytes, _) = export(&db.db, format, 2);
            prop_assert_eq!(import(&bytes, format, &ImportOptions::default()), Ok(want.clone()), "{}", format.name);
        }
    }

    #[test]
    fn arbitrary_files_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\",:0-9a-z.\n-]{0,80}") {
        for format in FORMATS {
            let _ = check(&bytes, format, &ImportOptions::default());
            let _ = check(text.as_bytes(), format, &ImportOptions::default());
            let wide = csv(CsvOptions { wide: true, ..CsvOptions::default() });
            let _ = check(format!("ts,{text}").as_bytes(), format, &wide);
        }
    }
}
