//! Spans of time as people type them: `20s`, `5m`, `1h`, `30d`.

use std::{fmt, str::FromStr, time::Duration};

use serde::Deserialize;

/// Longest span taken, in days: ten years. Everything longer is a slip of the pen.
pub const PERIOD_DAYS_MAX: u64 = 3_650;

const MINUTE_SECS: u64 = 60;
const HOUR_SECS: u64 = 60 * MINUTE_SECS;
const DAY_SECS: u64 = 24 * HOUR_SECS;

/// A span of time of whole seconds: an integer and one unit, `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Period(Duration);

/// Why text is no [`Period`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// Not an integer and one unit.
    #[error("`{typed}` is no span of time; write an integer and one unit, such as 20s, 5m, 1h or 30d")]
    Form {
        /// What was typed.
        typed: String,
    },
    /// Longer than [`PERIOD_DAYS_MAX`].
    #[error("`{typed}` is longer than {PERIOD_DAYS_MAX} days; write a shorter span of time")]
    TooLong {
        /// What was typed.
        typed: String,
    },
}

impl Period {
    /// A period of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// The span.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(typed: &str) -> Result<Self, PeriodError> {
        let form = || PeriodError::Form { typed: typed.to_owned() };
        let (unit_at, unit) = typed.char_indices().next_back().ok_or_else(form)?;
        let unit_secs = match unit {
            's' => 1,
            'm' => MINUTE_SECS,
            'h' => HOUR_SECS,
            'd' => DAY_SECS,
            _ => return Err(form()),
        };
        let digits = typed.get(..unit_at).ok_or_else(form)?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(form());
        }
        let too_long = || PeriodError::TooLong { typed: typed.to_owned() };
        let count: u64 = digits.parse().map_err(|_| too_long())?;
        let secs = count.checked_mul(unit_secs).ok_or_else(too_long)?;
        if secs > PERIOD_DAYS_MAX * DAY_SECS {
            return Err(too_long());
        }
        Ok(Self::from_secs(secs))
    }
}

impl TryFrom<String> for Period {
    type Error = PeriodError;

    fn try_from(typed: String) -> Result<Self, PeriodError> {
        typed.parse()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        let units = [(DAY_SECS, 'd'), (HOUR_SECS, 'h'), (MINUTE_SECS, 'm')];
        match units.into_iter().find(|(unit, _)| secs > 0 && secs.is_multiple_of(*unit)) {
            Some((unit, letter)) => write!(f, "{}{letter}", secs / unit),
            None => write!(f, "{secs}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_and_a_unit_are_a_period() {
        for (typed, secs) in [("0s", 0), ("20s", 20), ("5m", 300), ("1h", 3_600), ("30d", 2_592_000)] {
            let period: Period = typed.parse().unwrap();
            assert_eq!(period.duration().as_secs(), secs);
            assert_eq!(period.to_string(), typed);
        }
        assert_eq!("60s".parse::<Period>().unwrap().to_string(), "1m");
    }

    #[test]
    fn anything_else_is_refused_with_what_was_typed() {
        for typed in ["", "s", "20", "20 s", "1h30m", "-1s", "+1s", "1.5h", "20S", "20ms", "٣s", "1é"] {
            assert_eq!(typed.parse::<Period>(), Err(PeriodError::Form { typed: typed.to_owned() }));
        }
        for typed in ["3651d", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(typed.parse::<Period>(), Err(PeriodError::TooLong { typed: typed.to_owned() }));
        }
    }
}
