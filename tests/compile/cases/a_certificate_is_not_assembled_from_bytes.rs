use hallmark_issuance::assemble;
use hallmark_policy::key::PublicKey;

fn forge(bytes: Vec<u8>, issuer: &PublicKey) {
    let _certificate = assemble(&bytes, issuer);
}

fn main() {}
