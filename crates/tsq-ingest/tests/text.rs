//! Prometheus text and OpenMetrics: what is read, and where errors are seen.

mod common;

use std::path::Path;

use common::{TestDb, dump};
use proptest::prelude::*;
use tsq_core::Batch;
use tsq_ingest::text::{TextFormat, parse};
use tsq_ingest::{ImportError, ImportOptions, Importer};

use TextFormat::{OpenMetrics, Prometheus};

const NOW: i64 = 1_700_000_000_000;

/// What a database holds after a body, or the error.
fn stored(input: &str, format: TextFormat) -> Result<String, String> {
    let db = TestDb::new();
    let mut batch = db.db.batch();
    let counts = parse(input, format, Some(NOW), &mut batch).map_err(|error| error.to_string())?;
    let appended = db.db.append(&batch).unwrap();
    assert_eq!((counts.samples, counts.exemplars), (appended.floats, appended.exemplars));
    Ok(dump(&db.db))
}

#[test]
fn expositions_of_the_python_client_are_read() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/text");
    for (name, format) in [("python.prom", Prometheus), ("python.om", OpenMetrics)] {
        let input = std::fs::read_to_string(dir.join(name)).unwrap();
        let got = stored(&input, format).unwrap();
        let path = dir.join(format!("{name}.txt"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &got).unwrap();
        }
        assert_eq!(got, std::fs::read_to_string(&path).unwrap(), "{name}");
    }
}

#[test]
fn lines_are_read() {
    let one = "3ff0000000000000";
    let cases = [
        (Prometheus, "up 1\n", format!("float {{__name__=up}} {NOW} {one}\n")),
        (Prometheus, "up 1", format!("float {{__name__=up}} {NOW} {one}\n")),
        (Prometheus, "\n\r\n# a comment\n#\n  up\t 1 \t5 \r\n", format!("float {{__name__=up}} 5 {one}\n")),
        (Prometheus, "a:b { x = \"1\" , } 1 -5\n", format!("float {{__name__=a:b,x=1}} -5 {one}\n")),
        (Prometheus, "up{}1\n", format!("float {{__name__=up}} {NOW} {one}\n")),
        (Prometheus, "up{a=\"\"} 1\n", format!("float {{__name__=up}} {NOW} {one}\n")),
        (Prometheus, "{\"my.name\",\"l.x\"=\"v\"} 1\n", format!("float {{__name__=my.name,l.x=v}} {NOW} {one}\n")),
        (Prometheus, "{a=\"1\",\"my name\"} 1\n", format!("float {{__name__=my name,a=1}} {NOW} {one}\n")),
        (Prometheus, "{__name__=\"up\"} 1\n", format!("float {{__name__=up}} {NOW} {one}\n")),
        (
            Prometheus,
            "up{a=\"}{\\\\\\\"\\n,\\q\"} 1\n",
            format!("float {{__name__=up,a=}}{{\\\"\\n,\\q}} {NOW} {one}\n"),
        ),
        (Prometheus, "up 0x1p0\n", format!("float {{__name__=up}} {NOW} {one}\n")),
        (Prometheus, "up NaN\n", format!("float {{__name__=up}} {NOW} 7ff8000000000001\n")),
        (Prometheus, "up -Inf\n", format!("float {{__name__=up}} {NOW} fff0000000000000\n")),
        (Prometheus, "# HELP up\n# TYPE up untyped \n", "metadata up unknown |\n".to_owned()),
        (Prometheus, "# TYPE \"my.m\" gauge\n# HELP \"my.m\" a \\\\ b\n", "metadata my.m gauge |a \\ b\n".to_owned()),
        (Prometheus, "", String::new()),
        (OpenMetrics, "# EOF", String::new()),
        (OpenMetrics, "up 1 1.5\n# EOF\n", format!("float {{__name__=up}} 1500 {one}\n")),
        (OpenMetrics, "up{a=\"1\"} 1 1e-1\n# EOF\n", format!("float {{__name__=up,a=1}} 100 {one}\n")),
        (
            OpenMetrics,
            "a_total{} 1 2 # {t=\"x\"} 1 1.25\na_total 1 3 # {} 1\n# EOF\n",
            format!(
                "exemplar {{__name__=a_total}} {{t=x}} 1250 {one}\nexemplar {{__name__=a_total}} {{}} 3000 {one}\n\
                 float {{__name__=a_total}} 2000 {one}\nfloat {{__name__=a_total}} 3000 {one}\n"
            ),
        ),
        (
            OpenMetrics,
            "# TYPE a_seconds gauge\n# UNIT a_seconds seconds\n# HELP a_seconds \\\"x\\\"\n# TYPE b info\n# EOF\n",
            "metadata a_seconds gauge seconds|\"x\"\nmetadata b info |\n".to_owned(),
        ),
    ];
    for (format, input, want) in cases {
        assert_eq!(stored(input, format).as_deref(), Ok(&*want), "{input:?}");
    }
}

