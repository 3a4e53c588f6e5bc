//! Doors for the fuzz targets; not a public interface, and subject to change at any time. Damaged input may give an error
//! or other samples; a panic, or memory beyond what the bytes justify, is a bug.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::batch::{Exemplar, Metadata};
use crate::block::{self, BlockId, BlockReader, BlockSpec, BlockWriter, ReadCache, Reads};
use crate::codec::matrix::{self, Matrix};
use crate::codec::{self, CHUNK_SAMPLES_MAX, ColumnMut, Columns, Effort, decode_prefix};
use crate::disk::{Disk, MemoryFile, SimDisk};
use crate::histogram::Histogram;
use crate::labels::Labels;
use crate::options::Options;
use crate::query::Matcher;
use crate::sample::{Kind, Samples, TimeRange, stale_nan};

/// Decodes bytes as a column in encoding `id`, whole and in part; at most 1,024 rows.
pub fn decode_column(id: u8, rows: usize, data: &[u8]) {
    if id == matrix::ID {
        return decode_matrix(data);
    }
    let rows = rows.min(CHUNK_SAMPLES_MAX);
    for wanted in [0..rows, rows / 3..rows / 2] {
        let (mut integers, mut floats, mut histograms) = (Vec::new(), Vec::new(), Vec::<Histogram>::new());
        let columns = [
            ColumnMut::Integers(&mut integers),
            ColumnMut::Floats(&mut floats),
            ColumnMut::Histograms(&mut histograms),
        ];
        for column in columns {
            let decoded = codec::decode_rows(id, data, rows, wanted.clone(), column);
            drop(decoded);
        }
        let len = integers.len() + floats.len() + histograms.len();
        assert!(len == 0 || len == wanted.len(), "{len} rows of encoding {id} instead of {}", wanted.len());
    }
}

fn decode_matrix(data: &[u8]) {
    let Ok(mut matrix) = Matrix::open(data) else { return };
    let (rows, columns) = (matrix.rows(), matrix.columns());
    for column in 0..columns {
        match matrix.column(data, column) {
            Ok(values) => assert!(values.len() <= rows),
            Err(_) => return,
        }
    }
}

/// Decodes bytes as the open chunk of a series in the head.
pub fn decode_open_chunk(steps: bool, starts: bool, count: usize, data: &[u8]) {
    let mut out = Samples::default();
    let decoded = decode_prefix(data, Columns { steps, starts }, count, &mut out);
    assert_eq!(out.len(), if decoded.is_ok() { count } else { 0 });
}

const DB_ID: u128 = 0x7473_7120_6675_7a7a_2074_6172_6765_7473;
const PATH: &str = "fuzzed.tsqb";

