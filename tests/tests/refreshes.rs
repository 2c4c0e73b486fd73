//! CRLs that nobody asks for: made on time, after revocations and restarts, published whole, and said to be missing.

use std::{fs, path::PathBuf};

use hallmark_faulty::{Effect, Function, When};
use hallmark_policy::{content::Serial, crl::RevocationReason};
use hallmark_proto::signer::MintCertificateResponse;
use hallmark_signer::Ca;
use hallmark_tests::{
    Where, World,
    asking::Asked,
    daemon::Laboratory,
    example_policy,
    tools::{pem, run},
};

const AUTHORITY: &str = "athenz";
const EPOCH: Ca = Ca::Epoch { generation: 1 };
const DAY: u32 = 86_400;

fn weekly(policy: String, more: &str) -> String {
    let table = format!(
        "[authority.athenz]\ncrl = {{ lifetime = \"7d\", refresh = \"1d\" }}\n{more}\n\n[authority.athenz.root]"
    );
    policy.replacen("[authority.athenz.root]", &table, 1)
}

async fn world(place: Where) -> World {
    World::with_policy(place, &weekly(example_policy(), "")).await
}

fn file(world: &World, ca: Ca) -> PathBuf {
    world.path(&format!("log/crl/{AUTHORITY}/{ca}.crl"))
}

/// What is published is the newest CRL; its number.
fn published(world: &World, ca: Ca) -> u64 {
    let newest = world.core().latest_crl(AUTHORITY, ca).unwrap().expect("a CRL");
    assert!(fs::read(file(world, ca)).unwrap() == newest.der, "the file is another CRL than {newest:?}");
    newest.number
}

async fn revoke(world: &World, minted: &MintCertificateResponse) {
    let serial = Serial::from_stored(&minted.serial).unwrap();
    world.core().revoke_certificate(AUTHORITY, EPOCH, serial, RevocationReason::Unspecified, "ann").await.unwrap();
}

#[tokio::test]
async fn crls_of_root_and_epoch_are_made_published_and_made_again_before_their_time() {
    let world = world(Where::SoftHsm).await;
    let said = world.core().refresh_crls().await;
    assert_eq!(said, ["signed CRL 1 of `athenz` root", "signed CRL 1 of `athenz` epoch-1"]);
    assert_eq!((published(&world, Ca::Root), published(&world, EPOCH)), (1, 1));
    let uses = world.key_uses();
    assert!(world.core().refresh_crls().await.is_empty());
    world.clocks().pass(DAY - DAY / 8 - 1);
    assert!(world.core().refresh_crls().await.is_empty());
    assert_eq!(world.key_uses(), uses);
    for day in 2..10 {
        world.clocks().pass(DAY);
        assert_eq!(world.core().refresh_crls().await.len(), 2, "day {day}");
        assert_eq!((published(&world, Ca::Root), published(&world, EPOCH)), (day, day));
        let newest = world.core().latest_crl(AUTHORITY, EPOCH).unwrap().unwrap();
        assert!(newest.next_update.secs() - world.clocks().now() == 7 * i64::from(DAY));
    }
}

#[tokio::test]
async fn a_restart_signs_nothing_that_is_not_due_and_puts_back_what_is_missing() {
    let mut world = world(Where::Software).await;
    world.core().refresh_crls().await;
    world.clocks().pass(3_600);
    world.restart().await;
    fs::remove_dir_all(world.path("log/crl")).unwrap();
    let uses = world.key_uses();
    assert!(world.core().refresh_crls().await.is_empty());
    assert_eq!((published(&world, Ca::Root), published(&world, EPOCH), world.key_uses()), (1, 1, uses));
    // A crash between the signature and the file.
    fs::write(file(&world, EPOCH), "an older one").unwrap();
    world.restart().await;
    assert!(world.core().refresh_crls().await.is_empty());
    assert_eq!(published(&world, EPOCH), 1);
}

#[tokio::test]
async fn a_revocation_is_published_within_a_minute_and_many_share_one_crl() {
    let world = world(Where::Software).await;
    let mut minted = Vec::new();
    for _ in 0..3 {
        minted.push(world.mint(Asked::sports_api().request()).await.unwrap());
    }
    world.core().refresh_crls().await;
    revoke(&world, &minted[0]).await;
    assert!(world.core().refresh_crls().await.is_empty(), "one was just made");
    revoke(&world, &minted[1]).await;
    world.clocks().pass(60);
    assert_eq!(world.core().refresh_crls().await, ["signed CRL 2 of `athenz` epoch-1"]);
    assert_eq!(world.core().latest_crl(AUTHORITY, EPOCH).unwrap().unwrap().entries, 2);
    world.clocks().pass(600);
    revoke(&world, &minted[2]).await;
    assert_eq!(world.core().refresh_crls().await, ["signed CRL 3 of `athenz` epoch-1"], "at once");
    assert_eq!((published(&world, EPOCH), published(&world, Ca::Root)), (3, 1));
}

