//! What stands on a CRL, until when it holds, and which are not made.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends by panicking"
)]

use std::sync::LazyLock;

use hallmark_policy::{
    Approved, Bounds, CrlIssuer, CrlRequest, Decision, EpochId, Issuer, Numbering, Policy, PreviousCrl, ReasonCode,
    Revocation, Stage,
    authority::Root,
    content::{Content, EpochBinding, Serial},
    crl::{CRL_ENTRIES_MAX, CrlContent, CrlScope, OnlyContains, RevocationReason},
    decide_crl, decide_request,
    key::{PublicKey, SignatureAlgorithm},
    name::DistinguishedName,
    time::{Interval, Span, UnixTime},
};
use proptest::prelude::*;
use rcgen::PublicKeyData as _;

const DAY: i64 = 86_400;

/// What all readers of JSON read alike (RFC 7493, section 2.2).
const CRL_NUMBER_MAX: u64 = (1 << 53) - 1;

static KEY: LazyLock<PublicKey> =
    LazyLock::new(|| PublicKey::parse(&rcgen::KeyPair::generate().unwrap().subject_public_key_info()).unwrap());

fn policy(crl: &str) -> Policy {
    let text = format!(
        "version = 1\n[authority.a]\n{crl}\n[authority.a.root]\ncommon-name = \"Root\"\nlifetime = \"3650d\"\n\
         key = \"ecdsa-p256\"\n[authority.a.epoch]\ncommon-name = \"Epoch\"\nlifetime = \"365d\"\nkey = \"ecdsa-p256\"\n"
    );
    Policy::parse(&text).unwrap_or_else(|error| panic!("{error}"))
}

const WEEKLY: &str = "crl = { lifetime = \"7d\", refresh = \"1d\" }";

fn at(secs: i64) -> UnixTime {
    UnixTime::from_secs(1_800_000_000 + secs)
}

static EPOCH: LazyLock<Issuer> = LazyLock::new(|| Issuer {
    authority: "a".to_owned(),
    epoch: EpochId { generation: 4, transition: [7; 32] },
    subject: DistinguishedName::common_name("Epoch"),
    key: KEY.clone(),
    algorithm: SignatureAlgorithm::EcdsaSha256,
    validity: Interval { not_before: at(0), not_after: at(365 * DAY) },
    bounds: Bounds::default(),
    manifest: None,
});

fn serial(number: u32) -> Serial {
    let mut random = [0; 16];
    random[12..].copy_from_slice(&number.to_be_bytes());
    Serial::from_random(random)
}

fn revoked(number: u32, log_index: u64, not_after: i64) -> Revocation {
    let reason = RevocationReason::KeyCompromise;
    Revocation { serial: serial(number), at: at(0), reason, not_after: at(not_after), log_index }
}

fn request<'a>(issuer: &'a Issuer, revocations: Vec<Revocation>) -> CrlRequest<'a> {
    let newest_revocation = revocations.iter().map(|revocation| revocation.log_index).max();
    let issuer = CrlIssuer::Epoch(issuer);
    CrlRequest {
        issuer,
        scope: CrlScope::Complete,
        after: 0,
        published: None,
        revocations,
        newest_revocation,
        previous: None,
        reaching: None,
    }
}

fn decide(policy: &Policy, request: CrlRequest<'_>, now: UnixTime) -> Result<Approved, Vec<ReasonCode>> {
    match decide_crl(policy, "a", request, now) {
        Decision::Approve(approved) => Ok(*approved),
        Decision::Refuse(reasons) => Err(reasons.into_iter().map(|reason| reason.code).collect()),
    }
}

fn crl(approved: &Approved) -> &CrlContent {
    match approved.content() {
        Content::Crl(crl) => crl,
        Content::Certificate(_) | Content::Request(_) => panic!("no CRL"),
    }
}

fn numbers(crl: &CrlContent) -> Vec<u32> {
    let number = |serial: Serial| u32::from_be_bytes(serial.as_bytes()[13..].try_into().unwrap());
    crl.revoked.iter().map(|entry| number(entry.serial)).collect()
}

#[test]
fn an_authority_without_crls_signs_none() {
    assert_eq!(decide(&policy(""), request(&EPOCH, Vec::new()), at(1)).unwrap_err(), [ReasonCode::CrlNotConfigured]);
    let unknown = decide_crl(&policy(WEEKLY), "b", request(&EPOCH, Vec::new()), at(1));
    assert!(matches!(unknown, Decision::Refuse(reasons) if reasons[0].code == ReasonCode::AuthorityUnknown));
}

