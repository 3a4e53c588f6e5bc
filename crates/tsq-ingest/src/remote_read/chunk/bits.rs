//! Bits, the most significant one of a byte first, and the numbers that chunks are made of.
//!
//! A bucketed number ("varbit") is a run of ones that ends with a zero (at most eight ones) and then as many bits as
//! the length of the run says: 0, 3, 6, 9, 12, 18, 25, 56 or 64. A signed one of `n` bits lies between
//! `-(2^(n-1) - 1)` and `2^(n-1)`.

use crate::error::DecodeError;

/// Bits of a bucketed number, by the ones before it.
const WIDTHS: [u32; 9] = [0, 3, 6, 9, 12, 18, 25, 56, 64];

/// Whether `value` fits into `width` bits as chunks write signed numbers.
pub(super) fn fits_signed(value: i64, width: u32) -> bool {
    width >= 64 || -((1 << (width - 1)) - 1) <= value && value <= 1 << (width - 1)
}

/// The signed number that `width` bits stand for, the way [`fits_signed`] counts.
pub(super) fn signed(bits: u64, width: u32) -> i64 {
    match width {
        64 => bits as i64,
        _ if bits > 1 << (width - 1) => bits as i64 - (1 << width),
        _ => bits as i64,
    }
}

/// Appends bits.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Unused low bits of the last byte.
    free: u32,
}

impl BitWriter {
    /// Goes on after whole bytes.
    pub(super) fn after(bytes: Vec<u8>) -> Self {
        Self { bytes, free: 0 }
    }

    /// Bytes so far, the last one perhaps in part.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Replaces the first bytes, which hold a header.
    pub(super) fn patch(&mut self, header: &[u8]) {
        self.bytes[..header.len()].copy_from_slice(header);
    }

    /// The low `width` bits of `value`.
    pub(super) fn bits(&mut self, value: u64, width: u32) {
        let mut left = width;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let taken = left.min(self.free);
            left -= taken;
            self.free -= taken;
            let part = (value >> left) as u8 & (0xff >> (8 - taken));
            *self.bytes.last_mut().expect("a byte was pushed") |= part << self.free;
        }
    }

    pub(super) fn float(&mut self, value: f64) {
        self.bits(value.to_bits(), 64);
    }

    /// Seven bits a byte, the lowest first.
    pub(super) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bits(value & 0x7f | 0x80, 8);
            value >>= 7;
        }
        self.bits(value, 8);
    }

    pub(super) fn bucketed(&mut self, value: u64) {
        let class = WIDTHS.iter().position(|&width| width == 64 || value >> width == 0);
        self.bucket(value, class.expect("64 bits hold every number"));
    }

    pub(super) fn bucketed_signed(&mut self, value: i64) {
        let fits = |&width: &u32| if width == 0 { value == 0 } else { fits_signed(value, width) };
        let class = WIDTHS.iter().position(fits);
        self.bucket(value as u64, class.expect("64 bits hold every number"));
    }

    fn bucket(&mut self, value: u64, class: usize) {
        let ones = (1_u64 << class) - 1;
        match class {
            8 => self.bits(ones, 8),
            _ => self.bits(ones << 1, class as u32 + 1),
        }
        self.bits(value, WIDTHS[class]);
    }
}

/// Reads what [`BitWriter`] wrote.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits read so far.
    pos: usize,
}

impl<'a> BitReader<'a> {
    /// Begins at the byte `start`.
    pub(super) fn new(bytes: &'a [u8], start: usize) -> Self {
        Self { bytes, pos: 8 * start }
    }

    /// Bits that are left.
    pub(super) fn left(&self) -> usize {
        8 * self.bytes.len() - self.pos
    }

    /// The byte that is read next, for errors.
    pub(super) fn offset(&self) -> usize {
        self.pos / 8
    }

    pub(super) fn bit(&mut self) -> Result<bool, DecodeError> {
        Ok(self.bits(1)? == 1)
    }

    pub(super) fn bits(&mut self, width: u32) -> Result<u64, DecodeError> {
        if self.left() < width as usize {
            let message = format!("expected {width} more bits of the chunk, found {}", self.left());
            return Err(DecodeError::malformed(self.offset(), message));
        }
        let (mut value, mut left) = (0, width);
        while left > 0 {
            let unread = 8 - self.pos as u32 % 8;
            let taken = left.min(unread);
            let part = self.bytes[self.pos / 8] >> (unread - taken) & (0xff >> (8 - taken));
            value = value << taken | u64::from(part);
            self.pos += taken as usize;
            left -= taken;
        }
        Ok(value)
    }

    pub(super) fn float(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_bits(self.bits(64)?))
    }

    pub(super) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for index in 0..10 {
            let byte = self.bits(8)?;
            if index == 9 && byte > 1 {
                break;
            }
            value |= (byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::malformed(self.offset(), "expected a varint, found more than 64 bits"))
    }

    pub(super) fn bucketed(&mut self) -> Result<u64, DecodeError> {
        let width = self.width()?;
        self.bits(width)
    }

    pub(super) fn bucketed_signed(&mut self) -> Result<i64, DecodeError> {
        let width = self.width()?;
        if width == 0 { Ok(0) } else { Ok(signed(self.bits(width)?, width)) }
    }

    fn width(&mut self) -> Result<u32, DecodeError> {
        let mut class = 0;
        while class < 8 && self.bit()? {
            class += 1;
        }
        Ok(WIDTHS[class])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bits by the rules at the head of this file, written out by hand.
    #[test]
    fn numbers_have_these_bits() {
        let shown = |write: &dyn Fn(&mut BitWriter)| {
            let mut writer = BitWriter::default();
            write(&mut writer);
            let used = 8 * writer.len() - writer.free as usize;
            let bits: String = writer.into_bytes().iter().map(|byte| format!("{byte:08b}")).collect();
            bits[..used].to_owned()
        };
        for (value, want) in [(0, "0"), (1, "10001"), (-3, "10101"), (4, "10100"), (5, "110000101"), (-31, "110100001")]
        {
            assert_eq!(shown(&|w| w.bucketed_signed(value)), want, "{value}");
        }
        for (value, want) in [(0, "0"), (7, "10111"), (8, "110001000"), (511, "1110111111111")] {
            assert_eq!(shown(&|w| w.bucketed(value)), want, "{value}");
        }
        assert_eq!(shown(&|w| w.bucketed(u64::MAX)), "1".repeat(72));
        assert_eq!(shown(&|w| w.varint(300)), "1010110000000010");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            numbers in prop::collection::vec((any::<u64>(), 0_u32..64), 0..50),
        ) {
            let mut writer = BitWriter::default();
            let numbers: Vec<u64> = numbers.iter().map(|(number, shift)| number >> shift).collect();
            for &number in &numbers {
                writer.bits(number, 5);
                writer.bucketed(number);
                writer.bucketed_signed(number as i64);
                writer.bucketed_signed((number as i64).wrapping_neg());
                writer.varint(number);
            }
            let bytes = writer.into_bytes();
            let mut reader = BitReader::new(&bytes, 0);
            for &number in &numbers {
                prop_assert_eq!(reader.bits(5).unwrap(), number & 31);
                prop_assert_eq!(reader.bucketed().unwrap(), number);
                prop_assert_eq!(reader.bucketed_signed().unwrap(), number as i64);
                prop_assert_eq!(reader.bucketed_signed().unwrap(), (number as i64).wrapping_neg());
                prop_assert_eq!(reader.varint().unwrap(), number);
            }
            prop_assert!(reader.left() < 8);
            prop_assert!(reader.bits(8).is_err());
        }
    }
}
