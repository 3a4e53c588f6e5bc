//! Codec 1, `gorilla`: XOR of consecutive floats (Pelkonen et al., VLDB 2015, section 4.1.2), exact for every bit
//! pattern.
//!
//! A stream of bits, most significant first, one code a value. The state starts as: last value all zero bits, window
//! of 64 bits without leading zeros.
//! ~~~text
//! 0                                  the last value again
//! 10  window bits                    the XOR with the last value, its bits inside the current window
//! 11  leading:5 length-1:6 bits      a new window: leading zeros of the XOR (at most 31), and its length
//! ~~~
//! The encoder keeps the window while that is cheaper, and until it wastes [`WINDOW_WASTE_MAX`] bits.

use std::ops::Range;

use super::bits::{BitReader, BitSink, BitWriter, PEEK_BITS};
use super::{Codec, Column, ColumnMut, ColumnType, cut_short};
use crate::error::{Error, Result};

/// A new window costs 11 bits more than the current one, and 11 more to widen it again.
const WINDOW_WASTE_MAX: u32 = 22;

const LEADING_MAX: u32 = 31;

#[derive(Debug)]
pub(super) struct Gorilla;

impl Codec for Gorilla {
    fn id(&self) -> u8 {
        1
    }

    fn name(&self) -> &'static str {
        "gorilla"
    }

    fn column_type(&self) -> ColumnType {
        ColumnType::Floats
    }

    fn encode(&self, column: Column<'_>, out: &mut Vec<u8>) {
        let Column::Floats(values) = column else { unreachable!("the column is of the codec's type") };
        let mut writer = BitWriter::new(out);
        let mut state = XorState::default();
        for value in values {
            state.put(value.to_bits(), &mut writer);
        }
        writer.finish();
    }

    fn decode(&self, data: &[u8], rows: usize, out: ColumnMut<'_>) -> Result<()> {
        self.decode_rows(data, rows, 0..rows, out)
    }

    /// Rows after the last wanted one are not looked at.
    fn decode_rows(&self, data: &[u8], rows: usize, wanted: Range<usize>, out: ColumnMut<'_>) -> Result<()> {
        let ColumnMut::Floats(out) = out else { unreachable!("the column is of the codec's type") };
        if rows > data.len() * 8 {
            return Err(cut_short("gorilla"));
        }
        let start = out.len();
        out.resize(start + wanted.len(), 0.0);
        let mut decoder = Decoder { data, position: 0, last: 0, window: Window::default() };
        let skipped = decoder.take::<false>(wanted.start, &mut []);
        let result = skipped.and_then(|()| decoder.take::<true>(wanted.len(), &mut out[start..]));
        if result.is_err() {
            out.truncate(start);
        }
        result
    }
}

/// Takes values one after another.
struct Decoder<'a> {
    data: &'a [u8],
    /// Bits taken so far.
    position: usize,
    /// Bits of the last value.
    last: u64,
    window: Window,
}

impl Decoder<'_> {
    /// Takes so many values into `out`, or only passes over them. All state is in local variables meanwhile: this loop
    /// is what reading a block mostly does.
    fn take<const KEEP: bool>(&mut self, rows: usize, out: &mut [f64]) -> Result<()> {
        let out = if KEEP { &mut out[..rows] } else { out };
        let (mut position, mut last) = (self.position, self.last);
        let mut length = u32::from(self.window.length);
        let mut trailing = 64 - u32::from(self.window.leading) - length;
        let mut row = 0;
        while row < rows {
            let word = peek(self.data, position);
            if word >> 63 == 0 {
                let run = (word.leading_zeros().min(PEEK_BITS) as usize).min(rows - row);
                if KEEP {
                    out[row..row + run].fill(f64::from_bits(last));
                }
                position += run;
                row += run;
                continue;
            }
            let mut header = 2;
            if word >> 62 == 0b11 {
                header = 13;
                let leading = (word >> 57) as u32 & 31;
                length = ((word >> 51) as u32 & 63) + 1;
                trailing = 64_u32.checked_sub(leading + length).ok_or_else(past_the_end)?;
            }
            position += (header + length) as usize;
            let inside = if header + length <= PEEK_BITS {
                word << header >> (64 - length)
            } else {
                let mut reader = BitReader::at(self.data, position - length as usize);
                reader.read(length)
            };
            last ^= inside << trailing;
            if KEEP {
                out[row] = f64::from_bits(last);
            }
            row += 1;
        }
        if position > self.data.len() * 8 {
            return Err(cut_short("gorilla"));
        }
        let leading = 64 - trailing - length;
        self.window = Window { leading: leading as u8, length: length as u8 };
        (self.position, self.last) = (position, last);
        Ok(())
    }
}

