//! Writes a block from front to back: payloads go to the file as they come, the index is gathered in memory.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::chunks::{Axes, ChunkEntry, ChunkMeta, ColumnUse, IntegerColumn};
use super::format::{
    BlockMeta, BlockSpec, Features, Footer, HEADER_LEN, REPLACES_MAX, Section, SectionId, Sections, TAIL_LEN,
    encode_footer, encode_header, footer_len,
};
use super::pages::PageWriter;
use super::reader::BlockReader;
use crate::batch::{Exemplar, Metadata};
use crate::codec::varint::{put_bytes, put_i64, put_u64};
use crate::codec::{CHUNK_SAMPLES_MAX, Column, Effort, encode};
use crate::disk::{Disk, parent, temporary_name};
use crate::error::{Error, Result};
use crate::index::IndexBuilder;
use crate::labels::Labels;
use crate::sample::{Kind, Samples};

/// Columns remembered for sharing. Beyond that the older half is forgotten: columns that equal each other mostly come
/// close together, and forgetting only costs bytes.
const SHARED_COLUMNS_MAX: usize = 1 << 17;

/// Writes one block. Dropping it before [`BlockWriter::finish`] removes the unfinished file.
#[derive(Debug)]
pub(crate) struct BlockWriter {
    disk: Arc<dyn Disk>,
    target: PathBuf,
    temporary: Temporary,
    out: PageWriter,
    spec: BlockSpec,
    meta: BlockMeta,
    columns: Columns,
    index: IndexBuilder,
    /// Entries of all chunks, series by series.
    chunk_index: Vec<u8>,
    current: Option<Current>,
    features: Features,
    pub(super) effort: Effort,
    scratch: Vec<u8>,
}

/// A chunk that lies in the file and waits for its series.
#[derive(Clone, Debug)]
pub(crate) struct WrittenChunk(pub(super) ChunkEntry);

/// The series whose samples come.
#[derive(Debug)]
struct Current {
    labels: Labels,
    chunks: u32,
    /// Where its entries begin in the chunk index.
    index_at: usize,
    /// End of its last payload.
    payload_end: u64,
}

/// The unfinished file; dropping it while armed removes the file.
#[derive(Debug)]
struct Temporary {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    armed: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.armed {
            // Nothing to do about a failure: the name is a temporary one, and opening removes such files.
            let _ = self.disk.unlink(&self.path);
        }
    }
}

impl BlockWriter {
    /// Starts a block in `dir` under a temporary name.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) or [`ErrorKind::StorageFull`](crate::ErrorKind::StorageFull) when the
    /// file cannot be written, [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) when it replaces more
    /// than 100,000 blocks.
    pub(crate) fn create(disk: Arc<dyn Disk>, dir: &Path, spec: BlockSpec) -> Result<Self> {
        if spec.replaces.len() > REPLACES_MAX {
            return Err(Error::limit(format!("a block replaces at most {REPLACES_MAX} blocks")));
        }
        let target = dir.join(spec.id.file_name());
        let path = temporary_name(&target);
        if disk.len(&path).is_ok() {
            disk.unlink(&path).map_err(|error| Error::io("remove an unfinished block", &path, error))?;
        }
        let file = disk.create(&path).map_err(|error| Error::io("create a block", &path, error))?;
        let temporary = Temporary { disk: Arc::clone(&disk), path: path.clone(), armed: true };
        let mut out = PageWriter::new(file, path, spec.db_id, spec.id);
        out.write(&encode_header(&spec))?;
        let meta = BlockMeta {
            id: spec.id,
            level: spec.level,
            min_ms: i64::MAX,
            max_ms: i64::MIN,
            lsn_min: spec.lsn_min,
            lsn_max: spec.lsn_max,
            replaces: spec.replaces.clone(),
            ..BlockMeta::default()
        };
        // What a flush writes is soon merged; what a merge writes stays.
        let effort = if spec.level == 0 { Effort::Fast } else { Effort::Thorough };
        let seed = (spec.db_id as u64) ^ (spec.db_id >> 64) as u64 ^ spec.id.0;
        Ok(Self {
            disk,
            target,
            temporary,
            out,
            spec,
            meta,
            columns: Columns { seed, effort, ..Columns::default() },
            index: IndexBuilder::new(seed),
            chunk_index: Vec::new(),
            current: None,
            features: Features::default(),
            effort,
            scratch: Vec::new(),
        })
    }

