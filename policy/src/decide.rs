//! Deciding: a profile reads a request and approves exactly what it asks for, or says every reason why not.

mod validity;

use std::sync::Arc;

use crate::{
    approved::{Approved, Conditions, Decision, EpochId, Facts, Numbering, RequestIdentity, Stage},
    bounds::Bounds,
    caller::Caller,
    claim,
    constraint::{NameConstraints, passes_for_host},
    content::{CertificateContent, Content, Extension, Serial},
    crl::CrlScope,
    evidence::{self, EvidenceFacts},
    file::{IntentWord, NamesFromWord, PossessionWord},
    instance::{self, InstanceFacts, InstanceMove, InstanceStep},
    key::{PublicKey, SignatureAlgorithm},
    limits,
    manifest::{Manifest, workload},
    name::{DistinguishedName, GeneralName, NameKind},
    names::{self, Named},
    profile::{Authority, CallerRule, KeyPurpose, Method, Policy, Profile},
    reason::{Reason, ReasonCode, quote},
    request::{Possession, Request},
    template::PROVIDER,
    time::{Interval, UnixTime},
    weak,
};
use validity::validity;

/// Most bytes that names, claims and key of one certificate have together: its DER stays under what is endorsed.
const CONTENT_BYTES_MAX: usize = 49_152;

/// The active epoch of an authority, as the ledger tells it.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Name of the authority.
    pub authority: String,
    /// Which epoch.
    pub epoch: EpochId,
    /// Subject of the intermediate and mesh CA certificates.
    pub subject: DistinguishedName,
    /// Their key.
    pub key: PublicKey,
    /// What it signs with.
    pub algorithm: SignatureAlgorithm,
    /// The interval that both certificates and the root have in common.
    pub validity: Interval,
    /// What both certificates bound leaves to.
    pub bounds: Bounds,
    /// The manifest of the epoch, where its authority rotates by manifest.
    pub manifest: Option<Arc<Manifest>>,
}

/// Whether a caller may call a method at all, and under which rule.
///
/// # Errors
/// All the reasons why not.
pub fn admit<'a>(
    policy: &'a Policy,
    caller: &Caller,
    method: Method,
    now: UnixTime,
) -> Result<&'a CallerRule, Vec<Reason>> {
    let mut reasons = Vec::new();
    if !caller.validity().contains_moment(now) {
        let sentence = format!(
            "the caller's certificate is valid from {} to {}",
            caller.validity().not_before,
            caller.validity().not_after
        );
        reasons.push(Reason::new(ReasonCode::CallerExpired, "caller", sentence));
    }
    let Some(rule) = policy.caller(caller) else {
        let named: Vec<_> = caller.identities().iter().take(4).map(|identity| quote(&identity.to_string())).collect();
        let who = if named.is_empty() { "no URI or dNSName".to_owned() } else { named.join(", ") };
        let sentence = format!("the caller's certificate names {who}, which no [caller] of the policy has");
        reasons.push(Reason::new(ReasonCode::CallerUnknown, "caller", sentence));
        return Err(reasons);
    };
    if !rule.may_call(method) {
        let sentence = format!("the caller `{}` has no right to {}", rule.name, method.name());
        let allowed: Vec<_> = rule.methods.iter().map(|method| method.name()).collect();
        reasons.push(Reason::new(ReasonCode::MethodNotAllowed, "caller", sentence).allowing(allowed.join(", ")));
    }
    if reasons.is_empty() { Ok(rule) } else { Err(reasons) }
}

/// Whether a request may refresh instances at all, by its caller and its profile. Where it may not, nobody looks whose the certificate is that it presents.
#[must_use]
pub fn may_refresh(policy: &Policy, request: &Request, now: UnixTime) -> bool {
    let Ok(rule) = admit(policy, &request.caller, Method::MintCertificate, now) else { return false };
    let profile = find_profile(policy, request, Some(rule), &mut Vec::new());
    let instances = profile.and_then(|profile| profile.instances.as_ref());
    instances.is_some_and(|rule| rule.intents().contains(&IntentWord::Refresh))
}

