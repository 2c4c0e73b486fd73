//! Revocation that reaches relying parties: what is revoked stands on a CRL, and tools that nobody here wrote refuse it.

mod freezes;
mod partitions;

use std::path::{Path, PathBuf};

use hallmark_policy::{ReasonCode, content::Serial, crl::RevocationReason, time::UnixTime};
use hallmark_proto::{
    operator::{RevokeEpochRequest, RevokeEpochResponse},
    signer::MintCertificateResponse,
};
use hallmark_signer::{Ca, Crl, NotDone};
use hallmark_tests::{
    EVERYWHERE, OPERATOR, Where, World,
    asking::{Asked, Refused, caller_certificate, decoded},
    example_policy,
    tools::{Pem, attempt, pem, run},
};
use prost::Message;

const AUTHORITY: &str = "athenz";
const EPOCH: Ca = Ca::Epoch { generation: 1 };
const REASON: RevocationReason = RevocationReason::KeyCompromise;
const BY: &str = "spiffe://hallmark.lab/operator";

/// The example's authority with these settings.
fn policy(settings: &str) -> String {
    let table = format!("[authority.athenz]\n{settings}\n\n[authority.athenz.root]");
    example_policy().replacen("[authority.athenz.root]", &table, 1)
}

fn weekly() -> String {
    policy("crl = { lifetime = \"7d\", refresh = \"1d\" }")
}

fn serial(minted: &MintCertificateResponse) -> Serial {
    Serial::from_stored(&minted.serial).expect("a serial number of ours")
}

fn codes(not_done: &NotDone) -> Vec<ReasonCode> {
    not_done.reasons.iter().map(|reason| reason.code).collect()
}

/// A directory of that name in a world's.
fn directory(world: &World, name: &str) -> PathBuf {
    let directory = world.path(name);
    std::fs::create_dir_all(&directory).expect("a directory");
    directory
}

/// A directory in which OpenSSL is asked.
struct OpenSsl {
    directory: PathBuf,
    at: String,
}

impl OpenSsl {
    fn new(world: &World) -> Self {
        Self { directory: world.path("."), at: world.clocks().now().to_string() }
    }

