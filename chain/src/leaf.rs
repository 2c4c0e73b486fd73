//! Leaves: issued by the epoch's key, within its time, with names that are permitted.

use std::collections::BTreeSet;

use hallmark_policy::{
    constraint::{NameConstraints, Subtree},
    email::Email,
    hex,
    ip::{IpBlock, IpName},
    name::{DnsName, GeneralName, Uri},
    time::UnixTime,
};
use rasn_pkix::BasicConstraints;

use crate::{
    ca::{self, Authorities},
    certificate::{Certificate, Extension},
    finding::Finding,
    report::Role,
};

/// The extensions that may be critical in a leaf, because clients know them.
const CRITICAL_IN_LEAF: [&[u32]; 4] =
    [ca::BASIC_CONSTRAINTS, ca::KEY_USAGE, ca::SUBJECT_ALT_NAME, ca::EXTENDED_KEY_USAGE];

/// Whether the epoch's key issued it, under both of the epoch's certificates.
pub(crate) fn issued(what: &Role, leaf: &Certificate, authorities: &Authorities<'_>) -> Vec<Finding> {
    let siblings = authorities.siblings().into_iter();
    let both = siblings.flat_map(|(by, issuer)| {
        let mut findings = ca::issued(what, leaf, &by, issuer);
        findings.extend(ca::key_identifier(what, leaf, &by, issuer));
        findings
    });
    both.collect()
}

/// Whether it is an end entity that lives within both of its issuers, and at that time.
pub(crate) fn content(
    what: &Role,
    leaf: &Certificate,
    authorities: &Authorities<'_>,
    at: Option<UnixTime>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(extension) = leaf.extension(ca::BASIC_CONSTRAINTS) {
        match extension.decoded::<BasicConstraints>() {
            Some(BasicConstraints { ca: false, path_len_constraint: None }) => {}
            Some(_) | None => findings.push(Finding::LeafIsCa { what: what.clone() }),
        }
    }
    findings.extend(ca::unknown_critical(what, leaf, &CRITICAL_IN_LEAF));
    let siblings = authorities.siblings().into_iter();
    findings.extend(siblings.filter_map(|(by, issuer)| ca::within(what, leaf, &by, issuer)));
    findings.extend(at.and_then(|at| ca::current(what, leaf, at)));
    findings
}

/// Whether its names obey the constraints of both issuers.
pub(crate) fn constrained(what: &Role, leaf: &Certificate, authorities: &Authorities<'_>) -> Vec<Finding> {
    let names = match names(what, leaf) {
        Ok(names) => names,
        Err(findings) => return findings,
    };
    let mut findings = Vec::new();
    for (by, issuer) in authorities.siblings() {
        let Some(extension) = issuer.extension(ca::NAME_CONSTRAINTS) else { continue };
        let Some(constraints) = extension.decoded().as_ref().and_then(constraints) else {
            findings.push(Finding::Extension { what: by, extension: "nameConstraints" });
            continue;
        };
        let outside = names.iter().filter(|name| !constraints.admit(name));
        for name in outside.map(|name| Finding::NameOutside { what: what.clone(), name: name.to_string() }) {
            if !findings.contains(&name) {
                findings.push(name);
            }
        }
    }
    findings
}

/// Whether its names are exactly those.
pub(crate) fn named(what: &Role, leaf: &Certificate, wanted: &[GeneralName]) -> Vec<Finding> {
    let found: BTreeSet<GeneralName> = match names(what, leaf) {
        Ok(names) => names.into_iter().collect(),
        Err(findings) => return findings,
    };
    let wanted: BTreeSet<GeneralName> = wanted.iter().cloned().collect();
    let text = |name: &GeneralName| (what.clone(), name.to_string());
    let extra = found.difference(&wanted).map(text).map(|(what, name)| Finding::NameExtra { what, name });
    let missing = wanted.difference(&found).map(text).map(|(what, name)| Finding::NameMissing { what, name });
    extra.chain(missing).collect()
}