    /// Encodes what follows with so much effort.
    pub(crate) fn set_effort(&mut self, effort: Effort) {
        (self.effort, self.columns.effort) = (effort, effort);
    }

    /// Bytes written so far.
    pub(crate) fn position(&self) -> u64 {
        self.out.position()
    }

    /// Whether it holds a sample.
    pub(crate) fn has_samples(&self) -> bool {
        self.meta.samples > 0
    }

    /// Starts a series, whose labels are above those of the series before. One without samples is left out.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) when they are not,
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) when the block holds too many series or labels.
    pub(crate) fn series(&mut self, labels: &Labels) -> Result<()> {
        if let Some(current) = self.current.as_ref().filter(|current| current.labels >= *labels) {
            return Err(Error::invalid(format!("series {labels} comes after {}", current.labels)));
        }
        self.end_series()?;
        self.current =
            Some(Current { labels: labels.clone(), chunks: 0, index_at: self.chunk_index.len(), payload_end: 0 });
        Ok(())
    }

    fn end_series(&mut self) -> Result<()> {
        match self.current.take() {
            Some(current) if current.chunks > 0 => {
                let len = (self.chunk_index.len() - current.index_at) as u64;
                self.index.push(current.labels, current.chunks, len)
            }
            _ => Ok(()),
        }
    }

    /// Adds samples of the current series, in order; they are cut in chunks. May be called again for the same series
    /// and kind; times of the calls may overlap.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) or [`ErrorKind::StorageFull`](crate::ErrorKind::StorageFull) when the
    /// file cannot be written.
    pub(crate) fn samples(&mut self, kind: Kind, samples: &Samples) -> Result<()> {
        let (rows, mut start) = (samples.len(), 0);
        let values = if kind.is_histogram() { samples.histograms.len() } else { samples.values.len() };
        assert!(
            values == rows
                && samples.steps.len() == if kind.has_step() { rows } else { 0 }
                && [0, rows].contains(&samples.starts.len()),
            "columns are equally long"
        );
        while start < rows {
            let end = rows.min(start + CHUNK_SAMPLES_MAX);
            let chunk = self.encode_chunk(kind, samples, start..end)?;
            self.place(&chunk)?;
            start = end;
        }
        Ok(())
    }

    /// Writes the payload of at most [`CHUNK_SAMPLES_MAX`] samples.
    pub(super) fn encode_chunk(&mut self, kind: Kind, samples: &Samples, rows: Range<usize>) -> Result<WrittenChunk> {
        let axes = self.axes(samples, rows.clone())?;
        let values = match kind.is_histogram() {
            true => Column::Histograms(&samples.histograms[rows]),
            false => Column::Floats(&samples.values[rows]),
        };
        let mut payload = std::mem::take(&mut self.scratch);
        payload.clear();
        let codec = encode(values, self.effort, &mut payload);
        let (offset, len) = self.payload(&payload)?;
        self.scratch = payload;
        Ok(WrittenChunk(ChunkEntry { kind, codec, axes, column: None, offset, len }))
    }

    /// Adds a chunk of another block to the current series without decoding its values.
    ///
    /// # Errors
    /// As [`BlockWriter::samples`], and those of reading the chunk's times and steps.
    pub(crate) fn copy_chunk(&mut self, source: &BlockReader, chunk: &ChunkMeta) -> Result<()> {
        let chunk = self.copied_chunk(source, chunk)?;
        self.place(&chunk)
    }

    /// Writes a chunk of another block, which shares its payload with no other, without decoding its values.
    ///
    /// # Errors
    /// As [`BlockWriter::copy_chunk`].
    pub(crate) fn copied_chunk(&mut self, source: &BlockReader, chunk: &ChunkMeta) -> Result<WrittenChunk> {
        if chunk.entry.column.is_some() {
            return Err(Error::invalid("a chunk that series share is not copied alone"));
        }
        let axes = self.copied_axes(source, chunk)?;
        let (offset, len) = self.copied_payload(source, chunk)?;
        Ok(WrittenChunk(ChunkEntry { axes, offset, len, ..chunk.entry.clone() }))
    }

    pub(super) fn copied_axes(&mut self, source: &BlockReader, chunk: &ChunkMeta) -> Result<Axes> {
        let mut samples = Samples::default();
        source.read_axes(chunk, &mut samples)?;
        self.axes(&samples, 0..samples.len())
    }

    pub(super) fn copied_payload(&mut self, source: &BlockReader, chunk: &ChunkMeta) -> Result<(u64, u32)> {
        let (payload, _) = source.payload(chunk.entry.offset, chunk.entry.len)?;
        let written = self.payload(&payload);
        // An error after the bytes were written is in time: the block is not finished then.
        source.pages.settle(written)
    }

    /// The integer columns of some rows of samples.
    pub(super) fn axes(&mut self, samples: &Samples, rows: Range<usize>) -> Result<Axes> {
        let (columns, out, scratch) = (&mut self.columns, &mut self.out, &mut self.scratch);
        let mut put = |column: &[i64], usage| columns.put(&column[rows.clone()], usage, out, scratch);
        let times = put(&samples.times, ColumnUse::Times)?;
        let steps = if samples.steps.is_empty() { None } else { Some(put(&samples.steps, ColumnUse::Steps)?) };
        let has_starts = samples.starts.get(rows.clone()).is_some_and(|starts| starts.iter().any(|start| *start != 0));
        let starts = if has_starts { Some(put(&samples.starts, ColumnUse::Starts)?) } else { None };
        self.features.starts |= has_starts;
        Ok(Axes { times, steps, starts })
    }

    /// Writes encoded values and says where they lie.
    pub(super) fn payload(&mut self, payload: &[u8]) -> Result<(u64, u32)> {
        let offset = self.out.position() - HEADER_LEN as u64;
        self.out.write(payload)?;
        Ok((offset, payload_len(payload)?))
    }

    /// Gives a written chunk, which no series has yet, to the current series.
    ///
    /// # Errors
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) for more chunks than 32 bits count.
    pub(crate) fn place(&mut self, WrittenChunk(entry): &WrittenChunk) -> Result<()> {
        let current = self.current.as_mut().expect("a series was started before its samples");
        entry.encode(&mut current.payload_end, &mut self.chunk_index);
        current.chunks = current.chunks.checked_add(1).ok_or_else(|| Error::limit("a series has too many chunks"))?;
        self.features.shared |= entry.column.is_some();
        let column = &self.columns.table[entry.axes.times as usize];
        self.meta.min_ms = self.meta.min_ms.min(column.min);
        self.meta.max_ms = self.meta.max_ms.max(column.max);
        self.meta.chunks += 1;
        self.meta.samples += u64::from(column.rows);
        Ok(())
    }

    /// Writes the index and the footer, syncs the file and publishes it under its name. On return the block is
    /// durable. Exemplars come in label order, each list by time.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) or [`ErrorKind::StorageFull`](crate::ErrorKind::StorageFull) when the
    /// file cannot be written; the unfinished file is removed.
    pub(crate) fn finish(mut self, metadata: &[Metadata], exemplars: &[(Labels, Vec<Exemplar>)]) -> Result<BlockMeta> {
        self.end_series()?;
        self.meta.series = u64::from(self.index.count());
        let mut sections = Sections::default();
        let chunks = Section { offset: HEADER_LEN as u64, len: self.out.position() - HEADER_LEN as u64 };
        sections.set(SectionId::Chunks, chunks);
        let out = &mut self.out;
        let columns = section(out, |out| self.columns.table.iter().try_for_each(|column| out.write(&column.encode())))?;
        sections.set(SectionId::Columns, columns);
        sections.set(SectionId::ChunkIndex, section(out, |out| out.write(&self.chunk_index))?);
        // Their content is in the file now; the index needs the memory more.
        (self.columns, self.chunk_index) = (Columns::default(), Vec::new());
        let index = self.index.write(out)?;
        sections.set(SectionId::Series, index.series);
        sections.set(SectionId::Names, index.names);
        sections.set(SectionId::Values, index.values);
        sections.set(SectionId::Postings, index.postings);
        sections.set(SectionId::Metadata, section(out, |out| write_metadata(metadata, out))?);
        sections.set(SectionId::Exemplars, section(out, |out| write_exemplars(exemplars, out))?);
        let pages_end = out.position();
        let table_crc = out.finish_pages()?;
        self.meta.file_bytes = out.position() + (footer_len(self.meta.replaces.len()) + TAIL_LEN) as u64;
        let (db_id, features) = (self.spec.db_id, self.features);
        let mut footer = Footer { db_id, meta: self.meta, pages_end, table_crc, sections, features };
        out.append_plain(&encode_footer(&mut footer))?;
        out.sync()?;
        let fail = |what: &'static str, path: PathBuf| move |error| Error::io(what, &path, error);
        let rename = self.disk.rename(&self.temporary.path, &self.target);
        rename.map_err(fail("rename a block", self.temporary.path.clone()))?;
        self.temporary.armed = false;
        let dir = parent(&self.target);
        self.disk.sync_dir(dir).map_err(fail("sync the directory of a block", dir.to_path_buf()))?;
        Ok(footer.meta)
    }
}

