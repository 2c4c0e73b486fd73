use std::time::Instant;

use hallmark_backends::{Done, Keyring};
use hallmark_policy::Warrant;

fn skip_the_ledger(keyring: &Keyring, warrant: Warrant, deadline: Instant, done: Done) {
    keyring.sign(warrant, deadline, done);
}

fn main() {}
