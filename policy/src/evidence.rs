//! Evidence that the signer itself checks: a JWT (RFC 7519) by which a provider says which instance of which service has
//! this key. Pure, as all of policy: keys stand in the policy file, and time is an argument.
//!
//! The JWT confirms the very key of the request (RFC 7800), so that it is worth nothing for another key: whoever copies one
//! gets, until it ends, the same names over the same key, which the key's owner alone can use.

mod json;
mod jwk;
mod jws;

use std::collections::BTreeMap;

use json::{Json, Members};
pub(crate) use jwk::read_set;
pub use jwk::{EvidenceKey, JwsAlgorithm, thumbprint};
pub use jws::EVIDENCE_JWT_BYTES_MAX;
use jws::FIELD;
pub(crate) use jws::Jwt;

use crate::{
    file::ConfirmationWord,
    key::{PublicKey, SpkiDigest},
    reason::{Reason, ReasonCode, quote},
    request::Request,
    template::{Bindings, Template},
    time::{Span, UnixTime},
};

/// Claims that are looked at whatever `claims` of a policy says (RFC 7519, section 4.1; RFC 7800, section 3.1).
pub(crate) const REGISTERED: [&str; 6] = ["iss", "aud", "exp", "nbf", "iat", "cnf"];

/// Most entries of `aud`.
const AUDIENCES_MAX: usize = 16;

/// What the evidence of a profile must be.
#[derive(Clone, Debug)]
pub struct EvidenceRule {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) typ: Option<String>,
    pub(crate) algorithms: Vec<JwsAlgorithm>,
    pub(crate) keys: Vec<EvidenceKey>,
    pub(crate) age_max: Span,
    pub(crate) clock_skew: Span,
    pub(crate) confirmation: ConfirmationWord,
    pub(crate) claims: BTreeMap<String, Template>,
}

/// What a rule says, for those who explain it. Nothing here decides.
impl EvidenceRule {
    /// `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `aud`.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// The algorithms that are taken.
    #[must_use]
    pub fn algorithms(&self) -> &[JwsAlgorithm] {
        &self.algorithms
    }

    /// The keys that are trusted.
    #[must_use]
    pub fn keys(&self) -> &[EvidenceKey] {
        &self.keys
    }

    /// The greatest age.
    #[must_use]
    pub fn age_max(&self) -> Span {
        self.age_max
    }

    /// How far the provider's clock may be from ours.
    #[must_use]
    pub fn clock_skew(&self) -> Span {
        self.clock_skew
    }

    /// How the key is confirmed.
    #[must_use]
    pub fn confirmation(&self) -> ConfirmationWord {
        self.confirmation
    }

    /// Claims, each with what it must be.
    pub fn claims(&self) -> impl Iterator<Item = (&str, &str)> {
        self.claims.iter().map(|(name, template)| (name.as_str(), template.as_str()))
    }
}

/// Evidence, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceFacts {
    /// The JWT as it came: kept as a blob by its digest.
    pub jwt: Vec<u8>,
    /// The key that verified it. None where the request was refused.
    pub verified_by: Option<VerifiedBy>,
}

/// Which key of a policy verified evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedBy {
    /// Its name; empty if it has none.
    pub kid: String,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki: SpkiDigest,
}

/// Checks the evidence of a request; `bound` is what its names say, where they can be read. Without evidence, and without
/// a rule, there is nothing to verify.
pub(crate) fn check(
    rule: Option<&EvidenceRule>,
    request: &Request,
    bound: Option<&Bindings>,
    now: UnixTime,
    reasons: &mut Vec<Reason>,
) -> Option<VerifiedBy> {
    match (rule, &request.evidence) {
        (None, None) => None,
        (None, Some(_)) => {
            let sentence = format!("profile {} takes no evidence", quote(&request.profile));
            reasons.push(Reason::new(ReasonCode::EvidenceNotAllowed, FIELD, sentence).allowing("leave it out"));
            None
        }
        (Some(rule), None) => {
            let reason = Reason::new(ReasonCode::EvidenceMissing, FIELD, "there is no evidence");
            reasons.push(reason.allowing(format!("a JWT of {}", quote(&rule.issuer))));
            None
        }
        (Some(rule), Some(jwt)) => match rule.verify(jwt) {
            Ok(key) => {
                // Only now it is the provider who speaks, and every claim that is wrong is told.
                rule.check_times(&jwt.claims, now, reasons);
                rule.check_parties(&jwt.claims, reasons);
                rule.check_names(&jwt.claims, bound, reasons);
                rule.check_confirmation(&jwt.claims, &request.key, reasons);
                Some(VerifiedBy { kid: key.kid.clone().unwrap_or_default(), spki: key.key.digest() })
            }
            Err(reason) => {
                reasons.push(reason);
                None
            }
        },
    }
}