fn payload_len(payload: &[u8]) -> Result<u32> {
    u32::try_from(payload.len()).map_err(|_| Error::limit("the samples of a chunk take more than 4 GiB"))
}

fn section(out: &mut PageWriter, write: impl FnOnce(&mut PageWriter) -> Result<()>) -> Result<Section> {
    let offset = out.position();
    write(out)?;
    Ok(Section { offset, len: out.position() - offset })
}

/// ~~~text
/// each: four strings behind their varint lengths: metric, type, unit, help
/// ~~~
fn write_metadata(metadata: &[Metadata], out: &mut PageWriter) -> Result<()> {
    let mut entry = Vec::new();
    for each in metadata {
        entry.clear();
        for text in [&each.metric, &each.metric_type, &each.unit, &each.help] {
            put_bytes(&mut entry, text.as_bytes());
        }
        out.write(&entry)?;
    }
    Ok(())
}

/// ~~~text
/// each series: canonical labels behind their varint length, varint count, then each exemplar:
///              canonical labels behind their varint length, f64 value, zigzag varint time
/// ~~~
fn write_exemplars(exemplars: &[(Labels, Vec<Exemplar>)], out: &mut PageWriter) -> Result<()> {
    let mut entry = Vec::new();
    for (labels, list) in exemplars {
        entry.clear();
        put_bytes(&mut entry, labels.as_bytes());
        put_u64(&mut entry, list.len() as u64);
        for exemplar in list {
            put_bytes(&mut entry, exemplar.labels.as_bytes());
            entry.extend_from_slice(&exemplar.value.to_le_bytes());
            put_i64(&mut entry, exemplar.time_ms);
        }
        out.write(&entry)?;
    }
    Ok(())
}

