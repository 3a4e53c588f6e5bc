//! Attributes: pairs of a name and a value of any kind, as text.

use std::fmt::Write as _;

use crate::error::DecodeError;
use crate::protobuf::{FIXED64, Reader, VARINT, bytes_key, key, utf8};

/// How deep values may lie in each other.
const DEPTH_MAX: usize = 32;

/// One attribute. The value is read when it is needed.
#[derive(Clone, Debug)]
pub(super) struct Attribute<'a> {
    pub(super) key: &'a str,
    value: Option<Reader<'a>>,
}

impl<'a> Attribute<'a> {
    /// Reads a `KeyValue`.
    pub(super) fn decode(mut message: Reader<'a>) -> Result<Self, String> {
        const KEY: u32 = bytes_key(1);
        const VALUE: u32 = bytes_key(2);
        let (mut key, mut value) = (&[][..], None);
        while let Some(field) = message.key().map_err(broken)? {
            match field {
                KEY => key = message.bytes().map_err(broken)?,
                VALUE => value = Some(message.message().map_err(broken)?),
                other => message.skip(other, 0b110).map_err(broken)?,
            }
        }
        Ok(Self { key: utf8(key, "attribute name")?, value })
    }

    /// Appends the value as text: strings as they are, lists and maps as JSON, bytes in base64.
    pub(super) fn push_value(&self, out: &mut String) -> Result<(), String> {
        let Some(value) = self.value.clone() else { return Ok(()) };
        let pushed = AnyValue::decode(value).and_then(|value| match value {
            AnyValue::Text(text) => {
                out.push_str(text);
                Ok(())
            }
            AnyValue::Bytes(bytes) => {
                push_base64(bytes, out);
                Ok(())
            }
            AnyValue::Double(value) => {
                push_double(value, out);
                Ok(())
            }
            AnyValue::Empty => Ok(()),
            other => other.push_json(0, out),
        });
        pushed.map_err(|fault| format!("attribute {:?}: {fault}", self.key))
    }

    /// The value as text of its own.
    pub(super) fn value(&self) -> Result<String, String> {
        let mut out = String::new();
        self.push_value(&mut out)?;
        Ok(out)
    }
}

/// Where a message is broken.
#[expect(clippy::needless_pass_by_value, reason = "it is what map_err passes")]
pub(super) fn broken(error: DecodeError) -> String {
    error.to_string()
}

/// All attributes of a message that has them in one field and nothing else that matters here. `known` is as in
/// [`Reader::skip`].
pub(super) fn each_attribute<'a>(
    mut message: Reader<'a>,
    field: u32,
    known: u32,
    mut each: impl FnMut(Attribute<'a>) -> Result<(), String>,
) -> Result<(), String> {
    while let Some(key) = message.key().map_err(broken)? {
        if key == bytes_key(field) {
            each(Attribute::decode(message.message().map_err(broken)?)?)?;
        } else {
            message.skip(key, known).map_err(broken)?;
        }
    }
    Ok(())
}

/// Most attributes that one thing may have; a bound on the work that they make.
const ATTRIBUTES_MAX: usize = 1024;

