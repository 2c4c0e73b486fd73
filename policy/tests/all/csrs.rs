//! How a CSR is read: one strict way, and what is said of every other; `csrs.toml` has one for each signature algorithm.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends by panicking")]

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hallmark_policy::{
    CSR_BYTES_MAX, Caller, Decision, Policy, Request, RequestInput, SubjectInput, decide, facts,
    key::SignatureAlgorithm, name::NAMES_MAX,
};
use rcgen::{PublicKeyData as _, SigningKey as _};
use serde::Deserialize;

use crate::{
    der::{self, sequence, tlv},
    world::{WORLD, now, serial},
};

const POLICY: &str = r#"
version = 1
[authority.a]
root = { common-name = "Root", lifetime = "3650d", key = "ecdsa-p256" }
epoch = { common-name = "CA", lifetime = "365d", key = "ecdsa-p256" }
[profile.p]
authority = "a"
lifetime = { default = "1d", maximum = "7d" }
keys = ["ecdsa-p256", "ecdsa-p384", "rsa-2048", "ed25519", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87"]
usages = ["client-auth"]
names = [{ dns = "x.in.test" }]
[caller.coordinator]
uri = "spiffe://lab/coordinator"
methods = ["MintCertificate"]
profiles = ["p"]
"#;

static KEY: LazyLock<rcgen::KeyPair> = LazyLock::new(|| rcgen::KeyPair::generate().unwrap());

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    csr: Vec<Golden>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    is: String,
    taken: bool,
    der: String,
}

fn parse(csr: Vec<u8>) -> Result<Request, Vec<(&'static str, &'static str)>> {
    let input = RequestInput {
        authority: "a".to_owned(),
        profile: "p".to_owned(),
        request_id: "r-1".to_owned(),
        subject: SubjectInput::Csr(csr),
        ..RequestInput::default()
    };
    let caller: Caller = WORLD.caller.clone();
    Request::parse(caller, input)
        .map_err(|reasons| reasons.iter().map(|reason| (reason.code.as_str(), reason.field)).collect())
}

/// Code and field of every reason that keeps it from being read.
fn told(csr: Vec<u8>) -> Vec<(&'static str, &'static str)> {
    parse(csr).err().unwrap_or_default()
}

/// The names of a CSR that is read.
fn names(csr: Vec<u8>) -> Vec<String> {
    facts(&Policy::parse(POLICY).unwrap(), &parse(csr).unwrap()).names
}

/// The CSR around this CertificationRequestInfo.
fn signed(info: &[Vec<u8>]) -> Vec<u8> {
    let info = sequence(info);
    let signature = [vec![0], KEY.sign(&info).unwrap()].concat();
    sequence(&[info, der::algorithm(SignatureAlgorithm::EcdsaSha256), tlv(3, &signature)])
}

fn info(subject: &[Vec<u8>], attributes: &[Vec<u8>]) -> Vec<Vec<u8>> {
    vec![tlv(2, &[0]), sequence(subject), KEY.subject_public_key_info(), tlv(0xa0, &der::set_of(attributes))]
}

fn rdn(arc: u32, tag: u8, text: &[u8]) -> Vec<u8> {
    tlv(0x31, &sequence(&[der::oid(&[2, 5, 4, arc]), tlv(tag, text)]))
}

const EXTENSION_REQUEST: [u32; 7] = [1, 2, 840, 113_549, 1, 9, 14];
const SUBJECT_ALT_NAME: [u32; 4] = [2, 5, 29, 17];

/// A CSR that asks for these extensions.
fn asking(extensions: &[Vec<u8>]) -> Vec<u8> {
    signed(&info(&[], &[der::attribute(&EXTENSION_REQUEST, &[sequence(extensions)])]))
}

fn named(names: &[Vec<u8>]) -> Vec<u8> {
    asking(&[der::extension(&SUBJECT_ALT_NAME, false, &sequence(names))])
}

#[test]
fn a_signature_of_every_algorithm_is_taken_with_the_keys_and_digests_that_the_handbook_names() {
    let corpus: Corpus = toml::from_str(include_str!("../csrs.toml")).unwrap();
    let policy = Policy::parse(POLICY).unwrap();
    let issuer =
        hallmark_policy::Issuer { authority: "a".to_owned(), ..WORLD.issuer(SignatureAlgorithm::EcdsaSha256, now()) };
    let decide = |der: Vec<u8>| match decide(&policy, &parse(der).unwrap(), &issuer, now(), serial()) {
        Decision::Approve(_) => Vec::new(),
        Decision::Refuse(reasons) => reasons.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>(),
    };
    assert_eq!(corpus.csr.iter().filter(|golden| golden.taken).count(), 13);
    for Golden { is, taken, der } in &corpus.csr {
        let der = STANDARD.decode(der).unwrap();
        let expected = if *taken { vec![] } else { vec!["CSR_SIGNATURE_WRONG"] };
        assert_eq!(decide(der.clone()), expected, "{is}");
        let mut changed = der;
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(decide(changed), ["CSR_SIGNATURE_WRONG"], "{is}");
    }
}

