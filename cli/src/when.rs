//! Time as people read it.

use std::time::{SystemTime, UNIX_EPOCH};

use hallmark_policy::time::UnixTime;

const MILLIS_PER_SEC: i64 = 1_000;

/// Units from the largest, with their seconds.
const UNITS: [(&str, u64); 4] = [("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];

/// Milliseconds since 1970-01-01T00:00:00Z, by the clock of this machine.
pub(crate) fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A point in time, in seconds since 1970, as RFC 3339 writes it.
pub(crate) fn rfc3339(secs: i64) -> String {
    UnixTime::from_secs(secs).to_string()
}

/// A point in time, in milliseconds since 1970, as RFC 3339 writes it, to the second.
pub(crate) fn rfc3339_of_millis(millis: i64) -> String {
    rfc3339(millis.div_euclid(MILLIS_PER_SEC))
}

/// Reads a point in time as RFC 3339 writes it, in UTC: `2026-01-31T12:00:00Z`.
///
/// # Errors
/// One sentence for everything else, and for days that no calendar has.
pub(crate) fn parse(text: &str) -> Result<UnixTime, String> {
    let wrong = || format!("`{text}` is no time in UTC such as 2026-01-31T12:00:00Z");
    let number = |from: usize, to: usize| text.get(from..to).and_then(|digits| digits.parse::<i64>().ok());
    let date = number(0, 4).zip(number(5, 7)).zip(number(8, 10));
    let time = number(11, 13).zip(number(14, 16)).zip(number(17, 19));
    let (((year, month), day), ((hour, minute), second)) = date.zip(time).ok_or_else(wrong)?;
    let point = UnixTime::from_secs(days_of(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second);
    // What is no date, and what is written otherwise, does not come out as it went in.
    if point.to_string() == text { Ok(point) } else { Err(wrong()) }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// A span in at most two units, rounded down: `30 days 5 minutes`.
pub(crate) fn span(secs: u64) -> String {
    let mut rest = secs;
    let mut parts = Vec::new();
    for (unit, unit_secs) in UNITS {
        let count = rest / unit_secs;
        rest %= unit_secs;
        if count > 0 && parts.len() < 2 {
            parts.push(self::count(count, unit));
        }
    }
    if parts.is_empty() { "0 seconds".to_owned() } else { parts.join(" ") }
}

/// So many of something: `1 bundle`, `1,182 bytes`.
pub(crate) fn count(value: u64, unit: &str) -> String {
    format!("{} {unit}{}", number(value), if value == 1 { "" } else { "s" })
}

/// A number with its thousands apart: `1,234,567`.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
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
    fn spans_take_their_two_largest_units() {
        assert_eq!(span(30 * 86_400 + 300), "30 days 5 minutes");
        assert_eq!(span(86_400 + 3_600 + 61), "1 day 1 hour");
        assert_eq!(span(0), "0 seconds");
        assert_eq!(span(59), "59 seconds");
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        for text in ["1970-01-01T00:00:00Z", "2000-02-29T23:59:59Z", "2026-11-22T06:00:00Z", "9999-12-31T23:59:59Z"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        for wrong in ["", "2026-02-29T00:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22 06:00:00Z", "2026-11-22T06:00Z"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn milliseconds_are_cut_to_seconds() {
        assert_eq!(rfc3339_of_millis(1_999), "1970-01-01T00:00:01Z");
    }
}
