//! The clocks, and the rule that a clock which cannot be trusted mints nothing.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use hallmark_ledger::UnixMillis;
use hallmark_policy::{Reason, ReasonCode, time::UnixTime};

/// How far the wall clock may move against the boot-time clock before minting stops, in milliseconds.
pub const DRIFT_MILLIS_MAX: i64 = 30_000;

/// How far the wall clock may run behind the last entry, in milliseconds: time servers correct by this much.
pub const BEHIND_MILLIS_MAX: i64 = 1_000;

/// The two clocks that are compared.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01T00:00:00Z, as the system believes.
    fn wall_millis(&self) -> i64;
    /// Nanoseconds since the machine started, sleep included (CLOCK_BOOTTIME). Nobody can set it.
    fn boottime_nanos(&self) -> u64;
}

/// The machine's own clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall_millis(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn boottime_nanos(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let secs = u64::try_from(now.tv_sec).unwrap_or(0);
        secs.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
    }
}

/// A moment that was checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) millis: UnixMillis,
    pub(crate) time: UnixTime,
}

impl Moment {
    fn of(millis: i64) -> Self {
        Self { millis: UnixMillis(millis), time: UnixTime::from_secs(millis.div_euclid(1_000)) }
    }
}

/// Watches the clocks. Once they disagree it says so until the daemon is started again with an operator's word.
pub(crate) struct ClockGuard {
    clock: Box<dyn Clock>,
    base: Mutex<Base>,
    last_entry_millis: AtomicI64,
    tripped: AtomicBool,
    said: AtomicBool,
}

struct Base {
    wall_millis: i64,
    boottime_millis: i64,
}

impl ClockGuard {
    /// Watches from now on; `last_entry` is the time of the log's newest entry, and `distrusted` says that the clock was
    /// found wrong before and nobody has confirmed it since.
    pub(crate) fn new(clock: Box<dyn Clock>, last_entry: Option<UnixMillis>, distrusted: bool) -> Self {
        let base = Mutex::new(Base { wall_millis: clock.wall_millis(), boottime_millis: boottime_millis(&*clock) });
        let last_entry_millis = AtomicI64::new(last_entry.map_or(i64::MIN, |at| at.0));
        Self { clock, base, last_entry_millis, tripped: AtomicBool::new(distrusted), said: AtomicBool::new(distrusted) }
    }

    /// The wall clock, unchecked, but never before the last entry: for entries that say what happened, so that the log's
    /// own time does not follow a clock that was set back.
    pub(crate) fn wall(&self) -> Moment {
        let wall = self.clock.wall_millis();
        Moment::of(self.last_entry_millis.fetch_max(wall, Ordering::SeqCst).max(wall))
    }

    pub(crate) fn boottime_nanos(&self) -> u64 {
        self.clock.boottime_nanos()
    }

    /// The wall clock, if it can be trusted for minting.
    pub(crate) fn trusted(&self) -> Result<Moment, Reason> {
        let wall = self.clock.wall_millis();
        let untrusted = |sentence: String| {
            self.tripped.store(true, Ordering::SeqCst);
            let reason = Reason::new(ReasonCode::ClockUntrusted, "clock", sentence);
            Err(reason.allowing("an operator sets the clock right and starts the daemon with --accept-clock"))
        };
        if self.tripped.load(Ordering::SeqCst) {
            return untrusted("the clock was found wrong, and nobody has confirmed it since".to_owned());
        }
        let base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        let expected =
            base.wall_millis.saturating_add(boottime_millis(&*self.clock).saturating_sub(base.boottime_millis));
        let drift = wall.saturating_sub(expected);
        if drift.saturating_abs() > DRIFT_MILLIS_MAX {
            return untrusted(format!("the clock moved by {} s against the machine's own count", drift / 1_000));
        }
        let behind = self.last_entry_millis.load(Ordering::SeqCst).saturating_sub(wall);
        if behind > BEHIND_MILLIS_MAX {
            return untrusted(format!("the clock runs {} s behind the last entry of the log", behind / 1_000));
        }
        Ok(Moment::of(self.last_entry_millis.fetch_max(wall, Ordering::SeqCst).max(wall)))
    }

