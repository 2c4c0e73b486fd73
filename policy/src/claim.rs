//! Attestation claims: what a request may say about its subject beyond names, as extensions that are never critical.

use rasn::types::{Integer, OctetString, Utf8String};

use crate::{
    content::EPOCH_BINDING_ARCS,
    file::ClaimType,
    oid::{Oid, dotted},
    profile::Profile,
    reason::{Reason, ReasonCode, quote},
};

/// Most claims of one request.
pub const CLAIMS_MAX: usize = 64;

/// Longest value of a claim, in bytes of DER.
pub const CLAIM_BYTES_MAX: usize = 4_096;

/// Where Contrast puts the workload secret id: not a claim of the request, but what the manifest says.
pub(crate) const WORKLOAD_SECRET_ID_ARCS: &[u32] = &[1, 3, 9901, 3, 1];

/// Where standards put extensions that mean something to relying parties: no claim lies there, whatever a policy says.
pub(crate) const RESERVED: [&[u32]; 6] = [
    &[2, 5, 29],                      // RFC 5280, id-ce
    &[1, 3, 6, 1, 5, 5, 7],           // RFC 5280, id-pkix
    &[2, 16, 840, 1, 113730, 1],      // Netscape certificate extensions
    &[1, 3, 6, 1, 4, 1, 311],         // Microsoft
    &[1, 3, 6, 1, 4, 1, 11129, 2, 4], // RFC 6962, certificate transparency
    EPOCH_BINDING_ARCS,
];

/// A claim as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimInput {
    /// Dotted object identifier.
    pub oid: String,
    /// DER of the extension's value.
    pub value: Vec<u8>,
}

/// A claim: one value of a simple type, in DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The extension's object identifier.
    pub oid: Oid,
    /// The DER of its value.
    pub value: Vec<u8>,
    kind: ClaimType,
}

/// Which claims of a profile there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRule {
    /// Where they lie.
    pub arc: Oid,
    /// At least so many.
    pub at_least: usize,
    /// At most so many.
    pub at_most: usize,
    /// Longest value, in bytes of DER.
    pub bytes_max: usize,
    /// Types of values.
    pub types: Vec<ClaimType>,
}

const FIELD: &str = "claims";

/// Reads the claims of a request.
pub(crate) fn parse(claims: &[ClaimInput], reasons: &mut Vec<Reason>) -> Vec<Claim> {
    if claims.len() > CLAIMS_MAX {
        let reason = Reason::new(ReasonCode::FieldOutOfLimits, FIELD, format!("there are {} claims", claims.len()));
        reasons.push(reason.allowing(format!("at most {CLAIMS_MAX}")));
        return Vec::new();
    }
    let mut parsed: Vec<Claim> = Vec::with_capacity(claims.len());
    for input in claims {
        match Claim::parse(input) {
            Ok(claim) if parsed.iter().any(|other| other.oid == claim.oid) => {
                let sentence = format!("the claim {} stands twice", claim.oid);
                reasons.push(Reason::new(ReasonCode::Duplicate, FIELD, sentence));
            }
            Ok(claim) => parsed.push(claim),
            Err(reason) => reasons.push(reason),
        }
    }
    parsed
}

impl Claim {
    fn parse(input: &ClaimInput) -> Result<Self, Reason> {
        let malformed = |sentence: String| Reason::new(ReasonCode::ClaimMalformed, FIELD, sentence);
        let oid = Oid::parse(&input.oid).map_err(|error| malformed(error.to_string()))?;
        if input.value.len() > CLAIM_BYTES_MAX {
            let sentence = format!("the claim {oid} has {} bytes", input.value.len());
            let reason = Reason::new(ReasonCode::FieldOutOfLimits, FIELD, sentence);
            return Err(reason.allowing(format!("at most {CLAIM_BYTES_MAX} bytes")));
        }
        let kind = kind_of(&input.value).ok_or_else(|| {
            let reason = malformed(format!("the value of the claim {oid} is not the DER of one simple value"));
            reason.allowing(ClaimType::ALL.map(ClaimType::name).join(", "))
        })?;
        Ok(Self { oid, value: input.value.clone(), kind })
    }
}

