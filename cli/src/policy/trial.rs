//! One request, decided as a signer would decide it, with stand-ins for everything that a signer has.

use std::sync::Arc;

use hallmark_policy::{
    Approved, Caller, Decision, Facts, Issuer, Manifest, Method, Policy, Reason, Request, RequestInput, SubjectInput,
    admit, claim::ClaimInput, content::Serial, decide, facts, file::IntentWord, instance::IntentInput, provider,
    time::UnixTime,
};

use super::stand_in::{StandInError, StandIns};

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) caller: &'a str,
    pub(crate) profile: &'a str,
    pub(crate) subject: SubjectInput,
    pub(crate) claims: Vec<ClaimInput>,
    /// The manifest in force; none if it is not said.
    pub(crate) manifest: Option<Arc<Manifest>>,
    /// SHA-256 of the workload's policy, or empty.
    pub(crate) policy_hash: Vec<u8>,
    /// The provider's JWT, or empty.
    pub(crate) evidence_jwt: String,
    /// Wished lifetime; 0 for the profile's own.
    pub(crate) lifetime_secs: u64,
    pub(crate) at: UnixTime,
}

/// What a signer would answer.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) caller: Caller,
    pub(crate) issuer: Issuer,
    /// What the log would say; none if the request is not well-formed.
    pub(crate) facts: Option<Facts>,
    /// The provider that the names say.
    pub(crate) provider: Option<String>,
    /// Why it is refused; none if it is approved.
    pub(crate) reasons: Vec<Reason>,
    pub(crate) approved: Option<Box<Approved>>,
}

/// A registration, where the profile takes one: what it replaces only a running signer knows.
fn intent(policy: &Policy, profile: &str) -> IntentInput {
    let rule = policy.profile(profile).and_then(|profile| profile.instances());
    let registers = rule.is_some_and(|rule| rule.intents().contains(&IntentWord::Register));
    if registers { IntentInput::Register } else { IntentInput::None }
}

/// Decides about `question`.
pub(crate) fn trial(policy: &Policy, question: &Question<'_>, stand_ins: &mut StandIns) -> Result<Trial, StandInError> {
    let caller = stand_ins.caller(policy, question.caller)?;
    let named = policy.profile(question.profile).and_then(|profile| policy.authority(profile.authority()));
    let authority = named.or_else(|| policy.authorities().next()).ok_or(StandInError::NoAuthority)?;
    let issuer = Issuer { manifest: question.manifest.clone(), ..stand_ins.issuer(authority, question.at)? };
    let input = RequestInput {
        authority: authority.name.clone(),
        profile: question.profile.to_owned(),
        request_id: "trial".to_owned(),
        subject: question.subject.clone(),
        lifetime_seconds: question.lifetime_secs,
        claims: question.claims.clone(),
        policy_hash: question.policy_hash.clone(),
        evidence_jwt: question.evidence_jwt.clone(),
        instance: intent(policy, question.profile),
        ..RequestInput::default()
    };
    let request = match Request::parse(caller.clone(), input) {
        Ok(request) => request,
        Err(malformed) => {
            let mut reasons = admit(policy, &caller, Method::MintCertificate, question.at).err().unwrap_or_default();
            reasons.extend(malformed);
            return Ok(Trial { caller, issuer, facts: None, provider: None, reasons, approved: None });
        }
    };
    let (facts, provider) = (Some(facts(policy, &request)), provider(policy, &request));
    let (approved, reasons) = match decide(policy, &request, &issuer, question.at, Serial::from_random([0; 16])) {
        Decision::Approve(approved) => (Some(approved), Vec::new()),
        Decision::Refuse(reasons) => (None, reasons),
    };
    Ok(Trial { caller, issuer, facts, provider, reasons, approved })
}
