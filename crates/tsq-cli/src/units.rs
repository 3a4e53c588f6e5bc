//! Durations, moments and sizes as people write them, and back.

use std::time::Duration;

const SECOND: i64 = 1000;
const DAY: i64 = 86_400 * SECOND;

/// Units of a duration, longest first.
const DURATION_UNITS: [(&str, i64); 7] =
    [("y", 365 * DAY), ("w", 7 * DAY), ("d", DAY), ("h", 3600 * SECOND), ("m", 60 * SECOND), ("s", SECOND), ("ms", 1)];

/// Milliseconds of `1h30m`, `15s`, `200ms`, `1.5h`, or a plain number of seconds.
pub(crate) fn parse_duration_ms(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no duration: write 15s, 5m, 1h30m, 7d or a number of seconds");
    if let Ok(seconds) = text.parse::<f64>() {
        return milliseconds(seconds * 1000.0).filter(|ms| *ms > 0).ok_or_else(wrong);
    }
    let (mut rest, mut total_ms, mut last_unit) = (text, 0.0, i64::MAX);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let count: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = DURATION_UNITS.iter().find(|(name, _)| *name == &rest[..letters]).ok_or_else(wrong)?.1;
        if unit >= last_unit {
            return Err(wrong());
        }
        last_unit = unit;
        total_ms += count * unit as f64;
        rest = &rest[letters..];
    }
    milliseconds(total_ms).filter(|ms| *ms > 0).ok_or_else(wrong)
}

pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    parse_duration_ms(text).map(|ms| Duration::from_millis(ms.unsigned_abs()))
}

fn milliseconds(ms: f64) -> Option<i64> {
    let rounded = ms.round();
    (rounded.abs() < 9e18).then_some(rounded as i64)
}

/// The shortest way to write a duration with these units, such as `1h30m`.
pub(crate) fn format_duration_ms(ms: i64) -> String {
    let mut rest = ms.unsigned_abs();
    let mut text = String::from(if ms < 0 { "-" } else { "" });
    for (name, unit) in DURATION_UNITS.iter().filter(|(name, _)| !matches!(*name, "y" | "w")) {
        let count = rest / unit.unsigned_abs();
        if count > 0 {
            text.push_str(&format!("{count}{name}"));
            rest %= unit.unsigned_abs();
        }
    }
    if ms == 0 { "0s".into() } else { text }
}

pub(crate) fn format_duration(duration: Duration) -> String {
    format_duration_ms(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// A time on the command line: fixed, or counted from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Milliseconds since 1970.
    At(i64),
    /// Milliseconds after now, negative for the past.
    FromNow(i64),
}

impl Moment {
    pub(crate) fn resolve(self, now_ms: i64) -> i64 {
        match self {
            Self::At(ms) => ms,
            Self::FromNow(ms) => now_ms.saturating_add(ms),
        }
    }
}

/// `2026-11-24T20:15:00Z`, `2026-11-24`, `1764015300.5`, `now`, `now-15m`, `-15m`, `now+1h`.
pub(crate) fn parse_moment(text: &str) -> Result<Moment, String> {
    let wrong = || {
        format!("{text:?} is no time: write 2026-11-24T20:15:00Z, seconds since 1970, now, or -15m counted from now")
    };
    let relative = text.strip_prefix("now").unwrap_or(text);
    if relative.is_empty() && text == "now" {
        return Ok(Moment::FromNow(0));
    }
    if let Some(back) = relative.strip_prefix('-')
        && let (false, Ok(ms)) = (back.parse::<f64>().is_ok() && text == relative, parse_duration_ms(back))
    {
        return Ok(Moment::FromNow(-ms));
    }
    if let Some(ahead) = relative.strip_prefix('+') {
        return parse_duration_ms(ahead).map(Moment::FromNow).map_err(|_| wrong());
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return milliseconds(seconds * 1000.0).map(Moment::At).ok_or_else(wrong);
    }
    parse_rfc3339(text).map(Moment::At).ok_or_else(wrong)
}

/// Milliseconds since 1970 of a date, a date with a time, or either with an offset. Without one it is UTC.
pub(crate) fn parse_rfc3339(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let mark = |at: usize, marks: &[u8]| text.as_bytes().get(at).is_some_and(|byte| marks.contains(byte));
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let shaped = mark(4, b"-") && mark(7, b"-");
    if !shaped || !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
        return None;
    }
    let midnight_ms = days_from_civil(year, month, day) * DAY;
    if text.len() == 10 {
        return Some(midnight_ms);
    }
    let (hour, minute) = (number(11..13)?, number(14..16)?);
    if !mark(10, b"Tt ") || !mark(13, b":") || hour > 23 || minute > 59 {
        return None;
    }
    let mut rest = text.get(16..)?;
    let mut ms = 0;
    if rest.starts_with(':') {
        let second = number(17..19)?;
        if second > 59 {
            return None;
        }
        ms = second * SECOND;
        rest = text.get(19..)?;
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
        ms += (format!("0.{}", &fraction[..digits]).parse::<f64>().ok()? * 1000.0) as i64;
        rest = if digits > 0 { &fraction[digits..] } else { return None };
    }
    Some(midnight_ms + (hour * 60 + minute) * 60 * SECOND + ms - offset_ms(rest)?)
}