/// All attributes of a message, as [`each_attribute`] finds them.
pub(super) fn attributes(message: Reader<'_>, field: u32, known: u32) -> Result<Vec<Attribute<'_>>, String> {
    let mut attributes = Vec::new();
    each_attribute(message, field, known, |attribute| {
        attributes.push(attribute);
        if attributes.len() > ATTRIBUTES_MAX {
            return Err(format!("there are more than {ATTRIBUTES_MAX} attributes"));
        }
        Ok(())
    })?;
    Ok(attributes)
}

/// An `AnyValue`.
#[derive(Debug)]
enum AnyValue<'a> {
    Empty,
    Text(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    List(Reader<'a>),
    Map(Reader<'a>),
    Bytes(&'a [u8]),
}

impl<'a> AnyValue<'a> {
    fn decode(mut message: Reader<'a>) -> Result<Self, String> {
        const TEXT: u32 = bytes_key(1);
        const BOOL: u32 = key(2, VARINT);
        const INT: u32 = key(3, VARINT);
        const DOUBLE: u32 = key(4, FIXED64);
        const LIST: u32 = bytes_key(5);
        const MAP: u32 = bytes_key(6);
        const BYTES: u32 = bytes_key(7);
        let mut value = Self::Empty;
        while let Some(field) = message.key().map_err(broken)? {
            value = match field {
                TEXT => Self::Text(utf8(message.bytes().map_err(broken)?, "text")?),
                BOOL => Self::Bool(message.varint().map_err(broken)? != 0),
                INT => Self::Int(message.varint().map_err(broken)? as i64),
                DOUBLE => Self::Double(message.double().map_err(broken)?),
                LIST => Self::List(message.message().map_err(broken)?),
                MAP => Self::Map(message.message().map_err(broken)?),
                BYTES => Self::Bytes(message.bytes().map_err(broken)?),
                other => {
                    message.skip(other, 0b1111_1110).map_err(broken)?;
                    continue;
                }
            };
        }
        Ok(value)
    }

    fn push_json(&self, depth: usize, out: &mut String) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("values lie in each other more than {DEPTH_MAX} deep"));
        }
        match self {
            Self::Empty => out.push_str("null"),
            Self::Text(text) => push_json_text(text, out),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Int(value) => write!(out, "{value}").expect("writing to memory does not fail"),
            Self::Double(value) if value.is_finite() => push_double(*value, out),
            Self::Double(value) => {
                out.push('"');
                push_double(*value, out);
                out.push('"');
            }
            Self::Bytes(bytes) => {
                out.push('"');
                push_base64(bytes, out);
                out.push('"');
            }
            Self::List(list) => push_list(list.clone(), depth, out)?,
            Self::Map(map) => push_map(map.clone(), depth, out)?,
        }
        Ok(())
    }
}

fn push_list(mut list: Reader<'_>, depth: usize, out: &mut String) -> Result<(), String> {
    const VALUES: u32 = bytes_key(1);
    out.push('[');
    let mut first = true;
    while let Some(field) = list.key().map_err(broken)? {
        if field != VALUES {
            list.skip(field, 0b10).map_err(broken)?;
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        AnyValue::decode(list.message().map_err(broken)?)?.push_json(depth + 1, out)?;
    }
    out.push(']');
    Ok(())
}

/// A map by name, so that equal maps are equal texts.
fn push_map(map: Reader<'_>, depth: usize, out: &mut String) -> Result<(), String> {
    let mut pairs = Vec::new();
    each_attribute(map, 1, 0b10, |pair| {
        pairs.push(pair);
        Ok(())
    })?;
    pairs.sort_by_key(|pair| pair.key);
    out.push('{');
    for (index, pair) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_json_text(pair.key, out);
        out.push(':');
        let value = pair.value.clone().map_or(Ok(AnyValue::Empty), AnyValue::decode)?;
        value.push_json(depth + 1, out)?;
    }
    out.push('}');
    Ok(())
}

fn push_json_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::to_string(text).expect("text is JSON"));
}

/// The shortest decimal that reads back as the value; with an exponent below 1e-6 and from 1e21.
fn push_double(value: f64, out: &mut String) {
    let size = value.abs();
    let written = match value {
        _ if value.is_nan() => write!(out, "NaN"),
        _ if value.is_infinite() => write!(out, "{}Inf", if value > 0.0 { "+" } else { "-" }),
        _ if value != 0.0 && !(1e-6..1e21).contains(&size) => {
            let text = format!("{value:e}");
            let (digits, exponent) = text.split_once('e').expect("it was asked for");
            let sign = if exponent.starts_with('-') { "" } else { "+" };
            write!(out, "{digits}e{sign}{exponent}")
        }
        _ => write!(out, "{value}"),
    };
    written.expect("writing to memory does not fail");
}

