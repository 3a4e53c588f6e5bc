//! Bars: one for each element of an instant vector.

use super::axis::short;
use super::{Screen, painted, shortened};
use crate::answer::{Point, Row};
use crate::render::common::Common;
use crate::units::format_count;

/// Eighths of a character, from one to seven.
const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// A line per element: its labels, a bar from zero, its value. As many as the screen has lines.
pub(crate) fn bars(rows: &[Row], screen: Screen) -> String {
    if rows.is_empty() {
        return "no data at this time\n".into();
    }
    let drawn = &rows[..rows.len().min(screen.height.saturating_sub(3).max(1))];
    let texts: Vec<String> = drawn.iter().map(|row| shown(&row.point)).collect();
    let common = Common::of(drawn.iter().map(|row| &row.labels));
    let names: Vec<String> = drawn.iter().map(|row| common.rest(&row.labels)).collect();
    let widest = |texts: &[String]| texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
    let name_width = widest(&names).min(screen.width / 2);
    let bar_width = screen.width.saturating_sub(name_width + widest(&texts) + 3).max(4);
    let largest = drawn.iter().map(|row| row.point.float().abs()).filter(|v| v.is_finite()).fold(0.0, f64::max);
    let mut text = common.title(screen.width);
    for ((row, name), value) in drawn.iter().zip(&names).zip(&texts) {
        let bar = painted(&bar(row.point.float(), largest, bar_width), 0, screen.colour);
        text.push_str(&format!("{:<name_width$} {bar} {value}\n", shortened(name, name_width)));
    }
    if rows.len() > drawn.len() {
        let more = format_count((rows.len() - drawn.len()) as u64);
        text.push_str(&format!("{more} more are not drawn: narrow the query, for example with topk(10, ...)\n"));
    }
    text
}

fn shown(point: &Point) -> String {
    match point {
        Point::Float(value) if value.is_finite() => short(*value),
        other => super::super::show_point(other),
    }
}

/// A bar as long as the value is large; negative values get a hollow one, what is not finite none.
fn bar(value: f64, largest: f64, width: usize) -> String {
    if !value.is_finite() || largest == 0.0 {
        return String::new();
    }
    let eighths = (value.abs() / largest * (width * 8) as f64).round() as usize;
    if value < 0.0 {
        return "░".repeat((eighths / 8).max(1));
    }
    let mut bar = "█".repeat(eighths / 8);
    bar.extend((eighths % 8).checked_sub(1).map(|part| EIGHTHS[part]));
    bar
}
