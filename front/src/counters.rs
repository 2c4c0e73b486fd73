//! What the front counts. Numbers only: no names, no addresses.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{admission::Urgency, turned_away::Reason};

/// Upper bounds of the classes of waits, in milliseconds; longer ones are in none of them.
pub const WAIT_BOUNDS_MILLIS: [u64; 9] = [1, 5, 10, 25, 50, 100, 250, 500, 1_000];

/// Counters since the start; all of them only grow, but for what waits.
#[derive(Debug, Default)]
pub struct Counters {
    connections_accepted: AtomicU64,
    connections_refused: AtomicU64,
    connections_dismissed: AtomicU64,
    handshakes_failed: AtomicU64,
    requests: AtomicU64,
    answered_late: AtomicU64,
    core_away: AtomicU64,
    reloads: AtomicU64,
    reloads_failed: AtomicU64,
    turned_away: [AtomicU64; Reason::ALL.len()],
    went_at_once: AtomicU64,
    /// By urgency.
    queues: [QueueCounters; Urgency::ALL.len()],
}

/// What waits for the core, of one urgency.
#[derive(Debug, Default)]
pub(crate) struct QueueCounters {
    /// Calls that wait now.
    pub(crate) waiting: AtomicU64,
    /// Calls that waited and went to the core: how many within each of [`WAIT_BOUNDS_MILLIS`] and not the one before, and beyond.
    pub(crate) waited: [AtomicU64; WAIT_BOUNDS_MILLIS.len() + 1],
    /// Microseconds that these waited together.
    pub(crate) waited_micros: AtomicU64,
}

impl Counters {
    /// Connections with a finished handshake.
    #[must_use]
    pub fn connections_accepted(&self) -> u64 {
        read(&self.connections_accepted)
    }

    /// Connections closed at once because a limit on connections was reached.
    #[must_use]
    pub fn connections_refused(&self) -> u64 {
        read(&self.connections_refused)
    }

    /// Connections ended because their caller's certificate is admitted no longer.
    #[must_use]
    pub fn connections_dismissed(&self) -> u64 {
        read(&self.connections_dismissed)
    }

    /// Handshakes that failed: garbage, no certificate, an old version, a time-out.
    #[must_use]
    pub fn handshakes_failed(&self) -> u64 {
        read(&self.handshakes_failed)
    }

    /// Requests on authenticated connections, of all services.
    #[must_use]
    pub fn requests(&self) -> u64 {
        read(&self.requests)
    }

    /// Calls that the front answered with DEADLINE_EXCEEDED while the core still had them.
    #[must_use]
    pub fn answered_late(&self) -> u64 {
        read(&self.answered_late)
    }

    /// Calls that the core gave no readable answer to.
    #[must_use]
    pub fn core_away(&self) -> u64 {
        read(&self.core_away)
    }

    /// Times that changed TLS files came into force.
    #[must_use]
    pub fn reloads(&self) -> u64 {
        read(&self.reloads)
    }

    /// Times that changed TLS files could not be used.
    #[must_use]
    pub fn reloads_failed(&self) -> u64 {
        read(&self.reloads_failed)
    }

    /// Calls turned away for `reason`.
    #[must_use]
    pub fn turned_away(&self, reason: Reason) -> u64 {
        self.turned_away.get(reason as usize).map_or(0, read)
    }

    /// Mints that wait for the core now.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.queues.iter().map(|queue| read(&queue.waiting)).sum()
    }

    pub(crate) fn accepted(&self) {
        add(&self.connections_accepted);
    }

    pub(crate) fn refused(&self) {
        add(&self.connections_refused);
    }

    pub(crate) fn dismissed(&self) {
        add(&self.connections_dismissed);
    }

    pub(crate) fn handshake_failed(&self) {
        add(&self.handshakes_failed);
    }

    pub(crate) fn request(&self) {
        add(&self.requests);
    }

    pub(crate) fn late(&self) {
        add(&self.answered_late);
    }

    pub(crate) fn core_was_away(&self) {
        add(&self.core_away);
    }

    pub(crate) fn reloaded(&self) {
        add(&self.reloads);
    }

    pub(crate) fn reload_failed(&self) {
        add(&self.reloads_failed);
    }

    /// A mint went to the core without waiting.
    pub(crate) fn went_at_once(&self) {
        add(&self.went_at_once);
    }

    /// A mint begins to wait for the core.
    pub(crate) fn begins_to_wait(&self, urgency: Urgency) {
        if let Some(queue) = self.queues.get(urgency as usize) {
            add(&queue.waiting);
        }
    }

    /// It does not wait any more, whatever comes now.
    pub(crate) fn waits_no_more(&self, urgency: Urgency) {
        if let Some(queue) = self.queues.get(urgency as usize) {
            queue.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// It goes to the core after so long.
    pub(crate) fn waited(&self, urgency: Urgency, wait: Duration) {
        let millis = |bound: &u64| Duration::from_millis(*bound);
        let class = WAIT_BOUNDS_MILLIS.iter().position(|bound| wait <= millis(bound));
        let Some(queue) = self.queues.get(urgency as usize) else { return };
        if let Some(waited) = queue.waited.get(class.unwrap_or(WAIT_BOUNDS_MILLIS.len())) {
            add(waited);
        }
        queue.waited_micros.fetch_add(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn turn_away(&self, reason: Reason) {
        if let Some(counter) = self.turned_away.get(reason as usize) {
            add(counter);
        }
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
