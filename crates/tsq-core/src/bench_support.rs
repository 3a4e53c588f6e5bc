//! Inner parts for the benchmarks; not a public interface, and subject to change at any time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::block::{BlockId, BlockReader, BlockSpec, BlockWriter, ChunkMeta, ReadCache, Reads};
use crate::codec::{self, CODECS, Column, ColumnMut, ColumnType, Columns, Effort, OpenChunk, decode_prefix};
use crate::disk::{Disk, RealDisk};
use crate::error::Result;
use crate::families::Groups;
use crate::labels::Labels;
use crate::options::Options;
use crate::query::Matcher;
use crate::sample::{Kind, Samples, TimeRange};

pub use crate::block::BlockMeta;

/// Names of the codecs of float columns.
pub fn float_codecs() -> Vec<&'static str> {
    names(ColumnType::Floats)
}

/// Names of the codecs of time and step columns.
pub fn integer_codecs() -> Vec<&'static str> {
    names(ColumnType::Integers)
}

fn names(of: ColumnType) -> Vec<&'static str> {
    CODECS.iter().filter(|codec| codec.column_type() == of).map(|codec| codec.name()).collect()
}

fn named(name: &str) -> &'static dyn codec::Codec {
    *CODECS.iter().find(|codec| codec.name() == name).expect("the name is from the list")
}

/// Encodes floats; `None` when the codec cannot store them.
pub fn encode_floats(codec: &str, values: &[f64]) -> Option<Vec<u8>> {
    encode(codec, Column::Floats(values))
}

/// Encodes integers; `None` when the codec cannot store them.
pub fn encode_integers(codec: &str, rows: &[i64]) -> Option<Vec<u8>> {
    encode(codec, Column::Integers(rows))
}

fn encode(codec: &str, column: Column<'_>) -> Option<Vec<u8>> {
    let codec = named(codec);
    let mut data = Vec::new();
    codec.accepts(column).then(|| codec.encode(column, &mut data))?;
    Some(data)
}

/// Efforts of encoding, from the fastest to the smallest.
pub const EFFORTS: [&str; 3] = ["fast", "thorough", "small"];

/// Encodes floats with the codec that a block would take at this effort, and names it.
pub fn encode_floats_as_a_block(values: &[f64], effort: &str) -> (&'static str, Vec<u8>) {
    let effort = match effort {
        "fast" => Effort::Fast,
        "thorough" => Effort::Thorough,
        _ => Effort::Small,
    };
    encode_as_a_block(Column::Floats(values), effort)
}

/// Encodes times or steps with the codec that a block would take, and names it.
pub fn encode_integers_as_a_block(rows: &[i64]) -> (&'static str, Vec<u8>) {
    encode_as_a_block(Column::Integers(rows), Effort::Fast)
}

fn encode_as_a_block(column: Column<'_>, effort: Effort) -> (&'static str, Vec<u8>) {
    let mut data = Vec::new();
    let id = codec::encode(column, effort, &mut data);
    (codec::by_id(id).map_or("", |codec| codec.name()), data)
}

/// Replaces `out` by decoded floats.
///
/// # Errors
/// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) for damaged bytes.
pub fn decode_floats(codec: &str, data: &[u8], rows: usize, out: &mut Vec<f64>) -> Result<()> {
    out.clear();
    named(codec).decode(data, rows, ColumnMut::Floats(out))
}

/// Replaces `out` by decoded integers.
///
/// # Errors
/// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) for damaged bytes.
pub fn decode_integers(codec: &str, data: &[u8], rows: usize, out: &mut Vec<i64>) -> Result<()> {
    out.clear();
    named(codec).decode(data, rows, ColumnMut::Integers(out))
}

/// Bytes of an open chunk after these samples.
pub fn push_open_chunk(times: &[i64], values: &[f64]) -> Vec<u8> {
    let mut chunk = OpenChunk::default();
    for (time, value) in times.iter().zip(values) {
        chunk.push(*time, None, None, *value);
    }
    chunk.bytes().to_vec()
}

/// Replaces `out` by the samples of an open chunk.
///
/// # Errors
/// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) for damaged bytes.
pub fn decode_open_chunk(bytes: &[u8], count: usize, out: &mut Samples) -> Result<()> {
    out.clear();
    decode_prefix(bytes, Columns::default(), count, out)
}

const DB_ID: u128 = 0x7473_7120_6265_6e63_6873_2066_6f72_6576;

/// Writes a block of float series, which come in label order.
///
/// # Errors
/// As for writing a file.
pub fn write_block<'a>(dir: &Path, series: impl Iterator<Item = (Labels, &'a Samples)>) -> Result<BlockMeta> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let spec = BlockSpec { db_id: DB_ID, id: BlockId(1), ..BlockSpec::default() };
    let mut writer = BlockWriter::create(disk, dir, spec)?;
    let mut take = |from: &mut &Samples, kind: Kind, samples: &mut Samples| {
        if kind == Kind::Float {
            samples.clone_from(from);
        }
        Ok(())
    };
    let mut groups = Groups::new();
    for (labels, samples) in series {
        if let Some(group) = groups.push(labels, samples) {
            group.write(&mut writer, &mut take)?;
        }
    }
    groups.finish().map_or(Ok(()), |group| group.write(&mut writer, &mut take))?;
    writer.finish(&[], &[])
}

/// The block that [`write_block`] left in `dir`.
#[derive(Debug)]
pub struct Block(Arc<BlockReader>);

impl Block {
    /// Opens it.
    ///
    /// # Errors
    /// As for opening a block.
    pub fn open(dir: &Path) -> Result<Self> {
        let path: PathBuf = dir.join(BlockId(1).file_name());
        BlockReader::open(&RealDisk, &path, DB_ID, &Arc::new(Reads::new(&Options::default()))).map(Self)
    }

    /// Numbers of matching series with samples in a range.
    ///
    /// # Errors
    /// As for reading a block.
    pub fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<u32>> {
        let (mut found, mut reader) = (Vec::new(), self.0.series_reader()?);
        let mut chunks = Vec::new();
        for series in self.0.select(matchers)? {
            chunks.clear();
            reader.chunks_in(series, range, &mut chunks)?;
            found.extend((!chunks.is_empty()).then_some(series));
        }
        Ok(found)
    }

    /// Label sets of series.
    ///
    /// # Errors
    /// As for reading a block.
    pub fn labels(&self, series: &[u32]) -> Result<Vec<Labels>> {
        let mut reader = self.0.series_reader()?;
        series.iter().map(|series| reader.labels(*series)).collect()
    }

    /// Decodes all samples of series and returns how many there were.
    ///
    /// # Errors
    /// As for reading a block.
    pub fn read(&self, series: &[u32], out: &mut Samples) -> Result<usize> {
        let (mut chunks, mut cache, mut count) = (Vec::<ChunkMeta>::new(), ReadCache::default(), 0);
        let mut reader = self.0.series_reader()?;
        for series in series {
            chunks.clear();
            out.clear();
            reader.chunks(*series, &mut chunks)?;
            for chunk in &chunks {
                self.0.read_chunk(chunk, &mut cache, out)?;
            }
            count += out.len();
        }
        Ok(count)
    }

    /// Number of findings of a verification.
    pub fn verify(&self) -> usize {
        self.0.verify().len()
    }

    /// Bytes of each part of the file.
    ///
    /// # Errors
    /// As for reading a block.
    pub fn parts(&self) -> Result<Vec<(&'static str, u64)>> {
        Ok(self.0.stats()?.parts)
    }
}
