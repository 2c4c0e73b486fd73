//! Texts: notes, checkpoints and receipts that other implementations read, and that read theirs.

use crate::world::{ORIGIN, Stored, entry, leaf, log_key};
use hallmark_tlog::{
    checkpoint::{Checkpoint, CheckpointError},
    hash::Hash,
    note::{KeyId, NOTE_BYTES_MAX, Note, NoteError, NoteSignature, SIGNATURES_MAX, SignerKey, VerifierKey},
    proof::{BatchProver, ProofError, prove_inclusion},
    receipt::{Receipt, ReceiptError, Verified},
    tile::{TileKind, TilePath},
};
use proptest::prelude::*;
use signed_note::{Signer as _, Verifier as _};

fn keys() -> [VerifierKey; 1] {
    [log_key().verifier().clone()]
}

fn receipt(index: u64, size: u64) -> Receipt {
    let stored = Stored::first(size);
    let head = Checkpoint::new(ORIGIN, size, stored.root()).unwrap().sign(&log_key()).unwrap();
    Receipt::new(index, prove_inclusion(&stored, index, size).unwrap(), head)
}

#[test]
fn another_implementation_opens_our_notes() {
    let note = Note::sign("a text\n\nwith a blank line\n".to_string(), &[&log_key()]).unwrap().to_string();
    let theirs = signed_note::StandardVerifier::new(&log_key().verifier().to_string()).unwrap();
    let read = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
    let known = signed_note::VerifierList::new(vec![Box::new(theirs)]);
    let (verified, unverified) = read.verify(&known).unwrap();
    assert_eq!((verified.len(), unverified.len()), (1, 0));
    assert_eq!(read.text(), b"a text\n\nwith a blank line\n");
}

#[test]
fn we_open_the_notes_of_another_implementation() {
    let theirs = signed_note::StandardSigner::new(&log_key().to_secret_text()).unwrap();
    let mut note = signed_note::Note::new(b"a text\n", &[]).unwrap();
    note.add_sigs(&[&theirs]).unwrap();
    let read = Note::parse(&note.to_bytes()).unwrap();
    assert_eq!(read.verify(&keys()).unwrap(), keys().iter().collect::<Vec<_>>());
    assert_eq!(u32::from_be_bytes(*log_key().verifier().id().as_bytes()), theirs.key_id());
    assert_eq!(log_key().sign(b"a text\n").to_vec(), theirs.sign(b"a text\n").unwrap());
}

#[test]
fn a_key_of_another_implementation_reads_and_verifies() {
    // The example key that the Go and Rust packages document.
    let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let note = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem \
                is.\n\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let key = VerifierKey::parse(text).unwrap();
    assert_eq!(key.to_string(), text);
    assert_eq!(key.id().to_string(), format!("{:08x}", signed_note::StandardVerifier::new(text).unwrap().key_id()));
    assert_eq!(Note::parse(note.as_bytes()).unwrap().verify(std::slice::from_ref(&key)), Ok(vec![&key]));
}

#[test]
fn another_implementation_reads_our_checkpoints() {
    let head = Checkpoint::new(ORIGIN, 7, leaf(1)).unwrap().with_extension("one more line").unwrap();
    let theirs = tlog_tiles::Checkpoint::from_bytes(head.to_string().as_bytes()).unwrap();
    assert_eq!((theirs.origin(), theirs.size(), theirs.hash().0), (ORIGIN, 7, *leaf(1).as_bytes()));
    assert_eq!(Checkpoint::parse_unverified(std::str::from_utf8(&theirs.to_bytes()).unwrap()), Ok(head));
}

#[test]
fn signatures_of_strangers_are_ignored_and_wrong_ones_of_known_keys_are_not() {
    let stranger = SignerKey::generate("witness.example", [9; 32]).unwrap();
    let both = Note::sign("text\n".to_string(), &[&stranger, &log_key()]).unwrap();
    assert_eq!(both.verify(&keys()).unwrap().len(), 1);
    let wrong = NoteSignature::by(stranger.verifier(), &log_key().sign(b"text\n"));
    let note = Note::sign("text\n".to_string(), &[&log_key()]).unwrap().with_signature(wrong).unwrap();
    assert_eq!(note.verify(&keys()).unwrap().len(), 1);
    let known = [log_key().verifier().clone(), stranger.verifier().clone()];
    let (name, id) = ("witness.example".to_string(), stranger.verifier().id());
    assert_eq!(note.verify(&known), Err(NoteError::WrongSignature { name, id }));
}

#[test]
fn a_signature_of_an_algorithm_we_do_not_know_is_carried_along() {
    let id = KeyId::from_bytes([1, 2, 3, 4]);
    let signature = NoteSignature::new("device.example", id, vec![7; 71]).unwrap();
    let note = Note::sign("text\n".to_string(), &[&log_key()]).unwrap().with_signature(signature.clone()).unwrap();
    let read = Note::parse(note.to_string().as_bytes()).unwrap();
    assert_eq!(read.signatures()[1], signature);
    assert_eq!(read, note);
}

