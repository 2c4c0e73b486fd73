//! MintCertificate: from the message to the order of events, and back.

use std::{sync::Arc, time::Instant};

use hallmark_policy::{
    ClaimInput, NameInput, Policy, Reason, ReasonCode, Request, RequestIdentity, RequestInput, SubjectInput,
    evidence::EvidenceFacts, instance::IntentInput, stored_serial, stored_validity,
};
use hallmark_proto::{
    link::Reply,
    signer::{
        Epoch, InstanceRefresh, MintCertificateRequest, MintCertificateResponse, instance_intent::Intent,
        mint_certificate_request::Subject, subject_alt_name::Name,
    },
};
use prost::Message;

use crate::{
    answer::{self, Failure},
    authorities::Chain,
    core::{CallContext, Inner},
    meters::{OfProfile, Stage},
    order::{self, Certified, Outcome, Validated},
};

/// How long the same content from the same caller is the same request, where it has no id.
const SAME_REQUEST_MILLIS: i64 = 60_000;

/// Decodes the message, has it decided and certified, and encodes the answer. What is refused is counted.
pub(crate) async fn mint(core: &Arc<Inner>, call: CallContext) -> Result<Reply, Failure> {
    let (method, mut of) = (call.method.name(), OfProfile::default());
    let minted = minted(core, call, &mut of).await;
    minted.inspect_err(|failure| core.meters.refused(Some(method), of, failure))
}

/// The same; `of` is what it is counted under, as soon as that is known.
async fn minted(core: &Arc<Inner>, call: CallContext, of: &mut OfProfile) -> Result<Reply, Failure> {
    let began = Instant::now();
    let mut facts = core.facts(call.method.name(), &call.caller);
    let message = match MintCertificateRequest::decode(call.body) {
        Ok(message) => message,
        Err(error) => {
            let reason =
                Reason::new(ReasonCode::MessageMalformed, "message", format!("the message does not decode: {error}"));
            return Err(core.refuse(vec![reason], facts).await);
        }
    };
    *of = OfProfile::known(&core.policy(), &message.authority, &message.profile);
    core.trace_profile(of);
    facts.authority.clone_from(&message.authority);
    facts.profile.clone_from(&message.profile);
    facts.request_id.clone_from(&message.request_id);
    let (raw, evidence) = (subject_bytes(&message), message.evidence_jwt.as_bytes().to_vec());
    let input = input(&core.policy(), message);
    let request = match Request::parse(call.caller, input) {
        Ok(request) => request,
        Err(reasons) => {
            facts.request = raw;
            facts.evidence = (!evidence.is_empty()).then_some(EvidenceFacts { jwt: evidence, verified_by: None });
            return Err(core.refuse(reasons, facts).await);
        }
    };
    core.stage(Stage::Decode, began, Instant::now());
    let caller = facts.caller;
    let identity = identity(&request, &caller);
    let patience = tokio::time::Instant::from_std(call.deadline);
    let Ok(turn) = tokio::time::timeout_at(patience, core.in_flight.turn(&identity)).await else {
        let sentence = "another call with the same request id was under way until the deadline";
        return Err(Reason::new(ReasonCode::DeadlinePassed, "request_id", sentence).into());
    };
    let request = core.within_a_minute(request, &caller)?;
    let identity = self::identity(&request, &caller);
    let outcome = order::mint(core, request, &identity, call.deadline, turn).await?;
    let began = Instant::now();
    match outcome {
        Outcome::Certified(mut certified) => {
            let passage = certified.passage.take();
            let signed = passage.is_some();
            let counted = if certified.replayed { &core.meters.repeated } else { &core.meters.issued };
            let chain = core.chain_by_key(&identity.authority, certified.issuer)?;
            let reply = answer::success(&response(&identity.authority, chain, certified));
            if passage.is_some_and(|passage| !passage.release()) {
                return Err(core.not_released());
            }
            core.stage(Stage::Answer, began, Instant::now());
            counted.count(of.clone());
            Ok(Reply { signed, ..reply })
        }
        Outcome::Validated(Validated { issuer, validity, receipt }) => {
            let chain = core.chain_by_key(&identity.authority, issuer)?;
            let certified = Certified {
                to_be_signed: Vec::new(),
                certificate: Vec::new(),
                issuer,
                receipt,
                replayed: false,
                passage: None,
            };
            let response = response(&identity.authority, chain, certified);
            let (not_before, not_after) =
                validity.map_or((0, 0), |validity| (validity.not_before.secs(), validity.not_after.secs()));
            Ok(answer::success(&MintCertificateResponse { not_before, not_after, ..response }))
        }
    }
}

fn identity(request: &Request, caller: &str) -> RequestIdentity {
    RequestIdentity {
        authority: request.authority().to_owned(),
        caller: caller.to_owned(),
        id: request.request_id().to_owned(),
        content_sha256: *request.content_sha256(),
    }
}

