//! Instances (Copper Argos): which one a certificate is for, and what it does to that instance's record. The record itself is the
//! ledger's: it compares and sets in the transaction that issues.

mod presented;

use crate::{
    content::Serial,
    file::IntentWord,
    key::{SpkiDigest, sha256},
    profile::Profile,
    reason::{Reason, ReasonCode, quote},
    request::Request,
    template::{Bindings, INSTANCE, Template},
    time::UnixTime,
};

pub use presented::CERTIFICATE_BYTES_MAX;
pub(crate) use presented::Presented;

/// Most instances of one service that a profile can admit: they are counted inside the transaction.
pub const ALIVE_MAX: u64 = 10_000;

/// What the superseded key signs, with the rest behind it.
const PROOF_CONTEXT: &str = "hallmark-instance-refresh-v2";

const FIELD: &str = "instance";

/// What a request wants to do to a record, as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IntentInput {
    /// There is no record.
    #[default]
    None,
    /// A first certificate.
    Register,
    /// A certificate that replaces another.
    Refresh {
        /// The one that it replaces, DER.
        certificate: Vec<u8>,
        /// A signature of its key over [`proof_message`], or empty.
        proof: Vec<u8>,
    },
}

/// What a request wants to do to a record, read.
#[derive(Clone, Debug)]
pub(crate) enum Intent {
    None,
    Register,
    Refresh(Box<Presented>),
}

impl Intent {
    pub(crate) fn word(&self) -> IntentWord {
        match self {
            Self::None => IntentWord::None,
            Self::Register => IntentWord::Register,
            Self::Refresh(_) => IntentWord::Refresh,
        }
    }
}

/// Reads what a request wants.
pub(crate) fn parse(input: IntentInput) -> Result<Intent, Reason> {
    match input {
        IntentInput::None => Ok(Intent::None),
        IntentInput::Register => Ok(Intent::Register),
        IntentInput::Refresh { certificate, proof } => {
            Presented::parse(&certificate, proof).map(|presented| Intent::Refresh(Box::new(presented)))
        }
    }
}

/// Which instance: unique within an authority by provider and id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceName {
    /// Who launched it.
    pub provider: String,
    /// What the provider calls it.
    pub id: String,
    /// What runs on it.
    pub service: String,
}

impl std::fmt::Display for InstanceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "instance {} of provider {}", quote(&self.id), quote(&self.provider))
    }
}

/// What a certificate does to the record of its instance, if the ledger agrees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceMove {
    /// The instance.
    pub name: InstanceName,
    /// The key of the new certificate.
    pub key: SpkiDigest,
    /// SHA-256 over profile, lifetime, names and claims as they were asked for. The same key with another wish gets another certificate.
    pub wish_sha256: [u8; 32],
    /// Digest of the request's own id, by which a request that somebody recorded is told from a new one; none where it has no id of its own.
    pub asked: Option<Asked>,
    /// How it moves.
    pub step: InstanceStep,
}

/// The first eight bytes of the SHA-256 of a request's own id, which a proof of possession covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked([u8; 8]);

impl Asked {
    /// Of that id.
    #[must_use]
    pub fn of(request_id: &str) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = sha256(request_id.as_bytes());
        Self([a, b, c, d, e, f, g, h])
    }

    /// As a number, for a database.
    #[must_use]
    pub fn to_number(self) -> i64 {
        i64::from_be_bytes(self.0)
    }
}

/// How a record moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceStep {
    /// It begins.
    Register {
        /// Whether it may take the place of one that is alive.
        replace: bool,
        /// Most instances of the service under the provider that may be alive, this one among them.
        alive_max: Option<u64>,
    },
    /// The new certificate replaces this one.
    Refresh(PresentedCertificate),
}

/// What a certificate that is presented to be replaced says of itself, before any of it is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresentedClaim {
    /// Key identifier of the CA key that is said to have signed it.
    pub issuer_key_identifier: [u8; 20],
    /// Its serial number.
    pub serial: Serial,
    /// See [`signed_sha256`].
    pub signed_sha256: [u8; 32],
}

/// A certificate of ours that is presented to be replaced: it is one that we signed, to the byte, or its signature verified; and it has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresentedCertificate {
    /// The key that signed it.
    pub issuer: SpkiDigest,
    /// Its serial number.
    pub serial: Serial,
    /// Its own key.
    pub key: SpkiDigest,
    /// Its notBefore.
    pub not_before: UnixTime,
    /// Its notAfter.
    pub not_after: UnixTime,
    /// Whether whoever presents it has its key.
    pub proven: bool,
}

