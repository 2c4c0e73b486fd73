//! What the encoder writes, policy's decoder reads back as approved, for every kind of key and certificate; and anything else it refuses.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends by panicking")]

use hallmark_issuance::draft;
use hallmark_policy::{
    Approved, Bounds, Caller, Decision, EpochId, Issuer, NameInput, Policy, Request, RequestInput, SubjectInput,
    authority::{CaRequest, Root, decide_ca, statement_sha256, transition},
    content::{EpochBinding, Serial},
    decide, endorse,
    key::{KeyKind, PublicKey, SignatureAlgorithm},
    name::DistinguishedName,
    time::{Interval, Span, UnixTime},
};
use proptest::prelude::*;

fn now() -> UnixTime {
    UnixTime::from_secs(1_795_000_000)
}

fn policy() -> Policy {
    Policy::parse(include_str!("../../examples/policy.toml")).unwrap()
}

fn public_key(kind: KeyKind) -> PublicKey {
    hallmark_backends::stand_in(kind).unwrap()
}

/// rcgen's certificates are valid from 1975 to 4096, so any date of a test will do.
fn caller() -> Caller {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    let uri = "spiffe://hallmark.lab/coordinator".try_into().unwrap();
    parameters.subject_alt_names = vec![rcgen::SanType::URI(uri)];
    Caller::parse(parameters.self_signed(&key).unwrap().der()).unwrap()
}

fn issuer(key: PublicKey, algorithm: SignatureAlgorithm) -> Issuer {
    Issuer {
        authority: "athenz".to_owned(),
        epoch: EpochId { generation: 1, transition: [7; 32] },
        subject: policy().authority("athenz").unwrap().epoch.subject.clone(),
        key,
        algorithm,
        validity: Interval { not_before: now(), not_after: now().after(Span::from_days(365)) },
        bounds: Bounds::default(),
        manifest: None,
    }
}

fn approved_leaf(spki: &[u8], issuer: &Issuer, at: UnixTime) -> Approved {
    let input = RequestInput {
        authority: "athenz".to_owned(),
        profile: "mesh".to_owned(),
        request_id: "r-1".to_owned(),
        subject: SubjectInput::Spki {
            spki: spki.to_vec(),
            common_name: String::new(),
            names: vec![
                NameInput::Dns("cart.shop.mesh.internal".to_owned()),
                NameInput::Uri("spiffe://mesh.internal/ns/shop/sa/cart".to_owned()),
            ],
        },
        ..RequestInput::default()
    };
    let request = Request::parse(caller_once(), input).unwrap();
    match decide(&policy(), &request, issuer, at, Serial::from_random([0xab; 16])) {
        Decision::Approve(approved) => *approved,
        Decision::Refuse(reasons) => panic!("refused: {reasons:?}"),
    }
}

fn approved_ca(request: &CaRequest<'_>, key: &PublicKey) -> Approved {
    match decide_ca(&policy(), "athenz", request, key, now(), Serial::from_random([0xff; 16])) {
        Decision::Approve(approved) => *approved,
        Decision::Refuse(reasons) => panic!("refused: {reasons:?}"),
    }
}

#[test]
fn a_leaf_is_endorsed_under_every_kind_of_issuer_and_algorithm() {
    let subject = public_key(KeyKind::EcdsaP256);
    for algorithm in SignatureAlgorithm::ALL {
        let kind = KeyKind::ALL.into_iter().find(|kind| kind.signs_with(algorithm)).unwrap();
        let issuer = issuer(public_key(kind), algorithm);
        let approved = approved_leaf(subject.spki(), &issuer, now());
        let der = draft(&approved).unwrap().into_der();
        let warrant = endorse(approved, der.clone()).unwrap();
        assert_eq!(warrant.to_be_signed(), der, "{algorithm}");
    }
}

#[test]
fn a_leaf_is_endorsed_for_every_kind_of_subject_key_that_the_profile_takes() {
    let issuer = issuer(public_key(KeyKind::EcdsaP256), SignatureAlgorithm::EcdsaSha256);
    for kind in [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Ed25519] {
        let approved = approved_leaf(public_key(kind).spki(), &issuer, now());
        let der = draft(&approved).unwrap().into_der();
        assert!(endorse(approved, der).is_ok(), "{kind}");
    }
}

