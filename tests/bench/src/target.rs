//! What is wanted of a row.

use std::fmt;

use crate::row::Row;

/// Calls a certificate may differ by this much: what happened just before or after is counted, too.
const CALLS_TOLERANCE: f64 = 0.01;

/// Calls a second by which a daemon asks whether its device is there, whatever it signs, at most.
const HEALTH_CALLS_PER_S: f64 = 2.0;

/// One thing that is wanted. Times are in milliseconds, memory in megabytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wanted {
    /// At least this part of the ceiling.
    Ratio(f64),
    /// At most so much CPU time of front and core a certificate.
    Cpu(f64),
    /// Less CPU time of the load generator a certificate.
    ClientCpu(f64),
    /// A median under this.
    P50(f64),
    /// 99 in a hundred under this.
    P99(f64),
    /// So many PKCS #11 calls a certificate.
    Calls(f64),
    /// Less memory before the first request.
    Idle(f64),
    /// Less memory at any time.
    Peak(f64),
    /// Serves after less than this.
    Start(f64),
    /// At least so many certificates a second.
    Rate(f64),
    /// 99 in a hundred of those that are refused hear it before this.
    Refusal(f64),
    /// At most so much memory when it was done.
    MemoryNow(f64),
    /// At most so many open file descriptors then.
    Handles(f64),
    /// At most so many threads then.
    Threads(f64),
    /// At most so many files in its directories then.
    Files(f64),
}

impl Wanted {
    /// What was found instead, if it was not reached; what was not measured was not reached.
    pub(crate) fn missed_by(&self, row: &Row) -> Option<String> {
        let (found, is_met, digits): (_, fn(f64, f64) -> bool, _) = match self {
            Self::Ratio(_) => (row.ratio_to_ceiling, |found, wanted| found >= wanted, 3),
            Self::Cpu(_) => (row.cpu_ms_per_certificate, |found, wanted| found <= wanted, 3),
            Self::ClientCpu(_) => (row.client_cpu_ms_per_certificate, |found, wanted| found < wanted, 3),
            Self::P50(_) => (row.p50_ms, |found, wanted| found < wanted, 2),
            Self::P99(_) => (row.p99_ms, |found, wanted| found < wanted, 1),
            Self::Calls(wanted) => return self.calls_missed_by(row, *wanted),
            Self::Idle(_) => (row.memory_idle_mb, |found, wanted| found < wanted, 0),
            Self::Peak(_) => (row.memory_peak_mb, |found, wanted| found < wanted, 0),
            Self::Start(_) => (row.start_ms, |found, wanted| found < wanted, 0),
            Self::Rate(_) => (row.per_s, |found, wanted| found >= wanted, 0),
            Self::Refusal(_) => (row.refusal_p99_ms, |found, wanted| found < wanted, 1),
            Self::MemoryNow(_) => (row.memory_now_mb, |found, wanted| found <= wanted, 1),
            Self::Handles(_) => (row.handles.map(|count| count as f64), |found, wanted| found <= wanted, 0),
            Self::Threads(_) => (row.threads.map(|count| count as f64), |found, wanted| found <= wanted, 0),
            Self::Files(_) => (row.files.map(|count| count as f64), |found, wanted| found <= wanted, 0),
        };
        match found {
            Some(found) if is_met(found, self.value()) => None,
            Some(found) => Some(format!("{self}: {found:.digits$}")),
            None => Some(format!("{self}: not measured")),
        }
    }

    fn calls_missed_by(&self, row: &Row, wanted: f64) -> Option<String> {
        let Some((found, rate)) = row.pkcs11_calls_per_certificate.zip(row.per_s) else {
            return Some(format!("{self}: not measured"));
        };
        let tolerance = CALLS_TOLERANCE + HEALTH_CALLS_PER_S / rate.max(1.0);
        ((found - wanted).abs() > tolerance).then(|| format!("{self}: {found:.2}"))
    }

