//! Reads JSON along a schema, and writes protobuf as it goes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::schema::{Field, Kind, Message};
use crate::error::DecodeError;
use crate::protobuf::{FIXED64, VARINT, Writer, key, zigzag};

pub(super) fn rewrite(
    text: &[u8],
    message: &'static Message,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    out.clear();
    let mut written = Output { out: Writer(std::mem::take(out)), bytes_max, too_large: false };
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = MessageVisitor { out: &mut written, message };
    let outcome = json.deserialize_map(read).and_then(|()| json.end());
    let too_large = written.too_large;
    *out = written.out.0;
    outcome.map_err(|error| {
        let offset = offset_of(text, error.line(), error.column());
        if too_large {
            return DecodeError::too_large(
                offset,
                format!("the request takes more than {bytes_max} bytes as protobuf"),
            );
        }
        DecodeError::malformed(offset, format!("JSON: {error}"))
    })
}

/// The byte at a line and column, both from 1.
fn offset_of(text: &[u8], line: usize, column: usize) -> usize {
    let before = text.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1));
    (before.map(<[u8]>::len).sum::<usize>() + column.saturating_sub(1)).min(text.len())
}

struct Output {
    out: Writer,
    bytes_max: usize,
    too_large: bool,
}

impl Output {
    fn check<E: Error>(&mut self) -> Result<(), E> {
        self.too_large = self.out.0.len() > self.bytes_max;
        if self.too_large { Err(E::custom("too large")) } else { Ok(()) }
    }
}

/// Writes the fields of a message.
struct MessageVisitor<'o> {
    out: &'o mut Output,
    message: &'static Message,
}

impl<'de> DeserializeSeed<'de> for MessageVisitor<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MessageVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.message.fields.iter().map(|field| field.name).collect();
        write!(f, "an object with {}", names.join(", "))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(FieldName(self.message))? {
            match field {
                Some(field) => map.next_value_seed(FieldVisitor { out: self.out, field })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Finds the field that a name stands for.
struct FieldName(&'static Message);

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldName {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.fields.iter().find(|field| field.name == name))
    }
}

/// Writes a field, all its elements if it is repeated.
struct FieldVisitor<'o> {
    out: &'o mut Output,
    field: &'static Field,
}

impl<'de> DeserializeSeed<'de> for FieldVisitor<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for FieldVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list, the value of {}", self.field.name)
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        if self.field.repeated {
            return json.deserialize_seq(self);
        }
        ValueSeed { out: self.out, field: self.field, packed: false }.deserialize(json)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let packed = matches!(self.field.kind, Kind::Double | Kind::Fixed | Kind::Unsigned);
        let open = packed.then(|| self.out.out.open(self.field.number));
        while seq.next_element_seed(ValueSeed { out: self.out, field: self.field, packed })?.is_some() {}
        if let Some(open) = open {
            self.out.out.close(open);
        }
        Ok(())
    }
}

/// Writes one value, with its key unless it is packed.
struct ValueSeed<'o> {
    out: &'o mut Output,
    field: &'static Field,
    packed: bool,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        self.out.check()?;
        match self.field.kind {
            Kind::Message(message) => {
                let open = self.out.out.open(self.field.number);
                let read = MessageVisitor { out: self.out, message }.deserialize(json);
                self.out.out.close(open);
                read
            }
            Kind::Bool => json.deserialize_bool(self),
            Kind::Text | Kind::Hex | Kind::Base64 => json.deserialize_str(self),
            _ => json.deserialize_any(self),
        }
    }
}

impl ValueSeed<'_> {
    fn key(&mut self, wire_type: u32) {
        if !self.packed {
            self.out.out.raw_varint(u64::from(key(self.field.number, wire_type)));
        }
    }

    fn varint(&mut self, value: u64) {
        self.key(VARINT);
        self.out.out.raw_varint(value);
    }

    fn fixed(&mut self, value: u64) {
        self.key(FIXED64);
        self.out.out.0.extend_from_slice(&value.to_le_bytes());
    }

    fn integer<E: Error>(mut self, value: i128) -> Result<(), E> {
        let outside = || E::custom(format!("{value} is outside of the range of {}", self.field.name));
        match self.field.kind {
            Kind::Unsigned => self.varint(u64::try_from(value).map_err(|_| outside())?),
            Kind::Signed => self.varint(i64::try_from(value).map_err(|_| outside())? as u64),
            Kind::ZigZag => self.varint(zigzag(i32::try_from(value).map_err(|_| outside())?.into())),
            Kind::Fixed => self.fixed(u64::try_from(value).map_err(|_| outside())?),
            Kind::SignedFixed => self.fixed(i64::try_from(value).map_err(|_| outside())? as u64),
            _ => self.fixed((value as f64).to_bits()),
        }
        Ok(())
    }
}

impl Visitor<'_> for ValueSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.field.kind {
            Kind::Text => "text",
            Kind::Bool => "true or false",
            Kind::Hex => "bytes in hexadecimal",
            Kind::Base64 => "bytes in base64",
            Kind::Double => "a number",
            Kind::Message(_) => "an object",
            _ => "an integer",
        };
        write!(f, "{what}, the value of {}", self.field.name)
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<(), E> {
        if matches!(self.field.kind, Kind::Bool) {
            self.varint(u64::from(value));
            return Ok(());
        }
        Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<(), E> {
        if matches!(self.field.kind, Kind::Double) {
            self.fixed(value.to_bits());
            return Ok(());
        }
        // 2^64 and all that is above are outside of every range.
        if value.fract() == 0.0 && value.abs() <= 2_f64.powi(64) {
            return self.integer(value as i128);
        }
        Err(E::invalid_value(serde::de::Unexpected::Float(value), &self))
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        let wrong = |this: &Self| E::invalid_value(serde::de::Unexpected::Str(text), this);
        match self.field.kind {
            Kind::Text => self.out.out.bytes(self.field.number, text.as_bytes()),
            Kind::Hex => {
                let bytes = from_hex(text).ok_or_else(|| wrong(&self))?;
                self.out.out.bytes(self.field.number, &bytes);
            }
            Kind::Base64 => {
                let bytes = from_base64(text).ok_or_else(|| wrong(&self))?;
                self.out.out.bytes(self.field.number, &bytes);
            }
            Kind::Double => {
                let value = parse_double(text).ok_or_else(|| wrong(&self))?;
                self.fixed(value.to_bits());
            }
            Kind::Bool | Kind::Message(_) => return Err(wrong(&self)),
            _ => {
                let value = text.parse::<i128>().map_err(|_| wrong(&self))?;
                return self.integer(value);
            }
        }
        Ok(())
    }
}

fn parse_double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

/// Base64 of RFC 4648, of both alphabets, with padding or without.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let (mut word, mut bits, mut out) = (0_u32, 0, Vec::with_capacity(text.len() / 4 * 3));
    for byte in text.trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        (word, bits) = (word << 6 | u32::from(digit), bits + 6);
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    // What is left is padding: shorter than a digit, and zero.
    (bits < 6 && word == 0).then_some(out)
}
