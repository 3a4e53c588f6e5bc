//! Running scripts against the engine, in memory.

use std::time::Duration;

use regex::Regex;
use tsq_core::{Db, Histogram, Kind, Options, stale_nan};
use tsq_promql::{
    Answer, Engine, EngineOptions, MatrixSeries, QueryErrorKind, QueryOptions, SampleValue, Value, VectorElement,
};

use crate::compare::{self, Compared};
use crate::script::{Command, Eval, Loaded, Text};
use crate::series::Item;

/// What became of one `eval`.
pub(crate) struct Outcome {
    pub line: usize,
    pub expr: String,
    /// Why it fails.
    pub problem: Option<String>,
    /// Texts of errors and annotations that differ.
    pub soft: Vec<String>,
}

struct Store {
    // Dropped after the database.
    _directory: tempfile::TempDir,
    db: Db,
}

impl Store {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let db = Db::open(directory.path(), Options::default()).expect("an empty directory opens");
        Self { db, _directory: directory }
    }

    fn load(&self, series: &[Loaded]) {
        let mut batch = self.db.batch();
        for loaded in series {
            let mut kind = None;
            for (time, item) in &loaded.points {
                // A staleness marker ends what the series was before.
                let item_kind = match item {
                    Item::Omitted => continue,
                    Item::Histogram(_) => Kind::Histogram,
                    Item::Float(_) => Kind::Float,
                    Item::Stale => Kind::Float,
                };
                if kind != Some(item_kind) {
                    batch.series(item_kind, &loaded.labels);
                    kind = Some(item_kind);
                }
                match item {
                    Item::Omitted => {}
                    Item::Float(value) => batch.float(*time, *value),
                    Item::Stale => batch.float(*time, stale_nan()),
                    Item::Histogram(native) => batch.histogram(*time, native.to_histogram()),
                }
                batch.start(loaded.starts.get(time).copied().unwrap_or(0));
            }
        }
        let appended = self.db.append(&batch).expect("the batch is written");
        assert_eq!(appended.rejected, 0, "{:?}", appended.rejections);
    }
}

/// Runs all commands of a script.
pub(crate) fn run(commands: &[Command]) -> Vec<Outcome> {
    let mut store = Store::new();
    let mut outcomes = Vec::new();
    for command in commands {
        match command {
            Command::Clear => store = Store::new(),
            Command::Load(series) => store.load(series),
            Command::Eval(eval) => {
                let mut soft = Vec::new();
                let problem = check(&store.db, eval, &mut soft).err();
                outcomes.push(Outcome { line: eval.line, expr: eval.expr.clone(), problem, soft });
            }
        }
    }
    outcomes
}

fn check(db: &Db, eval: &Eval, soft: &mut Vec<String>) -> Compared {
    let engine = Engine::default();
    let snapshot = db.snapshot().map_err(|error| error.to_string())?;
    let options = QueryOptions::default();
    let answer = if eval.is_range {
        engine.range(&snapshot, &eval.expr, eval.start_ms, eval.end_ms, eval.step_ms, &options)
    } else {
        engine.instant(&snapshot, &eval.expr, eval.end_ms, &options)
    };
    let answer = match (answer, eval.fail) {
        (Ok(_), true) => return Err("expected an error, got an answer".to_owned()),
        (Err(error), true) => {
            if !matches!(error.kind, QueryErrorKind::BadData | QueryErrorKind::Execution) {
                return Err(format!("expected a mistake of the query, got {error:?}"));
            }
            let differing = eval.fail_texts.iter().filter(|text| !is_text(text, &error.message));
            soft.extend(differing.map(|text| format!("error: expected {text:?}, got {:?}", error.message)));
            return Ok(());
        }
        (Err(error), false) => return Err(format!("{error:?}")),
        (Ok(answer), false) => answer,
    };
    if eval.is_range {
        match &answer.value {
            Value::Matrix(series) => compare::matrix(eval, series)?,
            other => return Err(format!("expected a matrix, got {other:?}")),
        }
    } else {
        compare::instant(eval, &answer.value)?;
    }
    annotations(eval, &answer, soft)?;
    let depends_on_query = ["start()", "end()", "range()", "step()"].iter().any(|call| eval.expr.contains(call));
    if !eval.is_range && !eval.is_range_vector && eval.string.is_none() && !eval.ordered && !depends_on_query {
        let (start, end) = (eval.start_ms - 60_000, eval.start_ms + 60_000);
        let answer = engine.range(&snapshot, &eval.expr, start, end, 60_000, &options);
        let answer = answer.map_err(|error| format!("as range query: {error:?}"))?;
        as_range(eval, &answer).map_err(|error| format!("as range query: {error}"))?;
    }
    Ok(())
}

