//! Times as people write them.

use crate::number::parse_seconds;

/// How a time column is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimeUnit {
    /// Found out field by field: a date is RFC 3339; of plain numbers, those below 10^11 are seconds, below 10^14
    /// milliseconds, below 10^17 microseconds, else nanoseconds. So milliseconds before March 1973 need their unit named.
    #[default]
    Auto,
    /// Decimal seconds since 1970.
    Seconds,
    /// Milliseconds since 1970, an integer.
    Milliseconds,
    /// Microseconds since 1970, an integer, rounded down to milliseconds.
    Microseconds,
    /// Nanoseconds since 1970, an integer, rounded down to milliseconds.
    Nanoseconds,
    /// `2023-11-14T22:13:20.123Z`; a blank may stand for the T, an offset such as `+01:00` for the Z, and seconds, time
    /// of day and zone (then UTC) may be missing. Below milliseconds is cut off.
    Rfc3339,
}

impl TimeUnit {
    /// Names on the command line.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("auto", Self::Auto),
        ("s", Self::Seconds),
        ("ms", Self::Milliseconds),
        ("us", Self::Microseconds),
        ("ns", Self::Nanoseconds),
        ("rfc3339", Self::Rfc3339),
    ];

    /// The time in milliseconds.
    pub(super) fn parse(self, text: &str) -> Option<i64> {
        let integer = || text.strip_prefix('+').unwrap_or(text).parse::<i64>().ok();
        match self {
            Self::Auto => Self::detect(text).parse(text),
            Self::Seconds => parse_seconds(text),
            Self::Milliseconds => integer(),
            Self::Microseconds => integer().map(|time| time.div_euclid(1000)),
            Self::Nanoseconds => integer().map(|time| time.div_euclid(1_000_000)),
            Self::Rfc3339 => parse_date(text),
        }
    }

    fn detect(text: &str) -> Self {
        if text.get(1..).is_some_and(|rest| rest.contains('-') && !rest.contains(['e', 'E'])) {
            return Self::Rfc3339;
        }
        match text.parse::<i64>().map(i64::unsigned_abs) {
            Err(_) | Ok(0..100_000_000_000) => Self::Seconds,
            Ok(..100_000_000_000_000) => Self::Milliseconds,
            Ok(..100_000_000_000_000_000) => Self::Microseconds,
            Ok(_) => Self::Nanoseconds,
        }
    }
}

fn parse_date(text: &str) -> Option<i64> {
    let mut rest = text;
    let year = digits(&mut rest, 4)?;
    skip(&mut rest, "-")?;
    let month = digits(&mut rest, 2)?;
    skip(&mut rest, "-")?;
    let day = digits(&mut rest, 2)?;
    let month_days = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=month_days).contains(&day) {
        return None;
    }
    let mut ms = days_since_1970(year, month, day) * 86_400_000;
    if rest.is_empty() {
        return Some(ms);
    }
    skip(&mut rest, "T").or_else(|| skip(&mut rest, "t")).or_else(|| skip(&mut rest, " "))?;
    ms += time_of_day(&mut rest)?;
    Some(ms - zone(rest)?)
}

fn time_of_day(rest: &mut &str) -> Option<i64> {
    let hour = digits(rest, 2)?;
    skip(rest, ":")?;
    let minute = digits(rest, 2)?;
    let mut ms = hour * 3_600_000 + minute * 60_000;
    let mut second = 0;
    if skip(rest, ":").is_some() {
        second = digits(rest, 2)?;
        ms += second * 1000;
    }
    if skip(rest, ".").is_some() {
        let len = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (fraction, after) = rest.split_at(len);
        let digit = |index: usize| fraction.as_bytes().get(index).map_or(0, |byte| i64::from(byte - b'0'));
        ms += digit(0) * 100 + digit(1) * 10 + digit(2);
        *rest = after;
        if fraction.is_empty() {
            return None;
        }
    }
    // A leap second is the first moment of the next minute.
    (hour < 24 && minute < 60 && second <= 60).then_some(ms)
}

/// Milliseconds that a zone is ahead of UTC.
fn zone(text: &str) -> Option<i64> {
    let mut rest = text.trim_start_matches(' ');
    if matches!(rest, "" | "Z" | "z" | "UTC") {
        return Some(0);
    }
    let sign = match skip(&mut rest, "+") {
        Some(()) => 1,
        None => {
            skip(&mut rest, "-")?;
            -1
        }
    };
    let hours = digits(&mut rest, 2)?;
    skip(&mut rest, ":");
    let minutes = if rest.is_empty() { 0 } else { digits(&mut rest, 2)? };
    (rest.is_empty() && hours < 24 && minutes < 60).then_some(sign * (hours * 3_600_000 + minutes * 60_000))
}

fn digits(rest: &mut &str, count: usize) -> Option<i64> {
    let (text, after) = rest.split_at_checked(count)?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    *rest = after;
    text.parse().ok()
}

fn skip(rest: &mut &str, prefix: &str) -> Option<()> {
    *rest = rest.strip_prefix(prefix)?;
    Some(())
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from March, so that the leap day is the
/// last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,468 days lie between March 1 of the year 0 and 1970-01-01.
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_unit() {
        for (unit, text, want) in [
            (TimeUnit::Auto, "1700000000", Some(1_700_000_000_000)),
            (TimeUnit::Auto, "1700000000.25", Some(1_700_000_000_250)),
            (TimeUnit::Auto, "1700000000123", Some(1_700_000_000_123)),
            (TimeUnit::Auto, "1700000000123456", Some(1_700_000_000_123)),
            (TimeUnit::Auto, "1700000000123456789", Some(1_700_000_000_123)),
            (TimeUnit::Auto, "1.7e9", Some(1_700_000_000_000)),
            (TimeUnit::Auto, "-5", Some(-5000)),
            (TimeUnit::Auto, "2023-11-14T22:13:20Z", Some(1_700_000_000_000)),
            (TimeUnit::Auto, "2023-11-14 23:13:20.123456+01:00", Some(1_700_000_000_123)),
            (TimeUnit::Auto, "2023-11-14T17:13-0500", Some(1_700_000_000_000 - 20_000)),
            (TimeUnit::Auto, "1970-01-01", Some(0)),
            (TimeUnit::Auto, "2024-02-29", Some(1_709_164_800_000)),
            (TimeUnit::Auto, "2023-02-29", None),
            (TimeUnit::Auto, "2023-13-01", None),
            (TimeUnit::Auto, "2023-11-14T24:00:00Z", None),
            (TimeUnit::Auto, "2023-11-14T10:00:00 CET", None),
            (TimeUnit::Auto, "noon", None),
            (TimeUnit::Auto, "", None),
            (TimeUnit::Milliseconds, "5", Some(5)),
            (TimeUnit::Milliseconds, "5.5", None),
            (TimeUnit::Seconds, "1700000000123", Some(1_700_000_000_123_000)),
            (TimeUnit::Microseconds, "-1", Some(-1)),
            (TimeUnit::Rfc3339, "0001-01-01T00:00:00Z", Some(-62_135_596_800_000)),
            (TimeUnit::Rfc3339, "9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
            (TimeUnit::Rfc3339, "1700000000", None),
        ] {
            assert_eq!(unit.parse(text), want, "{unit:?} {text:?}");
        }
    }
}
