//! A request, read: well-formed and canonical, and nothing more. Its names stay as they came.

use crate::{
    caller::Caller,
    claim::{self, Claim, ClaimInput},
    csr::Csr,
    evidence::Jwt,
    instance::{self, Intent, IntentInput, PresentedClaim},
    ip::IpName,
    key::{PublicKey, SPKI_BYTES_MAX, sha256},
    name::NAMES_MAX,
    reason::{Reason, ReasonCode, quote},
};

/// Longest name of an authority or profile, in bytes.
pub const LABEL_BYTES_MAX: usize = 64;

/// Longest request id, in bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 64;

/// Digits of its content's digest that name a request without an id.
const DERIVED_ID_DIGITS: usize = 40;

/// A request as it came, before anything was read. Field names are those of `hallmark.signer.v1`.
#[derive(Clone, Debug, Default)]
pub struct RequestInput {
    /// Name of the authority.
    pub authority: String,
    /// Name of the profile.
    pub profile: String,
    /// The caller's own name for this request.
    pub request_id: String,
    /// Whose key.
    pub subject: SubjectInput,
    /// Wished lifetime in seconds; 0 for the profile's default.
    pub lifetime_seconds: u64,
    /// Transition digest, 32 bytes, or empty.
    pub transition: Vec<u8>,
    /// SHA-256 of the workload's policy, 32 bytes, where names come from the manifest; or empty.
    pub policy_hash: Vec<u8>,
    /// SHA-256 of evidence that the caller checked, or empty.
    pub evidence_sha256: Vec<u8>,
    /// Evidence that the signer checks: a JWT, or empty.
    pub evidence_jwt: String,
    /// Attestation claims.
    pub claims: Vec<ClaimInput>,
    /// What it does to the record of an instance.
    pub instance: IntentInput,
    /// Whether only to say what would happen.
    pub validate_only: bool,
}

/// Where key and names come from.
#[derive(Clone, Debug, Default)]
pub enum SubjectInput {
    /// Neither was given.
    #[default]
    Missing,
    /// A PKCS#10 request.
    Csr(Vec<u8>),
    /// A PKCS#10 request with names beside it, which only an SPKI may have.
    CsrBesideNames,
    /// A bare public key, with the names beside it.
    Spki {
        /// SubjectPublicKeyInfo, DER.
        spki: Vec<u8>,
        /// The common name, or empty.
        common_name: String,
        /// Entries of the subjectAltName.
        names: Vec<NameInput>,
    },
}

/// A subjectAltName entry as it came. Whether it is a name at all depends on the profile: [`crate::decide()`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameInput {
    /// dNSName.
    Dns(String),
    /// uniformResourceIdentifier.
    Uri(String),
    /// iPAddress, 4 or 16 octets.
    Ip(Vec<u8>),
    /// rfc822Name.
    Email(String),
    /// A kind that no rule takes, by its standard name.
    Other(&'static str),
}

impl std::fmt::Display for NameInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dns(text) => write!(f, "dns:{text}"),
            Self::Uri(text) => write!(f, "uri:{text}"),
            Self::Ip(octets) => match IpName::parse(octets) {
                Ok(address) => write!(f, "ip:{}", address.as_str()),
                Err(_) => write!(f, "ip:0x{}", crate::hex(octets)),
            },
            Self::Email(text) => write!(f, "email:{text}"),
            Self::Other(kind) => write!(f, "other:{kind}"),
        }
    }
}

/// A well-formed request with its caller. Made only by [`Request::parse`]; nothing is approved.
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) caller: Caller,
    pub(crate) authority: String,
    pub(crate) profile: String,
    pub(crate) request_id: String,
    pub(crate) key: PublicKey,
    pub(crate) common_name: Option<String>,
    pub(crate) names: Vec<NameInput>,
    pub(crate) possession: Possession,
    pub(crate) lifetime_seconds: u64,
    pub(crate) transition: Option<[u8; 32]>,
    pub(crate) policy_hash: Option<[u8; 32]>,
    pub(crate) evidence_sha256: Option<[u8; 32]>,
    pub(crate) evidence: Option<Jwt>,
    pub(crate) claims: Vec<Claim>,
    pub(crate) intent: Intent,
    pub(crate) has_own_id: bool,
    pub(crate) validate_only: bool,
    pub(crate) raw: Vec<u8>,
    pub(crate) content_sha256: [u8; 32],
}

