//! Protobuf messages, read in place and written. Offsets in errors are those of the whole body.

use crate::error::DecodeError;

/// Wire type of a field, the low three bits of its key.
pub(crate) const VARINT: u32 = 0;
pub(crate) const FIXED64: u32 = 1;
pub(crate) const BYTES: u32 = 2;
pub(crate) const FIXED32: u32 = 5;

/// The key of a field.
pub(crate) const fn key(field: u32, wire_type: u32) -> u32 {
    field << 3 | wire_type
}

/// The key of a field that holds a message or bytes.
pub(crate) const fn bytes_key(field: u32) -> u32 {
    key(field, BYTES)
}

/// A message inside of a body: `buf` ends where the message ends, `pos` is where reading goes on.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    buf: &'a [u8],
    pos: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { buf: body, pos: 0 }
    }

    /// Offset of the next byte in the body.
    #[inline]
    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.pos >= self.buf.len()
    }

    /// The bytes of the body from `start` up to the next byte to read.
    #[inline]
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        &self.buf[start..self.pos]
    }

    /// The key of the next field, or `None` at the end of the message.
    #[inline]
    pub(crate) fn key(&mut self) -> Result<Option<u32>, DecodeError> {
        if self.is_empty() {
            return Ok(None);
        }
        let start = self.pos;
        let key = self.varint()?;
        if key < 8 || key > u64::from(u32::MAX) {
            return Err(DecodeError::malformed(start, format!("expected a field key, found {key}")));
        }
        Ok(Some(key as u32))
    }

    // Nearly all keys and lengths take one byte: that path goes into the callers.
    #[inline(always)]
    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        match self.buf.get(self.pos) {
            Some(&byte) if byte < 0x80 => {
                self.pos += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        let bytes = self.buf.get(self.pos..).unwrap_or_default();
        for (index, &byte) in bytes.iter().enumerate().take(10) {
            if index == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.pos += index + 1;
                return Ok(value);
            }
        }
        let found = if bytes.len() < 10 { "the end of the message" } else { "more than 64 bits" };
        Err(DecodeError::malformed(self.pos, format!("expected a varint, found {found}")))
    }

    /// The varints of a packed field. Those of one and two bytes are read in a tight loop.
    #[inline]
    pub(crate) fn packed_varints(&mut self, mut each: impl FnMut(u64)) -> Result<(), DecodeError> {
        let mut packed = self.message()?;
        loop {
            match packed.buf.get(packed.pos..).unwrap_or_default() {
                [] => return Ok(()),
                &[byte, ..] if byte < 0x80 => {
                    packed.pos += 1;
                    each(u64::from(byte));
                }
                &[low, high, ..] if high < 0x80 => {
                    packed.pos += 2;
                    each(u64::from(low & 0x7f) | u64::from(high) << 7);
                }
                _ => each(packed.long_varint()?),
            }
        }
    }

    #[inline]
    pub(crate) fn zigzag(&mut self) -> Result<i64, DecodeError> {
        Ok(unzigzag(self.varint()?))
    }

    #[inline]
    pub(crate) fn fixed64(&mut self) -> Result<u64, DecodeError> {
        let Some(bytes) = self.buf.get(self.pos..).and_then(<[u8]>::first_chunk) else {
            return Err(self.ends_early(8));
        };
        self.pos += 8;
        Ok(u64::from_le_bytes(*bytes))
    }

    #[inline]
    pub(crate) fn double(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_bits(self.fixed64()?))
    }

    #[inline]
    pub(crate) fn float(&mut self) -> Result<f32, DecodeError> {
        let Some(bytes) = self.buf.get(self.pos..).and_then(<[u8]>::first_chunk) else {
            return Err(self.ends_early(4));
        };
        self.pos += 4;
        Ok(f32::from_le_bytes(*bytes))
    }

    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        Ok(self.message()?.rest())
    }

    /// The next length-delimited field as a message of its own.
    #[inline]
    pub(crate) fn message(&mut self) -> Result<Self, DecodeError> {
        let len = self.varint()?;
        self.sub_message(len)
    }

    /// The next `len` bytes as a message of their own.
    #[inline]
    pub(crate) fn sub_message(&mut self, len: u64) -> Result<Self, DecodeError> {
        let left = self.buf.len() - self.pos;
        if len > left as u64 {
            return Err(self.ends_early(len));
        }
        let message = Self { buf: &self.buf[..self.pos + len as usize], pos: self.pos };
        self.pos += len as usize;
        Ok(message)
    }

    /// The bytes that are left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.buf[self.pos..]
    }

    #[cold]
    fn ends_early(&self, wanted: u64) -> DecodeError {
        let left = self.buf.len() - self.pos;
        DecodeError::malformed(self.pos, format!("expected {wanted} more bytes of a field, found {left}"))
    }

    /// Skips the value of a field that the caller has no use for. `known` has the bit of each field number that the
    /// message defines: one of those here has a wire type it must not have.
    #[inline(never)]
    pub(crate) fn skip(&mut self, key: u32, known: u32) -> Result<(), DecodeError> {
        let (field, wire_type) = (key >> 3, key & 7);
        if field < 32 && known & 1 << field != 0 {
            let message = format!("field {field} has the unexpected wire type {wire_type}");
            return Err(DecodeError::malformed(self.pos, message));
        }
        match wire_type {
            VARINT => self.varint().map(drop),
            FIXED64 => self.fixed64().map(drop),
            BYTES => self.message().map(drop),
            FIXED32 if self.buf.len() - self.pos >= 4 => {
                self.pos += 4;
                Ok(())
            }
            FIXED32 => Err(self.ends_early(4)),
            _ => Err(DecodeError::malformed(self.pos, format!("field {field} has the unknown wire type {wire_type}"))),
        }
    }
}

