//! Whatever is asked, the entry about it fits, has one spelling, and reads back.

use hallmark_entry::{Decision, ENTRY_BYTES_MAX, Outcome, Summary, Value, Warranted, is_canonical, schema};
use hallmark_policy::{
    Conditions, EpochId, Facts, Numbering, Policy, Reason, ReasonCode, RequestIdentity, Stage,
    caller::Identity,
    content::{CertificateContent, Content, Serial},
    crl::CrlScope,
    evidence::{EvidenceFacts, VerifiedBy},
    instance::{InstanceFacts, InstanceName},
    key::{PublicKey, SignatureAlgorithm, SpkiDigest},
    limits::Limits,
    name::{DistinguishedName, NameAttribute},
    time::{Interval, UnixTime},
};
use proptest::{collection::vec, prelude::*};

/// Texts with control characters, long ones among them.
fn text() -> impl Strategy<Value = String> {
    let letters = prop_oneof![Just('\0'), Just('\u{1f}'), Just('"'), Just('\\'), Just('😀'), any::<char>()];
    (vec(letters, 0..40), prop_oneof![Just(1_usize), Just(1), Just(100), Just(2_000)])
        .prop_map(|(letters, times)| letters.into_iter().collect::<String>().repeat(times))
}

fn reason() -> impl Strategy<Value = Reason> {
    (text(), proptest::option::of(text())).prop_map(|(sentence, allowed)| Reason {
        code: ReasonCode::NameOutsideFormat,
        field: "csr.extensions",
        sentence,
        allowed,
    })
}

