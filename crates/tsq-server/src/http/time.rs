//! Times and durations as Prometheus's API takes them.

use std::time::Duration;

use crate::http::error::ApiError;
use crate::http::params::Params;

/// Times beyond this many milliseconds from 1970 are moved here, so that arithmetic on them cannot overflow.
pub(crate) const TIME_MS_MAX: i64 = 1 << 61;

/// A time given as float seconds or RFC 3339, in milliseconds since 1970. As in Prometheus the fraction of a second is
/// rounded by itself.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    if let Some(seconds) = parse_float(text) {
        let fraction_ms = (seconds.fract() * 1000.0).round();
        return (!seconds.is_nan())
            .then(|| clamp(seconds.trunc() * 1000.0 + if fraction_ms.is_nan() { 0.0 } else { fraction_ms }));
    }
    parse_rfc3339(text)
}

/// A float; one that is too large is none, unless it is written as infinite.
fn parse_float(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    (value.is_finite() || !text.contains(|c: char| c.is_ascii_digit())).then_some(value)
}

fn clamp(ms: f64) -> i64 {
    ms.clamp(-(TIME_MS_MAX as f64), TIME_MS_MAX as f64) as i64
}

/// Longest duration in milliseconds: Prometheus counts nanoseconds in 63 bits.
const DURATION_MS_MAX: i64 = i64::MAX / 1_000_000;

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DurationError {
    /// Neither a number nor units.
    Syntax,
    /// A number of seconds that is too large.
    Overflow,
}

/// A duration given as float seconds or `1h30m`, in milliseconds, rounded towards zero; may be negative. What is not a
/// number is less than any.
pub(crate) fn parse_duration_ms(text: &str) -> Result<i64, DurationError> {
    let Some(seconds) = parse_float(text) else { return parse_units(text).ok_or(DurationError::Syntax) };
    let ms = seconds * 1000.0;
    if ms.is_nan() {
        return Ok(-1);
    }
    if ms.abs() > DURATION_MS_MAX as f64 { Err(DurationError::Overflow) } else { Ok(ms as i64) }
}

