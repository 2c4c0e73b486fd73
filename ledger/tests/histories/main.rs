//! Random histories of instances against the whole ledger, with a database on a disk: policy decides, the writer commits, and the same short model as that of
//! the rule says what must come of it. Agents register, refresh, retry, race and are copied by thieves; signatures fail; the daemon is killed, and databases are restored.
//!
//! `HALLMARK_LEDGER_SEQUENCES=10000` runs so many histories; two hundred run by themselves.
#[cfg(test)]
#[path = "../../src/instance/model/chance.rs"]
mod chance;
#[cfg(test)]
mod history;
#[cfg(test)]
mod real;
#[cfg(test)]
#[path = "../../src/instance/model/reference.rs"]
mod reference;
#[cfg(test)]
#[path = "../world/mod.rs"]
mod world;

use std::{collections::BTreeSet, sync::Arc};

use history::History;
use real::Founded;
use tokio::task::JoinSet;

const SEQUENCES: u64 = 200;
/// Histories at a time: most of the time each waits for threads.
const WORKERS: u64 = 6;
const STEPS: u64 = 25;
const INSTANCES: u64 = 2;
const LIFETIME_SECS: i64 = 30 * 86_400;

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_does_what_a_short_model_says_over_random_histories() {
    let sequences = std::env::var("HALLMARK_LEDGER_SEQUENCES").ok().map(|text| text.parse().expect("a number"));
    let sequences: u64 = sequences.unwrap_or(SEQUENCES);
    let founded = Arc::new(Founded::new().await);
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let founded = Arc::clone(&founded);
        workers.spawn(async move {
            let mut seen = BTreeSet::new();
            for number in (worker..sequences).step_by(WORKERS as usize) {
                let mut history = History::new(number, &founded).await;
                for _ in 0..STEPS {
                    history.step(&mut seen).await;
                }
            }
            seen
        });
    }
    let seen: BTreeSet<String> = workers.join_all().await.into_iter().flatten().collect();
    let expected = [
        "AUTHORITY_STOPPED",
        "INSTANCE_CERTIFICATE_FOREIGN",
        "INSTANCE_CERTIFICATE_REPLACED",
        "INSTANCE_DIFFERS",
        "INSTANCE_EXISTS",
        "INSTANCE_RETRY_USED",
        "INSTANCE_REVOKED",
        "INSTANCE_STOLEN",
        "INSTANCE_UNKNOWN",
        "crashed",
        "moved",
        "moved-again",
        "raced",
        "registered",
        "reissued",
        "replaced",
        "restored",
        "retried",
        "same",
    ];
    for word in expected {
        assert!(seen.contains(word), "{word} was never seen: {seen:?}");
    }
}