#[test]
fn entries_stand_by_serial_number_and_the_conditions_name_number_and_newest_revocation() {
    let revocations = vec![revoked(7, 30, DAY), revoked(1, 31, DAY), revoked(3, 29, DAY)];
    let approved = decide(&policy(WEEKLY), CrlRequest { after: 8, ..request(&EPOCH, revocations) }, at(1)).unwrap();
    assert_eq!(numbers(crl(&approved)), [1, 3, 7]);
    let conditions = approved.conditions();
    assert_eq!(
        conditions.numbering,
        Numbering::Crl { number: 9, after: 8, scope: CrlScope::Complete, newest_revocation: Some(31) }
    );
    assert_eq!(conditions.stage, Stage::Crl { epoch: Some(EPOCH.epoch) });
    assert_eq!((conditions.request.id.as_str(), conditions.request.caller.as_str()), ("crl-epoch-4-9", "signer"));
    assert_eq!((crl(&approved).this_update, crl(&approved).next_update), (at(1), at(1 + 7 * DAY)));
    assert_eq!(crl(&approved).distribution_point, None);
    assert_eq!(crl(&approved).issuer, EPOCH.subject);
    assert_eq!((crl(&approved).number, crl(&approved).authority_key_identifier), (9, KEY.key_identifier()));
    assert_eq!((conditions.issuer, conditions.not_after), (KEY.digest(), at(1 + 7 * DAY)));
    let facts = approved.facts();
    assert_eq!((facts.method.as_str(), facts.authority.as_str(), facts.caller.as_str()), ("SignCrl", "a", "signer"));
    assert_eq!((facts.request_id.as_str(), facts.names.as_slice()), ("crl-epoch-4-9", &["CN = Epoch".to_owned()][..]));
}

#[test]
fn a_certificate_that_has_ended_stands_on_one_more_crl_and_then_no_longer() {
    let ended = vec![revoked(1, 10, DAY)];
    let crl_at = |now: i64, previous| {
        let request = CrlRequest { previous, ..request(&EPOCH, ended.clone()) };
        decide(&policy(WEEKLY), request, at(now)).map(|approved| numbers(crl(&approved)))
    };
    let before = |secs: i64| Some(PreviousCrl { this_update: at(secs), newest_revocation: Some(10) });
    assert_eq!(crl_at(DAY + 1, None), Ok(vec![1]), "no CRL has listed it");
    assert_eq!(crl_at(DAY + 1, before(DAY - 1)), Ok(vec![1]), "the CRL before was made while it held");
    assert_eq!(crl_at(DAY + 1, before(DAY)), Ok(vec![1]), "and in its last second");
    assert_eq!(crl_at(DAY + 2, before(DAY + 1)), Ok(vec![]), "the CRL before was made after its end, and listed it");
    let not_listed = Some(PreviousCrl { this_update: at(DAY + 1), newest_revocation: Some(9) });
    assert_eq!(crl_at(DAY + 2, not_listed), Ok(vec![1]), "the CRL before did not know of it");
    let none_listed = Some(PreviousCrl { this_update: at(DAY + 1), newest_revocation: None });
    assert_eq!(crl_at(DAY + 2, none_listed), Ok(vec![1]));
}

#[test]
fn a_last_crl_reaches_past_everything_that_its_key_signed_and_no_further() {
    let reaching = |secs| {
        let request = CrlRequest { reaching: Some(at(secs)), ..request(&EPOCH, Vec::new()) };
        decide(&policy(WEEKLY), request, at(1)).map(|approved| crl(&approved).next_update)
    };
    assert_eq!(reaching(30 * DAY), Ok(at(30 * DAY)));
    assert_eq!(reaching(DAY), Ok(at(1 + 7 * DAY)), "the policy's lifetime is the least");
    assert_eq!(reaching(366 * DAY), Ok(at(366 * DAY)));
    assert_eq!(reaching(366 * DAY + 1), Err(vec![ReasonCode::FieldOutOfLimits]));
}

