//! Gathers the index of a block while its series come by in label order, then writes it.
//!
//! In memory a series takes a few bytes (its record, with pairs numbered as they come), a pair its text and 20 bytes.

use hashbrown::HashTable;
use std::collections::HashMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::postings::PostingsWriter;
use super::series::{SeriesEntry, SeriesWriter, put_record, take_record};
use super::symbols::SymbolWriter;
use crate::block::{PageWriter, Section};
use crate::codec::varint::Cursor;
use crate::error::{Error, Result};
use crate::labels::Labels;

/// Postings gathered in memory at once; more take further passes over the series. Few in tests, so that those pass.
const PASS_POSTINGS: u64 = if cfg!(test) { 500 } else { 4 << 20 };

/// Where the parts of an index were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexSections {
    pub series: Section,
    pub names: Section,
    pub values: Section,
    pub postings: Section,
}

/// A distinct label.
#[derive(Debug)]
struct Pair {
    name: u32,
    /// Its value in the text.
    start: u32,
    len: u32,
    /// Series that have it.
    series: u32,
}

/// Collects series and their labels.
#[derive(Debug)]
pub(crate) struct IndexBuilder {
    seed: u64,
    names: Vec<String>,
    name_numbers: HashMap<String, u32>,
    text: Vec<u8>,
    pairs: Vec<Pair>,
    /// Numbers of pairs by name and value.
    lookup: HashTable<u32>,
    last_labels: Labels,
    last: SeriesEntry,
    records: Vec<u8>,
    count: u32,
}

