//! CRLs and certification requests of epochs' keys: what the encoder writes, policy's decoder reads back as approved; and anything
//! else it refuses.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends by panicking")]

use std::sync::OnceLock;

use hallmark_issuance::draft;
use hallmark_policy::{
    Approved, Bounds, CrlIssuer, CrlRequest, Decision, EpochId, Issuer, Policy, Revocation, Warrant,
    authority::Root,
    content::{EpochBinding, Serial},
    crl::{CrlScope, RevocationReason},
    decide_crl, decide_request, endorse,
    key::{KeyKind, PublicKey, SignatureAlgorithm},
    name::DistinguishedName,
    time::{Interval, Span, UnixTime},
};
use proptest::prelude::*;

/// The example with CRLs, and constraints, so that a request asks for all that it can.
fn policy(distribution_point: bool) -> Policy {
    let crl = format!(
        "[authority.athenz]\ncrl = {{ lifetime = \"7d\", refresh = \"1d\", distribution-point = {distribution_point} }}\n\
         crl-urls = [\"http://crl.athenz.lab/epoch-{{generation}}.crl\"]\npolicies = [\"1.3.6.1.4.1.99999.1\"]\n\
         name-constraints = {{ permitted = {{ dns = [\"athenz.cloud\", \"mesh.internal\"], \
         uri = [\"instanceid\", \"mesh.internal\"], ip = [\"10.0.0.0/8\"] }} }}\n\n[authority.athenz.root]"
    );
    let example = include_str!("../../examples/policy.toml").replacen("[authority.athenz.root]", &crl, 1);
    Policy::parse(&example).unwrap()
}

fn now() -> UnixTime {
    UnixTime::from_secs(1_795_000_000)
}

fn validity() -> Interval {
    Interval { not_before: now(), not_after: now().after(Span::from_days(3650)) }
}

fn public_key(kind: KeyKind) -> PublicKey {
    hallmark_backends::stand_in(kind).unwrap()
}

fn fixed_key() -> PublicKey {
    static KEY: OnceLock<PublicKey> = OnceLock::new();
    KEY.get_or_init(|| public_key(KeyKind::EcdsaP256)).clone()
}

fn epoch(key: PublicKey, algorithm: SignatureAlgorithm) -> Issuer {
    Issuer {
        authority: "athenz".to_owned(),
        epoch: EpochId { generation: 3, transition: [7; 32] },
        subject: DistinguishedName::common_name("Epoch"),
        key,
        algorithm,
        validity: validity(),
        bounds: Bounds::default(),
        manifest: None,
    }
}

fn revocation(number: u8, reason: RevocationReason, at: UnixTime) -> Revocation {
    let not_after = now().after(Span::from_days(20));
    Revocation { serial: Serial::from_random([number; 16]), at, reason, not_after, log_index: number.into() }
}

/// One for each reason, in an order that is not that of the serial numbers.
fn revocations() -> Vec<Revocation> {
    let each = RevocationReason::ALL.into_iter().zip(0_u8..);
    each.map(|(reason, number)| revocation(0xa5 ^ number.wrapping_mul(37), reason, now())).collect()
}

fn approved_crl(
    policy: &Policy,
    issuer: CrlIssuer<'_>,
    number: u64,
    revocations: Vec<Revocation>,
    at: UnixTime,
) -> Approved {
    let newest_revocation = revocations.iter().map(|revocation| revocation.log_index).max();
    let request = CrlRequest {
        issuer,
        scope: CrlScope::Complete,
        after: number - 1,
        published: None,
        revocations,
        newest_revocation,
        previous: None,
        reaching: None,
    };
    approved(decide_crl(policy, "athenz", request, at))
}

fn approved_request(key: &PublicKey) -> Approved {
    let epoch = EpochBinding { generation: 3, manifest: [5; 32], transition: [7; 32] };
    approved(decide_request(&policy(false), "athenz", epoch, key))
}

