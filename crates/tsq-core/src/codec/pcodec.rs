//! Codec 14, `pco`: floats by the crate `pco` (Loncaric, "Pcodec", arXiv 2502.06112), as the last stage where it is
//! clearly smaller. Without the feature `pco` such chunks cannot be read, and say so.
//!
//! ~~~text
//! form        u8        0 to 14: decimal numbers of so many digits behind the point, as in `decimal`, as i64;
//!                       16 f64; 17 f32, for values that are single-precision floats
//! data                  wrapped pco: header, chunk metadata, one page
//! ~~~

use super::{Codec, Column, ColumnMut, ColumnType};
use crate::error::Result;

#[derive(Debug)]
pub(super) struct Pco;

impl Codec for Pco {
    fn id(&self) -> u8 {
        14
    }

    fn name(&self) -> &'static str {
        "pco"
    }

    fn column_type(&self) -> ColumnType {
        ColumnType::Floats
    }

    fn accepts(&self, _: Column<'_>) -> bool {
        cfg!(feature = "pco")
    }

    fn encode(&self, column: Column<'_>, out: &mut Vec<u8>) {
        let Column::Floats(values) = column else { unreachable!("the column is of the codec's type") };
        encode(values, None, out);
    }

    fn decode(&self, data: &[u8], rows: usize, out: ColumnMut<'_>) -> Result<()> {
        let ColumnMut::Floats(out) = out else { unreachable!("the column is of the codec's type") };
        let start = out.len();
        let result = decode(data, rows.min(super::CHUNK_SAMPLES_MAX), out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }
}

use imp::decode;
pub(super) use imp::encode;
#[cfg(feature = "pco")]
pub(super) use imp::{ROWS_MIN, predicted_bits};

#[cfg(not(feature = "pco"))]
mod imp {
    use crate::error::{Error, ErrorKind, Result};

    pub(in super::super) fn encode(_: &[f64], _: Option<u8>, _: &mut Vec<u8>) {
        unreachable!("the codec accepts nothing without the feature");
    }

    pub(super) fn decode(_: &[u8], _: usize, _: &mut Vec<f64>) -> Result<()> {
        Err(Error::new(ErrorKind::UnsupportedFormat, "chunk encoding 14 needs tsq built with the feature `pco`"))
    }
}

#[cfg(feature = "pco")]
mod imp {
    use pco::data_types::Number;
    use pco::wrapped::{FileCompressor, FileDecompressor};
    use pco::{ChunkConfig, PagingSpec};

    use super::super::{decimal, ordered};
    use crate::error::{Error, Result};

    /// Fewer rows are not worth the header.
    pub(in super::super) const ROWS_MIN: usize = 64;

    const LEVEL: usize = 8;
    const FORM_F64: u8 = 16;
    const FORM_F32: u8 = 17;

    /// Appends the encoding: as decimal numbers when all values are such with so many digits, else as floats.
    pub(in super::super) fn encode(values: &[f64], digits: Option<u8>, out: &mut Vec<u8>) {
        let numbers = digits.and_then(|digits| Some((digits, decimal::exact_numbers(values, digits)?)));
        if let Some((digits, numbers)) = numbers {
            out.push(digits);
            compress(&numbers, out);
        } else if values.iter().all(|value| f64::from(*value as f32).to_bits() == value.to_bits()) {
            out.push(FORM_F32);
            compress(&values.iter().map(|value| *value as f32).collect::<Vec<_>>(), out);
        } else {
            out.push(FORM_F64);
            compress(values, out);
        }
    }

    /// Bits of a value that the encoding should take at least, about: the entropy of how many bits the numbers, or their
    /// differences, lie off their middle, and those bits.
    pub(in super::super) fn predicted_bits(values: &[f64], digits: Option<u8>) -> f64 {
        let exact = digits.and_then(|digits| decimal::exact_numbers(values, digits));
        let mut numbers = exact.unwrap_or_else(|| ordered::numbers_of(values));
        let mut least = f64::INFINITY;
        for order in 0..=ORDER_MAX {
            least = least.min(entropy(&numbers[order.min(numbers.len())..]));
            for index in (order + 1..numbers.len()).rev() {
                numbers[index] = numbers[index].wrapping_sub(numbers[index - 1]);
            }
        }
        least
    }

    /// Most differences that are taken one after another.
    const ORDER_MAX: usize = 2;

    fn entropy(numbers: &[i64]) -> f64 {
        let Some(&middle) = numbers.get(numbers.len() / 2) else { return 0.0 };
        let mut counts = [0_u32; 65];
        for number in numbers {
            counts[decimal::width(number.wrapping_sub(middle)) as usize] += 1;
        }
        let rows = numbers.len() as f64;
        let class = |(width, count): (usize, &u32)| {
            let share = f64::from(*count) / rows;
            // All numbers of a class have the same highest bit.
            if *count == 0 { 0.0 } else { share * (width.saturating_sub(1) as f64 - share.log2()) }
        };
        counts.iter().enumerate().map(class).sum()
    }

    fn compress<T: Number>(numbers: &[T], out: &mut Vec<u8>) {
        if numbers.is_empty() {
            return;
        }
        let config = ChunkConfig::default()
            .with_compression_level(LEVEL)
            .with_paging_spec(PagingSpec::Exact(vec![numbers.len()]));
        let file = FileCompressor::default();
        let mut write = || -> pco::errors::PcoResult<()> {
            file.write_header(&mut *out)?;
            let mut chunk = file.chunk_compressor(numbers, &config)?;
            chunk.write_meta(&mut *out)?;
            chunk.write_page(0, &mut *out)?;
            Ok(())
        };
        write().expect("pco takes any numbers and a vector takes any bytes");
    }

    pub(super) fn decode(data: &[u8], rows: usize, out: &mut Vec<f64>) -> Result<()> {
        let Some((&form, data)) = data.split_first() else { return Err(Error::corrupt("pco column without a form")) };
        match form {
            FORM_F64 => {
                let start = out.len();
                out.resize(start + rows, 0.0);
                decompress(data, &mut out[start..])
            }
            FORM_F32 => {
                let mut singles = vec![0_f32; rows];
                decompress(data, &mut singles)?;
                out.extend(singles.into_iter().map(f64::from));
                Ok(())
            }
            digits => {
                let mut numbers = vec![0_i64; rows];
                decompress(data, &mut numbers)?;
                let values = decimal::values_of(&numbers, digits);
                out.extend(values.ok_or_else(|| Error::corrupt(format!("pco column of form {form}")))?);
                Ok(())
            }
        }
    }

    fn decompress<T: Number>(data: &[u8], out: &mut [T]) -> Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        let read = |out: &mut [T]| -> pco::errors::PcoResult<usize> {
            let (file, data) = FileDecompressor::new(data)?;
            let (mut chunk, data) = file.chunk_decompressor::<T, _>(data)?;
            Ok(chunk.page_decompressor(data, out.len())?.read(out)?.n_processed)
        };
        match read(out) {
            Ok(rows) if rows == out.len() => Ok(()),
            Ok(rows) => Err(Error::corrupt(format!("pco column of {rows} instead of {} rows", out.len()))),
            Err(error) => Err(Error::corrupt(format!("pco column: {error}"))),
        }
    }
}
