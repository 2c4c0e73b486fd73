use hallmark_ledger::Committed;
use hallmark_policy::key::{SignatureAlgorithm, SpkiDigest};

fn forge(to_be_signed: Vec<u8>, issuer: SpkiDigest, algorithm: SignatureAlgorithm) -> Committed {
    Committed { to_be_signed, issuer, algorithm, log_index: 0 }
}

fn main() {}