impl EvidenceRule {
    /// The key that signed it. The policy says which algorithms there are, and the key which of them is its own: the header
    /// chooses among these and nothing else (RFC 8725, section 3.1).
    fn verify(&self, jwt: &Jwt) -> Result<&EvidenceKey, Reason> {
        let listed = self.algorithms.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ");
        let not_allowed = |sentence: String| {
            Reason::new(ReasonCode::EvidenceAlgorithmNotAllowed, FIELD, sentence).allowing(listed.clone())
        };
        let algorithm = JwsAlgorithm::from_name(&jwt.algorithm).filter(|found| self.algorithms.contains(found));
        let algorithm =
            algorithm.ok_or_else(|| not_allowed(format!("its `alg` {} is not taken", quote(&jwt.algorithm))))?;
        self.check_typ(jwt)?;
        let key = self.keys.iter().find(|key| key.kid == jwt.kid).ok_or_else(|| {
            let sentence = match &jwt.kid {
                Some(kid) => format!("the policy has no key {} for it", quote(kid)),
                None => "it names no `kid`, and every key of the policy has one".to_owned(),
            };
            let known: Vec<_> = self.keys.iter().map(EvidenceKey::name).collect();
            Reason::new(ReasonCode::EvidenceKeyUnknown, FIELD, sentence).allowing(known.join(", "))
        })?;
        if !algorithm.fits(key.key.kind()) || key.algorithm.is_some_and(|own| own != algorithm) {
            let sentence = format!("its `alg` {algorithm} is not that of the key {}", key.name());
            return Err(not_allowed(sentence));
        }
        if !algorithm.verifies(&key.key, jwt.signed(), &jwt.signature) {
            let sentence = format!("its signature does not verify under the key {}", key.name());
            return Err(Reason::new(ReasonCode::EvidenceSignatureWrong, FIELD, sentence));
        }
        Ok(key)
    }

    fn check_typ(&self, jwt: &Jwt) -> Result<(), Reason> {
        let taken = match (&self.typ, &jwt.typ) {
            (Some(wanted), found) => found.as_ref() == Some(wanted),
            (None, found) => found.as_deref().is_none_or(|typ| typ == "JWT"),
        };
        if taken {
            return Ok(());
        }
        let sentence = match &jwt.typ {
            Some(typ) => format!("its `typ` is {}", quote(typ)),
            None => "it has no `typ`".to_owned(),
        };
        let allowed = self.typ.as_deref().unwrap_or("JWT, or none");
        Err(Reason::new(ReasonCode::EvidenceClaimWrong, FIELD, sentence).allowing(allowed))
    }

    /// `iat` and `exp` are required, `nbf` counts where it is there (RFC 7519, sections 4.1.4 to 4.1.6).
    fn check_times(&self, claims: &Members, now: UnixTime, reasons: &mut Vec<Reason>) {
        let [issued, expires, not_before] = ["iat", "exp", "nbf"].map(|name| time(claims, name, reasons));
        let required = [("iat", issued), ("exp", expires)];
        for (name, _) in required.iter().filter(|(name, _)| !claims.contains_key(*name)) {
            reasons.push(claim_wrong(format!("it has no `{name}`")).allowing("whole seconds since 1970"));
        }
        let told = |code, sentence: String| Reason::new(code, FIELD, sentence);
        // A token is no longer good at its `exp`, in whatever second of ours that is.
        if let Some(expires) = expires.filter(|expires| expires.after(self.clock_skew) <= now) {
            reasons.push(told(ReasonCode::EvidenceExpired, format!("it ended at {expires}, and it is {now}")));
        }
        if let Some(issued) = issued.filter(|issued| issued.after(self.age_max).after(self.clock_skew) < now) {
            let reason = told(ReasonCode::EvidenceExpired, format!("it was issued at {issued}, and it is {now}"));
            reasons.push(reason.allowing(format!("at most {} old", self.age_max)));
        }
        for (what, begins) in [("was issued", issued), ("begins", not_before)] {
            if let Some(begins) = begins.filter(|begins| now.after(self.clock_skew) < *begins) {
                let sentence = format!("it {what} at {begins}, and it is {now}");
                reasons.push(told(ReasonCode::EvidenceNotYetValid, sentence));
            }
        }
    }