#[test]
fn parameters_of_a_signature_algorithm_are_the_canonical_ones() {
    let policy = Policy::parse(POLICY).unwrap();
    let issuer =
        hallmark_policy::Issuer { authority: "a".to_owned(), ..WORLD.issuer(SignatureAlgorithm::EcdsaSha256, now()) };
    let san = der::extension(&SUBJECT_ALT_NAME, false, &sequence(&[tlv(0x82, b"x.in.test")]));
    let body = sequence(&info(&[], &[der::attribute(&EXTENSION_REQUEST, &[sequence(&[san])])]));
    let signature = [vec![0], KEY.sign(&body).unwrap()].concat();
    let with = |algorithm: Vec<u8>| {
        let csr = sequence(&[body.clone(), algorithm, tlv(3, &signature)]);
        match decide(&policy, &parse(csr).unwrap(), &issuer, now(), serial()) {
            Decision::Approve(_) => String::new(),
            Decision::Refuse(reasons) => reasons.into_iter().map(|reason| reason.sentence).collect(),
        }
    };
    let not_taken = "the CSR is signed with an algorithm that is not taken for its key";
    let ecdsa_sha256 = der::oid(&[1, 2, 840, 10045, 4, 3, 2]);
    assert_eq!(with(sequence(std::slice::from_ref(&ecdsa_sha256))), "");
    assert_eq!(with(sequence(&[ecdsa_sha256, vec![5, 0]])), not_taken);
    for digest in [11, 12, 13] {
        let rsa = der::oid(&[1, 2, 840, 113_549, 1, 1, digest]);
        assert_eq!(with(sequence(&[rsa, vec![5, 0]])), not_taken, "RSA does not sign with this key");
    }
    let other = der::oid(&[1, 2, 840, 10045, 4, 3, 3]);
    assert_eq!(with(sequence(&[other])), "the CSR's signature does not verify under the key in it");
}

#[test]
fn der_or_one_pem_block_is_read_and_nothing_around_it() {
    let csr = named(&[tlv(0x82, b"x.in.test")]);
    assert_eq!(names(csr.clone()), ["dns:x.in.test"]);
    let pem = |label: &str| {
        let lines: Vec<_> =
            STANDARD.encode(&csr).as_bytes().chunks(64).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    };
    assert_eq!(names(pem("CERTIFICATE REQUEST").into_bytes()), ["dns:x.in.test"]);
    let malformed = [("CSR_MALFORMED", "csr")];
    for other in [
        pem("NEW CERTIFICATE REQUEST"),
        pem("CERTIFICATE REQUEST").repeat(2),
        format!("-----BEGIN {}", pem("CERTIFICATE REQUEST")),
        format!("x{}", pem("CERTIFICATE REQUEST")),
        String::new(),
    ] {
        assert_eq!(told(other.clone().into_bytes()), malformed, "{other}");
    }
    assert_eq!(told([csr.as_slice(), &[0]].concat()), malformed);
    assert_eq!(told(vec![0; CSR_BYTES_MAX]), malformed);
    assert_eq!(told(vec![0; CSR_BYTES_MAX + 1]), [("FIELD_OUT_OF_LIMITS", "csr")]);
}

#[test]
fn the_frame_of_a_csr_has_one_form() {
    let good = info(&[], &[]);
    assert_eq!(told(signed(&good)), []);
    let with = |at: usize, field: Vec<u8>| {
        let mut fields = good.clone();
        fields[at] = field;
        told(signed(&fields))
    };
    assert_eq!(with(0, tlv(2, &[1])), [("CSR_MALFORMED", "csr.version")]);
    assert_eq!(
        with(2, sequence(&[sequence(&[der::oid(&[1, 3, 101, 112])]), tlv(3, &[0, 1])])),
        [("KEY_MALFORMED", "csr.subjectPKInfo")]
    );
    let body = sequence(&good);
    let signature =
        |bits: &[u8]| sequence(&[body.clone(), der::algorithm(SignatureAlgorithm::EcdsaSha256), tlv(3, bits)]);
    assert_eq!(told(signature(&[0, 2])), []);
    assert_eq!(told(signature(&[1, 2])), [("CSR_MALFORMED", "csr.signature")]);
    let long = sequence(&[body.clone(), der::algorithm(SignatureAlgorithm::EcdsaSha256), vec![3, 0x81, 2, 0, 2]]);
    assert_eq!(told(long), [("CSR_NOT_CANONICAL", "csr")]);
}

