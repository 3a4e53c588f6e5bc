//! Label sets: sorted (name, value) pairs of one series, in one immutable allocation.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::error::{Error, Result};

/// Label that holds the metric name.
pub const METRIC_NAME: &str = "__name__";

/// A sorted set of labels with distinct, non-empty names and non-empty values; cheap to clone.
///
/// Stored canonically as `varint len, name, varint len, value` for each label, sorted by name: equal sets have equal
/// bytes. An empty value means "no such label", so such labels are never stored.
#[derive(Clone)]
pub struct Labels(Arc<[u8]>);

impl Labels {
    /// The empty set.
    pub fn empty() -> Self {
        Self(Arc::from(&[][..]))
    }

    /// A set from pairs in any order; empty values are left out.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for an empty or duplicate name.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self> {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.push(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// A set from its canonical bytes, checked: lengths, UTF-8, order, no empty name or value.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when a rule is broken.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self> {
        check_canonical(bytes)?;
        Ok(Self(Arc::from(bytes)))
    }

    /// A set from labels with non-empty values, whose names ascend.
    pub(crate) fn from_sorted<'t>(pairs: impl Iterator<Item = (&'t str, &'t str)> + Clone) -> Self {
        let mut bytes = Vec::with_capacity(pairs.clone().map(|(name, value)| name.len() + value.len() + 4).sum());
        pairs.for_each(|(name, value)| push_pair(&mut bytes, name, value));
        debug_assert!(check_canonical(&bytes).is_ok(), "the caller sorted its labels");
        Self(Arc::from(bytes))
    }

    /// A set from canonical bytes that were put together from checked labels.
    ///
    /// # Safety
    /// `bytes` are what [`push_pair`] wrote for labels with non-empty names and values, in strictly ascending order
    /// of the names.
    pub(crate) unsafe fn from_pushed(bytes: &[u8]) -> Self {
        debug_assert!(check_canonical(bytes).is_ok(), "the caller checked its labels");
        Self(Arc::from(bytes))
    }

    /// The canonical bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The labels in order of their names.
    pub fn iter(&self) -> LabelsIter<'_> {
        LabelsIter { rest: &self.0 }
    }

    /// Value of a label, if present. O(labels).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The value of a label, with the canonical bytes of the labels before and behind it. O(labels before it).
    pub(crate) fn around(&self, name: &str) -> Option<(&[u8], &str, &[u8])> {
        let mut labels = self.iter();
        loop {
            let before = self.0.len() - labels.rest.len();
            let (found, value) = labels.next().filter(|(found, _)| *found <= name)?;
            if found == name {
                return Some((&self.0[..before], value, labels.rest));
            }
        }
    }

    /// The metric name, or the empty string.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or("")
    }

    /// Number of labels. O(labels).
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same set without the labels that `drop` names.
    #[must_use]
    pub fn without(&self, mut drop: impl FnMut(&str) -> bool) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len());
        for (name, value) in self.iter() {
            if !drop(name) {
                push_pair(&mut bytes, name, value);
            }
        }
        Self(Arc::from(bytes))
    }
}

/// Labels of a set in name order.
#[derive(Clone, Debug)]
pub struct LabelsIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for LabelsIter<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let name = take_str(&mut self.rest);
        let value = take_str(&mut self.rest);
        Some((name, value))
    }
}

#[inline]
fn take_str<'a>(rest: &mut &'a [u8]) -> &'a str {
    let len = take_len(rest).expect("canonical bytes were checked");
    let (text, tail) = rest.split_at(len);
    *rest = tail;
    // SAFETY: `rest` is the end of a `Labels` after a whole number of strings. All ways to make one either check that
    // each string is UTF-8 or write strings with `push_pair`, and its bytes never change.
    unsafe { std::str::from_utf8_unchecked(text) }
}

#[inline]
fn take_len(rest: &mut &[u8]) -> Option<usize> {
    match rest.split_first() {
        Some((&byte, tail)) if byte < 0x80 => {
            *rest = tail;
            Some(usize::from(byte))
        }
        _ => take_long_len(rest),
    }
}

fn take_long_len(rest: &mut &[u8]) -> Option<usize> {
    let mut len = 0_usize;
    for shift in [0, 7, 14, 21] {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        len |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(len);
        }
    }
    None
}

/// Names and values are shorter than this; limits are far lower.
pub(crate) const TEXT_MAX: usize = 1 << 28;

