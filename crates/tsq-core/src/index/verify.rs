//! Checks the rules of an index: order of names, values and series, and that postings and series table agree.

use super::Index;
use crate::error::{Error, Result};

/// What the series table says about a pair: how many series have it, and the sum of their mixed numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Digest {
    series: u32,
    sum: u64,
}

impl Digest {
    fn add(&mut self, series: u32) {
        self.series += 1;
        // An odd multiplier and a shift: sums of different sets do not agree by accident.
        let mixed = u64::from(series + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.sum = self.sum.wrapping_add(mixed ^ mixed >> 29);
    }
}

impl Index<'_> {
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) with the first rule that is broken.
    pub(crate) fn verify(&self) -> Result<()> {
        let names = self.names()?;
        if !names.is_sorted_by(|a, b| a < b) {
            return Err(self.broken("label names are not sorted"));
        }
        let mut next = 0;
        for (number, name) in names.iter().enumerate() {
            let pairs = self.pairs_of(number as u32)?;
            if pairs.start != next {
                return Err(self.broken(&format!("values of label {name} do not follow those before")));
            }
            next = pairs.end;
            self.verify_values(name, pairs.start, pairs.end)?;
        }
        if next != self.pair_count() {
            return Err(self.broken("label values without a name"));
        }
        let digests = self.verify_series()?;
        self.verify_postings(&digests)
    }

    fn broken(&self, message: &str) -> Error {
        self.pages.corrupt(self.sections.names.offset, message)
    }

    fn verify_values(&self, name: &str, from: u32, to: u32) -> Result<()> {
        let mut last = String::new();
        let mut sorted = true;
        self.values.scan(from, to, |_, value| {
            sorted &= *last < *value;
            value.clone_into(&mut last);
            sorted
        })?;
        if sorted { Ok(()) } else { Err(self.broken(&format!("values of label {name} are not sorted"))) }
    }

    fn verify_series(&self) -> Result<Vec<Digest>> {
        let mut digests = vec![Digest::default(); self.pair_count() as usize];
        let mut cursor = self.series();
        let mut last: Vec<u32> = Vec::new();
        for series in 0..self.series_count {
            let pairs = &cursor.get(series)?.pairs;
            if series > 0 && *pairs <= last {
                return Err(self.broken(&format!("series {series} is not above the one before")));
            }
            let mut name = None;
            for pair in pairs {
                let own = self.name_of(*pair)?;
                if name.replace(own).is_some_and(|last| last >= own) {
                    return Err(self.broken(&format!("labels of series {series} are not sorted")));
                }
                digests[*pair as usize].add(series);
            }
            last.clone_from(pairs);
        }
        Ok(digests)
    }

    fn verify_postings(&self, digests: &[Digest]) -> Result<()> {
        let mut series = Vec::new();
        for (pair, want) in digests.iter().enumerate() {
            series.clear();
            self.postings.get(pair as u32)?.append(&mut series)?;
            let mut found = Digest::default();
            series.iter().for_each(|series| found.add(*series));
            if found != *want || want.series == 0 {
                return Err(self.broken(&format!("postings of label value {pair} differ from the series")));
            }
        }
        Ok(())
    }
}