/// How the request says that its key's owner agrees.
#[derive(Clone, Debug)]
pub(crate) enum Possession {
    /// By a CSR.
    Csr(Box<Csr>),
    /// By the caller's word.
    Caller,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// Every reason that keeps it from being well-formed, at least one.
    pub fn parse(caller: Caller, input: RequestInput) -> Result<Self, Vec<Reason>> {
        let mut reasons = Vec::new();
        check_label("authority", &input.authority, &mut reasons);
        check_label("profile", &input.profile, &mut reasons);
        let has_own_id = !input.request_id.is_empty();
        if has_own_id {
            check_request_id(&input.request_id, &mut reasons);
        }
        let transition = digest("transition", &input.transition, &mut reasons);
        let policy_hash = digest("policy_hash", &input.policy_hash, &mut reasons);
        let evidence_sha256 = digest("evidence_sha256", &input.evidence_sha256, &mut reasons);
        let evidence = (!input.evidence_jwt.is_empty()).then(|| Jwt::parse(&input.evidence_jwt)).transpose();
        let evidence = evidence.map_err(|reason| reasons.push(reason)).ok().flatten();
        let claims = claim::parse(&input.claims, &mut reasons);
        let content_sha256 = content_digest(&input);
        let intent = instance::parse(input.instance).map_err(|reason| reasons.push(reason)).ok();
        let subject = subject(input.subject).map_err(|more| reasons.extend(more)).ok();
        match (subject, intent) {
            (Some(subject), Some(intent)) if reasons.is_empty() => Ok(Self {
                caller,
                authority: input.authority,
                profile: input.profile,
                request_id: if has_own_id { input.request_id } else { derived_id(&content_sha256, None) },
                key: subject.key,
                common_name: subject.common_name,
                names: subject.names,
                possession: subject.possession,
                lifetime_seconds: input.lifetime_seconds,
                transition,
                policy_hash,
                evidence_sha256,
                evidence,
                claims,
                intent,
                has_own_id,
                validate_only: input.validate_only,
                raw: subject.raw,
                content_sha256,
            }),
            _ => Err(reasons),
        }
    }

    /// Who asks.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Name of the authority that is asked.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The caller's own name for this request.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Whether the caller gave it an id. Without one it has an id that comes of its content.
    #[must_use]
    pub fn has_own_id(&self) -> bool {
        self.has_own_id
    }

    /// The same request, where it has no id of its own, as the one that was first asked in that period.
    #[must_use]
    pub fn in_period(mut self, period: i64) -> Self {
        if !self.has_own_id {
            self.request_id = derived_id(&self.content_sha256, Some(period));
        }
        self
    }

    /// SHA-256 over everything that makes the request what it is: the same id with another digest is another request.
    #[must_use]
    pub fn content_sha256(&self) -> &[u8; 32] {
        &self.content_sha256
    }

    /// SHA-256 over what the certificate is to say, beside its key: two requests with the same ask for the same certificate, whatever was brought to prove
    /// that they may.
    pub(crate) fn wish_sha256(&self) -> [u8; 32] {
        let mut fields = Fields::of(b"hallmark-wish-v1");
        let mut field = |value: &[u8]| fields.add(value);
        field(self.profile.as_bytes());
        field(&self.lifetime_seconds.to_be_bytes());
        field(self.common_name.as_deref().unwrap_or_default().as_bytes());
        for name in &self.names {
            field(name.to_string().as_bytes());
        }
        for claim in &self.claims {
            field(format!("claim:{}", claim.oid).as_bytes());
            field(&claim.value);
        }
        fields.sha256()
    }

    /// What the certificate that is to be replaced says of itself; nothing where it does not say who signed it.
    #[must_use]
    pub fn presented(&self) -> Option<PresentedClaim> {
        match &self.intent {
            Intent::Refresh(presented) => presented.claim(),
            Intent::None | Intent::Register => None,
        }
    }

    /// The same, with the authority's key that may have signed the certificate that is to be replaced, and the digest of what was signed with that key
    /// under that serial number, where it is kept ([`signed_sha256`](crate::instance::signed_sha256)). If it is neither that nor does its signature
    /// verify, it is a stranger's.
    #[must_use]
    pub fn with_presented_issuer(mut self, key: &PublicKey, signed_sha256: Option<&[u8; 32]>) -> Self {
        if let Intent::Refresh(presented) = &mut self.intent {
            presented.verify_under(key, signed_sha256);
        }
        self
    }

    /// Whether only to say what would happen.
    #[must_use]
    pub fn validate_only(&self) -> bool {
        self.validate_only
    }
}

fn check_label(field: &'static str, value: &str, reasons: &mut Vec<Reason>) {
    if value.is_empty() {
        reasons.push(Reason::new(ReasonCode::FieldMissing, field, format!("`{field}` is empty")));
    } else if value.len() > LABEL_BYTES_MAX {
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, field, format!("`{field}` has {} bytes", value.len()));
        reasons.push(reason.allowing(format!("at most {LABEL_BYTES_MAX} bytes")));
    }
}

fn check_request_id(value: &str, reasons: &mut Vec<Reason>) {
    const FIELD: &str = "request_id";
    let taken = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    if value.len() > REQUEST_ID_BYTES_MAX || !value.bytes().all(taken) {
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, FIELD, format!("`request_id` is {}", quote(value)));
        reasons.push(reason.allowing(format!("1 to {REQUEST_ID_BYTES_MAX} bytes of [A-Za-z0-9._:-]")));
    }
}

/// No caller can give an id like that.
fn derived_id(content_sha256: &[u8; 32], period: Option<i64>) -> String {
    let start: String = crate::hex(content_sha256).chars().take(DERIVED_ID_DIGITS).collect();
    match period {
        Some(period) => format!("~{start}.{period}"),
        None => format!("~{start}"),
    }
}

