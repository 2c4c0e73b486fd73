//! Whether calls hang in the key device so that only a new process helps.
//!
//! A thread that hangs is replaced once for each session; beyond, nothing signs. And while one hangs, what the device still does with a key
//! is out of sight. Where front and core are two processes, the core ends then, and its successor goes on from the ledger. A device that is
//! slow, and brings every call to an end, is left to be slow: what counts is how long one call hangs, and not for how long there were some.

use std::time::Duration;

use hallmark_signer::{Core, Health};
use tokio::{sync::watch, time::sleep};

/// How long a call may hang before the process is given up; a device that comes back by itself mostly does so sooner.
const HANGING_TIME_MAX: Duration = Duration::from_secs(10);

/// The same while a key is being made, which holds up signatures in some devices.
const MAKING_TIME_MAX: Duration = Duration::from_secs(200);

/// How often is looked.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Most threads of a key backend, for each that there was at first.
const THREADS_FOR_EACH_MAX: usize = 2;

/// Whether the process was given up.
pub(crate) struct Hang {
    given_up: watch::Sender<Option<String>>,
}

impl Hang {
    pub(crate) fn new() -> Self {
        Self { given_up: watch::Sender::new(None) }
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
            if let Some(sentence) = given_up(&core.threads(), core.works_on_keys()) {
                self.given_up.send_replace(Some(sentence));
            }
        }
    }
}

/// Why the process is to be given up, if it is.
fn given_up(threads: &Health, works_on_keys: bool) -> Option<String> {
    let Health { sessions, hanging, longest, .. } = threads;
    let longest = (*longest)?;
    let all = *hanging >= THREADS_FOR_EACH_MAX * sessions;
    let time_max = if works_on_keys { MAKING_TIME_MAX } else { HANGING_TIME_MAX };
    if (all && !works_on_keys) || longest >= time_max {
        let which = if all { "every thread hangs" } else { "a thread still hangs" };
        return Some(format!("{which} in the key device ({hanging} of them)"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_given_up(hanging: usize, longest_secs: u64, works_on_keys: bool) -> bool {
        let longest = (hanging > 0).then(|| Duration::from_secs(longest_secs));
        given_up(&Health { sessions: 4, hanging, longest, waiting: 0, key_uses: 0 }, works_on_keys).is_some()
    }

    #[test]
    fn calls_that_end_cost_no_process_however_many_there_are() {
        for (hanging, longest_secs) in [(0, 0), (1, 0), (1, 9), (7, 9)] {
            assert!(!is_given_up(hanging, longest_secs, false), "{hanging} for {longest_secs} s");
        }
    }

    #[test]
    fn one_that_does_not_end_does() {
        assert!(is_given_up(1, 10, false));
        assert!(is_given_up(8, 0, false), "nobody is left who signs");
    }

    #[test]
    fn a_device_that_makes_a_key_meanwhile_is_given_its_time() {
        assert!(!is_given_up(8, 199, true));
        assert!(is_given_up(8, 200, true));
    }
}
