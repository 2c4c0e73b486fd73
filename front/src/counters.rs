//! What the front counts. Numbers only: no names, no addresses.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::turned_away::Reason;

/// Counters since the start, all of them growing only.
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
