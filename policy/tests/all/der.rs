//! DER of what is approved, written by hand: a third encoder, so that neither of the two others judges itself.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends by panicking"
)]

use hallmark_policy::{
    certification_request::RequestContent,
    constraint::Subtree,
    content::{CertificateContent, EPOCH_BINDING_ARCS, Extension, Serial},
    crl::{CrlContent, OnlyContains, RevocationReason},
    key::SignatureAlgorithm,
    name::{DistinguishedName, GeneralName, NameAttribute},
    time::UnixTime,
};

pub(crate) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
pub(crate) const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;

/// A tag, a length and what is in it.
pub(crate) fn tlv(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = match body.len() {
        short @ 0..0x80 => vec![u8::try_from(short).unwrap()],
        long => {
            let bytes: Vec<u8> = long.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            [vec![0x80 | u8::try_from(bytes.len()).unwrap()], bytes].concat()
        }
    };
    [&[tag], length.as_slice(), body].concat()
}

pub(crate) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(SEQUENCE, &parts.concat())
}

fn explicit(number: u8, inner: &[u8]) -> Vec<u8> {
    tlv(0xa0 | number, inner)
}

fn unsigned(number: u64) -> Vec<u8> {
    let mut bytes: Vec<u8> = number.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    if bytes.first().is_none_or(|first| *first >= 0x80) {
        bytes.insert(0, 0);
    }
    tlv(INTEGER, &bytes)
}

fn serial(serial: Serial) -> Vec<u8> {
    tlv(INTEGER, serial.as_bytes())
}

pub(crate) fn oid(arcs: &[u32]) -> Vec<u8> {
    let [first, second, rest @ ..] = arcs else { panic!("{arcs:?}") };
    let mut bytes = Vec::new();
    for arc in std::iter::once(first * 40 + second).chain(rest.iter().copied()) {
        let digits = (0..5).rev().map(|at| u8::try_from(arc >> (7 * at) & 0x7f).unwrap());
        let digits: Vec<u8> = digits.skip_while(|digit| *digit == 0).collect();
        let (last, others) = digits.split_last().unwrap_or((&0, &[]));
        bytes.extend(others.iter().map(|digit| digit | 0x80).chain([*last]));
    }
    tlv(6, &bytes)
}

/// UTCTime until 2049, GeneralizedTime from then on.
pub(crate) fn time(point: UnixTime) -> Vec<u8> {
    if point.secs() < 2_524_608_000 { utc_time(point) } else { generalized_time(point) }
}

pub(crate) fn utc_time(point: UnixTime) -> Vec<u8> {
    tlv(0x17, &digits(point).as_bytes()[2..])
}

pub(crate) fn generalized_time(point: UnixTime) -> Vec<u8> {
    tlv(0x18, digits(point).as_bytes())
}

fn digits(point: UnixTime) -> String {
    point.to_string().replace(['-', ':', 'T'], "")
}

pub(crate) fn algorithm(algorithm: SignatureAlgorithm) -> Vec<u8> {
    const ECDSA_WITH: [u32; 6] = [1, 2, 840, 10045, 4, 3];
    const PKCS_1: [u32; 6] = [1, 2, 840, 113_549, 1, 1];
    const NIST_SIGNATURES: [u32; 8] = [2, 16, 840, 1, 101, 3, 4, 3];
    let below = |arcs: &[u32], last| oid(&[arcs, &[last]].concat());
    let null = vec![5, 0];
    match algorithm {
        SignatureAlgorithm::EcdsaSha256 => sequence(&[below(&ECDSA_WITH, 2)]),
        SignatureAlgorithm::EcdsaSha384 => sequence(&[below(&ECDSA_WITH, 3)]),
        SignatureAlgorithm::RsaPkcs1Sha256 => sequence(&[below(&PKCS_1, 11), null]),
        SignatureAlgorithm::RsaPssSha256 => {
            let sha256 = sequence(&[oid(&[2, 16, 840, 1, 101, 3, 4, 2, 1]), null]);
            let mgf1 = sequence(&[below(&PKCS_1, 8), sha256.clone()]);
            let parameters = [explicit(0, &sha256), explicit(1, &mgf1), explicit(2, &unsigned(32))];
            sequence(&[below(&PKCS_1, 10), sequence(&parameters)])
        }
        SignatureAlgorithm::Ed25519 => sequence(&[oid(&[1, 3, 101, 112])]),
        SignatureAlgorithm::MlDsa44 => sequence(&[below(&NIST_SIGNATURES, 17)]),
        SignatureAlgorithm::MlDsa65 => sequence(&[below(&NIST_SIGNATURES, 18)]),
        SignatureAlgorithm::MlDsa87 => sequence(&[below(&NIST_SIGNATURES, 19)]),
    }
}

