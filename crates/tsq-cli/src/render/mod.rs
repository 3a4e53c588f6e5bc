//! Answers as text.

mod common;
mod csv;
pub(crate) mod plan;
pub(crate) mod plot;
mod table;

pub(crate) use table::text_table;

use crate::answer::{Answer, Point, Row, Shown};
use crate::args::OutputFormat;
use crate::console::Console;
use crate::failure::{Failure, Result};

/// Writes an answer to standard output, in other forms than its own JSON. Gives whether there was anything to write.
pub(crate) fn render(
    answer: &Answer<'_>,
    format: OutputFormat,
    span: Option<plot::Span>,
    console: &mut Console,
) -> Result<bool> {
    if format == OutputFormat::Jsonl || format == OutputFormat::Json {
        let pieces = answer.pieces()?;
        for piece in &pieces {
            writeln!(console.out, "{piece}")?;
        }
        return Ok(!pieces.is_empty());
    }
    let shown = answer.shown()?;
    match format {
        OutputFormat::Csv => csv::write(&shown, &mut console.out)?,
        OutputFormat::Plot => draw(&shown, span, console)?,
        _ => table::write(&shown, console)?,
    }
    Ok(!shown.is_empty())
}

fn draw(shown: &Shown, span: Option<plot::Span>, console: &mut Console) -> Result<()> {
    let screen = plot::Screen { width: console.width, height: console.height, colour: console.colour };
    let text = match shown {
        Shown::Matrix(lines) => plot::heatmaps(lines, span, screen).unwrap_or_else(|| plot::chart(lines, span, screen)),
        Shown::Vector(rows) => plot::bars(rows, screen),
        Shown::Scalar(time_ms, value) => {
            let row = Row { labels: tsq::Labels::empty(), time_ms: *time_ms, point: Point::Float(*value) };
            plot::bars(&[row], screen)
        }
        Shown::Text(..) => return Err(Failure::usage("a string cannot be drawn; leave -o plot out")),
    };
    Ok(console.out.write_all(text.as_bytes())?)
}

/// What is shown for a value in tables and CSV.
fn show_point(point: &Point) -> String {
    match point {
        Point::Float(value) => tsq::promql::format_value(*value),
        Point::Histogram { count, sum, .. } => {
            format!("count={} sum={}", tsq::promql::format_value(*count), tsq::promql::format_value(*sum))
        }
    }
}