/// What the log says about a request, whatever becomes of it.
#[must_use]
pub fn facts(policy: &Policy, request: &Request) -> Facts {
    Facts {
        method: Method::MintCertificate.name().to_owned(),
        authority: request.authority.clone(),
        caller: policy.caller(&request.caller).map(|rule| rule.name.clone()).unwrap_or_default(),
        identities: request.caller.identities().to_vec(),
        certificate_sha256: Some(*request.caller.certificate_sha256()),
        profile: request.profile.clone(),
        request_id: request.request_id.clone(),
        names: names_of(request),
        spki: Some(request.key.digest()),
        possession: match request.possession {
            Possession::Csr(_) => "csr",
            Possession::Caller => "caller",
        },
        policy_hash: request.policy_hash,
        evidence_sha256: request.evidence_sha256,
        evidence: request.evidence.as_ref().map(|jwt| {
            let jwt = jwt.as_str().as_bytes().to_vec();
            EvidenceFacts { jwt, verified_by: None }
        }),
        instance: instance::facts(request, None),
        manifest_sha256: None,
        request: request.raw.clone(),
    }
}

fn names_of(request: &Request) -> Vec<String> {
    let common_name = request.common_name.iter().map(|name| format!("{}:{name}", NameKind::CommonName.short()));
    common_name.chain(request.names.iter().map(ToString::to_string)).collect()
}

/// Decides about a leaf certificate. Every rule is looked at, so that a refusal has all its reasons.
#[must_use]
pub fn decide(policy: &Policy, request: &Request, issuer: &Issuer, now: UnixTime, serial: Serial) -> Decision {
    let mut reasons = Vec::new();
    let rule = admit(policy, &request.caller, Method::MintCertificate, now).map_err(|more| reasons.extend(more)).ok();
    let profile = find_profile(policy, request, rule, &mut reasons);
    if let Some(profile) = profile {
        check_key(profile, request, &mut reasons);
        claim::check(profile, &request.claims, &mut reasons);
        check_possession(profile, request, &mut reasons);
        check_unnamed(profile, request, &mut reasons);
    }
    check_weak_key(policy, &request.key, &mut reasons);
    let authority = profile.and_then(|profile| policy.authority(&profile.authority));
    let named = profile.zip(authority).and_then(|(profile, authority)| match profile.names_from {
        NamesFromWord::Request => {
            reasons.extend(workload::not_asked_for(profile, request));
            names::check(profile, request, &mut reasons)
        }
        NamesFromWord::Manifest => workload::named(profile, authority, request, issuer, &mut reasons),
    });
    if let Some(named) = &named {
        check_size(named, request, &mut reasons);
        if let Some(authority) = authority {
            check_constraints(authority, issuer, named, &mut reasons);
        }
        reasons.extend(named.names.iter().filter_map(|name| callers_name(policy, name)));
        if let Some(rule) = rule {
            check_provider(rule, named, &mut reasons);
        }
    }
    let verified_by = profile.and_then(|profile| {
        let bound = named.as_ref().and_then(|named| named.bound.as_ref());
        evidence::check(profile.evidence.as_ref(), request, bound, now, &mut reasons)
    });
    // Whoever may not ask at all hears nothing about certificates.
    let moved = profile.filter(|_| rule.is_some()).and_then(|profile| {
        let bound = named.as_ref().and_then(|named| named.bound.as_ref());
        instance::check(profile, request, bound, now, &mut reasons)
    });
    check_transition(request, issuer, &mut reasons);
    let validity = profile.and_then(|profile| validity(profile, request, issuer, now, &mut reasons));
    match (rule, profile.zip(authority), named, validity) {
        (Some(rule), Some((profile, authority)), Some(named), Some(validity)) if reasons.is_empty() => {
            let scope = CrlScope::of(serial, authority.crl.as_ref().and_then(|crl| crl.partitions));
            let extensions = extensions(profile, authority, request, &named, issuer, scope);
            let mut approved =
                approve(policy, rule, profile, request, named, issuer, validity, serial, scope, extensions);
            record(&mut approved, request, moved);
            if let Some(evidence) = &mut approved.facts.evidence {
                evidence.verified_by = verified_by;
            }
            Decision::Approve(Box::new(approved))
        }
        _ => Decision::Refuse(reasons),
    }
}

