//! Heatmaps: how the values of histograms are distributed over time. Time goes to the right, values go up, and the
//! shade of a cell says how many observations fell into it.

use std::collections::BTreeMap;

use tsq::Labels;

use super::axis::{TimeAxis, short};
use super::{Screen, Span, shortened, span_of};
use crate::answer::{Bucket, Line, Point};
use crate::render::common::Common;
use crate::units::format_count;

/// Heatmaps drawn below each other.
const MAPS_MAX: usize = 3;

/// Rows of a heatmap, at least.
const ROWS_MIN: usize = 4;

/// Shades without colours, from few to many.
const RAMP: [char; 9] = ['.', ':', '-', '=', '+', '*', '#', '%', '@'];

/// Shades with colours of the 256-colour palette: dark blue over violet and red to pale yellow.
const COLOURS: [u8; 9] = [17, 54, 90, 126, 161, 203, 209, 222, 230];

/// Heights of a sparkline.
const SPARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Buckets of one histogram over time.
#[derive(Debug)]
struct Histogram {
    labels: Labels,
    steps: Vec<(i64, Vec<Bucket>)>,
}

/// Draws series that are histograms; none if they are anything else. Histograms are native ones, and what is left of
/// classic ones after an aggregation or a function: series without a name that differ in `le`.
pub(crate) fn heatmaps(lines: &[Line], span: Option<Span>, screen: Screen) -> Option<String> {
    let histograms = native(lines).or_else(|| classic(lines))?;
    let span = span.or_else(|| span_of(lines))?;
    let drawn = &histograms[..histograms.len().min(MAPS_MAX)];
    let common = Common::of(drawn.iter().map(|histogram| &histogram.labels));
    let mut text = common.title(screen.width);
    // Below each: the axis, its labels, the sparkline, the legend, and a title; and the prompt that follows.
    let rows_max = (screen.height.saturating_sub(2) / drawn.len()).saturating_sub(5).max(ROWS_MIN);
    for histogram in drawn {
        if drawn.len() > 1 || !histogram.labels.is_empty() {
            text.push_str(&format!("{}\n", shortened(&common.rest(&histogram.labels), screen.width)));
        }
        text.push_str(&draw(histogram, span, rows_max, screen));
    }
    if histograms.len() > drawn.len() {
        let more = format_count((histograms.len() - drawn.len()) as u64);
        text.push_str(&format!("{more} more histograms are not drawn: narrow the query\n"));
    }
    Some(text)
}

fn native(lines: &[Line]) -> Option<Vec<Histogram>> {
    let steps = |line: &Line| {
        let step = |(time_ms, point): &(i64, Point)| match point {
            Point::Histogram { buckets, .. } => Some((*time_ms, buckets.clone())),
            Point::Float(_) => None,
        };
        line.points.iter().map(step).collect::<Option<Vec<_>>>()
    };
    let histogram = |line: &Line| Some(Histogram { labels: line.labels.clone(), steps: steps(line)? });
    lines.iter().map(histogram).collect::<Option<Vec<_>>>().filter(|all| !all.is_empty())
}

fn classic(lines: &[Line]) -> Option<Vec<Histogram>> {
    let mut groups: BTreeMap<Labels, Vec<(f64, &Line)>> = BTreeMap::new();
    for line in lines {
        let bound: f64 = line.labels.get("le")?.parse().ok().filter(|bound: &f64| !bound.is_nan())?;
        if !line.labels.metric_name().is_empty() {
            return None;
        }
        groups.entry(line.labels.without(|name| name == "le")).or_default().push((bound, line));
    }
    let groups: Vec<_> = groups.into_iter().collect();
    let is_family = |(_, buckets): &(Labels, Vec<(f64, &Line)>)| buckets.len() > 1;
    if groups.is_empty() || !groups.iter().all(is_family) {
        return None;
    }
    Some(groups.into_iter().map(|(labels, buckets)| Histogram { labels, steps: differences(buckets) }).collect())
}