#[test]
fn an_issuer_signs_no_crl_before_its_time_or_after_it() {
    for now in [-1, 365 * DAY + 1] {
        let decided = decide(&policy(WEEKLY), request(&EPOCH, Vec::new()), at(now));
        assert_eq!(decided.unwrap_err(), [ReasonCode::LifetimeBeyondIssuer]);
    }
    for after in [CRL_NUMBER_MAX, u64::MAX] {
        let request = CrlRequest { after, ..request(&EPOCH, Vec::new()) };
        assert_eq!(decide(&policy(WEEKLY), request, at(1)).unwrap_err(), [ReasonCode::FieldOutOfLimits]);
    }
    for (after, now) in [(CRL_NUMBER_MAX - 1, 1), (0, 0), (0, 365 * DAY)] {
        assert!(decide(&policy(WEEKLY), CrlRequest { after, ..request(&EPOCH, Vec::new()) }, at(now)).is_ok());
    }
}

#[test]
fn a_serial_number_twice_and_more_entries_than_a_crl_takes_are_refused() {
    let twice = vec![revoked(1, 1, DAY), revoked(2, 2, DAY), revoked(1, 3, DAY)];
    assert_eq!(decide(&policy(WEEKLY), request(&EPOCH, twice), at(1)).unwrap_err(), [ReasonCode::Duplicate]);
    let many = |count: usize| (0..u32::try_from(count).unwrap()).map(|number| revoked(number, 1, DAY)).collect();
    assert!(decide(&policy(WEEKLY), request(&EPOCH, many(CRL_ENTRIES_MAX)), at(1)).is_ok());
    let decided = decide(&policy(WEEKLY), request(&EPOCH, many(CRL_ENTRIES_MAX + 1)), at(1));
    assert_eq!(decided.unwrap_err(), [ReasonCode::CrlTooLarge]);
}

#[test]
fn the_longest_crl_has_room_for_all_its_entries() {
    use hallmark_policy::crl::CRL_BYTES_MAX;
    // A serial number of 20 octets, a time, a reason, and what is around them.
    let entry = 2 + (2 + 20) + (2 + 15) + (2 + 2 + 5 + 5);
    assert!(CRL_ENTRIES_MAX * entry + 8_192 <= CRL_BYTES_MAX);
}

#[test]
fn a_distribution_point_says_what_the_crl_is_about_and_where_it_is() {
    let declared = "crl = { lifetime = \"7d\", refresh = \"1d\", distribution-point = true, \
                    root-urls = [\"http://crl.test/root.crl\"] }\n\
                    crl-urls = [\"http://crl.test/epoch-{generation}.crl\"]";
    let policy = policy(declared);
    let of_epoch = decide(&policy, request(&EPOCH, Vec::new()), at(1)).unwrap();
    let point = crl(&of_epoch).distribution_point.clone().unwrap();
    assert_eq!((point.only, point.urls[0].as_str()), (OnlyContains::UserCerts, "http://crl.test/epoch-4.crl"));
    let Issuer { subject, key, algorithm, validity, .. } = EPOCH.clone();
    let root = Root { key_identifier: key.key_identifier(), subject, key, algorithm, validity };
    let request = CrlRequest { issuer: CrlIssuer::Root(&root), ..request(&EPOCH, Vec::new()) };
    let of_root = decide(&policy, request, at(1)).unwrap();
    let point = crl(&of_root).distribution_point.clone().unwrap();
    assert_eq!((point.only, point.urls.len()), (OnlyContains::CaCerts, 0));
    assert_eq!(of_root.conditions().stage, Stage::Crl { epoch: None });
    assert_eq!(of_root.conditions().request.id, "crl-root-1");
}

const PARTITIONED: &str = "crl = { lifetime = \"7d\", refresh = \"1d\", partitions = 3 }\n\
                           crl-urls = [\"http://crl.test/epoch-{generation}-{partition}.crl\"]";

#[test]
fn the_crl_of_a_partition_says_so_and_the_complete_one_beside_it_names_no_place() {
    let policy = policy(PARTITIONED);
    let of = |scope| {
        let approved = decide(&policy, CrlRequest { scope, ..request(&EPOCH, Vec::new()) }, at(1)).unwrap();
        let numbering = approved.conditions().numbering;
        assert_eq!(numbering, Numbering::Crl { number: 1, after: 0, scope, newest_revocation: None });
        crl(&approved).distribution_point.clone()
    };
    let point = of(CrlScope::numbered(2)).unwrap();
    assert_eq!((point.only, point.urls[0].as_str()), (OnlyContains::UserCerts, "http://crl.test/epoch-4-2.crl"));
    assert_eq!(point.urls.len(), 1);
    assert_eq!(of(CrlScope::Complete), None);
}