/// What the approval does to an instance's record, for the ledger and for the log.
fn record(approved: &mut Approved, request: &Request, moved: Option<InstanceMove>) {
    let Some(moved) = moved else { return };
    approved.facts.instance = instance::facts(request, Some(moved.name.clone())).map(|facts| InstanceFacts {
        proven: matches!(&moved.step, InstanceStep::Refresh(presented) if presented.proven),
        ..facts
    });
    approved.conditions.instance = Some(moved);
}

fn find_profile<'a>(
    policy: &'a Policy,
    request: &Request,
    rule: Option<&CallerRule>,
    reasons: &mut Vec<Reason>,
) -> Option<&'a Profile> {
    let profile = policy.profile(&request.profile).filter(|profile| profile.authority == request.authority);
    if profile.is_none() {
        let sentence = format!("authority {} has no profile {}", quote(&request.authority), quote(&request.profile));
        reasons.push(Reason::new(ReasonCode::ProfileUnknown, "profile", sentence));
    }
    if let Some(rule) = rule
        && !rule.profiles.contains(&request.profile)
    {
        let sentence = format!("the caller `{}` has no right to profile {}", rule.name, quote(&request.profile));
        let allowed = rule.profiles.join(", ");
        reasons.push(Reason::new(ReasonCode::ProfileNotAllowed, "profile", sentence).allowing(allowed));
        return None;
    }
    profile
}

fn check_key(profile: &Profile, request: &Request, reasons: &mut Vec<Reason>) {
    let kind = request.key.kind();
    if !profile.keys.contains(&kind) {
        let allowed: Vec<_> = profile.keys.iter().map(|kind| kind.name()).collect();
        let sentence = format!("profile `{}` takes no {kind} key", profile.name);
        reasons.push(Reason::new(ReasonCode::KeyNotAllowed, "key", sentence).allowing(allowed.join(", ")));
    }
}

/// What holds for every key, of leaves and of CAs, whatever their profile says.
pub(crate) fn check_weak_key(policy: &Policy, key: &PublicKey, reasons: &mut Vec<Reason>) {
    if let Some(weakness) = weak::weakness(key) {
        let reason = Reason::new(ReasonCode::KeyWeak, "key", format!("the key is weak: {weakness}"));
        reasons.push(reason.allowing("a new key of another library"));
    }
    if policy.denies(key.digest()) {
        let sentence = format!("the key with the SHA-256 {} is denied", key.digest());
        reasons.push(Reason::new(ReasonCode::KeyDenied, "key", sentence).allowing("a new key"));
    }
}

fn check_size(named: &Named, request: &Request, reasons: &mut Vec<Reason>) {
    let names: usize = named.names.iter().map(|name| name.as_str().len()).sum();
    let claims: usize = request.claims.iter().chain(&named.secret_id).map(|claim| claim.value.len()).sum();
    let bytes = names + claims + request.key.spki().len();
    if bytes > CONTENT_BYTES_MAX {
        let field = if claims > names { "claims" } else { "names" };
        let sentence = format!("names, claims and key have {bytes} bytes together");
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, field, sentence);
        reasons.push(reason.allowing(format!("at most {CONTENT_BYTES_MAX} bytes")));
    }
}

/// A certificate that its own CA's constraints invalidate is not made: neither by those that the policy has, nor by those
/// that its issuer's certificates have, which may be older.
///
/// Where there is no dNSName, verifiers hold a common name that looks like one to the constraints (OpenSSL does).
fn check_constraints(authority: &Authority, issuer: &Issuer, named: &Named, reasons: &mut Vec<Reason>) {
    let own = authority.name_constraints.as_ref();
    let stored = issuer.bounds.name_constraints.as_ref().filter(|stored| own != Some(stored));
    if own.is_none() && stored.is_none() {
        return;
    }
    let has_dns = named.names.iter().any(|name| name.kind() == NameKind::Dns);
    let whose = format!("in the certificates of epoch {} of", issuer.epoch.generation);
    for name in &named.names {
        let of_certificates = || {
            let constraints = stored.filter(|constraints| !constraints.admit(name))?;
            Some(constrained_by(constraints, &whose, authority, name.kind(), name.as_str()))
        };
        reasons.extend(constrained(authority, name).or_else(of_certificates));
    }
    if let Some(host) = named.common_name.as_deref().filter(|name| !has_dns && passes_for_host(name)) {
        let objects = |constraints: Option<&NameConstraints>, whose: &str| {
            let constraints = constraints.filter(|constraints| !constraints.admit_host(host))?;
            Some(constrained_by(constraints, whose, authority, NameKind::Dns, host))
        };
        reasons.extend(objects(own, "of").or_else(|| objects(stored, &whose)));
    }
}

