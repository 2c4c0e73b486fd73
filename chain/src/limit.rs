//! What certificates and manifests cannot show, or could not from what was given.

use std::fmt;

use hallmark_policy::hex;

/// Something that stays unproven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Nobody can see in a certificate where its key is.
    KeyHolder,
    /// The workload's evidence.
    Evidence,
    /// Other epochs.
    OtherEpochs,
    /// The owners' signatures.
    Owners,
    /// What came before the transition that the history begins with.
    BeforeStart {
        /// That transition.
        transition: [u8; 32],
    },
    /// The manifest itself, where only a transition was named.
    Manifest,
    /// No leaf was looked at.
    Leaves,
    /// The names of the leaves in the manifest.
    LeafNames,
    /// Names of leaves, where there are no name constraints.
    Unconstrained,
    /// Revocation of the intermediate.
    Revocation,
    /// Revocation of leaves.
    LeafRevocation,
    /// Dates, where no time was given.
    Time,
}

impl Limit {
    /// Its stable name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::KeyHolder => "key-holder",
            Self::Evidence => "evidence",
            Self::OtherEpochs => "other-epochs",
            Self::Owners => "owners",
            Self::BeforeStart { .. } => "before-start",
            Self::Manifest => "manifest",
            Self::Leaves => "leaves",
            Self::LeafNames => "leaf-names",
            Self::Unconstrained => "unconstrained",
            Self::Revocation => "revocation",
            Self::LeafRevocation => "leaf-revocation",
            Self::Time => "time",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeStart { transition } => {
                return write!(
                    f,
                    "Which manifests led to {}: they were not given, and what they permitted is not known here.",
                    hex(transition)
                );
            }
            Self::KeyHolder => "Who holds the private keys: no certificate says where its key is, or who else had it.",
            Self::Evidence => {
                "Whether a workload's evidence matched the manifest: that is the coordinator's word, whose digest of the \
                 evidence stands in the decision log."
            }
            Self::OtherEpochs => {
                "Whether there is another epoch: a newer manifest can be in force by now, and none of these files would \
                 show it. The published decision log has every epoch."
            }
            Self::Owners => "Whether owners signed the manifests: their signatures are not in certificates.",
            Self::Manifest => "Which manifest the epoch belongs to: only a transition was named.",
            Self::Leaves => "Any leaf: none was given.",
            Self::LeafNames => {
                "Whether the names in the leaves are those of the manifest: no policy hash was given."
            }
            Self::Unconstrained => {
                "Which names the epoch's key may certify: without name constraints, these certificates permit all."
            }
            Self::Revocation => "Whether the root has revoked the intermediate: no CRL of the root was given.",
            Self::LeafRevocation => "Whether a leaf was revoked.",
            Self::Time => "Whether anything is valid now: no time was given.",
        })
    }
}
