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
    pub variants: Variants,
}

/// The member by whose word some entries have further members, and these.
pub type Variants = Option<(&'static str, &'static [Variant])>;

/// Members that entries with a word have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The word.
    pub word: &'static str,
    /// What comes with it.
    pub members: &'static [Member],
    /// What comes on top by another member's word.
    pub variants: Variants,
}

impl Variant {
    const fn new(word: &'static str, members: &'static [Member]) -> Self {
        Self { word, members, variants: None }
    }

    /// Every variant in there, itself first.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.variants.iter().flat_map(|(_, variants)| variants.iter()))
    }
}

/// The variant of a list that an entry is of.
pub(super) fn variant(variants: Variants, entry: &Value<'_>) -> Option<&'static Variant> {
    let (key, variants) = variants?;
    let word = entry.member(key).and_then(Value::text)?;
    variants.iter().find(|variant| variant.word == word)
}

const fn needed(key: &'static str, form: super::Form) -> Member {
    Member::needed(key, form)
}

const fn maybe(key: &'static str, form: super::Form) -> Member {
    Member::maybe(key, form)
}

const EPOCH: &[Member] = &[needed("generation", Count), maybe("transition", Digest)];

const EVIDENCE: &[Member] = &[needed("jwt-sha256", Digest), maybe("kid", Text), maybe("spki-sha256", Digest)];

const INSTANCE: &[Member] = &[needed("id", Text), needed("provider", Text), maybe("service", Text)];

/// The words of alarms.
pub const ALARMS: &[&str] = &[
    "database-restored",
    "device-log-broken",
    "foreign-certificate",
    "forged-certificate",
    "instance-retried",
    "instance-stolen",
    "stray-certificate",
    "unasked-signature",
];

const CHANGES: &[&str] = &["moved", "moved-again", "registered", "reissued", "replaced", "retried"];

const MOVED: &[Member] = &[
    maybe("change", Word(CHANGES)),
    maybe("id", Text),
    needed("intent", Name),
    maybe("presented-serial", Bytes),
    maybe("proven", Flag),
    maybe("provider", Text),
    maybe("service", Text),
];

const ISSUER: &[Member] = &[maybe("sequence", Count), needed("spki-sha256", Digest)];

const NUMBERED_ISSUER: &[Member] = &[needed("sequence", Count), needed("spki-sha256", Digest)];

const REASON: &[Member] =
    &[needed("code", Name), maybe("allowed", Text), maybe("field", Text), maybe("sentence", Text)];

const STAGES: &[&str] = &[
    "crl",
    "cross-certificate",
    "intermediate",
    "leaf",
    "mesh-ca",
    "offline-intermediate",
    "possession",
    "request",
    "root",
];

const CERTIFICATE: &[Member] = &[
    needed("issuer", Object(NUMBERED_ISSUER)),
    needed("not-after", Integer),
    needed("not-before", Integer),
    needed("serial", Bytes),
    maybe("subject", Text),
];

const CRL: &[Member] = &[
    needed("crl-number", Count),
    maybe("crl-number-after", Count),
    maybe("crl-partition", Count),
    needed("entries", Count),
    maybe("newest-revocation", Count),
    needed("next-update", Integer),
    needed("this-update", Integer),
];

const REASONS_OF_REVOCATION: &[&str] = &[
    "aa-compromise",
    "affiliation-changed",
    "ca-compromise",
    "cessation-of-operation",
    "key-compromise",
    "privilege-withdrawn",
    "superseded",
    "unspecified",
];

const DECISIONS: &[&str] = &["issued", "refused", "validated"];

const RESULTS: &[&str] = &["same-answer", "signing-again", "signing-failed"];

const VOID_RESULTS: &[&str] = &["forgotten", "tampered"];

/// Which key something happened to.
const ONE_KEY: &[Member] = &[needed("key-kind", Name), needed("spki-sha256", Digest)];

const ACTIONS: &[&str] = &[
    "backed-up",
    "cleared",
    "destroyed",
    "generated",
    "opened",
    "refused",
    "restored",
    "restoring",
    "taken-over",
    "wrap-key",
];

const STEPS: &[&str] = &[
    "epoch-aborted",
    "epoch-active",
    "epoch-destroyed",
    "epoch-intent",
    "epoch-key",
    "epoch-prepared",
    "intermediate-brought",
    "root-brought",
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
    Kind {
        name: "alarm",
        about: "something that an operator should look at",
        members: &[
            needed("alarm", Word(ALARMS)),
            maybe("authority", Text),
            maybe("caller", Text),
            maybe("decision-index", Count),
            maybe("instance", Object(INSTANCE)),
            maybe("presented-serial", Bytes),
            maybe("request-id", Text),
            needed("sentence", Text),
        ],
        variants: None,
    },
    Kind {
        name: "ceremony",
        about: "something happened in a ceremony, in which roots sign before witnesses",
        members: &[
            needed("action", Word(&["begun", "confirmed", "finished", "handed-over", "stopped"])),
            needed("ceremony", Text),
            needed("file-sha256", Digest),
        ],
        variants: Some((
            "action",
            &[
                Variant::new(
                    "begun",
                    &[maybe("device", Text), needed("kind", Name), needed("rehearsal-sha256", Digest)],
                ),
                Variant::new("confirmed", &[maybe("by", Texts), maybe("by-omitted", Count), needed("step", Text)]),
                Variant::new("finished", &[needed("transcript-sha256", Digest)]),
                Variant::new(
                    "handed-over",
                    &[
                        needed("authority", Text),
                        needed("origin", Text),
                        needed("root", Digest),
                        needed("size", Count),
                        needed("transcript-sha256", Digest),
                    ],
                ),
                Variant::new("stopped", &[needed("sentence", Text), needed("step", Text)]),
            ],
        )),
    },
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
            maybe("instance", Object(MOVED)),
            maybe("manifest-sha256", Digest),
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
                        needed("stage", Word(STAGES)),
                        needed("tbs-sha256", Digest),
                    ],
                    variants: Some((
                        "stage",
                        &[
                            Variant::new("crl", CRL),
                            Variant::new("cross-certificate", CERTIFICATE),
                            Variant::new("intermediate", CERTIFICATE),
                            Variant::new("leaf", CERTIFICATE),
                            Variant::new("mesh-ca", CERTIFICATE),
                            Variant::new("offline-intermediate", CERTIFICATE),
                            Variant::new("possession", &[needed("spki-sha256", Digest), needed("subject", Text)]),
                            Variant::new("request", &[needed("spki-sha256", Digest), needed("subject", Text)]),
                            Variant::new("root", CERTIFICATE),
                        ],
                    )),
                },
                Variant::new("refused", &[needed("reasons", Objects(REASON))]),
                Variant::new(
                    "validated",
                    &[
                        needed("stage", Word(STAGES)),
                        maybe("not-after", Integer),
                        maybe("not-before", Integer),
                        maybe("subject", Text),
                        maybe("tbs-sha256", Digest),
                    ],
                ),
            ],
        )),
    },
    Kind { name: "heartbeat", about: "the signer is alive", members: &[], variants: None },
    Kind {
        name: "instance",
        about: "an instance is revoked, or may register anew",
        members: &[
            needed("action", Word(&["allowed", "revoked"])),
            needed("authority", Text),
            needed("by", Text),
            needed("instance", Object(INSTANCE)),
            maybe("reason", Word(REASONS_OF_REVOCATION)),
            needed("registered-index", Count),
            maybe("sentence", Text),
            maybe("unlisted", Count),
            maybe("was-revoked", Flag),
        ],
        variants: None,
    },
    Kind {
        name: "key-event",
        about: "something happened to a CA key",
        members: &[
            needed("action", Word(ACTIONS)),
            needed("authority", Text),
            maybe("backend", Text),
            maybe("reference", Text),
        ],
        variants: Some((
            "action",
            &[
                Variant::new("backed-up", ONE_KEY),
                Variant::new("cleared", &[needed("count", Count)]),
                Variant::new("destroyed", ONE_KEY),
                Variant::new("generated", ONE_KEY),
                Variant::new("opened", ONE_KEY),
                Variant::new("refused", ONE_KEY),
                Variant::new("restored", ONE_KEY),
                Variant::new("restoring", ONE_KEY),
                Variant::new("taken-over", ONE_KEY),
                Variant::new("wrap-key", &[maybe("check-value", Bytes)]),
            ],
        )),
    },
    Kind {
        name: "log-key",
        about: "other keys sign the log from here on",
        members: &[
            maybe("added", Texts),
            maybe("added-omitted", Count),
            needed("by", Text),
            needed("keys", Texts),
            maybe("keys-omitted", Count),
            maybe("removed", Texts),
            maybe("removed-omitted", Count),
        ],
        variants: None,
    },
    Kind {
        name: "operator-command",
        about: "an operator did something",
        members: &[needed("command", Text)],
        variants: Some((
            "command",
            &[
                Variant::new("back-up", &[needed("backup", Text), needed("by", Text), needed("reason", Text)]),
                Variant::new(
                    "freeze-authority",
                    &[needed("authority", Text), needed("by", Text), needed("reason", Text)],
                ),
                Variant::new(
                    "release-name",
                    &[
                        needed("authority", Text),
                        needed("by", Text),
                        needed("forced", Flag),
                        needed("form", Text),
                        needed("name", Text),
                        needed("not-after", Integer),
                        needed("reason", Text),
                    ],
                ),
                Variant::new(
                    "revoke-certificates",
                    &[
                        needed("authority", Text),
                        needed("by", Text),
                        needed("count", Count),
                        needed("reason", Text),
                        needed("revocation-reason", Word(REASONS_OF_REVOCATION)),
                        maybe("selection", Texts),
                        maybe("selection-omitted", Count),
                    ],
                ),
                Variant::new(
                    "resume-authority",
                    &[
                        needed("authority", Text),
                        needed("by", Text),
                        needed("reason", Text),
                        needed("stopped-index", Count),
                    ],
                ),
                Variant::new(
                    "thaw-authority",
                    &[
                        needed("authority", Text),
                        needed("by", Text),
                        needed("frozen-index", Count),
                        needed("reason", Text),
                    ],
                ),
            ],
        )),
    },
    Kind {
        name: "origin",
        about: "the log goes over from one name to another",
        members: &[
            needed("action", Word(&["closed", "opened", "restored"])),
            needed("by", Text),
            needed("origin", Text),
        ],
        variants: Some((
            "action",
            &[
                Variant::new("closed", &[needed("next-key", Text), needed("next-origin", Text), needed("size", Count)]),
                Variant::new(
                    "opened",
                    &[
                        needed("key", Text),
                        needed("previous-origin", Text),
                        needed("previous-root", Digest),
                        needed("previous-size", Count),
                    ],
                ),
                Variant::new(
                    "restored",
                    &[
                        needed("key", Text),
                        needed("previous-origin", Text),
                        needed("previous-root", Digest),
                        needed("previous-size", Count),
                        maybe("seen-root", Digest),
                        maybe("seen-size", Count),
                    ],
                ),
            ],
        )),
    },
    Kind {
        name: "outcome",
        about: "a committed request could not be signed, or is signed again",
        members: &[needed("decision-index", Count), needed("result", Word(RESULTS))],
        variants: Some((
            "result",
            &[
                Variant::new("same-answer", SIGNED_AGAIN),
                Variant::new("signing-again", SIGNED_AGAIN),
                Variant::new("signing-failed", &[needed("code", Text), maybe("sentence", Text)]),
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
        about: "a certificate is revoked; the next CRL of its issuer lists it",
        members: &[
            needed("authority", Text),
            needed("by", Text),
            maybe("crl-partition", Count),
            needed("decision-index", Count),
            maybe("epoch", Object(EPOCH)),
            needed("issuer", Object(ISSUER)),
            needed("not-after", Integer),
            needed("reason", Word(REASONS_OF_REVOCATION)),
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
            maybe("owners", Texts),
            maybe("owners-omitted", Count),
            maybe("owners-sha256", Digest),
            maybe("previous", Digest),
            maybe("reason", Text),
            maybe("reference", Text),
            maybe("revoke-previous", Flag),
            maybe("serial", Bytes),
            maybe("spki-sha256", Digest),
            needed("step", Word(STEPS)),
            maybe("tbs-sha256", Digest),
        ],
        variants: Some((
            "step",
            &[
                Variant::new(
                    "epoch-aborted",
                    &[needed("by", Text), needed("epoch", Object(EPOCH)), needed("reason", Text)],
                ),
                Variant::new("epoch-active", &[needed("by", Text), needed("epoch", Object(EPOCH))]),
                Variant::new(
                    "epoch-intent",
                    &[needed("epoch", Object(EPOCH)), needed("label", Text), needed("manifest-sha256", Digest)],
                ),
                Variant::new(
                    "epoch-key",
                    &[needed("epoch", Object(EPOCH)), needed("reference", Text), needed("spki-sha256", Digest)],
                ),
                Variant::new(
                    "intermediate-brought",
                    &[
                        needed("by", Text),
                        needed("epoch", Object(EPOCH)),
                        needed("serial", Bytes),
                        needed("tbs-sha256", Digest),
                    ],
                ),
                Variant::new(
                    "root-brought",
                    &[
                        maybe("label", Text),
                        needed("owners-sha256", Digest),
                        maybe("reference", Text),
                        needed("serial", Bytes),
                        needed("spki-sha256", Digest),
                        needed("tbs-sha256", Digest),
                    ],
                ),
                Variant::new("root-intent", &[needed("label", Text), needed("owners-sha256", Digest)]),
                Variant::new("root-key", &[needed("reference", Text), needed("spki-sha256", Digest)]),
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
            maybe("roots-without-ceremony", Texts),
            maybe("roots-without-ceremony-omitted", Count),
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
