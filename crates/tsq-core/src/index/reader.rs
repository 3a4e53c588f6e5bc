//! The index of a block.
//!
//! Section "label names":
//! ~~~text
//! strings  the names, sorted (symbols.rs)
//! pairs    u32 for each name: number of its first pair
//! count    u32, number of all pairs
//! names    u32, number of names
//! ~~~
//! Section "label values" is the string table of the values of all pairs; "series" and "postings" are in their files.

use std::ops::Range;

use super::IndexSections;
use super::postings::PostingsTable;
use super::series::{SeriesCursor, SeriesTable};
use super::symbols::{SymbolCursor, Symbols};
use crate::block::{PageReader, Section};
use crate::error::{Error, Result};
use crate::labels::{TEXT_MAX, push_pair};

/// Reads the index of a block; cheap to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Index<'a> {
    pub(super) pages: &'a PageReader,
    pub(super) sections: IndexSections,
    names: Symbols<'a>,
    /// Where in the section of names the first pairs of the names are.
    first_at: u64,
    pub(super) values: Symbols<'a>,
    pub(super) postings: PostingsTable<'a>,
    series: SeriesTable<'a>,
    pub(super) series_count: u32,
}

impl<'a> Index<'a> {
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when the sections do not fit together.
    pub(crate) fn open(pages: &'a PageReader, sections: &IndexSections, series_count: u32) -> Result<Self> {
        let section = sections.names;
        let damaged = || pages.corrupt(section.offset, "label names without their pairs");
        let counts_at = section.len.checked_sub(8).ok_or_else(damaged)?;
        let number_at = |at| pages.fixed(section, at).map(u32::from_le_bytes);
        let (pair_count, name_count) = (number_at(counts_at)?, number_at(counts_at + 4)?);
        let first_at = counts_at.checked_sub(4 * u64::from(name_count)).ok_or_else(damaged)?;
        let names = Symbols::open(pages, Section { offset: section.offset, len: first_at })?;
        let values = Symbols::open(pages, sections.values)?;
        if names.count() != name_count || values.count() != pair_count {
            return Err(damaged());
        }
        let postings = PostingsTable::open(pages, sections.postings, pair_count, series_count)?;
        let series = SeriesTable::open(pages, sections.series, series_count)?;
        Ok(Self { pages, sections: *sections, names, first_at, values, postings, series, series_count })
    }

    /// Number of distinct labels.
    pub(crate) fn pair_count(&self) -> u32 {
        self.values.count()
    }

    /// Number of label names.
    pub(crate) fn name_count(&self) -> u32 {
        self.names.count()
    }

    /// The pairs of a name, by its number.
    pub(crate) fn pairs_of(&self, name: u32) -> Result<Range<u32>> {
        let range = self.first_pair(name)?..self.first_pair(name + 1)?;
        if range.is_empty() || range.end > self.pair_count() {
            return Err(self.damaged("label name without pairs"));
        }
        Ok(range)
    }

    /// The first pair of a name; behind the last name, the number of all pairs.
    fn first_pair(&self, name: u32) -> Result<u32> {
        if name == self.name_count() {
            return Ok(self.pair_count());
        }
        self.pages.fixed(self.sections.names, self.first_at + 4 * u64::from(name)).map(u32::from_le_bytes)
    }

    #[cold]
    fn damaged(&self, message: &str) -> Error {
        self.pages.corrupt(self.sections.names.offset, message)
    }

    /// The pairs of a name; `None` when no series has it.
    pub(crate) fn find_name(&self, name: &str) -> Result<Option<Range<u32>>> {
        let number = self.names.lower_bound(0, self.name_count(), name)?;
        if number == self.name_count() || self.name(number)? != name {
            return Ok(None);
        }
        self.pairs_of(number).map(Some)
    }

    fn name(&self, number: u32) -> Result<String> {
        let mut name = String::new();
        self.names.get(number, &mut name)?;
        Ok(name)
    }

