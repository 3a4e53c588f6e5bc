//! Answers as CSV: a column for every label that occurs, then time and value.

use std::collections::BTreeSet;
use std::io::{self, Write};

use tsq::Labels;
use tsq::promql::format_plain;

use super::show_point;
use crate::answer::{Point, Shown};
use crate::failure::Result;
use crate::units::format_moment;

/// Writes the header and one line per sample.
pub(super) fn write(shown: &Shown, out: &mut dyn Write) -> Result<()> {
    match shown {
        Shown::Scalar(time_ms, value) => single(*time_ms, &format_plain(*value), out)?,
        Shown::Text(time_ms, text) => single(*time_ms, text, out)?,
        Shown::Vector(rows) => {
            let names = header(rows.iter().map(|row| &row.labels), out)?;
            for row in rows {
                sample(&names, &row.labels, row.time_ms, &row.point, out)?;
            }
        }
        Shown::Matrix(lines) => {
            let names = header(lines.iter().map(|line| &line.labels), out)?;
            for line in lines {
                for (time_ms, point) in &line.points {
                    sample(&names, &line.labels, *time_ms, point, out)?;
                }
            }
        }
    }
    Ok(())
}

fn single(time_ms: i64, value: &str, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "time,value\n{},{}\n", format_moment(time_ms), field(value))
}

fn header<'a>(sets: impl Iterator<Item = &'a Labels>, out: &mut dyn Write) -> io::Result<Vec<&'a str>> {
    let names: BTreeSet<&str> = sets.flat_map(|labels| labels.iter().map(|(name, _)| name)).collect();
    for name in &names {
        write!(out, "{},", field(name))?;
    }
    writeln!(out, "time,value")?;
    Ok(names.into_iter().collect())
}

fn sample(names: &[&str], labels: &Labels, time_ms: i64, point: &Point, out: &mut dyn Write) -> io::Result<()> {
    for name in names {
        write!(out, "{},", field(labels.get(name).unwrap_or("")))?;
    }
    writeln!(out, "{},{}", format_moment(time_ms), field(&show_point(point)))
}

/// A field, quoted where commas, quotes or line ends ask for it.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
