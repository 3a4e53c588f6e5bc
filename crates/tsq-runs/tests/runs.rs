//! What is logged is found again: after a restart, after a crash, on every axis.

use tsq_core::{Db, Kind, Matcher, Options, Samples, Source, TimeRange};
use tsq_runs::{
    AxisName, Cursor, ErrorKind, History, Logged, ModelLink, NewRun, Pair, Point, RichValue, RunChange, Runs,
};

struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> Runs {
        let db = Db::open(self.dir.path(), Options { background: false, ..Options::default() }).unwrap();
        Runs::open(db, 1_000).unwrap()
    }
}

fn new_run(runs: &Runs, name: &str) -> String {
    let new = NewRun { name: Some(name), start_ms: Some(1_000), source: "mlflow", ..NewRun::default() };
    runs.catalog().create_run(&new).unwrap().info.run_id
}

fn log(runs: &Runs, id: &str, points: &[(&str, i64, i64, f64)]) {
    let points: Vec<_> =
        points.iter().map(|&(key, time_ms, step, value)| Point { key, time_ms, step, value }).collect();
    runs.log(id, &Logged { points: &points, ..Logged::default() }).unwrap();
}

fn pair(key: &str, value: &str) -> Pair {
    (key.to_owned(), value.to_owned())
}

fn latest(runs: &Runs, id: &str) -> Vec<(String, i64, i64, f64)> {
    let run = runs.run(id).unwrap();
    run.metrics.into_iter().map(|metric| (metric.key, metric.time_ms, metric.step, metric.value)).collect()
}

