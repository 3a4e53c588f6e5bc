//! Charts for the terminal: lines in braille dots over time, heatmaps of histograms, bars for an instant.
//!
//! A chart hides nothing quietly: a gap in the data is a gap in the line, infinities are arrows at the edge they go to,
//! and what is left out (NaN, histograms, series beyond the first few) is said below the chart.

mod axis;
mod bars;
mod canvas;
mod heatmap;

use crate::answer::{Line, Point};
use crate::render::common::Common;
use crate::units::format_count;
use axis::{TimeAxis, ValueAxis};
use canvas::Canvas;

pub(crate) use bars::bars;
pub(crate) use heatmap::heatmaps;

/// Room for a chart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    pub width: usize,
    pub height: usize,
    pub colour: bool,
}

/// The times that a range query asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub start_ms: i64,
    pub end_ms: i64,
    pub step_ms: i64,
}

/// Marks of series, also where colours tell them apart: charts get printed and copied.
const MARKERS: [char; 8] = ['●', '■', '▲', '◆', '○', '□', '△', '◇'];

/// Colours of series: blue, orange, green, red, violet, cyan, yellow, grey of the 256-colour palette.
const COLOURS: [u8; 8] = [33, 208, 34, 160, 135, 37, 178, 245];

/// Draws series over time. More series than there are markers are counted, not drawn.
pub(crate) fn chart(lines: &[Line], span: Option<Span>, screen: Screen) -> String {
    let drawn = &lines[..lines.len().min(MARKERS.len())];
    if drawn.is_empty() {
        return "no data in this range\n".into();
    }
    let finite = |line: &Line| line.points.iter().map(|(_, point)| point.float()).filter(|v| v.is_finite()).collect();
    let values: Vec<Vec<f64>> = drawn.iter().map(finite).collect();
    let Some(span) = span.or_else(|| span_of(drawn)) else { return "no data in this range\n".into() };
    let Some(axis) = ValueAxis::around(values.iter().flatten().copied()) else {
        return format!("nothing to draw: no finite value\n{}", legend(lines, drawn.len(), screen));
    };
    let legend = legend(lines, drawn.len(), screen);
    // A line for the title, one for the axis, one for its labels, one for the prompt that follows.
    let labels = axis.labels(screen.height.saturating_sub(legend.lines().count() + 4).max(5));
    let rows = labels.len();
    let gutter = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let columns = screen.width.saturating_sub(gutter + 2).max(10);
    let mut canvas = Canvas::new(columns, rows);
    for (index, line) in drawn.iter().enumerate() {
        draw(line, index, span, &axis, &mut canvas);
    }
    let mut text = Common::of(drawn.iter().map(|line| &line.labels)).title(screen.width);
    for (row, label) in labels.iter().enumerate() {
        let tick = if label.is_empty() { '│' } else { '┤' };
        text.push_str(&format!("{label:>gutter$} {tick}{}\n", canvas.row(row, screen.colour)));
    }
    text.push_str(&TimeAxis { span, columns }.text(gutter + 1));
    text.push_str(&legend);
    text
}

/// The times of the samples themselves, for what was selected as a range and has no steps.
fn span_of(lines: &[Line]) -> Option<Span> {
    let times = || lines.iter().flat_map(|line| line.points.iter().map(|(time_ms, _)| *time_ms));
    let (start_ms, end_ms) = (times().min()?, times().max()?);
    let mut steps: Vec<i64> = lines.iter().flat_map(|l| l.points.windows(2).map(|p| p[1].0 - p[0].0)).collect();
    steps.sort_unstable();
    // Raw samples jitter and miss a scrape now and then: a gap is more than two usual distances.
    let step_ms = steps.get(steps.len() / 2).map_or(1, |step| step.saturating_mul(2));
    Some(Span { start_ms, end_ms, step_ms })
}