#[test]
fn a_series_is_recognised_only_when_it_is_the_same() {
    let input = "up 1\nup 2 5\nup {a=\"1\"} 3\nup{a=\"1\"} 4 6\nup{a=\"1\"}5 7\nupper 6\nup 7 8\n";
    let times = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.rsplit_once(' ').unwrap().0.replace(&NOW.to_string(), "now")).collect()
    };
    assert_eq!(
        times(&stored(input, Prometheus).unwrap()),
        [
            "float {__name__=up,a=1} now",
            "float {__name__=up,a=1} 6",
            "float {__name__=up,a=1} 7",
            "float {__name__=upper} now",
            "float {__name__=up} now",
            "float {__name__=up} 5",
            "float {__name__=up} 8",
        ]
    );
}

#[test]
fn errors_say_line_and_column() {
    let cases = [
        (Prometheus, "up\n", "line 1, column 3: expected a blank, found the end of the line"),
        (Prometheus, "up \n", "line 1, column 4: expected a value, found the end of the line"),
        (Prometheus, "up one\n", "line 1, column 4: expected a value, found \"one\""),
        (Prometheus, "up 1e400\n", "line 1, column 4: expected a value, found \"1e400\""),
        (Prometheus, "up 1 1.5\n", "line 1, column 6: expected a time in integer milliseconds, found \"1.5\""),
        (Prometheus, "up 1 5 6\n", "line 1, column 8: expected the end of the line, found '6'"),
        (Prometheus, "ok 1\n9up 1\n", "line 2, column 1: expected a metric name, found '9'"),
        (Prometheus, "größe 1\n", "line 1, column 3: expected a blank, found 'ö'"),
        (Prometheus, "up{a=\"ö\" b=\"1\"} 1\n", "line 1, column 10: expected ',' or '}', found 'b'"),
        (Prometheus, "up{a=1} 1\n", "line 1, column 6: expected a label value in quotes, found '1'"),
        (Prometheus, "up{a=\"1} 1\n", "line 1, column 6: a label value in quotes has no closing quote"),
        (Prometheus, "up{a=\"1\"\n", "line 1, column 9: expected ',' or '}', found the end of the line"),
        (Prometheus, "up{,} 1\n", "line 1, column 4: expected a label name, found ','"),
        (Prometheus, "up{a} 1\n", "line 1, column 5: expected '=', found '}'"),
        (Prometheus, "up{a=\"1\",a=\"2\"} 1\n", "line 1, column 1: label name \"a\" is given twice"),
        (Prometheus, "up{\"\"=\"2\"} 1\n", "line 1, column 4: a label name is empty"),
        (Prometheus, "up{\"x\"} 1\n", "line 1, column 4: the series has a second metric name, \"x\""),
        (Prometheus, "{a=\"1\"} 1\n", "line 1, column 1: the series has no metric name"),
        (Prometheus, "# TYPE up counters\n", "line 1, column 11: \"counters\" is no metric type"),
        (Prometheus, "# TYPE\n", "line 1, column 7: expected a blank, found the end of the line"),
        (Prometheus, "# HELP 1 x\n", "line 1, column 8: expected a metric name, found '1'"),
        (Prometheus, "a_total 1 # {} 1\n", "line 1, column 11: expected a time in integer milliseconds, found \"#\""),
        (OpenMetrics, "up 1\n", "line 2, column 1: the input ends without a line `# EOF`: it was cut off"),
        (OpenMetrics, "", "line 1, column 1: the input ends without a line `# EOF`: it was cut off"),
        (OpenMetrics, "\n# EOF\n", "line 1, column 1: OpenMetrics has no empty lines"),
        (OpenMetrics, "# EOF\nup 1\n", "line 2, column 1: there is a line after `# EOF`"),
        (OpenMetrics, "# note\n# EOF\n", "line 1, column 1: expected `# TYPE`, `# HELP`, `# UNIT` or `# EOF`"),
        (OpenMetrics, "up  1\n# EOF\n", "line 1, column 4: expected a value, found ' '"),
        (OpenMetrics, " up 1\n# EOF\n", "line 1, column 1: expected a metric name, found ' '"),
        (OpenMetrics, "up{a=\"1\",} 1\n# EOF\n", "line 1, column 10: expected a label name, found '}'"),
        (OpenMetrics, "up 1 NaN\n# EOF\n", "line 1, column 6: expected a time in seconds, found \"NaN\""),
        (OpenMetrics, "up 1 # x\n# EOF\n", "line 1, column 8: expected '{', found 'x'"),
        (OpenMetrics, "up 1 \n# EOF\n", "line 1, column 6: expected a time in seconds, found \"\""),
        (OpenMetrics, "# UNIT up seconds\n", "line 1, column 11: metric \"up\" does not end with its unit _seconds"),
    ];
    for (format, input, want) in cases {
        assert_eq!(stored(input, format), Err(want.to_owned()), "{input:?}");
    }
    let mut batch = Batch::default();
    let error = parse("up 1 5\nup 2\n", Prometheus, None, &mut batch).unwrap_err();
    assert_eq!((error.line, &*error.message), (2, "the sample has no time, and no default is set"));
    assert!(batch.is_empty());
}