    /// Whether the clock was just found wrong, for the first time: this stands in the log, so that a restart knows it.
    pub(crate) fn newly_distrusted(&self) -> bool {
        self.tripped.load(Ordering::SeqCst) && !self.said.swap(true, Ordering::SeqCst)
    }

    /// What was to be logged could not be: it is said again the next time.
    pub(crate) fn say_again(&self) {
        self.said.store(false, Ordering::SeqCst);
    }

    /// An operator's word that the wall clock is right now.
    pub(crate) fn accept(&self) {
        let mut base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        *base = Base { wall_millis: self.clock.wall_millis(), boottime_millis: boottime_millis(&*self.clock) };
        self.last_entry_millis.store(base.wall_millis, Ordering::SeqCst);
        self.tripped.store(false, Ordering::SeqCst);
        self.said.store(false, Ordering::SeqCst);
    }
}

fn boottime_millis(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.boottime_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// Longest time that a call has, whatever the front says of it: who has taken over a front keeps nothing waiting for longer.
const CALL_TIME_MAX: Duration = Duration::from_secs(10 * 60);

/// How long somebody waits still who waits until that moment of the boot-time clock; nothing, if it has passed.
pub(crate) fn time_left(until_nanos: u64, now_nanos: u64) -> Option<Duration> {
    let left = until_nanos.checked_sub(now_nanos).filter(|left| *left > 0)?;
    Some(Duration::from_nanos(left).min(CALL_TIME_MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicU64};

    use super::*;

    #[derive(Clone, Default)]
    struct Hands {
        wall: Arc<AtomicI64>,
        boot: Arc<AtomicU64>,
    }

    impl Clock for Hands {
        fn wall_millis(&self) -> i64 {
            self.wall.load(Ordering::SeqCst)
        }

        fn boottime_nanos(&self) -> u64 {
            self.boot.load(Ordering::SeqCst)
        }
    }

    impl Hands {
        fn at(millis: i64) -> Self {
            let hands = Self::default();
            hands.wall.store(millis, Ordering::SeqCst);
            hands
        }

        fn pass(&self, secs: u64) {
            self.wall.fetch_add(i64::try_from(secs).unwrap() * 1_000, Ordering::SeqCst);
            self.boot.fetch_add(secs * 1_000_000_000, Ordering::SeqCst);
        }
    }

    #[test]
    fn nobody_waits_for_longer_than_a_call_may_take_whatever_the_front_says() {
        let now = 7_000_000_000;
        assert_eq!(time_left(now + 20, now), Some(Duration::from_nanos(20)));
        assert_eq!(time_left(u64::MAX, now), Some(CALL_TIME_MAX));
        assert_eq!((time_left(now, now), time_left(0, now)), (None, None));
    }

    #[test]
    fn time_that_passes_on_both_clocks_is_trusted() {
        let hands = Hands::at(1_000_000);
        let guard = ClockGuard::new(Box::new(hands.clone()), Some(UnixMillis(999_000)), false);
        hands.pass(86_400);
        assert_eq!(guard.trusted().unwrap().time.secs(), 87_400);
    }

    #[test]
    fn a_clock_that_leaps_by_more_than_thirty_seconds_stops_minting_until_confirmed() {
        for leap in [31_000, -31_000] {
            let hands = Hands::at(1_000_000);
            let guard = ClockGuard::new(Box::new(hands.clone()), None, false);
            hands.wall.fetch_add(leap, Ordering::SeqCst);
            assert_eq!(guard.trusted().unwrap_err().code, ReasonCode::ClockUntrusted);
            hands.wall.fetch_sub(leap, Ordering::SeqCst);
            assert!(guard.trusted().is_err(), "it stays stopped when the clock comes back");
            guard.accept();
            assert!(guard.trusted().is_ok());
        }
    }

    #[test]
    fn a_clock_behind_the_last_entry_stops_minting() {
        let hands = Hands::at(1_000_000);
        let guard = ClockGuard::new(Box::new(hands), Some(UnixMillis(1_002_000)), false);
        assert!(guard.trusted().is_err());
    }
}