/// Buckets of their own from those that count everything below a bound.
fn differences(mut buckets: Vec<(f64, &Line)>) -> Vec<(i64, Vec<Bucket>)> {
    buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut steps: BTreeMap<i64, Vec<(f64, f64)>> = BTreeMap::new();
    for (bound, line) in buckets {
        for (time_ms, point) in &line.points {
            steps.entry(*time_ms).or_default().push((bound, point.float()));
        }
    }
    let step = |(time_ms, below): (i64, Vec<(f64, f64)>)| {
        // Below the first bound lies what is above zero, if the bound is.
        let first = below.first().map_or(0.0, |(bound, _)| if *bound > 0.0 { 0.0 } else { f64::NEG_INFINITY });
        let (mut low, mut counted) = (first, 0.0);
        let bucket = |(high, count): (f64, f64)| {
            let bucket = Bucket { low, high, count: count - counted };
            (low, counted) = (high, count);
            bucket
        };
        (time_ms, below.into_iter().map(bucket).collect())
    };
    steps.into_iter().map(step).collect()
}

/// Cells of a heatmap: columns of rows from the lowest values up.
struct Cells {
    /// Bounds between rows, one more than there are rows.
    edges: Vec<f64>,
    columns: Vec<Vec<f64>>,
}

fn draw(histogram: &Histogram, span: Span, rows_max: usize, screen: Screen) -> String {
    let Some(edges) = edges(histogram, rows_max) else { return "no observations in this range\n".into() };
    let labels: Vec<String> = edges[1..].iter().map(|edge| label(*edge)).collect();
    let gutter = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let columns = screen.width.saturating_sub(gutter + 2).max(10);
    let cells = Cells::new(histogram, edges, span, columns);
    let largest = cells.columns.iter().flatten().copied().fold(0.0, f64::max);
    let mut text = String::new();
    for (row, label) in labels.iter().enumerate().rev() {
        let shades: Vec<Option<usize>> = cells.columns.iter().map(|column| shade(column[row], largest)).collect();
        text.push_str(&format!("{label:>gutter$} ┤{}\n", shaded(&shades, screen.colour)));
    }
    text.push_str(&TimeAxis { span, columns }.text(gutter + 1));
    text.push_str(&format!("{:>gutter$}  {}\n", "", cells.sparkline()));
    text.push_str(&legend(&cells, largest, screen.colour));
    text
}

/// A bound as a label; the value of a row lies at or below it.
fn label(edge: f64) -> String {
    if edge == f64::INFINITY { "+Inf".into() } else { short(edge) }
}

/// Bounds of rows: those of all buckets with observations; some are left out where there are too many.
fn edges(histogram: &Histogram, rows_max: usize) -> Option<Vec<f64>> {
    let filled = histogram.steps.iter().flat_map(|(_, buckets)| buckets).filter(|bucket| bucket.count > 0.0);
    let mut all: Vec<f64> = filled.flat_map(|bucket| [bucket.low, bucket.high]).filter(|edge| !edge.is_nan()).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    let rows = all.len().checked_sub(1).filter(|rows| *rows > 0)?;
    if rows <= rows_max {
        return Some(all);
    }
    Some((0..=rows_max).map(|row| all[row * rows / rows_max]).collect())
}

impl Cells {
    fn new(histogram: &Histogram, edges: Vec<f64>, span: Span, count: usize) -> Self {
        let rows = edges.len() - 1;
        let range_ms = span.end_ms.saturating_sub(span.start_ms).max(1) as f64;
        // A step goes from half a step before its time to half a step behind it.
        let column = |time_ms: f64| (time_ms - span.start_ms as f64) / range_ms * (count - 1) as f64;
        let half_ms = span.step_ms as f64 / 2.0;
        let mut columns = vec![vec![0.0; rows]; count];
        let mut steps_in = vec![0_u32; count];
        for (time_ms, buckets) in &histogram.steps {
            let (from, to) = (column(*time_ms as f64 - half_ms), column(*time_ms as f64 + half_ms));
            let from = (from.round().max(0.0) as usize).min(count - 1);
            let to = (to.round().max(0.0) as usize).clamp(from + 1, count.max(from + 1));
            let step = spread(buckets, &edges);
            for at in from..to.min(count) {
                steps_in[at] += 1;
                columns[at].iter_mut().zip(&step).for_each(|(cell, count)| *cell += count);
            }
        }
        // Several steps in one column: their mean.
        for (column, steps) in columns.iter_mut().zip(steps_in) {
            column.iter_mut().for_each(|cell| *cell /= f64::from(steps.max(1)));
        }
        Self { edges, columns }
    }

