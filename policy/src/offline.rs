//! Certificates that an offline root has signed elsewhere: they are taken only if they say what this policy would have had signed.

use rasn_pkix::{AuthorityKeyIdentifier, BasicConstraints, Certificate, KeyUsage, TbsCertificate};

use crate::{
    approved::Decision,
    authority::{CaRequest, Root, decide_ca},
    content::{EpochBinding, Extension, Serial},
    endorse::{TBS_BYTES_MAX, read, stored_difference},
    key::{PublicKey, SignatureAlgorithm},
    profile::{BACKDATE_MAX, CaProfile, Policy},
    readback::{self, is_encoded},
    reason::{Reason, ReasonCode},
    time::{Interval, Span, UnixTime},
};

/// Largest certificate that is read, in bytes.
pub const CERTIFICATE_BYTES_MAX: usize = TBS_BYTES_MAX + 8_192;

const SUBJECT_KEY_IDENTIFIER: &[u32] = &[2, 5, 29, 14];
const KEY_USAGE: &[u32] = &[2, 5, 29, 15];
const BASIC_CONSTRAINTS: &[u32] = &[2, 5, 29, 19];
const NAME_CONSTRAINTS: &[u32] = &[2, 5, 29, 30];
const AUTHORITY_KEY_IDENTIFIER: &[u32] = &[2, 5, 29, 35];

/// Bits of keyUsage that a root needs: keyCertSign and cRLSign (RFC 5280, section 4.2.1.3).
const KEY_CERT_SIGN: usize = 5;
const CRL_SIGN: usize = 6;

/// A certificate that was brought, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    /// The DER of its TBSCertificate.
    pub to_be_signed: Vec<u8>,
    /// What it is signed with.
    pub algorithm: SignatureAlgorithm,
    /// The signature; it verifies under the issuer's key.
    pub signature: Vec<u8>,
    /// Its serial number.
    pub serial: Serial,
    /// Its validity.
    pub validity: Interval,
    /// The subject's key.
    pub key: PublicKey,
}

/// Reads the certificate of an offline root.
///
/// # Errors
/// Every reason why it cannot be the root of this authority.
pub fn root(profile: &CaProfile, der: &[u8], now: UnixTime) -> Result<(Brought, Root), Vec<Reason>> {
    let (brought, read) = taken_apart(der, profile.algorithm).map_err(|reason| vec![reason])?;
    let mut reasons = Vec::new();
    let mut check = |holds: bool, sentence: &str| {
        if !holds {
            reasons.push(Reason::new(ReasonCode::CertificateUnfit, "certificate", sentence));
        }
    };
    let name = |found: &rasn_pkix::Name| is_encoded(found, readback::name(&profile.subject));
    check(name(&read.subject), "its subject is not the one that the policy describes");
    check(name(&read.issuer), "it is not self-issued");
    check(brought.key.kind() == profile.key, "its key is of another kind than the policy wants");
    check(brought.key.verifies(brought.algorithm, &brought.to_be_signed, &brought.signature), "it is not self-signed");
    check(brought.validity.contains_moment(now), "it is not valid now");
    check(is_ca(&read), "its basicConstraints are not critical, not those of a CA, or allow no CA below it");
    check(may_sign(&read), "its keyUsage lacks keyCertSign or cRLSign");
    let known = [BASIC_CONSTRAINTS, KEY_USAGE, NAME_CONSTRAINTS];
    let unknown = extensions(&read).any(|it| it.critical && !known.iter().any(|arcs| it.extn_id.as_ref() == *arcs));
    check(!unknown, "it has a critical extension that verifiers of leaves may not know");
    let key_identifier = key_identifier(&read);
    check(key_identifier.is_some(), "it has no subjectKeyIdentifier of 20 bytes");
    let of_issuer = extension(&read, AUTHORITY_KEY_IDENTIFIER).map(|found| found.extn_value.as_ref());
    let own = key_identifier.unwrap_or_default();
    check(names_no_other_key(of_issuer, &own), "its authorityKeyIdentifier names another key than its own");
    match key_identifier {
        Some(key_identifier) if reasons.is_empty() => {
            let (subject, algorithm) = (profile.subject.clone(), profile.algorithm);
            let root =
                Root { subject, key: brought.key.clone(), algorithm, validity: brought.validity, key_identifier };
            Ok((brought, root))
        }
        _ => Err(reasons),
    }
}