/// A small block with all kinds of samples in many encodings, metadata and exemplars.
pub fn sample_block() -> Vec<u8> {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let dir = Path::new("blocks");
    disk.create_dir(dir).expect("the simulated disk is empty");
    let spec = BlockSpec { db_id: DB_ID, id: BlockId(1), level: 1, ..BlockSpec::default() };
    let mut writer = BlockWriter::create(Arc::clone(&disk), dir, spec).expect("the simulated disk has room");
    writer.set_effort(Effort::Small);
    let shapes: [fn(i64) -> f64; 8] = [
        |_| 1.5,
        |at| (at / 40) as f64,
        |at| (at * at % 97) as f64 / 10.0,
        |at| if at % 17 == 0 { stale_nan() } else { 0.0 },
        |at| f64::from((at as f32).sqrt()),
        |at| (at as f64).sin(),
        |at| [0.1, 7e9, -2.5][(at * at % 3) as usize],
        |at| (at * 1000 + at % 3) as f64,
    ];
    for (number, value) in shapes.iter().enumerate() {
        let labels = [("__name__", "metric"), ("shape", ["a", "b", "c", "d", "e", "f", "g", "h"][number])];
        writer
            .series(&Labels::from_pairs(labels).expect("the labels are few and short"))
            .expect("series come in order");
        for kind in [Kind::Float, Kind::Run] {
            let times = (0..200).map(|at| 1_700_000_000_000 + at * 15_000 + at * at % (number as i64 + 1));
            let mut samples = Samples { times: times.collect(), ..Samples::default() };
            samples.values = (0..200).map(value).collect();
            if kind.has_step() {
                samples.steps = (0..200).map(|at| at * 10).collect();
            } else if number % 2 == 0 {
                samples.starts = vec![1_699_999_999_000; 200];
            }
            writer.samples(kind, &samples).expect("the simulated disk has room");
        }
        let histogram = |at: i64| Histogram { sum: at as f64, count: 2.0 * at as f64, ..Histogram::default() };
        let times = (0..20).map(|at| 1_700_000_000_000 + at * 15_000).collect();
        let samples = Samples { times, histograms: (0..20).map(histogram).collect(), ..Samples::default() };
        writer.samples(Kind::Histogram, &samples).expect("the simulated disk has room");
    }
    let bucket = |bound: i64| {
        let times = (0..100).map(|at| 1_700_000_000_000 + at * 15_000).collect();
        Samples { times, values: (0..100).map(|at| (at * at / 9 * bound) as f64).collect(), ..Samples::default() }
    };
    let written = writer.family(&[bucket(1), bucket(2), bucket(3)]).expect("the simulated disk has room");
    for (bound, chunks) in ["+Inf", "1", "2"].into_iter().zip([&written[2], &written[0], &written[1]]) {
        let labels = Labels::from_pairs([("__name__", "metric_bucket"), ("le", bound)]);
        writer.series(&labels.expect("the labels are few and short")).expect("series come in order");
        chunks.iter().for_each(|chunk| writer.place(chunk).expect("a series has few chunks"));
    }
    let text = |text: &str| text.to_owned();
    let metadata = Metadata { metric: text("metric"), metric_type: text("gauge"), unit: text("s"), help: text("help") };
    let trace = Labels::from_pairs([("trace_id", "0af7")]).expect("the labels are few and short");
    let exemplar = Exemplar { labels: trace, value: 1.0, time_ms: 1_700_000_000_000 };
    let series = Labels::from_pairs([("__name__", "metric"), ("shape", "a")]).expect("the labels are few and short");
    writer.finish(&[metadata], &[(series, vec![exemplar])]).expect("the simulated disk has room");
    disk.read(&dir.join(BlockId(1).file_name())).expect("the block was just written")
}

/// Makes the checksums of a damaged block right again, as far as it still is one, so that what they guard is reached.
pub fn seal_block(file: &mut [u8]) {
    block::seal(file);
}

/// Reads all there is in the bytes of a block file: index, metadata, samples whole and in part.
pub fn read_block(file: &[u8]) {
    let file = Box::new(MemoryFile(Bytes::copy_from_slice(file)));
    let reads = Arc::new(Reads::new(&Options::default()));
    let Ok(block) = BlockReader::from_file(file, Path::new(PATH), DB_ID, &reads) else { return };
    let _ = (block.verify(), block.stats(), block.groups("shape", &mut BTreeMap::new()));
    let _ = (block.metadata(), block.exemplars(), block.label_names(None), block.label_values("shape", None));
    let _ = block.select(&[Matcher::equal("shape", "b")]);
    let Ok(found) = block.select(&[]) else { return };
    let _ = block.values_of("shape", &found, TimeRange::ALL);
    let Ok(mut reader) = block.series_reader() else { return };
    let (mut chunks, mut samples, mut cache) = (Vec::new(), Samples::default(), ReadCache::default());
    for series in found {
        chunks.clear();
        let _ = (reader.labels(series), reader.chunks(series, &mut chunks));
        for chunk in &chunks {
            samples.clear();
            let _ = block.read_chunk(chunk, &mut cache, &mut samples);
            samples.clear();
            let range = TimeRange::new(1_700_000_300_000, 1_700_000_900_000);
            let _ = block.read_chunk_in(chunk, range, &mut cache, &mut samples);
        }
    }
}
