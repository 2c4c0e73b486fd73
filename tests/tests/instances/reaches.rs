//! What is revoked reaches relying parties: tools that nobody here wrote refuse it by the CRL, and take the others.

use std::{path::Path, process::Command, sync::OnceLock};

use hallmark_proto::signer::MintCertificateResponse;
use hallmark_signer::{Ca, Crl};
use hallmark_tests::{
    AUTHORITY, EVERYWHERE, World,
    daemon::succeed,
    instances::{Agent, key, policy, refresh},
    tools::{Pem, attempt, pem},
};

/// The judge in Go, built once.
fn judge() -> &'static str {
    static BUILT: OnceLock<String> = OnceLock::new();
    BUILT.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/crl-judge");
        succeed(&mut Command::new(script)).trim().to_owned()
    })
}

/// Whether Go's library takes it.
fn go(world: &World, minted: &MintCertificateResponse, crl: &Crl) -> bool {
    let file = |name: &str, der: &[u8]| {
        let path = world.path(name);
        std::fs::write(&path, der).unwrap();
        path
    };
    let output = Command::new(judge())
        .args([file("leaf.der", &minted.certificate), file("issuer.der", &minted.chain[0]), file("crl.der", &crl.der)])
        .arg(world.clocks().now().to_string())
        .output()
        .unwrap();
    match output.status.code() {
        Some(0) => true,
        Some(1) => false,
        // A judge that does not understand the question must not pass for one that rejects.
        code => panic!("{code:?}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Whether OpenSSL takes it.
fn openssl(world: &World, minted: &MintCertificateResponse, crl: &Crl) -> bool {
    let files = Pem::write(&world.path("."), minted);
    let path = world.path("crl.pem");
    std::fs::write(&path, pem("X509 CRL", &crl.der)).unwrap();
    let at = world.clocks().now().to_string();
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let arguments = [
        "verify",
        "-x509_strict",
        "-crl_check",
        "-attime",
        &at,
        "-CAfile",
        &text(&files.root),
        "-untrusted",
        &text(&files.intermediate),
        "-CRLfile",
        &text(&path),
        &text(&files.leaf),
    ]
    .map(str::to_owned);
    let (verified, said) = attempt("openssl", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(verified || said.contains("certificate revoked"), "{said}");
    verified
}

#[tokio::test]
async fn openssl_and_go_refuse_every_certificate_of_a_stolen_instance_and_take_those_of_others() {
    for settings in ["", "distribution-point = true, "] {
        for place in EVERYWHERE {
            let policy = policy("").replacen("crl = { ", &format!("crl = {{ {settings}"), 1);
            let world = World::with_policy(place, &policy).await;
            let mut owner = Agent::registered(&world, "i-1").await.unwrap();
            let mut other = Agent::registered(&world, "i-2").await.unwrap();
            let mut thief = owner.copied();
            owner.refresh(&world).await.unwrap();
            let second = owner.copied();
            owner.refresh(&world).await.unwrap();
            other.refresh(&world).await.unwrap();
            let epoch = Ca::Epoch { generation: 1 };
            let before = world.core().sign_crl(AUTHORITY, epoch, None).await.unwrap();
            assert_eq!(thief.refresh(&world).await.unwrap_err().reasons, ["INSTANCE_STOLEN"]);
            let after = world.core().sign_crl(AUTHORITY, epoch, None).await.unwrap();
            assert_eq!((before.entries, after.entries, after.number), (0, 3, before.number + 1));
            for (minted, holds) in
                [(&thief.minted, false), (&second.minted, false), (&owner.minted, false), (&other.minted, true)]
            {
                assert!(go(&world, minted, &before) && openssl(&world, minted, &before), "before that all hold");
                assert_eq!((go(&world, minted, &after), openssl(&world, minted, &after)), (holds, holds));
            }
        }
    }
}

/// The next CRL, which the background makes.
async fn crl(world: &World, number: u64) -> Crl {
    let soon = std::time::Duration::from_secs(30);
    let made = async {
        loop {
            match world.core().latest_crl(AUTHORITY, Ca::Epoch { generation: 1 }).unwrap() {
                Some(crl) if crl.number >= number => return crl,
                Some(_) | None => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(soon, made).await.expect("sooner than it is looked by itself, every minute")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_superseded_by_a_retry_or_a_registration_is_on_a_crl_at_once() {
    let mut world = World::with_policy(EVERYWHERE[0], &policy(", replace = true")).await;
    world.refresh_crls();
    world.restart().await;
    let agent = Agent::registered(&world, "i-1").await.unwrap();
    assert_eq!(crl(&world, 1).await.entries, 0);
    for _ in 0..2 {
        world.clocks().pass(60);
        world.mint(refresh("i-1", &key(), &agent.minted.certificate)).await.unwrap();
    }
    assert_eq!(crl(&world, 2).await.entries, 1, "what the retry displaced");
    world.clocks().pass(60);
    Agent::registered(&world, "i-1").await.unwrap();
    assert_eq!(crl(&world, 3).await.entries, 3, "all of the registration before");
}