fn push_len(out: &mut Vec<u8>, mut len: usize) {
    assert!(len < TEXT_MAX, "a label is far below 256 MiB");
    while len >= 0x80 {
        out.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
}

/// Appends one label of a canonical set; the caller keeps the order.
pub(crate) fn push_pair(out: &mut Vec<u8>, name: &str, value: &str) {
    push_len(out, name.len());
    out.extend_from_slice(name.as_bytes());
    push_len(out, value.len());
    out.extend_from_slice(value.as_bytes());
}

fn check_canonical(bytes: &[u8]) -> Result<()> {
    let mut rest = bytes;
    let mut last: Option<&str> = None;
    let mut next = || -> Option<&str> {
        let len = take_len(&mut rest)?;
        let (text, tail) = rest.split_at_checked(len)?;
        rest = tail;
        std::str::from_utf8(text).ok()
    };
    let mut done = 0;
    while done < bytes.len() {
        let (Some(name), Some(value)) = (next(), next()) else {
            return Err(Error::corrupt("label set with a length past its end or invalid UTF-8"));
        };
        if name.is_empty() || value.is_empty() || last.is_some_and(|last| last >= name) {
            return Err(Error::corrupt("label set with an empty, duplicate or unsorted label"));
        }
        last = Some(name);
        let encoded = |text: &str| text.len() + len_of_len(text.len());
        done += encoded(name) + encoded(value);
    }
    Ok(())
}

fn len_of_len(len: usize) -> usize {
    match len {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Labels {}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Prometheus's order: label by label, name before value; a set that is a prefix of another comes first.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As PromQL writes a series: `name{label="value", ...}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric_name();
        let bare = is_legacy_name(name);
        if bare {
            f.write_str(name)?;
        }
        let mut separator = "{";
        if !bare && !name.is_empty() {
            write!(f, "{{{name:?}")?;
            separator = ", ";
        }
        for (name, value) in self.iter().filter(|(name, _)| *name != METRIC_NAME) {
            if is_legacy_name(name) && !name.contains(':') {
                write!(f, "{separator}{name}={value:?}")?;
            } else {
                write!(f, "{separator}{name:?}={value:?}")?;
            }
            separator = ", ";
        }
        match separator {
            "{" if bare => Ok(()),
            "{" => f.write_str("{}"),
            _ => f.write_str("}"),
        }
    }
}

/// Whether PromQL can write this metric name without quotes.
fn is_legacy_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    !name.is_empty() && name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Collects pairs in any order and makes a [`Labels`] of them; reusable.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    text: String,
    pairs: Vec<(u32, u32, u32)>,
}

impl LabelsBuilder {
    /// Starts over, keeping the allocations.
    pub fn clear(&mut self) {
        self.text.clear();
        self.pairs.clear();
    }

    /// Adds a label; an empty value leaves it out.
    pub fn push(&mut self, name: &str, value: &str) {
        if value.is_empty() && !name.is_empty() {
            return;
        }
        let start = self.text.len() as u32;
        self.text.push_str(name);
        let middle = self.text.len() as u32;
        self.text.push_str(value);
        self.pairs.push((start, middle, self.text.len() as u32));
    }

    /// Number of labels so far.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether no label was added.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    fn name(&self, pair: (u32, u32, u32)) -> &str {
        &self.text[pair.0 as usize..pair.1 as usize]
    }

    /// The labels in the order of pushing or, after [`LabelsBuilder::build`], in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|&pair| (self.name(pair), &self.text[pair.1 as usize..pair.2 as usize]))
    }

    /// Sorts the labels and writes their canonical bytes to `out`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for an empty or duplicate name.
    pub fn canonical(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let text = &self.text;
        let name = |pair: &(u32, u32, u32)| &text[pair.0 as usize..pair.1 as usize];
        self.pairs.sort_by(|a, b| name(a).cmp(name(b)));
        for pair in self.pairs.windows(2) {
            if name(&pair[0]) == name(&pair[1]) {
                return Err(Error::invalid(format!("label name {:?} is given twice", name(&pair[0]))));
            }
        }
        if self.pairs.first().is_some_and(|pair| name(pair).is_empty()) {
            return Err(Error::invalid("a label name is empty"));
        }
        for &(start, middle, end) in &self.pairs {
            push_pair(out, &text[start as usize..middle as usize], &text[middle as usize..end as usize]);
        }
        Ok(())
    }

    /// Sorts the labels and makes a set of them.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for an empty or duplicate name.
    pub fn build(&mut self) -> Result<Labels> {
        let mut bytes = Vec::with_capacity(self.text.len() + 2 * self.pairs.len());
        self.canonical(&mut bytes)?;
        Ok(Labels(Arc::from(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_sorted_and_equal_by_content() {
        let one = Labels::from_pairs([("b", "2"), ("__name__", "up"), ("a", "1"), ("gone", "")]).unwrap();
        let two = Labels::from_pairs([("a", "1"), ("b", "2"), ("__name__", "up")]).unwrap();
        assert_eq!(one, two);
        assert_eq!(one.to_string(), r#"up{a="1", b="2"}"#);
        assert_eq!(one.get("b"), Some("2"));
        assert_eq!(Labels::from_canonical(one.as_bytes()).unwrap(), one);
    }

    #[test]
    fn bad_sets_are_refused() {
        assert!(Labels::from_pairs([("a", "1"), ("a", "2")]).is_err());
        assert!(Labels::from_pairs([("", "1")]).is_err());
        for bytes in [&b"\x05ab"[..], b"\x01b\x01x\x01a\x01x", b"\x01a\x01x\x01a\x01y", b"\x01a\x00", b"\x01\xff\x01x"]
        {
            assert!(Labels::from_canonical(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn order_is_by_name_then_value_then_length() {
        let set = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied()).unwrap();
        let mut sets = [set(&[("a", "2")]), set(&[("a", "10"), ("b", "1")]), set(&[("b", "0")]), set(&[("a", "10")])];
        sets.sort();
        let shown: Vec<_> = sets.iter().map(ToString::to_string).collect();
        assert_eq!(shown, [r#"{a="10"}"#, r#"{a="10", b="1"}"#, r#"{a="2"}"#, r#"{b="0"}"#]);
    }
}
