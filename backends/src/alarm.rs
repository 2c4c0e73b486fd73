//! An alarm clock: it is set for a moment and rings once.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// Rings at the earliest moment that it was set for since it last rang.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    at: Option<Instant>,
    over: bool,
}

impl Alarm {
    /// It rings then, or before.
    pub(crate) fn set(&self, at: Instant) {
        let mut state = self.lock();
        if state.at.is_none_or(|earlier| at < earlier) {
            state.at = Some(at);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// It rings no more.
    pub(crate) fn end(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    /// Waits until it rings; false once it has ended.
    pub(crate) fn wait(&self) -> bool {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            state = match state.at {
                _ if state.over => return false,
                Some(at) if at <= now => {
                    state.at = None;
                    return true;
                }
                Some(at) => self.changed.wait_timeout(state, at - now).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    #[test]
    fn it_rings_at_the_earliest_moment_and_once_for_each_time_it_was_set() {
        let alarm = Alarm::default();
        let now = Instant::now();
        let soon = now + Duration::from_millis(30);
        alarm.set(now + Duration::from_secs(3_600));
        alarm.set(soon);
        assert!(alarm.wait());
        assert!(Instant::now() >= soon);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| alarm.wait());
            alarm.end();
            assert!(!waiting.join().unwrap());
        });
        alarm.set(now);
        assert!(!alarm.wait());
    }
}