fn digest(field: &'static str, bytes: &[u8], reasons: &mut Vec<Reason>) -> Option<[u8; 32]> {
    if bytes.is_empty() {
        return None;
    }
    let digest = bytes.try_into().ok();
    if digest.is_none() {
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, field, format!("`{field}` has {} bytes", bytes.len()));
        reasons.push(reason.allowing("32 bytes, or empty"));
    }
    digest
}

struct Subject {
    key: PublicKey,
    common_name: Option<String>,
    names: Vec<NameInput>,
    possession: Possession,
    raw: Vec<u8>,
}

fn subject(input: SubjectInput) -> Result<Subject, Vec<Reason>> {
    match input {
        SubjectInput::Missing => {
            let reason = Reason::new(ReasonCode::FieldMissing, "subject", "neither `csr` nor `spki` is set");
            Err(vec![reason])
        }
        SubjectInput::CsrBesideNames => {
            let sentence = "`subject_alt_names` and `common_name` go with an SPKI; a CSR has its own names";
            Err(vec![Reason::new(ReasonCode::FieldsConflict, "subject_alt_names", sentence)])
        }
        SubjectInput::Csr(raw) => {
            let csr = Csr::parse(&raw)?;
            Ok(Subject {
                key: csr.key.clone(),
                common_name: csr.common_name.clone(),
                names: csr.names.clone(),
                possession: Possession::Csr(Box::new(csr)),
                raw,
            })
        }
        SubjectInput::Spki { spki, common_name, names } => bare_key(spki, common_name, names),
    }
}

fn bare_key(spki: Vec<u8>, common_name: String, names: Vec<NameInput>) -> Result<Subject, Vec<Reason>> {
    const NAMES: &str = "subject_alt_names";
    if names.len() > NAMES_MAX {
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, NAMES, format!("there are {} names", names.len()));
        return Err(vec![reason.allowing(format!("at most {NAMES_MAX}"))]);
    }
    if spki.len() > SPKI_BYTES_MAX {
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, "spki", format!("`spki` has {} bytes", spki.len()));
        return Err(vec![reason.allowing(format!("at most {SPKI_BYTES_MAX} bytes"))]);
    }
    let key = PublicKey::parse(&spki)
        .map_err(|error| vec![Reason::new(ReasonCode::KeyMalformed, "spki", error.to_string())])?;
    Ok(Subject {
        key,
        common_name: (!common_name.is_empty()).then_some(common_name),
        names,
        possession: Possession::Caller,
        raw: spki,
    })
}

/// A digest over every field that counts.
fn content_digest(input: &RequestInput) -> [u8; 32] {
    let mut fields = Fields::of(b"hallmark-request-v1");
    let mut field = |value: &[u8]| fields.add(value);
    field(input.authority.as_bytes());
    field(input.profile.as_bytes());
    field(&input.lifetime_seconds.to_be_bytes());
    field(&input.transition);
    field(&input.policy_hash);
    field(&input.evidence_sha256);
    field(&[u8::from(input.validate_only)]);
    match &input.subject {
        SubjectInput::Missing | SubjectInput::CsrBesideNames => field(b"missing"),
        SubjectInput::Csr(csr) => {
            field(b"csr");
            field(csr);
        }
        SubjectInput::Spki { spki, common_name, names } => {
            field(b"spki");
            field(spki);
            field(common_name.as_bytes());
            for name in names {
                match name {
                    NameInput::Dns(text) => field(format!("dns:{text}").as_bytes()),
                    NameInput::Uri(text) => field(format!("uri:{text}").as_bytes()),
                    NameInput::Ip(octets) => field(&[b"ip:", octets.as_slice()].concat()),
                    NameInput::Email(text) => field(format!("email:{text}").as_bytes()),
                    NameInput::Other(kind) => field(format!("other:{kind}").as_bytes()),
                }
            }
        }
    }
    match &input.instance {
        IntentInput::None => {}
        IntentInput::Register => field(b"instance-register"),
        // Not the proof: signatures of one message differ.
        IntentInput::Refresh { certificate, proof: _ } => {
            field(b"instance-refresh");
            field(certificate);
        }
    }
    for ClaimInput { oid, value } in &input.claims {
        field(format!("claim:{oid}").as_bytes());
        field(value);
    }
    if !input.evidence_jwt.is_empty() {
        field(b"evidence-jwt");
        field(input.evidence_jwt.as_bytes());
    }
    fields.sha256()
}

/// What the fields of most requests fit into, with the certificate that an instance presents, in bytes.
const FIELDS_BYTES: usize = 2_048;

/// What a digest is made of: each field after its length, so that no two lists of fields are the same bytes.
struct Fields(Vec<u8>);

impl Fields {
    fn of(purpose: &[u8]) -> Self {
        let mut fields = Self(Vec::with_capacity(FIELDS_BYTES));
        fields.add(purpose);
        fields
    }

    fn add(&mut self, value: &[u8]) {
        self.0.extend_from_slice(&(value.len() as u64).to_be_bytes());
        self.0.extend_from_slice(value);
    }

    fn sha256(&self) -> [u8; 32] {
        sha256(&self.0)
    }
}