    fn value(&self) -> f64 {
        match self {
            Self::Ratio(value)
            | Self::Cpu(value)
            | Self::ClientCpu(value)
            | Self::P50(value)
            | Self::P99(value)
            | Self::Calls(value)
            | Self::Idle(value)
            | Self::Peak(value)
            | Self::Start(value)
            | Self::Rate(value)
            | Self::Refusal(value)
            | Self::MemoryNow(value)
            | Self::Handles(value)
            | Self::Threads(value)
            | Self::Files(value) => *value,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio(ratio) => write!(f, "at least {ratio} of the ceiling"),
            Self::Cpu(millis) => write!(f, "CPU at most {millis} ms"),
            Self::ClientCpu(millis) => write!(f, "client's CPU under {millis} ms"),
            Self::P50(millis) => write!(f, "p50 under {millis:.2} ms"),
            Self::P99(millis) => write!(f, "p99 under {millis} ms"),
            Self::Calls(calls) => write!(f, "{calls} PKCS#11 calls"),
            Self::Idle(megabytes) => write!(f, "idle under {megabytes} MB"),
            Self::Peak(megabytes) => write!(f, "peak under {megabytes} MB"),
            Self::Start(millis) => write!(f, "serves within {millis:.0} ms"),
            Self::Rate(rate) => write!(f, "at least {rate:.0}/s"),
            Self::Refusal(millis) => write!(f, "refused within {millis} ms"),
            Self::MemoryNow(megabytes) => write!(f, "memory at most {megabytes:.1} MB"),
            Self::Handles(count) => write!(f, "open files at most {count}"),
            Self::Threads(count) => write!(f, "threads at most {count}"),
            Self::Files(count) => write!(f, "files at most {count}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_meets_what_it_reaches_and_says_what_it_misses() {
        let row = Row { p99_ms: Some(35.0), cpu_ms_per_certificate: Some(0.43), ..Row::new("mint", None, Some(64)) };
        let good = row.clone().judged(&[Wanted::Cpu(0.43), Wanted::P99(35.1)]);
        assert_eq!((good.met, good.target.as_deref()), (Some(true), Some("CPU at most 0.43 ms, p99 under 35.1 ms")));
        let bad = row.clone().judged(&[Wanted::Cpu(0.429), Wanted::P99(35.0), Wanted::Calls(2.0)]);
        assert_eq!(bad.met, Some(false));
        let missed = ["CPU at most 0.429 ms: 0.430", "p99 under 35 ms: 35.0", "2 PKCS#11 calls: not measured"];
        assert_eq!(bad.missed, missed);
        assert_eq!(row.judged(&[]).met, None);
    }

    #[test]
    fn the_load_generator_is_held_to_what_it_may_take_of_the_machine() {
        let of = |millis| Row { client_cpu_ms_per_certificate: millis, ..Row::default() };
        let missed = |millis| Wanted::ClientCpu(0.1).missed_by(&of(millis));
        assert_eq!(missed(Some(0.062)), None);
        assert_eq!(missed(Some(0.1)).as_deref(), Some("client's CPU under 0.1 ms: 0.100"));
        assert_eq!(missed(None).as_deref(), Some("client's CPU under 0.1 ms: not measured"));
    }

    #[test]
    fn calls_are_met_from_both_sides_but_for_those_that_have_nothing_to_do_with_certificates() {
        let of = |calls, rate| Row { pkcs11_calls_per_certificate: Some(calls), per_s: Some(rate), ..Row::default() };
        let met = |calls, rate| Wanted::Calls(2.0).missed_by(&of(calls, rate)).is_none();
        assert_eq!([1.9, 1.995, 2.0, 2.005, 2.1].map(|calls| met(calls, 10_000.0)), [false, true, true, true, false]);
        assert!(met(2.02, 100.0), "few certificates, and the device is asked whether it is there");
    }

    #[test]
    fn a_ratio_is_that_to_the_ceiling_of_the_run() {
        let row = Row { per_s: Some(1_800.0), ..Row::default() };
        assert_eq!(row.clone().against(10_000.0).ratio_to_ceiling, Some(0.18));
        assert_eq!(row.against(0.0).ratio_to_ceiling, None);
    }
}