impl Inner {
    /// A request without an id is the one with the same content that the caller asked in the last minute, if there is one. Whoever
    /// calls has the turn of both.
    fn within_a_minute(&self, request: Request, caller: &str) -> Result<Request, Failure> {
        if request.has_own_id() {
            return Ok(request);
        }
        let now = self.clock.wall().millis;
        let period = now.0.div_euclid(SAME_REQUEST_MILLIS);
        let before = request.clone().in_period(period - 1);
        let asked = self.ledger.asked_at(&identity(&before, caller)).map_err(|error| self.ledger_failed(&error))?;
        let is_recent = asked.is_some_and(|asked| now.0 - asked.0 <= SAME_REQUEST_MILLIS);
        Ok(if is_recent { before } else { request.in_period(period) })
    }
}

fn response(authority: &str, chain: Chain, certified: Certified) -> MintCertificateResponse {
    let validity = stored_validity(&certified.to_be_signed);
    MintCertificateResponse {
        certificate: certified.certificate.into(),
        chain: vec![chain.intermediate.into()],
        mesh_ca: chain.mesh_ca.into(),
        root: chain.root.into(),
        serial: stored_serial(&certified.to_be_signed).unwrap_or_default().into(),
        epoch: Some(Epoch {
            authority: authority.to_owned(),
            generation: chain.epoch.generation,
            transition: chain.epoch.transition.to_vec().into(),
            manifest_sha256: chain.manifest_sha256.to_vec().into(),
        }),
        log_index: certified.receipt.log_index,
        receipt: certified.receipt.text,
        not_before: validity.map_or(0, |validity| validity.not_before.secs()),
        not_after: validity.map_or(0, |validity| validity.not_after.secs()),
        replayed: certified.replayed,
        log_entry: certified.receipt.entry.into(),
    }
}

/// The CSR or SPKI as it came, for the log: also of a request that does not read.
fn subject_bytes(message: &MintCertificateRequest) -> Vec<u8> {
    match &message.subject {
        Some(Subject::Csr(bytes) | Subject::Spki(bytes)) => bytes.to_vec(),
        None => Vec::new(),
    }
}

fn input(policy: &Policy, message: MintCertificateRequest) -> RequestInput {
    // A profile belongs to one authority, so the authority need not be named.
    let authority = if message.authority.is_empty() {
        let of_profile = policy.profiles().find(|(profile, _)| *profile == message.profile);
        of_profile.map(|(_, authority)| authority.to_owned()).unwrap_or_default()
    } else {
        message.authority
    };
    let names: Vec<_> = message.subject_alt_names.into_iter().map(|name| name_input(name.name)).collect();
    let claims = message.claims.into_iter().map(|claim| ClaimInput { oid: claim.oid, value: claim.value.to_vec() });
    let claims = claims.collect();
    let instance = intent(message.instance.and_then(|instance| instance.intent));
    let subject = match message.subject {
        None => SubjectInput::Missing,
        Some(Subject::Csr(csr)) if names.is_empty() && message.common_name.is_empty() => {
            SubjectInput::Csr(csr.to_vec())
        }
        Some(Subject::Csr(_)) => SubjectInput::CsrBesideNames,
        Some(Subject::Spki(spki)) => {
            SubjectInput::Spki { spki: spki.to_vec(), common_name: message.common_name, names }
        }
    };
    RequestInput {
        authority,
        profile: message.profile,
        request_id: message.request_id,
        subject,
        lifetime_seconds: message.lifetime_seconds,
        transition: message.transition.to_vec(),
        policy_hash: message.policy_hash.to_vec(),
        evidence_sha256: message.evidence_sha256.to_vec(),
        evidence_jwt: message.evidence_jwt,
        claims,
        instance,
        validate_only: message.validate_only,
    }
}

fn intent(intent: Option<Intent>) -> IntentInput {
    match intent {
        None | Some(Intent::None(_)) => IntentInput::None,
        Some(Intent::Register(_)) => IntentInput::Register,
        Some(Intent::Refresh(InstanceRefresh { current_certificate, possession_signature })) => {
            let (certificate, proof) = (current_certificate.to_vec(), possession_signature.to_vec());
            IntentInput::Refresh { certificate, proof }
        }
    }
}

fn name_input(name: Option<Name>) -> NameInput {
    match name {
        Some(Name::Dns(name)) => NameInput::Dns(name),
        Some(Name::Uri(uri)) => NameInput::Uri(uri),
        Some(Name::Ip(octets)) => NameInput::Ip(octets.to_vec()),
        Some(Name::Email(email)) => NameInput::Email(email),
        None => NameInput::Other("entry without a name"),
    }
}
