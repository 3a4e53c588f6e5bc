use super::*;
use crate::answer::Row;
use tsq::Labels;

/// Compares with a file in `tests/snapshots`; `UPDATE=1` rewrites it.
pub(super) fn check(name: &str, got: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, got).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(got, want, "{name}: run with UPDATE=1 and look at the diff");
}

pub(super) const START: i64 = 1_795_551_300_000;

pub(super) const PLAIN: Screen = Screen { width: 80, height: 20, colour: false };

fn line(name: &str, values: impl IntoIterator<Item = (i64, f64)>) -> Line {
    let labels = Labels::from_pairs([("__name__", "train_loss"), ("run", name)]).unwrap();
    let points = values.into_iter().map(|(step, value)| (START + step * 15_000, Point::Float(value))).collect();
    Line { labels, points }
}

pub(super) fn span(steps: i64) -> Option<Span> {
    Some(Span { start_ms: START, end_ms: START + steps * 15_000, step_ms: 15_000 })
}

#[test]
fn several_series_cross() {
    let down = line("a", (0..=240).map(|i| (i, 3.0 * (-0.012 * i as f64).exp() + 0.2)));
    let wave = line("b", (0..=240).map(|i| (i, 1.5 + (i as f64 / 20.0).sin())));
    check("plot_two.txt", &chart(&[down, wave], span(240), PLAIN));
}

#[test]
fn colours_are_for_terminals() {
    let rising = line("a", (0..=60).map(|i| (i, i as f64)));
    let falling = line("b", (0..=60).map(|i| (i, 60.0 - i as f64)));
    let screen = Screen { colour: true, width: 60, height: 14 };
    check("plot_colour.txt", &chart(&[rising, falling], span(60), screen));
}

/// A line through a gap would show values nobody measured.
#[test]
fn gaps_nan_and_infinities_are_seen() {
    let value = |i: i64| match i {
        30 => f64::INFINITY,
        60 => f64::NEG_INFINITY,
        90..100 => f64::NAN,
        _ => i as f64,
    };
    let holes = (0..=240).filter(|i| !(120..180).contains(i) && *i != 200 && *i != 202).map(|i| (i, value(i)));
    check("plot_gaps.txt", &chart(&[line("a", holes)], span(240), PLAIN));
}

#[test]
fn odd_ranges_are_drawn() {
    let text = [
        chart(&[line("constant", (0..=10).map(|i| (i, 7.0)))], span(10), PLAIN),
        chart(&[line("zero", [(0, 0.0)])], span(0), PLAIN),
        chart(&[line("huge", [(0, f64::MIN), (1, f64::MAX)])], span(1), PLAIN),
        chart(&[line("tiny", (0..=10).map(|i| (i, 1e-12 * i as f64)))], span(10), PLAIN),
        chart(&[line("close", (0..=10).map(|i| (i, 1000.0 + 0.001 * i as f64)))], span(10), PLAIN),
        chart(
            &[line("narrow", (0..=500).map(|i| (i, i as f64)))],
            span(500),
            Screen { width: 20, height: 8, colour: false },
        ),
    ];
    check("plot_ranges.txt", &text.join("\n"));
}

#[test]
fn nothing_to_draw_is_said() {
    let nan = line("a", (0..5).map(|i| (i, f64::NAN)));
    assert_eq!(chart(&[], None, PLAIN), "no data in this range\n");
    assert_eq!(chart(&[], span(10), PLAIN), "no data in this range\n");
    assert!(chart(&[nan], span(5), PLAIN).contains("5 NaN"));
    assert_eq!(bars(&[], PLAIN), "no data at this time\n");
}

#[test]
fn more_series_than_markers_are_counted() {
    let lines: Vec<_> = (0..11).map(|n| line(&n.to_string(), (0..=60).map(|i| (i, (n * i) as f64)))).collect();
    let text = chart(&lines, span(60), Screen { width: 100, height: 30, colour: false });
    assert!(text.contains("3 more series are not drawn"), "{text}");
    assert!(text.lines().count() < 30, "{text}");
}

#[test]
fn every_screen_and_value_is_survived() {
    let wild = [f64::MAX, f64::MIN, 0.0, -0.0, 5e-324, f64::NAN, f64::INFINITY, 1.0, -1e300];
    let times = [i64::MIN / 4, -1, 0, 1, START, i64::MAX / 4];
    for width in [1, 20, 57, 300] {
        for height in [1, 8, 60] {
            let screen = Screen { width, height, colour: false };
            let points = times.iter().zip(wild.iter().cycle().skip(width % 9)).map(|(t, v)| (*t, Point::Float(*v)));
            let series = Line { labels: Labels::empty(), points: points.collect() };
            let _ = chart(std::slice::from_ref(&series), None, screen);
            let (start_ms, end_ms) = (times[0], times[5]);
            let _ = chart(&[series], Some(Span { start_ms, end_ms, step_ms: 1 }), screen);
        }
    }
}

#[test]
fn bars_have_lengths_and_signs() {
    let row = |name: &str, value: f64| Row {
        labels: Labels::from_pairs([("__name__", "gpu_power_watts"), ("gpu", name)]).unwrap(),
        time_ms: START,
        point: Point::Float(value),
    };
    let rows = [row("0", 700.0), row("1", 351.3), row("2", 0.0), row("3", -200.0), row("4", f64::NAN), row("5", 88.0)];
    check("plot_bars.txt", &bars(&rows, PLAIN));
}
