//! Partitioned CRLs: a leaf names the list of its partition, which tools that nobody here wrote take for that leaf and for no other.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use hallmark_faulty::{Effect, Function, When};
use hallmark_policy::crl::CrlScope;
use hallmark_signer::CrlList;
use hallmark_tests::{
    Where, World,
    asking::Asked,
    backup::{back_up, restore},
    tools::{Pem, run},
};

use super::{AUTHORITY, BY, EPOCH, OpenSsl, REASON, policy, serial};

const PARTITIONS: u16 = 4;
const CKR_FUNCTION_FAILED: u64 = 0x06;

fn partitioned() -> String {
    partitioned_with("")
}

fn partitioned_with(settings: &str) -> String {
    policy(&format!(
        "{settings}\ncrl = {{ lifetime = \"7d\", refresh = \"1d\", partitions = 4 }}\n\
         crl-urls = [\"http://crl.test/epoch-{{generation}}-{{partition}}.crl\"]"
    ))
}

fn list(number: u16) -> CrlList {
    CrlList { ca: EPOCH, scope: CrlScope::numbered(number) }
}

fn file(world: &World, list: CrlList) -> PathBuf {
    world.path(&format!("log/crl/{AUTHORITY}/{list}.crl"))
}

/// The partition that a leaf's cRLDistributionPoints name, as OpenSSL prints it.
fn partition(pem: &Pem) -> u16 {
    let leaf = pem.leaf.to_str().expect("a path in UTF-8");
    let printed = run("openssl", &["x509", "-in", leaf, "-noout", "-ext", "crlDistributionPoints"]);
    let number = printed.split("http://crl.test/epoch-1-").nth(1).and_then(|rest| rest.split('.').next());
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no partition: {printed}"))
}

#[tokio::test]
async fn openssl_takes_a_partition_s_crl_for_its_own_leaves_and_refuses_the_revoked_one() {
    let world = World::with_policy(Where::SoftHsm, &partitioned()).await;
    let openssl = OpenSsl::new(&world);
    let bad = world.mint(Asked::sports_api().request()).await.unwrap();
    let bad_pem = Pem::write(&super::directory(&world, "bad"), &bad);
    let number = partition(&bad_pem);
    world.core().revoke_certificate(AUTHORITY, EPOCH, serial(&bad), REASON, BY).await.unwrap();
    let said = world.core().refresh_crls().await;
    assert_eq!(said.len(), 2 + usize::from(PARTITIONS), "the root's, the complete one, and one a partition: {said:?}");
    for other in 1..=PARTITIONS {
        let crl = world.core().latest_crl(AUTHORITY, list(other)).unwrap().expect("a CRL");
        assert_eq!(crl.entries, u64::from(other == number), "partition {other}");
        assert!(fs::read(file(&world, list(other))).unwrap() == crl.der, "partition {other}");
    }
    assert_eq!(
        world.core().latest_crl(AUTHORITY, EPOCH).unwrap().unwrap().entries,
        1,
        "the complete one lists it, too"
    );
    let crl = |number| {
        openssl.crl(&format!("{number}.crl"), &world.core().latest_crl(AUTHORITY, list(number)).unwrap().unwrap())
    };
    let verifies =
        |pem: &Pem, crl: &str| openssl.verifies("-crl_check", &pem.root, Some(&pem.intermediate), &[crl], &pem.leaf);
    let (verified, said) = verifies(&bad_pem, &crl(number));
    assert!(!verified && said.contains("certificate revoked"), "{said}");
    let (verified, said) = verifies(&bad_pem, &crl(number % PARTITIONS + 1));
    assert!(!verified && said.contains("ifferent CRL scope"), "another partition's says nothing about it: {said}");
    let mut seen = [false; PARTITIONS as usize];
    while !seen.iter().all(|seen| *seen) {
        let good = world.mint(Asked::sports_api().request()).await.unwrap();
        let pem = Pem::write(&super::directory(&world, "good"), &good);
        let (verified, said) = verifies(&pem, &crl(partition(&pem)));
        assert!(verified, "{said}");
        seen[usize::from(partition(&pem)) - 1] = true;
    }
    let printed = run("openssl", &["crl", "-in", &crl(number), "-noout", "-text"]);
    for expected in [
        "X509v3 Issuing Distribution Point: critical".to_owned(),
        "Only User Certificates".to_owned(),
        format!("http://crl.test/epoch-1-{number}.crl"),
    ] {
        assert!(printed.contains(&expected), "{expected}: {printed}");
    }
}

#[tokio::test]
async fn a_revocation_makes_two_crls_and_leaves_the_other_partitions_alone() {
    let world = World::with_policy(Where::Software, &partitioned()).await;
    let minted = world.mint(Asked::sports_api().request()).await.unwrap();
    let number = partition(&Pem::write(&world.path("."), &minted));
    world.core().refresh_crls().await;
    world.clocks().pass(600);
    world.core().revoke_certificate(AUTHORITY, EPOCH, serial(&minted), REASON, BY).await.unwrap();
    let said = world.core().refresh_crls().await;
    let expected =
        ["signed CRL 6 of `athenz` epoch-1".to_owned(), format!("signed CRL 7 of `athenz` epoch-1-{number}")];
    assert_eq!(said, expected);
    world.clocks().pass(60);
    assert!(world.core().refresh_crls().await.is_empty());
}

