use hallmark_backends::{Moments, Signature};
use hallmark_ledger::Committed;
use hallmark_policy::key::PublicKey;

fn forge(committed: Committed, bytes: Vec<u8>, key: &PublicKey, moments: Moments) {
    let _signature = Signature::verified(committed.into(), bytes, key, moments);
}

fn main() {}
