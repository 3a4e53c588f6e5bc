//! Checking every stored byte of a directory, and telling what it is spent on. Both only read.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::block::{BlockMeta, BlockReader, CodecStats, GroupStats, Reads};
use crate::db::{Db, DbBuilder};
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::open::{Damage, Parts};
use crate::options::Options;
use crate::query::Source;
use crate::sample::TimeRange;
use crate::store::{BLOCKS_DIR, LOG_DIR, block_path};
use crate::tombstones::{self, BlockTombstones, Tombstones};
use crate::wal;

/// The result of checking a directory.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// Files checked.
    pub files: u64,
    /// Bytes checked.
    pub bytes: u64,
    /// Everything that is not as it was written. A torn log tail is among them: it was never acknowledged, and opening
    /// for writing cuts it.
    pub findings: Vec<Damage>,
}

/// One block and what its bytes are spent on.
#[derive(Clone, Debug)]
pub struct BlockInspection {
    /// What its footer says.
    pub meta: BlockMeta,
    /// Its series with samples that are deleted and not purged yet.
    pub deleted_series: u64,
    /// Those samples.
    pub deleted_samples: u64,
    /// Bytes by part of the file; the sum is the length of the file.
    pub parts: Vec<(&'static str, u64)>,
    /// Columns, rows and bytes by codec.
    pub codecs: BTreeMap<String, CodecUse>,
}

/// Use of one codec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodecUse {
    /// Columns it encodes; shared ones count once.
    pub columns: u64,
    /// Rows of those columns.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What the series with one value of a label take in blocks.
#[derive(Clone, Debug, Default)]
pub struct GroupUse {
    /// The value; empty for series without the label.
    pub value: String,
    /// Their chunks.
    pub chunks: u64,
    /// Samples of those.
    pub samples: u64,
    /// Bytes by part: values, times, steps, start times, chunk index. What series of several groups share counts for
    /// the first of these series in label order. Label sets, postings and checksums belong to no group.
    pub parts: [(&'static str, u64); 5],
    /// Chunks, samples and bytes by codec of the values.
    pub codecs: BTreeMap<String, CodecUse>,
}

/// What a database consists of.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// Blocks in the order of their numbers.
    pub blocks: Vec<BlockInspection>,
    /// Series by metric name, most first.
    pub metrics: Vec<(String, u64)>,
    /// Distinct values by label name, most first.
    pub labels: Vec<(String, u64)>,
    /// Distinct label sets.
    pub series: u64,
}

impl Parts {
    fn verify(&self) -> Result<Verification> {
        let mut report = Verification::default();
        let path = Manifest::path(&self.dir);
        let manifest = match Manifest::read(&*self.disk, &self.dir) {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return Err(Error::invalid("there is no database here: no MANIFEST").in_file(&self.dir)),
            Err(error) => {
                report.findings.push(Damage { path, message: error.to_string() });
                return Ok(report);
            }
        };
        report.count(self.disk.len(&path));
        let tombstones = self.verify_tombstones(&manifest, &mut report);
        let blocks_dir = self.dir.join(BLOCKS_DIR);
        let once = Arc::new(Reads::once(1));
        for entry in &manifest.blocks {
            let path = block_path(&blocks_dir, entry.id);
            report.count(self.disk.len(&path));
            let errors = match BlockReader::open(&*self.disk, &path, manifest.db_id, &once) {
                Ok(block) => {
                    let mut errors = block.verify();
                    if errors.is_empty() {
                        errors.extend(verify_numbers(&block, tombstones.of(entry.id)).err());
                    }
                    errors
                }
                Err(error) => vec![error],
            };
            let found = errors.into_iter().map(|error| Damage { path: path.clone(), message: error.to_string() });
            report.findings.extend(found);
        }
        self.verify_log(&manifest, &mut report)?;
        Ok(report)
    }

    /// Checks the file of tombstones and returns what it holds.
    fn verify_tombstones(&self, manifest: &Manifest, report: &mut Verification) -> Tombstones {
        let Some(wanted) = manifest.tombstones else { return Tombstones::default() };
        let path = self.dir.join(tombstones::file_name(wanted.number));
        report.count(self.disk.len(&path));
        let message = match tombstones::read(&*self.disk, &self.dir, manifest.db_id, wanted.number) {
            Ok((tombstones, found)) if found == wanted => return tombstones,
            Ok(_) => "the tombstones are not those that the manifest refers to".to_owned(),
            Err(error) => error.to_string(),
        };
        report.findings.push(Damage { path, message });
        Tombstones::default()
    }

