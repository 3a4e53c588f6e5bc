//! Names of metrics, units and labels as Prometheus translates them.

use super::options::Translation;

/// What a metric is, as far as its name shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameKind {
    Counter,
    Gauge,
    Other,
}

/// Units that have a word in Prometheus.
const UNITS: [(&str, &str); 26] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
];

/// What stands behind the slash of a unit.
const PER_UNITS: [(&str, &str); 7] =
    [("s", "second"), ("m", "minute"), ("h", "hour"), ("d", "day"), ("w", "week"), ("mo", "month"), ("y", "year")];

/// A unit in words: `By/s` is `bytes` and `per_second`. Parts in braces are annotations, and left out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Unit {
    main: String,
    per: String,
}

impl Unit {
    fn parse(unit: &str, translation: Translation) -> Self {
        let word = |part: &str, words: &[(&str, &str)]| {
            let part = part.trim();
            if part.contains(['{', '}']) {
                return String::new();
            }
            let known = words.iter().find(|(short, _)| *short == part);
            known.map_or(part, |(_, word)| word).to_owned()
        };
        let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
        let (mut main, mut per) = (word(main, &UNITS), word(per, &PER_UNITS));
        if translation.escapes() {
            (main, per) = (tokens(&main).join("_"), tokens(&per).join("_"));
        }
        if !per.is_empty() {
            per.insert_str(0, "per_");
        }
        Self { main, per }
    }
}

/// The unit as metadata has it.
pub(super) fn unit_name(unit: &str, translation: Translation) -> String {
    let Unit { main, per } = Unit::parse(unit, translation);
    if main.is_empty() || per.is_empty() { main + &per } else { main + "_" + &per }
}

/// The name of a metric; an error says why there is none.
pub(super) fn metric_name(
    name: &str,
    unit: &str,
    kind: NameKind,
    translation: Translation,
) -> Result<String, &'static str> {
    if name.is_empty() {
        return Err("its name is empty");
    }
    let translated = match (translation.escapes(), translation.suffixes()) {
        (true, true) => escaped_with_suffixes(name, unit, kind),
        (true, false) => escaped(name),
        (false, true) => with_suffixes(name, unit, kind),
        (false, false) => name.to_owned(),
    };
    if translation.escapes() && translated != name && translated.bytes().all(|byte| byte == b'_') {
        return Err("no letter and no digit of its name is left after the translation");
    }
    Ok(translated)
}

/// What stands between runs of other characters than letters, digits and colons.
fn tokens(name: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == ':';
    name.split(|c| !is_part(c)).filter(|token| !token.is_empty()).collect()
}

fn escaped_with_suffixes(name: &str, unit: &str, kind: NameKind) -> String {
    let words = Unit::parse(unit, Translation::UnderscoreEscapingWithSuffixes);
    let mut tokens = tokens(name);
    for word in [&words.main, &words.per] {
        if !word.is_empty() && !tokens.contains(&word.as_str()) {
            tokens.push(word);
        }
    }
    if let Some(last) = type_suffix(unit, kind) {
        tokens.retain(|token| *token != last);
        tokens.push(last);
    }
    not_a_digit_first(tokens.join("_"))
}

fn escaped(name: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == ':' || c == '_';
    let parts: Vec<_> = name.split(|c| !is_part(c)).filter(|part| !part.is_empty()).collect();
    not_a_digit_first(parts.join("_"))
}

fn with_suffixes(name: &str, unit: &str, kind: NameKind) -> String {
    let words = Unit::parse(unit, Translation::NoUtf8EscapingWithSuffixes);
    let last = type_suffix(unit, kind);
    let mut base = name;
    for ending in [last.unwrap_or(""), &words.per] {
        base = without_ending(base, ending);
    }
    let mut out = base.to_owned();
    let main = Some(words.main.as_str()).filter(|main| !base.ends_with(main));
    for word in [main.unwrap_or(""), &words.per, last.unwrap_or("")] {
        if !word.is_empty() {
            out.push('_');
            out.push_str(word);
        }
    }
    out
}

/// What the type of a metric adds to its name.
fn type_suffix(unit: &str, kind: NameKind) -> Option<&'static str> {
    match kind {
        NameKind::Counter => Some("total"),
        NameKind::Gauge if unit == "1" => Some("ratio"),
        _ => None,
    }
}

/// The name without `ending` and the character before it, unless nothing would be left.
fn without_ending<'n>(name: &'n str, ending: &str) -> &'n str {
    let cut = || {
        let rest = name.strip_suffix(ending).filter(|_| !ending.is_empty())?;
        let (last, _) = rest.char_indices().next_back().filter(|(at, _)| *at > 0)?;
        Some(&rest[..last])
    };
    cut().unwrap_or(name)
}

fn not_a_digit_first(mut name: String) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

