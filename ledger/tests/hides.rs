//! Private values stand apart from the log; what is written fits the contract; and anchors and keys outlive a change.

#[cfg(test)]
mod world;

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _};

use hallmark_entry::{
    ENTRY_BYTES_MAX, Value, is_canonical,
    privacy::{Opening, PRIVATE_KEYS, Private, reveal},
    schema::{Fit, check},
};
use hallmark_ledger::{Event, KeyAction, Ledger, LogKeys, OpenError, UnixMillis};
use hallmark_policy::{
    Facts, Reason, ReasonCode, Refusal,
    key::{KeyKind, SpkiDigest},
};
use hallmark_tlog::{
    audit::{Auditor, Visitor},
    note::SignerKey,
};
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use world::{World, contents};

/// All entries of a log.
#[derive(Default)]
struct All(Vec<Vec<u8>>);

impl Visitor for All {
    fn entry(&mut self, _: u64, bytes: &[u8]) {
        self.0.push(bytes.to_vec());
    }
}

#[cfg(test)]
fn entries(world: &World) -> Vec<Vec<u8>> {
    let mut all = All::default();
    let report = world::audit(&world.config.publish, &mut all);
    assert!(report.is_clean(), "{:?}", report.findings);
    all.0
}

#[cfg(test)]
fn is_known(entry: &[u8]) -> bool {
    let fit = check(&Value::read(entry).expect("canonical"));
    assert!(matches!(fit, Ok(Fit::Known(_))), "{fit:?}: {}", String::from_utf8_lossy(entry));
    true
}

/// A life with entries of most types.
#[cfg(test)]
async fn live(world: &World) {
    let ledger = world.begin().await;
    let mesh = world.found(&ledger).await;
    world.sign(&ledger, world.leaf(&mesh, "id-1", 1)).await;
    let reasons = vec![Reason::new(ReasonCode::NameMissing, "names", "the name secret.example is missing")];
    let facts =
        Facts { names: vec!["dns:secret.example".to_owned()], caller: "coordinator".to_owned(), ..Facts::default() };
    ledger.refuse(Refusal { reasons, facts, policy: world.policy.digest() }, world.at()).await.unwrap();
    ledger.record(Event::Heartbeat, world.at()).await.unwrap();
    ledger.stop();
}

#[tokio::test]
async fn all_that_is_written_fits_the_contract() {
    let world = World::new();
    live(&world).await;
    let entries = entries(&world);
    assert!(entries.len() > 10 && entries.iter().all(|entry| is_known(entry)));
}

#[tokio::test]
async fn private_values_are_published_apart_and_the_log_holds_without_them() {
    let mut world = World::new();
    world.config.private = Private::new(PRIVATE_KEYS).unwrap();
    live(&world).await;
    let files = contents(&world.config.publish);
    let lines: String = files
        .iter()
        .filter(|(name, _)| name.starts_with("openings/"))
        .map(|(_, content)| String::from_utf8(content.clone()).unwrap())
        .collect();
    assert!(lines.contains("secret.example") && lines.contains(".example.com"), "{lines}");
    for name in files.keys().filter(|name| name.starts_with("openings/")) {
        let mode = fs::metadata(world.config.publish.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0, "`{name}` is for the daemon's group at most");
    }
    for (name, content) in files.iter().filter(|(name, _)| name.starts_with("tile/")) {
        assert!(!content.windows(14).any(|part| part == b"secret.example"), "`{name}`");
    }
    let mut openings: BTreeMap<u64, Vec<Opening>> = BTreeMap::new();
    for (index, opening) in lines.lines().map(|line| Opening::parse(line.as_bytes()).unwrap()) {
        openings.entry(index).or_default().push(opening);
    }
    let entries = entries(&world);
    let mut revealed = 0;
    for (entry, index) in entries.iter().zip(0_u64..) {
        assert!(is_known(entry));
        let openings = openings.remove(&index).unwrap_or_default();
        let whole = reveal(entry, &openings);
        assert!(is_known(&whole) && !whole.windows(10).any(|part| part == b"commitment"), "every value is opened");
        revealed += openings.len();
    }
    assert!(revealed > 4 && openings.is_empty(), "{revealed} values");
    fs::remove_dir_all(world.config.publish.join("openings")).unwrap();
    assert!(world.audit().is_clean(), "without salts it is still the log");
}

#[tokio::test]
async fn texts_of_policies_are_published_under_their_digests() {
    let world = World::new();
    live(&world).await;
    let published = contents(&world.config.publish);
    assert_eq!(published[&format!("policies/{}", world.policy.digest())], world.policy.text().as_bytes());
}

