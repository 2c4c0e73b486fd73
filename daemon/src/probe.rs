//! Whether the daemon can do its work, looked at again and again, for health checks to hear.
//!
//! A probe asks the key backend how it is and the core what it serves. It never signs anything.

use std::{sync::Arc, time::Duration};

use hallmark_signer::Core;
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::trouble::sentence;

/// How often is looked.
pub(crate) const PROBE_INTERVAL: Duration = Duration::from_secs(3);

/// How long a look may take; a device that answers later does not serve.
pub(crate) const PROBE_TIME_MAX: Duration = Duration::from_secs(3);

/// What a look found: nothing, or the sentence that says what is missing.
pub(crate) type Found = Result<(), String>;

/// Looks, and tells whether the daemon serves.
pub(crate) struct Probe<Look, Tell> {
    look: Look,
    tell: Tell,
    time_max: Duration,
    /// A look that did not end in time. No other begins before it has ended.
    late: Option<JoinHandle<Found>>,
    last: Option<Found>,
}

impl<Look, Tell> Probe<Look, Tell>
where
    Look: Fn() -> Found + Clone + Send + 'static,
    Tell: Fn(bool),
{
    /// `look` may block.
    pub(crate) fn new(look: Look, tell: Tell, time_max: Duration) -> Self {
        Self { look, tell, time_max, late: None, last: None }
    }

    /// Looks once. What has changed is logged.
    pub(crate) async fn look(&mut self) {
        let mut work = self.late.take().unwrap_or_else(|| spawn_blocking(self.look.clone()));
        let found = match timeout(self.time_max, &mut work).await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) => Err("looking at the key backend failed; this is a fault of the daemon".to_owned()),
            Err(_) => {
                self.late = Some(work);
                Err(format!("the key backend gave no answer within {} s", self.time_max.as_secs()))
            }
        };
        (self.tell)(found.is_ok());
        match &found {
            Err(sentence) if self.last.as_ref() != Some(&found) => tracing::error!("health: NOT_SERVING: {sentence}"),
            Ok(()) if self.last.as_ref().is_some_and(Result::is_err) => tracing::info!("health: SERVING again"),
            Ok(()) | Err(_) => {}
        }
        self.last = Some(found);
    }

    /// Looks for ever.
    pub(crate) async fn watch(mut self, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once, and somebody has looked already.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            self.look().await;
        }
    }
}

/// What keeps a core from minting: a key backend that does not answer, or no authority.
pub(crate) fn ability(core: &Arc<Core>) -> impl Fn() -> Found + Clone + Send + 'static {
    let core = Arc::clone(core);
    move || {
        core.health().map_err(|error| sentence(&error))?;
        if core.ca_certificates().is_empty() { Err("no authority is served".to_owned()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use tokio::sync::{mpsc, watch};

    use super::*;

    const SOON: Duration = Duration::from_millis(1);
    const NEVER: Duration = Duration::from_secs(3_600);

    fn told() -> (impl Fn(bool), mpsc::UnboundedReceiver<bool>) {
        let (tell, told) = mpsc::unbounded_channel();
        (move |serving| tell.send(serving).unwrap(), told)
    }

    #[tokio::test]
    async fn health_follows_what_is_found_and_comes_back() {
        let (state, seen) = watch::channel(Ok(()));
        let (tell, mut told) = told();
        let mut probe = Probe::new(move || seen.borrow().clone(), tell, NEVER);
        for (found, serving) in [(Ok(()), true), (Err("the token is away".to_owned()), false), (Ok(()), true)] {
            state.send(found).unwrap();
            probe.look().await;
            assert_eq!(told.recv().await, Some(serving));
        }
    }

    #[tokio::test]
    async fn a_watch_looks_again_and_again() {
        let (state, seen) = watch::channel(Ok(()));
        let (tell, mut told) = told();
        let watching = Probe::new(move || seen.borrow().clone(), tell, NEVER).watch(SOON);
        let asking = async {
            assert_eq!(told.recv().await, Some(true));
            state.send(Err("the token is away".to_owned())).unwrap();
            while told.recv().await != Some(false) {}
            state.send(Ok(())).unwrap();
            while told.recv().await != Some(true) {}
        };
        tokio::select! {
            () = watching => panic!("a watch has no end"),
            () = asking => {}
        }
    }

    #[tokio::test]
    async fn a_backend_that_hangs_does_not_serve_and_is_not_asked_twice() {
        let (gate, waiting) = std::sync::mpsc::channel::<()>();
        let waiting = Arc::new(Mutex::new(waiting));
        let begun = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&begun);
        let look = move || {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            waiting.lock().unwrap_or_else(PoisonError::into_inner).recv().map_err(|_| "gone".to_owned())
        };
        let (tell, mut told) = told();
        let mut probe = Probe::new(look, tell, SOON);
        for _ in 0..3 {
            probe.look().await;
            assert_eq!(told.recv().await, Some(false));
        }
        assert_eq!(begun.load(std::sync::atomic::Ordering::SeqCst), 1);
        gate.send(()).unwrap();
        probe.time_max = NEVER;
        probe.look().await;
        assert_eq!(told.recv().await, Some(true));
    }
}
