//! How often a process came down, and when it is started again.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// The second pause; the first start is at once, and each further pause is twice as long.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause: a device that is back is served within five seconds, start included.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// After so much time without a fall, pauses begin anew.
const GOOD_TIME: Duration = Duration::from_secs(10);
/// Crashes within a minute after which a process is given up. One that ends with a sentence is started again without end: what it
/// lacks, a device or room on the disk, may come back.
const CRASHES_MAX: usize = 10;
/// That minute.
const CRASHES_TIME: Duration = Duration::from_secs(60);

/// What came before.
#[derive(Default)]
pub(super) struct Falls {
    last: Option<Instant>,
    pause: Duration,
    crashes: VecDeque<Instant>,
}

/// What to do after a fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Start again, after a pause.
    After(Duration),
    /// So many crashes are enough.
    GiveUp(usize),
}

impl Falls {
    /// A process ended, without a sentence or with one.
    pub(super) fn fall(&mut self, crashed: bool, now: Instant) -> Next {
        let long_ago = self.last.is_none_or(|last| now.duration_since(last) >= GOOD_TIME);
        let pause = if long_ago { Duration::ZERO } else { self.pause };
        self.pause = (2 * pause).clamp(PAUSE, PAUSE_MAX);
        self.last = Some(now);
        if crashed {
            self.crashes.retain(|crash| now.duration_since(*crash) < CRASHES_TIME);
            self.crashes.push_back(now);
        }
        if self.crashes.len() >= CRASHES_MAX { Next::GiveUp(self.crashes.len()) } else { Next::After(pause) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(falls: &mut Falls, now: &mut Instant, crashed: bool, times: usize) -> Vec<Next> {
        let mut fall = || {
            let next = falls.fall(crashed, *now);
            if let Next::After(pause) = next {
                *now += pause;
            }
            next
        };
        (0..times).map(|_| fall()).collect()
    }

    #[test]
    fn the_first_start_is_at_once_and_pauses_grow_to_a_bound() {
        let (mut falls, mut now) = (Falls::default(), Instant::now());
        let millis = [0, 100, 200, 400, 800, 1_600, 2_000, 2_000, 2_000];
        let expected = millis.map(|millis| Next::After(Duration::from_millis(millis)));
        assert_eq!(pauses(&mut falls, &mut now, false, 9), expected);
        now += GOOD_TIME;
        assert_eq!(pauses(&mut falls, &mut now, false, 2), expected[..2]);
    }

    #[test]
    fn ten_crashes_in_a_minute_are_enough_and_ten_in_a_day_are_not() {
        let (mut falls, mut now) = (Falls::default(), Instant::now());
        assert_eq!(pauses(&mut falls, &mut now, true, CRASHES_MAX).last(), Some(&Next::GiveUp(CRASHES_MAX)));
        let mut falls = Falls::default();
        for _ in 0..2 * CRASHES_MAX {
            assert!(matches!(falls.fall(true, now), Next::After(_)));
            now += CRASHES_TIME / 4;
        }
    }

    #[test]
    fn a_process_that_says_what_it_lacks_is_started_without_end() {
        let (mut falls, mut now) = (Falls::default(), Instant::now());
        let nexts = pauses(&mut falls, &mut now, false, 100);
        assert!(nexts.iter().all(|next| matches!(next, Next::After(_))));
    }
}