#[test]
fn damaged_notes_are_refused() {
    let note = Note::sign("text\n".to_string(), &[&log_key()]).unwrap().to_string();
    let line = note.lines().last().unwrap();
    let cases = [
        (String::new(), NoteError::NoSignatures),
        ("text\n".to_string(), NoteError::NoSignatures),
        ("text\n\n".to_string(), NoteError::NoSignatures),
        (note.trim_end().to_string(), NoteError::NoSignatures),
        (format!("{note}\n"), NoteError::NoSignatures),
        (format!("{note}- x AAAAAAA=\n"), NoteError::MalformedSignature { line: 2 }),
        (note.replace("=\n", "\n"), NoteError::MalformedSignature { line: 1 }),
        (note.replace(ORIGIN, "a+b"), NoteError::MalformedSignature { line: 1 }),
        ("text\n\n\u{2014} name AAAAAA==\n".to_string(), NoteError::MalformedSignature { line: 1 }),
        (note.replace("text", "te\txt"), NoteError::NotText),
        (note.replace("text", "te\0xt"), NoteError::NotText),
        (note.replace("text\n", "text\r\n"), NoteError::NotText),
        (format!("text\n\n{}", format!("{line}\n").repeat(SIGNATURES_MAX + 1)), NoteError::TooManySignatures),
        ("x".repeat(NOTE_BYTES_MAX + 1), NoteError::TooLong { bytes: NOTE_BYTES_MAX + 1 }),
    ];
    for (text, error) in cases {
        assert_eq!(Note::parse(text.as_bytes()), Err(error), "{:?}", text.get(..200).unwrap_or(&text));
    }
    let repeated = Note::parse(format!("{note}{line}\n").as_bytes());
    assert!(matches!(repeated, Err(NoteError::RepeatedSignature { line: 2, .. })));
    assert_eq!(Note::parse(b"\xff\n\n\n"), Err(NoteError::NotText));
    assert_eq!(Note::sign("text".to_string(), &[&log_key()]), Err(NoteError::TextUnfinished));
    assert_eq!(Note::sign("text\n".to_string(), &[]), Err(NoteError::NoSignatures));
}

#[test]
fn a_receipt_proves_its_entry_and_no_other() {
    let text = receipt(3, 9).to_string();
    let read = Receipt::parse(text.as_bytes()).unwrap();
    assert_eq!(read, receipt(3, 9));
    let (origin, root) = (ORIGIN.to_string(), Stored::first(9).root());
    assert_eq!(read.verify(&entry(3), &keys()), Ok(Verified { origin, index: 3, size: 9, root }));
    assert_eq!(read.verify(&entry(4), &keys()), Err(ReceiptError::Proof(ProofError::RootDiffers)));
    let alone = Receipt::parse(receipt(0, 1).to_string().as_bytes()).unwrap();
    assert_eq!(alone.verify(&entry(0), &keys()).map(|verified| verified.size), Ok(1));
    let stranger = [SignerKey::generate(ORIGIN, [9; 32]).unwrap().verifier().clone()];
    let unknown = ReceiptError::Checkpoint(CheckpointError::Note(NoteError::NoKnownSignature));
    assert_eq!(read.verify(&entry(3), &stranger), Err(unknown));
}

#[test]
fn a_receipt_has_the_lines_of_the_specification() {
    let receipt = receipt(1, 2).with_extra(b"more".to_vec());
    let text = receipt.to_string();
    let lines: Vec<_> = text.lines().collect();
    let sibling = leaf(0).to_string();
    let expected = ["c2sp.org/tlog-proof@v1", "extra bW9yZQ==", "index 1", &sibling, "", ORIGIN, "2"];
    assert_eq!(lines[..7], expected);
    assert!(text.ends_with(&receipt.checkpoint().to_string()));
    assert_eq!(Receipt::parse(text.as_bytes()).unwrap().extra_unverified(), Some(b"more".as_slice()));
    assert_eq!(receipt.clone().with_extra(Vec::new()).extra_unverified(), None);
}

#[test]
fn every_entry_of_a_batch_gets_a_receipt_that_holds() {
    let before = Stored::first(200);
    let leaves: Vec<_> = (200..264).map(leaf).collect();
    let prover = BatchProver::new(&before.frontier, &leaves);
    let head = Checkpoint::new(ORIGIN, prover.size(), prover.root()).unwrap().sign(&log_key()).unwrap();
    for index in 200..264 {
        let receipt = Receipt::new(index, prover.inclusion(index).unwrap(), head.clone());
        assert_eq!(receipt.verify(&entry(index), &keys()).unwrap().index, index);
    }
}

