//! Deadlines: the header grpc-timeout, the monotonic clock that the front waits by, and the boot-time clock that the core reads.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::{config::DEADLINE_MAX, turned_away::Reason};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Most digits of a timeout (gRPC over HTTP/2, "TimeoutValue").
const TIMEOUT_DIGITS_MAX: usize = 8;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// When nobody waits for an answer any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    /// By the clock that timers use.
    pub(crate) at: Instant,
    /// Nanoseconds of CLOCK_BOOTTIME, which goes on while the machine is suspended and is the same for all processes.
    pub(crate) boottime_nanos: u64,
}

impl Deadline {
    /// Reads the deadline of a call that arrives now; without the header it is `default` away.
    pub(crate) fn of(headers: &HeaderMap, default: Duration) -> Result<Self, Reason> {
        let left = match headers.get(GRPC_TIMEOUT) {
            None => default,
            Some(header) => timeout(header.as_bytes()).ok_or(Reason::MalformedDeadline)?.min(DEADLINE_MAX),
        };
        if left.is_zero() {
            return Err(Reason::DeadlinePassed);
        }
        let left_nanos = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        Ok(Self { at: Instant::now() + left, boottime_nanos: boottime_nanos().saturating_add(left_nanos) })
    }
}

/// Nanoseconds of CLOCK_BOOTTIME now.
pub(crate) fn boottime_nanos() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let secs = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    secs.saturating_mul(NANOS_PER_SEC).saturating_add(nanos)
}

fn timeout(header: &[u8]) -> Option<Duration> {
    let (unit, digits) = header.split_last()?;
    if digits.is_empty() || digits.len() > TIMEOUT_DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0, |count: u64, digit| count * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(count * 60 * 60),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_read_as_grpc_writes_them() {
        assert_eq!(timeout(b"99999999H"), Some(Duration::from_secs(359_999_996_400)));
        assert_eq!(timeout(b"2M"), Some(Duration::from_secs(120)));
        assert_eq!(timeout(b"20S"), Some(Duration::from_secs(20)));
        assert_eq!(timeout(b"1500m"), Some(Duration::from_millis(1_500)));
        assert_eq!(timeout(b"7u"), Some(Duration::from_micros(7)));
        assert_eq!(timeout(b"00000000n"), Some(Duration::ZERO));
    }

    #[test]
    fn anything_else_is_no_timeout() {
        for header in [b"".as_slice(), b"S", b"1", b"1s", b"-1S", b"+1S", b"1.5S", b"123456789S", b" 1S", b"1S "] {
            assert_eq!(timeout(header), None, "{header:?}");
        }
    }

    #[test]
    fn a_longer_wish_than_the_limit_is_cut() {
        let headers = HeaderMap::from_iter([(GRPC_TIMEOUT, "99999999H".parse().unwrap())]);
        let before = boottime_nanos();
        let deadline = Deadline::of(&headers, Duration::from_secs(1)).unwrap();
        let after = boottime_nanos();
        let limit = u64::try_from(DEADLINE_MAX.as_nanos()).unwrap();
        assert!((before + limit..=after + limit).contains(&deadline.boottime_nanos));
    }

    #[test]
    fn no_time_at_all_has_passed_already() {
        let headers = HeaderMap::from_iter([(GRPC_TIMEOUT, "0n".parse().unwrap())]);
        assert_eq!(Deadline::of(&headers, Duration::from_secs(1)).unwrap_err(), Reason::DeadlinePassed);
    }
}