fn offset_ms(text: &str) -> Option<i64> {
    if text.is_empty() || text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match text.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let two = |digits: &str| (digits.len() == 2).then(|| digits.parse::<u8>().ok())?;
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (i64::from(hours) * 60 + i64::from(minutes)) * 60 * SECOND)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days between 1970-01-01 and a date of the proleptic Gregorian calendar. Years are counted from March, so that the
/// leap day is the last of its year and a month's first day is a linear function of the month.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + carry, month, day)
}

/// Parts of a moment in UTC.
pub(crate) struct Civil {
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub ms: i64,
}

pub(crate) fn civil(time_ms: i64) -> Civil {
    let (year, month, day) = civil_from_days(time_ms.div_euclid(DAY));
    let in_day = time_ms.rem_euclid(DAY);
    let (seconds, ms) = (in_day / SECOND, in_day % SECOND);
    Civil { year, month, day, hour: seconds / 3600, minute: seconds / 60 % 60, second: seconds % 60, ms }
}

/// `2026-11-24T20:15:00Z`, with milliseconds where there are any. Years beyond four digits are shown as milliseconds
/// since 1970.
pub(crate) fn format_moment(time_ms: i64) -> String {
    let Civil { year, month, day, hour, minute, second, ms } = civil(time_ms);
    if !(0..=9999).contains(&year) {
        return format!("{time_ms}ms");
    }
    let fraction = if ms == 0 { String::new() } else { format!(".{ms:03}") };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

const SIZE_UNITS: [(&str, u64); 9] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("b", 1),
];

/// Bytes of `128MiB`, `10GB`, `1.5GiB` or a plain number.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: write 64MiB, 10GB or a number of bytes");
    let lower = text.trim().to_ascii_lowercase();
    let letters = lower.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(lower.len());
    let count: f64 = lower[..letters].trim().parse().map_err(|_| wrong())?;
    let unit = match &lower[letters..] {
        "" => 1,
        name => SIZE_UNITS.iter().find(|(unit, _)| *unit == name).ok_or_else(wrong)?.1,
    };
    let bytes = count * unit as f64;
    if (1.0..1.8e19).contains(&bytes) { Ok(bytes as u64) } else { Err(wrong()) }
}

/// `128 MiB`, `1.5 GiB`, `12 B`.
pub(crate) fn format_bytes(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    let text = if unit == "B" || value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") };
    format!("{} {unit}", text.trim_end_matches(".0"))
}

/// `1,234,567`.
pub(crate) fn format_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print() {
        let cases = [
            ("15s", 15_000, "15s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("200ms", 200, "200ms"),
            ("1.5h", 5_400_000, "1h30m"),
            ("1w", 604_800_000, "7d"),
            ("90", 90_000, "1m30s"),
            ("0.25", 250, "250ms"),
        ];
        for (text, ms, shown) in cases {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
            assert_eq!(format_duration_ms(ms), shown);
        }
        for text in ["", "h", "5x", "0", "-5m", "5m5m", "5s1h", "1e30", "nan", "inf", "1 h"] {
            assert!(parse_duration_ms(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn moments_read_and_print() {
        let at = |text: &str| parse_moment(text).map(|moment| moment.resolve(1_000_000));
        assert_eq!(at("2026-11-24T20:15:00Z"), Ok(1_795_551_300_000));
        assert_eq!(at("2026-11-24T21:15:00.25+01:00"), Ok(1_795_551_300_250));
        assert_eq!(at("1970-01-01"), Ok(0));
        assert_eq!(at("1969-12-31T23:59Z"), Ok(-60_000));
        assert_eq!(at("12.5"), Ok(12_500));
        assert_eq!(at("-60"), Ok(-60_000));
        assert_eq!(at("-1m"), Ok(940_000));
        assert_eq!(at("now"), Ok(1_000_000));
        assert_eq!(at("now-1m"), Ok(940_000));
        assert_eq!(at("now+1m"), Ok(1_060_000));
        for text in ["", "tomorrow", "2026-13-01", "2026-02-30", "2026-11-24T25:00Z", "2026-11-24T20:15:00+1", "20é6"]
        {
            assert!(parse_moment(text).is_err(), "{text:?}");
        }
        for ms in [0, -1, 951_782_400_000, 1_795_551_300_250, -62_135_596_800_000, 253_402_300_799_999] {
            assert_eq!(parse_rfc3339(&format_moment(ms)), Some(ms), "{}", format_moment(ms));
        }
    }

    #[test]
    fn sizes_read_and_print() {
        assert_eq!(parse_bytes("128MiB"), Ok(128 << 20));
        assert_eq!(parse_bytes("1.5 gb"), Ok(1_500_000_000));
        assert_eq!(parse_bytes("4096"), Ok(4096));
        for text in ["", "MiB", "-1", "0", "12XB", "1e99"] {
            assert!(parse_bytes(text).is_err(), "{text:?}");
        }
        assert_eq!(format_bytes(128 << 20), "128 MiB");
        assert_eq!(format_bytes(1536), "1.5 KiB");
        assert_eq!(format_count(1_234_567), "1,234,567");
        assert_eq!(format_count(999), "999");
    }
}
