//! Scripts: `load`, `eval`, `clear` and what an `eval` expects.

use std::collections::BTreeMap;

use tsq_core::{CUSTOM_BUCKETS_SCHEMA, Labels};

use crate::series::{Item, Native, Parsed, duration_ms, number, quoted, series, starts};

/// One command.
pub(crate) enum Command {
    Clear,
    Load(Vec<Loaded>),
    Eval(Box<Eval>),
}

/// A series to load, with times in milliseconds.
pub(crate) struct Loaded {
    pub labels: Labels,
    pub points: Vec<(i64, Item)>,
    /// Start times by the time of their sample.
    pub starts: BTreeMap<i64, i64>,
}

/// How an error or annotation is to read.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    Any,
    Is(String),
    Matches(String),
}

/// A query and what it has to give.
#[derive(Default)]
pub(crate) struct Eval {
    pub line: usize,
    pub expr: String,
    pub is_range: bool,
    pub start_ms: i64,
    pub end_ms: i64,
    pub step_ms: i64,
    pub ordered: bool,
    pub fail: bool,
    pub fail_texts: Vec<Text>,
    pub warnings: Vec<Text>,
    pub infos: Vec<Text>,
    pub no_warnings: bool,
    pub no_infos: bool,
    pub scalar: Option<f64>,
    pub string: Option<String>,
    pub is_range_vector: bool,
    pub expected: Vec<(Labels, Vec<Item>)>,
}

/// Parses a script. Errors name the line.
pub(crate) fn parse(text: &str) -> Parsed<Vec<Command>> {
    let lines: Vec<&str> =
        text.lines().map(|line| if line.trim().starts_with('#') { "" } else { line.trim() }).collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let first = at;
        let word = lines[at].split_whitespace().next().unwrap_or("").to_lowercase();
        let command = match word.as_str() {
            "" => None,
            "clear" => Some(Ok(Command::Clear)),
            word if word.starts_with("load") => Some(load(&lines, &mut at)),
            word if word.starts_with("eval") => Some(eval(&lines, &mut at)),
            _ => Some(Err(format!("unknown command {:?}", lines[at]))),
        };
        if let Some(command) = command {
            commands.push(command.map_err(|error| format!("line {}: {error}", first + 1))?);
        }
        at += 1;
    }
    Ok(commands)
}

/// The lines that belong to the command at `at`, which moves to the last of them.
fn block<'l>(lines: &[&'l str], at: &mut usize) -> Vec<&'l str> {
    let body: Vec<&str> = lines[*at + 1..].iter().copied().take_while(|line| !line.is_empty()).collect();
    *at += body.len();
    body
}

fn load(lines: &[&str], at: &mut usize) -> Parsed<Command> {
    let words: Vec<&str> = lines[*at].split_whitespace().collect();
    let &[kind, gap] = words.as_slice() else { return Err(format!("bad load: {}", lines[*at])) };
    let gap_ms = duration_ms(gap)?;
    let mut by_labels: BTreeMap<Labels, Vec<(i64, Item)>> = BTreeMap::new();
    let mut all_starts: BTreeMap<Labels, BTreeMap<i64, i64>> = BTreeMap::new();
    let mut pending = Vec::new();
    for line in block(lines, at) {
        // Start times stand in a line before that of their samples, as distances to them.
        if let Some((_, items)) = line.split_once(char::is_whitespace).filter(|(name, _)| name.ends_with("@st")) {
            pending = starts(items)?;
            continue;
        }
        let (labels, items) = series(line)?;
        let since = |(index, distance_ms): (usize, Option<i64>)| {
            let time_ms = index as i64 * gap_ms;
            Some((time_ms, time_ms + distance_ms?))
        };
        all_starts
            .insert(labels.clone(), std::mem::take(&mut pending).into_iter().enumerate().filter_map(since).collect());
        let timed = items.into_iter().enumerate().map(|(index, item)| (index as i64 * gap_ms, item));
        by_labels.insert(labels, timed.filter(|(_, item)| !matches!(item, Item::Omitted)).collect());
    }
    if kind == "load_with_nhcb" {
        by_labels.extend(custom_bucket_histograms(&by_labels));
    }
    let loaded = |(labels, points)| {
        let starts = all_starts.remove(&labels).unwrap_or_default();
        Loaded { labels, points, starts }
    };
    Ok(Command::Load(by_labels.into_iter().map(loaded).collect()))
}