    /// Totals of the columns as a line of small bars.
    fn sparkline(&self) -> String {
        let totals: Vec<f64> = self.columns.iter().map(|column| column.iter().sum()).collect();
        let largest = totals.iter().copied().fold(0.0, f64::max);
        let spark = |total: f64| match total {
            total if total > 0.0 => SPARKS[((total / largest * 8.0).ceil() as usize).clamp(1, 8) - 1],
            _ => ' ',
        };
        totals.into_iter().map(spark).collect::<String>().trim_end().to_owned()
    }
}

/// Observations of buckets in the rows between edges; a bucket over several rows is spread evenly.
fn spread(buckets: &[Bucket], edges: &[f64]) -> Vec<f64> {
    let mut rows = vec![0.0; edges.len() - 1];
    for bucket in buckets.iter().filter(|bucket| bucket.count > 0.0 && bucket.count.is_finite()) {
        let width = bucket.high - bucket.low;
        let first = edges.partition_point(|edge| *edge <= bucket.low).saturating_sub(1).min(rows.len() - 1);
        for row in first..rows.len() {
            let (low, high) = (edges[row].max(bucket.low), edges[row + 1].min(bucket.high));
            if bucket.high <= edges[row + 1] && row == first || !width.is_finite() || width <= 0.0 {
                rows[row] += bucket.count;
                break;
            }
            if low >= bucket.high {
                break;
            }
            rows[row] += bucket.count * ((high - low) / width).max(0.0);
        }
    }
    rows
}

/// The shade of a cell; none for an empty one. By the square root, so that few observations are seen beside many.
fn shade(count: f64, largest: f64) -> Option<usize> {
    (count > 0.0).then(|| (((count / largest).sqrt() * RAMP.len() as f64).ceil() as usize).clamp(1, RAMP.len()) - 1)
}

fn shaded(shades: &[Option<usize>], colour: bool) -> String {
    let filled = shades.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    let mut text = String::new();
    // Neighbours of one shade share their colour codes.
    for run in shades[..filled].chunk_by(|a, b| a == b) {
        match run[0] {
            None => text.push_str(&" ".repeat(run.len())),
            Some(shade) if colour => {
                text.push_str(&format!("\x1b[38;5;{}m{}\x1b[0m", COLOURS[shade], "█".repeat(run.len())));
            }
            Some(shade) => text.extend(std::iter::repeat_n(RAMP[shade], run.len())),
        }
    }
    text
}

