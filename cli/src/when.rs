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
    fn milliseconds_are_cut_to_seconds() {
        assert_eq!(rfc3339_of_millis(1_999), "1970-01-01T00:00:01Z");
    }
}
