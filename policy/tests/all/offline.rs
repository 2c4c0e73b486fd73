//! Certificates that an offline root has signed: which are taken, and what is said against each other one.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends by panicking"
)]

use std::sync::LazyLock;

use hallmark_policy::{
    Decision, Policy, TBS_BYTES_MAX,
    authority::{CaRequest, Root, decide_ca},
    content::{CertificateContent, EpochBinding, Extension, Serial},
    key::{PublicKey, SignatureAlgorithm},
    name::DistinguishedName,
    offline::{
        self, CERTIFICATE_BYTES_MAX, has_room_below, names_no_other_key, signs_certificates_and_crls,
        stored_key_identifier,
    },
    time::{Interval, Span, UnixTime},
};
use rcgen::{PublicKeyData as _, SigningKey as _};

use crate::der;

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    Policy::parse(
        "version = 1\n[authority.a]\npolicies = [\"1.3.6.1.4.1.99999.1\"]\n\
         root = { common-name = \"Root\", organization = \"Offline\", lifetime = \"3650d\", key = \"ecdsa-p256\", offline = true }\n\
         epoch = { common-name = \"CA\", lifetime = \"30d\", key = \"ecdsa-p256\" }\n",
    )
    .unwrap_or_else(|error| panic!("{error}"))
});
static ROOT_KEY: LazyLock<rcgen::KeyPair> = LazyLock::new(|| rcgen::KeyPair::generate().unwrap());
static EPOCH_KEY: LazyLock<PublicKey> = LazyLock::new(|| public(&rcgen::KeyPair::generate().unwrap()));
static OTHER_KEY: LazyLock<rcgen::KeyPair> = LazyLock::new(|| rcgen::KeyPair::generate().unwrap());

const EPOCH: EpochBinding = EpochBinding { generation: 4, manifest: [1; 32], transition: [2; 32] };

fn public(key: &rcgen::KeyPair) -> PublicKey {
    PublicKey::parse(&key.subject_public_key_info()).unwrap()
}

fn now() -> UnixTime {
    UnixTime::parse("2026-07-01T00:00:00Z").unwrap()
}

fn days(days: u32) -> UnixTime {
    now().after(Span::from_days(days))
}

/// The certificate around these fields and extensions.
fn signed(fields: &[Vec<u8>], extensions: &[Vec<u8>], key: &rcgen::KeyPair) -> Vec<u8> {
    let tbs = der::sequence(&[fields.concat(), der::tagged_extensions(3, extensions)]);
    let signature = [vec![0], key.sign(&tbs).unwrap()].concat();
    der::sequence(&[tbs, der::algorithm(SignatureAlgorithm::EcdsaSha256), der::tlv(3, &signature)])
}

/// What the policy would have a root of its own say.
fn root_content() -> CertificateContent {
    let key = public(&ROOT_KEY);
    match decide_ca(&POLICY, "a", &CaRequest::Root, &key, now(), Serial::from_random([1; 16])) {
        Decision::Approve(approved) => approved.certificate().unwrap().clone(),
        Decision::Refuse(reasons) => panic!("{reasons:?}"),
    }
}

fn root_with(change: impl Fn(&mut CertificateContent), extensions: impl Fn(&mut Vec<Vec<u8>>)) -> Vec<u8> {
    let mut content = root_content();
    change(&mut content);
    let mut fields = der::certificate_fields(&content);
    fields.pop();
    let mut written = der::extensions(&content.extensions);
    extensions(&mut written);
    signed(&fields, &written, &ROOT_KEY)
}

fn judge_root(der: &[u8]) -> Vec<String> {
    let profile = &POLICY.authority("a").unwrap().root;
    let told = offline::root(profile, der, now());
    told.map_or_else(|reasons| reasons.into_iter().map(|reason| reason.sentence).collect(), |_| Vec::new())
}

#[test]
fn a_root_that_fits_is_taken_and_taken_apart() {
    let content = root_content();
    let (brought, root) =
        offline::root(&POLICY.authority("a").unwrap().root, &root_with(|_| {}, |_| {}), now()).unwrap();
    assert_eq!(brought.to_be_signed, der::certificate(&content));
    assert_eq!((brought.serial, brought.validity), (content.serial, content.validity));
    assert_eq!((&brought.key, brought.algorithm), (&content.key, SignatureAlgorithm::EcdsaSha256));
    assert!(content.key.verifies(brought.algorithm, &brought.to_be_signed, &brought.signature));
    assert_eq!((root.subject, root.validity), (content.subject, content.validity));
    assert_eq!((&root.key, root.key_identifier), (&content.key, content.key.key_identifier()));
    assert_eq!(stored_key_identifier(&brought.to_be_signed), Some(content.key.key_identifier()));
    assert_eq!(stored_key_identifier(&[5, 0]), None);
}