fn facts() -> impl Strategy<Value = Facts> {
    (text(), text(), text(), text(), text(), vec(text(), 0..200), vec(text(), 0..100)).prop_map(
        |(method, authority, caller, profile, request_id, names, identities)| Facts {
            method,
            authority,
            caller,
            profile,
            request_id,
            names,
            identities: identities.into_iter().map(Identity::Uri).collect(),
            certificate_sha256: Some([1; 32]),
            manifest_sha256: Some([7; 32]),
            spki: Some(SpkiDigest::from_bytes([2; 32])),
            possession: "csr",
            policy_hash: Some([5; 32]),
            evidence_sha256: Some([3; 32]),
            evidence: Some(EvidenceFacts {
                jwt: vec![5; 100],
                verified_by: Some(VerifiedBy { kid: "k".repeat(2_000), spki: SpkiDigest::from_bytes([6; 32]) }),
            }),
            instance: Some(InstanceFacts {
                intent: "refresh",
                name: Some(InstanceName {
                    provider: "p".repeat(2_000),
                    id: "i".repeat(2_000),
                    service: "s".repeat(2_000),
                }),
                presented: Some(Serial::from_random([8; 16])),
                proven: true,
            }),
            request: vec![4; 100],
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_refusal_whatever_fits_an_entry(facts in facts(), reasons in vec(reason(), 1..60), at in any::<i64>()) {
        let policy = Policy::parse("version = 1").unwrap().digest();
        let outcome = Outcome::Refused { reasons: &reasons };
        let entry = Decision { outcome, policy: Some(policy), facts: &facts, warranted: None }.into_entry(at);
        prop_assert!(entry.len() <= ENTRY_BYTES_MAX, "{}", entry.len());
        prop_assert!(is_canonical(&entry));
        let summary = Summary::parse(&entry).unwrap();
        prop_assert_eq!(summary.kind, "decision");
        prop_assert_eq!(summary.decision.as_deref(), Some("refused"));
        prop_assert!(!summary.reasons.known().is_empty() && summary.reasons.known().len() <= 32);
        prop_assert!(!entry.windows(14).any(|window| window == b"omitted-sha256"), "the bounds add up");
    }
}

/// An Ed25519 key: the point whose coordinate y is 4/5 (RFC 8032, section 5.1), in its SubjectPublicKeyInfo.
#[cfg(test)]
fn key() -> PublicKey {
    const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    PublicKey::parse(&[&PREFIX[..], &[0x58], &[0x66; 31]].concat()).unwrap()
}

/// A name of many attributes, none of which policy would let pass.
fn subject() -> impl Strategy<Value = DistinguishedName> {
    vec(text(), 0..40).prop_map(|values| {
        DistinguishedName::new(values.into_iter().map(|value| (NameAttribute::CommonName, value)).collect())
    })
}

fn stage() -> impl Strategy<Value = Stage> {
    let epoch = EpochId { generation: u64::MAX, transition: [0xff; 32] };
    prop_oneof![
        Just(Stage::Root),
        Just(Stage::Intermediate { epoch }),
        Just(Stage::MeshCa { epoch }),
        Just(Stage::Leaf { epoch })
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_certificate_whatever_that_is_issued_fits_an_entry_and_the_contract(
        (facts, stage, issuer, subject, authority) in (facts(), stage(), subject(), subject(), text()),
        (sequence, from, until, at) in (any::<u64>(), any::<i64>(), any::<i64>(), any::<i64>()),
        change in proptest::option::of(prop_oneof![Just("registered"), Just("replaced"), Just("retried")]),
    ) {
        let policy = Policy::parse("version = 1").unwrap().digest();
        let (serial, not_after) = (Serial::from_random([0xff; 16]), UnixTime::from_secs(until));
        // An authority without a name has no certificates.
        let authority = format!("a{authority}");
        let conditions = Conditions {
            authority: authority.clone(),
            policy,
            stage,
            request: RequestIdentity { authority, caller: String::new(), id: String::new(), content_sha256: [0; 32] },
            issuer: SpkiDigest::from_bytes([3; 32]),
            numbering: Numbering::Serial { serial, scope: CrlScope::numbered(u16::MAX) },
            not_after,
            limits: Limits::default(),
            validate_only: false,
            claims: Vec::new(),
            instance: None,
        };
        let content = Content::Certificate(CertificateContent {
            serial,
            algorithm: SignatureAlgorithm::Ed25519,
            issuer,
            validity: Interval { not_before: UnixTime::from_secs(from), not_after },
            subject,
            key: key(),
            extensions: Vec::new(),
        });
        let warranted = Some(Warranted { conditions: &conditions, content: &content, to_be_signed: &[4; 100] });
        let outcome = Outcome::Issued { sequence: Some(sequence), change };
        let entry = Decision { outcome, policy: Some(policy), facts: &facts, warranted }.into_entry(at);
        prop_assert!(entry.len() <= ENTRY_BYTES_MAX, "{}", entry.len());
        prop_assert!(is_canonical(&entry));
        let fit = schema::check(&Value::read(&entry).unwrap());
        prop_assert!(matches!(fit, Ok(schema::Fit::Known(_))), "{:?}: {}", fit, String::from_utf8_lossy(&entry));
        prop_assert!(!entry.windows(14).any(|window| window == b"omitted-sha256"), "the bounds add up");
    }
}

#[test]
fn an_ordinary_refusal_keeps_all_its_words() {
    let policy = Policy::parse("version = 1").unwrap().digest();
    let reason = Reason::new(ReasonCode::NameMissing, "names", "a \"name\" is missing").allowing("dns");
    let facts = Facts { authority: "mesh".to_owned(), names: vec!["dns:a.example".to_owned()], ..Facts::default() };
    let outcome = Outcome::Refused { reasons: &[reason] };
    let entry =
        Decision { outcome, policy: Some(policy), facts: &facts, warranted: None }.into_entry(1_700_000_000_123);
    let expected = format!(
        concat!(
            r#"{{"authority":"mesh","decision":"refused","names":["dns:a.example"],"policy-sha256":"{}","#,
            r#""reasons":[{{"allowed":"dns","code":"NAME_MISSING","field":"names","sentence":"a \"name\" is missing"}}],"#,
            r#""time":1700000000123,"type":"decision","version":1}}"#
        ),
        policy
    );
    assert_eq!(String::from_utf8(entry).unwrap(), expected);
}