fn draw(line: &Line, series: usize, span: Span, axis: &ValueAxis, canvas: &mut Canvas) {
    let (dots_across, dots_down) = canvas.dots();
    let range_ms = (span.end_ms - span.start_ms).max(1) as f64;
    let x = |time_ms: i64| ((time_ms - span.start_ms) as f64 / range_ms * (dots_across - 1) as f64).round() as usize;
    let y = |value: f64| ((1.0 - axis.fraction(value)) * (dots_down - 1) as f64).round() as usize;
    let mut last: Option<(i64, usize, usize)> = None;
    let mut middles = Vec::new();
    for (time_ms, point) in &line.points {
        let value = point.float();
        if !value.is_finite() {
            last = None;
            if value.is_infinite() {
                canvas.mark_edge(x(*time_ms), value > 0.0, series);
            }
            continue;
        }
        let (at_x, at_y) = (x(*time_ms), y(value));
        match last {
            Some((before_ms, from_x, from_y)) if time_ms - before_ms <= span.step_ms => {
                canvas.line((from_x, from_y), (at_x, at_y), series);
            }
            _ => canvas.dot(at_x, at_y, series),
        }
        last = Some((*time_ms, at_x, at_y));
        middles.push((at_x, at_y));
    }
    // Markers a quarter of the chart apart, each series shifted a little so that they do not cover each other.
    let shift = dots_across / 4 * series / MARKERS.len();
    for quarter in 0..4 {
        let wanted = dots_across / 8 + dots_across / 4 * quarter + shift;
        let nearest = middles.iter().min_by_key(|(at_x, _)| at_x.abs_diff(wanted));
        if let Some(&(at_x, at_y)) = nearest.filter(|(at_x, _)| at_x.abs_diff(wanted) <= dots_across / 8) {
            canvas.marker(at_x, at_y, series);
        }
    }
}

/// One line per series with its range of values, and what was not drawn.
fn legend(lines: &[Line], drawn: usize, screen: Screen) -> String {
    let mut text = String::new();
    let common = Common::of(lines[..drawn].iter().map(|line| &line.labels));
    for (series, line) in lines[..drawn].iter().enumerate() {
        let mark = painted(&MARKERS[series].to_string(), series, screen.colour);
        let notes = notes(&line.points);
        let room = screen.width.saturating_sub(notes.chars().count() + 4);
        text.push_str(&format!("{mark} {}  {notes}\n", shortened(&common.rest(&line.labels), room)));
    }
    if lines.len() > drawn {
        let more = format_count((lines.len() - drawn) as u64);
        text.push_str(&format!("{more} more series are not drawn: narrow the query, for example with topk(5, ...)\n"));
    }
    text
}

fn notes(points: &[(i64, Point)]) -> String {
    let floats = || {
        points.iter().map(|(_, point)| point).filter_map(|point| match point {
            Point::Float(value) => Some(*value),
            Point::Histogram { .. } => None,
        })
    };
    let finite = || floats().filter(|value| value.is_finite());
    let mut notes = Vec::new();
    if let Some(last) = finite().next_back() {
        let (min, max) = finite().fold((last, last), |(min, max), value| (min.min(value), max.max(value)));
        notes.push(format!("min {} max {} last {}", axis::short(min), axis::short(max), axis::short(last)));
    }
    let count = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}"));
    notes.extend(count(floats().filter(|value| value.is_nan()).count(), "NaN"));
    notes.extend(count(floats().filter(|value| value.is_infinite()).count(), "infinite"));
    notes.extend(count(points.len() - floats().count(), "histograms, not drawn"));
    notes.join(", ")
}

/// Text in the colour of a series.
fn painted(text: &str, series: usize, colour: bool) -> String {
    if colour { format!("\x1b[38;5;{}m{text}\x1b[0m", COLOURS[series % COLOURS.len()]) } else { text.to_owned() }
}

/// At most `room` characters, with an ellipsis for what is cut.
pub(super) fn shortened(text: &str, room: usize) -> String {
    let room = room.max(8);
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
