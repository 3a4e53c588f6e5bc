//! Codec 15, `matrix`: the counts of all buckets of a classic histogram, a column for each bucket, shared by their series.
//!
//! ~~~text
//! head      u8       bit 0: columns have rows of their own; bit 1: there are stale rows; others zero
//! rows      varint   1 to 1,024
//! columns   varint   1 to 1,024
//! rows of each column, only with bit 0: varint rows that it lacks at the start, varint rows that it lacks at the end
//! stale     only with bit 1: varint count (1 to rows), then varint each: rows between it and the one before (the start)
//! columns   each as in counts.rs: what the bucket counts beyond the column before
//! ~~~
//! The value of a column in a row is the sum of the numbers of this column and those before it; sums wrap. In stale rows
//! every column holds the staleness marker instead. Rows that a column lacks repeat its number: their sums stand for
//! nothing, but cost nothing.

use super::floats::Effort;
use super::varint::{Cursor, put_u64};
use super::{CHUNK_SAMPLES_MAX, counts, cut_short};
use crate::error::{Error, Result};
use crate::sample::{is_stale, stale_nan};

/// The encoding byte.
pub(crate) const ID: u8 = 15;
/// Name used by `tsq inspect`.
pub(crate) const NAME: &str = "matrix";

/// Most columns of a matrix.
pub(crate) const COLUMNS_MAX: usize = 1024;

const RAGGED: u8 = 1;
const STALE: u8 = 2;

/// A bucket: its values in consecutive rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket<'a> {
    /// Its first row in the matrix.
    pub(crate) first: usize,
    /// Counts that [`is_count`] or staleness markers; at least one.
    pub(crate) values: &'a [f64],
}

/// Whether a value can stand in a matrix: an integer below 2^53 in both directions, and not -0.0.
pub(crate) fn is_count(value: f64) -> bool {
    let count = value as i64;
    count.unsigned_abs() < 1 << 53 && (count as f64).to_bits() == value.to_bits()
}

