//! Answers as tables: a column for every label while they fit, else one column with the whole series.

use std::collections::BTreeSet;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use tsq::promql::format_plain;
use tsq::{Labels, METRIC_NAME};

use super::show_point;
use crate::answer::{Line, Row, Shown};
use crate::console::Console;
use crate::failure::Result;
use crate::units::format_moment;

/// Writes an answer.
pub(super) fn write(shown: &Shown, console: &mut Console) -> Result<()> {
    let text = match shown {
        Shown::Scalar(_, value) => format!("{}\n", format_plain(*value)),
        Shown::Text(_, text) => format!("{text}\n"),
        Shown::Vector(rows) => vector(rows, console),
        Shown::Matrix(lines) => matrix(lines, console),
    };
    Ok(console.out.write_all(text.as_bytes())?)
}

fn vector(rows: &[Row], console: &Console) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let sets: Vec<&Labels> = rows.iter().map(|row| &row.labels).collect();
    let cells = |row: usize| vec![show_point(&rows[row].point)];
    labelled(&sets, &["value"], rows.len(), |row| row, cells, console)
}

/// Times down and series across while that fits the width, else one line per sample.
fn matrix(lines: &[Line], console: &Console) -> String {
    if lines.is_empty() {
        return String::new();
    }
    if let Some(text) = pivoted(lines).filter(|text| fits(text, console)) {
        return text;
    }
    let sets: Vec<&Labels> = lines.iter().map(|line| &line.labels).collect();
    let samples: Vec<(usize, usize)> =
        lines.iter().enumerate().flat_map(|(line, l)| (0..l.points.len()).map(move |at| (line, at))).collect();
    let cells = |row: usize| {
        let (line, at) = samples[row];
        let (time_ms, point) = &lines[line].points[at];
        vec![format_moment(*time_ms), show_point(point)]
    };
    labelled(&sets, &["time", "value"], samples.len(), |row| samples[row].0, cells, console)
}

/// Most series that are shown side by side.
const SIDE_BY_SIDE: usize = 8;

fn pivoted(lines: &[Line]) -> Option<String> {
    if lines.len() > SIDE_BY_SIDE {
        return None;
    }
    let times: BTreeSet<i64> = lines.iter().flat_map(|line| line.points.iter().map(|(time_ms, _)| *time_ms)).collect();
    let names = lines.iter().map(|line| line.labels.to_string());
    let header: Vec<String> = std::iter::once("time".to_owned()).chain(names).collect();
    let rows = times.into_iter().map(|time_ms| {
        let at = |line: &Line| {
            let found = line.points.binary_search_by_key(&time_ms, |(time_ms, _)| *time_ms);
            found.map_or_else(|_| String::new(), |at| show_point(&line.points[at].1))
        };
        std::iter::once(format_moment(time_ms)).chain(lines.iter().map(at)).collect()
    });
    Some(text_table(&header, rows, lines.len()))
}

/// A table of `count` rows: the labels of the series that `series_of` names, then `cells`.
fn labelled(
    sets: &[&Labels],
    columns: &[&str],
    count: usize,
    series_of: impl Fn(usize) -> usize,
    cells: impl Fn(usize) -> Vec<String>,
    console: &Console,
) -> String {
    let mut names: Vec<&str> = sets.iter().flat_map(|set| set.iter().map(|(name, _)| name)).collect();
    // The metric name first, the rest by the alphabet.
    names.sort_by_key(|name| (*name != METRIC_NAME, *name));
    names.dedup();
    let value = |set: &Labels, name: &str| set.get(name).unwrap_or("").to_owned();
    let header = names.iter().map(|name| if *name == METRIC_NAME { "metric" } else { name });
    let header: Vec<String> = header.chain(columns.iter().copied()).map(str::to_owned).collect();
    let rows = (0..count).map(|row| {
        let set = sets[series_of(row)];
        names.iter().map(|name| value(set, name)).chain(cells(row)).collect()
    });
    let wide = text_table(&header, rows, 1);
    if fits(&wide, console) {
        return wide;
    }
    let header: Vec<String> = std::iter::once("series").chain(columns.iter().copied()).map(str::to_owned).collect();
    let rows = (0..count).map(|row| std::iter::once(sets[series_of(row)].to_string()).chain(cells(row)).collect());
    text_table(&header, rows, 1)
}

/// Whether a table needs no more columns than the terminal has. What is no terminal takes any width.
fn fits(text: &str, console: &Console) -> bool {
    !console.terminal || text.lines().all(|line| line.chars().count() <= console.width)
}

/// Columns under a header, no borders; the last `numbers` columns are aligned to the right.
pub(crate) fn text_table(header: &[String], rows: impl Iterator<Item = Vec<String>>, numbers: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        let last = index + 1 == header.len();
        column.set_padding((0, if last { 0 } else { 2 }));
        if index + numbers >= header.len() {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
