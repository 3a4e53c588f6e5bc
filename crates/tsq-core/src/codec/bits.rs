//! Bit streams, most significant bit first. Reading takes a word at a time.

/// Takes bits.
pub(crate) trait BitSink {
    /// Appends the low `bits` (0 to 64) bits of `value`, whose other bits are zero.
    fn put(&mut self, value: u64, bits: u32);
}

/// Appends bits to a vector.
#[derive(Debug)]
pub(crate) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Bits not yet in `out`, from the top.
    pending: u64,
    /// How many those are, below 64.
    used: u32,
}

impl<'a> BitWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, pending: 0, used: 0 }
    }

    /// Writes what is pending; the last byte is filled with zero bits.
    pub(crate) fn finish(self) {
        self.out.extend_from_slice(&self.pending.to_be_bytes()[..self.used.div_ceil(8) as usize]);
    }
}

impl BitSink for BitWriter<'_> {
    #[inline]
    fn put(&mut self, value: u64, bits: u32) {
        debug_assert!(bits <= 64 && (bits == 64 || value >> bits == 0));
        if bits == 0 {
            return;
        }
        let free = 64 - self.used;
        if bits < free {
            self.pending |= value << (free - bits);
            self.used += bits;
            return;
        }
        let rest = bits - free;
        self.out.extend_from_slice(&(self.pending | value >> rest).to_be_bytes());
        self.pending = if rest == 0 { 0 } else { value << (64 - rest) };
        self.used = rest;
    }
}

/// Reads bits. Past the end come zeros; [`BitReader::overran`] tells afterwards.
#[derive(Clone, Debug)]
pub(crate) struct BitReader<'a> {
    data: &'a [u8],
    position: usize,
}

/// How many bits a [`BitReader::peek`] shows at least.
pub(crate) const PEEK_BITS: u32 = 57;

impl<'a> BitReader<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self::at(data, 0)
    }

    /// A reader that begins at this bit.
    #[inline(always)]
    pub(crate) fn at(data: &'a [u8], position: usize) -> Self {
        Self { data, position }
    }

    /// The next [`PEEK_BITS`] bits or a few more, from the top of the word; the rest is zero.
    #[inline(always)]
    pub(crate) fn peek(&self) -> u64 {
        let byte = self.position >> 3;
        let word = match self.data.get(byte..byte + 8) {
            Some(bytes) => u64::from_be_bytes(bytes.try_into().expect("the slice has 8 bytes")),
            None => self.peek_tail(byte),
        };
        word << (self.position & 7)
    }

    #[cold]
    fn peek_tail(&self, byte: usize) -> u64 {
        let rest = self.data.get(byte..).unwrap_or(&[]);
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        u64::from_be_bytes(word)
    }

    #[inline(always)]
    pub(crate) fn skip(&mut self, bits: u32) {
        self.position += bits as usize;
    }

    /// The next `bits` (1 to 64) bits.
    #[inline]
    pub(crate) fn read(&mut self, bits: u32) -> u64 {
        if bits <= PEEK_BITS {
            let value = self.peek() >> (64 - bits);
            self.skip(bits);
            return value;
        }
        let high = self.read(32);
        let low = self.read(bits - 32);
        high << (bits - 32) | low
    }

    /// Bytes of which a bit was taken.
    pub(crate) fn bytes(&self) -> usize {
        self.position.div_ceil(8)
    }

    /// Whether more bits were taken than there are.
    pub(crate) fn overran(&self) -> bool {
        self.position > self.data.len() * 8
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_come_back(fields in prop::collection::vec((any::<u64>(), 1_u32..=64), 0..100)) {
            let low = |value: u64, bits: u32| if bits == 64 { value } else { value & ((1 << bits) - 1) };
            let mut data = vec![];
            let mut writer = BitWriter::new(&mut data);
            for &(value, bits) in &fields {
                writer.put(low(value, bits), bits);
            }
            writer.finish();
            let mut reader = BitReader::new(&data);
            for &(value, bits) in &fields {
                prop_assert_eq!(reader.read(bits), low(value, bits));
            }
            prop_assert!(!reader.overran());
            reader.read(8);
            prop_assert!(reader.overran());
        }
    }
}