#[tokio::test]
async fn a_database_older_than_the_anchor_on_another_volume_is_refused_though_the_published_log_is_gone_too() {
    let mut world = World::new();
    let anchor = world.directory.path().join("other-volume");
    fs::create_dir(&anchor).unwrap();
    world.config.anchor = Some(anchor.join("checkpoint"));
    world.begin().await.stop();
    let (database, published) = (fs::read(&world.config.database).unwrap(), world.directory.path().join("old"));
    world::copy(&world.config.publish, &published);
    world.begin().await.stop();
    fs::write(&world.config.database, database).unwrap();
    fs::remove_dir_all(&world.config.publish).unwrap();
    fs::rename(published, &world.config.publish).unwrap();
    let error = world.try_open().unwrap_err();
    assert!(matches!(error, OpenError::Restored { .. }), "{error}");
    let sentence = error.to_string();
    assert!(
        sentence.contains("other-volume/checkpoint") && sentence.contains("hint: bring back the newest"),
        "{sentence}"
    );
}

#[tokio::test]
async fn a_new_log_key_takes_over_with_both_signatures_for_a_time() {
    let world = World::new();
    world.begin().await.stop();
    let key = |seed: u8| SignerKey::generate("example.com/log", [seed; 32]).unwrap();
    let auditor = |seed: u8| {
        let keys = [key(seed).verifier().clone()];
        let files = world::Directory(world.config.publish.clone());
        Auditor::new(&keys).audit(&files, &mut ()).map(|report| report.is_clean()).unwrap_or(false)
    };
    let (old, new) = (42, 43);
    assert!(auditor(old) && !auditor(new));
    let unknown = Ledger::open(world.config.clone(), key(new)).unwrap_err().to_string();
    assert!(unknown.contains("previous-key"), "{unknown}");
    let both = Ledger::open(world.config.clone(), LogKeys::with_previous(key(new), key(old))).unwrap().ledger;
    both.record(Event::Heartbeat, world.at()).await.unwrap();
    both.stop();
    assert!(auditor(old) && auditor(new), "auditors who know one of the two find it");
    let alone = Ledger::open(world.config.clone(), key(new)).unwrap().ledger;
    alone.record(Event::Heartbeat, world.at()).await.unwrap();
    alone.stop();
    assert!(!auditor(old) && auditor(new));
}

/// Texts with control characters, long ones among them.
fn text() -> impl Strategy<Value = String> {
    let letters = prop_oneof![Just('\0'), Just('\u{1f}'), Just('"'), Just('\\'), Just('😀'), any::<char>()];
    (vec(letters, 1..30), prop_oneof![Just(1_usize), Just(1), Just(100), Just(3_000)])
        .prop_map(|(letters, times)| letters.into_iter().collect::<String>().repeat(times))
}

fn event() -> impl Strategy<Value = Event> {
    let digest = any::<[u8; 32]>();
    prop_oneof![
        (text(), digest, vec(text(), 0..90), any::<bool>(), vec(text(), 0..90)).prop_map(
            |(version, config_sha256, backends, software_keys, roots_without_ceremony)| {
                Event::Start { version, config_sha256, backends, software_keys, roots_without_ceremony }
            }
        ),
        (proptest::option::of(digest), text(), vec(text(), 0..90))
            .prop_map(|(digest, by, sentences)| Event::PolicyRefused { digest, by, sentences }),
        (text(), text(), digest, text()).prop_map(|(authority, reference, spki, backend)| Event::KeyEvent {
            authority,
            action: KeyAction::Opened,
            reference,
            spki: SpkiDigest::from_bytes(spki),
            kind: KeyKind::Ed25519,
            backend,
        }),
        (text(), text(), any::<u64>(), text()).prop_map(|(authority, label, count, backend)| Event::KeysCleared {
            authority,
            label,
            count,
            backend
        }),
        (any::<u64>(), text(), text()).prop_map(|(log_index, code, sentence)| Event::SigningFailed {
            log_index,
            code,
            sentence
        }),
        text().prop_map(|sentence| Event::ClockDistrusted { sentence }),
        text().prop_map(|command| Event::OperatorCommand { command }),
        (text(), text(), text(), any::<u64>(), any::<i64>(), any::<i64>()).prop_map(
            |(caller, method, reason, count, from, to)| Event::Aggregate {
                caller,
                method,
                reason,
                count,
                from: UnixMillis(from),
                to: UnixMillis(to),
            }
        ),
    ]
}

#[test]
fn any_event_whatever_fits_an_entry_and_the_contract() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let world = World::new();
    let ledger = world.open();
    let config = ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&event(), |event| {
        let logged = runtime.block_on(ledger.record(event, world.at())).unwrap();
        prop_assert!(logged.entry.len() <= ENTRY_BYTES_MAX && is_canonical(&logged.entry));
        prop_assert!(is_known(&logged.entry));
        prop_assert!(!logged.entry.windows(14).any(|window| window == b"omitted-sha256"), "the bounds add up");
        Ok(())
    });
    result.unwrap();
    ledger.stop();
    assert!(world.audit().is_clean());
}
