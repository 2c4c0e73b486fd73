//! What the front counts. Numbers only: no names, no addresses.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hallmark_proto::{
    counts::WAIT_BOUNDS_MILLIS,
    link::{FrontCounts, WaitCounts},
};

use crate::{admission::Urgency, turned_away::Reason};

/// Counters since the start; all of them only grow, but for what waits.
#[derive(Debug, Default)]
pub struct Counters {
    connections: AtomicU64,
    connections_accepted: AtomicU64,
    connections_refused: AtomicU64,
    connections_dismissed: AtomicU64,
    connections_gave_way: AtomicU64,
    connections_too_slow: AtomicU64,
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

    /// Connections closed, and handshakes broken off, because a limit on them was reached.
    #[must_use]
    pub fn connections_refused(&self) -> u64 {
        read(&self.connections_refused)
    }

    /// Connections ended because their caller's certificate is admitted no longer.
    #[must_use]
    pub fn connections_dismissed(&self) -> u64 {
        read(&self.connections_dismissed)
    }

    /// Idle connections that were told to leave for others.
    #[must_use]
    pub fn connections_gave_way(&self) -> u64 {
        read(&self.connections_gave_way)
    }

    /// Connections ended because their peers were too slow: to finish a frame, or to read.
    #[must_use]
    pub fn connections_too_slow(&self) -> u64 {
        read(&self.connections_too_slow)
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

    /// All of it, as the core is told.
    #[must_use]
    pub fn told(&self) -> FrontCounts {
        let wait = |queue: &QueueCounters| WaitCounts {
            waiting: read(&queue.waiting),
            waited: queue.waited.iter().map(read).collect(),
            waited_micros: read(&queue.waited_micros),
        };
        FrontCounts {
            connections: read(&self.connections),
            connections_accepted: self.connections_accepted(),
            connections_refused: self.connections_refused(),
            connections_dismissed: self.connections_dismissed(),
            connections_gave_way: self.connections_gave_way(),
            connections_too_slow: self.connections_too_slow(),
            handshakes_failed: self.handshakes_failed(),
            requests: self.requests(),
            answered_late: self.answered_late(),
            core_away: self.core_away(),
            reloads: self.reloads(),
            reloads_failed: self.reloads_failed(),
            turned_away: self.turned_away.iter().map(read).collect(),
            went_at_once: read(&self.went_at_once),
            waits: self.queues.iter().map(wait).collect(),
        }
    }

    /// A connection is there, until what is given is dropped.
    pub(crate) fn accepted(self: &Arc<Self>) -> Connected {
        add(&self.connections_accepted);
        add(&self.connections);
        Connected(Arc::clone(self))
    }

    pub(crate) fn refused(&self) {
        add(&self.connections_refused);
    }

    pub(crate) fn dismissed(&self) {
        add(&self.connections_dismissed);
    }

    pub(crate) fn gave_way(&self) {
        add(&self.connections_gave_way);
    }

    pub(crate) fn too_slow(&self) {
        add(&self.connections_too_slow);
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

/// A connection that is counted.
#[derive(Debug)]
pub(crate) struct Connected(Arc<Counters>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use hallmark_proto::{
        counts::{REASONS, URGENCIES},
        frame::COUNTS_BYTES_MAX,
    };
    use prost::Message as _;

    use super::*;

    #[test]
    fn the_core_knows_the_names_of_what_is_counted() {
        assert_eq!(Reason::ALL.map(Reason::code), REASONS);
        let urgencies = Urgency::ALL.map(|urgency| format!("{urgency:?}").to_lowercase());
        assert_eq!(urgencies.map(|name| name), URGENCIES.map(|name| name.replace('-', "")));
        for (place, urgency) in Urgency::ALL.into_iter().enumerate() {
            assert_eq!(urgency as usize, place);
        }
    }

    #[test]
    fn what_is_told_is_what_was_counted_and_fits_its_frame() {
        let counters = Arc::new(Counters::default());
        let (kept, ended) = (counters.accepted(), counters.accepted());
        drop(ended);
        counters.turn_away(Reason::Overloaded);
        counters.begins_to_wait(Urgency::Refresh);
        counters.waits_no_more(Urgency::Refresh);
        counters.begins_to_wait(Urgency::Other);
        for millis in [1, 1, 7, 2_000] {
            counters.waited(Urgency::Refresh, Duration::from_millis(millis));
        }
        let told = counters.told();
        assert_eq!((told.connections, told.connections_accepted), (1, 2));
        assert_eq!((told.turned_away[8], told.waits[1].waiting, told.waits[3].waiting), (1, 0, 1));
        assert_eq!(
            (&told.waits[1].waited[..], told.waits[1].waited_micros),
            (&[2, 0, 1, 0, 0, 0, 0, 0, 0, 1][..], 2_009_000)
        );
        drop(kept);
        let most = WaitCounts { waiting: u64::MAX, waited: vec![u64::MAX; 10], waited_micros: u64::MAX };
        let most = FrontCounts { turned_away: vec![u64::MAX; 11], waits: vec![most; 4], ..told };
        assert!(most.encoded_len() < COUNTS_BYTES_MAX as usize / 2);
    }
}
