//! Secrets that are split among custodians.

use std::path::PathBuf;

use super::Reader;
use crate::{
    file::{CustodianTable, QuorumTable},
    quorum::{CUSTODIANS_MAX, THRESHOLD_RANGE, paper::Paper, sealed::Sealer},
};

/// A PIN that is split.
#[derive(Clone, Debug)]
pub struct QuorumTask {
    /// How many custodians have it together.
    pub threshold: usize,
    /// Where the record is written.
    pub record: PathBuf,
    /// The custodians.
    pub custodians: Vec<Custodian>,
}

/// Who keeps a share.
#[derive(Clone, Debug)]
pub struct Custodian {
    /// Name.
    pub name: String,
    /// Where the share is written.
    pub share: PathBuf,
    /// To whom it is sealed; it is for paper if there is none.
    pub(crate) sealer: Option<Sealer>,
}

impl Reader<'_> {
    pub(super) fn quorum(&mut self, table: &QuorumTable) -> QuorumTask {
        const PLACE: &str = "task.quorum";
        let custodians = self.custodians(PLACE, table.threshold, &table.custodian);
        QuorumTask { threshold: table.threshold, record: self.path(&table.record), custodians }
    }

    /// Who keeps shares, at least as many as are wanted.
    pub(super) fn custodians(&mut self, place: &str, threshold: usize, tables: &[CustodianTable]) -> Vec<Custodian> {
        let count = tables.len();
        if !THRESHOLD_RANGE.contains(&threshold) {
            let (least, most) = (THRESHOLD_RANGE.start(), THRESHOLD_RANGE.end());
            self.mistake(place, format!("`threshold` is {threshold}; it lies between {least} and {most}"));
        }
        if !(threshold..=CUSTODIANS_MAX).contains(&count) {
            let sentence = format!("there are {count} custodians; there must be {threshold} to {CUSTODIANS_MAX}");
            self.mistake(place, sentence);
        }
        let mut custodians = Vec::new();
        for CustodianTable { name, share, recipient } in tables {
            if name.trim() != name || name.is_empty() || name.contains(char::is_control) {
                self.mistake(place, format!("the name `{name}` is empty, or has control characters"));
            }
            let sealer = recipient.as_deref().map(Sealer::parse);
            if let Some(None) = &sealer {
                let hint = "give `age1..` or a whole line `ssh-ed25519 ..`";
                self.mistake(place, format!("the recipient of `{name}` is none; {hint}"));
            }
            if sealer.is_none() && !Paper::of(share).has_letters_of(name) {
                let hint = "write it in Latin letters, or name a share that ends in `.html`";
                self.mistake(place, format!("the fonts of a PDF lack letters of `{name}`; {hint}"));
            }
            custodians.push(Custodian { name: name.clone(), share: self.path(share), sealer: sealer.flatten() });
        }
        custodians
    }
}