fn legend(cells: &Cells, largest: f64, colour: bool) -> String {
    let ramp: Vec<Option<usize>> = (0..RAMP.len()).map(Some).collect();
    let lowest = cells.edges[0];
    let above = if lowest.is_finite() { format!("values above {}, ", short(lowest)) } else { String::new() };
    format!(
        "{} to {} in a cell; {above}rows up to their label; below: all of them\n",
        shaded(&ramp, colour),
        short(largest)
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{PLAIN, START, check, span};
    use super::*;

    fn bucket(low: f64, high: f64, count: f64) -> Bucket {
        Bucket { low, high, count }
    }

    fn cumulative(le: &str, count: impl Fn(i64) -> f64) -> Line {
        let labels = Labels::from_pairs([("le", le)]).unwrap();
        let points = (0..=60).map(|step| (START + step * 15_000, Point::Float(count(step)))).collect();
        Line { labels, points }
    }

    /// Observations move from 0.1 to 1 and become more.
    fn family() -> Vec<Line> {
        vec![
            cumulative("+Inf", |step| 20.0 + step as f64),
            cumulative("0.1", |step| (10 - step).max(0) as f64),
            cumulative("0.5", |step| (40 - step).max(0) as f64),
            cumulative("1", |step| 20.0 + step as f64),
            cumulative("2.5", |step| 20.0 + step as f64),
        ]
    }

    #[test]
    fn classic_histograms_are_heatmaps() {
        check("heatmap_classic.txt", &heatmaps(&family(), span(60), PLAIN).unwrap());
        let colour = Screen { colour: true, width: 60, height: 14 };
        check("heatmap_colour.txt", &heatmaps(&family(), span(60), colour).unwrap());
    }

    #[test]
    fn native_histograms_are_heatmaps() {
        let centre = |step: i64| ((step as f64 / 8.0).sin() * 6.0) as i32;
        let buckets = |step: i64| {
            let at = |index: i32| {
                let distance = f64::from((index - centre(step)).abs());
                bucket(2_f64.powi(index - 1), 2_f64.powi(index), (30.0 - 10.0 * distance).max(0.0))
            };
            (-10..=10).map(at).collect::<Vec<_>>()
        };
        let point = |step: i64| Point::Histogram { count: 1.0, sum: 1.0, buckets: buckets(step) };
        let points = (0..=240).filter(|step| !(100..130).contains(step));
        let line = Line {
            labels: Labels::from_pairs([("model", "a")]).unwrap(),
            points: points.map(|step| (START + step * 15_000, point(step))).collect(),
        };
        check("heatmap_native.txt", &heatmaps(std::slice::from_ref(&line), span(240), PLAIN).unwrap());
        let low = Screen { height: 8, ..PLAIN };
        assert!(heatmaps(&[line], span(240), low).unwrap().lines().count() <= ROWS_MIN + 6);
    }

    #[test]
    fn other_series_are_none() {
        let plain = cumulative("1", |_| 1.0);
        assert!(heatmaps(std::slice::from_ref(&plain), span(60), PLAIN).is_none(), "one bucket is no histogram");
        let named =
            |le: &str| Line { labels: Labels::from_pairs([("__name__", "b"), ("le", le)]).unwrap(), ..plain.clone() };
        assert!(heatmaps(&[named("1"), named("2")], span(60), PLAIN).is_none(), "counters as they are stored");
        let other = Line { labels: Labels::from_pairs([("le", "low")]).unwrap(), ..plain.clone() };
        assert!(heatmaps(&[plain, other], span(60), PLAIN).is_none());
        assert!(heatmaps(&[], span(60), PLAIN).is_none());
    }

    #[test]
    fn empty_and_odd_histograms_are_drawn() {
        let histogram = |buckets: Vec<Bucket>| {
            let labels = Labels::empty();
            Line { labels, points: vec![(START, Point::Histogram { count: 0.0, sum: 0.0, buckets })] }
        };
        let drawn = |buckets: Vec<Bucket>| heatmaps(&[histogram(buckets)], span(0), PLAIN).unwrap();
        assert!(drawn(Vec::new()).contains("no observations"));
        assert!(drawn(vec![bucket(0.0, 1.0, f64::NAN)]).contains("no observations"));
        for odd in [
            vec![bucket(f64::NEG_INFINITY, f64::INFINITY, 1.0)],
            vec![bucket(-1.0, 1.0, f64::INFINITY), bucket(1.0, 2.0, 1.0)],
            vec![bucket(-f64::MAX, f64::MAX, 1.0), bucket(0.0, 1.0, 2.0)],
            vec![bucket(1.0, 0.0, 1.0)],
        ] {
            assert!(drawn(odd.clone()).contains('┤'), "{odd:?}");
        }
    }

    #[test]
    fn wide_buckets_are_spread_over_rows() {
        let edges = [0.0, 1.0, 2.0, 4.0, f64::INFINITY];
        assert_eq!(spread(&[bucket(0.0, 4.0, 8.0)], &edges), [2.0, 2.0, 4.0, 0.0]);
        assert_eq!(spread(&[bucket(1.0, 2.0, 3.0), bucket(4.0, f64::INFINITY, 5.0)], &edges), [0.0, 3.0, 0.0, 5.0]);
        assert_eq!(spread(&[bucket(1.2, 1.4, 3.0)], &edges), [0.0, 3.0, 0.0, 0.0]);
    }
}
