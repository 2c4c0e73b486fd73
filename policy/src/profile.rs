//! The policy as it is meant: parsed from the file once, with every mistake named; afterwards nothing can be wrong.

mod authority;
mod caller;
mod format;
mod purpose;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    caller::Caller,
    claim::ClaimRule,
    evidence::EvidenceRule,
    file::{CaseWord, NamesFromWord, OverWord, POLICY_BYTES_MAX, PossessionWord},
    instance::InstanceRule,
    key::{KeyKind, SpkiDigest, sha256},
    limits::ProfileLimits,
    name::NameKind,
    oid::Oid,
    reading,
    template::{INSTANCE, Template, Vocabulary},
    time::{Interval, Span},
    typed::{self, Typed},
};

pub use crate::mistake::{Mistake, PolicyError};
pub(crate) use authority::Rotation;
pub use authority::{Authority, CaProfile, CrlProfile};
pub use caller::{CallerRule, Method};
pub(crate) use format::{KindCount, NameFormat, Pattern};
pub use purpose::KeyPurpose;

/// The longest that a leaf lives without the profile giving a reason.
pub const LEAF_LIFETIME_MAX: Span = Span::from_days(30);

/// The longest that a leaf lives at all.
pub const LONG_LIVED_LIFETIME_MAX: Span = Span::from_days(398);

/// The longest that a CA certificate lives.
pub const CA_LIFETIME_MAX: Span = Span::from_days(36_525);

/// The furthest that notBefore lies in the past.
pub const BACKDATE_MAX: Span = Span::from_secs(3_600);

/// The shortest lifetime of a leaf: shorter ones are unusable between clocks that differ.
pub const LEAF_LIFETIME_MIN: Span = Span::from_secs(60);

/// The longest that a CRL holds: the root of a laboratory may sign one a year.
pub const CRL_LIFETIME_MAX: Span = Span::from_days(398);

/// The shortest that a CRL holds: whoever checks has to fetch each.
pub const CRL_LIFETIME_MIN: Span = Span::from_secs(600);

/// The policy in force: deny by default.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) digest: PolicyDigest,
    pub(crate) text: String,
    pub(crate) authorities: BTreeMap<String, Authority>,
    pub(crate) profiles: BTreeMap<String, Profile>,
    pub(crate) callers: Vec<CallerRule>,
    pub(crate) denied: BTreeSet<SpkiDigest>,
}

/// SHA-256 of the policy file's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PolicyDigest(pub(crate) [u8; 32]);

impl PolicyDigest {
    /// The digest of that text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(sha256(text.as_bytes()))
    }

    /// The digest with these 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Display for PolicyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::hex(&self.0))
    }
}

/// What leaves of a profile may say.
#[derive(Clone, Debug)]
pub struct Profile {
    pub(crate) name: String,
    pub(crate) authority: String,
    pub(crate) lifetime: Lifetime,
    pub(crate) keys: Vec<KeyKind>,
    pub(crate) usages: Vec<KeyPurpose>,
    pub(crate) possession: PossessionWord,
    pub(crate) names_from: NamesFromWord,
    pub(crate) workload_secret_id: bool,
    pub(crate) common_name: Option<Template>,
    pub(crate) names: Vec<NameFormat>,
    pub(crate) per_kind: Vec<KindCount>,
    pub(crate) case: CaseWord,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) ignore: Vec<String>,
    pub(crate) policies: Vec<Oid>,
    pub(crate) window: Option<Interval>,
    pub(crate) claims: Vec<ClaimRule>,
    pub(crate) evidence: Option<EvidenceRule>,
    pub(crate) limits: ProfileLimits,
    pub(crate) instances: Option<InstanceRule>,
}

/// What a profile says, for those who explain it. Nothing here decides.
impl Profile {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The authority that signs.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Lifetime of a leaf whose request wishes none.
    #[must_use]
    pub fn lifetime_default(&self) -> Span {
        self.lifetime.default
    }

    /// The longest lifetime.
    #[must_use]
    pub fn lifetime_maximum(&self) -> Span {
        self.lifetime.maximum
    }

    /// What happens to a wish for more.
    #[must_use]
    pub fn over(&self) -> OverWord {
        self.lifetime.over
    }

    /// How far notBefore lies in the past.
    #[must_use]
    pub fn backdate(&self) -> Span {
        self.lifetime.backdate
    }

    /// Kinds of key that are taken.
    #[must_use]
    pub fn keys(&self) -> &[KeyKind] {
        &self.keys
    }

    /// Extended key usages of every leaf.
    #[must_use]
    pub fn usages(&self) -> &[KeyPurpose] {
        &self.usages
    }

    /// Who answers for the key.
    #[must_use]
    pub fn possession(&self) -> PossessionWord {
        self.possession
    }

    /// Where names come from.
    #[must_use]
    pub fn names_from(&self) -> NamesFromWord {
        self.names_from
    }

