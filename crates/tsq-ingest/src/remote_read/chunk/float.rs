//! Chunks of floats.
//!
//! ~~~text
//! u16 BE                number of samples
//! sample 1              time as a zigzag varint, value in 64 bits
//! sample 2              time less the one before as a varint, value as an xor
//! every further sample  time step less the one before: 0 as `0`, else `10` and 14 bits, `110` and 17, `1110` and 20,
//!                       or `1111` and 64; value as an xor
//! an xor                bits of the value that differ from the one before: none as `0`; as `10` and the bits, within
//!                       the same borders as last time; or `11`, 5 bits of leading zeros, 6 bits of length (0 is 64),
//!                       and the bits
//! ~~~

use tsq_core::Samples;

use super::bits::{BitReader, BitWriter, fits_signed, signed};
use super::read_count;
use crate::error::DecodeError;
use crate::protobuf::{unzigzag, zigzag};

/// Bits of a difference of time steps, by the ones before it.
const STEP_WIDTHS: [u32; 4] = [14, 17, 20, 64];

/// Most leading zeros that an xor can say.
const LEADING_MAX: u32 = 31;

/// The last value, and where the bits lie that an xor of the short form holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Xor {
    last: u64,
    /// Leading and trailing zeros; none before the first long form.
    borders: Option<(u32, u32)>,
}

impl Xor {
    /// After a value that was written whole.
    pub(super) fn after(value: f64) -> Self {
        Self { last: value.to_bits(), borders: None }
    }

    pub(super) fn write(&mut self, out: &mut BitWriter, value: f64) {
        let different = self.last ^ value.to_bits();
        self.last = value.to_bits();
        if different == 0 {
            return out.bits(0, 1);
        }
        let (leading, trailing) = (different.leading_zeros().min(LEADING_MAX), different.trailing_zeros());
        if let Some((left, right)) = self.borders.filter(|&(left, right)| leading >= left && trailing >= right) {
            out.bits(0b10, 2);
            return out.bits(different >> right, 64 - left - right);
        }
        self.borders = Some((leading, trailing));
        let width = 64 - leading - trailing;
        out.bits(0b11, 2);
        out.bits(u64::from(leading), 5);
        out.bits(u64::from(width) & 63, 6);
        out.bits(different >> trailing, width);
    }

    pub(super) fn read(&mut self, input: &mut BitReader<'_>) -> Result<f64, DecodeError> {
        if !input.bit()? {
            return Ok(f64::from_bits(self.last));
        }
        if input.bit()? {
            let offset = input.offset();
            let leading = input.bits(5)? as u32;
            let width = match input.bits(6)? as u32 {
                0 => 64,
                width => width,
            };
            let trailing = 64_u32.checked_sub(leading + width).ok_or_else(|| {
                DecodeError::malformed(offset, format!("{leading} zeros and {width} bits are more than a value has"))
            })?;
            self.borders = Some((leading, trailing));
        }
        let (leading, trailing) = self.borders.unwrap_or_default();
        self.last ^= input.bits(64 - leading - trailing)? << trailing;
        Ok(f64::from_bits(self.last))
    }
}

/// Encodes all samples: at least one, at most 65,535.
pub(super) fn encode(times: &[i64], values: &[f64]) -> Vec<u8> {
    let mut out = BitWriter::after((times.len() as u16).to_be_bytes().to_vec());
    out.varint(zigzag(times[0]));
    out.float(values[0]);
    let (mut xor, mut last_step) = (Xor::after(values[0]), 0);
    for at in 1..times.len() {
        let step = times[at].wrapping_sub(times[at - 1]);
        match at {
            1 => out.varint(step as u64),
            _ => write_step(&mut out, step.wrapping_sub(last_step)),
        }
        last_step = step;
        xor.write(&mut out, values[at]);
    }
    out.into_bytes()
}

fn write_step(out: &mut BitWriter, change: i64) {
    if change == 0 {
        return out.bits(0, 1);
    }
    match STEP_WIDTHS.iter().position(|&width| width == 64 || fits_signed(change, width)) {
        Some(class) if class < 3 => {
            // One, two or three ones and a zero.
            out.bits((0b10 << (class + 1)) - 2, class as u32 + 2);
            out.bits(change as u64, STEP_WIDTHS[class]);
        }
        _ => {
            out.bits(0b1111, 4);
            out.bits(change as u64, 64);
        }
    }
}

fn read_step(input: &mut BitReader<'_>) -> Result<i64, DecodeError> {
    if !input.bit()? {
        return Ok(0);
    }
    let mut class = 0;
    while class < 3 && input.bit()? {
        class += 1;
    }
    let width = STEP_WIDTHS[class];
    Ok(signed(input.bits(width)?, width))
}

/// Appends the samples of a chunk.
pub(super) fn decode(data: &[u8], out: &mut Samples) -> Result<(), DecodeError> {
    let count = read_count(data)?;
    let mut input = BitReader::new(data, 2);
    let (mut time, mut step, mut xor) = (0_i64, 0_i64, Xor::default());
    for at in 0..count {
        let value = match at {
            0 => {
                time = unzigzag(input.varint()?);
                let value = input.float()?;
                xor = Xor::after(value);
                value
            }
            _ => {
                step = match at {
                    1 => input.varint()? as i64,
                    _ => step.wrapping_add(read_step(&mut input)?),
                };
                time = time.wrapping_add(step);
                xor.read(&mut input)?
            }
        };
        out.times.push(time);
        out.values.push(value);
    }
    Ok(())
}
