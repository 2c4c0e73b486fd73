//! Why something is refused: data with a stable code, one sentence, and what would have been allowed.

use std::fmt;

/// Most reasons that one refusal carries; what is beyond is counted, not listed.
pub const REASONS_MAX: usize = 32;

/// Longest piece of a caller's text that a sentence quotes, in characters.
const QUOTE_CHARS_MAX: usize = 120;

/// The stable code of a reason. Codes are never renamed; new ones may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReasonCode {
    /// A required field is empty.
    FieldMissing,
    /// A field is longer, shorter or otherwise outside its limits.
    FieldOutOfLimits,
    /// A field of a later version is set.
    FieldNotSupported,
    /// Two fields cannot be set together.
    FieldsConflict,
    /// The message does not decode.
    MessageMalformed,
    /// The CSR does not decode.
    CsrMalformed,
    /// The CSR decodes, but is not in canonical DER.
    CsrNotCanonical,
    /// The CSR's signature is wrong or of an algorithm that is not taken.
    CsrSignatureWrong,
    /// The public key does not decode or is no valid key.
    KeyMalformed,
    /// The public key is of a kind that the profile does not allow.
    KeyNotAllowed,
    /// The public key is well-formed and weak: it can be factored, or its group is small.
    KeyWeak,
    /// The public key stands in the policy's list of denied keys.
    KeyDenied,
    /// An SPKI without proof of possession, where the profile wants a CSR.
    PossessionNotProven,
    /// A subject attribute other than one common name.
    SubjectNotAllowed,
    /// An extension request that no rule names.
    ExtensionNotAllowed,
    /// An attribute of the CSR that no rule names.
    AttributeNotAllowed,
    /// Something that may stand once stands twice.
    Duplicate,
    /// A name is not well-formed.
    NameMalformed,
    /// A name is of a kind that no rule of the profile takes.
    NameKindNotAllowed,
    /// A name fits no format of the profile.
    NameOutsideFormat,
    /// A name fits a format, but its parts disagree with those of another name.
    NamePartsDisagree,
    /// A name that the profile requires is missing.
    NameMissing,
    /// More names of a format than the profile allows.
    NameTooMany,
    /// The names can be read in more than one way.
    NamesAmbiguous,
    /// A name that the name constraints of the authority's CA certificates would invalidate.
    NameConstrained,
    /// A claim is not well-formed.
    ClaimMalformed,
    /// A claim of an arc, type or size that the profile does not take.
    ClaimNotAllowed,
    /// A claim that the profile requires is missing.
    ClaimMissing,
    /// More claims of an arc than the profile takes.
    ClaimTooMany,
    /// The evidence is no JWT in the one form that is read.
    EvidenceMalformed,
    /// Evidence, where the profile takes none.
    EvidenceNotAllowed,
    /// No evidence, where the profile wants it.
    EvidenceMissing,
    /// The evidence is signed with an algorithm that the policy or the key does not have, or not at all.
    EvidenceAlgorithmNotAllowed,
    /// The policy has no key of the name that the evidence says.
    EvidenceKeyUnknown,
    /// The evidence's signature is wrong.
    EvidenceSignatureWrong,
    /// The evidence has ended, or is too old.
    EvidenceExpired,
    /// The evidence begins later.
    EvidenceNotYetValid,
    /// A claim of the evidence is missing, or is another than it must be.
    EvidenceClaimWrong,
    /// The evidence confirms another key, or none.
    EvidenceOfOtherKey,
    /// The caller does not speak for the provider that the names say.
    ProviderNotAllowed,
    /// A name is that of a caller of this signer.
    NameOfCaller,
    /// A name's form with dashes belongs to another name.
    NameClaimed,
    /// A form with dashes belongs to no name, or to another than was said.
    NameNotClaimed,
    /// A form with dashes stands in certificates that have not ended.
    NameInUse,
    /// The wished lifetime is over the profile's maximum.
    LifetimeTooLong,
    /// The certificate would lie outside the profile's window of time.
    OutsideWindow,
    /// The lifetime would outlive its issuer.
    LifetimeBeyondIssuer,
    /// The manifest does not read, or could be read in two ways, or has a name that no certificate may have.
    ManifestInvalid,
    /// The manifest in force names no owner: nobody may ever replace it.
    ManifestImmutable,
    /// The epoch has no manifest that names could come from.
    ManifestMissing,
    /// The key is none of the owners' of the manifest in force.
    OwnerUnknown,
    /// The owner's signature is wrong.
    OwnerSignatureWrong,
    /// An owner's key is one of another authority, too, where a signature would be good for both.
    OwnerKeyShared,
    /// The authority rotates by age, and not by manifest.
    RotatesByAge,
    /// The manifest has no workload of that policy hash.
    PolicyHashUnknown,
    /// A policy hash, where names do not come from a manifest.
    PolicyHashNotAllowed,
    /// Names in a request, where they come from the manifest.
    NamesFromManifest,
    /// No such authority.
    AuthorityUnknown,
    /// No such profile, or not of this authority.
    ProfileUnknown,
    /// The caller's certificate names nobody that the policy knows.
    CallerUnknown,
    /// The caller's certificate is outside its validity.
    CallerExpired,
    /// The caller has no right to the method.
    MethodNotAllowed,
    /// The caller has no right to the profile.
    ProfileNotAllowed,
    /// No method of that name.
    MethodUnknown,
    /// Another transition is active than the one named.
    TransitionStale,
    /// The authority has no active epoch.
    EpochNotActive,
    /// An authority or an epoch is in another state than what was asked wants.
    StateDiffers,
    /// The policy gives the authority no CRLs.
    CrlNotConfigured,
    /// More certificates are revoked than one CRL lists.
    CrlTooLarge,
    /// A certificate was revoked, or another CRL made, while this CRL was.
    CrlStale,
    /// The certificate that is to be revoked is none of this issuer's.
    CertificateUnknown,
    /// The policy changed between decision and commit.
    PolicyChanged,
    /// A policy that was to come into force has mistakes.
    PolicyInvalid,
    /// A policy that was to come into force does not fit the authorities that are served.
    PolicyDiffers,
    /// Another policy is in force than the one that was to be replaced.
    PolicyStale,
    /// More calls than the caller or the instance may make for now.
    RateExceeded,
    /// The profile has given all the certificates that its quota grants.
    QuotaExceeded,
    /// The key was certified under other names before.
    KeyHasOtherNames,
    /// The profile does not take what the request wants to do to an instance's record.
    InstanceIntentNotAllowed,
    /// The names do not say which instance it is.
    InstanceMissing,
    /// The certificate that is to be replaced does not read.
    InstanceCertificateMalformed,
    /// The certificate that is to be replaced is not one of this authority.
    InstanceCertificateForeign,
    /// The certificate that is to be replaced has ended.
    InstanceCertificateExpired,
    /// The certificate that is to be replaced is revoked.
    InstanceCertificateRevoked,
    /// The certificate that is to be replaced was replaced before.
    InstanceCertificateReplaced,
    /// The certificate that is to be replaced is of another instance, service or registration.
    InstanceDiffers,
    /// The refresh brings the old key, where the profile wants a new one.
    InstanceKeyReused,
    /// The refresh has no proof of possession, where the profile wants one.
    InstanceProofMissing,
    /// The proof of possession does not verify.
    InstanceProofWrong,
    /// The instance is registered and alive.
    InstanceExists,
    /// No such instance is registered.
    InstanceUnknown,
    /// The one retry with the certificate before the current one was used.
    InstanceRetryUsed,
    /// The instance is revoked.
    InstanceRevoked,
    /// The key of a replaced certificate was used: somebody has it who should not, and the instance is revoked from here on.
    InstanceStolen,
    /// The authority issues nothing: a certificate of ours turned up that the ledger does not know.
    AuthorityStopped,
    /// The authority issues nothing: an operator froze it.
    AuthorityFrozen,
    /// The authority is not stopped, or not frozen.
    AuthorityServes,
    /// The request id was used with another content.
    RequestIdReused,
    /// The request id's certificate was committed, never signed, and is void now.
    RequestVoid,
    /// The clock cannot be trusted.
    ClockUntrusted,
    /// A certificate of an offline root is not what it must be.
    CertificateUnfit,
    /// The root is offline, so that this signer signs nothing with it.
    RootOffline,
    /// The serial number is taken.
    SerialTaken,
    /// The same request is being worked on elsewhere.
    RequestInFlight,
    /// The signer could not put a certificate together.
    Defect,
    /// The draft does not say what was approved: a defect of the signer, and nothing was signed.
    DraftDisagrees,
    /// The deadline passed.
    DeadlinePassed,
    /// The message was over its limit and was not read.
    MessageTooLarge,
    /// The gRPC frame around the message does not decode.
    MalformedFrame,
    /// A queue is full.
    QueueFull,
    /// The key's device never signs what would have to be signed, or not so much of it.
    DeviceIncapable,
    /// The key's device failed or is away.
    DeviceFailed,
    /// The decision log cannot be written.
    LedgerFailed,
    /// The daemon is stopping.
    Stopping,
}

