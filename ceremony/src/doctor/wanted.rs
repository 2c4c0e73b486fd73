//! What a policy wants of a place that tells nothing without a log-in, held against what is known of it.

use hallmark_backends::{Ability, Lack};
use hallmark_policy::{
    key::{KeyKind, SignatureAlgorithm},
    profile::{Authority, CaProfile},
};

use super::Finding;

/// What a policy wants of this device.
#[derive(Default)]
pub(super) struct Wanted {
    keys: Vec<Key>,
}

/// A key of an authority.
struct Key {
    kind: KeyKind,
    algorithm: SignatureAlgorithm,
    /// Whether it signs lists of certificates, which grow long.
    lists: bool,
}

impl Wanted {
    /// One more key, of this authority.
    pub(super) fn add(&mut self, authority: &Authority, profile: &CaProfile) {
        let lists = authority.crl.is_some();
        self.keys.push(Key { kind: profile.key, algorithm: profile.algorithm, lists });
    }

    /// Kinds of keys, each once.
    pub(super) fn kinds(&self) -> Vec<KeyKind> {
        let mut kinds: Vec<_> = self.keys.iter().map(|key| key.kind).collect();
        kinds.sort_unstable_by_key(|kind| kind.name());
        kinds.dedup();
        kinds
    }
}

/// What the policy wants that is not made there, or does not sign there what it has to.
pub(super) fn hold(wanted: &Wanted, ability: Ability, findings: &mut Vec<Finding>) {
    let place = ability.place;
    let lacks: Vec<_> =
        wanted.keys.iter().filter_map(|key| Some((key, ability.lacks(key.kind, key.algorithm, key.lists)?))).collect();
    let named = |name: fn(&Key) -> &'static str, is: fn(&Lack) -> bool| {
        let mut names: Vec<_> = lacks.iter().filter(|(_, lack)| is(lack)).map(|(key, _)| name(key)).collect();
        names.sort_unstable();
        names.dedup();
        names.join(", ")
    };
    let bytes_max = lacks.iter().find_map(|(_, lack)| match lack {
        Lack::Lists { bytes_max } => Some(*bytes_max),
        Lack::Kind | Lack::Algorithm => None,
    });
    let kinds = named(|key| key.kind.name(), |lack| *lack == Lack::Kind);
    let algorithms = named(|key| key.algorithm.name(), |lack| *lack == Lack::Algorithm);
    let lists = named(|key| key.kind.name(), |lack| matches!(lack, Lack::Lists { .. }));
    let bad = |sentence, hint| Finding::bad("mechanisms", sentence, hint);
    if !kinds.is_empty() {
        let sentence = format!("the policy wants keys of {kinds}, which are not made in {place} here");
        findings.push(bad(sentence, "choose another kind in the policy, or another device"));
    }
    if !algorithms.is_empty() {
        let sentence = format!("the policy wants signatures by {algorithms}, which {place} does not sign with here");
        findings.push(bad(sentence, "choose another `signature` in the policy, or another device"));
    }
    if let Some(bytes_max) = bytes_max {
        let sentence =
            format!("the policy wants CRLs by a key of {lists}, with which {place} signs {bytes_max} bytes at most");
        findings.push(bad(sentence, "choose an ECDSA key, or no CRLs"));
    }
}