/// What the policy's name constraints have against a name.
pub(crate) fn constrained(authority: &Authority, name: &GeneralName) -> Option<Reason> {
    let constraints = authority.name_constraints.as_ref().filter(|constraints| !constraints.admit(name))?;
    Some(constrained_by(constraints, "of", authority, name.kind(), name.as_str()))
}

fn constrained_by(
    constraints: &NameConstraints,
    whose: &str,
    authority: &Authority,
    kind: NameKind,
    name: &str,
) -> Reason {
    let sentence = format!(
        "the name constraints {whose} authority `{}` would invalidate the {} {}",
        authority.name,
        kind.standard(),
        quote(name)
    );
    Reason::new(ReasonCode::NameConstrained, "names", sentence).allowing(constraints.allowed(kind))
}

fn check_possession(profile: &Profile, request: &Request, reasons: &mut Vec<Reason>) {
    match (&request.possession, profile.possession) {
        (Possession::Csr(csr), PossessionWord::Csr | PossessionWord::Caller) => {
            if let Err(reason) = csr.check_signature() {
                reasons.push(reason);
            }
        }
        (Possession::Caller, PossessionWord::Caller) => {}
        (Possession::Caller, PossessionWord::Csr) => {
            let sentence = format!("profile `{}` wants the key's owner to prove possession", profile.name);
            let reason = Reason::new(ReasonCode::PossessionNotProven, "spki", sentence);
            reasons.push(reason.allowing("a CSR, or `possession = \"caller\"` in the profile"));
        }
    }
}

/// What no rule names is refused, unless the profile says `ignore`; it is never copied.
fn check_unnamed(profile: &Profile, request: &Request, reasons: &mut Vec<Reason>) {
    let Possession::Csr(csr) = &request.possession else { return };
    for oid in csr.extensions.iter().filter(|oid| !profile.ignore.contains(oid)) {
        let sentence = format!("the CSR asks for extension {oid}, which no rule names");
        let reason = Reason::new(ReasonCode::ExtensionNotAllowed, "csr.extensions", sentence);
        reasons.push(reason.allowing("subjectAltName (2.5.29.17)"));
    }
    for oid in csr.attributes.iter().filter(|oid| !profile.ignore.contains(oid)) {
        let sentence = format!("the CSR has attribute {oid}, which no rule names");
        let reason = Reason::new(ReasonCode::AttributeNotAllowed, "csr.attributes", sentence);
        reasons.push(reason.allowing("extensionRequest (1.2.840.113549.1.9.14)"));
    }
}

/// No profile mints the name of one who may call this signer: it could become one.
pub(crate) fn callers_name(policy: &Policy, name: &GeneralName) -> Option<Reason> {
    use crate::caller::Identity;
    let taken = policy.callers().iter().find(|rule| match (&rule.identity, name) {
        (Identity::Uri(uri), GeneralName::Uri(asked)) => uri == asked.as_str(),
        (Identity::Dns(dns), GeneralName::Dns(asked)) => asked.covers(dns),
        (Identity::Uri(_), GeneralName::Dns(_) | GeneralName::Ip(_) | GeneralName::Email(_))
        | (Identity::Dns(_), GeneralName::Uri(_) | GeneralName::Ip(_) | GeneralName::Email(_)) => false,
    })?;
    let sentence = format!("`{name}` stands for the identity of the caller `{}`", taken.name);
    Some(Reason::new(ReasonCode::NameOfCaller, "names", sentence))
}

/// The provider that the names say is one that the caller speaks for. That the profile names it, the names' formats hold.
fn check_provider(rule: &CallerRule, named: &Named, reasons: &mut Vec<Reason>) {
    let Some(providers) = &rule.providers else { return };
    let said = named.bound.as_ref().and_then(|bound| bound.get(PROVIDER));
    if let Some(provider) = said.filter(|provider| !providers.contains(provider)) {
        let sentence = format!("the caller `{}` does not speak for the provider {}", rule.name, quote(provider));
        reasons.push(Reason::new(ReasonCode::ProviderNotAllowed, "names", sentence).allowing(providers.join(", ")));
    }
}