/// What kind of answer a reason makes: decides the status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReasonClass {
    /// A field of a later version.
    NotSupported,
    /// The request is malformed.
    Malformed,
    /// The caller or the policy does not permit it.
    NotPermitted,
    /// The state of the signer does not permit it now.
    Precondition,
    /// It clashes with what was decided before.
    Conflict,
    /// There is no such thing.
    NotFound,
    /// A size or a rate is exhausted.
    Exhausted,
    /// Too late.
    Deadline,
    /// Not now; the same request may succeed later.
    Unavailable,
    /// A defect of the signer.
    Internal,
}

impl ReasonCode {
    /// The code as the wire and the log write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FieldMissing => "FIELD_MISSING",
            Self::FieldOutOfLimits => "FIELD_OUT_OF_LIMITS",
            Self::FieldNotSupported => "FIELD_NOT_SUPPORTED",
            Self::FieldsConflict => "FIELDS_CONFLICT",
            Self::MessageMalformed => "MESSAGE_MALFORMED",
            Self::CsrMalformed => "CSR_MALFORMED",
            Self::CsrNotCanonical => "CSR_NOT_CANONICAL",
            Self::CsrSignatureWrong => "CSR_SIGNATURE_WRONG",
            Self::KeyMalformed => "KEY_MALFORMED",
            Self::KeyNotAllowed => "KEY_NOT_ALLOWED",
            Self::KeyWeak => "KEY_WEAK",
            Self::KeyDenied => "KEY_DENIED",
            Self::PossessionNotProven => "POSSESSION_NOT_PROVEN",
            Self::SubjectNotAllowed => "SUBJECT_NOT_ALLOWED",
            Self::ExtensionNotAllowed => "EXTENSION_NOT_ALLOWED",
            Self::AttributeNotAllowed => "ATTRIBUTE_NOT_ALLOWED",
            Self::Duplicate => "DUPLICATE",
            Self::NameMalformed => "NAME_MALFORMED",
            Self::NameKindNotAllowed => "NAME_KIND_NOT_ALLOWED",
            Self::NameOutsideFormat => "NAME_OUTSIDE_FORMAT",
            Self::NamePartsDisagree => "NAME_PARTS_DISAGREE",
            Self::NameMissing => "NAME_MISSING",
            Self::NameTooMany => "NAME_TOO_MANY",
            Self::NamesAmbiguous => "NAMES_AMBIGUOUS",
            Self::NameConstrained => "NAME_CONSTRAINED",
            Self::ClaimMalformed => "CLAIM_MALFORMED",
            Self::ClaimNotAllowed => "CLAIM_NOT_ALLOWED",
            Self::ClaimMissing => "CLAIM_MISSING",
            Self::ClaimTooMany => "CLAIM_TOO_MANY",
            Self::EvidenceMalformed => "EVIDENCE_MALFORMED",
            Self::EvidenceNotAllowed => "EVIDENCE_NOT_ALLOWED",
            Self::EvidenceMissing => "EVIDENCE_MISSING",
            Self::EvidenceAlgorithmNotAllowed => "EVIDENCE_ALGORITHM_NOT_ALLOWED",
            Self::EvidenceKeyUnknown => "EVIDENCE_KEY_UNKNOWN",
            Self::EvidenceSignatureWrong => "EVIDENCE_SIGNATURE_WRONG",
            Self::EvidenceExpired => "EVIDENCE_EXPIRED",
            Self::EvidenceNotYetValid => "EVIDENCE_NOT_YET_VALID",
            Self::EvidenceClaimWrong => "EVIDENCE_CLAIM_WRONG",
            Self::EvidenceOfOtherKey => "EVIDENCE_OF_OTHER_KEY",
            Self::ProviderNotAllowed => "PROVIDER_NOT_ALLOWED",
            Self::NameOfCaller => "NAME_OF_CALLER",
            Self::NameClaimed => "NAME_CLAIMED",
            Self::NameNotClaimed => "NAME_NOT_CLAIMED",
            Self::NameInUse => "NAME_IN_USE",
            Self::LifetimeTooLong => "LIFETIME_TOO_LONG",
            Self::OutsideWindow => "OUTSIDE_WINDOW",
            Self::LifetimeBeyondIssuer => "LIFETIME_BEYOND_ISSUER",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestImmutable => "MANIFEST_IMMUTABLE",
            Self::ManifestMissing => "MANIFEST_MISSING",
            Self::OwnerUnknown => "OWNER_UNKNOWN",
            Self::OwnerSignatureWrong => "OWNER_SIGNATURE_WRONG",
            Self::OwnerKeyShared => "OWNER_KEY_SHARED",
            Self::RotatesByAge => "ROTATES_BY_AGE",
            Self::PolicyHashUnknown => "POLICY_HASH_UNKNOWN",
            Self::PolicyHashNotAllowed => "POLICY_HASH_NOT_ALLOWED",
            Self::NamesFromManifest => "NAMES_FROM_MANIFEST",
            Self::AuthorityUnknown => "AUTHORITY_UNKNOWN",
            Self::ProfileUnknown => "PROFILE_UNKNOWN",
            Self::CallerUnknown => "CALLER_UNKNOWN",
            Self::CallerExpired => "CALLER_EXPIRED",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::ProfileNotAllowed => "PROFILE_NOT_ALLOWED",
            Self::MethodUnknown => "METHOD_UNKNOWN",
            Self::TransitionStale => "TRANSITION_STALE",
            Self::EpochNotActive => "EPOCH_NOT_ACTIVE",
            Self::StateDiffers => "STATE_DIFFERS",
            Self::CrlNotConfigured => "CRL_NOT_CONFIGURED",
            Self::CrlTooLarge => "CRL_TOO_LARGE",
            Self::CrlStale => "CRL_STALE",
            Self::CertificateUnknown => "CERTIFICATE_UNKNOWN",
            Self::PolicyChanged => "POLICY_CHANGED",
            Self::PolicyInvalid => "POLICY_INVALID",
            Self::PolicyDiffers => "POLICY_DIFFERS",
            Self::PolicyStale => "POLICY_STALE",
            Self::RateExceeded => "RATE_EXCEEDED",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::KeyHasOtherNames => "KEY_HAS_OTHER_NAMES",
            Self::InstanceIntentNotAllowed => "INSTANCE_INTENT_NOT_ALLOWED",
            Self::InstanceMissing => "INSTANCE_MISSING",
            Self::InstanceCertificateMalformed => "INSTANCE_CERTIFICATE_MALFORMED",
            Self::InstanceCertificateForeign => "INSTANCE_CERTIFICATE_FOREIGN",
            Self::InstanceCertificateExpired => "INSTANCE_CERTIFICATE_EXPIRED",
            Self::InstanceCertificateRevoked => "INSTANCE_CERTIFICATE_REVOKED",
            Self::InstanceCertificateReplaced => "INSTANCE_CERTIFICATE_REPLACED",
            Self::InstanceDiffers => "INSTANCE_DIFFERS",
            Self::InstanceKeyReused => "INSTANCE_KEY_REUSED",
            Self::InstanceProofMissing => "INSTANCE_PROOF_MISSING",
            Self::InstanceProofWrong => "INSTANCE_PROOF_WRONG",
            Self::InstanceExists => "INSTANCE_EXISTS",
            Self::InstanceUnknown => "INSTANCE_UNKNOWN",
            Self::InstanceRetryUsed => "INSTANCE_RETRY_USED",
            Self::InstanceRevoked => "INSTANCE_REVOKED",
            Self::InstanceStolen => "INSTANCE_STOLEN",
            Self::AuthorityStopped => "AUTHORITY_STOPPED",
            Self::AuthorityFrozen => "AUTHORITY_FROZEN",
            Self::AuthorityServes => "AUTHORITY_SERVES",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::RequestVoid => "REQUEST_VOID",
            Self::ClockUntrusted => "CLOCK_UNTRUSTED",
            Self::CertificateUnfit => "CERTIFICATE_UNFIT",
            Self::RootOffline => "ROOT_OFFLINE",
            Self::SerialTaken => "SERIAL_TAKEN",
            Self::RequestInFlight => "REQUEST_IN_FLIGHT",
            Self::Defect => "DEFECT",
            Self::DraftDisagrees => "DRAFT_DISAGREES",
            Self::DeadlinePassed => "DEADLINE_PASSED",
            Self::MessageTooLarge => "MESSAGE_TOO_LARGE",
            Self::MalformedFrame => "MALFORMED_FRAME",
            Self::QueueFull => "QUEUE_FULL",
            Self::DeviceIncapable => "DEVICE_INCAPABLE",
            Self::DeviceFailed => "DEVICE_FAILED",
            Self::LedgerFailed => "LEDGER_FAILED",
            Self::Stopping => "STOPPING",
        }
    }

    /// Its class.
    #[must_use]
    pub fn class(self) -> ReasonClass {
        match self {
            Self::FieldNotSupported | Self::MethodUnknown => ReasonClass::NotSupported,
            Self::FieldMissing
            | Self::FieldOutOfLimits
            | Self::FieldsConflict
            | Self::MessageMalformed
            | Self::MalformedFrame
            | Self::CsrMalformed
            | Self::CsrNotCanonical
            | Self::CsrSignatureWrong
            | Self::KeyMalformed
            | Self::ClaimMalformed
            | Self::EvidenceMalformed
            | Self::Duplicate
            | Self::PolicyInvalid
            | Self::CertificateUnfit
            | Self::InstanceCertificateMalformed
            | Self::ManifestInvalid
            | Self::NameMalformed => ReasonClass::Malformed,
            Self::KeyNotAllowed
            | Self::KeyWeak
            | Self::KeyDenied
            | Self::PossessionNotProven
            | Self::SubjectNotAllowed
            | Self::ExtensionNotAllowed
            | Self::AttributeNotAllowed
            | Self::NameKindNotAllowed
            | Self::NameOutsideFormat
            | Self::NamePartsDisagree
            | Self::NameMissing
            | Self::NameTooMany
            | Self::NamesAmbiguous
            | Self::NameConstrained
            | Self::ClaimNotAllowed
            | Self::ClaimMissing
            | Self::ClaimTooMany
            | Self::EvidenceNotAllowed
            | Self::EvidenceMissing
            | Self::EvidenceAlgorithmNotAllowed
            | Self::EvidenceKeyUnknown
            | Self::EvidenceSignatureWrong
            | Self::EvidenceExpired
            | Self::EvidenceNotYetValid
            | Self::EvidenceClaimWrong
            | Self::EvidenceOfOtherKey
            | Self::ProviderNotAllowed
            | Self::NameOfCaller
            | Self::KeyHasOtherNames
            | Self::InstanceIntentNotAllowed
            | Self::InstanceMissing
            | Self::InstanceCertificateForeign
            | Self::InstanceCertificateExpired
            | Self::InstanceCertificateRevoked
            | Self::InstanceCertificateReplaced
            | Self::InstanceDiffers
            | Self::InstanceKeyReused
            | Self::InstanceProofMissing
            | Self::InstanceProofWrong
            | Self::InstanceRetryUsed
            | Self::InstanceRevoked
            | Self::InstanceStolen
            | Self::LifetimeTooLong
            | Self::ManifestImmutable
            | Self::OwnerUnknown
            | Self::OwnerSignatureWrong
            | Self::OwnerKeyShared
            | Self::PolicyHashUnknown
            | Self::PolicyHashNotAllowed
            | Self::NamesFromManifest
            | Self::ProfileUnknown
            | Self::CallerUnknown
            | Self::CallerExpired
            | Self::MethodNotAllowed
            | Self::ProfileNotAllowed => ReasonClass::NotPermitted,
            Self::LifetimeBeyondIssuer
            | Self::OutsideWindow
            | Self::TransitionStale
            | Self::EpochNotActive
            | Self::StateDiffers
            | Self::ManifestMissing
            | Self::RotatesByAge
            | Self::CrlNotConfigured
            | Self::DeviceIncapable
            | Self::RootOffline
            | Self::PolicyDiffers
            | Self::PolicyStale
            | Self::NameInUse
            | Self::RequestVoid
            | Self::AuthorityStopped
            | Self::AuthorityFrozen
            | Self::AuthorityServes
            | Self::ClockUntrusted => ReasonClass::Precondition,
            Self::RequestIdReused | Self::NameClaimed | Self::InstanceExists => ReasonClass::Conflict,
            Self::AuthorityUnknown | Self::CertificateUnknown | Self::NameNotClaimed | Self::InstanceUnknown => {
                ReasonClass::NotFound
            }
            Self::MessageTooLarge | Self::RateExceeded | Self::QuotaExceeded | Self::CrlTooLarge => {
                ReasonClass::Exhausted
            }
            Self::DeadlinePassed => ReasonClass::Deadline,
            Self::RequestInFlight
            | Self::PolicyChanged
            | Self::CrlStale
            | Self::QueueFull
            | Self::DeviceFailed
            | Self::LedgerFailed
            | Self::Stopping => ReasonClass::Unavailable,
            Self::SerialTaken | Self::Defect | Self::DraftDisagrees => ReasonClass::Internal,
        }
    }

    /// Whether it is an answer, which stands in the log by itself, and not a failure of the signer or too little time.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        match self.class() {
            ReasonClass::NotSupported
            | ReasonClass::Malformed
            | ReasonClass::NotPermitted
            | ReasonClass::Precondition
            | ReasonClass::Conflict
            | ReasonClass::NotFound => true,
            ReasonClass::Exhausted | ReasonClass::Deadline | ReasonClass::Unavailable | ReasonClass::Internal => false,
        }
    }
}

/// One reason of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The stable code.
    pub code: ReasonCode,
    /// The field of the request that it is about, in the wire's words; `csr` fields as `csr.subject` and the like.
    pub field: &'static str,
    /// What happened, as one sentence for people.
    pub sentence: String,
    /// What would have been allowed, where that can be said.
    pub allowed: Option<String>,
}

impl Reason {
    /// A reason without a remark on what is allowed.
    #[must_use]
    pub fn new(code: ReasonCode, field: &'static str, sentence: impl Into<String>) -> Self {
        Self { code, field, sentence: sentence.into(), allowed: None }
    }

    /// The same reason, saying what is allowed.
    #[must_use]
    pub fn allowing(self, allowed: impl Into<String>) -> Self {
        Self { allowed: Some(allowed.into()), ..self }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code.as_str(), self.field, self.sentence)
    }
}

/// A caller's text, made safe to quote in a sentence: control characters escaped, long text cut.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(QUOTE_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(QUOTE_CHARS_MAX).is_some() {
        quoted.push('…');
    }
    format!("`{quoted}`")
}
