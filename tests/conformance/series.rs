//! Series notation: `name{label="value"} 1 2+3x4 _ stale {{schema:0 count:1 buckets:[1]}}x2`.

use std::collections::BTreeMap;

use tsq_core::{CUSTOM_BUCKETS_SCHEMA, Histogram, Labels, ResetHint, Span};

pub(crate) type Parsed<T> = Result<T, String>;

/// One place of a series.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Omitted,
    Stale,
    Float(f64),
    Histogram(Native),
}

/// A native histogram with buckets by index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Native {
    pub schema: i8,
    pub count: f64,
    pub sum: f64,
    pub zero_threshold: f64,
    pub zero_count: f64,
    pub positive: BTreeMap<i32, f64>,
    pub negative: BTreeMap<i32, f64>,
    pub custom_values: Vec<f64>,
    pub hint: ResetHint,
}

impl Native {
    /// The same as a sample.
    pub(crate) fn to_histogram(&self) -> Histogram {
        let (positive_spans, positive) = spans_of(&self.positive);
        let (negative_spans, negative) = spans_of(&self.negative);
        Histogram {
            schema: self.schema,
            reset_hint: self.hint,
            integer: false,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count,
            count: self.count,
            sum: self.sum,
            positive_spans,
            negative_spans,
            positive,
            negative,
            custom_values: self.custom_values.clone(),
        }
    }

    fn coarser(&self, schema: i8) -> Self {
        if schema == self.schema || self.schema == CUSTOM_BUCKETS_SCHEMA {
            return self.clone();
        }
        let reduce = |buckets: &BTreeMap<i32, f64>| {
            let mut out = BTreeMap::new();
            for (index, count) in buckets {
                *out.entry(((index - 1) >> (self.schema - schema)) + 1).or_insert(0.0) += count;
            }
            out
        };
        Self { schema, positive: reduce(&self.positive), negative: reduce(&self.negative), ..self.clone() }
    }

    /// `self + sign * other`
    fn combine(&self, other: &Self, sign: f64) -> Parsed<Self> {
        if (self.schema == CUSTOM_BUCKETS_SCHEMA) != (other.schema == CUSTOM_BUCKETS_SCHEMA) {
            return Err("cannot combine exponential and custom buckets".to_owned());
        }
        let schema = self.schema.min(other.schema);
        let (mut sum, other) = (self.coarser(schema), other.coarser(schema));
        sum.count += sign * other.count;
        sum.sum += sign * other.sum;
        sum.zero_count += sign * other.zero_count;
        for (to, from) in [(&mut sum.positive, &other.positive), (&mut sum.negative, &other.negative)] {
            for (index, count) in from {
                *to.entry(*index).or_insert(0.0) += sign * count;
            }
        }
        Ok(sum)
    }
}

fn spans_of(buckets: &BTreeMap<i32, f64>) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut last: Option<i32> = None;
    for &index in buckets.keys() {
        match (last, spans.last_mut()) {
            (Some(before), Some(span)) if index == before + 1 => span.length += 1,
            (before, _) => {
                spans.push(Span { offset: before.map_or(index, |before| index - before - 1), length: 1 });
            }
        }
        last = Some(index);
    }
    (spans, buckets.values().copied().collect())
}

/// A number as Go reads it.
pub(crate) fn number(text: &str) -> Parsed<f64> {
    let (negative, body) = match text.strip_prefix('-') {
        Some(body) => (true, body),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = match body.strip_prefix("0x").or_else(|| body.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).map(|value| value as f64).map_err(|error| error.to_string()),
        None if body.starts_with(['+', '-']) => Err("two signs".to_owned()),
        None => body.parse::<f64>().map_err(|error| error.to_string()),
    };
    let value = value.map_err(|error| format!("bad number {text:?}: {error}"))?;
    Ok(if negative { -value } else { value })
}

/// A duration such as `1h30m` in milliseconds.
pub(crate) fn duration_ms(text: &str) -> Parsed<i64> {
    const UNITS: [(&str, i64); 7] = [
        ("ms", 1),
        ("s", 1000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
        ("w", 604_800_000),
        ("y", 31_536_000_000),
    ];
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut total = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(|| format!("not a duration: {text:?}"))?;
        let (count, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let (_, ms) =
            UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| format!("not a duration: {text:?}"))?;
        total += count.parse::<i64>().map_err(|_| format!("not a duration: {text:?}"))? * ms;
        rest = tail;
    }
    if text.is_empty() { Err("a duration is missing".to_owned()) } else { Ok(total) }
}

