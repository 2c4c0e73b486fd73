use hallmark_backends::Signature;
use hallmark_ledger::Committed;
use hallmark_policy::key::PublicKey;

fn forge(committed: Committed, bytes: Vec<u8>, key: &PublicKey) {
    let _signature = Signature::verified(committed.into(), bytes, key);
}

fn main() {}