/// What the log says about instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceFacts {
    /// `register` or `refresh`.
    pub intent: &'static str,
    /// The instance, where the names say one.
    pub name: Option<InstanceName>,
    /// Serial number of the certificate that was presented.
    pub presented: Option<Serial>,
    /// Whether possession of its key is proven.
    pub proven: bool,
}

/// What a profile says about instances.
#[derive(Clone, Debug)]
pub struct InstanceRule {
    pub(crate) intents: Vec<IntentWord>,
    pub(crate) provider: Template,
    pub(crate) id: Template,
    pub(crate) service: Template,
    pub(crate) replace: bool,
    pub(crate) rekey: bool,
    pub(crate) proof: bool,
    pub(crate) alive_per_service: Option<u64>,
}

impl InstanceRule {
    /// What requests may want.
    #[must_use]
    pub fn intents(&self) -> &[IntentWord] {
        &self.intents
    }

    /// What names provider, id and service.
    #[must_use]
    pub fn formats(&self) -> [&str; 3] {
        [self.provider.as_str(), self.id.as_str(), self.service.as_str()]
    }

    /// Whether a registration may take the place of one that is alive.
    #[must_use]
    pub fn replace(&self) -> bool {
        self.replace
    }

    /// Whether a refresh brings a new key.
    #[must_use]
    pub fn rekey(&self) -> bool {
        self.rekey
    }

    /// Whether a refresh proves possession of the replaced certificate's key.
    #[must_use]
    pub fn proof(&self) -> bool {
        self.proof
    }

    /// Most instances of one service under one provider.
    #[must_use]
    pub fn alive_per_service(&self) -> Option<u64> {
        self.alive_per_service
    }

    /// Whether provider, id or service are made of this part of the names.
    pub(crate) fn names_part(&self, part: &str) -> bool {
        [&self.provider, &self.id, &self.service].into_iter().any(|template| template.parts().any(|own| own == part))
    }

    /// The instance that names say.
    fn name(&self, bound: &Bindings) -> Option<InstanceName> {
        let [provider, id, service] =
            [&self.provider, &self.id, &self.service].map(|template| template.write(bound).filter(|it| !it.is_empty()));
        Some(InstanceName { provider: provider?, id: id?, service: service? })
    }
}

/// What the key of a replaced certificate signs to prove its possession: seven lines, the last with its newline. `request_id` is the request's, empty if
/// it has none, `presented` the serial number of the replaced certificate, and the digest that of the new SubjectPublicKeyInfo. ECDSA keys sign with
/// SHA-256 in DER, RSA keys with PKCS #1 v1.5 and SHA-256.
#[must_use]
pub fn proof_message(
    authority: &str,
    request_id: &str,
    name: &InstanceName,
    presented: Serial,
    new_key: SpkiDigest,
) -> String {
    let InstanceName { provider, id, service: _ } = name;
    format!("{PROOF_CONTEXT}\n{authority}\n{request_id}\n{provider}\n{id}\n{presented}\n{new_key}\n")
}

/// A digest of a certificate that was signed: of its TBSCertificate and its signature, which is the content of the BIT STRING.
#[must_use]
pub fn signed_sha256(to_be_signed: &[u8], signature: &[u8]) -> [u8; 32] {
    sha256(&[to_be_signed, signature].concat())
}

/// What the log says about a request's instance.
pub(crate) fn facts(request: &Request, name: Option<InstanceName>) -> Option<InstanceFacts> {
    let intent = request.intent.word().name();
    match &request.intent {
        Intent::None => None,
        Intent::Register => Some(InstanceFacts { intent, name, presented: None, proven: false }),
        Intent::Refresh(presented) => {
            Some(InstanceFacts { intent, name, presented: Some(presented.serial), proven: false })
        }
    }
}

