//! The policy as it is meant: parsed from the file once, with every mistake named; afterwards nothing can be wrong.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU16,
};

use crate::{
    caller::{Caller, Identity},
    claim::ClaimRule,
    constraint::NameConstraints,
    evidence::EvidenceRule,
    file::{
        CaseWord, ManifestNamesTable, NamesFromWord, OverWord, OwnerSignatureWord, POLICY_BYTES_MAX, PossessionWord,
        RetiredKeyWord, RotatesWord,
    },
    instance::InstanceRule,
    ip::IpBlock,
    key::{KeyKind, SignatureAlgorithm, SpkiDigest, sha256},
    limits::{ProfileLimits, Rate},
    name::{DistinguishedName, GeneralName, NameKind},
    oid::Oid,
    reading,
    template::{Bindings, INSTANCE, Template, Vocabulary},
    time::{Interval, Span},
    typed::{self, Typed},
    web::{CrlUrl, HttpUrl},
};

pub use crate::mistake::{Mistake, PolicyError};

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

/// An authority: what its CA certificates say.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Its name.
    pub name: String,
    /// Its root.
    pub root: CaProfile,
    /// Its epochs.
    pub epoch: CaProfile,
    /// Name constraints of its epochs' certificates.
    pub name_constraints: Option<NameConstraints>,
    /// Its CRLs, if it makes any.
    pub crl: Option<CrlProfile>,
    /// Where leaves say that the CRL is.
    pub crl_urls: Vec<CrlUrl>,
    /// Where leaves say that the issuer's certificate is.
    pub ca_issuer_urls: Vec<HttpUrl>,
    /// Certificate policies of its epochs' certificates.
    pub policies: Vec<Oid>,
    /// How one epoch follows another.
    pub(crate) rotation: Rotation,
}

/// How one epoch of an authority follows another.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    pub(crate) rotates: RotatesWord,
    pub(crate) owner_keys: Vec<SpkiDigest>,
    pub(crate) owner_signature: OwnerSignatureWord,
    pub(crate) revoke_previous: bool,
    pub(crate) retired_key: RetiredKeyWord,
    pub(crate) manifest_names: ManifestNamesTable,
}

impl Authority {
    /// What makes a new epoch.
    #[must_use]
    pub fn rotates(&self) -> RotatesWord {
        self.rotation.rotates
    }

    /// Those who may set the first manifest; later ones are for the owners that the manifest in force names.
    #[must_use]
    pub fn owner_keys(&self) -> &[SpkiDigest] {
        &self.rotation.owner_keys
    }

    /// What an owner signs.
    #[must_use]
    pub fn owner_signature(&self) -> OwnerSignatureWord {
        self.rotation.owner_signature
    }

    /// Whether a rotation revokes the intermediate that it replaces, where the owner's signature does not say it.
    #[must_use]
    pub fn revoke_previous(&self) -> bool {
        self.rotation.revoke_previous
    }

    /// What the key of a replaced epoch may still do.
    #[must_use]
    pub fn retired_key(&self) -> RetiredKeyWord {
        self.rotation.retired_key
    }

    /// Names that its manifests may give beyond those that everybody takes.
    #[must_use]
    pub fn manifest_names(&self) -> ManifestNamesTable {
        self.rotation.manifest_names
    }
}

/// What the CRLs of an authority's root and epochs are.
#[derive(Clone, Debug)]
pub struct CrlProfile {
    /// From thisUpdate to nextUpdate.
    pub lifetime: Span,
    /// When the next one is made, at the latest.
    pub refresh: Span,
    /// Whether a complete CRL says, critical, which certificates it is about. That of a partition always does.
    pub distribution_point: bool,
    /// How many partitions the leaves of an epoch have, if any: 2 to [`CRL_PARTITIONS_MAX`](crate::crl::CRL_PARTITIONS_MAX).
    pub partitions: Option<NonZeroU16>,
    /// Where intermediates say that the root's CRL is.
    pub root_urls: Vec<HttpUrl>,
}

/// What one kind of CA certificate says.
#[derive(Clone, Debug)]
pub struct CaProfile {
    /// The subject.
    pub subject: DistinguishedName,
    /// The lifetime.
    pub lifetime: Span,
    /// Kind of the key.
    pub key: KeyKind,
    /// What the key signs with.
    pub algorithm: SignatureAlgorithm,
    /// Whether the key is elsewhere.
    pub offline: bool,
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

/// One format of subjectAltName entries, with how many there may be.
#[derive(Clone, Debug)]
pub(crate) struct NameFormat {
    pub(crate) kind: NameKind,
    pub(crate) pattern: Pattern,
    pub(crate) at_least: usize,
    pub(crate) at_most: usize,
}

/// What a name of one format looks like.
#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    /// Text with parts.
    Template(Template),
    /// An address in a block. It binds nothing.
    Block(IpBlock),
}