/// The subjectKeyIdentifier of a root certificate that is stored, if it has 20 bytes.
#[must_use]
pub fn stored_key_identifier(to_be_signed: &[u8]) -> Option<[u8; 20]> {
    key_identifier(&rasn::der::decode(to_be_signed).ok()?)
}

/// Reads the intermediate CA certificate that an offline root has signed for an epoch.
///
/// # Errors
/// Why it is not the one that this policy would have had signed: the first field that differs, or the validity.
pub fn intermediate(
    policy: &Policy,
    authority: &str,
    root: &Root,
    epoch: (EpochBinding, Option<Span>),
    key: &PublicKey,
    der: &[u8],
    now: UnixTime,
) -> Result<Brought, Vec<Reason>> {
    let unfit = |sentence: String| vec![Reason::new(ReasonCode::CertificateUnfit, "certificate", sentence)];
    let (brought, read) = taken_apart(der, root.algorithm).map_err(|reason| vec![reason])?;
    if !root.key.verifies(brought.algorithm, &brought.to_be_signed, &brought.signature) {
        return Err(unfit("it is not signed by the root of this authority".to_owned()));
    }
    let (epoch, lifetime) = epoch;
    let request = CaRequest::Intermediate { root, epoch, lifetime };
    let approved = match decide_ca(policy, authority, &request, key, now, brought.serial) {
        Decision::Approve(approved) => approved,
        Decision::Refuse(reasons) => return Err(reasons),
    };
    let Some(mut wanted) = approved.certificate().cloned() else {
        return Err(unfit("it is no certificate".to_owned()));
    };
    let longest = wanted.validity.not_after.secs_since(wanted.validity.not_before);
    wanted.validity = brought.validity;
    in_their_order(&mut wanted.extensions, &read);
    if let Some(field) = stored_difference(&wanted, &brought.to_be_signed) {
        let sentence = format!("it differs in {field} from what this policy would have had signed");
        return Err(unfit(sentence));
    }
    let Interval { not_before, not_after } = brought.validity;
    if !root.validity.contains(brought.validity) || !brought.validity.contains_moment(now) {
        return Err(unfit(format!(
            "it is valid from {not_before} to {not_after}: not now, or outside the root's validity"
        )));
    }
    if not_after.secs_since(not_before) > longest.saturating_add(BACKDATE_MAX.secs()) {
        return Err(unfit(format!("it lives longer than {longest} seconds, which is the most for this epoch")));
    }
    Ok(brought)
}

fn taken_apart(der: &[u8], algorithm: SignatureAlgorithm) -> Result<(Brought, TbsCertificate), Reason> {
    let malformed =
        |what: &str| Reason::new(ReasonCode::CertificateUnfit, "certificate", format!("{what} does not read"));
    let certificate: Certificate = read(der, CERTIFICATE_BYTES_MAX).map_err(malformed)?;
    let to_be_signed = rasn::der::encode(&certificate.tbs_certificate).map_err(|_| malformed("it"))?;
    let wanted = algorithm.identifier();
    if !is_encoded(&certificate.signature_algorithm, Ok(wanted)) {
        let sentence = format!("it is not signed with {algorithm}, as the policy describes the root");
        return Err(Reason::new(ReasonCode::CertificateUnfit, "certificate", sentence));
    }
    let tbs = certificate.tbs_certificate;
    let serial = num_bigint::BigInt::from(tbs.serial_number.clone()).to_signed_bytes_be();
    let spki = rasn::der::encode(&tbs.subject_public_key_info).map_err(|_| malformed("its key"))?;
    let brought = Brought {
        to_be_signed,
        algorithm,
        signature: certificate.signature_value.as_raw_slice().to_vec(),
        serial: Serial::from_stored(&serial).ok_or_else(|| malformed("its serial number"))?,
        validity: readback::interval(&tbs.validity),
        key: PublicKey::parse(&spki).map_err(|error| malformed(&format!("its key ({error})")))?,
    };
    Ok((brought, tbs))
}