/// Appends the encoding of buckets by ascending bounds. `stale` are the rows, ascending, in which every bucket that has
/// them is stale; in no other row one is.
pub(crate) fn encode(rows: usize, stale: &[usize], buckets: &[Bucket<'_>], effort: Effort, out: &mut Vec<u8>) {
    debug_assert!((1..=CHUNK_SAMPLES_MAX).contains(&rows) && (1..=COLUMNS_MAX).contains(&buckets.len()));
    let ragged = buckets.iter().any(|bucket| bucket.values.len() != rows);
    out.push(if ragged { RAGGED } else { 0 } | if stale.is_empty() { 0 } else { STALE });
    put_u64(out, rows as u64);
    put_u64(out, buckets.len() as u64);
    for bucket in buckets.iter().filter(|_| ragged) {
        put_u64(out, bucket.first as u64);
        put_u64(out, (rows - bucket.first - bucket.values.len()) as u64);
    }
    if !stale.is_empty() {
        put_u64(out, stale.len() as u64);
        let mut next = 0;
        for row in stale {
            put_u64(out, (row - next) as u64);
            next = row + 1;
        }
    }
    let (mut below, mut numbers) = (vec![0_i64; rows], vec![0_i64; rows]);
    for bucket in buckets {
        subtract(bucket, &below, &mut numbers);
        counts::encode(&numbers, effort, out);
        below.iter_mut().zip(&numbers).for_each(|(below, number)| *below = below.wrapping_add(*number));
    }
}

/// What a bucket counts beyond those below it. Rows that it lacks, and stale ones, repeat the number of their neighbour.
fn subtract(bucket: &Bucket<'_>, below: &[i64], numbers: &mut [i64]) {
    let rows = bucket.first..bucket.first + bucket.values.len();
    let mut last = None;
    for ((row, value), below) in rows.clone().zip(bucket.values).zip(&below[rows.clone()]) {
        if is_stale(*value) {
            numbers[row] = last.unwrap_or(0);
            continue;
        }
        let number = (*value as i64).wrapping_sub(*below);
        if last.is_none() {
            numbers[..row].fill(number);
        }
        numbers[row] = number;
        last = Some(number);
    }
    match last {
        Some(last) => numbers[rows.end..].fill(last),
        None => numbers.fill(0),
    }
}

/// An encoding that is decoded column by column, as far as somebody asks.
#[derive(Debug, Default)]
pub(crate) struct Matrix {
    /// First row and end of each column.
    bounds: Vec<(u16, u16)>,
    stale: Vec<u16>,
    /// Where the first column that is not decoded begins.
    next: usize,
    /// Sums of all columns before that.
    sums: Vec<i64>,
    /// Values of the decoded columns, whole rows.
    values: Vec<f64>,
}

impl Matrix {
    /// Reads all but the columns. Allocates at most a few bytes for each byte of `data`, and 8 KiB.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) for damaged bytes, here and below.
    pub(crate) fn open(data: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(data);
        let matrix = Self::take_head(&mut cursor).ok_or_else(|| Error::corrupt("matrix with a head that is none"))?;
        Ok(Self { next: data.len() - cursor.rest().len(), ..matrix })
    }

    fn take_head(cursor: &mut Cursor<'_>) -> Option<Self> {
        let head = cursor.u8().filter(|head| head & !(RAGGED | STALE) == 0)?;
        let rows = cursor.usize().filter(|rows| (1..=CHUNK_SAMPLES_MAX).contains(rows))?;
        // Every column takes two bytes at least.
        let most = COLUMNS_MAX.min(cursor.rest().len() / 2);
        let columns = cursor.usize().filter(|columns| (1..=most).contains(columns))?;
        let mut bounds = vec![(0, rows as u16); columns];
        for bounds in bounds.iter_mut().filter(|_| head & RAGGED != 0) {
            let (before, behind) = (cursor.usize()?, cursor.usize()?);
            let end = rows.checked_sub(behind).filter(|end| before < *end)?;
            *bounds = (before as u16, end as u16);
        }
        let count = if head & STALE == 0 { 0 } else { cursor.usize().filter(|count| (1..=rows).contains(count))? };
        let (mut stale, mut next) = (Vec::with_capacity(count), 0_usize);
        for _ in 0..count {
            let row = next.checked_add(cursor.usize()?).filter(|row| *row < rows)?;
            stale.push(row as u16);
            next = row + 1;
        }
        Some(Self { bounds, stale, next: 0, sums: vec![0; rows], values: Vec::new() })
    }

    /// Number of columns.
    pub(crate) fn columns(&self) -> usize {
        self.bounds.len()
    }

    /// Number of rows of which some column has a value.
    pub(crate) fn rows(&self) -> usize {
        self.sums.len()
    }

    /// Bytes of the encoding that are decoded.
    pub(crate) fn decoded_bytes(&self) -> usize {
        self.next
    }

    /// Bytes on the heap.
    pub(crate) fn memory(&self) -> usize {
        8 * (self.values.capacity() + self.sums.capacity()) + 4 * self.bounds.capacity() + 2 * self.stale.capacity()
    }

    /// The values of a column. Decodes this column and those before it, unless they are decoded; `data` is what the matrix
    /// was opened with. After an error the matrix is of no use.
    pub(crate) fn column(&mut self, data: &[u8], column: usize) -> Result<&[f64]> {
        let Some(&(first, end)) = self.bounds.get(column) else {
            return Err(Error::corrupt(format!("column {column} of a matrix with {} columns", self.columns())));
        };
        let rows = self.rows();
        while self.values.len() <= column * rows {
            self.decode_column(data)?;
        }
        let start = column * rows;
        Ok(&self.values[start + usize::from(first)..start + usize::from(end)])
    }

    fn decode_column(&mut self, data: &[u8]) -> Result<()> {
        let mut cursor = Cursor::new(data.get(self.next..).ok_or_else(|| cut_short(NAME))?);
        counts::decode_add(&mut cursor, &mut self.sums)?;
        let start = self.values.len();
        if start == 0 {
            self.values.reserve(self.rows());
        }
        self.values.extend(self.sums.iter().map(|sum| *sum as f64));
        self.stale.iter().for_each(|row| self.values[start + usize::from(*row)] = stale_nan());
        self.next = data.len() - cursor.rest().len();
        let is_last = self.values.len() == self.columns() * self.rows();
        if is_last && !cursor.is_empty() {
            return Err(Error::corrupt("matrix with bytes behind its last column"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(rows: usize, stale: &[usize], buckets: &[Bucket<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(rows, stale, buckets, Effort::Thorough, &mut out);
        out
    }

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    /// The example of docs/format-block.md: three buckets, the last of which lacks the first row, and a stale last row.
    #[test]
    fn the_example_of_the_format_document() {
        let stale = stale_nan();
        let columns = [vec![1.0, 1.0, 2.0, stale], vec![1.0, 3.0, 4.0, stale], vec![3.0, 5.0, stale]];
        let first = [0, 0, 1];
        let buckets: Vec<_> = columns.iter().zip(first).map(|(values, first)| Bucket { first, values }).collect();
        let data = encoded(4, &[3], &buckets);
        assert_eq!(
            data,
            [3, 4, 3, 0, 0, 0, 0, 1, 0, 1, 3, 1, 2, 1, 0, 0, 0x80, 1, 0, 1, 0, 0, 0x40, 1, 0, 1, 0, 0, 0x80],
            "{data:02x?}"
        );
        let mut matrix = Matrix::open(&data).unwrap();
        for column in [2, 0, 1] {
            assert_eq!(bits(matrix.column(&data, column).unwrap()), bits(&columns[column]));
        }
    }

    /// Rows, each column's first row and counts, and stale rows.
    type Family = (usize, Vec<(usize, Vec<f64>)>, Vec<usize>);

    fn family() -> impl Strategy<Value = Family> {
        let count = prop_oneof![8 => 0_i64..3, 1 => -500_i64..500, 1 => -(1_i64 << 52)..1 << 52];
        let columns = move |rows: usize| {
            let column = (prop::collection::vec(count.clone(), rows), 0..rows, 0..rows);
            (prop::collection::vec(column, 1..6), prop::collection::btree_set(0..rows, 0..4.min(rows)))
        };
        (1_usize..200).prop_flat_map(move |rows| (Just(rows), columns(rows))).prop_map(|(rows, (columns, stale))| {
            let column = |(numbers, first, end): (Vec<i64>, usize, usize)| {
                let (mut sum, first) = (0_i64, first / 3);
                let end = (rows - end / 4).max(first + 1);
                let values = numbers.iter().enumerate().map(|(row, number)| {
                    sum = (sum + number) % (1 << 53);
                    if stale.contains(&row) { stale_nan() } else { sum as f64 }
                });
                (first, values.collect::<Vec<_>>()[first..end].to_vec())
            };
            (rows, columns.into_iter().map(column).collect(), stale.iter().copied().collect())
        })
    }

    proptest! {
        /// Every column comes back bit for bit, in any order; no prefix and no flip panics.
        #[test]
        fn families_come_back((rows, columns, stale) in family(), seed: u64) {
            let buckets: Vec<_> = columns.iter().map(|(first, values)| Bucket { first: *first, values }).collect();
            let data = encoded(rows, &stale, &buckets);
            let mut matrix = Matrix::open(&data).unwrap();
            prop_assert_eq!((matrix.rows(), matrix.columns()), (rows, columns.len()));
            for step in 0..2 * columns.len() {
                let column = (seed as usize).wrapping_add(step * 7) % columns.len();
                prop_assert_eq!(bits(matrix.column(&data, column).unwrap()), bits(&columns[column].1));
            }
            for cut in 0..data.len() {
                survives(&data[..cut]);
            }
            let mut flipped = data.clone();
            for bit in (0..data.len() * 8).step_by(1 + data.len() / 40) {
                flipped[bit / 8] ^= 1 << (bit % 8);
                survives(&flipped);
            }
        }

        #[test]
        fn random_bytes_do_not_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
            survives(&data);
        }
    }

    fn survives(data: &[u8]) {
        let Ok(mut matrix) = Matrix::open(data) else { return };
        let last = matrix.columns() - 1;
        let _ = matrix.column(data, last);
        assert!(matrix.memory() <= (CHUNK_SAMPLES_MAX * 16 + 8) * (data.len() + 1));
    }
}
