//! Answers as JSON: the shape of Prometheus's HTTP API, or one line per series.

use std::io::{self, Write};

use tsq::Labels;
use tsq::promql::{format_plain, format_value};

use crate::answer::{Distribution, Line, Outcome, Point, Row, Shown};
use crate::failure::Result;

/// The whole answer as the API gives it.
pub(super) fn write(outcome: &Outcome, out: &mut dyn Write) -> Result<()> {
    let kind = match &outcome.shown {
        Shown::Scalar(..) => "scalar",
        Shown::Text(..) => "string",
        Shown::Vector(_) => "vector",
        Shown::Matrix(_) => "matrix",
    };
    write!(out, r#"{{"status":"success","data":{{"resultType":"{kind}","result":"#)?;
    match &outcome.shown {
        Shown::Scalar(time_ms, value) => pair(out, *time_ms, &format_plain(*value))?,
        Shown::Text(time_ms, text) => pair(out, *time_ms, text)?,
        Shown::Vector(rows) => list(out, rows, row)?,
        Shown::Matrix(lines) => list(out, lines, line)?,
    }
    write!(out, "}}")?;
    for (name, notes) in [("warnings", &outcome.warnings), ("infos", &outcome.infos)] {
        if !notes.is_empty() {
            write!(out, ",\"{name}\":")?;
            list(out, notes, |out, note| string(out, note))?;
        }
    }
    Ok(writeln!(out, "}}")?)
}

/// One line per series.
pub(super) fn write_lines(shown: &Shown, out: &mut dyn Write) -> Result<()> {
    let end = |out: &mut dyn Write, written: io::Result<()>| written.and_then(|()| writeln!(out));
    match shown {
        Shown::Scalar(time_ms, value) => {
            let written = pair(out, *time_ms, &format_plain(*value));
            end(out, written)?;
        }
        Shown::Text(time_ms, text) => {
            let written = pair(out, *time_ms, text);
            end(out, written)?;
        }
        Shown::Vector(rows) => {
            for element in rows {
                let written = row(out, element);
                end(out, written)?;
            }
        }
        Shown::Matrix(lines) => {
            for series in lines {
                let written = line(out, series);
                end(out, written)?;
            }
        }
    }
    Ok(())
}

fn row(out: &mut dyn Write, row: &Row) -> io::Result<()> {
    labels(out, &row.labels)?;
    match &row.point {
        Point::Float(value) => {
            write!(out, ",\"value\":")?;
            pair(out, row.time_ms, &format_value(*value))?;
        }
        Point::Histogram(histogram) => {
            write!(out, ",\"histogram\":")?;
            histogram_pair(out, row.time_ms, histogram)?;
        }
    }
    write!(out, "}}")
}

fn line(out: &mut dyn Write, line: &Line) -> io::Result<()> {
    labels(out, &line.labels)?;
    let (mut floats, mut histograms) = (Vec::new(), Vec::new());
    for (time_ms, point) in &line.points {
        match point {
            Point::Float(value) => floats.push((*time_ms, *value)),
            Point::Histogram(histogram) => histograms.push((*time_ms, histogram)),
        }
    }
    if !floats.is_empty() {
        write!(out, ",\"values\":")?;
        list(out, &floats, |out, (time_ms, value)| pair(out, *time_ms, &format_value(*value)))?;
    }
    if !histograms.is_empty() {
        write!(out, ",\"histograms\":")?;
        list(out, &histograms, |out, (time_ms, histogram)| histogram_pair(out, *time_ms, histogram))?;
    }
    write!(out, "}}")
}

/// `{"metric":{...}`, the object left open.
fn labels(out: &mut dyn Write, labels: &Labels) -> io::Result<()> {
    write!(out, "{{\"metric\":{{")?;
    for (index, (name, value)) in labels.iter().enumerate() {
        if index > 0 {
            write!(out, ",")?;
        }
        string(out, name)?;
        write!(out, ":")?;
        string(out, value)?;
    }
    write!(out, "}}")
}

fn pair(out: &mut dyn Write, time_ms: i64, text: &str) -> io::Result<()> {
    write!(out, "[{},", seconds(time_ms))?;
    string(out, text)?;
    write!(out, "]")
}

fn histogram_pair(out: &mut dyn Write, time_ms: i64, histogram: &Distribution) -> io::Result<()> {
    let (count, sum) = (format_value(histogram.count), format_value(histogram.sum));
    write!(out, r#"[{},{{"count":"{count}","sum":"{sum}""#, seconds(time_ms))?;
    write!(out, "}}]")
}

fn list<T>(
    out: &mut dyn Write,
    items: &[T],
    mut write_one: impl FnMut(&mut dyn Write, &T) -> io::Result<()>,
) -> io::Result<()> {
    write!(out, "[")?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            write!(out, ",")?;
        }
        write_one(out, item)?;
    }
    write!(out, "]")
}

fn string(out: &mut dyn Write, text: &str) -> io::Result<()> {
    Ok(serde_json::to_writer(out, text)?)
}

/// Seconds since 1970, with milliseconds where there are any.
fn seconds(time_ms: i64) -> String {
    let sign = if time_ms < 0 { "-" } else { "" };
    let (seconds, ms) = (time_ms.unsigned_abs() / 1000, time_ms.unsigned_abs() % 1000);
    if ms == 0 { format!("{sign}{seconds}") } else { format!("{sign}{seconds}.{ms:03}") }
}
