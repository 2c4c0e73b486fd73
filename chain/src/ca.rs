//! The three CA certificates: what each must be, and how the two of an epoch belong together.

use hallmark_policy::{offline, time::UnixTime};
use rasn_pkix::{AuthorityKeyIdentifier, BasicConstraints};

use crate::{
    certificate::{Certificate, Extension},
    finding::Finding,
    report::Role,
};

pub(crate) const SUBJECT_KEY_IDENTIFIER: &[u32] = &[2, 5, 29, 14];
pub(crate) const KEY_USAGE: &[u32] = &[2, 5, 29, 15];
pub(crate) const SUBJECT_ALT_NAME: &[u32] = &[2, 5, 29, 17];
pub(crate) const BASIC_CONSTRAINTS: &[u32] = &[2, 5, 29, 19];
pub(crate) const NAME_CONSTRAINTS: &[u32] = &[2, 5, 29, 30];
pub(crate) const CERTIFICATE_POLICIES: &[u32] = &[2, 5, 29, 32];
pub(crate) const AUTHORITY_KEY_IDENTIFIER: &[u32] = &[2, 5, 29, 35];
pub(crate) const EXTENDED_KEY_USAGE: &[u32] = &[2, 5, 29, 37];

/// The extensions that may be critical in a CA certificate, because they are looked at here.
const CRITICAL_IN_CA: [&[u32]; 3] = [BASIC_CONSTRAINTS, KEY_USAGE, NAME_CONSTRAINTS];

/// keyUsage of exactly keyCertSign and cRLSign: bits 5 and 6 (RFC 5280, section 4.2.1.3).
const CERTIFICATE_AND_CRL_SIGNING: &[u8] = b"\x03\x02\x01\x06";

/// Root, intermediate and mesh CA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authorities<'a> {
    pub(crate) root: &'a Certificate,
    pub(crate) intermediate: &'a Certificate,
    pub(crate) mesh_ca: &'a Certificate,
}

impl<'a> Authorities<'a> {
    /// Each with its issuer.
    fn pairs(&self) -> [(Role, &'a Certificate, Role, &'a Certificate); 3] {
        [
            (Role::Root, self.root, Role::Root, self.root),
            (Role::Intermediate, self.intermediate, Role::Root, self.root),
            (Role::MeshCa, self.mesh_ca, Role::MeshCa, self.mesh_ca),
        ]
    }

