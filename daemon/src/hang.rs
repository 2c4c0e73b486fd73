//! Whether calls hang in the key device so that only a new process helps.
//!
//! A thread that hangs is replaced once for each session; beyond, nothing signs. And while one hangs, what the device still does with a key
//! is out of sight. Where front and core are two processes, the core ends then, and its successor goes on from the ledger.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use hallmark_signer::{Core, Health};
use tokio::{sync::watch, time::sleep};

/// How long something may hang before the process is given up; a device that comes back by itself mostly does so sooner.
const HANGING_TIME_MAX: Duration = Duration::from_secs(10);

/// The same while a key is being made, which holds up signatures in some devices.
const MAKING_TIME_MAX: Duration = Duration::from_secs(200);

/// How often is looked.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Most threads of a key backend, for each that there was at first.
const THREADS_FOR_EACH_MAX: usize = 2;

/// What hung when it was last looked at.
pub(crate) struct Hang {
    since: Mutex<Option<Instant>>,
    given_up: watch::Sender<Option<String>>,
}

impl Hang {
    pub(crate) fn new() -> Self {
        Self { since: Mutex::default(), given_up: watch::Sender::new(None) }
    }

    /// Resolves with the reason, when the process is to be given up.
    pub(crate) async fn given_up(&self) -> String {
        let mut given_up = self.given_up.subscribe();
        match given_up.wait_for(Option::is_some).await {
            Ok(sentence) => sentence.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Looks, for ever.
    pub(crate) async fn watch(&self, core: &Core) {
        loop {
            sleep(LOOK_INTERVAL).await;
            self.saw(&core.threads(), core.works_on_keys(), Instant::now());
        }
    }

    fn saw(&self, threads: &Health, works_on_keys: bool, now: Instant) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let Health { sessions, hanging, .. } = threads;
        if *hanging == 0 {
            *since = None;
            return;
        }
        let hung_for = now.duration_since(*since.get_or_insert(now));
        let all = *hanging >= THREADS_FOR_EACH_MAX * sessions;
        let time_max = if works_on_keys { MAKING_TIME_MAX } else { HANGING_TIME_MAX };
        if (all && !works_on_keys) || hung_for >= time_max {
            let which = if all { "every thread hangs" } else { "a thread still hangs" };
            self.given_up.send_replace(Some(format!("{which} in the key device ({hanging} of them)")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(hanging: usize) -> Health {
        Health { sessions: 4, hanging, waiting: 0, key_uses: 0 }
    }

    fn given_up(looks: &[(u64, usize)], works_on_keys: bool) -> bool {
        let (hang, began) = (Hang::new(), Instant::now());
        for (secs, hanging) in looks {
            hang.saw(&health(*hanging), works_on_keys, began + Duration::from_secs(*secs));
        }
        hang.given_up.borrow().is_some()
    }

    #[test]
    fn a_thread_that_comes_back_costs_no_process() {
        assert!(!given_up(&[(0, 0), (3, 1), (9, 1), (12, 0), (15, 1), (24, 1)], false));
    }

    #[test]
    fn a_thread_that_does_not_come_back_does() {
        assert!(given_up(&[(0, 1), (3, 1), (6, 1), (10, 1)], false));
        assert!(given_up(&[(0, 0), (3, 8)], false), "nobody is left who signs");
    }

    #[test]
    fn a_device_that_makes_a_key_meanwhile_is_given_its_time() {
        assert!(!given_up(&[(0, 1), (10, 8), (199, 8)], true));
        assert!(given_up(&[(0, 1), (10, 8), (200, 8)], true));
    }
}
