//! Whatever stands in a step of a rotation, the entry about it fits, and fits the contract.

#[cfg(test)]
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use hallmark_entry::{
    ENTRY_BYTES_MAX, Value, is_canonical,
    schema::{Fit, check},
};
use hallmark_ledger::{
    BroughtKey, CeremonyAction, CeremonyEvent, Consent, EpochIntent, Event, KeyChange, Ledger, Statement, Step,
};
use hallmark_policy::{
    authority::transition,
    content::Serial,
    key::{SignatureAlgorithm, SpkiDigest},
    offline::Brought,
    time::{Interval, UnixTime},
};
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use world::{AUTHORITY, World, key};

/// Texts with control characters, long ones among them; never empty, which policy lets nothing be.
fn text() -> impl Strategy<Value = String> {
    let letters = prop_oneof![Just('\0'), Just('\u{1f}'), Just('"'), Just('\\'), Just('😀'), any::<char>()];
    (vec(letters, 1..30), prop_oneof![Just(1_usize), Just(1), Just(100), Just(3_000)])
        .prop_map(|(letters, times)| letters.into_iter().collect::<String>().repeat(times))
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    (vec(any::<u8>(), 1..80), prop_oneof![Just(1_usize), Just(1), Just(500)])
        .prop_map(|(bytes, times)| bytes.repeat(times))
}

/// All that a caller, an operator or a device may have chosen.
#[derive(Clone, Debug)]
struct Chosen {
    authority: String,
    label: String,
    reference: String,
    reason: String,
    by: String,
    owners: Vec<SpkiDigest>,
    manifest: Vec<u8>,
    consent: Consent,
    lifetime_secs: u64,
}

fn chosen() -> impl Strategy<Value = Chosen> {
    let owners = vec(any::<[u8; 32]>().prop_map(SpkiDigest::from_bytes), 0..200);
    let consent = (text(), bytes(), bytes()).prop_map(|(by, owner_spki, owner_signature)| Consent {
        by,
        owner_spki,
        owner_signature,
    });
    (text(), text(), text(), text(), text(), owners, bytes(), consent, any::<u64>()).prop_map(
        |(authority, label, reference, reason, by, owners, manifest, consent, lifetime_secs)| Chosen {
            authority,
            label,
            reference,
            reason,
            by,
            owners,
            manifest,
            consent,
            lifetime_secs,
        },
    )
}

/// A certificate that was signed elsewhere.
#[cfg(test)]
fn brought(number: u64) -> Box<Brought> {
    let end = UnixTime::from_secs(i64::MAX / 2);
    Box::new(Brought {
        to_be_signed: vec![7; 100],
        algorithm: SignatureAlgorithm::Ed25519,
        signature: vec![8; 64],
        serial: Serial::from_random(u128::from(number).to_be_bytes()),
        validity: Interval { not_before: UnixTime::from_secs(0), not_after: end },
        key: key(number),
    })
}

/// Every step with what was chosen, in an order that the ledger takes: a root by generation, a root that was brought, and an
/// epoch that is given up before it has certificates.
#[cfg(test)]
fn steps(chosen: Chosen, number: u64, previous: [u8; 32]) -> Vec<Step> {
    let Chosen { authority, label, reference, reason, by, owners, manifest, consent, lifetime_secs } = chosen;
    // Names and labels that were there before are refused.
    let fresh = |what: &str, text: &str| format!("{what}{number} {text}");
    let (made, of_offline, of_ceremony, mesh) =
        (fresh("m", &authority), fresh("o", &authority), fresh("c", &authority), AUTHORITY.to_owned());
    let (generation, statement) = (number + 1, Statement::new([manifest, number.to_be_bytes().to_vec()].concat()));
    let spki = |kind: u64| key(10_000_000 * kind + number).spki().to_vec();
    let intent = EpochIntent {
        authority: mesh.clone(),
        generation,
        transition: transition(statement.sha256(), &previous),
        statement,
        previous,
        lifetime_secs,
        revoke_previous: true,
        label: fresh("e", &label),
        consent,
    };
    vec![
        Step::RootIntent { authority: made.clone(), label: fresh("r", &label), owners: owners.clone() },
        Step::RootKey { authority: made, reference: reference.clone(), spki: spki(1) },
        Step::RootBrought {
            authority: of_offline,
            ceremony: None,
            key: None,
            owners: owners.clone(),
            spki: spki(2),
            brought: brought(20_000_000 + number),
        },
        Step::RootBrought {
            ceremony: Some(Box::new(handed_over(&of_ceremony, &by))),
            key: Some(BroughtKey { label: fresh("k", &label), reference: reference.clone() }),
            authority: of_ceremony,
            owners,
            spki: spki(4),
            brought: brought(40_000_000 + number),
        },
        Step::EpochIntent(Box::new(intent)),
        Step::EpochKey { authority: mesh.clone(), generation, reference, spki: spki(3) },
        Step::EpochAborted { authority: mesh.clone(), generation, reason, by },
        Step::EpochDestroyed { authority: mesh, generation },
    ]
}

