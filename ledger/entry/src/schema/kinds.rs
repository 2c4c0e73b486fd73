//! The types of entries, in the order of their names.

use super::{
    Form::{Bytes, Count, Digest, Flag, Integer, Name, Object, Objects, Text, Texts, Word},
    Member,
};
use crate::Value;

/// A type of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Members of all of them.
    pub members: &'static [Member],
    /// The member by whose word some have further ones, and these.
    pub variants: Option<(&'static str, &'static [Variant])>,
}

/// Members that entries with a word have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The word.
    pub word: &'static str,
    /// What comes with it.
    pub members: &'static [Member],
}

impl Kind {
    /// The further members of this entry.
    #[must_use]
    pub fn variant(&self, entry: &Value<'_>) -> &'static [Member] {
        let Some((key, variants)) = self.variants else { return &[] };
        let word = entry.member(key).and_then(Value::text);
        variants.iter().find(|variant| Some(variant.word) == word).map_or(&[], |variant| variant.members)
    }
}

const fn needed(key: &'static str, form: super::Form) -> Member {
    Member::needed(key, form)
}

const fn maybe(key: &'static str, form: super::Form) -> Member {
    Member::maybe(key, form)
}

const EPOCH: &[Member] = &[needed("generation", Count), maybe("transition", Digest)];

const ISSUER: &[Member] = &[maybe("sequence", Count), needed("spki-sha256", Digest)];

const EVIDENCE: &[Member] = &[needed("jwt-sha256", Digest), maybe("kid", Text), maybe("spki-sha256", Digest)];

const REASON: &[Member] =
    &[needed("code", Name), maybe("allowed", Text), maybe("field", Text), maybe("sentence", Text)];

const STAGES: &[&str] = &["crl", "intermediate", "leaf", "mesh-ca", "request", "root"];

const DECISIONS: &[&str] = &["issued", "refused", "validated"];

const RESULTS: &[&str] = &["signing-again", "signing-failed"];

const VOID_RESULTS: &[&str] = &["forgotten", "tampered"];

const ACTIONS: &[&str] = &["destroyed", "generated", "opened", "refused", "taken-over"];

const STEPS: &[&str] = &[
    "epoch-aborted",
    "epoch-active",
    "epoch-destroyed",
    "epoch-intent",
    "epoch-key",
    "epoch-prepared",
    "root-intent",
    "root-key",
    "root-ready",
];

/// What is said about a committed request that is signed again.
const SIGNED_AGAIN: &[Member] = &[
    maybe("authority", Text),
    maybe("caller", Text),
    maybe("request-id", Text),
    maybe("serial", Bytes),
    needed("stage", Word(STAGES)),
];

/// All types.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "aggregate",
        about: "calls refused alike and not logged one by one",
        members: &[
            maybe("caller", Text),
            needed("count", Count),
            needed("from", Integer),
            needed("method", Text),
            needed("reason", Text),
            needed("to", Integer),
        ],
        variants: None,
    },
    Kind { name: "ceremony", about: "a root was made in a ceremony", members: &[], variants: None },
    Kind {
        name: "clock-distrusted",
        about: "the clocks disagreed; nothing is minted until an operator confirms",
        members: &[needed("sentence", Text)],
        variants: None,
    },
    Kind {
        name: "decision",
        about: "what was decided about a request",
        members: &[
            maybe("algorithm", Name),
            maybe("authority", Text),
            maybe("caller", Text),
            maybe("caller-certificate-sha256", Digest),
            maybe("caller-identities", Texts),
            maybe("caller-identities-omitted", Count),
            needed("decision", Word(DECISIONS)),
            maybe("epoch", Object(EPOCH)),
            maybe("evidence", Object(EVIDENCE)),
            maybe("evidence-sha256", Digest),
            maybe("method", Text),
            maybe("names", Texts),
            maybe("names-omitted", Count),
            maybe("policy-hash", Digest),
            maybe("policy-sha256", Digest),
            maybe("possession", Name),
            maybe("profile", Text),
            maybe("reasons-omitted", Count),
            maybe("request-id", Text),
            maybe("request-sha256", Digest),
            maybe("spki-sha256", Digest),
        ],
        variants: Some((
            "decision",
            &[
                Variant {
                    word: "issued",
                    members: &[
                        needed("algorithm", Name),
                        needed("authority", Text),
                        needed("issuer", Object(ISSUER)),
                        maybe("serial", Bytes),
                        needed("stage", Word(STAGES)),
                        needed("tbs-sha256", Digest),
                        maybe("crl-number", Count),
                        maybe("entries", Count),
                        maybe("newest-revocation", Count),
                        maybe("next-update", Integer),
                        maybe("not-after", Integer),
                        maybe("not-before", Integer),
                        maybe("this-update", Integer),
                        maybe("subject", Text),
                    ],
                },
                Variant { word: "refused", members: &[needed("reasons", Objects(REASON))] },
                Variant {
                    word: "validated",
                    members: &[
                        needed("stage", Word(STAGES)),
                        maybe("not-after", Integer),
                        maybe("not-before", Integer),
                        maybe("subject", Text),
                        maybe("tbs-sha256", Digest),
                    ],
                },
            ],
        )),
    },
    Kind { name: "heartbeat", about: "the signer is alive", members: &[], variants: None },
    Kind {
        name: "key-event",
        about: "something happened to a CA key",
        members: &[
            needed("action", Word(ACTIONS)),
            needed("authority", Text),
            maybe("backend", Text),
            needed("key-kind", Name),
            maybe("reference", Text),
            needed("spki-sha256", Digest),
        ],
        variants: None,
    },
    Kind {
        name: "operator-command",
        about: "an operator did something",
        members: &[needed("command", Text)],
        variants: None,
    },
    Kind {
        name: "outcome",
        about: "a committed request could not be signed, or is signed again",
        members: &[needed("decision-index", Count), needed("result", Word(RESULTS))],
        variants: Some((
            "result",
            &[
                Variant { word: "signing-again", members: SIGNED_AGAIN },
                Variant { word: "signing-failed", members: &[needed("code", Text), maybe("sentence", Text)] },
            ],
        )),
    },
    Kind {
        name: "policy-loaded",
        about: "a policy is in force from here on; its text is a blob of that digest",
        members: &[needed("by", Text), needed("bytes", Count), needed("policy-sha256", Digest)],
        variants: None,
    },
    Kind {
        name: "policy-refused",
        about: "a policy did not come into force",
        members: &[
            needed("by", Text),
            maybe("refused-sha256", Digest),
            maybe("sentences", Texts),
            maybe("sentences-omitted", Count),
        ],
        variants: None,
    },
    Kind {
        name: "recovered",
        about: "the run before did not stop cleanly",
        members: &[needed("unsigned", Count)],
        variants: None,
    },
    Kind {
        name: "revocation",
        about: "a certificate is revoked; the next CRL lists it",
        members: &[
            needed("authority", Text),
            maybe("by", Text),
            needed("decision-index", Count),
            maybe("epoch", Object(EPOCH)),
            needed("issuer", Object(ISSUER)),
            maybe("not-after", Integer),
            needed("reason", Text),
            needed("serial", Bytes),
            maybe("stage", Word(STAGES)),
        ],
        variants: None,
    },
    Kind {
        name: "rotation",
        about: "a step in the life of an authority",
        members: &[
            needed("authority", Text),
            maybe("by", Text),
            maybe("epoch", Object(EPOCH)),
            maybe("label", Text),
            maybe("lifetime", Count),
            maybe("manifest-sha256", Digest),
            maybe("owner-signature", Bytes),
            maybe("owner-spki", Bytes),
            maybe("previous", Digest),
            maybe("reason", Text),
            maybe("reference", Text),
            maybe("revoke-previous", Flag),
            maybe("spki-sha256", Digest),
            needed("step", Word(STEPS)),
        ],
        variants: Some((
            "step",
            &[
                Variant { word: "epoch-active", members: &[needed("epoch", Object(EPOCH))] },
                Variant {
                    word: "epoch-intent",
                    members: &[
                        needed("epoch", Object(EPOCH)),
                        needed("label", Text),
                        needed("manifest-sha256", Digest),
                    ],
                },
                Variant {
                    word: "epoch-key",
                    members: &[
                        needed("epoch", Object(EPOCH)),
                        needed("reference", Text),
                        needed("spki-sha256", Digest),
                    ],
                },
                Variant { word: "root-intent", members: &[needed("label", Text)] },
                Variant { word: "root-key", members: &[needed("reference", Text), needed("spki-sha256", Digest)] },
            ],
        )),
    },
    Kind {
        name: "start",
        about: "the daemon started",
        members: &[
            maybe("backends", Texts),
            maybe("backends-omitted", Count),
            needed("config-sha256", Digest),
            needed("program-version", Text),
            needed("software-keys", Flag),
        ],
        variants: None,
    },
    Kind { name: "stop", about: "the last entry of a clean run", members: &[], variants: None },
    Kind {
        name: "void",
        about: "a committed request that will never be signed",
        members: &[
            maybe("authority", Text),
            maybe("caller", Text),
            needed("decision-index", Count),
            maybe("reasons", Objects(REASON)),
            maybe("request-id", Text),
            maybe("result", Word(VOID_RESULTS)),
            maybe("serial", Bytes),
            needed("stage", Word(STAGES)),
        ],
        variants: None,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_stand_in_the_order_of_their_names() {
        assert!(KINDS.is_sorted_by(|before, after| before.name < after.name));
    }
}
