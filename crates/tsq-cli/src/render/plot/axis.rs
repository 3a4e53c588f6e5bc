//! Axes: where values and times lie, and the labels at round ones.

use super::Span;
use crate::units::civil;

/// The range of values, and the distance between labels.
#[derive(Clone, Copy, Debug)]
pub(super) struct ValueAxis {
    min: f64,
    max: f64,
    tick: f64,
}

/// Distances between labels that are aimed at.
const TICKS: f64 = 4.0;

impl ValueAxis {
    /// An axis from one round value to another that holds all values; none if there is no value.
    pub(super) fn around(values: impl Iterator<Item = f64>) -> Option<Self> {
        let (min, max) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), v| (min.min(v), max.max(v)));
        if min > max {
            return None;
        }
        // One value only: it lies in the middle.
        let around = if min == 0.0 { 1.0 } else { min.abs() / 2.0 };
        let (min, max) = if min < max { (min, max) } else { (min - around, max + around) };
        let tick = round_tick((max / TICKS - min / TICKS).max(f64::MIN_POSITIVE));
        let (low, high) = ((min / tick).floor() * tick, (max / tick).ceil() * tick);
        let sound = low.is_finite() && high.is_finite() && tick.is_finite() && low < high;
        if sound {
            Some(Self { min: low, max: high, tick })
        } else {
            Some(Self { min, max, tick: max / 2.0 - min / 2.0 })
        }
    }

    /// Where a value lies: 0 at the lower end, 1 at the upper. Halved, so that a range from the lowest to the highest
    /// float does not pass through infinity.
    pub(super) fn fraction(&self, value: f64) -> f64 {
        (value / 2.0 - self.min / 2.0) / (self.max / 2.0 - self.min / 2.0)
    }

    /// A label for each row from the top, empty for most. So many rows that labels stand at equal distances, at most
    /// `rows_max`.
    pub(super) fn labels(&self, rows_max: usize) -> Vec<String> {
        let ticks = ((self.max / 2.0 - self.min / 2.0) / (self.tick / 2.0)).round().max(1.0) as usize;
        let every = (rows_max.saturating_sub(1) / ticks).max(1);
        let label = |row: usize| {
            let share = (row / every) as f64 / ticks as f64;
            let value = self.max * (1.0 - share) + self.min * share;
            if row.is_multiple_of(every) { self.label(value) } else { String::new() }
        };
        (0..=ticks * every).map(label).collect()
    }

    /// A value with as many decimals as the distance of the labels asks for.
    fn label(&self, value: f64) -> String {
        let size = self.min.abs().max(self.max.abs());
        let value = if value.abs() < self.tick / 1e6 { 0.0 } else { value };
        if !(1e-4..1e7).contains(&size) {
            return short(value);
        }
        // 0.25 needs a decimal more than its size tells.
        let decimals = (0..9).find(|decimals| {
            let scaled = self.tick * 10_f64.powi(*decimals);
            (scaled - scaled.round()).abs() < 1e-6 * scaled
        });
        format!("{value:.*}", decimals.unwrap_or(9) as usize)
    }
}

/// The next larger of 1, 2, 2.5 and 5 times a power of ten.
fn round_tick(distance: f64) -> f64 {
    let power = 10_f64.powf(distance.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|tick| *tick >= distance).unwrap_or(distance)
}

/// A value in few characters: six significant digits, with an exponent when it is very large or small.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        return "0".into();
    }
    let (text, exponent) = if (1e-4..1e9).contains(&size) {
        let decimals = (5.0 - size.log10().floor()).clamp(0.0, 9.0) as usize;
        (format!("{value:.decimals$}"), String::new())
    } else {
        let text = format!("{value:.3e}");
        let (digits, exponent) = text.split_once('e').expect("the format writes an exponent");
        (digits.to_owned(), format!("e{exponent}"))
    };
    let digits = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{digits}{exponent}")
}

/// The times from left to right.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeAxis {
    pub span: Span,
    pub columns: usize,
}

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Distances between labels in milliseconds.
const TICKS_MS: [i64; 24] = [
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    30 * DAY,
    90 * DAY,
    365 * DAY,
];

impl TimeAxis {
    /// Two lines: the axis with ticks at round times, and their labels in UTC.
    pub(super) fn text(&self, indent: usize) -> String {
        let Span { start_ms, end_ms, .. } = self.span;
        let range_ms = end_ms.saturating_sub(start_ms).max(1);
        let width = self.label(start_ms, range_ms).chars().count() + 2;
        let labels_max = (self.columns / width).max(1) as i64;
        let fits = |tick: &i64| range_ms / tick < labels_max;
        let tick_ms = TICKS_MS.into_iter().find(fits).unwrap_or(range_ms);
        let (mut axis, mut labels) = (vec!['─'; self.columns], vec![' '; self.columns]);
        let mut time_ms = start_ms.div_euclid(tick_ms).saturating_mul(tick_ms);
        while time_ms <= end_ms {
            if time_ms >= start_ms {
                self.place(time_ms, range_ms, &mut axis, &mut labels);
            }
            time_ms = time_ms.saturating_add(tick_ms);
            if time_ms == i64::MAX {
                break;
            }
        }
        let blank = " ".repeat(indent);
        let line = |chars: Vec<char>| chars.into_iter().collect::<String>();
        format!("{blank}└{}\n{blank} {} UTC\n", line(axis), line(labels).trim_end())
    }

    fn place(&self, time_ms: i64, range_ms: i64, axis: &mut [char], labels: &mut [char]) {
        let share = (time_ms - self.span.start_ms) as f64 / range_ms as f64;
        let column = (share * (self.columns - 1) as f64).round() as usize;
        axis[column] = '┬';
        let label: Vec<char> = self.label(time_ms, range_ms).chars().collect();
        // Room for the " UTC" behind the last label.
        let from = column.saturating_sub(label.len() / 2).min(self.columns.saturating_sub(label.len() + 4));
        let before = from.saturating_sub(1);
        let room = labels.get_mut(before..from + label.len());
        if let Some(room) = room.filter(|room| room.iter().all(|c| *c == ' ')) {
            let skip = from - before;
            room[skip..].copy_from_slice(&label);
        }
    }

    fn label(&self, time_ms: i64, range_ms: i64) -> String {
        let c = civil(time_ms);
        if range_ms < 10 * MINUTE {
            format!("{:02}:{:02}:{:02}", c.hour, c.minute, c.second)
        } else if range_ms < 36 * HOUR {
            format!("{:02}:{:02}", c.hour, c.minute)
        } else if range_ms < 14 * DAY {
            format!("{:02}-{:02} {:02}:{:02}", c.month, c.day, c.hour, c.minute)
        } else {
            format!("{}-{:02}-{:02}", c.year, c.month, c.day)
        }
    }
}
