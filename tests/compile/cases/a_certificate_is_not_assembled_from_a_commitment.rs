use hallmark_issuance::assemble;
use hallmark_ledger::Committed;
use hallmark_policy::key::PublicKey;

fn skip_the_key(committed: Committed, issuer: &PublicKey) {
    let _certificate = assemble(&committed, issuer);
}

fn main() {}