/// Another library may write extensions in another order, which means nothing.
fn in_their_order(wanted: &mut [Extension], read: &TbsCertificate) {
    let place = |wanted: &Extension| {
        let arcs = readback::extension(wanted).map(|expected| expected.arcs).unwrap_or_default();
        extensions(read).position(|found| found.extn_id.as_ref() == &*arcs).unwrap_or(usize::MAX)
    };
    wanted.sort_by_cached_key(place);
}

fn extensions(read: &TbsCertificate) -> impl Iterator<Item = &rasn_pkix::Extension> {
    read.extensions.iter().flat_map(|extensions| extensions.iter())
}

fn extension<'a>(read: &'a TbsCertificate, arcs: &[u32]) -> Option<&'a rasn_pkix::Extension> {
    extensions(read).find(|extension| extension.extn_id.as_ref() == arcs)
}

fn is_ca(read: &TbsCertificate) -> bool {
    extension(read, BASIC_CONSTRAINTS).is_some_and(|found| found.critical && has_room_below(&found.extn_value))
}

fn may_sign(read: &TbsCertificate) -> bool {
    extension(read, KEY_USAGE).is_some_and(|found| signs_certificates_and_crls(&found.extn_value))
}

/// Whether basicConstraints are those of a CA with room for another below it: without a path length, or with one of 1 and more. What a
/// root must be here, and for whoever verifies a chain.
#[must_use]
pub fn has_room_below(basic_constraints: &[u8]) -> bool {
    rasn::der::decode::<BasicConstraints>(basic_constraints)
        .is_ok_and(|found| found.ca && found.path_len_constraint.is_none_or(|most| most >= 1.into()))
}

/// Whether a CA certificate, DER, leaves room for so many CAs below it.
#[must_use]
pub fn leaves_room_for(der: &[u8], below: u8) -> bool {
    let Ok(certificate) = read::<Certificate>(der, CERTIFICATE_BYTES_MAX) else { return false };
    let found = extension(&certificate.tbs_certificate, BASIC_CONSTRAINTS);
    let constraints = found.and_then(|found| rasn::der::decode::<BasicConstraints>(&found.extn_value).ok());
    constraints.is_some_and(|found| found.ca && found.path_len_constraint.is_none_or(|most| most >= below.into()))
}

/// Whether keyUsage has what a root needs. A root may do more: it was made for others, too.
#[must_use]
pub fn signs_certificates_and_crls(key_usage: &[u8]) -> bool {
    let usage = rasn::der::decode::<KeyUsage>(key_usage);
    usage.is_ok_and(|usage| [KEY_CERT_SIGN, CRL_SIGN].into_iter().all(|bit| usage.get(bit).is_some_and(|set| *set)))
}

/// Whether the authorityKeyIdentifier of a root names no other key than its own. Self-signed certificates need none
/// (RFC 5280, section 4.2.1.1).
#[must_use]
pub fn names_no_other_key(authority_key_identifier: Option<&[u8]>, own: &[u8]) -> bool {
    authority_key_identifier.is_none_or(|found| {
        let found = rasn::der::decode::<AuthorityKeyIdentifier>(found);
        found.is_ok_and(|found| found.key_identifier.is_none_or(|found| found.as_ref() == own))
    })
}

fn key_identifier(read: &TbsCertificate) -> Option<[u8; 20]> {
    let found = extension(read, SUBJECT_KEY_IDENTIFIER)?;
    let identifier: rasn::types::OctetString = rasn::der::decode(&found.extn_value).ok()?;
    identifier.as_ref().try_into().ok()
}