    /// The two of the epoch.
    pub(crate) fn siblings(&self) -> [(Role, &'a Certificate); 2] {
        [(Role::Intermediate, self.intermediate), (Role::MeshCa, self.mesh_ca)]
    }

    /// Whether the root is a CA with room for another below it, and each of the two of the epoch one without, and nothing else.
    pub(crate) fn profiles(&self) -> Vec<Finding> {
        let siblings = self.siblings().into_iter().flat_map(|(what, certificate)| profile(&what, certificate));
        root(self.root).into_iter().chain(siblings).collect()
    }

    /// Whether each is signed by its issuer, and names it.
    pub(crate) fn signatures(&self) -> Vec<Finding> {
        self.pairs().into_iter().flat_map(|(what, lower, by, upper)| issued(&what, lower, &by, upper)).collect()
    }

    /// Whether each names its issuer's key, by key identifier alone. A root need not (RFC 5280, section 4.2.1.1).
    pub(crate) fn key_identifiers(&self) -> Vec<Finding> {
        let [(what, root, ..), pairs @ ..] = self.pairs();
        let siblings = pairs.into_iter().flat_map(|(what, lower, by, upper)| key_identifier(&what, lower, &by, upper));
        own_key_identifier(&what, root).into_iter().chain(siblings).collect()
    }

    /// Whether the two of the epoch are siblings.
    pub(crate) fn are_siblings(&self) -> Vec<Finding> {
        let (one, other) = (self.intermediate, self.mesh_ca);
        let identifier = |certificate: &Certificate| certificate.extension(SUBJECT_KEY_IDENTIFIER).cloned();
        let compared = [
            ("their subjects", one.subject == other.subject),
            ("their keys", one.key == other.key),
            ("their key identifiers", identifier(one) == identifier(other)),
        ];
        compared.into_iter().filter(|(_, same)| !same).map(|(in_what, _)| Finding::Differ { in_what }).collect()
    }

    /// Whether clients that trust the one are held to what clients that trust the other are held to.
    pub(crate) fn constraints(&self) -> Vec<Finding> {
        let compared =
            [("their name constraints", NAME_CONSTRAINTS), ("their certificate policies", CERTIFICATE_POLICIES)];
        let differ = |arcs| self.intermediate.extension(arcs) != self.mesh_ca.extension(arcs);
        compared.into_iter().filter(|(_, arcs)| differ(arcs)).map(|(in_what, _)| Finding::Differ { in_what }).collect()
    }

    /// Whether either of the two has name constraints.
    pub(crate) fn has_constraints(&self) -> bool {
        self.siblings().iter().any(|(_, certificate)| certificate.extension(NAME_CONSTRAINTS).is_some())
    }

    /// Whether the two are valid only while the root is.
    pub(crate) fn nested(&self) -> Vec<Finding> {
        let siblings = self.siblings().into_iter();
        siblings.filter_map(|(what, certificate)| within(&what, certificate, &Role::Root, self.root)).collect()
    }

    /// Whether all three are valid at that time.
    pub(crate) fn current(&self, at: UnixTime) -> Vec<Finding> {
        self.pairs().into_iter().filter_map(|(what, certificate, ..)| current(&what, certificate, at)).collect()
    }
}

/// A root may be another's than the signer's, and made for more: the rule is the one by which the signer takes it.
fn root(certificate: &Certificate) -> Vec<Finding> {
    let what = Role::Root;
    let mut findings = Vec::new();
    match certificate.extension(BASIC_CONSTRAINTS).filter(|extension| extension.critical) {
        Some(found) if offline::has_room_below(&found.value) => {}
        Some(found) => findings.push(match found.decoded::<BasicConstraints>() {
            Some(BasicConstraints { ca: true, path_len_constraint }) => {
                let found = path_len_constraint.map(|number| number.to_string());
                Finding::PathLength { what: what.clone(), found, wanted: 1 }
            }
            Some(_) | None => Finding::NotCa { what: what.clone() },
        }),
        None => findings.push(Finding::NotCa { what: what.clone() }),
    }
    if !certificate.extension(KEY_USAGE).is_some_and(|usage| offline::signs_certificates_and_crls(&usage.value)) {
        findings.push(Finding::KeyUsage { what: what.clone() });
    }
    findings.extend(unknown_critical(&what, certificate, &CRITICAL_IN_CA));
    findings
}

/// Whether a root names no other key than its own.
fn own_key_identifier(what: &Role, root: &Certificate) -> Option<Finding> {
    let Some(own) = root.extension(SUBJECT_KEY_IDENTIFIER).and_then(Extension::decoded) else {
        return Some(Finding::Extension { what: what.clone(), extension: "subjectKeyIdentifier" });
    };
    let own: rasn_pkix::SubjectKeyIdentifier = own;
    let found = root.extension(AUTHORITY_KEY_IDENTIFIER).map(|extension| extension.value.as_slice());
    let other = || Finding::OtherKeyIdentifier { what: what.clone(), by: what.clone() };
    (!offline::names_no_other_key(found, &own)).then(other)
}

fn profile(what: &Role, certificate: &Certificate) -> Vec<Finding> {
    let path_len = 0;
    let mut findings = Vec::new();
    let critical = |arcs| certificate.extension(arcs).filter(|extension| extension.critical);
    match critical(BASIC_CONSTRAINTS).and_then(Extension::decoded::<BasicConstraints>) {
        Some(BasicConstraints { ca: true, path_len_constraint }) => {
            let found = path_len_constraint.map(|number| number.to_string());
            if found.as_deref() != Some(path_len.to_string().as_str()) {
                findings.push(Finding::PathLength { what: what.clone(), found, wanted: path_len });
            }
        }
        Some(_) | None => findings.push(Finding::NotCa { what: what.clone() }),
    }
    if critical(KEY_USAGE).is_none_or(|usage| usage.value != CERTIFICATE_AND_CRL_SIGNING) {
        findings.push(Finding::KeyUsage { what: what.clone() });
    }
    findings.extend(unknown_critical(what, certificate, &CRITICAL_IN_CA));
    findings
}

/// Critical extensions that are not looked at (RFC 5280, section 4.2: a certificate with one must be rejected).
pub(crate) fn unknown_critical(what: &Role, certificate: &Certificate, known: &[&[u32]]) -> Vec<Finding> {
    let unknown = certificate.extensions.iter().filter(|one| one.critical && !known.contains(&one.arcs.as_slice()));
    unknown.map(|one| Finding::UnknownCritical { what: what.clone(), oid: one.oid() }).collect()
}

/// Whether `upper` issued `lower`: by its name, and by its key.
pub(crate) fn issued(what: &Role, lower: &Certificate, by: &Role, upper: &Certificate) -> Vec<Finding> {
    let mut findings = Vec::new();
    if lower.issuer != upper.subject {
        findings.push(Finding::OtherIssuer { what: what.clone(), by: by.clone() });
    }
    if !lower.is_signed_by(&upper.key) {
        findings.push(Finding::NotSigned { what: what.clone(), by: by.clone() });
    }
    findings
}

/// Whether `lower` names the key of `upper`, by key identifier alone: with issuer and serial number in it, a leaf would
/// verify under one of the siblings only.
pub(crate) fn key_identifier(what: &Role, lower: &Certificate, by: &Role, upper: &Certificate) -> Vec<Finding> {
    let missing = |extension| vec![Finding::Extension { what: what.clone(), extension }];
    let Some(of_issuer) = upper.extension(SUBJECT_KEY_IDENTIFIER).and_then(Extension::decoded) else {
        return vec![Finding::Extension { what: by.clone(), extension: "subjectKeyIdentifier" }];
    };
    let of_issuer: rasn_pkix::SubjectKeyIdentifier = of_issuer;
    let found = lower.extension(AUTHORITY_KEY_IDENTIFIER).and_then(Extension::decoded::<AuthorityKeyIdentifier>);
    let Some(found) = found else { return missing("authorityKeyIdentifier") };
    let mut findings = Vec::new();
    if found.authority_cert_issuer.is_some() || found.authority_cert_serial_number.is_some() {
        findings.push(Finding::IssuerAndSerial { what: what.clone() });
    }
    if found.key_identifier != Some(of_issuer) {
        findings.push(Finding::OtherKeyIdentifier { what: what.clone(), by: by.clone() });
    }
    findings
}

/// Whether `lower` is valid only while `upper` is.
pub(crate) fn within(what: &Role, lower: &Certificate, by: &Role, upper: &Certificate) -> Option<Finding> {
    let validity = lower.validity;
    let beyond = || Finding::BeyondIssuer {
        what: what.clone(),
        by: by.clone(),
        from: validity.not_before,
        to: validity.not_after,
    };
    (!upper.validity.contains(validity)).then(beyond)
}

/// Whether a certificate is valid at that time.
pub(crate) fn current(what: &Role, certificate: &Certificate, at: UnixTime) -> Option<Finding> {
    let validity = certificate.validity;
    let not = || Finding::NotCurrent { what: what.clone(), from: validity.not_before, to: validity.not_after };
    (!validity.contains_moment(at)).then(not)
}