impl IndexBuilder {
    /// `seed` keeps senders from choosing labels that collide.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            names: Vec::new(),
            name_numbers: HashMap::new(),
            text: Vec::new(),
            pairs: Vec::new(),
            lookup: HashTable::new(),
            last_labels: Labels::empty(),
            last: SeriesEntry::default(),
            records: Vec::new(),
            count: 0,
        }
    }

    /// Number of series so far.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Adds the next series, whose labels are above those before, with its chunks.
    ///
    /// # Errors
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) when 32 bits do not count the series or labels.
    pub(crate) fn push(&mut self, labels: Labels, chunks: u32, chunks_len: u64) -> Result<()> {
        if self.count == u32::MAX {
            return Err(Error::limit("a block holds at most 2^32 - 1 series"));
        }
        let before = std::mem::replace(&mut self.last_labels, labels);
        let labels = self.last_labels.clone();
        let shared = before.iter().zip(labels.iter()).take_while(|(a, b)| a == b).count();
        let mut pairs = self.last.pairs[..shared].to_vec();
        for (name, value) in labels.iter().skip(shared) {
            let pair = self.pair(name, value)?;
            pairs.push(pair);
        }
        for pair in &pairs {
            self.pairs[*pair as usize].series += 1;
        }
        let entry = SeriesEntry { pairs, chunks, chunks_at: 0, chunks_len };
        put_record(&self.last.pairs, &entry, &mut self.records);
        self.last = entry;
        self.count += 1;
        Ok(())
    }

    /// The number of a pair, a new one when it was not seen before.
    fn pair(&mut self, name: &str, value: &str) -> Result<u32> {
        let name = self.name(name);
        let seed = self.seed;
        let text = &self.text;
        let value_of = |pair: &Pair| &text[pair.start as usize..(pair.start + pair.len) as usize];
        let hash = |name: u32, value: &[u8]| xxh3_64_with_seed(value, seed ^ u64::from(name) << 32);
        let key = hash(name, value.as_bytes());
        let pairs = &self.pairs;
        let known = self.lookup.find(key, |number| {
            let pair = &pairs[*number as usize];
            pair.name == name && value_of(pair) == value.as_bytes()
        });
        if let Some(number) = known {
            return Ok(*number);
        }
        if self.text.len() + value.len() > u32::MAX as usize || self.pairs.len() >= u32::MAX as usize {
            return Err(Error::limit("label values of a block pass 4 GiB"));
        }
        let number = self.pairs.len() as u32;
        self.lookup.insert_unique(key, number, |number| {
            let pair = &pairs[*number as usize];
            hash(pair.name, value_of(pair))
        });
        self.pairs.push(Pair { name, start: self.text.len() as u32, len: value.len() as u32, series: 0 });
        self.text.extend_from_slice(value.as_bytes());
        Ok(number)
    }

    fn name(&mut self, name: &str) -> u32 {
        if let Some(number) = self.name_numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.name_numbers.insert(name.to_owned(), number);
        number
    }

    /// Writes series table, names, values and postings.
    pub(crate) fn write(self, out: &mut PageWriter) -> Result<IndexSections> {
        let order = self.sorted_pairs();
        let mut renumbered = vec![0; order.len()];
        for (new, old) in order.iter().enumerate() {
            renumbered[*old as usize] = new as u32;
        }
        let series = section(out, |out| self.write_series(&renumbered, out))?;
        let names = section(out, |out| self.write_names(&order, out))?;
        let values = section(out, |out| self.write_values(&order, out))?;
        let postings = section(out, |out| self.write_postings(&order, &renumbered, out))?;
        Ok(IndexSections { series, names, values, postings })
    }

    fn value(&self, pair: &Pair) -> &[u8] {
        &self.text[pair.start as usize..(pair.start + pair.len) as usize]
    }

    /// Numbers of pairs in order of name and value.
    fn sorted_pairs(&self) -> Vec<u32> {
        let mut by_name: Vec<u32> = (0..self.names.len() as u32).collect();
        by_name.sort_unstable_by_key(|number| &self.names[*number as usize]);
        let mut rank = vec![0; by_name.len()];
        for (place, number) in by_name.iter().enumerate() {
            rank[*number as usize] = place;
        }
        let mut order: Vec<u32> = (0..self.pairs.len() as u32).collect();
        order.sort_unstable_by(|a, b| {
            let (a, b) = (&self.pairs[*a as usize], &self.pairs[*b as usize]);
            let ranks = rank[a.name as usize].cmp(&rank[b.name as usize]);
            ranks.then_with(|| self.value(a).cmp(self.value(b)))
        });
        order
    }

    /// Calls `visit` with every series in order, its pairs numbered as they came.
    fn each_series(&self, mut visit: impl FnMut(u32, &SeriesEntry) -> Result<()>) -> Result<()> {
        let mut cursor = Cursor::new(&self.records);
        let mut entry = SeriesEntry::default();
        for series in 0..self.count {
            take_record(&mut cursor, &mut entry).expect("the records are as they were put");
            visit(series, &entry)?;
        }
        Ok(())
    }

    fn write_series(&self, renumbered: &[u32], out: &mut PageWriter) -> Result<()> {
        let mut writer = SeriesWriter::default();
        let mut sorted = SeriesEntry::default();
        self.each_series(|_, entry| {
            sorted.clone_from(entry);
            sorted.pairs.iter_mut().for_each(|pair| *pair = renumbered[*pair as usize]);
            debug_assert!(sorted.pairs.is_sorted_by(|a, b| a < b), "labels are sorted by name");
            writer.push(&sorted, out)
        })?;
        writer.finish(out)
    }

    /// See `reader.rs` for the layout.
    fn write_names(&self, order: &[u32], out: &mut PageWriter) -> Result<()> {
        let mut writer = SymbolWriter::default();
        let mut first_pairs: Vec<u8> = Vec::new();
        let mut last = None;
        for (number, pair) in order.iter().enumerate() {
            let name = self.pairs[*pair as usize].name;
            if last.replace(name) != Some(name) {
                writer.push(self.names[name as usize].as_bytes(), out)?;
                first_pairs.extend_from_slice(&(number as u32).to_le_bytes());
            }
        }
        let names_len = first_pairs.len() / 4;
        debug_assert_eq!(names_len, self.names.len());
        writer.finish(out)?;
        let counts = [order.len(), names_len];
        counts.iter().for_each(|count| first_pairs.extend_from_slice(&(*count as u32).to_le_bytes()));
        out.write(&first_pairs)
    }

    fn write_values(&self, order: &[u32], out: &mut PageWriter) -> Result<()> {
        let mut writer = SymbolWriter::default();
        for pair in order {
            writer.push(self.value(&self.pairs[*pair as usize]), out)?;
        }
        writer.finish(out)
    }

    /// Each pass gathers as many pairs as have [`PASS_POSTINGS`] postings together.
    fn write_postings(&self, order: &[u32], renumbered: &[u32], out: &mut PageWriter) -> Result<()> {
        let mut writer = PostingsWriter::default();
        let count = |new: usize| u64::from(self.pairs[order[new] as usize].series);
        let mut from = 0;
        while from < order.len() {
            let mut ends = vec![0_usize];
            let mut to = from;
            while to < order.len() && (to == from || ends[to - from] as u64 + count(to) <= PASS_POSTINGS) {
                ends.push(ends[to - from] + count(to) as usize);
                to += 1;
            }
            let mut places = ends.clone();
            let mut gathered = vec![0_u32; *ends.last().expect("there is the end of no pairs")];
            self.each_series(|series, entry| {
                for pair in &entry.pairs {
                    let new = renumbered[*pair as usize] as usize;
                    if (from..to).contains(&new) {
                        gathered[places[new - from]] = series;
                        places[new - from] += 1;
                    }
                }
                Ok(())
            })?;
            for range in ends.windows(2) {
                writer.push(&gathered[range[0]..range[1]], out)?;
            }
            from = to;
        }
        writer.finish(out)
    }
}

/// Runs `write` and says where it wrote.
fn section(out: &mut PageWriter, write: impl FnOnce(&mut PageWriter) -> Result<()>) -> Result<Section> {
    let offset = out.position();
    write(out)?;
    Ok(Section { offset, len: out.position() - offset })
}