fn name(name: &DistinguishedName) -> Vec<u8> {
    let rdn = |(attribute, value): &(NameAttribute, String)| {
        let (arc, tag) = match attribute {
            NameAttribute::Country => (6, 0x13),
            NameAttribute::Organization => (10, 0x0c),
            NameAttribute::CommonName => (3, 0x0c),
        };
        tlv(SET, &sequence(&[oid(&[2, 5, 4, arc]), tlv(tag, value.as_bytes())]))
    };
    sequence(&name.attributes().iter().map(rdn).collect::<Vec<_>>())
}

fn general_name(name: &GeneralName) -> Vec<u8> {
    match name {
        GeneralName::Email(email) => tlv(0x81, email.as_str().as_bytes()),
        GeneralName::Dns(dns) => tlv(0x82, dns.as_str().as_bytes()),
        GeneralName::Uri(uri) => tlv(0x86, uri.as_str().as_bytes()),
        GeneralName::Ip(address) => tlv(0x87, &address.octets()),
    }
}

fn url(url: impl ToString) -> Vec<u8> {
    tlv(0x86, url.to_string().as_bytes())
}

fn subtree(subtree: &Subtree) -> Vec<u8> {
    sequence(&[match subtree {
        Subtree::Email(base) => tlv(0x81, base.as_bytes()),
        Subtree::Dns(base) => tlv(0x82, base.as_bytes()),
        Subtree::Uri(base) => tlv(0x86, base.as_bytes()),
        Subtree::Ip(block) => tlv(0x87, &block.address_and_mask()),
    }])
}

/// Arcs, criticality and value.
pub(crate) fn parts(extension: &Extension) -> (Vec<u32>, bool, Vec<u8>) {
    let standard = |last, critical, value| (vec![2, 5, 29, last], critical, value);
    let all = |values: Vec<Vec<u8>>| sequence(&values);
    match extension {
        Extension::EndEntity => standard(19, true, sequence(&[])),
        Extension::CertificateAuthority { path_len } => {
            standard(19, true, sequence(&[tlv(1, &[0xff]), unsigned(u64::from(*path_len))]))
        }
        Extension::DigitalSignature => standard(15, true, tlv(BIT_STRING, &[7, 0b1000_0000])),
        Extension::CertificateAndCrlSigning => standard(15, true, tlv(BIT_STRING, &[1, 0b0000_0110])),
        Extension::ExtendedKeyUsage { critical, purposes } => {
            standard(37, *critical, all(purposes.iter().map(|purpose| oid(purpose.arcs())).collect()))
        }
        Extension::SubjectAltName { critical, names } => {
            standard(17, *critical, all(names.iter().map(general_name).collect()))
        }
        Extension::SubjectKeyIdentifier(identifier) => standard(14, false, tlv(OCTET_STRING, identifier)),
        Extension::AuthorityKeyIdentifier(identifier) => standard(35, false, sequence(&[tlv(0x80, identifier)])),
        Extension::NameConstraints(constraints) => {
            let list = |number, list: &[Subtree]| {
                let subtrees: Vec<u8> = list.iter().flat_map(subtree).collect();
                if list.is_empty() { Vec::new() } else { explicit(number, &subtrees) }
            };
            standard(30, true, sequence(&[list(0, &constraints.permitted), list(1, &constraints.excluded)]))
        }
        Extension::CertificatePolicies(policies) => {
            standard(32, false, all(policies.iter().map(|policy| sequence(&[oid(policy.arcs())])).collect()))
        }
        Extension::CrlDistributionPoints(urls) => {
            let full_name: Vec<u8> = urls.iter().flat_map(url).collect();
            standard(31, false, sequence(&[sequence(&[explicit(0, &explicit(0, &full_name))])]))
        }
        Extension::CaIssuers(urls) => {
            let description = |address| sequence(&[oid(&[1, 3, 6, 1, 5, 5, 7, 48, 2]), url(address)]);
            (vec![1, 3, 6, 1, 5, 5, 7, 1, 1], false, all(urls.iter().map(description).collect()))
        }
        Extension::Claim(claim) => (claim.oid.arcs().to_vec(), false, claim.value.clone()),
        Extension::EpochBinding(binding) => {
            let value = sequence(&[
                unsigned(1),
                unsigned(binding.generation),
                tlv(OCTET_STRING, &binding.manifest),
                tlv(OCTET_STRING, &binding.transition),
            ]);
            (EPOCH_BINDING_ARCS.to_vec(), false, value)
        }
    }
}