#[tokio::test]
async fn what_cannot_be_signed_is_said_tried_again_later_and_over_the_same_bytes() {
    let mut world = World::faulty_with_policy(&weekly(example_policy(), "")).await;
    // Each is tried once more before it is given up, which the log says.
    let fault = world.device().fault(Function::Sign, When::Always, Effect::Refuse(0x30));
    let said = world.core().refresh_crls().await;
    assert_eq!(said.len(), 2);
    assert!(
        said[0].starts_with(
            "the next CRL of `athenz` root could not be signed, and there is none before it: DEVICE_FAILED"
        )
    );
    fault.clear();
    assert!(world.core().refresh_crls().await.is_empty(), "not at once again");
    assert!(!file(&world, Ca::Root).exists());
    world.clocks().pass(60);
    assert_eq!(world.core().refresh_crls().await.len(), 2);
    assert_eq!(published(&world, EPOCH), 2);
    let log = world.log_after_stop().await;
    let of = |result: &str| log.of_type("outcome").filter(|entry| entry["result"] == result).count();
    assert_eq!((of("signing-failed"), of("signing-again")), (4, 4));
    let crls: Vec<_> = log.of_type("decision").filter(|entry| entry["stage"] == "crl").collect();
    assert_eq!(crls.len(), 4, "the two that were interrupted have their numbers, and two follow");
}

#[tokio::test]
async fn failures_are_tried_again_less_and_less_often_and_every_minute_at_the_latest() {
    let world = world(Where::Software).await;
    world.core().refresh_crls().await;
    world.lose_the_epoch_key();
    let mut tried = Vec::new();
    world.clocks().pass(DAY);
    for second in 1..=250_u32 {
        world.clocks().pass(1);
        let said = world.core().refresh_crls().await;
        if said
            .iter()
            .any(|sentence| sentence.contains("epoch-1 could not be signed, and the one before it holds until"))
        {
            tried.push(second);
        }
    }
    assert_eq!(tried, [1, 2, 4, 8, 16, 32, 64, 124, 184, 244]);
}

#[tokio::test]
async fn a_retired_key_makes_crls_until_its_last_leaf_has_ended() {
    let world = World::with_policy(Where::Software, &weekly(example_policy(), "retired-key = \"crl-only\"")).await;
    let minted = world.mint(Asked::sports_api().request()).await.unwrap();
    world.prepare_epoch(0).await.unwrap();
    let said = world.core().refresh_crls().await;
    assert_eq!(said.len(), 3, "also for the epoch that is prepared: {said:?}");
    world.activate_epoch(2, false).await.unwrap();
    let mut days = 0;
    while world.core().refresh_crls().await.iter().any(|sentence| sentence.ends_with("epoch-1")) || days == 0 {
        world.clocks().pass(DAY);
        days += 1;
    }
    let last = world.core().latest_crl(AUTHORITY, EPOCH).unwrap().unwrap();
    assert!(last.next_update.secs() > minted.not_after, "{last:?}");
    assert!((22..=25).contains(&days), "the leaf lives for 30 days, and a CRL for 7: {days}");
    assert_eq!(published(&world, EPOCH), last.number);
}

#[tokio::test]
async fn a_clock_that_cannot_be_trusted_signs_no_crl() {
    let world = world(Where::Software).await;
    world.clocks().leap(-3_600);
    let said = world.core().refresh_crls().await;
    assert!(said.iter().all(|sentence| sentence.contains("CLOCK_UNTRUSTED")) && said.len() == 2, "{said:?}");
    assert_eq!(world.core().latest_crl(AUTHORITY, EPOCH), Ok(None));
}

#[test]
fn a_daemon_publishes_crls_by_itself_and_openssl_takes_them() {
    let laboratory = Laboratory::with_policy(|policy| weekly(policy, ""));
    let daemon = laboratory.start();
    for (name, signer) in [("root", "root.pem"), ("epoch-1", "intermediate.pem")] {
        let der = laboratory.await_file(&format!("log/crl/athenz/{name}.crl"));
        let path = laboratory.path(&format!("{name}.crl.pem"));
        fs::write(&path, pem("X509 CRL", &der)).unwrap();
        let signer = laboratory.text(signer);
        let said = run("openssl", &["crl", "-in", path.to_str().unwrap(), "-noout", "-verify", "-CAfile", &signer]);
        assert!(said.contains("verify OK"), "{said}");
    }
    assert!(daemon.terminate());
}