    /// Whether certificates say the workload secret id that the manifest gives.
    #[must_use]
    pub fn workload_secret_id(&self) -> bool {
        self.workload_secret_id
    }

    /// Format of the common name; without one the subject is empty.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_ref().map(Template::as_str)
    }

    /// Formats of subjectAltName entries: kind, format, and how many at least and at most.
    pub fn names(&self) -> impl Iterator<Item = (NameKind, &str, usize, usize)> {
        self.names.iter().map(|name| (name.kind, name.pattern.as_str(), name.at_least, name.at_most))
    }

    /// How many names of a kind there may be, where that is said: kind, at least, at most.
    pub fn per_kind(&self) -> impl Iterator<Item = (NameKind, usize, usize)> {
        self.per_kind.iter().map(|count| (count.kind, count.at_least, count.at_most))
    }

    /// Whether upper case is refused or folded.
    #[must_use]
    pub fn case(&self) -> CaseWord {
        self.case
    }

    /// Whether a format names the instance.
    #[must_use]
    pub fn has_instances(&self) -> bool {
        let names = self.names.iter().filter_map(|format| format.pattern.template());
        self.common_name.iter().chain(names).any(|template| template.parts().any(|part| part == INSTANCE))
    }

    /// What the parts of the formats may be.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Certificate policies of every leaf.
    #[must_use]
    pub fn policies(&self) -> &[Oid] {
        &self.policies
    }

    /// The window of time that no leaf lies outside of.
    #[must_use]
    pub fn window(&self) -> Option<Interval> {
        self.window
    }

    /// The claims that a request may bring.
    #[must_use]
    pub fn claims(&self) -> &[ClaimRule] {
        &self.claims
    }

    /// The evidence that a request must bring.
    #[must_use]
    pub fn evidence(&self) -> Option<&EvidenceRule> {
        self.evidence.as_ref()
    }

    /// What it says about records of instances, if it keeps them.
    #[must_use]
    pub fn instances(&self) -> Option<&InstanceRule> {
        self.instances.as_ref()
    }

    /// How much and how often.
    #[must_use]
    pub fn limits(&self) -> &ProfileLimits {
        &self.limits
    }

    /// Object identifiers in a CSR that are ignored instead of refused.
    #[must_use]
    pub fn ignored(&self) -> &[String] {
        &self.ignore
    }
}

/// Lifetimes of a profile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime {
    pub(crate) default: Span,
    pub(crate) maximum: Span,
    pub(crate) over: OverWord,
    pub(crate) backdate: Span,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// Every mistake that can be told, each with its line and place.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES_MAX {
            let sentence = format!("the file has {} bytes; at most {POLICY_BYTES_MAX} are read", text.len());
            return Err(PolicyError { mistakes: vec![Mistake::new("", sentence)] });
        }
        let Typed { file, mut mistakes, left_away } = typed::read(text);
        let policy = file.map(|file| reading::read(&file, text));
        match policy {
            Some(Ok(policy)) if mistakes.is_empty() => return Ok(policy),
            Some(Err(more)) => {
                // What misses a table that is there and could not be read is no mistake of its own.
                let follows =
                    |mistake: &Mistake| left_away.iter().any(|name| mistake.sentence.contains(&format!("`{name}`")));
                mistakes.extend(more.into_iter().filter(|mistake| !follows(mistake)));
            }
            Some(Ok(_)) | None => {}
        }
        Err(PolicyError::new(mistakes, text))
    }

    /// SHA-256 of its text.
    #[must_use]
    pub fn digest(&self) -> PolicyDigest {
        self.digest
    }

    /// Its text, as it was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the list of denied keys has this one.
    #[must_use]
    pub fn denies(&self, key: SpkiDigest) -> bool {
        self.denied.contains(&key)
    }

    /// The authority of that name.
    #[must_use]
    pub fn authority(&self, name: &str) -> Option<&Authority> {
        self.authorities.get(name)
    }

    /// All authorities, by name.
    pub fn authorities(&self) -> impl Iterator<Item = &Authority> {
        self.authorities.values()
    }

    /// Names of all profiles with their authorities.
    pub fn profiles(&self) -> impl Iterator<Item = (&str, &str)> {
        self.profiles.values().map(|profile| (profile.name.as_str(), profile.authority.as_str()))
    }

    /// The profile of that name.
    #[must_use]
    pub fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name)
    }

    /// All callers.
    #[must_use]
    pub fn callers(&self) -> &[CallerRule] {
        &self.callers
    }

    /// The rule for the first identity in the caller's certificate that has one.
    #[must_use]
    pub fn caller(&self, caller: &Caller) -> Option<&CallerRule> {
        caller.identities().iter().find_map(|identity| self.callers.iter().find(|rule| rule.identity == *identity))
    }
}