    fn check_parties(&self, claims: &Members, reasons: &mut Vec<Reason>) {
        if claims.get("iss").and_then(Json::text) != Some(&self.issuer) {
            reasons.push(claim_wrong(format!("its `iss` is {}", shown(claims, "iss"))).allowing(self.issuer.as_str()));
        }
        let is_meant = match claims.get("aud") {
            Some(Json::Text(audience)) => *audience == self.audience,
            Some(Json::List(audiences)) => {
                audiences.len() <= AUDIENCES_MAX
                    && audiences.iter().any(|audience| audience.text() == Some(&self.audience))
            }
            Some(Json::Null | Json::Boolean | Json::Integer(_) | Json::Object(_)) | None => false,
        };
        if !is_meant {
            reasons
                .push(claim_wrong(format!("its `aud` is {}", shown(claims, "aud"))).allowing(self.audience.as_str()));
        }
    }

    /// The claims are compared with what the names say. Where the names cannot be read, that alone is a reason.
    fn check_names(&self, claims: &Members, bound: Option<&Bindings>, reasons: &mut Vec<Reason>) {
        let Some(bound) = bound else {
            if reasons.is_empty() {
                reasons.push(claim_wrong("no names say whose the key is".to_owned()));
            }
            return;
        };
        for (name, template) in &self.claims {
            let Some(wanted) = template.write(bound) else {
                let sentence = format!("the names do not say what its `{name}` must be");
                reasons.push(claim_wrong(sentence).allowing(template.as_str()));
                continue;
            };
            if claims.get(name).and_then(Json::text) != Some(&wanted) {
                let sentence = format!("its `{name}` is {}, and the names say {}", shown(claims, name), quote(&wanted));
                reasons.push(claim_wrong(sentence).allowing(template.as_str()));
            }
        }
    }

    /// `cnf` has the one member that the policy names, and that is the request's key (RFC 7800, section 3.1).
    fn check_confirmation(&self, claims: &Members, key: &PublicKey, reasons: &mut Vec<Reason>) {
        let name = self.confirmation.name();
        let wanted = match self.confirmation {
            ConfirmationWord::Jkt => thumbprint(key),
            ConfirmationWord::SpkiSha256 => key.digest().to_string(),
        };
        let sentence = match claims.get("cnf") {
            Some(Json::Object(members)) => match members.get(name).and_then(Json::text) {
                Some(found) if found == wanted && members.len() == 1 => return,
                Some(found) if found == wanted => format!("its `cnf` has more than `{name}`"),
                Some(found) => format!("it confirms the key {}, and the request has another", quote(found)),
                None => format!("its `cnf` has no `{name}` that is text"),
            },
            Some(Json::Null | Json::Boolean | Json::Integer(_) | Json::Text(_) | Json::List(_)) | None => {
                "it has no `cnf` that is an object".to_owned()
            }
        };
        let reason = Reason::new(ReasonCode::EvidenceOfOtherKey, FIELD, sentence);
        reasons.push(reason.allowing(format!("`cnf` with `{name}` {wanted}")));
    }
}

fn claim_wrong(sentence: String) -> Reason {
    Reason::new(ReasonCode::EvidenceClaimWrong, FIELD, sentence)
}

/// A claim, for people.
fn shown(claims: &Members, name: &str) -> String {
    match claims.get(name) {
        Some(Json::Text(text)) => quote(text),
        Some(Json::List(_)) => "a list without the one that is meant".to_owned(),
        Some(Json::Null | Json::Boolean | Json::Integer(_) | Json::Object(_)) => "no text".to_owned(),
        None => "missing".to_owned(),
    }
}

/// A claim that is a point in time, in whole seconds. What is not said is no reason here.
fn time(claims: &Members, name: &str, reasons: &mut Vec<Reason>) -> Option<UnixTime> {
    match claims.get(name)? {
        Json::Integer(secs) if *secs >= 0 => Some(UnixTime::from_secs(*secs)),
        Json::Null | Json::Boolean | Json::Integer(_) | Json::Text(_) | Json::List(_) | Json::Object(_) => {
            let reason = claim_wrong(format!("its `{name}` is no point in time"));
            reasons.push(reason.allowing("whole seconds since 1970"));
            None
        }
    }
}
