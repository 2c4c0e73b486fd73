//! Writes what only this project can make: the true draft, receipts with their verifier key. `seeds/csr` is openssl's
//! work, see `README.md`.
//!
//! `cd fuzz && cargo run --example write_seeds`

use std::{error::Error, fs};

use hallmark_fuzz::{approved, endorsed, request, true_draft};
use hallmark_policy::{NameInput, SubjectInput};
use hallmark_tlog::{
    checkpoint::Checkpoint, frontier::Frontier, hash::Hash, note::SignerKey, proof::BatchProver, receipt::Receipt,
};

/// The seed of the log key. It guards nothing.
const LOG_KEY_SEED: [u8; 32] = [5; 32];

fn main() -> Result<(), Box<dyn Error>> {
    fs::write("seeds/tbs_readback/true-draft", true_draft())?;
    fs::write("seeds/tbs_readback/many-names", many_names()?)?;
    let key = SignerKey::generate("hallmark.lab/fuzz", LOG_KEY_SEED)?;
    fs::write("fixtures/log.vkey", format!("{}\n", key.verifier()))?;
    for size in [6, 7, 300] {
        let leaves: Vec<_> = (0..size).map(|number| Hash::of_leaf(format!("entry {number}").as_bytes())).collect();
        let prover = BatchProver::new(&Frontier::empty(), &leaves);
        let note = Checkpoint::new("hallmark.lab/fuzz", prover.size(), prover.root())?.sign(&key)?;
        fs::write(format!("seeds/receipt/checkpoint-{size}"), note.to_string())?;
        let receipt = Receipt::new(5, prover.inclusion(5).ok_or("no proof")?, note);
        fs::write(format!("seeds/receipt/receipt-{size}"), receipt.to_string())?;
        fs::write(format!("seeds/receipt/receipt-extra-{size}"), receipt.with_extra(b"extra".to_vec()).to_string())?;
    }
    Ok(())
}

fn many_names() -> Result<Vec<u8>, Box<dyn Error>> {
    let dns = NameInput::Dns("cart.example.com".to_owned());
    let uri = |uri: &str| NameInput::Uri(uri.to_owned());
    let names = vec![dns, uri("spiffe://zone.example"), uri("https://zone.example/a/cart.example.com")];
    let subject =
        SubjectInput::Spki { spki: hallmark_fuzz::SUBJECT_SPKI.to_vec(), common_name: "cart.shop".to_owned(), names };
    let approved = approved(&hallmark_fuzz::PERMISSIVE, request("named", subject)).ok_or("refused")?;
    Ok(endorsed(approved).to_be_signed().to_vec())
}
