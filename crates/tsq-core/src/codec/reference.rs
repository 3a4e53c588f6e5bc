//! Stored encodings: what a codec wrote once is read back to the same bits for ever.
//!
//! `tests/data/codecs/` holds the rows of each case (`floats.txt`, `integers.txt`) and, for each codec, their encodings of
//! the day it was added (`<id>-<name>.txt`). Files that are there are never written again: a reader that no longer
//! understands them is wrong. For a new codec, `TSQ_STORE_REFERENCES=1 cargo test -p tsq-core reference` adds what is
//! missing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use super::tests::{bits_of, encoded};
use super::{CODECS, Codec, Column, ColumnMut, ColumnType};
use crate::histogram::{Histogram, ResetHint, Span};
use crate::sample::stale_nan;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/codecs").join(name)
}

/// A stored file; when it is missing and that is asked for, it is written first.
fn stored(name: &str, content: impl FnOnce() -> String) -> BTreeMap<String, Vec<u64>> {
    let path = path(name);
    if !path.exists() && std::env::var_os("TSQ_STORE_REFERENCES").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content()).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let number = |hex: &str| u64::from_str_radix(hex, 16).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(':').unwrap()).fold(BTreeMap::new(), |mut cases, (case, numbers)| {
        cases.insert(case.to_owned(), numbers.split_whitespace().map(number).collect());
        cases
    })
}

fn lines<'a>(cases: impl Iterator<Item = (&'a str, Vec<u64>)>, digits: usize) -> String {
    let mut text = String::from("# Never written again: see src/codec/reference.rs.\n");
    for (case, numbers) in cases {
        let _ = write!(text, "{case}:");
        numbers.iter().for_each(|number| write!(text, " {number:0digits$x}").unwrap());
        text.push('\n');
    }
    text
}

/// Noise below `bound`, the same for ever.
fn noise(at: usize, bound: u64) -> u64 {
    let mixed = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    (mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20) % bound
}

fn float_cases() -> Vec<(&'static str, Vec<f64>)> {
    let rows = |count: usize, row: fn(usize) -> f64| (0..count).map(row).collect::<Vec<_>>();
    let mut odd = rows(150, |at| noise(at, 900) as f64 / 100.0);
    odd[3] = f64::NAN;
    odd[40] = -0.0;
    odd[41] = f64::INFINITY;
    odd[77] = f64::NEG_INFINITY;
    odd[129] = stale_nan();
    odd[149] = f64::from_bits(0x7ff0_0000_0000_0002);
    vec![
        ("bits", rows(140, |at| f64::from_bits(noise(at, u64::MAX).wrapping_mul(0x9e37_79b9_7f4a_7c15)))),
        ("constant", rows(100, |_| 0.1)),
        ("counter", rows(300, |at| 1e9 + (at * 40) as f64 + noise(at, 30) as f64)),
        ("levels", rows(200, |at| [0.25, 17.5, -3.0, 1e300][noise(at / 3, 4) as usize])),
        ("mostly zero", rows(200, |at| if noise(at, 9) == 0 { noise(at, 1000) as f64 / 8.0 } else { 0.0 })),
        ("none", Vec::new()),
        ("odd", odd),
        ("one", vec![-2.5]),
        ("single", rows(150, |at| f64::from((2.0 + noise(at, 10_000) as f32 / 10_000.0).ln()))),
        ("ulps", rows(150, |at| noise(at, 500) as f64 * 0.1 * 3.0)),
    ]
}

fn integer_cases() -> Vec<(&'static str, Vec<i64>)> {
    let start = 1_700_000_000_000_i64;
    let mut wild: Vec<_> = (0..140).map(|at| noise(at, 100) as i64).collect();
    (wild[5], wild[60], wild[139]) = (i64::MIN, i64::MAX, -1);
    vec![
        ("grid", (0..300).map(|at| start + at * 15_000).collect()),
        ("jitter", (0..300).map(|at| start + at as i64 * 15_000 + noise(at, 4) as i64).collect()),
        ("multiples", (0..150).map(|at| 5 + 250 * noise(at, 16) as i64).collect()),
        ("none", Vec::new()),
        ("one", vec![-7]),
        ("squares", (0..150).map(|at| at * at).collect()),
        ("wild", wild),
    ]
}

fn histogram_cases() -> Vec<(&'static str, Vec<Histogram>)> {
    let grown = |at: usize| Histogram {
        schema: 3,
        reset_hint: ResetHint::NotReset,
        integer: true,
        zero_threshold: 1e-3,
        zero_count: at as f64,
        count: (10 * at) as f64,
        sum: at as f64 * 1.7,
        positive_spans: vec![Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }],
        positive: vec![at as f64, (5 * at) as f64, (3 * at) as f64],
        ..Histogram::default()
    };
    let mut growing: Vec<_> = (0..5).map(grown).collect();
    growing.insert(3, Histogram::stale());
    let custom = Histogram {
        schema: -53,
        sum: -0.5,
        count: 1.5,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive: vec![0.5, 1.0],
        custom_values: vec![0.1],
        ..Histogram::default()
    };
    vec![("growing", growing), ("custom", vec![custom.clone(), custom]), ("none", Vec::new())]
}

fn bytes_of(codec: &dyn Codec, column: Column<'_>) -> Vec<u64> {
    encoded(codec, column).into_iter().map(u64::from).collect()
}

/// The stored encodings of a codec, by case.
fn encodings<'a>(codec: &dyn Codec, columns: impl Iterator<Item = (&'a str, Column<'a>)>) -> BTreeMap<String, Vec<u8>> {
    let name = format!("{:02}-{}.txt", codec.id(), codec.name());
    let accepted = columns.filter(|(_, column)| codec.accepts(*column));
    let stored = stored(&name, || lines(accepted.map(|(case, column)| (case, bytes_of(codec, column))), 2));
    assert!(!stored.is_empty(), "{name} holds no case");
    stored.into_iter().map(|(case, bytes)| (case, bytes.into_iter().map(|byte| byte as u8).collect())).collect()
}

