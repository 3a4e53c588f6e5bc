//! What the series of a block take, by the value of a label, for `tsq inspect --by`.

use std::collections::BTreeMap;

use super::BlockReader;
use super::chunks::ColumnUse;
use super::stats::BlockStats;
use crate::error::Result;
use crate::sample::TimeRange;

/// What some series of a block take.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupStats {
    /// Their chunks.
    pub chunks: u64,
    /// Samples of those.
    pub samples: u64,
    /// Bytes of values and histograms. A payload that series share counts for the first of them.
    pub values: u64,
    /// Bytes of times. A column that chunks share counts for the first series, in label order, that has it.
    pub times: u64,
    /// Bytes of steps, counted as times are.
    pub steps: u64,
    /// Bytes of start times, counted as times are.
    pub starts: u64,
    /// Bytes of the entries of their chunks.
    pub entries: u64,
    /// Codecs of their values.
    pub stats: BlockStats,
}

impl BlockReader {
    /// Adds up what series take by their value of a label, the empty text for those without it. Reads the index of the
    /// whole block, no samples.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when a page of the index is damaged.
    pub(crate) fn groups(&self, label: &str, groups: &mut BTreeMap<String, GroupStats>) -> Result<()> {
        let index = self.index()?;
        let pairs = index.find_name(label)?.unwrap_or(0..0);
        let mut is_counted = vec![false; self.column_count() as usize];
        let mut names: BTreeMap<u32, String> = BTreeMap::new();
        let (mut cursor, mut chunks) = (index.series(), Vec::new());
        for series in 0..self.meta.series as u32 {
            let entry = cursor.get(series)?;
            let pair = entry.pairs.iter().copied().find(|pair| pairs.contains(pair));
            let name = match pair {
                Some(pair) if !names.contains_key(&pair) => {
                    let name = index.values(&[pair])?.pop().unwrap_or_default();
                    names.entry(pair).or_insert(name).clone()
                }
                Some(pair) => names[&pair].clone(),
                None => String::new(),
            };
            let group = groups.entry(name).or_default();
            group.entries += entry.chunks_len;
            chunks.clear();
            self.entry_chunks(entry, TimeRange::ALL, &mut chunks)?;
            for chunk in &chunks {
                group.chunks += 1;
                group.samples += u64::from(chunk.count);
                let is_first = chunk.entry.column.unwrap_or(0) == 0;
                let bytes = if is_first { u64::from(chunk.entry.len) } else { 0 };
                group.values += bytes;
                group.stats.count(chunk.entry.codec, u64::from(chunk.count), bytes);
                let axes = chunk.entry.axes;
                for number in [Some(axes.times), axes.steps, axes.starts].into_iter().flatten() {
                    let column = self.any_column(number)?;
                    if !std::mem::replace(&mut is_counted[number as usize], true) {
                        *match column.usage {
                            ColumnUse::Times => &mut group.times,
                            ColumnUse::Steps => &mut group.steps,
                            ColumnUse::Starts => &mut group.starts,
                        } += u64::from(column.len);
                    }
                }
            }
        }
        Ok(())
    }
}
