//! The epochs of a log, replayed from genesis as an outsider would: every transition follows from its manifest and the one
//! before, and no leaf stands under an epoch that another had replaced.

use std::collections::{BTreeMap, BTreeSet};

use hallmark_policy::{authority::transition, hex};
use serde_json::Value;

use crate::{log::Log, mesh::GENESIS, tools::from_hex};

/// An epoch that was active, as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Its generation.
    pub generation: u64,
    /// Its transition.
    pub transition: [u8; 32],
    /// Index of the entry from which on it was active.
    pub active_index: usize,
    /// Leaves that were issued under it.
    pub leaves: u64,
    /// CRLs that its key was to sign, also after others had taken its place.
    pub crls: u64,
}

/// Replays the epochs of one authority, in the order in which they were active.
///
/// # Panics
/// If a transition does not follow from its manifest and the one before, two epochs share a generation, a label or a
/// certificate, numbers of CRLs do not grow, or a leaf was issued under another epoch than the active one.
#[must_use]
pub fn replay(log: &Log, authority: &str) -> Vec<Replayed> {
    let mut intents = BTreeMap::new();
    let mut labels = BTreeSet::new();
    let mut certificates = BTreeSet::new();
    let mut crls: BTreeMap<Option<u64>, BTreeSet<u64>> = BTreeMap::new();
    let mut active: Vec<Replayed> = Vec::new();
    for (index, entry) in log.entries.iter().enumerate().filter(|(_, entry)| entry["authority"] == authority) {
        let generation = entry["epoch"]["generation"].as_u64();
        match (entry["type"].as_str(), entry["step"].as_str(), entry["stage"].as_str()) {
            (Some("rotation"), Some("epoch-intent"), _) => {
                let generation = generation.expect("an epoch's intent has a generation");
                assert!(labels.insert(entry["label"].to_string()), "two epochs share a label: {entry}");
                assert!(
                    intents.insert(generation, Intent::read(entry)).is_none(),
                    "generation {generation} came twice"
                );
            }
            (Some("rotation"), Some("epoch-active"), _) => {
                let generation = generation.expect("an active epoch has a generation");
                let Intent { transition, previous } = intents[&generation];
                let before = active.last().map_or(GENESIS, |epoch| epoch.transition);
                assert_eq!((previous, digest(&entry["previous"])), (before, before), "epoch {generation}");
                assert_eq!(digest(&entry["epoch"]["transition"]), transition, "epoch {generation}");
                active.push(Replayed { generation, transition, active_index: index, leaves: 0, crls: 0 });
            }
            (Some("decision"), _, Some("crl")) if entry["decision"] == "issued" => {
                let number = entry["crl-number"].as_u64().expect("a CRL has a number");
                let newest = crls.entry(generation).or_default();
                assert!(newest.iter().all(|before| *before < number), "entry {index}: {entry}");
                newest.insert(number);
            }
            (Some("decision"), _, Some(stage)) if entry["decision"] == "issued" => match active.last_mut() {
                Some(epoch) if stage == "leaf" => {
                    assert_eq!(generation, Some(epoch.generation), "entry {index}: a leaf of a retired epoch: {entry}");
                    assert_eq!(digest(&entry["epoch"]["transition"]), epoch.transition, "entry {index}");
                    epoch.leaves += 1;
                }
                None if stage == "leaf" => panic!("entry {index}: a leaf before the first epoch: {entry}"),
                Some(_) | None => {
                    assert!(certificates.insert((generation, stage)), "entry {index}: a second certificate: {entry}");
                }
            },
            _ => {}
        }
    }
    for epoch in &mut active {
        epoch.crls = crls.get(&Some(epoch.generation)).map_or(0, |numbers| numbers.len() as u64);
    }
    active
}

/// What an epoch was to be.
#[derive(Clone, Copy)]
struct Intent {
    transition: [u8; 32],
    previous: [u8; 32],
}

impl Intent {
    fn read(entry: &Value) -> Self {
        let (named, previous) = (digest(&entry["epoch"]["transition"]), digest(&entry["previous"]));
        assert_eq!(named, transition(&digest(&entry["manifest-sha256"]), &previous), "{entry}");
        Self { transition: named, previous }
    }
}

fn digest(value: &Value) -> [u8; 32] {
    let text = value.as_str().expect("a digest");
    let bytes: [u8; 32] = from_hex(text).try_into().expect("32 bytes");
    assert_eq!(hex(&bytes), text, "lower case");
    bytes
}