#[test]
fn root_intermediate_and_mesh_ca_are_endorsed() {
    let (root_key, epoch_key) = (public_key(KeyKind::EcdsaP256), public_key(KeyKind::EcdsaP256));
    let manifest = statement_sha256("athenz", 1);
    let epoch = EpochBinding { generation: u64::MAX, manifest, transition: transition(&manifest, &[0; 32]) };
    let root = Root {
        key_identifier: root_key.key_identifier(),
        subject: DistinguishedName::common_name("root"),
        key: root_key.clone(),
        algorithm: SignatureAlgorithm::EcdsaSha256,
        validity: Interval { not_before: now(), not_after: now().after(Span::from_days(3650)) },
    };
    let requests = [
        (CaRequest::Root, &root_key),
        (CaRequest::Intermediate { root: &root, epoch, lifetime: None }, &epoch_key),
        (CaRequest::MeshCa { root: &root, epoch, lifetime: None }, &epoch_key),
    ];
    for (request, key) in requests {
        let approved = approved_ca(&request, key);
        let der = draft(&approved).unwrap().into_der();
        assert!(endorse(approved, der).is_ok(), "{request:?}");
    }
}

#[test]
fn dates_from_2050_on_are_written_as_generalized_time_and_read_back() {
    let mut issuer = issuer(public_key(KeyKind::EcdsaP256), SignatureAlgorithm::EcdsaSha256);
    let spki = public_key(KeyKind::EcdsaP256);
    for secs in [2_524_608_000 - 86_400, 2_524_608_000 - 86_399, 2_524_608_000, 2_600_000_000, 951_782_400] {
        let at = UnixTime::from_secs(secs);
        issuer.validity =
            Interval { not_before: at.before(Span::from_days(1)), not_after: at.after(Span::from_days(9)) };
        let approved = approved_leaf(spki.spki(), &issuer, at);
        let der = draft(&approved).unwrap().into_der();
        assert!(endorse(approved, der).is_ok(), "{at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_draft_that_differs_in_any_byte_is_refused(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let key = fixed_key();
        let approved = approved_leaf(key.spki(), &issuer(key.clone(), SignatureAlgorithm::EcdsaSha256), now());
        let mut der = draft(&approved).unwrap().into_der();
        let at = at.index(der.len());
        der[at] ^= flip;
        prop_assert!(endorse(approved, der).is_err());
    }

    #[test]
    fn a_draft_with_bytes_added_or_dropped_is_refused(at in any::<prop::sample::Index>(), byte in any::<u8>(), drop in any::<bool>()) {
        let key = fixed_key();
        let approved = approved_leaf(key.spki(), &issuer(key.clone(), SignatureAlgorithm::EcdsaSha256), now());
        let mut der = draft(&approved).unwrap().into_der();
        let at = at.index(der.len() + usize::from(!drop));
        if drop { der.remove(at); } else { der.insert(at, byte); }
        prop_assert!(endorse(approved, der).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_no_draft_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = hallmark_policy::read_back(&bytes);
        let input = RequestInput {
            authority: "athenz".to_owned(),
            profile: "athenz-service".to_owned(),
            request_id: "r-1".to_owned(),
            subject: SubjectInput::Csr(bytes.clone()),
            ..RequestInput::default()
        };
        prop_assert!(Request::parse(caller_once(), input).is_err());
        prop_assert!(PublicKey::parse(&bytes).is_err());
        let _ = Caller::parse(&bytes);
        let _ = Policy::parse(&String::from_utf8_lossy(&bytes));
    }
}

fn fixed_key() -> PublicKey {
    static KEY: std::sync::OnceLock<PublicKey> = std::sync::OnceLock::new();
    KEY.get_or_init(|| public_key(KeyKind::EcdsaP256)).clone()
}

fn caller_once() -> Caller {
    static CALLER: std::sync::OnceLock<Caller> = std::sync::OnceLock::new();
    CALLER.get_or_init(caller).clone()
}
