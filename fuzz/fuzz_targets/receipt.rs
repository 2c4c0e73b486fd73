//! Any bytes as a receipt and as a signed note: one spelling only, and no proof but the true one.
#![no_main]

use std::sync::LazyLock;

use hallmark_tlog::{
    checkpoint::Checkpoint,
    note::{Note, VerifierKey},
    receipt::Receipt,
};
use libfuzzer_sys::fuzz_target;

/// The entry that the receipts among the seeds prove, and where it stands.
const ENTRY: &[u8] = b"entry 5";
const INDEX: u64 = 5;

static KEY: LazyLock<VerifierKey> = LazyLock::new(|| {
    VerifierKey::parse(include_str!("../fixtures/log.vkey").trim_end()).expect("the fixture is a verifier key")
});

fuzz_target!(|bytes: &[u8]| {
    let keys = std::slice::from_ref(&*KEY);
    if let Ok(receipt) = Receipt::parse(bytes) {
        assert_eq!(receipt.to_string().as_bytes(), bytes, "a second spelling of a receipt");
        if let Ok(verified) = receipt.verify(ENTRY, keys) {
            assert_eq!(verified.index, INDEX, "the entry was proven to stand elsewhere");
        }
    }
    if let Ok(note) = Note::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes, "a second spelling of a note");
    }
    let _ = Checkpoint::open(bytes, keys);
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = Checkpoint::parse_unverified(text);
        let _ = VerifierKey::parse(text);
    }
});