/// What is written of a root in this extension's place: 0 is basicConstraints, 1 keyUsage, 2 and 3 the identifiers.
fn root_extension(at: usize, written: &[u8]) -> Vec<String> {
    judge_root(&root_with(|_| {}, |extensions| extensions[at] = written.to_vec()))
}

#[test]
fn everything_that_is_wrong_with_a_root_is_told() {
    type Change = (&'static str, fn(&mut CertificateContent));
    let changes: [Change; 6] = [
        ("its subject is not the one that the policy describes", |content| {
            content.subject = DistinguishedName::common_name("Root");
        }),
        ("it is not self-issued", |content| content.issuer = DistinguishedName::common_name("Root")),
        ("it is not self-signed", |content| content.key = public(&OTHER_KEY)),
        ("it is not valid now", |content| content.validity.not_before = now().after(Span::from_secs(1))),
        ("it is not valid now", |content| {
            content.validity =
                Interval { not_before: UnixTime::from_secs(0), not_after: now().before(Span::from_secs(1)) };
        }),
        ("it has no subjectKeyIdentifier of 20 bytes", |content| {
            content.extensions.retain(|it| !matches!(it, Extension::SubjectKeyIdentifier(_)));
        }),
    ];
    for (sentence, change) in changes {
        let told = judge_root(&root_with(change, |_| {}));
        assert_eq!(told.first().map(String::as_str), Some(sentence));
    }
    for moment in [now(), days(3650)] {
        let der = root_with(|_| {}, |_| {});
        assert!(offline::root(&POLICY.authority("a").unwrap().root, &der, moment).is_ok(), "its first and last second");
    }
    let no_ca = "its basicConstraints are not critical, not those of a CA, or allow no CA below it";
    let room = der::sequence(&[der::tlv(1, &[0xff]), der::tlv(2, &[1])]);
    let none = der::sequence(&[der::tlv(1, &[0xff]), der::tlv(2, &[0])]);
    let basic = [2, 5, 29, 19];
    assert_eq!(root_extension(0, &der::extension(&basic, false, &room)), [no_ca]);
    assert_eq!(root_extension(0, &der::extension(&basic, true, &none)), [no_ca]);
    assert_eq!(root_extension(0, &der::extension(&basic, true, &der::sequence(&[]))), [no_ca]);
    assert_eq!(root_extension(0, &der::extension(&basic, true, &room)), Vec::<String>::new());
    let usage = |bits: u8| der::extension(&[2, 5, 29, 15], true, &der::tlv(3, &[1, bits]));
    let lacks = "its keyUsage lacks keyCertSign or cRLSign";
    assert_eq!(root_extension(1, &usage(0b0000_0010)), [lacks]);
    assert_eq!(root_extension(1, &usage(0b1000_0110)), Vec::<String>::new(), "it may do more");
    let short = der::extension(&[2, 5, 29, 14], false, &der::tlv(4, &[1; 19]));
    assert_eq!(root_extension(2, &short)[0], "it has no subjectKeyIdentifier of 20 bytes");
    let other = der::extension(&[2, 5, 29, 35], false, &der::sequence(&[der::tlv(0x80, &[1; 20])]));
    assert_eq!(root_extension(3, &other), ["its authorityKeyIdentifier names another key than its own"]);
    let none = root_with(|_| {}, |extensions| drop(extensions.pop()));
    assert_eq!(judge_root(&none), Vec::<String>::new(), "a self-signed certificate needs none");
}

#[test]
fn a_critical_extension_of_a_root_is_one_that_every_verifier_knows() {
    let with = |arcs: &[u32], critical, value: &[u8]| {
        judge_root(&root_with(|_| {}, |extensions| extensions.push(der::extension(arcs, critical, value))))
    };
    let unknown = "it has a critical extension that verifiers of leaves may not know";
    assert_eq!(with(&[1, 3, 9901, 1], true, &[5, 0]), [unknown]);
    assert_eq!(with(&[1, 3, 9901, 1], false, &[5, 0]), Vec::<String>::new());
    let constraints = der::sequence(&[der::tlv(0xa0, &der::sequence(&[der::tlv(0x82, b"in.test")]))]);
    assert_eq!(with(&[2, 5, 29, 30], true, &constraints), Vec::<String>::new());
}

#[test]
fn what_does_not_read_is_no_certificate() {
    let der = root_with(|_| {}, |_| {});
    assert_eq!(judge_root(&[der.as_slice(), &[0]].concat()), ["its syntax does not read"]);
    assert_eq!(judge_root(&vec![0; CERTIFICATE_BYTES_MAX + 1]), ["its length does not read"]);
    let mut fields = der::certificate_fields(&root_content());
    fields.pop();
    let extensions = der::extensions(&root_content().extensions);
    let with = |at: usize, field: Vec<u8>| {
        let mut fields = fields.clone();
        fields[at] = field;
        judge_root(&signed(&fields, &extensions, &ROOT_KEY))
    };
    assert_eq!(with(1, der::tlv(2, &[0])), ["its serial number does not read"]);
    assert_eq!(with(1, der::tlv(2, &[0xff])), ["its serial number does not read"]);
    let no_key = der::sequence(&[der::algorithm(SignatureAlgorithm::Ed25519), der::tlv(3, &[0, 1])]);
    assert!(with(6, no_key)[0].starts_with("its key ("));
    let tbs = der::sequence(&[fields.concat(), der::tagged_extensions(3, &extensions)]);
    let other = der::sequence(&[tbs, der::algorithm(SignatureAlgorithm::EcdsaSha384), der::tlv(3, &[0, 1])]);
    assert_eq!(judge_root(&other), ["it is not signed with ecdsa-sha256, as the policy describes the root"]);
}

#[test]
fn the_longest_certificate_holds_the_longest_content_and_any_signature() {
    let mut fields = der::certificate_fields(&root_content());
    fields.pop();
    let filled = |bytes: usize| {
        let mut extensions = der::extensions(&root_content().extensions);
        extensions.push(der::extension(&[1, 3, 9901, 1], false, &vec![0; bytes]));
        signed(&fields, &extensions, &ROOT_KEY)
    };
    // The signature and what is around it have at most 88 bytes here.
    let around = filled(60_000).len() - 60_000;
    assert_eq!(judge_root(&filled(TBS_BYTES_MAX - around)), Vec::<String>::new());
    let beside = CERTIFICATE_BYTES_MAX - TBS_BYTES_MAX;
    assert!((4_700..10_000).contains(&beside), "a signature of ML-DSA-87 has 4,627 bytes");
}

#[test]
fn a_root_of_another_kind_of_key_is_not_the_one_that_the_policy_describes() {
    let policy = "version = 1\n[authority.a]\n\
                  root = { common-name = \"Root\", organization = \"Offline\", lifetime = \"3650d\", key = \"ecdsa-p384\", \
                  signature = \"ecdsa-sha384\" }\n\
                  epoch = { common-name = \"CA\", lifetime = \"30d\", key = \"ecdsa-p256\" }\n";
    let policy = Policy::parse(policy).unwrap_or_else(|error| panic!("{error}"));
    let profile = hallmark_policy::profile::CaProfile {
        algorithm: SignatureAlgorithm::EcdsaSha256,
        ..policy.authority("a").unwrap().root.clone()
    };
    let told = offline::root(&profile, &root_with(|_| {}, |_| {}), now()).unwrap_err();
    let told: Vec<_> = told.into_iter().map(|reason| reason.sentence).collect();
    assert_eq!(told, ["its key is of another kind than the policy wants"]);
}

#[test]
fn what_a_root_must_be_is_said_of_its_extensions_alone() {
    let basic = |parts: &[Vec<u8>]| has_room_below(&der::sequence(parts));
    let (ca, path) = (der::tlv(1, &[0xff]), |most: u8| der::tlv(2, &[most]));
    assert!(basic(std::slice::from_ref(&ca)) && basic(&[ca.clone(), path(1)]) && basic(&[ca.clone(), path(2)]));
    assert!(!basic(&[]) && !basic(&[ca, path(0)]) && !has_room_below(&[5, 0]));
    let usage = |bits: &[u8]| signs_certificates_and_crls(&der::tlv(3, bits));
    assert!(usage(&[1, 0b0000_0110]) && usage(&[1, 0b1000_0110]));
    assert!(!usage(&[2, 0b0000_0100]) && !usage(&[1, 0b0000_0010]) && !usage(&[7, 0b1000_0000]));
    assert!(!signs_certificates_and_crls(&[5, 0]));
    let of = |parts: &[Vec<u8>]| names_no_other_key(Some(&der::sequence(parts)), &[7; 20]);
    assert!(names_no_other_key(None, &[7; 20]) && of(&[]) && of(&[der::tlv(0x80, &[7; 20])]));
    assert!(!of(&[der::tlv(0x80, &[8; 20])]) && !names_no_other_key(Some(&[5, 0]), &[7; 20]));
}

fn root() -> Root {
    offline::root(&POLICY.authority("a").unwrap().root, &root_with(|_| {}, |_| {}), now()).unwrap().1
}

fn intermediate_content(lifetime: Option<Span>) -> CertificateContent {
    let root = root();
    let request = CaRequest::Intermediate { root: &root, epoch: EPOCH, lifetime };
    match decide_ca(&POLICY, "a", &request, &EPOCH_KEY, now(), Serial::from_random([2; 16])) {
        Decision::Approve(approved) => approved.certificate().unwrap().clone(),
        Decision::Refuse(reasons) => panic!("{reasons:?}"),
    }
}

/// What is said against an intermediate that was changed so, and signed with that key.
fn judge(lifetime: Option<Span>, key: &rcgen::KeyPair, change: impl Fn(&mut CertificateContent)) -> Vec<String> {
    let mut content = intermediate_content(lifetime);
    change(&mut content);
    let mut fields = der::certificate_fields(&content);
    fields.pop();
    let der = signed(&fields, &der::extensions(&content.extensions), key);
    let told = offline::intermediate(&POLICY, "a", &root(), (EPOCH, lifetime), &EPOCH_KEY, &der, now());
    match told {
        Ok(brought) => {
            assert_eq!((brought.serial, brought.validity), (content.serial, content.validity));
            Vec::new()
        }
        Err(reasons) => reasons.into_iter().map(|reason| reason.sentence).collect(),
    }
}

#[test]
fn an_intermediate_that_says_what_the_policy_would_have_had_signed_is_taken() {
    let taken = Vec::<String>::new();
    assert_eq!(judge(None, &ROOT_KEY, |_| {}), taken);
    assert_eq!(judge(None, &ROOT_KEY, |content| content.serial = Serial::from_stored(&[5]).unwrap()), taken);
    assert_eq!(judge(None, &ROOT_KEY, |content| content.extensions.reverse()), taken, "their order means nothing");
    assert_eq!(judge(Some(Span::from_days(1)), &ROOT_KEY, |_| {}), taken);
}

#[test]
fn an_intermediate_that_says_anything_else_is_refused() {
    let taken = Vec::<String>::new();
    let differs = |field: &str| vec![format!("it differs in {field} from what this policy would have had signed")];
    assert_eq!(judge(None, &OTHER_KEY, |_| {}), ["it is not signed by the root of this authority"]);
    let subject = |content: &mut CertificateContent| content.subject = DistinguishedName::common_name("CB");
    assert_eq!(judge(None, &ROOT_KEY, subject), differs("subject"));
    assert_eq!(judge(None, &ROOT_KEY, |content| drop(content.extensions.pop())), differs("the number of extensions"));
    let other_epoch = |content: &mut CertificateContent| {
        *content.extensions.last_mut().unwrap() = Extension::EpochBinding(EpochBinding { generation: 5, ..EPOCH });
    };
    assert_eq!(judge(None, &ROOT_KEY, other_epoch), differs("the value of an extension"));
    let valid = |from: UnixTime, until: UnixTime| {
        let validity = Interval { not_before: from, not_after: until };
        judge(None, &ROOT_KEY, |content| content.validity = validity)
    };
    let outside = |from: &str, until: &str| {
        vec![format!("it is valid from {from} to {until}: not now, or outside the root's validity")]
    };
    assert_eq!(valid(now(), days(30)), taken);
    assert_eq!(valid(now(), days(1)), taken, "shorter is no harm");
    let hour = Span::from_secs(3_600);
    assert_eq!(valid(now(), days(30).after(hour)), taken, "an hour may be lost to backdating");
    let longer = "it lives longer than 2592000 seconds, which is the most for this epoch";
    assert_eq!(valid(now(), days(30).after(hour).after(Span::from_secs(1))), [longer]);
    let later = now().after(Span::from_secs(1));
    assert_eq!(valid(later, days(30)), outside("2026-07-01T00:00:01Z", "2026-07-31T00:00:00Z"));
    let earlier = now().before(Span::from_secs(1));
    assert_eq!(valid(earlier, days(30)), outside("2026-06-30T23:59:59Z", "2026-07-31T00:00:00Z"), "before its root");
}

#[test]
fn an_intermediate_longer_than_the_epochs_of_the_policy_was_never_asked_for() {
    let der = root_with(|_| {}, |_| {});
    let lifetime = Some(Span::from_days(31));
    let told = offline::intermediate(&POLICY, "a", &root(), (EPOCH, lifetime), &EPOCH_KEY, &der, now()).unwrap_err();
    assert_eq!(told[0].code.as_str(), "LIFETIME_TOO_LONG");
}
