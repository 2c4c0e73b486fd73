//! Receipts as the ledger makes them: one checkpoint for a batch, a proof for each entry, verified before it leaves.

use std::time::{Duration, Instant};

use anyhow::Result;
use hallmark_tlog::{
    checkpoint::Checkpoint,
    frontier::Frontier,
    hash::Hash,
    proof::{BatchProver, verify_inclusion},
    receipt::Receipt,
};

use crate::synthetic;

/// Entries that the tree has before.
const SIZE_BEFORE: u64 = 10_000_000;

/// Entries of a batch: what 64 clients have under way.
const BATCH: u64 = 64;

const MEASURED_FOR: Duration = Duration::from_secs(3);

/// Makes them for some seconds on one thread.
pub(crate) fn measure() -> Result<()> {
    let key = synthetic::log_key()?;
    let mut frontier = Frontier::empty();
    frontier.append_all((0..SIZE_BEFORE).map(|index| Hash::of_leaf(&index.to_be_bytes())));
    let began = Instant::now();
    let (mut made, mut bytes) = (0_u64, 0);
    while began.elapsed() < MEASURED_FOR {
        let first = frontier.size();
        let leaves: Vec<Hash> = (0..BATCH).map(|number| Hash::of_leaf(&(first + number).to_be_bytes())).collect();
        let prover = BatchProver::new(&frontier, &leaves);
        let checkpoint = Checkpoint::new(key.verifier().name(), prover.size(), prover.root())?;
        let note = checkpoint.sign(&key)?;
        Checkpoint::open_note(&note, std::slice::from_ref(key.verifier()))?;
        for (leaf, index) in leaves.iter().zip(first..) {
            let path = prover.inclusion(index).unwrap_or_default();
            verify_inclusion(leaf, index, prover.size(), &path, &prover.root())?;
            bytes += Receipt::new(index, path, note.clone()).to_string().len();
            made += 1;
        }
        frontier.append_all(leaves);
    }
    let rate = made as f64 / began.elapsed().as_secs_f64();
    println!("{rate:.0} receipts/s on one thread in batches of {BATCH}, {} bytes each", bytes as u64 / made);
    Ok(())
}