/// The names in its subjectAltName, or those that no certificate of a signer like this can have.
fn names(what: &Role, leaf: &Certificate) -> Result<Vec<GeneralName>, Vec<Finding>> {
    let Some(extension) = leaf.extension(ca::SUBJECT_ALT_NAME) else { return Ok(Vec::new()) };
    let Some(read) = Extension::decoded::<rasn_pkix::GeneralNames>(extension) else {
        return Err(vec![Finding::Extension { what: what.clone(), extension: "subjectAltName" }]);
    };
    let (mut names, mut unread) = (Vec::new(), Vec::new());
    for name in &read {
        match general_name(name) {
            Ok(name) => names.push(name),
            Err(name) => unread.push(Finding::NameUnread { what: what.clone(), name }),
        }
    }
    if unread.is_empty() { Ok(names) } else { Err(unread) }
}

/// A name, or its text.
fn general_name(name: &rasn_pkix::GeneralName) -> Result<GeneralName, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match name {
        rasn_pkix::GeneralName::DnsName(name) => {
            let name = text(name.as_iso646_bytes());
            // Manifests can give names of a single label, by which hosts of one cluster call each other.
            let read = DnsName::parse_wildcard(&name).or_else(|_| DnsName::parse_label(&name));
            read.map(GeneralName::Dns).map_err(|_| format!("dns:{name}"))
        }
        rasn_pkix::GeneralName::Uri(uri) => {
            let uri = text(uri.as_iso646_bytes());
            Uri::parse(&uri).map(GeneralName::Uri).map_err(|_| format!("uri:{uri}"))
        }
        rasn_pkix::GeneralName::Rfc822Name(email) => {
            let email = text(email.as_iso646_bytes());
            Email::parse(&email).map(GeneralName::Email).map_err(|_| format!("email:{email}"))
        }
        rasn_pkix::GeneralName::IpAddress(octets) => {
            IpName::parse(octets).map(GeneralName::Ip).map_err(|_| format!("ip:{}", hex(octets)))
        }
        rasn_pkix::GeneralName::OtherName(_) => Err("an otherName".to_owned()),
        rasn_pkix::GeneralName::X400Address(_) => Err("an x400Address".to_owned()),
        rasn_pkix::GeneralName::DirectoryName(_) => Err("a directoryName".to_owned()),
        rasn_pkix::GeneralName::EdiPartyName(_) => Err("an ediPartyName".to_owned()),
        rasn_pkix::GeneralName::RegisteredId(_) => Err("a registeredID".to_owned()),
    }
}

/// Name constraints of kinds and forms that are known here; `None` for all others.
fn constraints(read: &rasn_pkix::NameConstraints) -> Option<NameConstraints> {
    let list = |subtrees: &Option<rasn_pkix::GeneralSubtrees>| {
        subtrees.iter().flatten().map(subtree).collect::<Option<Vec<_>>>()
    };
    Some(NameConstraints { permitted: list(&read.permitted_subtrees)?, excluded: list(&read.excluded_subtrees)? })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds that no certificate of a signer like this constrains")]
fn subtree(subtree: &rasn_pkix::GeneralSubtree) -> Option<Subtree> {
    if subtree.minimum != rasn::types::Integer::from(0) || subtree.maximum.is_some() {
        return None;
    }
    let text = |text: &rasn::types::Ia5String| String::from_utf8(text.as_iso646_bytes().to_vec()).ok();
    match &subtree.base {
        rasn_pkix::GeneralName::DnsName(base) => text(base).map(Subtree::Dns),
        rasn_pkix::GeneralName::Uri(base) => text(base).map(Subtree::Uri),
        rasn_pkix::GeneralName::Rfc822Name(base) => text(base).map(Subtree::Email),
        rasn_pkix::GeneralName::IpAddress(octets) => block(octets).map(Subtree::Ip),
        _ => None,
    }
}

/// A block of addresses: the first one, and a mask of ones with zeros behind (RFC 5280, section 4.2.1.10).
fn block(octets: &[u8]) -> Option<IpBlock> {
    let (first, mask) = octets.split_at_checked(octets.len() / 2)?;
    let first = IpName::parse(first).ok()?;
    let bits = mask.iter().map(|octet| octet.leading_ones()).sum::<u32>();
    let block = IpBlock::parse(&format!("{}/{bits}", first.address())).ok()?;
    (block.address_and_mask() == octets).then_some(block)
}