/// The integer columns of a block, each content once.
#[derive(Debug, Default)]
struct Columns {
    seed: u64,
    effort: Effort,
    table: Vec<IntegerColumn>,
    /// Numbers of columns by a 128-bit hash of their content.
    recent: HashMap<(ColumnUse, u128), u32>,
    older: HashMap<(ColumnUse, u128), u32>,
}

impl Columns {
    /// The number of the column with this content, which is written when it is new.
    fn put(&mut self, rows: &[i64], usage: ColumnUse, out: &mut PageWriter, scratch: &mut Vec<u8>) -> Result<u32> {
        let key = (usage, self.hash(rows, scratch));
        let known = self.recent.get(&key).or_else(|| self.older.get(&key)).copied();
        if let Some(number) = known.filter(|number| usize::from(self.table[*number as usize].rows) == rows.len()) {
            return Ok(number);
        }
        let number = u32::try_from(self.table.len()).map_err(|_| Error::limit("a block has too many time columns"))?;
        scratch.clear();
        let codec = encode(Column::Integers(rows), self.effort, scratch);
        self.table.push(IntegerColumn {
            offset: out.position() - HEADER_LEN as u64,
            len: payload_len(scratch)?,
            rows: rows.len() as u16,
            codec,
            usage,
            min: rows.iter().copied().min().expect("a chunk has samples"),
            max: rows.iter().copied().max().expect("a chunk has samples"),
        });
        out.write(scratch)?;
        if self.recent.len() == SHARED_COLUMNS_MAX / 2 {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key, number);
        Ok(number)
    }

    fn hash(&self, rows: &[i64], scratch: &mut Vec<u8>) -> u128 {
        scratch.clear();
        scratch.extend(rows.iter().flat_map(|row| row.to_le_bytes()));
        let mut hasher = Xxh3::with_seed(self.seed);
        hasher.update(scratch);
        hasher.digest128()
    }
}