/// The next [`PEEK_BITS`] bits or a few more.
#[inline(always)]
fn peek(data: &[u8], position: usize) -> u64 {
    match data.get(position >> 3..).and_then(|rest| rest.first_chunk()) {
        Some(bytes) => u64::from_be_bytes(*bytes) << (position & 7),
        None => BitReader::at(data, position).peek(),
    }
}

#[cold]
fn past_the_end() -> Error {
    Error::corrupt("gorilla column with a window past 64 bits")
}

/// The bits that may change from one value to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Zero bits above the window, 0 to 31.
    leading: u8,
    /// Bits of the window, 1 to 64.
    length: u8,
}

impl Default for Window {
    fn default() -> Self {
        Self { leading: 0, length: 64 }
    }
}

/// The state of encoder and decoder.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct XorState {
    /// Bits of the last value.
    pub(super) last: u64,
    pub(super) window: Window,
}

impl XorState {
    /// Appends the code of a value.
    #[inline]
    pub(super) fn put(&mut self, bits: u64, sink: &mut impl BitSink) {
        let xor = bits ^ self.last;
        self.last = bits;
        if xor == 0 {
            return sink.put(0, 1);
        }
        let leading = xor.leading_zeros().min(LEADING_MAX);
        let trailing = xor.trailing_zeros();
        let length = 64 - leading - trailing;
        let (old_leading, old_length) = (u32::from(self.window.leading), u32::from(self.window.length));
        let old_trailing = 64 - old_leading - old_length;
        if leading >= old_leading && trailing >= old_trailing && old_length - length < WINDOW_WASTE_MAX {
            put_prefixed(sink, 0b10, 2, xor >> old_trailing, old_length);
        } else {
            self.window = Window { leading: leading as u8, length: length as u8 };
            let header = u64::from(0b11_u8) << 11 | u64::from(leading) << 6 | u64::from(length - 1);
            put_prefixed(sink, header, 13, xor >> trailing, length);
        }
    }

    /// Takes the code of a value.
    #[inline(always)]
    pub(super) fn take(&mut self, reader: &mut BitReader<'_>) -> Result<u64> {
        let word = reader.peek();
        if word >> 63 == 0 {
            reader.skip(1);
            return Ok(self.last);
        }
        self.take_changed(word, reader)
    }

    /// Takes a code that begins with a one bit; `word` is what the reader peeks.
    #[inline(always)]
    fn take_changed(&mut self, word: u64, reader: &mut BitReader<'_>) -> Result<u64> {
        let mut header = 2;
        if word >> 62 == 0b11 {
            header = 13;
            self.window = Window { leading: (word >> 57 & 31) as u8, length: (word >> 51 & 63) as u8 + 1 };
            if self.window.leading + self.window.length > 64 {
                return Err(past_the_end());
            }
        }
        let length = u32::from(self.window.length);
        let inside = if header + length <= PEEK_BITS {
            reader.skip(header + length);
            word << header >> (64 - length)
        } else {
            reader.skip(header);
            reader.read(length)
        };
        self.last ^= inside << (64 - u32::from(self.window.leading) - length);
        Ok(self.last)
    }
}

#[inline]
fn put_prefixed(sink: &mut impl BitSink, prefix: u64, prefix_bits: u32, value: u64, bits: u32) {
    if prefix_bits + bits <= 64 {
        sink.put(prefix << bits | value, prefix_bits + bits);
    } else {
        sink.put(prefix, prefix_bits);
        sink.put(value, bits);
    }
}