/// Checks what a request wants against its profile; `bound` is what its names say, where they can be read.
pub(crate) fn check(
    profile: &Profile,
    request: &Request,
    bound: Option<&Bindings>,
    now: UnixTime,
    reasons: &mut Vec<Reason>,
) -> Option<InstanceMove> {
    let word = request.intent.word();
    let Some(rule) = &profile.instances else {
        if word != IntentWord::None {
            let sentence =
                format!("profile `{}` keeps no instances, and the request wants `{}`", profile.name, word.name());
            let reason = Reason::new(ReasonCode::InstanceIntentNotAllowed, FIELD, sentence);
            reasons.push(reason.allowing("no intent, or `none`"));
        }
        return None;
    };
    if !rule.intents.contains(&word) {
        let allowed: Vec<_> = rule.intents.iter().map(|intent| intent.name()).collect();
        let sentence = format!("profile `{}` does not take the intent `{}`", profile.name, word.name());
        let reason = Reason::new(ReasonCode::InstanceIntentNotAllowed, FIELD, sentence);
        reasons.push(reason.allowing(allowed.join(", ")));
        // Whose certificate it presents is nobody's business then.
        if word == IntentWord::Refresh {
            return None;
        }
    }
    if word == IntentWord::None {
        if rule.intents.contains(&word)
            && let Some(id) = bound.and_then(|bound| bound.get(INSTANCE))
        {
            let sentence = format!("the names are those of instance {}, and the request keeps no record", quote(id));
            let reason = Reason::new(ReasonCode::InstanceIntentNotAllowed, FIELD, sentence);
            reasons.push(reason.allowing("`register` or `refresh`, or names without an instance"));
        }
        return None;
    }
    let name = bound.map(|bound| rule.name(bound));
    if name == Some(None) {
        let sentence = "the names do not say provider, id and service of the instance";
        let reason = Reason::new(ReasonCode::InstanceMissing, "names", sentence);
        reasons.push(reason.allowing(rule.formats().join(", ")));
    }
    let name = name.flatten();
    let step = match &request.intent {
        Intent::None => return None,
        Intent::Register => InstanceStep::Register { replace: rule.replace, alive_max: rule.alive_per_service },
        Intent::Refresh(presented) => {
            InstanceStep::Refresh(presented_certificate(rule, request, presented, name.as_ref(), now, reasons)?)
        }
    };
    let asked = request.has_own_id.then(|| Asked::of(&request.request_id));
    Some(InstanceMove { name: name?, key: request.key.digest(), wish_sha256: request.wish_sha256(), asked, step })
}

fn presented_certificate(
    rule: &InstanceRule,
    request: &Request,
    presented: &Presented,
    name: Option<&InstanceName>,
    now: UnixTime,
    reasons: &mut Vec<Reason>,
) -> Option<PresentedCertificate> {
    let Some(issuer) = presented.issuer() else {
        let sentence = format!(
            "the certificate {} that is to be replaced is not one of authority {}",
            presented.serial,
            quote(&request.authority)
        );
        let reason = Reason::new(ReasonCode::InstanceCertificateForeign, FIELD, sentence);
        reasons.push(reason.allowing("the certificate that was given to this instance last"));
        return None;
    };
    if now > presented.not_after {
        let sentence = format!("the certificate {} has ended at {}", presented.serial, presented.not_after);
        let reason = Reason::new(ReasonCode::InstanceCertificateExpired, FIELD, sentence);
        reasons.push(reason.allowing("`register`"));
    }
    let key = presented.key;
    if rule.rekey && key == request.key.digest() {
        let sentence = format!("profile {} wants a new key with every refresh", quote(&request.profile));
        reasons.push(Reason::new(ReasonCode::InstanceKeyReused, FIELD, sentence).allowing("a CSR of a new key"));
    }
    if rule.proof && presented.proof.is_empty() {
        let sentence =
            format!("profile {} wants proof of the replaced key with every refresh", quote(&request.profile));
        let reason = Reason::new(ReasonCode::InstanceProofMissing, FIELD, sentence);
        reasons.push(reason.allowing("`possession_signature` by the key of the presented certificate"));
    }
    // A CSR under that key is none: whoever saw it can send it again.
    let proven = match (presented.proof.as_slice(), name) {
        ([], _) | (_, None) => false,
        ([_, ..], Some(name)) => {
            let id = if request.has_own_id { request.request_id.as_str() } else { "" };
            let message = proof_message(&request.authority, id, name, presented.serial, request.key.digest());
            let proven = presented.is_proven(message.as_bytes());
            if !proven {
                let sentence =
                    format!("the proof does not verify under the key of the certificate {}", presented.serial);
                let reason = Reason::new(ReasonCode::InstanceProofWrong, FIELD, sentence);
                reasons.push(reason.allowing(format!("its signature over `{}`", message.escape_debug())));
            }
            proven
        }
    };
    Some(PresentedCertificate {
        issuer: issuer.digest(),
        serial: presented.serial,
        key,
        not_before: presented.not_before,
        not_after: presented.not_after,
        proven,
    })
}
