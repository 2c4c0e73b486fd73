//! The texts of policies beside a published log: each that came into force stands there under its SHA-256, unless it was taken away.

use std::collections::BTreeSet;

use hallmark_entry::sha256;
use hallmark_tlog::audit::LogFiles as _;

use super::{findings::Findings, source::Source};
use crate::files::FileError;

/// Where they are.
pub(crate) const DIRECTORY: &str = "policies";

/// Different policies that are looked for: some 10 MB of digests.
const POLICIES_MAX: usize = 1 << 16;

/// The policies that entries bring into force.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    loaded: BTreeSet<[u8; 32]>,
    /// How many entries name more policies than are looked for.
    dropped: u64,
}

/// What is there of their texts.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    /// How many are there.
    pub(crate) there: u64,
    /// How many are not, or were not looked for.
    pub(crate) missing: u64,
    /// Texts that are not what was loaded.
    pub(crate) findings: Findings,
}

impl Policies {
    /// An entry brings one into force.
    pub(crate) fn add(&mut self, digest: [u8; 32]) {
        if self.loaded.len() >= POLICIES_MAX && !self.loaded.contains(&digest) {
            self.dropped += 1;
        } else {
            self.loaded.insert(digest);
        }
    }

    /// Reads every text, and gives those to `take` that are what was loaded, with their paths.
    pub(crate) fn read<E: From<FileError>>(
        &self,
        source: &Source,
        mut take: impl FnMut(&str, &[u8]) -> Result<(), E>,
    ) -> Result<Texts, E> {
        let mut texts = Texts { missing: self.dropped, ..Texts::default() };
        for digest in &self.loaded {
            let path = format!("{DIRECTORY}/{}", hallmark_policy::hex(digest));
            match source.read(&path)? {
                None => texts.missing += 1,
                Some(text) if sha256(&text) == *digest => {
                    texts.there += 1;
                    take(&path, &text)?;
                }
                Some(_) => texts.findings.add(&format!("`{path}` does not have the SHA-256 that its name says")),
            }
        }
        Ok(texts)
    }
}
