use std::time::Instant;

use hallmark_backends::{Done, Keyring};
use hallmark_ledger::Committed;

fn twice(keyring: &Keyring, committed: Committed, deadline: Instant, first: Done, second: Done) {
    keyring.sign(committed, deadline, first);
    keyring.sign(committed, deadline, second);
}

fn main() {}