/// Runs all commands of a script and evaluates each query with several numbers of threads, every batch of series being
/// split among them. What differs from a single thread.
pub(crate) fn differing_answers(commands: &[Command]) -> Vec<String> {
    let engines = [1, 2, 5].map(|threads| {
        Engine::new(EngineOptions { threads, parallel_from: Duration::ZERO, ..EngineOptions::default() })
    });
    let mut store = Store::new();
    let mut differing = Vec::new();
    for command in commands {
        match command {
            Command::Clear => store = Store::new(),
            Command::Load(series) => store.load(series),
            Command::Eval(eval) => {
                let snapshot = store.db.snapshot().expect("it is open");
                let (start, end) = (eval.start_ms - 60_000, eval.end_ms + 60_000);
                let answers = engines.each_ref().map(|engine| {
                    let options = QueryOptions::default();
                    let instant = engine.instant(&snapshot, &eval.expr, eval.end_ms, &options);
                    let range = engine.range(&snapshot, &eval.expr, start, end, eval.step_ms.max(15_000), &options);
                    [instant, range].map(|answer| {
                        answer.map(|answer| format!("{:?}", (answer.value, answer.warnings, answer.infos)))
                    })
                });
                if answers.iter().any(|answer| *answer != answers[0]) {
                    differing.push(format!("line {}: {}\n    {answers:?}", eval.line, eval.expr));
                }
            }
        }
    }
    differing
}

/// The middle step of a range query around the time must be the same.
fn as_range(eval: &Eval, answer: &Answer) -> Compared {
    let Value::Matrix(all) = &answer.value else { return Err("expected a matrix".to_owned()) };
    let element = |series: &MatrixSeries| {
        let time_ms = eval.start_ms;
        let at = |time: i64| time == time_ms;
        let float = series.floats.iter().find(|point| at(point.0)).map(|point| SampleValue::Float(point.1));
        let histogram = |point: &(i64, Histogram)| SampleValue::Histogram(Box::new(point.1.clone()));
        let value = float.or_else(|| series.histograms.iter().find(|point| at(point.0)).map(histogram))?;
        Some(VectorElement { labels: series.labels.clone(), time_ms, value })
    };
    let elements: Vec<VectorElement> = all.iter().filter_map(element).collect();
    match (eval.scalar, elements.as_slice()) {
        (None, elements) => compare::vector(eval, elements),
        (Some(want), [only]) => compare::sample(&Item::Float(want), &only.value),
        (Some(_), elements) => Err(format!("expected one series, got {}", elements.len())),
    }
}

fn annotations(eval: &Eval, answer: &Answer, soft: &mut Vec<String>) -> Compared {
    for (name, want, none, got) in [
        ("warning", &eval.warnings, eval.no_warnings, &answer.warnings),
        ("info", &eval.infos, eval.no_infos, &answer.infos),
    ] {
        if !want.is_empty() && got.is_empty() {
            return Err(format!("expected {name}, got none"));
        }
        if none && !got.is_empty() {
            return Err(format!("unexpected {name}: {got:?}"));
        }
        for text in want.iter().filter(|text| !got.iter().any(|got| is_text(text, got))) {
            soft.push(format!("{name}: expected {text:?}, got {got:?}"));
        }
        for got in got.iter().filter(|got| !want.is_empty() && !want.iter().any(|text| is_text(text, got))) {
            soft.push(format!("{name}: not expected {got:?}"));
        }
    }
    Ok(())
}

fn is_text(want: &Text, got: &str) -> bool {
    match want {
        Text::Any => true,
        Text::Is(want) => got == want || got.contains(want.as_str()),
        Text::Matches(pattern) => Regex::new(pattern).map_or(true, |pattern| pattern.is_match(got)),
    }
}