#[test]
fn a_subject_is_one_common_name_and_nothing_else() {
    let subject = |rdns: &[Vec<u8>]| signed(&info(rdns, &[]));
    let cn = |tag, text: &[u8]| rdn(3, tag, text);
    assert_eq!(names(subject(&[])), [""; 0]);
    assert_eq!(names(subject(&[cn(0x0c, b"a.b")])), ["cn:a.b"]);
    assert_eq!(names(subject(&[cn(0x13, b"a.b")])), ["cn:a.b"]);
    let malformed = [("NAME_MALFORMED", "csr.subject")];
    for (tag, text) in [(0x16, &b"a"[..]), (0x1e, &[0, 97]), (0x14, b"a"), (0x0c, &[0xff]), (0x13, b"a@b")] {
        assert_eq!(told(subject(&[cn(tag, text)])), malformed, "{tag:#x}");
    }
    assert_eq!(told(subject(&[cn(0x0c, b"a"), cn(0x0c, b"b")])), [("DUPLICATE", "csr.subject")]);
    assert_eq!(told(subject(&[rdn(10, 0x0c, b"O")])), [("SUBJECT_NOT_ALLOWED", "csr.subject")]);
    assert_eq!(told(subject(&[cn(0x0c, b"a"), rdn(10, 0x0c, b"O")])), [("SUBJECT_NOT_ALLOWED", "csr.subject")]);
}

#[test]
fn one_extension_request_with_one_value_is_read() {
    let san = der::extension(&SUBJECT_ALT_NAME, false, &sequence(&[tlv(0x82, b"a.b")]));
    let asked = sequence(std::slice::from_ref(&san));
    let request = |values: &[Vec<u8>]| der::attribute(&EXTENSION_REQUEST, values);
    let told = |attributes: &[Vec<u8>]| told(signed(&info(&[], attributes)));
    assert_eq!(told(&[request(std::slice::from_ref(&asked))]), []);
    let other = sequence(&[der::extension(&[2, 5, 29, 15], false, &[5, 0])]);
    assert_eq!(
        told(&[request(std::slice::from_ref(&asked)), request(std::slice::from_ref(&other))]),
        [("DUPLICATE", "csr.attributes")]
    );
    assert_eq!(told(&[request(&[other, asked.clone()])]), [("DUPLICATE", "csr.attributes")]);
    assert_eq!(told(&[request(&[])]), [("DUPLICATE", "csr.attributes")]);
    assert_eq!(told(&[request(&[vec![5, 0]])]), [("CSR_MALFORMED", "csr.attributes")]);
    let explicit = sequence(&[der::oid(&SUBJECT_ALT_NAME), tlv(1, &[0]), tlv(4, &sequence(&[tlv(0x82, b"a.b")]))]);
    assert_eq!(told(&[request(&[sequence(&[explicit])])]), [("CSR_NOT_CANONICAL", "csr.attributes")]);
    assert_eq!(told(&[request(&[sequence(&[san.clone(), san])])]), [("DUPLICATE", "csr.extensions")]);
}

#[test]
fn names_of_every_kind_are_read_as_they_stand_there() {
    let all = [
        tlv(0x81, b"a@b"),
        tlv(0x82, b"A.b"),
        tlv(0x86, b"x://y"),
        tlv(0x87, &[10, 0, 0, 1]),
        tlv(0x87, &[10]),
        tlv(0x88, &[0x2a, 3]),
        tlv(0xa4, &sequence(&[])),
    ];
    assert_eq!(
        names(named(&all)),
        ["email:a@b", "dns:A.b", "uri:x://y", "ip:10.0.0.1", "ip:0x0a", "other:registeredID", "other:directoryName"]
    );
}

#[test]
fn a_subject_alternative_name_has_1_to_100_names() {
    const FIELD: &str = "csr.subjectAltName";
    let many = |count: usize| named(&vec![tlv(0x82, b"a.b"); count]);
    assert_eq!((told(many(1)), told(many(NAMES_MAX))), (vec![], vec![]));
    assert_eq!(told(many(NAMES_MAX + 1)), [("FIELD_OUT_OF_LIMITS", FIELD)]);
    assert_eq!(told(many(0)), [("FIELD_OUT_OF_LIMITS", FIELD)]);
    let value = |value: &[u8]| told(asking(&[der::extension(&SUBJECT_ALT_NAME, false, value)]));
    assert_eq!(value(&[5, 0]), [("CSR_MALFORMED", FIELD)]);
    assert_eq!(value(&[0x30, 0x81, 5, 0x82, 3, b'a', b'.', b'b']), [("CSR_NOT_CANONICAL", FIELD)]);
}