#[tokio::test]
async fn partitions_that_leaves_were_given_go_on_when_the_policy_has_fewer() {
    let world = World::with_policy(Where::Software, &partitioned()).await;
    let mut number = 0;
    while number < 3 {
        let minted = world.mint(Asked::sports_api().request()).await.unwrap();
        number = number.max(partition(&Pem::write(&world.path("."), &minted)));
    }
    world.apply(&partitioned().replace("partitions = 4", "partitions = 2"), false).await.unwrap();
    assert_eq!(world.core().refresh_crls().await.len(), 2 + usize::from(number));
}

#[tokio::test]
async fn a_rotation_leaves_a_last_crl_of_every_partition() {
    let world = World::with_policy(Where::Software, &partitioned_with("retired-key = \"destroy\"")).await;
    let minted = world.mint(Asked::sports_api().request()).await.unwrap();
    world.prepare_epoch(0).await.unwrap();
    world.activate_epoch(2, false).await.unwrap();
    for number in 0..=PARTITIONS {
        let last = world.core().latest_crl(AUTHORITY, list(number)).unwrap().expect("a last one");
        assert!(last.next_update.secs() > minted.not_after, "{number}: {last:?}");
    }
}

#[tokio::test]
async fn a_key_that_signed_one_last_crl_and_fails_at_the_next_is_not_destroyed() {
    let world = World::faulty_with_policy(&partitioned_with("retired-key = \"destroy\"")).await;
    let minted = world.mint(Asked::sports_api().request()).await.unwrap();
    world.prepare_epoch(0).await.unwrap();
    for call in 2..=12 {
        world.device().fault(Function::Sign, When::Nth(call), Effect::Refuse(CKR_FUNCTION_FAILED));
    }
    let refused = world.activate_epoch(2, false).await.unwrap_err();
    assert!(refused.message.starts_with("DEVICE_FAILED"), "{}", refused.message);
    let signed = (0..=PARTITIONS).filter(|number| world.core().latest_crl(AUTHORITY, list(*number)).unwrap().is_some());
    assert_eq!(signed.count(), 1, "the first was signed before the device failed");
    world.device().mend();
    let began = Instant::now();
    while let Err(refused) = world.activate_epoch(2, false).await {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", refused.message);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for number in 0..=PARTITIONS {
        let last = world.core().latest_crl(AUTHORITY, list(number)).unwrap().expect("a last one");
        assert!(last.next_update.secs() > minted.not_after, "{number}: {last:?}");
    }
}

#[tokio::test]
async fn a_key_that_signs_no_last_crl_at_all_is_replaced_without_one() {
    let world = World::faulty_with_policy(&partitioned_with("retired-key = \"destroy\"")).await;
    world.prepare_epoch(0).await.unwrap();
    world.device().fault(Function::Sign, When::Always, Effect::Refuse(CKR_FUNCTION_FAILED));
    world.activate_epoch(2, false).await.unwrap();
    world.device().mend();
    for number in 0..=PARTITIONS {
        assert!(world.core().latest_crl(AUTHORITY, list(number)).unwrap().is_none(), "{number}");
    }
}

#[tokio::test]
async fn a_restored_database_numbers_its_crls_after_those_that_are_published() {
    let mut world = World::with_policy(Where::Software, &super::weekly()).await;
    world.core().sign_crl(AUTHORITY, EPOCH, None).await.unwrap();
    back_up(&mut world).await;
    for _ in 0..3 {
        world.core().sign_crl(AUTHORITY, EPOCH, None).await.unwrap();
    }
    let published = fs::read(file(&world, EPOCH.into())).unwrap();
    restore(&mut world).await;
    fs::create_dir_all(file(&world, EPOCH.into()).parent().unwrap()).unwrap();
    fs::write(file(&world, EPOCH.into()), published).unwrap();
    let next = world.core().sign_crl(AUTHORITY, EPOCH, None).await.unwrap();
    assert_eq!(next.number, 5, "number 4 was seen by relying parties");
    // What is no CRL of this key changes nothing.
    world.restart().await;
    fs::write(file(&world, EPOCH.into()), b"no CRL").unwrap();
    assert_eq!(world.core().sign_crl(AUTHORITY, EPOCH, None).await.unwrap().number, 6);
    let log = world.log_after_stop().await;
    let crls: Vec<_> = log.of_type("decision").filter(|entry| entry["stage"] == "crl").collect();
    assert_eq!((&crls[1]["crl-number"], &crls[1]["crl-number-after"]), (&5.into(), &1.into()));
    assert!(crls[2].get("crl-number-after").is_none());
}