impl Pattern {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Template(template) => template.as_str(),
            Self::Block(block) => block.as_str(),
        }
    }

    pub(crate) fn template(&self) -> Option<&Template> {
        match self {
            Self::Template(template) => Some(template),
            Self::Block(_) => None,
        }
    }

    pub(crate) fn is_wildcard(&self) -> bool {
        self.template().is_some_and(Template::is_wildcard)
    }

    /// Every way to read `name` that agrees with `bound`. `None`: more ways than may be tried.
    pub(crate) fn read(&self, name: &GeneralName, bound: &Bindings, vocabulary: &Vocabulary) -> Option<Vec<Bindings>> {
        match (self, name) {
            (Self::Block(block), GeneralName::Ip(address)) => {
                Some(if block.contains(address.address()) { vec![bound.clone()] } else { Vec::new() })
            }
            (Self::Block(_), GeneralName::Dns(_) | GeneralName::Uri(_) | GeneralName::Email(_)) => Some(Vec::new()),
            (Self::Template(template), name) => template.read(name.as_str(), bound, vocabulary),
        }
    }
}

/// How many names of one kind there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KindCount {
    pub(crate) kind: NameKind,
    pub(crate) at_least: usize,
    pub(crate) at_most: usize,
}

/// Extended key usages that profiles can give (RFC 5280, section 4.2.1.12).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyPurpose {
    /// id-kp-serverAuth.
    ServerAuth,
    /// id-kp-clientAuth.
    ClientAuth,
    /// id-kp-codeSigning.
    CodeSigning,
    /// id-kp-emailProtection.
    EmailProtection,
    /// id-kp-timeStamping: alone and critical (RFC 3161, section 2.3).
    TimeStamping,
    /// id-kp-OCSPSigning.
    OcspSigning,
    /// Any other.
    Other(Oid),
}

impl KeyPurpose {
    /// Every purpose that has a name.
    pub const NAMED: [Self; 6] = [
        Self::ServerAuth,
        Self::ClientAuth,
        Self::CodeSigning,
        Self::EmailProtection,
        Self::TimeStamping,
        Self::OcspSigning,
    ];

    /// The name that policy files use.
    #[must_use]
    pub fn name(&self) -> Cow<'static, str> {
        match self {
            Self::ServerAuth => "server-auth".into(),
            Self::ClientAuth => "client-auth".into(),
            Self::CodeSigning => "code-signing".into(),
            Self::EmailProtection => "email-protection".into(),
            Self::TimeStamping => "time-stamping".into(),
            Self::OcspSigning => "ocsp-signing".into(),
            Self::Other(oid) => oid.to_string().into(),
        }
    }

    /// Its object identifier.
    #[must_use]
    pub fn arcs(&self) -> &[u32] {
        match self {
            Self::ServerAuth => &[1, 3, 6, 1, 5, 5, 7, 3, 1],
            Self::ClientAuth => &[1, 3, 6, 1, 5, 5, 7, 3, 2],
            Self::CodeSigning => &[1, 3, 6, 1, 5, 5, 7, 3, 3],
            Self::EmailProtection => &[1, 3, 6, 1, 5, 5, 7, 3, 4],
            Self::TimeStamping => &[1, 3, 6, 1, 5, 5, 7, 3, 8],
            Self::OcspSigning => &[1, 3, 6, 1, 5, 5, 7, 3, 9],
            Self::Other(oid) => oid.arcs(),
        }
    }
}

/// Methods that the policy gives rights to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// MintCertificate.
    MintCertificate,
    /// GetChain.
    GetChain,
    /// RotateIntermediate.
    RotateIntermediate,
    /// ListEpochs.
    ListEpochs,
    /// WatchEpochs.
    WatchEpochs,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 5] =
        [Self::MintCertificate, Self::GetChain, Self::RotateIntermediate, Self::ListEpochs, Self::WatchEpochs];

    /// Its name on the wire and in policy files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MintCertificate => "MintCertificate",
            Self::GetChain => "GetChain",
            Self::RotateIntermediate => "RotateIntermediate",
            Self::ListEpochs => "ListEpochs",
            Self::WatchEpochs => "WatchEpochs",
        }
    }

    /// The method of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// A caller's rights.
///
/// A provider must be allowed by everything that a request comes through: by its profile, and by its caller where `providers` is
/// set. A key id of crypki's interface, which stands for a profile there, is one more such thing: it brings a list of its own.
#[derive(Clone, Debug)]
pub struct CallerRule {
    pub(crate) name: String,
    pub(crate) identity: Identity,
    pub(crate) methods: Vec<Method>,
    pub(crate) profiles: Vec<String>,
    pub(crate) providers: Option<Vec<String>>,
    pub(crate) rate: Option<Rate>,
}

impl CallerRule {
    /// Its name in the policy file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The identity in its certificate.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Methods that it may call.
    #[must_use]
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// Profiles that it may mint under.
    #[must_use]
    pub fn profiles(&self) -> &[String] {
        &self.profiles
    }

    /// Providers that it may speak for; `None`: all of the profile's.
    #[must_use]
    pub fn providers(&self) -> Option<&[String]> {
        self.providers.as_deref()
    }

    /// How many calls it may make.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// Whether it may call `method`.
    #[must_use]
    pub fn may_call(&self, method: Method) -> bool {
        self.methods.contains(&method)
    }
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
