use std::time::Instant;

use hallmark_backends::{Done, Keyring};
use hallmark_ledger::Committed;

fn sign_unseen(keyring: &Keyring, committed: Committed, deadline: Instant, done: Done) {
    keyring.sign_message(committed.into(), deadline, done);
}

fn main() {}
