//! Answers as text.

mod csv;
mod json;
pub(crate) mod plot;
mod table;

use crate::answer::{Outcome, Point, Row, Shown};
use crate::args::OutputFormat;
use crate::console::Console;
use crate::failure::{Failure, Result};

/// Writes an answer to standard output.
pub(crate) fn render(
    outcome: &Outcome,
    format: OutputFormat,
    span: Option<plot::Span>,
    console: &mut Console,
) -> Result<()> {
    match format {
        OutputFormat::Table => table::write(&outcome.shown, console),
        OutputFormat::Json => json::write(outcome, &mut console.out),
        OutputFormat::Jsonl => json::write_lines(&outcome.shown, &mut console.out),
        OutputFormat::Csv => csv::write(&outcome.shown, &mut console.out),
        OutputFormat::Plot => draw(&outcome.shown, span, console),
    }
}

fn draw(shown: &Shown, span: Option<plot::Span>, console: &mut Console) -> Result<()> {
    let screen = plot::Screen { width: console.width, height: console.height, colour: console.colour };
    let text = match shown {
        Shown::Matrix(lines) => plot::chart(lines, span, screen),
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
        Point::Histogram(h) => {
            format!("count={} sum={}", tsq::promql::format_value(h.count), tsq::promql::format_value(h.sum))
        }
    }
}
