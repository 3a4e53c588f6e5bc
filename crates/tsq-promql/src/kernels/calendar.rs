//! Calendar of UTC times, and the functions that take one apart.
//!
//! Days to dates by counting from 1 March of year 0, so that a leap day ends its year; eras have 400 years.

const DAY_S: i64 = 86_400;
const ERA_DAYS: i64 = 146_097;

/// A time in UTC. The proleptic Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    /// Year; 0 is 1 BC.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59.
    pub second: u32,
    /// 0 (Sunday) to 6.
    pub day_of_week: u32,
}

impl Civil {
    /// The time that many seconds after 1970-01-01T00:00:00Z.
    pub(crate) fn from_unix_s(time_s: i64) -> Self {
        let days = time_s.div_euclid(DAY_S);
        let second_of_day = time_s.rem_euclid(DAY_S) as u32;
        let (year, month, day) = date_of(days);
        Self {
            year,
            month,
            day,
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
            // 1970-01-01 was a Thursday.
            day_of_week: (days + 4).rem_euclid(7) as u32,
        }
    }

    /// 1 to 366.
    pub(crate) fn day_of_year(&self) -> u32 {
        (1..self.month).map(|month| days_in_month(self.year, month)).sum::<u32>() + self.day
    }

    /// 28 to 31.
    pub(crate) fn days_in_month(&self) -> u32 {
        days_in_month(self.year, self.month)
    }
}

/// 2^63 seconds after 1970.
const BEYOND: Civil =
    Civil { year: 292_277_026_596, month: 12, day: 4, hour: 15, minute: 30, second: 8, day_of_week: 0 };

/// A function of a time in seconds since 1970. Times that no 64-bit number of seconds can hold count as 2^63, like in
/// Prometheus on x86-64.
pub(crate) type CalendarFunction = fn(f64) -> f64;

/// The calendar functions by name.
pub(crate) static CALENDAR_FUNCTIONS: &[(&str, CalendarFunction)] = &[
    ("day_of_month", |t| on_date(t, |c| f64::from(c.day))),
    ("day_of_week", |t| on_date(t, |c| f64::from(c.day_of_week))),
    ("day_of_year", |t| on_date(t, |c| f64::from(c.day_of_year()))),
    ("days_in_month", |t| on_date(t, |c| f64::from(c.days_in_month()))),
    ("hour", |t| on_date(t, |c| f64::from(c.hour))),
    ("minute", |t| on_date(t, |c| f64::from(c.minute))),
    ("month", |t| on_date(t, |c| f64::from(c.month))),
    ("year", |t| on_date(t, |c| c.year as f64)),
];

fn on_date(time_s: f64, part: fn(&Civil) -> f64) -> f64 {
    const LIMIT: f64 = (1_u64 << 63) as f64;
    if (-LIMIT..LIMIT).contains(&time_s) { part(&Civil::from_unix_s(time_s as i64)) } else { part(&BEYOND) }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 => 28 + u32::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Year, month and day of a number of days since 1970-01-01.
fn date_of(days: i64) -> (i64, u32, u32) {
    // Days since 0000-03-01.
    let days = days + 719_468;
    let era = days.div_euclid(ERA_DAYS);
    let day_of_era = days.rem_euclid(ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March have 31, 30, 31, 30, 31 days over and over: 153 days in 5 months.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month as u32, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time_s: f64) -> Vec<f64> {
        CALENDAR_FUNCTIONS.iter().map(|(_, f)| f(time_s)).collect()
    }

    #[test]
    fn known_times() {
        // 1970-01-01T00:00:00Z, a Thursday.
        assert_eq!(at(0.0), [1.0, 4.0, 1.0, 31.0, 0.0, 0.0, 1.0, 1970.0]);
        // 2024-02-29T23:59:59Z, a Thursday.
        assert_eq!(at(1_709_251_199.0), [29.0, 4.0, 60.0, 29.0, 23.0, 59.0, 2.0, 2024.0]);
        // 1900-03-01T00:00:00Z, a Thursday: 1900 had no leap day.
        assert_eq!(at(-2_203_891_200.0), [1.0, 4.0, 60.0, 31.0, 0.0, 0.0, 3.0, 1900.0]);
    }

    #[test]
    fn every_day_follows_the_day_before() {
        let mut before = Civil::from_unix_s(-800 * 365 * DAY_S);
        for day in -800 * 365 + 1..800 * 365 {
            let c = Civil::from_unix_s(day * DAY_S);
            let same_month = c.day == before.day + 1 && c.month == before.month && c.year == before.year;
            let next_month = c.day == 1 && before.day == before.days_in_month();
            assert!(same_month || next_month, "{before:?} {c:?}");
            assert_eq!(c.day_of_week, (before.day_of_week + 1) % 7);
            before = c;
        }
    }

    #[test]
    fn times_outside_of_the_calendar() {
        let last = Civil::from_unix_s(i64::MAX);
        assert_eq!(Civil { second: last.second + 1, ..last }, BEYOND);
        for time in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300, 9.3e18, -9.3e18] {
            // As Prometheus 3.5 answers them.
            assert_eq!(at(time), [4.0, 0.0, 339.0, 31.0, 15.0, 30.0, 12.0, 292_277_026_596.0]);
        }
        assert_eq!(at(9_223_372_036_854_774_784.0)[7], 292_277_026_596.0);
        assert_eq!(at(-9_223_372_036_854_774_784.0)[7], -292_277_022_657.0);
    }
}