/// Units in the order in which they must come.
const UNITS: [(&str, i64); 7] = [
    ("y", 31_536_000_000),
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

fn parse_units(text: &str) -> Option<i64> {
    let (mut rest, mut total, mut next_unit) = (text, 0_i64, 0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let at = UNITS[next_unit..].iter().position(|(unit, _)| *unit == &rest[..letters])?;
        total = total.checked_add(count.checked_mul(UNITS[next_unit + at].1)?)?;
        next_unit += at + 1;
        rest = &rest[letters..];
    }
    (!text.is_empty() && total <= DURATION_MS_MAX).then_some(total)
}

/// `2026-01-02T03:04:05.678+01:00`; as lenient as Go: a comma for the point, an hour of one digit, zones up to 24:60.
fn parse_rfc3339(text: &str) -> Option<i64> {
    let (date, clock) = text.split_once('T')?;
    let mut parts = date.splitn(3, '-');
    let (year, month, day) = (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let zone_at = clock.find(['Z', '+', '-'])?;
    let (clock, zone) = clock.split_at(zone_at);
    let (clock, fraction) = clock.split_once(['.', ',']).map_or((clock, None), |(clock, after)| (clock, Some(after)));
    let mut parts = clock.splitn(3, ':');
    let hour = parts.next()?;
    let (hour, minute, second) =
        (number(hour, hour.len().clamp(1, 2))?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let valid = (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day);
    if !valid || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - zone_seconds(zone)?;
    Some(seconds * 1000 + fraction.map_or(Some(0), fraction_ms)?)
}

fn number(digits: &str, width: usize) -> Option<i64> {
    (digits.len() == width && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

fn fraction_ms(digits: &str) -> Option<i64> {
    let digits: String = number(digits, digits.len().max(1)).map(|_| digits.chars().take(3).collect())?;
    format!("{digits:0<3}").parse().ok()
}

fn zone_seconds(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let (sign, clock) = (if zone.starts_with('-') { -1 } else { 1 }, &zone[1..]);
    let (hour, minute) = clock.split_once(':')?;
    let (hour, minute) = (number(hour, 2)?, number(minute, 2)?);
    (hour <= 24 && minute <= 60).then_some(sign * (hour * 3600 + minute * 60))
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last one.
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// `2026-01-02T03:04:05.678Z`
pub(crate) fn format_rfc3339(time_ms: i64) -> String {
    let (days, ms_of_day) = (time_ms.div_euclid(86_400_000), time_ms.rem_euclid(86_400_000));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, ms) = (ms_of_day / 1000, ms_of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

impl Params {
    /// A required time.
    pub(crate) fn time(&self, name: &str) -> Result<i64, ApiError> {
        let text = self.get(name).unwrap_or("");
        parse_time(text).ok_or_else(|| ApiError::parameter(name, format!("cannot parse {text:?} to a valid timestamp")))
    }

    /// A time that may be left out.
    pub(crate) fn time_or(&self, name: &str, default: i64) -> Result<i64, ApiError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let message = || format!("invalid time value for '{name}': cannot parse {text:?} to a valid timestamp");
        parse_time(text).ok_or_else(|| ApiError::parameter(name, message()))
    }

    /// A required duration in milliseconds; may be zero or negative.
    pub(crate) fn duration_ms(&self, name: &str) -> Result<i64, ApiError> {
        let text = self.get(name).unwrap_or("");
        parse_duration_ms(text).map_err(|error| ApiError::parameter(name, error.message(text)))
    }

    /// The time that a query may take. One that is already over is zero.
    pub(crate) fn timeout(&self) -> Result<Option<Duration>, ApiError> {
        let Some(text) = self.get("timeout") else { return Ok(None) };
        let ms = parse_duration_ms(text).map_err(|error| ApiError::parameter("timeout", error.message(text)))?;
        Ok(Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0))))
    }

    /// How far back a query looks for samples; `None` when that is left out or not above zero.
    pub(crate) fn lookback(&self) -> Result<Option<Duration>, ApiError> {
        let Some(text) = self.get("lookback_delta") else { return Ok(None) };
        let message = |error: DurationError| format!("error parsing lookback delta duration: {}", error.message(text));
        let ms = parse_duration_ms(text).map_err(|error| ApiError::bad_data(message(error)))?;
        Ok(u64::try_from(ms).ok().filter(|&ms| ms > 0).map(Duration::from_millis))
    }

    /// A count that may be left out; zero means no limit.
    pub(crate) fn limit(&self, name: &str) -> Result<Option<usize>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let count = parse_int(text, "Atoi").map_err(|error| ApiError::parameter(name, error))?;
        match usize::try_from(count) {
            Ok(count) => Ok(Some(count).filter(|&count| count > 0)),
            Err(_) => Err(ApiError::parameter(name, format!("{name} must be non-negative"))),
        }
    }
}

/// A whole number; the error is that of `function` in Go's package `strconv`.
pub(crate) fn parse_int(text: &str, function: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let problem = if is_number { "value out of range" } else { "invalid syntax" };
    text.parse().map_err(|_| format!("strconv.{function}: parsing {text:?}: {problem}"))
}

/// A truth value; the error is that of Go's package `strconv`.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

impl DurationError {
    fn message(self, text: &str) -> String {
        let overflow = if self == Self::Overflow { ". It overflows int64" } else { "" };
        format!("cannot parse {text:?} to a valid duration{overflow}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, want) in [
            ("4", 4000),
            ("1.2346", 1235),
            ("1700000600.0005", 1_700_000_600_000),
            ("1700000600.9996", 1_700_000_601_000),
            ("-1.5", -1500),
            ("1e3", 1_000_000),
            ("1970-01-01T00:00:01Z", 1000),
            ("2026-11-24T20:19:05.678901+01:30", 1_795_546_145_678),
            ("1969-12-31T23:59:59.5Z", -500),
            ("2024-02-29T00:00:00-00:00", 1_709_164_800_000),
            ("1e30", TIME_MS_MAX),
            ("-Inf", -TIME_MS_MAX),
            ("1970-01-01T0:00:01,25Z", 1250),
        ] {
            assert_eq!(parse_time(text), Some(want), "{text}");
        }
        for text in [
            "",
            "x",
            "NaN",
            "1e400",
            "2026-11-24",
            "1970-01-01T:00:01Z",
            "2023-02-29T00:00:00Z",
            "2026-11-24T24:00:00Z",
            "2026-11-24T00:00:00.Z",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_printed_as_they_are_read() {
        for ms in [0, -1, 1_795_546_145_678, 951_782_400_000, -62_135_596_800_000] {
            assert_eq!(parse_time(&format_rfc3339(ms)), Some(ms), "{}", format_rfc3339(ms));
        }
        assert_eq!(format_rfc3339(1_709_164_800_000), "2024-02-29T00:00:00.000Z");
    }

    #[test]
    fn durations() {
        for (text, want) in [
            ("15", 15_000),
            ("0.5", 500),
            ("-5", -5000),
            ("1h30m", 5_400_000),
            ("1ms", 1),
            ("0.0015", 1),
            ("NaN", -1),
            ("1y2w3d", 31_536_000_000 + 2 * 604_800_000 + 3 * 86_400_000),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(want), "{text}");
        }
        for text in ["", "x", "m5", "5m1h", "5x", "1h1h", "1h5", "99999999999999y", "300y"] {
            assert_eq!(parse_duration_ms(text), Err(DurationError::Syntax), "{text}");
        }
        for text in ["inf", "1e30", "-9223372037"] {
            assert_eq!(parse_duration_ms(text), Err(DurationError::Overflow), "{text}");
        }
    }

    #[test]
    fn counts_and_truth_values() {
        assert_eq!((parse_int("+12", "Atoi"), parse_int("-3", "Atoi")), (Ok(12), Ok(-3)));
        assert_eq!(parse_int("1.5", "Atoi").unwrap_err(), "strconv.Atoi: parsing \"1.5\": invalid syntax");
        let large = "99999999999999999999";
        let want = "strconv.ParseInt: parsing \"99999999999999999999\": value out of range";
        assert_eq!(parse_int(large, "ParseInt").unwrap_err(), want);
        assert_eq!((parse_bool("T"), parse_bool("0")), (Ok(true), Ok(false)));
        assert_eq!(parse_bool("yes").unwrap_err(), "strconv.ParseBool: parsing \"yes\": invalid syntax");
    }
}