/// A line of start times: `_ -30s-1mx2 1ms`, distances to the times of the samples.
pub(crate) fn starts(line: &str) -> Parsed<Vec<Option<i64>>> {
    let mut out = Vec::new();
    for token in line.split_whitespace() {
        let (body, times) = match token.rsplit_once('x') {
            Some((body, times)) => (body, times.parse::<usize>().map_err(|_| format!("bad start {token:?}"))?),
            None => (token, 0),
        };
        if body == "_" {
            out.extend(std::iter::repeat_n(None, times.max(1)));
            continue;
        }
        let signed = |text: &str| match text.strip_prefix('-') {
            Some(duration) => duration_ms(duration).map(|ms| -ms),
            None => duration_ms(text.trim_start_matches('+')),
        };
        let (first, step) = match body[1..].find(['+', '-']) {
            Some(at) => body.split_at(at + 1),
            None => (body, "0"),
        };
        let (first, step) = (signed(first)?, signed(step)?);
        out.extend((0..=times as i64).map(|index| Some(first + index * step)));
    }
    Ok(out)
}

/// Reads a Go string literal at the start of a text; what follows it is left in `rest`.
pub(crate) fn quoted(rest: &mut &str) -> Parsed<String> {
    let quote = rest.chars().next().filter(|c| "\"'`".contains(*c)).ok_or("a quoted string is missing")?;
    let body = &rest[1..];
    let mut bytes = Vec::new();
    let mut at = 0;
    loop {
        let c = body[at..].chars().next().ok_or_else(|| format!("unterminated string: {rest}"))?;
        if c == quote {
            *rest = &body[at + 1..];
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        if c != '\\' || quote == '`' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            at += c.len_utf8();
            continue;
        }
        at += escape(&body[at + 1..], &mut bytes)? + 1;
    }
}

/// Reads what follows a backslash; the number of bytes read.
fn escape(text: &str, out: &mut Vec<u8>) -> Parsed<usize> {
    let kind = text.chars().next().ok_or("a lone backslash")?;
    let simple = [
        ('a', 7),
        ('b', 8),
        ('f', 12),
        ('n', b'\n'),
        ('r', b'\r'),
        ('t', b'\t'),
        ('v', 11),
        ('\\', b'\\'),
        ('\'', b'\''),
        ('"', b'"'),
    ];
    if let Some((_, byte)) = simple.iter().find(|(name, _)| *name == kind) {
        out.push(*byte);
        return Ok(1);
    }
    let (skip, digits, radix) = match kind {
        'x' => (1, 2, 16),
        'u' => (1, 4, 16),
        'U' => (1, 8, 16),
        '0'..='7' => (0, 3, 8),
        _ => return Err(format!("bad escape in {text}")),
    };
    let number = text.get(skip..skip + digits).and_then(|number| u32::from_str_radix(number, radix).ok());
    let number = number.ok_or_else(|| format!("bad escape in {text}"))?;
    if kind == 'u' || kind == 'U' {
        let c = char::from_u32(number).ok_or_else(|| format!("bad escape in {text}"))?;
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        out.push(number as u8);
    }
    Ok(skip + digits)
}

fn name<'t>(rest: &mut &'t str) -> &'t str {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    let end = if rest.starts_with(|c: char| c.is_ascii_digit()) { 0 } else { end };
    let (name, tail) = rest.split_at(end);
    *rest = tail;
    name
}

/// Reads a label set at the start of a text.
pub(crate) fn metric(rest: &mut &str) -> Parsed<Labels> {
    let mut pairs: BTreeMap<String, String> = BTreeMap::new();
    let metric = name(rest);
    if !metric.is_empty() {
        pairs.insert("__name__".to_owned(), metric.to_owned());
    }
    if rest.starts_with('{') && !rest.starts_with("{{") {
        *rest = &rest[1..];
        loop {
            *rest = rest.trim_start_matches([' ', '\t', ',']);
            if let Some(tail) = rest.strip_prefix('}') {
                *rest = tail;
                break;
            }
            let label = if rest.starts_with(['"', '\'', '`']) { quoted(rest)? } else { name(rest).to_owned() };
            if label.is_empty() {
                return Err(format!("bad label name at {rest}"));
            }
            *rest = rest.trim_start();
            if let Some(tail) = rest.strip_prefix('=') {
                *rest = tail.trim_start();
                pairs.insert(label, quoted(rest)?);
            } else {
                pairs.insert("__name__".to_owned(), label);
            }
        }
    }
    Labels::from_pairs(pairs).map_err(|error| error.to_string())
}

/// A whole series line.
pub(crate) fn series(line: &str) -> Parsed<(Labels, Vec<Item>)> {
    let mut rest = line;
    let labels = metric(&mut rest)?;
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return Err(format!("bad series line: {line}"));
    }
    Ok((labels, items(rest)?))
}