/// Appends the label name of an attribute; an error says why there is none. With escaping, each other character than a
/// letter, digit or underscore becomes one; a digit or a single underscore gets `key` before it.
pub(super) fn push_label_name(key: &str, translation: Translation, out: &mut String) -> Result<(), String> {
    if key.is_empty() {
        return Err("the name of an attribute is empty".to_owned());
    }
    if !translation.escapes() {
        out.push_str(key);
        return Ok(());
    }
    let start = out.len();
    match key.chars().next() {
        Some(first) if first.is_ascii_digit() => out.push_str("key_"),
        Some(first) if is_underscore(first) && !key.chars().nth(1).is_some_and(is_underscore) => out.push_str("key"),
        _ => {}
    }
    out.extend(key.chars().map(|c| if is_underscore(c) { '_' } else { c }));
    if &out[start..] != key && out[start..].bytes().all(|byte| byte == b'_') {
        return Err(format!("no letter and no digit of the attribute name {key:?} is left after the translation"));
    }
    Ok(())
}

fn is_underscore(c: char) -> bool {
    !c.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, unit: &str, kind: NameKind) -> String {
        metric_name(name, unit, kind, Translation::UnderscoreEscapingWithSuffixes).unwrap()
    }

    #[test]
    fn metric_names_get_words_for_units_and_types() {
        for (name, unit, kind, want) in [
            ("predictions", "", NameKind::Counter, "predictions_total"),
            ("disk.io", "By/s", NameKind::Counter, "disk_io_bytes_per_second_total"),
            ("energy.total", "J", NameKind::Counter, "energy_joules_total"),
            ("my.requests", "{req}/min", NameKind::Counter, "my_requests_per_min_total"),
            ("queue.depth", "{item}", NameKind::Other, "queue_depth"),
            ("gpu.utilization", "1", NameKind::Gauge, "gpu_utilization_ratio"),
            ("gpu.utilization", "1", NameKind::Counter, "gpu_utilization_total"),
            ("load", "%", NameKind::Gauge, "load_percent"),
            ("gpu.memory", "By", NameKind::Gauge, "gpu_memory_bytes"),
            ("temperature", "Cel", NameKind::Gauge, "temperature_celsius"),
            ("rpc.server.duration", "s", NameKind::Other, "rpc_server_duration_seconds"),
            ("a__b--c", "", NameKind::Other, "a_b_c"),
            ("bytes.read", "By", NameKind::Other, "bytes_read"),
            ("2fast", "", NameKind::Other, "_2fast"),
            ("odd", "foo bar/baz", NameKind::Other, "odd_foo_bar_per_baz"),
            ("größe", "", NameKind::Other, "gr_e"),
            ("job:rate", "", NameKind::Other, "job:rate"),
        ] {
            assert_eq!(named(name, unit, kind), want, "{name} {unit}");
        }
        assert!(metric_name("", "s", NameKind::Other, Translation::NoTranslation).is_err());
        assert!(metric_name("???", "", NameKind::Other, Translation::UnderscoreEscapingWithSuffixes).is_err());
    }

    #[test]
    fn other_strategies_keep_characters_or_leave_out_suffixes() {
        let counter = |name, translation| metric_name(name, "By/s", NameKind::Counter, translation).unwrap();
        assert_eq!(counter("disk.io", Translation::NoTranslation), "disk.io");
        assert_eq!(counter("disk.io", Translation::NoUtf8EscapingWithSuffixes), "disk.io_bytes_per_second_total");
        assert_eq!(
            counter("disk.io.bytes.per_second.total", Translation::NoUtf8EscapingWithSuffixes),
            "disk.io.bytes_per_second_total"
        );
        assert_eq!(counter("disk..io__x", Translation::UnderscoreEscapingWithoutSuffixes), "disk_io__x");
        assert_eq!(counter("2x", Translation::UnderscoreEscapingWithoutSuffixes), "_2x");
        let ratio = |name| metric_name(name, "1", NameKind::Gauge, Translation::NoUtf8EscapingWithSuffixes).unwrap();
        assert_eq!((ratio("hit"), ratio("hit.ratio"), ratio("ratio")), pairs("hit_ratio", "hit_ratio", "ratio_ratio"));
    }

    fn pairs(one: &str, two: &str, three: &str) -> (String, String, String) {
        (one.into(), two.into(), three.into())
    }

    #[test]
    fn units_are_words_in_metadata() {
        let unit = |unit| unit_name(unit, Translation::default());
        assert_eq!(unit("By/s"), "bytes_per_second");
        assert_eq!((unit("1"), unit("{item}"), unit("")), pairs("", "", ""));
        assert_eq!((unit("1/s"), unit("ms"), unit("°C")), pairs("per_second", "milliseconds", "C"));
    }

    #[test]
    fn label_names() {
        let escaped = |key: &str| {
            let mut out = String::new();
            push_label_name(key, Translation::default(), &mut out).map(|()| out)
        };
        for (key, want) in [
            ("a.b", "a_b"),
            ("a..b", "a__b"),
            ("2x", "key_2x"),
            ("_x", "key_x"),
            (".x", "key_x"),
            ("__x__", "__x__"),
            ("k8s/pod-name", "k8s_pod_name"),
            ("ü", "key_"),
            ("__", "__"),
        ] {
            assert_eq!(escaped(key).as_deref(), Ok(want), "{key}");
        }
        assert!(escaped("").is_err() && escaped("..").is_err());
        let mut out = String::new();
        push_label_name("2 ü", Translation::NoTranslation, &mut out).unwrap();
        assert_eq!(out, "2 ü");
    }
}