#[test]
fn damaged_receipts_are_refused() {
    let text = receipt(3, 9).to_string();
    let hash = leaf(2).to_string();
    let cases = [
        (text.replace("@v1", "@v2"), ReceiptError::NoHeader),
        (String::new(), ReceiptError::NoHeader),
        (text.replace("index 3", "extra \nindex 3"), ReceiptError::BadExtra),
        (text.replace("index 3", "extra bW9yZQ\nindex 3"), ReceiptError::BadExtra),
        (text.replace("index 3", "extra bW9y\nextra bW9y\nindex 3"), ReceiptError::BadIndex),
        (text.replace("index 3", "index 03"), ReceiptError::BadIndex),
        (text.replace("index 3", "index  3"), ReceiptError::BadIndex),
        (text.replace(&hash, "AAAA"), ReceiptError::BadHash { number: 1 }),
        (text.replace(&hash, &format!("{hash}\n").repeat(70)), ReceiptError::TooManyHashes),
        (text.split("\n\n").next().unwrap().to_string(), ReceiptError::NoCheckpoint),
        (text.trim_end().to_string(), ReceiptError::Note(NoteError::NoSignatures)),
        (text.replace("\n9\n", "\n09\n"), ReceiptError::Checkpoint(CheckpointError::BadSize)),
    ];
    for (text, error) in cases {
        assert_eq!(Receipt::parse(text.as_bytes()), Err(error), "{text}");
    }
}

proptest! {
    #[test]
    fn any_one_byte_change_of_a_receipt_is_noticed(at: prop::sample::Index, byte: u8) {
        let mut bytes = receipt(5, 13).to_string().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        let verified = Receipt::parse(&bytes).and_then(|receipt| receipt.verify(&entry(5), &keys()));
        prop_assert!(verified.is_err());
    }

    #[test]
    fn paths_read_back(level in 0_u8..=63, index in 0_u64..=u64::MAX >> 9, width in 1_u16..=256, entries: bool) {
        let path = if entries { TilePath::entries(index, width) } else { TilePath::hashes(level, index, width) }.unwrap();
        prop_assert_eq!(TilePath::parse(&path.to_string()), Ok(path));
        prop_assert_eq!(path.kind() == TileKind::Entries, entries);
    }

    #[test]
    fn what_parses_is_written_as_it_was_read(text in "(tile|tile/(0|1|63|entries))/(x?[0-9]{1,3}/){0,3}[0-9]{2,3}(\\.p/[0-9]{1,3})?") {
        if let Ok(path) = TilePath::parse(&text) {
            prop_assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        parse_everything(&bytes)?;
    }

    #[test]
    fn no_text_that_looks_right_makes_a_parser_panic(text in "(c2sp.org/tlog-proof@v1\n)?((extra|index|\u{2014}|name\\+|PRIVATE\\+KEY\\+n\\+) ?[0-9a-fA-Z+/= ]{0,50}\n|[0-9]{1,25}\n|\n){0,9}") {
        parse_everything(text.as_bytes())?;
    }

    #[test]
    fn no_altered_receipt_makes_a_parser_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut: prop::sample::Index,
    ) {
        let mut bytes = receipt(2, 3).with_extra(vec![1]).to_string().into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        parse_everything(&bytes[..cut.index(bytes.len())])?;
        parse_everything(&bytes)?;
    }
}

/// Parses the bytes as everything. What is accepted must be written exactly as it was read.
fn parse_everything(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(receipt) = Receipt::parse(bytes) {
        prop_assert_eq!(receipt.to_string().into_bytes(), bytes);
    }
    if let Ok(note) = Note::parse(bytes) {
        prop_assert_eq!(note.to_string().into_bytes(), bytes);
    }
    if let Ok(entries) = hallmark_tlog::bundle::decode(bytes) {
        prop_assert_eq!(hallmark_tlog::bundle::encode(entries).unwrap(), bytes);
    }
    if let Ok(hashes) = hallmark_tlog::tile::decode_hashes(bytes) {
        prop_assert_eq!(hallmark_tlog::tile::encode_hashes(&hashes), bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return Ok(()) };
    if let Ok(checkpoint) = Checkpoint::parse_unverified(text) {
        prop_assert_eq!(checkpoint.to_string(), text);
    }
    if let Ok(path) = TilePath::parse(text) {
        prop_assert_eq!(path.to_string(), text);
    }
    if let Ok(key) = VerifierKey::parse(text) {
        prop_assert_eq!(key.to_string(), text);
    }
    if let Ok(key) = SignerKey::parse(text) {
        prop_assert!(*key.to_secret_text() == text);
    }
    for line in text.split('\n') {
        let signature = NoteSignature::parse(line);
        prop_assert!(signature.is_none_or(|signature| signature.to_string() == line));
        let hash = Hash::from_base64(line);
        prop_assert!(hash.is_none_or(|hash| hash.to_string() == line));
    }
    Ok(())
}