fn items(mut rest: &str) -> Parsed<Vec<Item>> {
    let mut out = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(out);
        }
        if rest.starts_with("{{") {
            histograms(&mut rest, &mut out)?;
            continue;
        }
        let end = rest.find([' ', '\t']).unwrap_or(rest.len());
        let (token, tail) = rest.split_at(end);
        rest = tail;
        floats(token, &mut out)?;
    }
}

fn floats(token: &str, out: &mut Vec<Item>) -> Parsed<()> {
    let repeated = token.strip_prefix("_x").and_then(|count| count.parse::<usize>().ok());
    match (token, repeated) {
        ("_", _) => out.push(Item::Omitted),
        ("stale", _) => out.push(Item::Stale),
        (_, Some(count)) => out.extend(std::iter::repeat_n(Item::Omitted, count)),
        _ => {
            let (body, times) = match token.rfind('x').filter(|&at| at > 0) {
                Some(at) => (&token[..at], token[at + 1..].parse().map_err(|_| format!("bad value {token:?}"))?),
                None => (token, 0),
            };
            let (start, step) = match increment_at(body) {
                Some(at) => (&body[..at], number(&body[at..])?),
                None => (body, 0.0),
            };
            let mut value = number(start)?;
            for _ in 0..=times {
                out.push(Item::Float(value));
                value += step;
            }
        }
    }
    Ok(())
}

/// Where the increment of `1+2` or `1e-3-4` starts.
fn increment_at(body: &str) -> Option<usize> {
    let bytes = body.as_bytes();
    (1..bytes.len()).rev().find(|&at| matches!(bytes[at], b'+' | b'-') && !matches!(bytes[at - 1], b'e' | b'E'))
}

fn histograms(rest: &mut &str, out: &mut Vec<Item>) -> Parsed<()> {
    let mut current = histogram(rest)?;
    let sign = rest.chars().next().filter(|c| "+-".contains(*c) && rest[1..].starts_with("{{"));
    let mut increment = None;
    if let Some(sign) = sign {
        *rest = &rest[1..];
        increment = Some((histogram(rest)?, if sign == '+' { 1.0 } else { -1.0 }));
    }
    let mut times = 0;
    if let Some(tail) = rest.strip_prefix('x') {
        let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        times = tail[..end].parse::<usize>().map_err(|_| format!("bad repetition at {rest}"))?;
        *rest = &tail[end..];
    }
    out.push(Item::Histogram(current.clone()));
    for _ in 0..times {
        if let Some((increment, sign)) = &increment {
            current = current.combine(increment, *sign)?;
        }
        out.push(Item::Histogram(current.clone()));
    }
    Ok(())
}

fn histogram(rest: &mut &str) -> Parsed<Native> {
    let end = rest.find("}}").ok_or("a histogram has no end")?;
    let body = &rest[2..end];
    *rest = &rest[end + 2..];
    let mut native = Native::default();
    let (mut offset, mut negative_offset) = (0, 0);
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    let mut body = body.trim();
    while !body.is_empty() {
        let (key, tail) = body.split_once(':').ok_or_else(|| format!("bad histogram at {body}"))?;
        let end = if tail.starts_with('[') {
            tail.find(']').ok_or_else(|| format!("a list has no end at {tail}"))? + 1
        } else {
            tail.find([' ', '\t']).unwrap_or(tail.len())
        };
        let (value, tail) = tail.split_at(end);
        body = tail.trim_start();
        let list = || value.trim_matches(['[', ']']).split_whitespace().map(number).collect::<Parsed<Vec<f64>>>();
        let integer = || value.parse::<i32>().map_err(|_| format!("bad {key} {value:?}"));
        match key.trim() {
            "schema" => native.schema = i8::try_from(integer()?).map_err(|_| format!("bad schema {value}"))?,
            "sum" => native.sum = number(value)?,
            "count" => native.count = number(value)?,
            "z_bucket" => native.zero_count = number(value)?,
            "z_bucket_w" => native.zero_threshold = number(value)?,
            "custom_values" => native.custom_values = list()?,
            "offset" => offset = integer()?,
            "n_offset" => negative_offset = integer()?,
            "buckets" => positive = list()?,
            "n_buckets" => negative = list()?,
            "counter_reset_hint" => {
                native.hint = match value {
                    "reset" => ResetHint::Reset,
                    "not_reset" => ResetHint::NotReset,
                    "gauge" => ResetHint::Gauge,
                    _ => ResetHint::Unknown,
                };
            }
            other => return Err(format!("unknown histogram key {other:?}")),
        }
    }
    native.positive = (offset..).zip(positive).collect();
    native.negative = (negative_offset..).zip(negative).collect();
    Ok(native)
}