/// One Extension; `critical` where it is written otherwise than it should be.
pub(crate) fn extension(arcs: &[u32], critical: bool, value: &[u8]) -> Vec<u8> {
    let flag = if critical { tlv(1, &[0xff]) } else { Vec::new() };
    sequence(&[oid(arcs), flag, tlv(OCTET_STRING, value)])
}

/// The Extensions, one by one.
pub(crate) fn extensions(extensions: &[Extension]) -> Vec<Vec<u8>> {
    let written = extensions.iter().map(parts);
    written.map(|(arcs, critical, value)| extension(&arcs, critical, &value)).collect()
}

/// The fields of a TBSCertificate, in their order; the extensions are the last of them.
pub(crate) fn certificate_fields(content: &CertificateContent) -> Vec<Vec<u8>> {
    vec![
        explicit(0, &unsigned(2)),
        serial(content.serial),
        algorithm(content.algorithm),
        name(&content.issuer),
        sequence(&[time(content.validity.not_before), time(content.validity.not_after)]),
        name(&content.subject),
        content.key.spki().to_vec(),
        tagged_extensions(3, &extensions(&content.extensions)),
    ]
}

pub(crate) fn tagged_extensions(number: u8, extensions: &[Vec<u8>]) -> Vec<u8> {
    explicit(number, &sequence(extensions))
}

pub(crate) fn certificate(content: &CertificateContent) -> Vec<u8> {
    sequence(&certificate_fields(content))
}

/// The fields of a TBSCertList, in their order.
pub(crate) fn crl_fields(content: &CrlContent) -> Vec<Vec<u8>> {
    let entries: Vec<_> = content
        .revoked
        .iter()
        .map(|entry| {
            let code = [0x0a, 1, entry.reason.number()];
            let reason = match entry.reason == RevocationReason::Unspecified {
                true => Vec::new(),
                false => sequence(&[extension(&[2, 5, 29, 21], false, &code)]),
            };
            sequence(&[serial(entry.serial), time(entry.at), reason])
        })
        .collect();
    let key = Extension::AuthorityKeyIdentifier(content.authority_key_identifier);
    let mut written = extensions(&[key]);
    written.push(extension(&[2, 5, 29, 20], false, &unsigned(content.number)));
    if let Some(point) = &content.distribution_point {
        let full_name: Vec<u8> = point.urls.iter().flat_map(url).collect();
        let place = if point.urls.is_empty() { Vec::new() } else { explicit(0, &explicit(0, &full_name)) };
        let only = match point.only {
            OnlyContains::UserCerts => tlv(0x81, &[0xff]),
            OnlyContains::CaCerts => tlv(0x82, &[0xff]),
        };
        written.push(extension(&[2, 5, 29, 28], true, &sequence(&[place, only])));
    }
    vec![
        unsigned(1),
        algorithm(content.algorithm),
        name(&content.issuer),
        time(content.this_update),
        time(content.next_update),
        if entries.is_empty() { Vec::new() } else { sequence(&entries) },
        tagged_extensions(0, &written),
    ]
}

/// The fields of a CertificationRequestInfo, in their order.
pub(crate) fn request_fields(content: &RequestContent) -> Vec<Vec<u8>> {
    let asked = attribute(&[1, 2, 840, 113_549, 1, 9, 14], &[sequence(&extensions(&content.extensions))]);
    vec![unsigned(0), name(&content.subject), content.key.spki().to_vec(), explicit(0, &asked)]
}

pub(crate) fn attribute(arcs: &[u32], values: &[Vec<u8>]) -> Vec<u8> {
    sequence(&[oid(arcs), tlv(SET, &set_of(values))])
}

/// The members of a SET OF, in the order that DER wants (X.690, section 11.6).
pub(crate) fn set_of(members: &[Vec<u8>]) -> Vec<u8> {
    let mut members = members.to_vec();
    members.sort();
    members.concat()
}