    fn verify_log(&self, manifest: &Manifest, report: &mut Verification) -> Result<()> {
        let dir = self.dir.join(LOG_DIR);
        let (mut batch, mut scratch) = (wal::BatchRecord::default(), wal::Scratch::default());
        let visit = &mut |record: wal::RecordRef<'_>| match record.kind {
            wal::RecordType::Batch => wal::decode_batch(record.payload, &mut scratch, &mut batch),
            _ => Ok(()),
        };
        let end = wal::replay(&*self.disk, &dir, manifest.db_id, manifest.flushed_lsn, visit)?;
        for name in self.disk.list(&dir).map_err(|error| Error::io("list the log", &dir, error))? {
            report.count(self.disk.len(&dir.join(name)));
        }
        report.findings.extend(end.damage.iter().map(Damage::of_log));
        if let Some(torn) = &end.torn {
            let message = format!("{} bytes at byte {} are no whole record: a torn tail", torn.bytes, torn.offset);
            report.findings.push(Damage { path: torn.path.clone(), message });
        }
        for path in end.unborn {
            let message = "a log segment without a whole header and without records: its beginning was cut short";
            report.findings.push(Damage { path, message: message.to_owned() });
        }
        Ok(())
    }
}

/// Tombstones name only series and entries that a block has.
fn verify_numbers(block: &BlockReader, deleted: Option<&Arc<BlockTombstones>>) -> Result<()> {
    let Some(deleted) = deleted else { return Ok(()) };
    let counts = [block.meta().series, block.exemplars()?.len() as u64, block.metadata()?.len() as u64];
    let ends = deleted.ends();
    let past = ends.iter().zip(counts).any(|(end, count)| *end > count) || deleted.samples() > block.meta().samples;
    if past {
        let message = "the tombstones name series, exemplars or metadata that the block does not have";
        return Err(Error::corrupt(message).in_file(block.path()));
    }
    Ok(())
}

impl Verification {
    fn count(&mut self, len: std::io::Result<u64>) {
        self.files += 1;
        self.bytes += len.unwrap_or(0);
    }
}

impl DbBuilder {
    /// Checks every byte of a directory. See [`Db::verify`].
    ///
    /// # Errors
    /// See [`Db::verify`].
    pub fn verify(self, path: impl AsRef<Path>) -> Result<Verification> {
        self.parts(path.as_ref(), Options::default()).verify()
    }
}

impl Db {
    /// Checks every byte of the database in a directory: manifest, pages and structure of all blocks, all records of
    /// the log. Takes no lock and changes nothing; beside a writer it may report what is just being written.
    /// O(bytes stored).
    ///
    /// # Errors
    /// `InvalidArgument` where there is no database, `Io`. Damage is no error: it is what the result lists.
    pub fn verify(path: impl AsRef<Path>) -> Result<Verification> {
        DbBuilder::default().verify(path)
    }

    /// What the database consists of. Reads the index of all blocks, no samples.
    ///
    /// # Errors
    /// `Corrupt` when a page of an index is damaged.
    pub fn inspect(&self) -> Result<Inspection> {
        let mut inspection = Inspection::default();
        let state = self.store().state.read().clone();
        for block in state.blocks.iter() {
            let stats = block.stats()?;
            let codecs = codec_uses(stats.codecs);
            let meta = block.meta().clone();
            let counts = |deleted: &Arc<BlockTombstones>| (deleted.series_count(), deleted.samples());
            let (deleted_series, deleted_samples) = state.tombstones.of(meta.id).map_or((0, 0), counts);
            let parts = stats.parts;
            inspection.blocks.push(BlockInspection { meta, deleted_series, deleted_samples, parts, codecs });
        }
        inspection.blocks.sort_by_key(|block| block.meta.id);
        self.count_labels(&mut inspection)?;
        Ok(inspection)
    }

    /// What series take in blocks by their value of a label, in the order of values. Reads the index of all blocks, no
    /// samples.
    ///
    /// # Errors
    /// `Corrupt` when a page of an index is damaged.
    pub fn inspect_by(&self, label: &str) -> Result<Vec<GroupUse>> {
        let mut groups = BTreeMap::new();
        let state = self.store().state.read().clone();
        for block in state.blocks.iter() {
            block.groups(label, &mut groups)?;
        }
        let group = |(value, stats): (String, GroupStats)| GroupUse {
            value,
            chunks: stats.chunks,
            samples: stats.samples,
            parts: [
                ("values", stats.values),
                ("times", stats.times),
                ("steps", stats.steps),
                ("start times", stats.starts),
                ("chunk index", stats.entries),
            ],
            codecs: codec_uses(stats.stats.codecs),
        };
        Ok(groups.into_iter().map(group).collect())
    }

    fn count_labels(&self, inspection: &mut Inspection) -> Result<()> {
        let snapshot = self.snapshot()?;
        let mut metrics: BTreeMap<String, u64> = BTreeMap::new();
        let mut stream = snapshot.select(&[], TimeRange::ALL)?;
        loop {
            let batch = stream.next_batch(256)?;
            if batch.is_empty() {
                break;
            }
            for series in batch {
                inspection.series += 1;
                match metrics.get_mut(series.labels().metric_name()) {
                    Some(count) => *count += 1,
                    None => {
                        metrics.insert(series.labels().metric_name().to_owned(), 1);
                    }
                }
            }
        }
        inspection.metrics = most_first(metrics);
        let mut labels = BTreeMap::new();
        for name in snapshot.label_names(&[], TimeRange::ALL)? {
            let values = snapshot.label_values(&name, &[], TimeRange::ALL)?.len() as u64;
            labels.insert(name, values);
        }
        inspection.labels = most_first(labels);
        Ok(())
    }
}

fn codec_uses(codecs: BTreeMap<String, CodecStats>) -> BTreeMap<String, CodecUse> {
    let of = |stats: CodecStats| CodecUse { columns: stats.columns, rows: stats.rows, bytes: stats.bytes };
    codecs.into_iter().map(|(name, stats)| (name, of(stats))).collect()
}

fn most_first(counts: BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let mut list: Vec<_> = counts.into_iter().collect();
    list.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    list
}