/// The provider that a request's names say, if they can be read in one way.
#[must_use]
pub fn provider(policy: &Policy, request: &Request) -> Option<String> {
    let profile = policy.profile(&request.profile)?;
    names::check(profile, request, &mut Vec::new())?.bound?.remove(PROVIDER)
}

fn check_transition(request: &Request, issuer: &Issuer, reasons: &mut Vec<Reason>) {
    if request.transition.is_some_and(|named| named != issuer.epoch.transition) {
        let sentence = "the request names another transition than the active one";
        let reason = Reason::new(ReasonCode::TransitionStale, "transition", sentence);
        reasons.push(reason.allowing(crate::hex(&issuer.epoch.transition)));
    }
}

/// The extensions of a leaf, in their order.
fn extensions(
    profile: &Profile,
    authority: &Authority,
    request: &Request,
    named: &Named,
    issuer: &Issuer,
    scope: CrlScope,
) -> Vec<Extension> {
    let mut extensions = vec![
        Extension::EndEntity,
        Extension::DigitalSignature,
        Extension::ExtendedKeyUsage {
            critical: profile.usages.contains(&KeyPurpose::TimeStamping),
            purposes: profile.usages.clone(),
        },
        Extension::SubjectKeyIdentifier(request.key.key_identifier()),
        Extension::AuthorityKeyIdentifier(issuer.key.key_identifier()),
    ];
    let asserted = profile.policies.iter().filter(|policy| issuer.bounds.policies.contains(policy));
    let asserted: Vec<_> = asserted.cloned().collect();
    if !asserted.is_empty() {
        extensions.push(Extension::CertificatePolicies(asserted));
    }
    if !authority.crl_urls.is_empty() {
        let urls = authority.crl_urls.iter().map(|url| url.of(issuer.epoch.generation, scope)).collect();
        extensions.push(Extension::CrlDistributionPoints(urls));
    }
    if !authority.ca_issuer_urls.is_empty() {
        extensions.push(Extension::CaIssuers(authority.ca_issuer_urls.clone()));
    }
    if !named.names.is_empty() {
        let critical = named.common_name.is_none();
        extensions.push(Extension::SubjectAltName { critical, names: named.names.clone() });
    }
    extensions.extend(request.claims.iter().chain(&named.secret_id).cloned().map(Extension::Claim));
    extensions
}

#[expect(clippy::too_many_arguments, reason = "everything that an approval says comes in here, once")]
fn approve(
    policy: &Policy,
    rule: &CallerRule,
    profile: &Profile,
    request: &Request,
    named: Named,
    issuer: &Issuer,
    validity: Interval,
    serial: Serial,
    scope: CrlScope,
    extensions: Vec<Extension>,
) -> Approved {
    let facts = Facts { names: named.all(), ..facts(policy, request) };
    let subject = named.common_name.as_deref().map(DistinguishedName::common_name).unwrap_or_default();
    let content = CertificateContent {
        serial,
        algorithm: issuer.algorithm,
        issuer: issuer.subject.clone(),
        validity,
        subject,
        key: request.key.clone(),
        extensions,
    };
    let conditions = Conditions {
        authority: request.authority.clone(),
        policy: policy.digest(),
        stage: Stage::Leaf { epoch: issuer.epoch },
        request: RequestIdentity {
            authority: request.authority.clone(),
            caller: rule.name.clone(),
            id: request.request_id.clone(),
            content_sha256: request.content_sha256,
        },
        issuer: issuer.key.digest(),
        numbering: Numbering::Serial { serial, scope },
        not_after: validity.not_after,
        limits: limits::limits(policy, profile, &content),
        validate_only: request.validate_only,
        claims: named.claims,
        instance: None,
    };
    let instance_rate = limits::instance_rate(profile, &content, named.bound.as_ref());
    let content = Content::Certificate(content);
    Approved { content, issuer: issuer.key.clone(), conditions, facts, instance_rate }
}
