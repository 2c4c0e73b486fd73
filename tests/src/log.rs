//! The published log, read as an outsider would.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hallmark_proto::signer::{MintCertificateResponse, Refusal};
use hallmark_tlog::{
    audit::{Auditor, LogFiles, Visitor},
    note::VerifierKey,
    receipt::Receipt,
};
use serde_json::Value;

/// The entries of a log that was audited.
#[derive(Debug)]
pub struct Log {
    /// The entries, verbatim.
    pub raw: Vec<Vec<u8>>,
    /// The entries, parsed.
    pub entries: Vec<Value>,
    key: VerifierKey,
}

struct Directory(PathBuf);

impl LogFiles for Directory {
    type Error = io::Error;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, io::Error> {
        match fs::read(self.0.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[derive(Default)]
struct Collected(Vec<Vec<u8>>);

impl Visitor for Collected {
    fn entry(&mut self, index: u64, entry: &[u8]) {
        assert_eq!(index, self.0.len() as u64);
        self.0.push(entry.to_vec());
    }
}

impl Log {
    /// Audits the log in a directory and reads its entries.
    ///
    /// # Panics
    /// If anything is wrong with it.
    #[must_use]
    pub fn read(directory: &Path, verifier_key: &str) -> Self {
        let key = VerifierKey::parse(verifier_key.trim()).expect("a verifier key");
        let mut collected = Collected::default();
        let keys = [key.clone()];
        let report = Auditor::new(&keys)
            .audit(&Directory(directory.to_owned()), &mut collected)
            .expect("the log can be audited");
        assert!(report.is_clean(), "{:?}", report.findings);
        let parse = |entry: &Vec<u8>| serde_json::from_slice(entry).expect("an entry is JSON");
        let entries: Vec<Value> = collected.0.iter().map(parse).collect();
        for (raw, entry) in collected.0.iter().zip(&entries) {
            assert_eq!(serde_json::to_vec(entry).expect("JSON"), *raw, "an entry is canonical JSON");
        }
        Self { raw: collected.0, entries, key }
    }

    /// Entries of a type.
    pub fn of_type<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> + 'a {
        self.entries.iter().filter(move |entry| entry["type"] == name)
    }

    /// Decisions of a kind: `issued`, `refused` or `validated`, about leaves and everything that was refused.
    #[must_use]
    pub fn decisions(&self, decision: &str) -> Vec<&Value> {
        self.of_type("decision").filter(|entry| entry["decision"] == decision).collect()
    }

    /// Checks that a response's receipt proves its entry, and that the entry stands there.
    ///
    /// # Panics
    /// If it does not.
    pub fn proves(&self, response: &MintCertificateResponse) {
        self.proves_entry(response.log_index, &response.receipt, &response.log_entry);
    }

    /// Checks that a refusal's receipt proves its entry.
    ///
    /// # Panics
    /// If it does not.
    pub fn proves_refusal(&self, refusal: &Refusal) {
        let entry = self.raw[usize::try_from(refusal.log_index).expect("an index")].clone();
        self.proves_entry(refusal.log_index, &refusal.receipt, &entry);
    }

    /// Checks that a receipt proves an entry, and that the entry stands there.
    ///
    /// # Panics
    /// If it does not.
    pub fn proves_entry(&self, index: u64, receipt: &str, entry: &[u8]) {
        let receipt = Receipt::parse(receipt.as_bytes()).expect("a receipt");
        let keys = [self.key.clone()];
        let verified = receipt.verify(entry, &keys).expect("the receipt verifies");
        assert_eq!(verified.index, index);
        assert_eq!(self.raw[usize::try_from(index).expect("an index")], entry);
    }
}