    /// All names, sorted.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        self.names.scan(0, self.name_count(), |_, name| {
            names.push(name.to_owned());
            true
        })?;
        Ok(names)
    }

    /// All values of a name, sorted.
    pub(crate) fn values_of(&self, name: &str) -> Result<Vec<String>> {
        let mut values = Vec::new();
        if let Some(pairs) = self.find_name(name)? {
            self.values.scan(pairs.start, pairs.end, |_, value| {
                values.push(value.to_owned());
                true
            })?;
        }
        Ok(values)
    }

    /// The values of ascending pairs.
    pub(crate) fn values(&self, pairs: &[u32]) -> Result<Vec<String>> {
        let mut cursor = self.values.cursor();
        pairs.iter().map(|pair| cursor.get(*pair).map(str::to_owned)).collect()
    }

    /// Sorted names that any series which passes `left` has. O(postings) at worst.
    pub(crate) fn names_left(&self, left: impl Fn(u32) -> bool) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for number in 0..self.name_count() {
            for pair in self.pairs_of(number)? {
                if self.has_series(pair, &left)? {
                    names.push(self.name(number)?);
                    break;
                }
            }
        }
        Ok(names)
    }

    /// Sorted values of a name that any series which passes `left` has. O(postings of the name) at worst.
    pub(crate) fn values_left(&self, name: &str, left: impl Fn(u32) -> bool) -> Result<Vec<String>> {
        let mut values = Vec::new();
        let Some(pairs) = self.find_name(name)? else { return Ok(values) };
        for pair in pairs {
            if self.has_series(pair, &left)? {
                let mut value = String::new();
                self.values.get(pair, &mut value)?;
                values.push(value);
            }
        }
        Ok(values)
    }

    fn has_series(&self, pair: u32, left: &impl Fn(u32) -> bool) -> Result<bool> {
        let mut series = Vec::new();
        self.postings.get(pair)?.append(&mut series)?;
        Ok(series.into_iter().any(left))
    }

    /// The pair of a name with this value.
    pub(crate) fn find_value(&self, pairs: &Range<u32>, value: &str) -> Result<Option<u32>> {
        let pair = self.values.lower_bound(pairs.start, pairs.end, value)?;
        if pair == pairs.end {
            return Ok(None);
        }
        let mut found = String::new();
        self.values.get(pair, &mut found)?;
        Ok((found == value).then_some(pair))
    }

    /// A cursor over the series table.
    pub(crate) fn series(&self) -> SeriesCursor<'a> {
        self.series.cursor()
    }

    /// A cursor over labels by their pairs.
    pub(crate) fn pairs(&self) -> PairCursor<'a> {
        PairCursor { index: *self, names: Vec::new(), values: self.values.cursor() }
    }

    /// The number of the name of a pair.
    pub(super) fn name_of(&self, pair: u32) -> Result<u32> {
        if pair >= self.pair_count() {
            return Err(self.damaged("series with a label that is not in the tables"));
        }
        let (mut low, mut high) = (0, self.name_count());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.first_pair(middle)? <= pair { low = middle + 1 } else { high = middle }
        }
        low.checked_sub(1).ok_or_else(|| self.damaged("label value before the first name"))
    }
}

/// Names that a [`PairCursor`] remembers.
const NAMES_KEPT: usize = 32;

/// Reads labels by their pairs; neighbouring values of a name are fast.
#[derive(Debug)]
pub(crate) struct PairCursor<'a> {
    index: Index<'a>,
    /// Names met before, with their pairs.
    names: Vec<(Range<u32>, String)>,
    values: SymbolCursor<'a>,
}

impl PairCursor<'_> {
    /// Appends the canonical bytes of a label and returns its name, which like the value is not empty. After an error
    /// `out` is as before.
    pub(crate) fn append(&mut self, pair: u32, out: &mut Vec<u8>) -> Result<&str> {
        let known = self.names.iter().position(|(pairs, _)| pairs.contains(&pair));
        let known = match known {
            Some(known) => known,
            None => self.learn(pair)?,
        };
        let (_, name) = &self.names[known];
        let value = self.values.get(pair)?;
        if name.len().max(value.len()) >= TEXT_MAX {
            return Err(self.index.damaged("label of more than 256 MiB"));
        }
        if name.is_empty() || value.is_empty() {
            return Err(self.index.damaged("label without a name or a value"));
        }
        push_pair(out, name, value);
        Ok(name)
    }

    fn learn(&mut self, pair: u32) -> Result<usize> {
        let number = self.index.name_of(pair)?;
        let name = (self.index.pairs_of(number)?, self.index.name(number)?);
        if self.names.len() == NAMES_KEPT {
            self.names.clear();
        }
        self.names.push(name);
        Ok(self.names.len() - 1)
    }
}