#[test]
fn a_partition_has_no_crl_where_its_leaves_would_not_find_it_and_a_root_has_no_partitions() {
    let scope = CrlScope::numbered(2);
    let nowhere =
        policy("crl = { lifetime = \"7d\", refresh = \"1d\" }\ncrl-urls = [\"http://crl.test/{generation}\"]");
    let decided = decide(&nowhere, CrlRequest { scope, ..request(&EPOCH, Vec::new()) }, at(1));
    assert_eq!(decided.unwrap_err(), [ReasonCode::CrlNotConfigured]);
    let Issuer { subject, key, algorithm, validity, .. } = EPOCH.clone();
    let root = Root { key_identifier: key.key_identifier(), subject, key, algorithm, validity };
    let request = CrlRequest { issuer: CrlIssuer::Root(&root), scope, ..request(&EPOCH, Vec::new()) };
    assert_eq!(decide(&policy(PARTITIONED), request, at(1)).unwrap_err(), [ReasonCode::CrlNotConfigured]);
}

#[test]
fn a_crl_that_is_published_and_that_the_ledger_lost_is_numbered_after_it() {
    let number = |after, published| {
        let request = CrlRequest { after, published, ..request(&EPOCH, Vec::new()) };
        decide(&policy(WEEKLY), request, at(1)).unwrap().conditions().numbering
    };
    let numbering =
        |number, after| Numbering::Crl { number, after, scope: CrlScope::Complete, newest_revocation: None };
    assert_eq!(number(3, Some(9)), numbering(10, 3));
    assert_eq!(number(3, Some(2)), numbering(4, 3));
    assert_eq!(number(3, None), numbering(4, 3));
}

#[test]
fn a_certification_request_of_a_key_that_the_policy_does_not_want_is_refused() {
    let epoch = EpochBinding { generation: 1, manifest: [1; 32], transition: [2; 32] };
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let other = PublicKey::parse(&other.subject_public_key_info()).unwrap();
    let Decision::Refuse(reasons) = decide_request(&policy(""), "a", epoch, &other) else { panic!("approved") };
    assert_eq!(reasons[0].code, ReasonCode::KeyNotAllowed);
    let Decision::Approve(approved) = decide_request(&policy(""), "a", epoch, &KEY) else { panic!("refused") };
    let epoch = EpochId { generation: 1, transition: [2; 32] };
    assert_eq!(approved.conditions().stage, Stage::Request { epoch });
    assert_eq!(approved.conditions().issuer, KEY.digest(), "it is signed with its own key");
}

proptest! {
    #[test]
    fn whatever_has_not_ended_stands_on_the_crl(ends in prop::collection::vec(-5..5_i64, 0..40), listed in 0..40_u64, gap in 0..5_i64) {
        let now = 10 * DAY;
        let revocations: Vec<_> =
            ends.iter().zip(0_u32..).map(|(end, number)| revoked(number, number.into(), now + end * DAY)).collect();
        let previous = PreviousCrl { this_update: at(now - gap * DAY), newest_revocation: Some(listed) };
        let request = CrlRequest { previous: Some(previous), ..request(&EPOCH, revocations.clone()) };
        let approved = decide(&policy(WEEKLY), request, at(now)).unwrap();
        let on_it = numbers(crl(&approved));
        prop_assert!(on_it.is_sorted_by(|one, next| one < next));
        for (revocation, number) in revocations.iter().zip(0_u32..) {
            let over = revocation.not_after < previous.this_update && revocation.log_index <= listed;
            prop_assert_eq!(on_it.contains(&number), !over);
            prop_assert!(on_it.contains(&number) || revocation.not_after < at(now));
        }
    }
}

#[test]
fn spans_of_a_policy_are_what_was_typed() {
    let policy = policy("crl = { lifetime = \"90d\", refresh = \"45d\" }");
    let crl = policy.authority("a").unwrap().crl.clone().unwrap();
    assert_eq!((crl.lifetime, crl.refresh, crl.distribution_point), (Span::from_days(90), Span::from_days(45), false));
}
