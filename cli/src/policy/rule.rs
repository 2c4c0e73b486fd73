//! The rules by which a request is decided, in the order in which they are shown, and the reasons that belong to each.

use hallmark_policy::{Reason, ReasonCode};

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The request is well-formed and within its limits.
    Request,
    /// The policy knows the caller.
    Caller,
    /// The caller may call the method.
    Method,
    /// The profile is there, and the caller may mint under it.
    Profile,
    /// The key is one that the profile takes.
    Key,
    /// Somebody answers for the possession of the key.
    Possession,
    /// Nothing is asked for that no rule names.
    Extensions,
    /// The names fit the formats.
    Names,
    /// The caller speaks for the provider that the names say.
    Provider,
    /// The provider's evidence says whose key it is.
    Evidence,
    /// The instance's record may move so.
    Instance,
    /// The lifetime is within its limits.
    Lifetime,
    /// The transition is that of the active epoch.
    Transition,
    /// What only a running signer knows.
    Signer,
}

impl Rule {
    /// Every rule.
    pub(crate) const ALL: [Self; 14] = [
        Self::Request,
        Self::Caller,
        Self::Method,
        Self::Profile,
        Self::Key,
        Self::Possession,
        Self::Extensions,
        Self::Names,
        Self::Provider,
        Self::Evidence,
        Self::Instance,
        Self::Lifetime,
        Self::Transition,
        Self::Signer,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Caller => "caller",
            Self::Method => "method",
            Self::Profile => "profile",
            Self::Key => "key",
            Self::Possession => "possession",
            Self::Extensions => "extensions",
            Self::Names => "names",
            Self::Provider => "provider",
            Self::Evidence => "evidence",
            Self::Instance => "instance",
            Self::Lifetime => "lifetime",
            Self::Transition => "transition",
            Self::Signer => "signer",
        }
    }

    /// Whether it is the profile that says what is allowed.
    pub(crate) fn is_the_profiles(self) -> bool {
        match self {
            Self::Key
            | Self::Possession
            | Self::Extensions
            | Self::Names
            | Self::Provider
            | Self::Evidence
            | Self::Instance
            | Self::Lifetime => true,
            Self::Request | Self::Caller | Self::Method | Self::Profile | Self::Transition | Self::Signer => false,
        }
    }

    /// The rule that a reason says was not kept.
    pub(crate) fn of(reason: &Reason) -> Self {
        match reason.code {
            ReasonCode::FieldOutOfLimits if reason.field == "lifetime_seconds" => Self::Lifetime,
            ReasonCode::FieldOutOfLimits if reason.field == "evidence_jwt" => Self::Evidence,
            ReasonCode::Duplicate if ["csr.extensions", "csr.attributes"].contains(&reason.field) => Self::Extensions,
            ReasonCode::FieldMissing
            | ReasonCode::FieldOutOfLimits
            | ReasonCode::FieldNotSupported
            | ReasonCode::FieldsConflict
            | ReasonCode::MessageMalformed
            | ReasonCode::MessageTooLarge
            | ReasonCode::MalformedFrame
            | ReasonCode::CsrMalformed
            | ReasonCode::CsrNotCanonical => Self::Request,
            ReasonCode::CallerUnknown | ReasonCode::CallerExpired => Self::Caller,
            ReasonCode::MethodNotAllowed | ReasonCode::MethodUnknown => Self::Method,
            ReasonCode::AuthorityUnknown | ReasonCode::ProfileUnknown | ReasonCode::ProfileNotAllowed => Self::Profile,
            ReasonCode::KeyMalformed | ReasonCode::KeyNotAllowed | ReasonCode::KeyWeak | ReasonCode::KeyDenied => {
                Self::Key
            }
            ReasonCode::CsrSignatureWrong | ReasonCode::PossessionNotProven => Self::Possession,
            ReasonCode::ExtensionNotAllowed
            | ReasonCode::AttributeNotAllowed
            | ReasonCode::ClaimMalformed
            | ReasonCode::ClaimNotAllowed
            | ReasonCode::ClaimMissing
            | ReasonCode::ClaimTooMany => Self::Extensions,
            ReasonCode::SubjectNotAllowed
            | ReasonCode::Duplicate
            | ReasonCode::NameMalformed
            | ReasonCode::NameKindNotAllowed
            | ReasonCode::NameOutsideFormat
            | ReasonCode::NamePartsDisagree
            | ReasonCode::NameMissing
            | ReasonCode::NameTooMany
            | ReasonCode::NamesAmbiguous
            | ReasonCode::NameConstrained
            | ReasonCode::NameOfCaller
            | ReasonCode::ManifestMissing
            | ReasonCode::PolicyHashUnknown
            | ReasonCode::PolicyHashNotAllowed
            | ReasonCode::NamesFromManifest
            | ReasonCode::InstanceMissing => Self::Names,
            ReasonCode::InstanceIntentNotAllowed
            | ReasonCode::InstanceCertificateMalformed
            | ReasonCode::InstanceCertificateForeign
            | ReasonCode::InstanceCertificateExpired
            | ReasonCode::InstanceKeyReused
            | ReasonCode::InstanceProofMissing
            | ReasonCode::InstanceProofWrong => Self::Instance,
            ReasonCode::ProviderNotAllowed => Self::Provider,
            ReasonCode::EvidenceMalformed
            | ReasonCode::EvidenceNotAllowed
            | ReasonCode::EvidenceMissing
            | ReasonCode::EvidenceAlgorithmNotAllowed
            | ReasonCode::EvidenceKeyUnknown
            | ReasonCode::EvidenceSignatureWrong
            | ReasonCode::EvidenceExpired
            | ReasonCode::EvidenceNotYetValid
            | ReasonCode::EvidenceClaimWrong
            | ReasonCode::EvidenceOfOtherKey => Self::Evidence,
            ReasonCode::LifetimeTooLong | ReasonCode::LifetimeBeyondIssuer | ReasonCode::OutsideWindow => {
                Self::Lifetime
            }
            ReasonCode::TransitionStale => Self::Transition,
            ReasonCode::EpochNotActive
            | ReasonCode::StateDiffers
            | ReasonCode::ManifestInvalid
            | ReasonCode::ManifestImmutable
            | ReasonCode::OwnerUnknown
            | ReasonCode::OwnerSignatureWrong
            | ReasonCode::OwnerKeyShared
            | ReasonCode::RotatesByAge
            | ReasonCode::CrlNotConfigured
            | ReasonCode::CertificateUnfit
            | ReasonCode::RootOffline
            | ReasonCode::CrlTooLarge
            | ReasonCode::CrlStale
            | ReasonCode::CertificateUnknown
            | ReasonCode::PolicyChanged
            | ReasonCode::PolicyInvalid
            | ReasonCode::PolicyDiffers
            | ReasonCode::PolicyStale
            | ReasonCode::RateExceeded
            | ReasonCode::QuotaExceeded
            | ReasonCode::KeyHasOtherNames
            | ReasonCode::InstanceCertificateRevoked
            | ReasonCode::InstanceCertificateReplaced
            | ReasonCode::InstanceDiffers
            | ReasonCode::InstanceExists
            | ReasonCode::InstanceUnknown
            | ReasonCode::InstanceRetryUsed
            | ReasonCode::InstanceRevoked
            | ReasonCode::InstanceStolen
            | ReasonCode::AuthorityStopped
            | ReasonCode::AuthorityFrozen
            | ReasonCode::AuthorityServes
            | ReasonCode::RequestIdReused
            | ReasonCode::RequestVoid
            | ReasonCode::NameClaimed
            | ReasonCode::NameNotClaimed
            | ReasonCode::NameInUse
            | ReasonCode::ClockUntrusted
            | ReasonCode::SerialTaken
            | ReasonCode::RequestInFlight
            | ReasonCode::Defect
            | ReasonCode::DraftDisagrees
            | ReasonCode::DeadlinePassed
            | ReasonCode::QueueFull
            | ReasonCode::DeviceIncapable
            | ReasonCode::DeviceFailed
            | ReasonCode::LedgerFailed
            | ReasonCode::Stopping => Self::Signer,
        }
    }
}
