//! Points and spans of time, in whole seconds: time is always an argument here.

use std::fmt;

/// Seconds of a day.
pub const DAY_SECS: u64 = 86_400;

/// The last second that GeneralizedTime can say (RFC 5280, section 4.1.2.5.2): 9999-12-31T23:59:59Z.
const LAST_SECS: i64 = 253_402_300_799;

/// A point in time, in seconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(i64);

impl UnixTime {
    /// The last moment that certificates can say.
    pub const LAST: Self = Self(LAST_SECS);

    /// That many seconds after (or before) 1970-01-01T00:00:00Z, held within what certificates can say: 1970 to 9999.
    #[must_use]
    pub fn from_secs(secs: i64) -> Self {
        Self(secs.clamp(0, LAST_SECS))
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn secs(self) -> i64 {
        self.0
    }

    /// The point `span` later.
    #[must_use]
    pub fn after(self, span: Span) -> Self {
        Self::from_secs(self.0.saturating_add_unsigned(span.0))
    }

    /// The point `span` earlier.
    #[must_use]
    pub fn before(self, span: Span) -> Self {
        Self::from_secs(self.0.saturating_sub_unsigned(span.0))
    }

    /// Seconds from `earlier` to this point; 0 if it is not earlier.
    #[must_use]
    pub fn secs_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

impl fmt::Display for UnixTime {
    /// As RFC 3339 writes it, in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, secs) = (self.0.div_euclid(86_400), self.0.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (secs / 3_600, secs / 60 % 60, secs % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Text that is no point in time as policy files write it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no point in time: write it in UTC with seconds, such as `2026-01-31T00:00:00Z`")]
pub struct TimeError {
    /// What was read.
    pub text: String,
}

impl UnixTime {
    /// Reads `2026-01-31T00:00:00Z` (RFC 3339, UTC, whole seconds, no leap second).
    ///
    /// # Errors
    /// [`TimeError`] for everything else, and for days that no calendar has.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let wrong = || TimeError { text: text.chars().take(40).flat_map(char::escape_debug).collect() };
        let number = |from: usize, to: usize| {
            let digits = text.get(from..to).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
            digits.and_then(|digits| digits.parse::<i64>().ok()).ok_or_else(wrong)
        };
        let days = days_of(number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let point = Self(days * 86_400 + number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?);
        // What is no date, and what is written otherwise, does not come out as it went in.
        if point.0 >= 0 && point.to_string() == text { Ok(point) } else { Err(wrong()) }
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar; the inverse of [`civil`].
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The proleptic Gregorian date of a day, counted from 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// A span of time in seconds, written in files as a whole number and one unit: `90s`, `5m`, `12h`, `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

/// Text that is no [`Span`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no span of time: write a whole number and one unit of s, m, h or d, such as `30d`")]
pub struct SpanError {
    /// What was read.
    pub text: String,
}

impl Span {
    /// That many seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs)
    }

    /// That many days.
    #[must_use]
    pub const fn from_days(days: u32) -> Self {
        Self(days as u64 * DAY_SECS)
    }

    /// Its seconds.
    #[must_use]
    pub const fn secs(self) -> u64 {
        self.0
    }

    /// Reads `90s`, `5m`, `12h`, `30d`.
    ///
    /// # Errors
    /// [`SpanError`] for everything else.
    pub fn parse(text: &str) -> Result<Self, SpanError> {
        let wrong = || SpanError { text: text.chars().take(40).collect() };
        let (number, unit) = match text.char_indices().next_back() {
            Some((at, 's')) => (text.get(..at), 1),
            Some((at, 'm')) => (text.get(..at), 60),
            Some((at, 'h')) => (text.get(..at), 3_600),
            Some((at, 'd')) => (text.get(..at), DAY_SECS),
            _ => return Err(wrong()),
        };
        let digits = number.filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
        let number: u64 = digits.and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
        number.checked_mul(unit).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Span {
    /// In the largest unit that divides it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            secs if secs > 0 && secs % DAY_SECS == 0 => write!(f, "{}d", secs / DAY_SECS),
            secs if secs > 0 && secs % 3_600 == 0 => write!(f, "{}h", secs / 3_600),
            secs if secs > 0 && secs % 60 == 0 => write!(f, "{}m", secs / 60),
            secs => write!(f, "{secs}s"),
        }
    }
}

/// notBefore and notAfter, both inclusive (RFC 5280, section 4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The first second.
    pub not_before: UnixTime,
    /// The last second.
    pub not_after: UnixTime,
}

impl Interval {
    /// Whether all of `inner` lies in this interval.
    #[must_use]
    pub fn contains(self, inner: Self) -> bool {
        self.not_before <= inner.not_before && inner.not_after <= self.not_after
    }

    /// Whether `moment` lies in this interval.
    #[must_use]
    pub fn contains_moment(self, moment: UnixTime) -> bool {
        self.not_before <= moment && moment <= self.not_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let text = |secs| UnixTime::from_secs(secs).to_string();
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(text(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(text(2_524_608_000), "2050-01-01T00:00:00Z");
        assert_eq!(text(i64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn a_date_is_read_as_it_is_written_and_in_no_other_way() {
        for secs in
            (0..LAST_SECS).step_by(86_400 * 97 + 12_345).chain([951_782_399, 951_782_400, 2_524_608_000, LAST_SECS])
        {
            let point = UnixTime::from_secs(secs);
            assert_eq!(UnixTime::parse(&point.to_string()), Ok(point));
        }
        for wrong in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00+00:00",
            "2026-01-01T00:00:00.0Z",
            "2026-01-01t00:00:00z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-32T00:00:00Z",
            "2016-12-31T23:59:60Z",
            "2026-01-01T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "+026-01-01T00:00:00Z",
            "2026-01-01 00:00:00Z",
            "é026-01-01T00:00:00Z",
        ] {
            assert!(UnixTime::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn points_stay_within_what_certificates_can_say() {
        let at = UnixTime::from_secs;
        assert_eq!((at(-1), at(LAST_SECS + 1), UnixTime::LAST.secs()), (at(0), UnixTime::LAST, LAST_SECS));
        assert_eq!((at(100).after(Span(7)), at(100).before(Span(7))), (at(107), at(93)));
        assert_eq!((at(100).before(Span(u64::MAX)), at(100).after(Span(u64::MAX))), (at(0), UnixTime::LAST));
        assert_eq!((at(107).secs_since(at(100)), at(100).secs_since(at(107)), at(7).secs_since(at(7))), (7, 0, 0));
    }

    #[test]
    fn an_interval_has_its_first_and_its_last_second() {
        let interval = |from, until| Interval { not_before: UnixTime(from), not_after: UnixTime(until) };
        let outer = interval(10, 20);
        for (moment, inside) in [(9, false), (10, true), (15, true), (20, true), (21, false)] {
            assert_eq!(outer.contains_moment(UnixTime(moment)), inside, "{moment}");
        }
        for (from, until, inside) in [(10, 20, true), (11, 19, true), (9, 20, false), (10, 21, false), (9, 21, false)] {
            assert_eq!(outer.contains(interval(from, until)), inside, "{from} {until}");
        }
    }

    #[test]
    fn what_is_no_point_in_time_is_told_in_part() {
        let told = UnixTime::parse(&"x\n".repeat(100)).unwrap_err().text;
        assert_eq!(told, "x\\n".repeat(20));
        assert_eq!(Span::parse(&"x".repeat(100)).unwrap_err().text, "x".repeat(40));
    }

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        for (text, secs) in
            [("1s", 1), ("2m", 120), ("3h", 10_800), ("4d", 345_600), ("0s", 0), ("18446744073709551615s", u64::MAX)]
        {
            assert_eq!(Span::parse(text), Ok(Span::from_secs(secs)), "{text}");
        }
        assert!(Span::parse("18446744073709551616s").is_err() && Span::parse("307445734561825861m").is_err());
        assert_eq!(Span::parse("30d"), Ok(Span::from_days(30)));
        assert_eq!(Span::parse("90s").map(Span::secs), Ok(90));
        for wrong in ["", "d", "30", "1.5h", "-1d", "+1d", "30 d", "1w", "99999999999999999999d", "30D", "٣d"] {
            assert!(Span::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_span_is_shown_in_its_largest_unit() {
        for (secs, text) in [
            (60, "1m"),
            (3_600, "1h"),
            (86_400, "1d"),
            (172_800, "2d"),
            (7_200, "2h"),
            (120, "2m"),
            (86_460, "1441m"),
            (90_000, "25h"),
            (3_601, "3601s"),
        ] {
            assert_eq!(Span::from_secs(secs).to_string(), text);
        }
        for text in ["30d", "12h", "5m", "61s", "0s"] {
            assert_eq!(Span::parse(text).map(|span| span.to_string()).as_deref(), Ok(text));
        }
    }
}