#[cfg(test)]
fn handed_over(authority: &str, ceremony: &str) -> CeremonyEvent {
    let (authority, origin) = (authority.to_owned(), "ceremonies".to_owned());
    let action = CeremonyAction::HandedOver { authority, transcript_sha256: [1; 32], origin, size: 9, root: [2; 32] };
    CeremonyEvent { ceremony: ceremony.to_owned(), file_sha256: [3; 32], action }
}

#[cfg(test)]
fn assert_fits(entry: &[u8]) {
    assert!(entry.len() <= ENTRY_BYTES_MAX && is_canonical(entry), "{} bytes", entry.len());
    let fit = check(&Value::read(entry).expect("canonical"));
    assert!(matches!(fit, Ok(Fit::Known(_))), "{fit:?}: {}", String::from_utf8_lossy(entry));
    assert!(!entry.windows(14).any(|window| window == b"omitted-sha256"), "the bounds add up");
}

#[cfg(test)]
fn world() -> (World, Ledger, [u8; 32], tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let world = World::new();
    let (ledger, mesh) = runtime.block_on(async {
        let ledger = world.begin().await;
        let mesh = world.found(&ledger).await;
        (ledger, mesh)
    });
    (world, ledger, mesh.issuer.epoch.transition, runtime)
}

#[test]
fn any_step_of_a_rotation_whatever_is_chosen_fits_an_entry_and_the_contract() {
    let (world, ledger, previous, runtime) = world();
    let number = AtomicU64::new(1);
    let config = ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&chosen(), |chosen| {
        for step in steps(chosen, number.fetch_add(1, Ordering::Relaxed), previous) {
            let logged = runtime.block_on(ledger.advance(step, world.at())).unwrap();
            assert_fits(&logged.entry);
        }
        Ok(())
    });
    result.unwrap();
    ledger.stop();
    assert!(world.audit().is_clean());
}

#[test]
fn keys_of_any_name_fit_an_entry_and_the_contract() {
    let (world, ledger, _, runtime) = world();
    let config = ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() };
    let change = (vec(text(), 1..80), vec(text(), 0..80), text());
    let result = TestRunner::new(config).run(&change, |(keys, added, by)| {
        let change = KeyChange { keys, removed: added.clone(), added };
        let logged = runtime.block_on(ledger.record(Event::LogKeys { change, by }, world.at())).unwrap();
        assert_fits(&logged.entry);
        Ok(())
    });
    result.unwrap();
}

#[test]
fn whatever_happens_in_a_ceremony_fits_an_entry_and_the_contract() {
    let (world, ledger, _, runtime) = world();
    let config = ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() };
    let action = prop_oneof![
        (proptest::option::of(text()), any::<[u8; 32]>()).prop_map(|(device, rehearsal_sha256)| {
            CeremonyAction::Begun { kind: "root".to_owned(), device, rehearsal_sha256 }
        }),
        (text(), vec(text(), 0..90)).prop_map(|(step, by)| CeremonyAction::Confirmed { step, by }),
        (text(), text()).prop_map(|(step, sentence)| CeremonyAction::Stopped { step, sentence }),
        any::<[u8; 32]>().prop_map(|transcript_sha256| CeremonyAction::Finished { transcript_sha256 }),
        (text(), text(), any::<[u8; 32]>(), any::<u64>()).prop_map(|(authority, origin, digest, size)| {
            CeremonyAction::HandedOver { authority, transcript_sha256: digest, origin, size, root: digest }
        }),
    ];
    let result = TestRunner::new(config).run(&(text(), action), |(ceremony, action)| {
        let event = CeremonyEvent { ceremony, file_sha256: [7; 32], action };
        let logged = runtime.block_on(ledger.record(Event::Ceremony(event), world.at())).unwrap();
        assert_fits(&logged.entry);
        Ok(())
    });
    result.unwrap();
}