#[derive(Default)]
struct Classic {
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

/// Native histograms with custom buckets made of classic histogram series.
fn custom_bucket_histograms(series: &BTreeMap<Labels, Vec<(i64, Item)>>) -> BTreeMap<Labels, Vec<(i64, Item)>> {
    let mut all: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
    for (labels, points) in series {
        let Some((base, part)) = labels.metric_name().rsplit_once('_') else { continue };
        let bound = labels.get("le").and_then(|le| le.parse::<f64>().ok());
        if !matches!(part, "bucket" | "count" | "sum") || (part == "bucket" && bound.is_none()) {
            continue;
        }
        let pairs = labels.iter().filter(|(name, _)| !matches!(*name, "le" | "__name__"));
        let labels = Labels::from_pairs(pairs.chain([("__name__", base)])).expect("labels of a set are distinct");
        for (time, item) in points {
            let value = match item {
                Item::Float(value) => *value,
                Item::Stale => f64::NAN,
                _ => continue,
            };
            let classic = all.entry(labels.clone()).or_default().entry(*time).or_default();
            match (part, bound) {
                ("bucket", Some(bound)) => classic.buckets.push((bound, value)),
                ("count", _) => classic.count = Some(value),
                _ => classic.sum = value,
            }
        }
    }
    let native = |classic: Classic| Item::Histogram(custom_buckets(classic));
    let series =
        |times: BTreeMap<i64, Classic>| times.into_iter().map(|(time, classic)| (time, native(classic))).collect();
    all.into_iter().map(|(labels, times)| (labels, series(times))).collect()
}

fn custom_buckets(mut classic: Classic) -> Native {
    classic.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    // `le` values that are written differently may be one number; the first counts.
    classic.buckets.dedup_by_key(|bucket| bucket.0);
    let count = classic.count.or_else(|| classic.buckets.last().map(|bucket| bucket.1)).unwrap_or(0.0);
    if classic.buckets.last().is_none_or(|bucket| bucket.0 != f64::INFINITY) {
        classic.buckets.push((f64::INFINITY, count));
    }
    let before = std::iter::once(0.0).chain(classic.buckets.iter().map(|bucket| bucket.1));
    let counts = classic.buckets.iter().zip(before).map(|(bucket, before)| bucket.1 - before);
    Native {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count,
        sum: classic.sum,
        positive: (0..).zip(counts).collect(),
        custom_values: classic.buckets.iter().map(|bucket| bucket.0).filter(|bound| bound.is_finite()).collect(),
        ..Native::default()
    }
}

/// Durations after key words, and what follows them.
fn keyed<'t>(text: &'t str, keys: &[&str]) -> Parsed<(Vec<i64>, &'t str)> {
    let mut rest = text.trim_start();
    let mut out = Vec::new();
    for key in keys {
        rest = rest.strip_prefix(key).ok_or_else(|| format!("expected {key:?} in {text:?}"))?.trim_start();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        out.push(duration_ms(&rest[..end])?);
        rest = rest[end..].trim_start();
    }
    Ok((out, rest))
}

fn eval(lines: &[&str], at: &mut usize) -> Parsed<Command> {
    let mut eval = Eval { line: *at + 1, ..Eval::default() };
    let line = lines[*at];
    let (command, rest) = line.split_once(char::is_whitespace).ok_or("a bad eval")?;
    let (kind, rest) = rest.trim_start().split_once(char::is_whitespace).ok_or("a bad eval")?;
    match kind {
        "instant" => {
            let (times, expr) = keyed(rest, &["at"])?;
            (eval.start_ms, eval.end_ms, eval.expr) = (times[0], times[0], expr.to_owned());
        }
        "range" => {
            let (times, expr) = keyed(rest, &["from", "to", "step"])?;
            (eval.start_ms, eval.end_ms, eval.step_ms, eval.expr) = (times[0], times[1], times[2], expr.to_owned());
            eval.is_range = true;
        }
        _ => return Err(format!("bad eval: {line}")),
    }
    match command {
        "eval" => {}
        "eval_fail" => eval.fail = true,
        "eval_warn" => eval.warnings.push(Text::Any),
        "eval_info" => eval.infos.push(Text::Any),
        "eval_ordered" => eval.ordered = true,
        _ => return Err(format!("bad eval: {line}")),
    }
    for line in block(lines, at) {
        expectation(line, &mut eval)?;
    }
    Ok(Command::Eval(Box::new(eval)))
}

fn expectation(line: &str, eval: &mut Eval) -> Parsed<()> {
    let fail_message = line.strip_prefix("expected_fail_message").map(|text| Text::Is(text.trim().to_owned()));
    let fail_regex = line.strip_prefix("expected_fail_regexp").map(|text| Text::Matches(text.trim().to_owned()));
    if let Some(text) = fail_message.or(fail_regex) {
        eval.fail_texts.push(text);
    } else if let Some(text) = line.strip_prefix("expect range vector") {
        let (times, _) = keyed(text, &["from", "to", "step"])?;
        (eval.start_ms, eval.end_ms, eval.step_ms) = (times[0], times[1], times[2]);
        eval.is_range_vector = true;
    } else if let Some(text) = line.strip_prefix("expect string ") {
        eval.string = Some(quoted(&mut text.trim_start())?);
    } else if let Some(text) = line.strip_prefix("expect ") {
        expect(text, eval)?;
    } else if let Ok(scalar) = number(line) {
        eval.scalar = Some(scalar);
    } else {
        eval.expected.push(series(line)?);
    }
    Ok(())
}

fn expect(text: &str, eval: &mut Eval) -> Parsed<()> {
    let (kind, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let want = match rest.trim().split_once(':') {
        Some(("msg", text)) => Text::Is(text.trim().to_owned()),
        Some(("regex", text)) => Text::Matches(text.trim().to_owned()),
        _ => Text::Any,
    };
    match kind {
        "ordered" => eval.ordered = true,
        "fail" => {
            eval.fail = true;
            eval.fail_texts.push(want);
        }
        "warn" => eval.warnings.push(want),
        "info" => eval.infos.push(want),
        "no_warn" => eval.no_warnings = true,
        "no_info" => eval.no_infos = true,
        _ => return Err(format!("bad expect: {text}")),
    }
    Ok(())
}