/// Base64 of RFC 4648 with padding.
fn push_base64(bytes: &[u8], out: &mut String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * place)) as usize & 63];
            out.push(if place > chunk.len() { '=' } else { char::from(digit) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::Writer;

    fn attribute(fill: impl FnOnce(&mut Writer)) -> Result<String, String> {
        let mut out = Writer::default();
        out.bytes(1, b"k");
        out.message(2, fill);
        Attribute::decode(Reader::new(&out.0))?.value()
    }

    fn raw_varint(out: &mut Writer, field: u32, value: u64) {
        out.raw_varint(u64::from(key(field, VARINT)));
        out.raw_varint(value);
    }

    #[test]
    fn values_of_every_kind_are_text() {
        assert_eq!(attribute(|out| out.bytes(1, "a \"b\"".as_bytes())).unwrap(), "a \"b\"");
        assert_eq!(attribute(|out| raw_varint(out, 2, 1)).unwrap(), "true");
        assert_eq!(attribute(|out| raw_varint(out, 2, 0)).unwrap(), "false");
        assert_eq!(attribute(|out| raw_varint(out, 3, -7_i64 as u64)).unwrap(), "-7");
        assert_eq!(attribute(|out| out.raw_double(4, 0.5)).unwrap(), "0.5");
        assert_eq!(attribute(|out| out.raw_double(4, 1e21)).unwrap(), "1e+21");
        assert_eq!(attribute(|out| out.raw_double(4, 1.5e-9)).unwrap(), "1.5e-9");
        assert_eq!(attribute(|out| out.raw_double(4, f64::NEG_INFINITY)).unwrap(), "-Inf");
        assert_eq!(attribute(|out| out.bytes(7, b"\x00\xff\x10")).unwrap(), "AP8Q");
        assert_eq!(attribute(|out| out.bytes(7, b"ab")).unwrap(), "YWI=");
        assert_eq!(attribute(|out| out.bytes(7, b"a")).unwrap(), "YQ==");
        assert_eq!(attribute(|_| {}).unwrap(), "");
        let list = attribute(|out| {
            out.message(5, |list| {
                list.message(1, |value| value.bytes(1, b"x\n"));
                list.message(1, |value| raw_varint(value, 3, 3));
                list.message(1, |_| {});
                list.message(1, |value| value.raw_double(4, f64::NAN));
            });
        });
        assert_eq!(list.unwrap(), r#"["x\n",3,null,"NaN"]"#);
        let map = attribute(|out| {
            out.message(6, |map| {
                for name in [b"b", b"a"] {
                    map.message(1, |pair| {
                        pair.bytes(1, name);
                        pair.message(2, |value| raw_varint(value, 2, 1));
                    });
                }
            });
        });
        assert_eq!(map.unwrap(), r#"{"a":true,"b":true}"#);
    }

    #[test]
    fn nesting_is_bounded_and_broken_bytes_are_named() {
        let nested = |depth: usize| {
            let mut value = Writer::default();
            value.bytes(1, b"x");
            for _ in 0..depth {
                let inner = std::mem::take(&mut value.0);
                value.message(5, |list| list.bytes(1, &inner));
            }
            attribute(|out| out.0.extend_from_slice(&value.0))
        };
        assert!(nested(DEPTH_MAX).unwrap().starts_with("[[["));
        assert!(nested(DEPTH_MAX + 1).unwrap_err().contains("more than 32 deep"));
        assert!(nested(20_000).unwrap_err().contains("deep"));
        let error = attribute(|out| out.bytes(1, b"\xff")).unwrap_err();
        assert!(error.contains("attribute \"k\"") && error.contains("UTF-8"), "{error}");
        assert!(attribute(|out| out.0.push(0x0a)).unwrap_err().contains("byte"));
    }
}