#[test]
fn large_files_are_read_piece_by_piece() {
    let input: String = (0..1000).map(|time| format!("up{{a=\"{}\"}} {time} {time}\n", time / 100)).collect();
    let options = ImportOptions { labels: vec![("job".into(), "x".into())], ..ImportOptions::default() };
    let mut importer = tsq_ingest::text::TextImporter::new(Box::new(std::io::Cursor::new(input)), Prometheus, &options);
    let db = TestDb::new();
    let mut batch = db.db.batch();
    let mut sizes = Vec::new();
    loop {
        let more = importer.read(&mut batch, 300).unwrap();
        sizes.push(batch.len());
        db.db.append(&batch).unwrap();
        batch.clear();
        if !more {
            break;
        }
    }
    assert_eq!(sizes, [300, 300, 300, 100]);
    let all = dump(&db.db);
    assert_eq!(all.lines().count(), 1000);
    assert!(all.lines().all(|line| line.contains(",job=x}")));
}

#[test]
fn an_import_keeps_what_stood_before_an_error() {
    let input = "up 1 1\nup 2 2\nup oops 3\n".as_bytes();
    let mut importer = tsq_ingest::text::TextImporter::new(Box::new(input), Prometheus, &ImportOptions::default());
    let mut batch = Batch::default();
    let error = importer.read(&mut batch, 100).unwrap_err();
    assert!(matches!(&error, ImportError::Parse(error) if (error.line, error.column) == (3, 4)), "{error}");
    assert_eq!(batch.len(), 2);
}

proptest! {
    #[test]
    fn no_text_panics(input in "([#a-c0-9{}\",=.: \t\n\\\\é-]|# EOF|# TYPE |NaN){0,60}") {
        for format in [Prometheus, OpenMetrics] {
            let mut batch = Batch::default();
            if parse(&input, format, Some(0), &mut batch).is_err() {
                prop_assert!(batch.is_empty());
            }
        }
    }
}
