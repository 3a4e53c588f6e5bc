//! Exemplars: trace and span of an observation, and its filtered attributes as far as they fit.

use std::fmt::Write as _;

use tsq_core::{Exemplar, LabelsBuilder};

use super::labels::label_pairs;
use super::options::Translation;
use super::value::broken;
use crate::protobuf::{FIXED64, Reader, bytes_key, key};

/// Characters that the labels of an exemplar may have together.
const CHARACTERS_MAX: usize = 128;

/// Reads an `Exemplar`; an error says why it is dropped.
pub(super) fn decode(
    message: Reader<'_>,
    translation: Translation,
    builder: &mut LabelsBuilder,
) -> Result<Exemplar, String> {
    const TIME: u32 = key(2, FIXED64);
    const DOUBLE: u32 = key(3, FIXED64);
    const SPAN: u32 = bytes_key(4);
    const TRACE: u32 = bytes_key(5);
    const INT: u32 = key(6, FIXED64);
    const ATTRIBUTES: u32 = bytes_key(7);
    let (mut time_ns, mut value, mut span, mut trace, mut has_attributes) = (0, 0.0, &[][..], &[][..], false);
    let mut fields = message.clone();
    while let Some(field) = fields.key().map_err(broken)? {
        match field {
            TIME => time_ns = fields.fixed64().map_err(broken)?,
            DOUBLE => value = fields.double().map_err(broken)?,
            SPAN => span = fields.bytes().map_err(broken)?,
            TRACE => trace = fields.bytes().map_err(broken)?,
            INT => value = fields.fixed64().map_err(broken)? as i64 as f64,
            ATTRIBUTES => {
                fields.message().map_err(broken)?;
                has_attributes = true;
            }
            other => fields.skip(other, 0b1111_1100).map_err(broken)?,
        }
    }
    builder.clear();
    let mut room = CHARACTERS_MAX;
    for (name, id) in [("trace_id", trace), ("span_id", span)] {
        push(name, &hex(id), &mut room, builder);
    }
    if has_attributes {
        for (name, value) in label_pairs(message, 7, translation)? {
            push(&name, &value, &mut room, builder);
        }
    }
    let labels = builder.build().map_err(|error| error.to_string())?;
    Ok(Exemplar { labels, value, time_ms: (time_ns / 1_000_000) as i64 })
}

/// Adds a label if there is room for it and its name is not taken.
fn push(name: &str, value: &str, room: &mut usize, builder: &mut LabelsBuilder) {
    let characters = name.chars().count() + value.chars().count();
    if characters <= *room && !value.is_empty() && !builder.iter().any(|(known, _)| known == name) {
        *room -= characters;
        builder.push(name, value);
    }
}

/// An identifier in hexadecimal; none when it is empty or all zeros. No identifier is longer than the labels may be.
fn hex(id: &[u8]) -> String {
    let mut out = String::new();
    if id.len() > CHARACTERS_MAX || id.iter().all(|byte| *byte == 0) {
        return out;
    }
    id.iter().for_each(|byte| write!(out, "{byte:02x}").expect("writing to memory does not fail"));
    out
}