/// What a certificate says of the workload secret id that a manifest gives. `None` if it cannot be encoded.
pub(crate) fn workload_secret_id(id: &str) -> Option<Claim> {
    let oid = Oid::parse(&dotted(WORKLOAD_SECRET_ID_ARCS)).ok()?;
    let value = rasn::der::encode(&OctetString::from(id.as_bytes().to_vec())).ok()?;
    Some(Claim { oid, value, kind: ClaimType::OctetString })
}

/// The type of a value, if it is one value of a known type and its DER is the one that encoding it again gives.
fn kind_of(der: &[u8]) -> Option<ClaimType> {
    fn again<T: rasn::Decode + rasn::Encode>(der: &[u8]) -> bool {
        rasn::der::decode::<T>(der).ok().and_then(|value| rasn::der::encode(&value).ok()).as_deref() == Some(der)
    }
    match der.first()? {
        0x01 => again::<bool>(der).then_some(ClaimType::Boolean),
        0x02 => again::<Integer>(der).then_some(ClaimType::Integer),
        0x04 => again::<OctetString>(der).then_some(ClaimType::OctetString),
        0x0c => again::<Utf8String>(der).then_some(ClaimType::Utf8String),
        _ => None,
    }
}

/// Checks the claims of a request against the rules of its profile.
pub(crate) fn check(profile: &Profile, claims: &[Claim], reasons: &mut Vec<Reason>) {
    let refused = |sentence: String| Reason::new(ReasonCode::ClaimNotAllowed, FIELD, sentence);
    for claim in claims {
        let Claim { oid, value, kind } = claim;
        let rule = profile.claims.iter().find(|rule| oid.is_within(rule.arc.arcs()));
        let Some(rule) = rule.filter(|_| !RESERVED.iter().any(|arcs| oid.is_within(arcs))) else {
            let arcs: Vec<_> = profile.claims.iter().map(|rule| rule.arc.to_string()).collect();
            let allowed = if arcs.is_empty() { "no claims".to_owned() } else { arcs.join(", ") };
            let reason = refused(format!("profile `{}` takes no claim {}", profile.name, quote(&oid.to_string())));
            reasons.push(reason.allowing(allowed));
            continue;
        };
        if !rule.types.contains(kind) {
            let types: Vec<_> = rule.types.iter().map(|kind| kind.name()).collect();
            let reason = refused(format!("the claim {oid} is of the type {}", kind.name()));
            reasons.push(reason.allowing(types.join(", ")));
        }
        if value.len() > rule.bytes_max {
            let reason = refused(format!("the claim {oid} has {} bytes", value.len()));
            reasons.push(reason.allowing(format!("at most {} bytes", rule.bytes_max)));
        }
    }
    for ClaimRule { arc, at_least, at_most, .. } in &profile.claims {
        let count = claims.iter().filter(|claim| claim.oid.is_within(arc.arcs())).count();
        if count < *at_least {
            let reason = Reason::new(ReasonCode::ClaimMissing, FIELD, format!("{count} claim(s) at {arc} are there"));
            reasons.push(reason.allowing(format!("at least {at_least}")));
        }
        if count > *at_most {
            let reason = Reason::new(ReasonCode::ClaimTooMany, FIELD, format!("{count} claims at {arc} are there"));
            reasons.push(reason.allowing(format!("at most {at_most}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_simple_value_in_der_and_nothing_follows_it() {
        let cases: [(&[u8], Option<ClaimType>); 18] = [
            (&[1, 1, 0xff], Some(ClaimType::Boolean)),
            (&[1, 1, 0], Some(ClaimType::Boolean)),
            (&[1, 1, 1], None),
            (&[1, 2, 0, 0], None),
            (&[2, 1, 5], Some(ClaimType::Integer)),
            (&[2, 1, 0x80], Some(ClaimType::Integer)),
            (&[2, 2, 0, 5], None),
            (&[2, 0], None),
            (&[4, 0], Some(ClaimType::OctetString)),
            (&[4, 2, 1, 2], Some(ClaimType::OctetString)),
            (&[4, 0x81, 2, 1, 2], None),
            (&[0x24, 0x80, 4, 1, 1, 0, 0], None),
            (&[4, 2, 1, 2, 0], None),
            (&[12, 2, 0xc3, 0xa9], Some(ClaimType::Utf8String)),
            (&[12, 2, 0xff, 0xfe], None),
            (&[0x30, 0], None),
            (&[5, 0], None),
            (&[], None),
        ];
        for (der, kind) in cases {
            assert_eq!(kind_of(der), kind, "{der:02x?}");
        }
    }
}