    fn crl(&self, name: &str, crl: &Crl) -> String {
        let path = self.directory.join(name);
        std::fs::write(&path, pem("X509 CRL", &crl.der)).expect("a file is written");
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    /// Whether a certificate holds, with these CRLs; and what was said.
    fn verifies(
        &self,
        check: &str,
        anchor: &Path,
        untrusted: Option<&Path>,
        crls: &[&str],
        target: &Path,
    ) -> (bool, String) {
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        let mut arguments = vec![
            "verify".to_owned(),
            "-x509_strict".to_owned(),
            check.to_owned(),
            "-attime".to_owned(),
            self.at.clone(),
        ];
        arguments.extend(["-CAfile".to_owned(), text(anchor)]);
        arguments.extend(untrusted.into_iter().flat_map(|path| ["-untrusted".to_owned(), text(path)]));
        arguments.extend(crls.iter().flat_map(|crl| ["-CRLfile".to_owned(), (*crl).to_owned()]));
        arguments.push(text(target));
        attempt("openssl", &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

#[tokio::test]
async fn openssl_refuses_a_revoked_leaf_under_root_and_mesh_ca_and_takes_the_others() {
    for place in EVERYWHERE {
        let world = World::with_policy(place, &weekly()).await;
        let good = world.mint(Asked::sports_api().request()).await.unwrap();
        let bad = world.mint(Asked::sports_api().request()).await.unwrap();
        let revoked = world.core().revoke_certificate(AUTHORITY, EPOCH, serial(&bad), REASON, BY).await.unwrap();
        assert!(!revoked.before);
        let crl = world.core().sign_crl(AUTHORITY, EPOCH, None).await.unwrap();
        assert_eq!((crl.number, crl.entries), (1, 1));
        let openssl = OpenSsl::new(&world);
        let crl = openssl.crl("epoch.crl", &crl);
        for (minted, holds) in [(&good, true), (&bad, false)] {
            let pem = Pem::write(&world.path("."), minted);
            for (anchor, untrusted) in [(&pem.root, Some(&pem.intermediate)), (&pem.mesh_ca, None)] {
                let untrusted = untrusted.map(PathBuf::as_path);
                let (verified, said) = openssl.verifies("-crl_check", anchor, untrusted, &[&crl], &pem.leaf);
                assert_eq!(verified, holds, "{said}");
                assert!(holds || said.contains("certificate revoked"), "{said}");
            }
        }
    }
}

#[tokio::test]
async fn openssl_refuses_a_revoked_intermediate_and_takes_it_before() {
    for place in EVERYWHERE {
        let world = World::with_policy(place, &weekly()).await;
        let minted = world.mint(Asked::sports_api().request()).await.unwrap();
        let pem = Pem::write(&world.path("."), &minted);
        let openssl = OpenSsl::new(&world);
        let epoch = openssl.crl("epoch.crl", &world.core().sign_crl(AUTHORITY, EPOCH, None).await.unwrap());
        let root = openssl.crl("root.crl", &world.core().sign_crl(AUTHORITY, Ca::Root, None).await.unwrap());
        let chain = |root: &str| {
            openssl.verifies("-crl_check_all", &pem.root, Some(&pem.intermediate), &[root, &epoch], &pem.leaf)
        };
        let (verified, said) = chain(&root);
        assert!(verified, "{said}");
        world.core().revoke_epoch(AUTHORITY, 1, RevocationReason::Superseded, BY).await.unwrap();
        let crl = world.core().sign_crl(AUTHORITY, Ca::Root, None).await.unwrap();
        assert_eq!((crl.number, crl.entries), (2, 1));
        let root = openssl.crl("root.crl", &crl);
        let (verified, said) = chain(&root);
        assert!(!verified && said.contains("certificate revoked"), "{said}");
        let (verified, said) = openssl.verifies("-crl_check", &pem.root, None, &[&root], &pem.intermediate);
        assert!(!verified && said.contains("certificate revoked"), "{said}");
        let printed = run("openssl", &["crl", "-in", &root, "-noout", "-text"]);
        assert!(printed.contains("Superseded"), "{printed}");
    }
}

#[tokio::test]
async fn openssl_refuses_the_intermediate_of_a_retired_epoch_and_takes_the_one_that_followed() {
    for place in EVERYWHERE {
        let world = World::with_policy(place, &weekly()).await;
        let old = Pem::write(&directory(&world, "old"), &world.mint(Asked::sports_api().request()).await.unwrap());
        world.prepare_epoch(0).await.unwrap();
        world.activate_epoch(2, false).await.unwrap();
        let new = Pem::write(&directory(&world, "new"), &world.mint(Asked::sports_api().request()).await.unwrap());
        world.core().revoke_epoch(AUTHORITY, 1, RevocationReason::Superseded, BY).await.unwrap();
        let openssl = OpenSsl::new(&world);
        let mut crls = Vec::new();
        for ca in [Ca::Root, EPOCH, Ca::Epoch { generation: 2 }] {
            let crl = world.core().sign_crl(AUTHORITY, ca, None).await.unwrap();
            crls.push(openssl.crl(&format!("{ca}.crl"), &crl));
        }
        let crls: Vec<&str> = crls.iter().map(String::as_str).collect();
        for (pem, holds) in [(&old, false), (&new, true)] {
            let (verified, said) =
                openssl.verifies("-crl_check_all", &pem.root, Some(&pem.intermediate), &crls, &pem.leaf);
            assert_eq!(verified, holds, "{said}");
            assert!(holds || said.contains("error 23 at 1 depth lookup: certificate revoked"), "{said}");
        }
    }
}

#[tokio::test]
async fn the_key_of_a_retired_epoch_signs_crls_only_where_the_policy_says_so() {
    for (word, signs) in [("crl-only", true), ("destroy", false)] {
        let settings = format!("crl = {{ lifetime = \"7d\", refresh = \"1d\" }}\nretired-key = \"{word}\"");
        let world = World::with_policy(Where::SoftHsm, &policy(&settings)).await;
        let minted = world.mint(Asked::sports_api().request()).await.unwrap();
        world.core().sign_crl(AUTHORITY, EPOCH, None).await.unwrap();
        world.prepare_epoch(0).await.unwrap();
        world.activate_epoch(2, false).await.unwrap();
        world.core().revoke_certificate(AUTHORITY, EPOCH, serial(&minted), REASON, BY).await.unwrap();
        match world.core().sign_crl(AUTHORITY, EPOCH, None).await {
            Ok(crl) => assert!(signs && (crl.number, crl.entries) == (2, 1), "{word}: {crl:?}"),
            Err(refused) => {
                assert!(!signs, "{word}: {refused}");
                assert_eq!(codes(&refused), [ReasonCode::EpochNotActive]);
                let last = world.core().latest_crl(AUTHORITY, EPOCH).unwrap().expect("the rotation signed a last one");
                assert!(last.number == 2 && last.next_update.secs() > minted.not_after, "{last:?}");
            }
        }
    }
}

/// Every kind of CA key with every algorithm that it signs with.
#[tokio::test]
async fn openssl_verifies_crls_of_every_kind_of_ca_key() {
    for (root, epoch, signature) in [
        ("ecdsa-p384", "ecdsa-p256", "ecdsa-sha256"),
        ("rsa-2048", "rsa-2048", "rsa-pkcs1-sha256"),
        ("rsa-2048", "rsa-3072", "rsa-pss-sha256"),
        ("ed25519", "ed25519", "ed25519"),
    ] {
        let key = |kind: &str| format!("key = \"{kind}\"");
        let policy = weekly().replacen("key = \"ecdsa-p256\" ", &key(root), 1).replacen(
            "key = \"ecdsa-p256\"\n",
            &format!("{}\nsignature = \"{signature}\"\n", key(epoch)),
            1,
        );
        let world = World::with_policy(Where::Software, &policy).await;
        let minted = world.mint(Asked::sports_api().request()).await.unwrap();
        let pem = Pem::write(&world.path("."), &minted);
        let openssl = OpenSsl::new(&world);
        world.core().revoke_certificate(AUTHORITY, EPOCH, serial(&minted), REASON, BY).await.unwrap();
        for (ca, signer) in [(Ca::Root, &pem.root), (EPOCH, &pem.intermediate), (EPOCH, &pem.mesh_ca)] {
            let crl = openssl.crl("any.crl", &world.core().sign_crl(AUTHORITY, ca, None).await.unwrap());
            let verify = ["crl", "-in", &crl, "-noout", "-verify", "-CAfile", signer.to_str().unwrap()];
            let said = run("openssl", &verify);
            assert!(said.contains("verify OK"), "{root} {epoch} {signature}: {said}");
        }
    }
}

#[tokio::test]
async fn a_distribution_point_keeps_the_two_kinds_of_crl_apart() {
    let declared = policy(
        "crl = { lifetime = \"7d\", refresh = \"1d\", distribution-point = true, root-urls = [\"http://crl.lab.test/root.crl\"] }\n\
         crl-urls = [\"http://crl.lab.test/epoch-{generation}.crl\"]",
    );
    let world = World::with_policy(Where::Software, &declared).await;
    let minted = world.mint(Asked::sports_api().request()).await.unwrap();
    let pem = Pem::write(&world.path("."), &minted);
    let printed = run("openssl", &["x509", "-in", pem.leaf.to_str().unwrap(), "-noout", "-text"]);
    assert!(printed.contains("URI:http://crl.lab.test/epoch-1.crl"), "{printed}");
    let openssl = OpenSsl::new(&world);
    let epoch = openssl.crl("epoch.crl", &world.core().sign_crl(AUTHORITY, EPOCH, None).await.unwrap());
    let root = openssl.crl("root.crl", &world.core().sign_crl(AUTHORITY, Ca::Root, None).await.unwrap());
    for (crl, only, urls) in [(&epoch, "Only User Certificates", 1), (&root, "Only CA Certificates", 0)] {
        let printed = run("openssl", &["crl", "-in", crl, "-noout", "-text"]);
        assert!(printed.contains("Issuing Distribution Point: critical") && printed.contains(only), "{printed}");
        assert_eq!(printed.matches("URI:http://crl.lab.test/epoch-1.crl").count(), urls, "{printed}");
    }
    let printed = run("openssl", &["x509", "-in", pem.intermediate.to_str().unwrap(), "-noout", "-text"]);
    assert!(printed.contains("URI:http://crl.lab.test/root.crl"), "{printed}");
    let (verified, said) =
        openssl.verifies("-crl_check_all", &pem.root, Some(&pem.intermediate), &[&root, &epoch], &pem.leaf);
    assert!(verified, "{said}");
    let (verified, said) = openssl.verifies("-crl_check", &pem.mesh_ca, None, &[&epoch], &pem.leaf);
    assert!(verified, "{said}");
    let (verified, said) = openssl.verifies("-crl_check", &pem.root, Some(&pem.intermediate), &[&root], &pem.leaf);
    assert!(!verified, "the root's CRL says nothing about leaves: {said}");
}

#[tokio::test]
async fn the_last_crl_of_an_epoch_reaches_past_its_last_leaf() {
    let world = World::with_policy(Where::Software, &weekly()).await;
    let minted = world.mint(Asked::sports_api().request()).await.unwrap();
    let past = UnixTime::from_secs(minted.not_after + 1);
    let crl = world.core().sign_crl(AUTHORITY, EPOCH, Some(past)).await.unwrap();
    assert_eq!(crl.next_update, past);
    let beyond = UnixTime::from_secs(world.clocks().now() + 400 * 86_400);
    let refused = world.core().sign_crl(AUTHORITY, EPOCH, Some(beyond)).await.unwrap_err();
    assert_eq!(codes(&refused), [ReasonCode::FieldOutOfLimits]);
    assert_eq!(world.core().latest_crl(AUTHORITY, EPOCH).unwrap(), Some(crl), "the refused one took no number");
}

#[tokio::test]
async fn nothing_is_signed_for_an_authority_without_crls_and_the_refusal_is_logged() {
    let mut world = World::new(Where::Software).await;
    let before = world.key_uses();
    let refused = world.core().sign_crl(AUTHORITY, EPOCH, None).await.unwrap_err();
    assert_eq!(codes(&refused), [ReasonCode::CrlNotConfigured]);
    assert_eq!(world.key_uses(), before);
    assert_eq!(world.core().latest_crl(AUTHORITY, EPOCH), Ok(None));
    let log = world.log_after_stop().await;
    let refused = log.decisions("refused");
    assert_eq!((refused.len(), &refused[0]["method"], &refused[0]["caller"]), (1, &"SignCrl".into(), &"signer".into()));
}

#[tokio::test]
async fn what_cannot_be_revoked_is_refused_with_a_reason_and_an_entry() {
    let mut world = World::with_policy(Where::Software, &weekly()).await;
    let minted = world.mint(Asked::sports_api().request()).await.unwrap();
    let core = world.core().clone();
    let revoke = |ca, serial| core.revoke_certificate(AUTHORITY, ca, serial, REASON, BY);
    let mesh_ca = hallmark_policy::stored_serial(hallmark_tests::tools::tbs(&minted.mesh_ca)).unwrap();
    let root = hallmark_policy::stored_serial(hallmark_tests::tools::tbs(&minted.root)).unwrap();
    for (ca, serial) in [
        (EPOCH, Serial::from_random([9; 16])),
        (Ca::Root, serial(&minted)),
        (EPOCH, Serial::from_stored(&mesh_ca).unwrap()),
        (Ca::Root, Serial::from_stored(&root).unwrap()),
    ] {
        assert_eq!(codes(&revoke(ca, serial).await.unwrap_err()), [ReasonCode::CertificateUnknown]);
    }
    world.clocks().pass(31 * 86_400);
    assert_eq!(codes(&revoke(EPOCH, serial(&minted)).await.unwrap_err()), [ReasonCode::CertificateUnknown]);
    let unknown = core.revoke_certificate("other", EPOCH, serial(&minted), REASON, BY).await.unwrap_err();
    assert_eq!(codes(&unknown), [ReasonCode::AuthorityUnknown]);
    let unknown = core.revoke_epoch(AUTHORITY, 2, REASON, BY).await.unwrap_err();
    assert_eq!(codes(&unknown), [ReasonCode::AuthorityUnknown]);
    let log = world.log_after_stop().await;
    assert_eq!((log.decisions("refused").len(), log.of_type("revocation").count()), (5, 0));
}

#[tokio::test]
async fn an_operator_revokes_the_intermediate_of_any_epoch_that_is_over_and_of_no_other() {
    let mut world = World::with_policy(Where::SoftHsm, &weekly()).await;
    for generation in 2..=4 {
        world.prepare_epoch(0).await.unwrap();
        if generation < 4 {
            world.activate_epoch(generation, false).await.unwrap();
        }
    }
    for (generation, why, code) in [
        (3, "it serves", "EPOCH_NOT_ACTIVE"),
        (4, "it is being made", "EPOCH_NOT_ACTIVE"),
        (9, "there is none", "AUTHORITY_UNKNOWN"),
        (1, "", "FIELD_OUT_OF_LIMITS"),
    ] {
        assert_eq!(revoke_epoch(&world, generation, why).await.unwrap_err().reasons, [code], "{generation}");
    }
    let revoked = revoke_epoch(&world, 1, "its key was stolen").await.unwrap();
    let again = revoke_epoch(&world, 1, "really").await.unwrap();
    assert_eq!((revoked.before, revoked.reason.as_str()), (false, "key-compromise"));
    assert_eq!((again.before, again.log_index, &again.serial), (true, revoked.log_index, &revoked.serial));
    world.abort_epoch(4, "unwanted").await.unwrap();
    assert!(!revoke_epoch(&world, 4, "nobody is to take it").await.unwrap().before);
    let crl = world.core().sign_crl(AUTHORITY, Ca::Root, None).await.unwrap();
    let path = world.path("root.crl");
    std::fs::write(&path, pem("X509 CRL", &crl.der)).unwrap();
    let printed = run("openssl", &["crl", "-in", path.to_str().unwrap(), "-noout", "-text"]);
    let serial = hallmark_policy::hex(&revoked.serial).to_uppercase();
    assert!(printed.contains(&serial) && printed.contains("Key Compromise") && crl.entries == 2, "{printed}");
    let log = world.log_after_stop().await;
    let commands: Vec<_> = log.of_type("operator-command").collect();
    assert_eq!(commands.len(), 2, "who asks again commands nothing");
    assert_eq!(
        (&commands[0]["selection"][0], &commands[0]["reason"]),
        (&"epoch:1".into(), &"its key was stolen".into())
    );
    assert_eq!(log.of_type("revocation").count(), 2);
}

async fn revoke_epoch(world: &World, generation: u64, why: &str) -> Result<RevokeEpochResponse, Refused> {
    let (authority, reason) = (AUTHORITY.to_owned(), "key-compromise".to_owned());
    let request = RevokeEpochRequest { authority, generation, reason, why: why.to_owned() };
    decoded(world.operate("RevokeEpoch", &caller_certificate(OPERATOR), request.encode_to_vec()).await)
}

#[tokio::test]
async fn a_revocation_outlives_a_restart_and_its_receipt_proves_it() {
    let mut world = World::with_policy(Where::Software, &weekly()).await;
    let minted = world.mint(Asked::sports_api().request()).await.unwrap();
    let revoked = world.core().revoke_certificate(AUTHORITY, EPOCH, serial(&minted), REASON, BY).await.unwrap();
    let first = world.core().sign_crl(AUTHORITY, EPOCH, None).await.unwrap();
    world.restart().await;
    assert_eq!(world.core().latest_crl(AUTHORITY, EPOCH).unwrap(), Some(first));
    let again =
        world.core().revoke_certificate(AUTHORITY, EPOCH, serial(&minted), RevocationReason::Superseded, BY).await;
    let again = again.unwrap();
    assert_eq!((again.before, again.reason, again.log_index), (true, REASON, revoked.log_index));
    let second = world.core().sign_crl(AUTHORITY, EPOCH, None).await.unwrap();
    assert_eq!((second.number, second.entries), (2, 1));
    let log = world.log_after_stop().await;
    let index = usize::try_from(revoked.log_index).unwrap();
    log.proves_entry(revoked.log_index, &revoked.receipt, &log.raw[index]);
    assert_eq!(log.entries[index]["by"], BY);
    let crls: Vec<_> = log.of_type("decision").filter(|entry| entry["stage"] == "crl").collect();
    let numbers: Vec<_> = crls.iter().map(|entry| entry["crl-number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2]);
    assert!(crls.iter().all(|entry| entry["newest-revocation"].as_u64() == Some(revoked.log_index)));
}

/// Invariant 1: no CRL signature without an earlier durable entry.
#[tokio::test]
async fn of_racing_crls_and_revocations_each_crl_lists_all_that_its_entry_says() {
    let mut world = World::with_policy(Where::Software, &weekly()).await;
    let mut minted = Vec::new();
    for _ in 0..8 {
        minted.push(serial(&world.mint(Asked::sports_api().request()).await.unwrap()));
    }
    let core = world.core().clone();
    let signing: Vec<_> = (0..6)
        .map(|_| {
            let core = core.clone();
            tokio::spawn(async move { core.sign_crl(AUTHORITY, EPOCH, None).await })
        })
        .collect();
    let revoking: Vec<_> = minted
        .into_iter()
        .map(|serial| {
            let core = core.clone();
            tokio::spawn(async move { core.revoke_certificate(AUTHORITY, EPOCH, serial, REASON, BY).await })
        })
        .collect();
    for revoked in revoking {
        revoked.await.unwrap().unwrap();
    }
    for signed in signing {
        // One that was overtaken again and again says so, and signs nothing.
        if let Err(refused) = signed.await.unwrap() {
            assert_eq!(codes(&refused), [ReasonCode::CrlStale]);
        }
    }
    let last = core.sign_crl(AUTHORITY, EPOCH, None).await.unwrap();
    assert_eq!(last.entries, 8);
    drop(core);
    let log = world.log_after_stop().await;
    let (mut revoked, mut number) = (0, 0);
    for entry in &log.entries {
        revoked += u64::from(entry["type"] == "revocation");
        if entry["stage"] == "crl" && entry["decision"] == "issued" {
            number += 1;
            assert_eq!((entry["crl-number"].as_u64(), entry["entries"].as_u64()), (Some(number), Some(revoked)));
        }
    }
    assert_eq!(number, last.number);
}

#[tokio::test]
async fn a_wall_clock_that_runs_ahead_makes_no_certificate_ended_and_what_is_revoked_meanwhile_is_listed() {
    for place in EVERYWHERE {
        let mut world = World::with_policy(place, &weekly()).await;
        let minted = world.mint(Asked::sports_api().request()).await.unwrap();
        let ahead = 400 * 86_400;
        world.clocks().leap(ahead);
        let revoked = world.core().revoke_certificate(AUTHORITY, EPOCH, serial(&minted), REASON, BY).await.unwrap();
        assert!(!revoked.before);
        assert!(world.core().sign_crl(AUTHORITY, EPOCH, None).await.is_err(), "with such a clock nothing is signed");
        world.clocks().leap(-ahead);
        world.stop().await;
        world.start_with(false, true).await.unwrap();
        assert_eq!(world.core().sign_crl(AUTHORITY, EPOCH, None).await.unwrap().entries, 1);
    }
}

#[tokio::test]
async fn what_has_ended_by_a_clock_that_can_be_trusted_is_not_revoked() {
    let world = World::with_policy(Where::Software, &weekly()).await;
    let minted = world.mint(Asked::sports_api().request()).await.unwrap();
    world.clocks().pass(100 * 86_400);
    let refused = world.core().revoke_certificate(AUTHORITY, EPOCH, serial(&minted), REASON, BY).await.unwrap_err();
    assert_eq!(codes(&refused), [ReasonCode::CertificateUnknown]);
}
