//! A grid of braille cells: two dots across and four down each.

use super::{MARKERS, painted};

/// Bits of the dots of a cell, by column and row.
const DOTS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    dots: u8,
    /// A character instead of the dots.
    over: Option<char>,
    series: usize,
}

#[derive(Debug)]
pub(super) struct Canvas {
    columns: usize,
    cells: Vec<Cell>,
}

impl Canvas {
    pub(super) fn new(columns: usize, rows: usize) -> Self {
        Self { columns, cells: vec![Cell::default(); columns * rows] }
    }

    /// Dots across and down.
    pub(super) fn dots(&self) -> (usize, usize) {
        (self.columns * 2, self.cells.len() / self.columns * 4)
    }

    fn cell(&mut self, x: usize, y: usize) -> Option<&mut Cell> {
        let column = x / 2;
        if column < self.columns { self.cells.get_mut(y / 4 * self.columns + column) } else { None }
    }

    /// Sets a dot; what lies outside is not seen.
    pub(super) fn dot(&mut self, x: usize, y: usize, series: usize) {
        if let Some(cell) = self.cell(x, y) {
            cell.dots |= DOTS[x % 2][y % 4];
            cell.series = series;
        }
    }

    /// Sets the dots between two points, one in each column or row, whichever are more.
    pub(super) fn line(&mut self, from: (usize, usize), to: (usize, usize), series: usize) {
        let steps = from.0.abs_diff(to.0).max(from.1.abs_diff(to.1)).max(1);
        let between = |a: usize, b: usize, step: usize| {
            let share = step as f64 / steps as f64;
            (a as f64 + (b as f64 - a as f64) * share).round() as usize
        };
        for step in 0..=steps {
            self.dot(between(from.0, to.0, step), between(from.1, to.1, step), series);
        }
    }

    /// Puts a series' marker over a dot.
    pub(super) fn marker(&mut self, x: usize, y: usize, series: usize) {
        if let Some(cell) = self.cell(x, y).filter(|cell| cell.over.is_none()) {
            cell.over = Some(MARKERS[series % MARKERS.len()]);
            cell.series = series;
        }
    }

    /// An arrow at the top or the bottom: the value is infinite.
    pub(super) fn mark_edge(&mut self, x: usize, up: bool, series: usize) {
        let y = if up { 0 } else { self.dots().1 - 1 };
        if let Some(cell) = self.cell(x, y) {
            *cell = Cell { dots: 0, over: Some(if up { '↑' } else { '↓' }), series };
        }
    }

    /// A row of characters, without blanks at the end.
    pub(super) fn row(&self, row: usize, colour: bool) -> String {
        let cells = &self.cells[row * self.columns..(row + 1) * self.columns];
        let filled = cells.iter().rposition(|cell| cell.over.is_some() || cell.dots != 0).map_or(0, |last| last + 1);
        let mut text = String::new();
        // Neighbours of one series share their colour codes.
        for run in cells[..filled].chunk_by(|a, b| a.shown().is_some() && b.shown().is_some() && a.series == b.series) {
            let shown: String = run.iter().map(|cell| cell.shown().unwrap_or(' ')).collect();
            if run[0].shown().is_some() {
                text.push_str(&painted(&shown, run[0].series, colour));
            } else {
                text.push_str(&shown);
            }
        }
        text
    }
}

impl Cell {
    /// What stands in the cell, if anything does.
    fn shown(&self) -> Option<char> {
        let braille = || char::from_u32(0x2800 + u32::from(self.dots)).filter(|_| self.dots != 0);
        self.over.or_else(braille)
    }
}