/// The process ended without closing anything: the catalog's cache lacks what was logged last, the engine does not.
#[test]
fn latest_values_survive_a_crash() {
    let home = Home::new();
    let runs = home.open();
    let id = new_run(&runs, "a");
    // The times of points are the client's: far in the future too.
    log(&runs, &id, &[("loss", 5, 1, 0.5), ("loss", 4_102_444_800_000, 0, 0.9), ("acc", 5, 1, f64::NAN)]);
    let copy = tempfile::tempdir().unwrap();
    copy_all(home.dir.path(), copy.path());
    let home_after = Home { dir: copy };
    let crashed = home_after.open();
    let want = latest(&runs, &id);
    assert_eq!((want[1].0.as_str(), want[1].3), ("loss", 0.5));
    let found = latest(&crashed, &id);
    assert_eq!(format!("{found:?}"), format!("{want:?}"));
    let searched = crashed
        .search(
            &tsq_runs::RunSearch { experiments: &[0], filter: "metrics.loss = 0.5", ..Default::default() },
            &tsq_runs::Page { limit: 10, offset: 0 },
        )
        .unwrap();
    assert_eq!(searched.0[0].info.run_id, id);
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn what_is_refused_leaves_nothing() {
    let home = Home::new();
    let runs = home.open();
    let id = new_run(&runs, "a");
    let params = [pair("lr", "0.1")];
    let point = [Point { key: "loss", time_ms: 5, step: 0, value: 1.0 }];
    runs.log(&id, &Logged { params: &params, ..Logged::default() }).unwrap();
    runs.log(&id, &Logged { params: &params, ..Logged::default() }).unwrap();
    let other = [pair("opt", "sgd"), pair("lr", "0.2")];
    let refused = runs.log(&id, &Logged { params: &other, points: &point, ..Logged::default() }).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    for (key, time_ms) in [("a//b", 5), ("loss", -1)] {
        let points = [point[0], Point { key, time_ms, step: 0, value: 1.0 }];
        let logged = Logged { points: &points, params: &[pair("new", "1")], ..Logged::default() };
        assert_eq!(runs.log(&id, &logged).unwrap_err().kind(), ErrorKind::Invalid, "{key} {time_ms}");
    }
    let run = runs.run(&id).unwrap();
    assert_eq!(run.params, params);
    assert!(run.metrics.is_empty());
    runs.delete_run(&id, 7).unwrap();
    let deleted = runs.log(&id, &Logged { points: &point, ..Logged::default() }).unwrap_err();
    assert!(deleted.message().contains("active"), "{deleted}");
    runs.restore_run(&id).unwrap();
    runs.log(&id, &Logged { points: &point, ..Logged::default() }).unwrap();
    assert_eq!(runs.log("nobody", &Logged::default()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn histories_come_in_order_and_in_pages() {
    let home = Home::new();
    let runs = home.open();
    let id = new_run(&runs, "a");
    let mut points: Vec<(&str, i64, i64, f64)> = Vec::new();
    for step in 0..50 {
        points.push(("loss", 100 + step / 20, step, step as f64));
    }
    log(&runs, &id, &points);
    runs.db().flush().unwrap();
    points.reverse();
    log(&runs, &id, &points);
    log(&runs, &id, &[("loss", 99, 7, -1.0)]);
    let snapshot = runs.db().snapshot().unwrap();
    let (mut found, mut from) = (Vec::new(), Cursor::default());
    loop {
        let (page, next) = History::page(&snapshot, &id, "loss", from, 7).unwrap();
        found.extend(page.steps.iter().copied().zip(page.values));
        let Some(next) = next else { break };
        from = next;
    }
    let want: Vec<_> = std::iter::once((7, -1.0)).chain((0..50).map(|step| (step, step as f64))).collect();
    assert_eq!(found, want);
    let sampled = History::sampled(&snapshot, &id, "loss", (i64::MIN, i64::MAX), 5).unwrap();
    assert_eq!((sampled.steps[0], sampled.steps[4], sampled.len()), (0, 49, 5));
    let some = History::sampled(&snapshot, &id, "loss", (10, 12), 5).unwrap();
    assert_eq!(some.steps, [10, 11, 12]);
    assert!(History::page(&snapshot, &id, "none", Cursor::default(), 7).unwrap().0.is_empty());
}

#[test]
fn names_are_joined_and_follow_renames() {
    let home = Home::new();
    let runs = home.open();
    let catalog = runs.catalog();
    let experiment = catalog.create_experiment("mnist", None, &[], 5).unwrap();
    let (first, second) = (new_run(&runs, "one"), new_run(&runs, "two"));
    let third = catalog
        .create_run(&NewRun {
            experiment,
            name: Some("three"),
            source: "mlflow",
            start_ms: Some(4_000),
            ..NewRun::default()
        })
        .unwrap()
        .info
        .run_id;
    for id in [&first, &second, &third] {
        log(&runs, id, &[("loss", 10_000, 0, 1.0), ("loss", 10_500, 1, 0.5), ("loss", 11_000, 2, 0.25)]);
    }
    let mut batch = runs.db().batch();
    batch.series(Kind::Float, &tsq_core::Labels::from_pairs([("__name__", "loss"), ("experiment", "own")]).unwrap());
    batch.float(10_000, 7.0);
    runs.db().append(&batch).unwrap();
    let select = |axis: AxisName, matchers: &[Matcher]| {
        let source = runs.source(axis, 300_000).unwrap();
        let mut stream = source.select(matchers, TimeRange::ALL).unwrap();
        let (mut found, mut samples) = (Vec::new(), Samples::default());
        loop {
            let batch = stream.next_batch(2).unwrap();
            if batch.is_empty() {
                break;
            }
            for series in batch {
                let kind = series.kinds().next().unwrap();
                series.read(kind, TimeRange::ALL, &mut samples).unwrap();
                let label = |name| series.labels().get(name).unwrap_or("").to_owned();
                found.push((label("experiment"), label("run_name"), samples.times.clone()));
            }
        }
        found
    };
    let loss = [Matcher::equal("__name__", "loss")];
    let all = select(AxisName::Wall, &loss);
    let names: Vec<_> = all.iter().map(|series| (series.0.as_str(), series.1.as_str())).collect();
    let mut default = [("Default", "one"), ("Default", "two")];
    if first > second {
        default.reverse();
    }
    assert_eq!(names, [default[0], default[1], ("mnist", "three"), ("own", "")]);
    let by = |name: &str, value: &str| [loss[0].clone(), Matcher::equal(name, value)];
    assert_eq!(select(AxisName::Wall, &by("experiment", "own")).len(), 1);
    assert_eq!(select(AxisName::Step, &by("run_name", "three"))[0].2, [0, 1000, 2000]);
    assert_eq!(select(AxisName::Elapsed, &by("run_name", "three"))[0].2, [6_000, 6_500, 7_000]);
    assert_eq!(select(AxisName::Step, &loss).len(), 3);
    assert_eq!(select(AxisName::Wall, &by("__axis__", "step"))[0].2, [0, 1000, 2000]);
    let source = runs.source(AxisName::Wall, 1).unwrap();
    assert!(source.select(&by("__axis__", "sideways"), TimeRange::ALL).is_err());
    assert_eq!(source.label_values("run_name", &[], TimeRange::ALL).unwrap(), ["one", "three", "two"]);
    assert_eq!(source.label_values("__name__", &by("run_name", "one")[1..], TimeRange::ALL).unwrap(), ["loss"]);
    catalog.update_run(&first, &RunChange { name: Some("uno"), ..RunChange::default() }).unwrap();
    assert_eq!(select(AxisName::Wall, &by("run_name", "one")).len(), 0);
    assert_eq!(select(AxisName::Wall, &by("run_name", "uno")).len(), 1);
    let info = select(AxisName::Wall, &[Matcher::equal("__name__", "run_info"), Matcher::equal("experiment", "mnist")]);
    assert_eq!(info.len(), 1);
}

#[test]
fn what_is_no_float_is_kept_beside() {
    let home = Home::new();
    let runs = home.open();
    let id = new_run(&runs, "a");
    let number = runs.catalog().run_info(&id).unwrap().id;
    let value = |step: i64, value: &str| RichValue {
        key: "text".to_owned(),
        step,
        time_ms: 5,
        kind: "json".to_owned(),
        value: value.as_bytes().to_vec(),
    };
    runs.catalog().put_rich_values(number, &[value(1, "\"a\""), value(2, "true"), value(1, "\"b\"")]).unwrap();
    assert_eq!(runs.catalog().rich_values(number, Some("text"), 0, 1).unwrap(), [value(1, "\"b\"")]);
    assert_eq!(runs.catalog().rich_values(number, None, 0, 9).unwrap().len(), 2);
    assert!(runs.catalog().rich_values(number, Some("none"), 0, 9).unwrap().is_empty());
    runs.catalog().link_models(&id, true, &[ModelLink { model_id: "m-1".to_owned(), step: 3 }]).unwrap();
    assert_eq!(runs.run(&id).unwrap().model_outputs[0].step, 3);
}
