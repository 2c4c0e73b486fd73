//! How the ledger and the published log stand.

use hallmark_ledger::{LedgerReading, Room};
use prometheus_client::registry::{Registry, Unit};

use super::shown::{Histograms, Unlabelled, counter, gauge, number};
use crate::core::Inner;

impl Inner {
    pub(super) fn ledger_metrics(&self, registry: &mut Registry) {
        let LedgerReading { batches, commits, waiting, published, published_ago, free_bytes } = self.ledger.reading();
        registry.register("log_entries", "Entries of the decision log", gauge(number(self.ledger.head().size)));
        registry.register(
            "log_published_entries",
            "Entries under the newest published checkpoint",
            gauge(number(published)),
        );
        if let Some(ago) = published_ago {
            registry.register_with_unit(
                "log_publication_age",
                "Time since this run published a checkpoint",
                Unit::Seconds,
                gauge(number(ago.as_secs())),
            );
        }
        registry.register("ledger_commits", "Transactions of the ledger", counter(self.ledger.commits()));
        registry.register_with_unit(
            "ledger_commit_duration",
            "How long COMMIT took, with the sync of the disk",
            Unit::Seconds,
            Histograms::of_durations([(Unlabelled, commits)]),
        );
        registry.register(
            "ledger_batch_operations",
            "Operations that shared one transaction",
            Histograms::of_counts([(Unlabelled, batches)]),
        );
        registry.register(
            "ledger_queue_operations",
            "Operations that wait for the ledger's writer",
            gauge(number(waiting)),
        );
        let room = match self.ledger.room() {
            Room::Ample => 2,
            Room::Low => 1,
            Room::Last => 0,
        };
        registry.register(
            "ledger_room",
            "What the ledger's disk has room for: 2 everything, 1 no refusals, 0 only revocations and what operators do",
            gauge(room),
        );
        if let Some(free) = free_bytes {
            registry.register_with_unit(
                "ledger_free",
                "Free space of the ledger's file system",
                Unit::Bytes,
                gauge(number(free)),
            );
        }
    }
}
