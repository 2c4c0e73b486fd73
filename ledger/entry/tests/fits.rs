//! Whatever is asked, the entry about it fits, has one spelling, and reads back.

use hallmark_entry::{Decision, ENTRY_BYTES_MAX, Outcome, Summary, is_canonical};
use hallmark_policy::{
    Facts, Policy, Reason, ReasonCode,
    caller::Identity,
    content::Serial,
    evidence::{EvidenceFacts, VerifiedBy},
    instance::{InstanceFacts, InstanceName},
    key::SpkiDigest,
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