/// A string field. `what` names it in the error.
pub(crate) fn utf8<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str, String> {
    std::str::from_utf8(bytes).map_err(|error| {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(100)]);
        format!("{what} {text:?} is not valid UTF-8 at its byte {}", error.valid_up_to())
    })
}

/// A signed number as `sint32` and `sint64` fields hold it.
pub(crate) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// The signed number behind what [`zigzag`] gives.
#[inline]
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Appends protobuf fields; fields with their default value are left out, as proto3 does.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(crate) fn varint(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.raw_varint(u64::from(key(field, VARINT)));
            self.raw_varint(value);
        }
    }

    pub(crate) fn raw_double(&mut self, field: u32, value: f64) {
        self.raw_varint(u64::from(key(field, FIXED64)));
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn double(&mut self, field: u32, value: f64) {
        if value.to_bits() != 0 {
            self.raw_double(field, value);
        }
    }

    pub(crate) fn doubles(&mut self, values: &[f64]) {
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    pub(crate) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.raw_varint(u64::from(bytes_key(field)));
        self.raw_varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn message(&mut self, field: u32, fill: impl FnOnce(&mut Self)) {
        let open = self.open(field);
        fill(self);
        self.close(open);
    }

    /// Begins a message; what is written until [`Writer::close`] belongs to it.
    pub(crate) fn open(&mut self, field: u32) -> OpenMessage {
        self.raw_varint(u64::from(bytes_key(field)));
        // Room for the length of a short message.
        self.0.push(0);
        OpenMessage { start: self.0.len() }
    }

    /// Ends a message. The last one begun ends first.
    pub(crate) fn close(&mut self, open: OpenMessage) {
        let mut len = self.0.len() - open.start;
        if len < 0x80 {
            self.0[open.start - 1] = len as u8;
            return;
        }
        let (mut bytes, mut count) = ([0; 10], 0);
        while len > 0 {
            bytes[count] = len as u8 | 0x80;
            len >>= 7;
            count += 1;
        }
        bytes[count - 1] &= 0x7f;
        self.0.splice(open.start - 1..open.start, bytes[..count].iter().copied());
    }
}

/// Where a message begins that is being written.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct OpenMessage {
    start: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_bounded() {
        for (bytes, want) in [
            (&b"\x05"[..], Some(5)),
            (b"\xac\x02", Some(300)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Some(u64::MAX)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", None),
            (b"\x80", None),
            (b"", None),
        ] {
            assert_eq!(Reader::new(bytes).varint().ok(), want, "{bytes:?}");
        }
        assert_eq!(Reader::new(b"\x03").zigzag().unwrap(), -2);
        assert_eq!(Reader::new(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").zigzag().unwrap(), i64::MIN);
    }

    #[test]
    fn errors_say_where_in_the_whole_body() {
        let mut body = Reader::new(b"\x0a\x03\x0a\x05xyz");
        assert_eq!(body.key().unwrap(), Some(key(1, BYTES)));
        let mut inner = body.message().unwrap();
        inner.key().unwrap();
        let error = inner.message().unwrap_err();
        assert_eq!(error.to_string(), "byte 4: expected 5 more bytes of a field, found 1");
    }

    #[test]
    fn unknown_fields_are_skipped_and_wrong_types_are_not() {
        let mut reader = Reader::new(b"\x50\x01\x59........\x62\x02ab\x6d....\x08\x07");
        while let Some(field) = reader.key().unwrap() {
            if field == key(1, VARINT) {
                assert_eq!(reader.varint().unwrap(), 7);
            } else {
                reader.skip(field, 1 << 1).unwrap();
            }
        }
        assert!(Reader::new(b"").skip(key(1, FIXED64), 1 << 1).unwrap_err().message().contains("wire type 1"));
        assert!(Reader::new(b"").skip(key(9, 3), 0).is_err());
    }

    #[test]
    fn messages_of_any_length_are_read_back() {
        for len in [0, 1, 127, 128, 300, 20_000] {
            let mut out = Writer::default();
            out.message(3, |out| out.message(2, |out| out.bytes(1, &vec![7; len])));
            out.varint(4, 9);
            let mut reader = Reader::new(&out.0);
            assert_eq!(reader.key().unwrap(), Some(bytes_key(3)));
            let mut inner = reader.message().unwrap();
            assert_eq!(inner.key().unwrap(), Some(bytes_key(2)));
            let mut innermost = inner.message().unwrap();
            assert_eq!(innermost.key().unwrap(), Some(bytes_key(1)));
            assert_eq!(innermost.bytes().unwrap(), vec![7; len], "{len}");
            assert!(inner.is_empty() && innermost.is_empty());
            assert_eq!(reader.key().unwrap(), Some(key(4, VARINT)));
        }
    }
}