fn of_type(column_type: ColumnType) -> impl Iterator<Item = &'static &'static dyn Codec> {
    // Without the feature pco its columns can be neither written nor read.
    let is_built =
        |codec: &&&dyn Codec| codec.accepts(Column::Floats(&[])) || codec.column_type() != ColumnType::Floats;
    CODECS.iter().filter(move |codec| codec.column_type() == column_type).filter(is_built)
}

#[test]
fn stored_float_columns_come_back_to_the_bit() {
    let cases = float_cases();
    let rows = stored("floats.txt", || lines(cases.iter().map(|(case, rows)| (*case, bits_of(rows))), 16));
    for codec in of_type(ColumnType::Floats) {
        let columns = cases.iter().map(|(case, rows)| (*case, Column::Floats(rows)));
        for (case, data) in encodings(*codec, columns) {
            let want = &rows[&case];
            let decode = |data: &[u8]| {
                let mut got = Vec::new();
                codec.decode(data, want.len(), ColumnMut::Floats(&mut got)).unwrap();
                bits_of(&got)
            };
            assert_eq!(&decode(&data), want, "{} of {case}", codec.name());
            let values: Vec<_> = want.iter().map(|bits| f64::from_bits(*bits)).collect();
            let again = encoded(*codec, Column::Floats(&values));
            assert_eq!(&decode(&again), want, "{} of {case}, encoded today", codec.name());
            let (mut part, wanted) = (Vec::new(), want.len() / 3..want.len() * 2 / 3);
            codec.decode_rows(&data, want.len(), wanted.clone(), ColumnMut::Floats(&mut part)).unwrap();
            assert_eq!(bits_of(&part), want[wanted], "a part of {} of {case}", codec.name());
        }
    }
}

#[test]
fn stored_integer_columns_come_back() {
    let cases = integer_cases();
    let numbers = |rows: &[i64]| rows.iter().map(|row| row.cast_unsigned()).collect::<Vec<_>>();
    let rows = stored("integers.txt", || lines(cases.iter().map(|(case, rows)| (*case, numbers(rows))), 16));
    for codec in of_type(ColumnType::Integers) {
        let columns = cases.iter().map(|(case, rows)| (*case, Column::Integers(rows)));
        for (case, data) in encodings(*codec, columns) {
            let want: Vec<_> = rows[&case].iter().map(|row| row.cast_signed()).collect();
            for data in [data, encoded(*codec, Column::Integers(&want))] {
                let mut got = Vec::new();
                codec.decode(&data, want.len(), ColumnMut::Integers(&mut got)).unwrap();
                assert_eq!(got, want, "{} of {case}", codec.name());
            }
        }
    }
}

#[test]
fn stored_histograms_come_back() {
    let cases = histogram_cases();
    for codec in of_type(ColumnType::Histograms) {
        let columns = cases.iter().map(|(case, rows)| (*case, Column::Histograms(rows)));
        let stored = encodings(*codec, columns);
        assert_eq!(stored.len(), cases.len());
        for (case, want) in &cases {
            for data in [&stored[*case], &encoded(*codec, Column::Histograms(want))] {
                let mut got = Vec::new();
                codec.decode(data, want.len(), ColumnMut::Histograms(&mut got)).unwrap();
                assert_eq!(&got, want, "{} of {case}", codec.name());
            }
        }
    }
}

/// Rows of an example of the format document: numbers, or `stale` for the marker of histograms.
fn check_example(codec: &dyn Codec, rows: &str, data: &[u8]) {
    let (mut floats, mut integers, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
    let texts: Vec<_> = rows.split(", ").collect();
    let out = match codec.column_type() {
        ColumnType::Integers => ColumnMut::Integers(&mut integers),
        ColumnType::Floats => ColumnMut::Floats(&mut floats),
        ColumnType::Histograms => ColumnMut::Histograms(&mut histograms),
    };
    let decoded = codec.decode(data, texts.len(), out);
    let got: Vec<_> = match codec.column_type() {
        ColumnType::Integers => integers.iter().map(i64::to_string).collect(),
        ColumnType::Floats => floats.iter().map(f64::to_string).collect(),
        ColumnType::Histograms => {
            histograms.iter().map(|h| if h.is_stale() { "stale" } else { "" }.to_owned()).collect()
        }
    };
    let encode = |column| encoded(codec, column).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    let today = match codec.column_type() {
        ColumnType::Integers => encode(Column::Integers(&texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<_>>())),
        ColumnType::Floats => encode(Column::Floats(&texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<_>>())),
        ColumnType::Histograms => encode(Column::Histograms(&[Histogram::stale()])),
    };
    assert!(decoded.is_ok() && got == texts, "{}: {got:?} ({decoded:?}) is not {rows}; see {today}", codec.name());
}

#[test]
fn the_examples_of_the_format_document_decode_as_it_says() {
    let document = include_str!("../../../../docs/format-block.md");
    let examples: BTreeMap<_, _> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix("` |")?.split_once(" | `"))
        .filter_map(|(start, bytes)| Some((start.split_once(" | ")?, bytes)))
        .map(|((name, rows), bytes)| (name, (rows, bytes)))
        .collect();
    for codec in CODECS.iter().filter(|codec| codec.name() != "pco" || cfg!(feature = "pco")) {
        let (rows, bytes) = examples.get(codec.name()).unwrap_or_else(|| panic!("no example of {}", codec.name()));
        let bytes: Vec<_> = bytes.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        check_example(*codec, rows, &bytes);
    }
}