fn approved(decision: Decision) -> Approved {
    match decision {
        Decision::Approve(approved) => *approved,
        Decision::Refuse(reasons) => panic!("refused: {reasons:?}"),
    }
}

fn endorsed(approved: Approved) -> Warrant {
    let der = draft(&approved).unwrap().into_der();
    let warrant = endorse(approved, der.clone()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(warrant.to_be_signed(), der);
    warrant
}

#[test]
fn a_crl_is_endorsed_under_every_kind_of_issuer_and_algorithm() {
    for algorithm in SignatureAlgorithm::ALL {
        let kind = KeyKind::ALL.into_iter().find(|kind| kind.signs_with(algorithm)).unwrap();
        let issuer = epoch(public_key(kind), algorithm);
        endorsed(approved_crl(&policy(false), CrlIssuer::Epoch(&issuer), 1, revocations(), now()));
    }
}

#[test]
fn a_crl_is_endorsed_without_entries_with_either_distribution_point_and_with_every_number() {
    let issuer = epoch(fixed_key(), SignatureAlgorithm::EcdsaSha256);
    let root = Root {
        key_identifier: fixed_key().key_identifier(),
        subject: DistinguishedName::common_name("Root"),
        key: fixed_key(),
        algorithm: SignatureAlgorithm::EcdsaSha256,
        validity: validity(),
    };
    for number in [1, 127, 128, 255, 256, 65_535, 9_007_199_254_740_991] {
        for distribution_point in [false, true] {
            for issuer in [CrlIssuer::Epoch(&issuer), CrlIssuer::Root(&root)] {
                for revocations in [Vec::new(), revocations()] {
                    endorsed(approved_crl(&policy(distribution_point), issuer, number, revocations, now()));
                }
            }
        }
    }
}

#[test]
fn dates_from_2050_on_are_written_as_generalized_time_in_crls_too() {
    let issuer = epoch(fixed_key(), SignatureAlgorithm::EcdsaSha256);
    for secs in [2_524_607_999 - 7 * 86_400, 2_524_607_999, 2_524_608_000] {
        let at = UnixTime::from_secs(secs);
        let issuer =
            Issuer { validity: Interval { not_before: at, not_after: at.after(Span::from_days(1)) }, ..issuer.clone() };
        let revocations = vec![revocation(1, RevocationReason::KeyCompromise, at)];
        endorsed(approved_crl(&policy(false), CrlIssuer::Epoch(&issuer), 1, revocations, at));
    }
}

#[test]
fn a_certification_request_is_endorsed_and_asks_for_what_the_policy_would_give() {
    let der = endorsed(approved_request(&fixed_key())).to_be_signed().to_vec();
    let has = |value: &[u8]| der.windows(value.len()).any(|window| window == value);
    assert!(has(b"\x06\x03\x55\x1d\x13\x01\x01\xff\x04\x08\x30\x06\x01\x01\xff\x02\x01\x00"), "basicConstraints");
    assert!(has(b"\x06\x03\x55\x1d\x0f\x01\x01\xff\x04\x04\x03\x02\x01\x06"), "keyUsage");
    assert!(has(&fixed_key().key_identifier()), "subjectKeyIdentifier");
    assert!(has(b"\x06\x03\x55\x1d\x1e\x01\x01\xff"), "nameConstraints");
    assert!(has(&[7; 32]), "the epoch binding");
    assert!(!has(b"\x06\x03\x55\x1d\x23"), "the authorityKeyIdentifier is the issuer's to say");
}

/// A draft of something else that is approved just as well.
#[test]
fn a_draft_of_another_content_is_refused_by_the_field_that_differs() {
    let issuer = epoch(fixed_key(), SignatureAlgorithm::EcdsaSha256);
    let of = |policy: &Policy, number, revocations, at| {
        draft(&approved_crl(policy, CrlIssuer::Epoch(&issuer), number, revocations, at)).unwrap().into_der()
    };
    let without = || revocations().into_iter().skip(1).collect::<Vec<_>>();
    let other = |change: fn(&mut Revocation)| {
        let mut revocations = revocations();
        change(&mut revocations[1]);
        revocations
    };
    let later = now().after(Span::from_secs(1));
    let elsewhere = Issuer { subject: DistinguishedName::common_name("Elsewhere"), ..issuer.clone() };
    let others_key = epoch(public_key(KeyKind::EcdsaP256), SignatureAlgorithm::EcdsaSha256);
    let drafts = [
        (of(&policy(false), 2, revocations(), now()), "the value of an extension"),
        (of(&policy(true), 1, revocations(), now()), "the number of extensions"),
        (of(&policy(false), 1, revocations(), later), "thisUpdate"),
        (of(&policy(false), 1, without(), now()), "the number of revokedCertificates"),
        (of(&policy(false), 1, other(|it| it.serial = Serial::from_random([0; 16])), now()), "userCertificate"),
        (of(&policy(false), 1, other(|it| it.at = UnixTime::from_secs(1)), now()), "revocationDate"),
        (
            of(&policy(false), 1, other(|it| it.reason = RevocationReason::Superseded), now()),
            "the value of an extension",
        ),
        (
            of(&policy(false), 1, other(|it| it.reason = RevocationReason::Unspecified), now()),
            "the number of extensions",
        ),
        (
            draft(&approved_crl(&policy(false), CrlIssuer::Epoch(&elsewhere), 1, revocations(), now()))
                .unwrap()
                .into_der(),
            "issuer",
        ),
        (
            draft(&approved_crl(&policy(false), CrlIssuer::Epoch(&others_key), 1, revocations(), now()))
                .unwrap()
                .into_der(),
            "the value of an extension",
        ),
        (draft(&approved_request(&fixed_key())).unwrap().into_der(), "its syntax"),
    ];
    for (der, field) in drafts {
        let approved = approved_crl(&policy(false), CrlIssuer::Epoch(&issuer), 1, revocations(), now());
        assert_eq!(endorse(approved, der).unwrap_err().field, field);
    }
    let other_key = draft(&approved_request(&public_key(KeyKind::EcdsaP256))).unwrap().into_der();
    assert_eq!(endorse(approved_request(&fixed_key()), other_key).unwrap_err().field, "subjectPKInfo");
}

/// Well-formed DER that says something which was never approved.
#[test]
fn what_could_be_slipped_into_a_crl_is_refused() {
    let issuer = epoch(fixed_key(), SignatureAlgorithm::EcdsaSha256);
    let approved = || {
        let one = vec![revocation(9, RevocationReason::KeyCompromise, now())];
        approved_crl(&policy(false), CrlIssuer::Epoch(&issuer), 1, one, now())
    };
    let der = draft(&approved()).unwrap().into_der();
    let reason = b"\x30\x0a\x06\x03\x55\x1d\x15\x04\x03\x0a\x01\x01";
    let number = b"\x30\x0a\x06\x03\x55\x1d\x14\x04\x03\x02\x01\x01";
    let replaced = |from: &[u8], to: &[u8]| {
        let at = der.windows(from.len()).position(|window| window == from).unwrap();
        [&der[..at], to, &der[at + from.len()..]].concat()
    };
    let same_length = [
        (replaced(reason, b"\x30\x0a\x06\x03\x55\x1d\x15\x04\x03\x0a\x01\x08"), "removeFromCRL"),
        (replaced(reason, b"\x30\x0a\x06\x03\x55\x1d\x15\x04\x03\x0a\x01\x06"), "certificateHold"),
        (
            replaced(reason, b"\x30\x0a\x06\x03\x55\x1d\x15\x04\x03\x0a\x01\x00"),
            "an unspecified reason that is written",
        ),
        (replaced(reason, b"\x30\x0a\x06\x03\x55\x1d\x18\x04\x03\x0a\x01\x01"), "invalidityDate"),
        (replaced(number, b"\x30\x0a\x06\x03\x55\x1d\x1b\x04\x03\x02\x01\x01"), "deltaCRLIndicator"),
        (replaced(number, b"\x30\x0a\x06\x03\x55\x1d\x14\x04\x03\x02\x01\x81"), "a negative number"),
        (
            replaced(
                b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02",
                b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04",
            ),
            "SHA-512",
        ),
        (replaced(b"\x02\x01\x01\x30\x0a", b"\x02\x01\x00\x30\x0a"), "version 1"),
        (replaced(b"\x02\x01\x01\x30\x0a", b"\x02\x01\x02\x30\x0a"), "version 3"),
    ];
    for (changed, what) in same_length {
        assert_ne!(changed, der, "{what}");
        assert!(endorse(approved(), changed).is_err(), "{what}");
    }
    assert!(endorse(approved(), der).is_ok());
}

#[test]
fn a_crl_without_entries_has_no_empty_list() {
    let issuer = epoch(fixed_key(), SignatureAlgorithm::Ed25519);
    let approved = || approved_crl(&policy(false), CrlIssuer::Epoch(&issuer), 1, Vec::new(), now());
    let der = draft(&approved()).unwrap().into_der();
    let at = der.windows(2).rposition(|window| window[0] == 0xa0).unwrap();
    let mut with_list = [&der[..at], &b"\x30\x00"[..], &der[at..]].concat();
    assert!(der[1] < 0x7e, "a short length");
    with_list[1] += 2;
    assert!(endorse(approved(), with_list).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_crl_that_differs_in_any_byte_is_refused(at in any::<prop::sample::Index>(), flip in 1_u8.., point: bool) {
        let issuer = epoch(fixed_key(), SignatureAlgorithm::EcdsaSha256);
        let approved = approved_crl(&policy(point), CrlIssuer::Epoch(&issuer), 300, revocations(), now());
        let mut der = draft(&approved).unwrap().into_der();
        let at = at.index(der.len());
        der[at] ^= flip;
        prop_assert!(endorse(approved, der).is_err());
    }

    #[test]
    fn a_crl_with_bytes_added_or_dropped_is_refused(at in any::<prop::sample::Index>(), byte: u8, drop: bool) {
        let issuer = epoch(fixed_key(), SignatureAlgorithm::EcdsaSha256);
        let approved = approved_crl(&policy(true), CrlIssuer::Epoch(&issuer), 300, revocations(), now());
        let mut der = draft(&approved).unwrap().into_der();
        let at = at.index(der.len() + usize::from(!drop));
        if drop { der.remove(at); } else { der.insert(at, byte); }
        prop_assert!(endorse(approved, der).is_err());
    }

    #[test]
    fn a_request_that_differs_in_any_byte_is_refused(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let approved = approved_request(&fixed_key());
        let mut der = draft(&approved).unwrap().into_der();
        let at = at.index(der.len());
        der[at] ^= flip;
        prop_assert!(endorse(approved, der).is_err());
    }

    #[test]
    fn a_request_with_bytes_added_or_dropped_is_refused(at in any::<prop::sample::Index>(), byte: u8, drop: bool) {
        let approved = approved_request(&fixed_key());
        let mut der = draft(&approved).unwrap().into_der();
        let at = at.index(der.len() + usize::from(!drop));
        if drop { der.remove(at); } else { der.insert(at, byte); }
        prop_assert!(endorse(approved, der).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_no_crl_no_request_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let issuer = epoch(fixed_key(), SignatureAlgorithm::EcdsaSha256);
        let crl = approved_crl(&policy(false), CrlIssuer::Epoch(&issuer), 1, revocations(), now());
        prop_assert!(endorse(crl, bytes.clone()).is_err());
        prop_assert!(endorse(approved_request(&fixed_key()), bytes.clone()).is_err());
        let _ = (hallmark_policy::read_back_crl(&bytes), hallmark_policy::read_back_request(&bytes));
    }
}
