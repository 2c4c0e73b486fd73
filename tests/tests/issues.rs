//! What the signer issues, and how often.

use std::collections::BTreeSet;

use hallmark_policy::{
    key::{KeyKind, PublicKey, SignatureAlgorithm},
    stored_validity,
};
use hallmark_proto::signer::{
    EpochSelector, GetChainRequest, MintCertificateRequest, SubjectAltName, epoch_selector::By,
    mint_certificate_request::Subject, subject_alt_name::Name,
};
use hallmark_tests::{
    EVERYWHERE, Where, World,
    asking::{Asked, athenz, join_all, request_id},
    example_policy,
    tools::{Pem, run},
};

fn spki_request(profile: &str, spki: Vec<u8>) -> MintCertificateRequest {
    let name = |name| SubjectAltName { name: Some(name) };
    MintCertificateRequest {
        profile: profile.to_owned(),
        request_id: request_id(),
        subject: Some(Subject::Spki(spki.into())),
        subject_alt_names: vec![
            name(Name::Dns("cart.shop.mesh.internal".to_owned())),
            name(Name::Uri("spiffe://mesh.internal/ns/shop/sa/cart".to_owned())),
        ],
        ..MintCertificateRequest::default()
    }
}

fn p256_spki() -> Vec<u8> {
    use rcgen::PublicKeyData as _;
    rcgen::KeyPair::generate().unwrap().subject_public_key_info()
}

#[tokio::test]
async fn a_certificate_is_minted_and_its_receipt_proves_the_decision() {
    for place in EVERYWHERE {
        let mut world = World::new(place).await;
        let minted = world.mint(Asked::sports_api().request()).await.unwrap();
        assert_eq!(minted.serial.len(), 17);
        assert_eq!(minted.not_after - world.clocks().now(), 30 * 86_400);
        assert_eq!(minted.not_before, world.chain_not_before().await.max(world.clocks().now() - 300));
        let log = world.log_after_stop().await;
        log.proves(&minted);
        let entry = &log.entries[usize::try_from(minted.log_index).unwrap()];
        assert_eq!(entry["decision"], "issued");
        assert_eq!(entry["caller"], "coordinator");
        assert_eq!(entry["serial"], hallmark_policy::hex(&minted.serial));
        assert_eq!(entry["possession"], "csr");
        let names = ["cn:sports.api", "dns:api.sports.lab.athenz.cloud", "dns:i-1.instanceid.athenz.lab.athenz.cloud"];
        assert_eq!(entry["names"], serde_json::json!(names));
    }
}

#[tokio::test]
async fn openssl_verifies_it_under_the_root_and_under_the_mesh_ca() {
    for place in EVERYWHERE {
        let world = World::new(place).await;
        let minted = world.mint(Asked::sports_api().request()).await.unwrap();
        let pem = Pem::write(&world.path("."), &minted);
        let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
        let at = world.clocks().now().to_string();
        let (root, intermediate, mesh_ca, leaf) =
            (text(&pem.root), text(&pem.intermediate), text(&pem.mesh_ca), text(&pem.leaf));
        let strict = ["verify", "-x509_strict", "-attime", &at];
        run("openssl", &[&strict[..], &["-CAfile", &root, "-untrusted", &intermediate, &leaf]].concat());
        run("openssl", &[&strict[..], &["-CAfile", &mesh_ca, &leaf]].concat());
    }
}

/// Every kind of CA key with every algorithm that it signs with.
#[tokio::test]
async fn every_kind_of_ca_key_signs_a_chain_that_openssl_verifies() {
    for (root, epoch, signature) in [
        ("ecdsa-p384", "ecdsa-p256", "ecdsa-sha256"),
        ("rsa-2048", "rsa-2048", "rsa-pkcs1-sha256"),
        ("rsa-4096", "rsa-2048", "rsa-pss-sha256"),
        ("ed25519", "ecdsa-p384", "ecdsa-sha384"),
        ("ecdsa-p256", "ed25519", "ed25519"),
    ] {
        let policy = policy_with_keys(root, epoch, signature);
        for place in EVERYWHERE {
            let world = World::with_policy(place, &policy).await;
            let minted = world.mint(Asked::sports_api().request()).await.unwrap();
            let pem = Pem::write(&world.path("."), &minted);
            let at = world.clocks().now().to_string();
            let path = |path: &std::path::PathBuf| path.to_str().unwrap().to_owned();
            let (root, intermediate, leaf) = (path(&pem.root), path(&pem.intermediate), path(&pem.leaf));
            let arguments =
                ["verify", "-x509_strict", "-attime", &at, "-CAfile", &root, "-untrusted", &intermediate, &leaf];
            run("openssl", &arguments);
        }
    }
}

fn policy_with_keys(root: &str, epoch: &str, signature: &str) -> String {
    let policy = example_policy();
    let (before, after) = policy.split_once("[authority.athenz.epoch]").unwrap();
    let key = "key = \"ecdsa-p256\"";
    let before = before.replacen(key, &format!("key = \"{root}\""), 1);
    let after = after.replacen(key, &format!("key = \"{epoch}\"\nsignature = \"{signature}\""), 1);
    format!("{before}[authority.athenz.epoch]{after}")
}

#[test]
fn the_policies_of_these_tests_ask_for_the_keys_they_name() {
    let policy = hallmark_policy::Policy::parse(&policy_with_keys("ed25519", "rsa-4096", "rsa-pss-sha256")).unwrap();
    let authority = policy.authority("athenz").unwrap();
    assert_eq!((authority.root.key, authority.epoch.key), (KeyKind::Ed25519, KeyKind::Rsa4096));
    assert_eq!(authority.epoch.algorithm, SignatureAlgorithm::RsaPssSha256);
}

#[tokio::test]
async fn subject_keys_of_every_kind_are_certified() {
    let world = World::new(Where::Software).await;
    for algorithm in
        [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519, &rcgen::PKCS_RSA_SHA256]
    {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let minted = world.mint(athenz(Asked::sports_api().csr_with(&key))).await.unwrap();
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        assert!(minted.certificate.windows(spki.len()).any(|window| window == spki), "the certificate has its key");
    }
}

#[tokio::test]
async fn a_bare_key_is_taken_where_the_profile_says_that_the_caller_answers_and_the_log_says_so() {
    let mut world = World::new(Where::Software).await;
    let minted = world.mint(spki_request("mesh", p256_spki())).await.unwrap();
    let log = world.log_after_stop().await;
    log.proves(&minted);
    assert_eq!(log.decisions("issued").last().unwrap()["possession"], "caller");
}

#[tokio::test]
async fn the_same_request_id_gives_the_same_bytes_also_after_a_restart() {
    for place in EVERYWHERE {
        let mut world = World::new(place).await;
        let request = Asked::sports_api().request();
        let first = world.mint(request.clone()).await.unwrap();
        let again = world.mint(request.clone()).await.unwrap();
        world.clocks().pass(3_600);
        world.restart().await;
        let later = world.mint(request).await.unwrap();
        for repeated in [&again, &later] {
            assert!(repeated.replayed);
            assert_eq!(repeated.certificate, first.certificate);
            assert_eq!(repeated.log_index, first.log_index);
            assert_eq!(repeated.log_entry, first.log_entry);
        }
        let log = world.log_after_stop().await;
        [first, again, later].iter().for_each(|response| log.proves(response));
        assert_eq!(leaves(&log), 1);
    }
}

fn leaves(log: &hallmark_tests::log::Log) -> usize {
    log.decisions("issued").iter().filter(|entry| entry["stage"] == "leaf").count()
}

#[tokio::test]
async fn the_same_request_id_with_other_content_is_an_error_and_changes_nothing() {
    let mut world = World::new(Where::Software).await;
    let request = Asked::sports_api().request();
    let first = world.mint(request.clone()).await.unwrap();
    let other = MintCertificateRequest { lifetime_seconds: 3_600, ..request.clone() };
    let refused = world.mint(other).await.unwrap_err();
    assert_eq!((refused.code, refused.reasons), (6, vec!["REQUEST_ID_REUSED".to_owned()]));
    assert_eq!(world.mint(request).await.unwrap().certificate, first.certificate);
    let log = world.log_after_stop().await;
    log.proves_refusal(&refused.logged.unwrap());
    assert_eq!(log.decisions("refused").len(), 1);
}

#[tokio::test]
async fn a_refusal_binds_no_request_id() {
    let world = World::new(Where::Software).await;
    let good = Asked::sports_api().request();
    let bad = MintCertificateRequest { lifetime_seconds: 31 * 86_400, ..good.clone() };
    assert_eq!(world.mint(bad).await.unwrap_err().reasons, ["LIFETIME_TOO_LONG"]);
    assert!(world.mint(good).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_calls_with_one_request_id_get_one_certificate_signed_once() {
    let mut world = World::new(Where::SoftHsm).await;
    let before = world.key_uses();
    let request = Asked::sports_api().request();
    let calls = (0..32).map(|_| world.mint(request.clone()));
    let certificates: BTreeSet<_> =
        join_all(calls).await.into_iter().map(|minted| minted.unwrap().certificate.to_vec()).collect();
    assert_eq!(certificates.len(), 1);
    assert_eq!(world.key_uses() - before, 1);
    assert_eq!(leaves(&world.log_after_stop().await), 1);
}

#[tokio::test]
async fn validate_only_touches_no_key_takes_no_id_and_is_logged_as_such() {
    let mut world = World::new(Where::SoftHsm).await;
    let before = world.key_uses();
    let request = Asked::sports_api().request();
    let validated = world.mint(MintCertificateRequest { validate_only: true, ..request.clone() }).await.unwrap();
    assert!(validated.certificate.is_empty() && validated.serial.is_empty());
    assert_eq!(world.key_uses(), before);
    world.mint(request).await.unwrap();
    let log = world.log_after_stop().await;
    log.proves(&validated);
    assert_eq!((log.decisions("validated").len(), leaves(&log)), (1, 1));
}

#[tokio::test]
async fn a_lifetime_over_the_maximum_is_clamped_where_the_profile_says_so() {
    let world = World::new(Where::Software).await;
    let request = MintCertificateRequest { lifetime_seconds: 90 * 86_400, ..spki_request("mesh", p256_spki()) };
    let minted = world.mint(request).await.unwrap();
    assert_eq!(minted.not_after - world.clocks().now(), 7 * 86_400);
}

#[tokio::test]
async fn a_leaf_never_outlives_its_epoch() {
    let mut world = World::new(Where::Software).await;
    let chain = world.chain(GetChainRequest { authority: "athenz".to_owned(), epoch: None }).await.unwrap();
    let epoch_end = validity_of(&chain.intermediate).1;
    world.clocks().pass(360 * 86_400);
    world.restart().await;
    let refused = world.mint(Asked::sports_api().request()).await.unwrap_err();
    assert_eq!((refused.code, refused.reasons), (9, vec!["LIFETIME_BEYOND_ISSUER".to_owned()]));
    let clamped = world.mint(spki_request("mesh", p256_spki())).await.unwrap();
    assert!(clamped.not_after <= epoch_end);
    world.clocks().pass(6 * 86_400);
    assert_eq!(world.mint(spki_request("mesh", p256_spki())).await.unwrap_err().reasons, ["LIFETIME_BEYOND_ISSUER"]);
}

fn validity_of(certificate: &[u8]) -> (i64, i64) {
    let validity = stored_validity(hallmark_tests::tools::tbs(certificate)).unwrap();
    (validity.not_before.secs(), validity.not_after.secs())
}

#[tokio::test]
async fn ca_certificates_are_made_once_and_are_the_same_bytes_ever_after() {
    for place in EVERYWHERE {
        let mut world = World::new(place).await;
        let request = GetChainRequest { authority: "athenz".to_owned(), epoch: None };
        let first = world.chain(request.clone()).await.unwrap();
        for _ in 0..3 {
            world.clocks().pass(60);
            world.stop().await;
            world.start(true).await.unwrap();
            assert_eq!(world.chain(request.clone()).await.unwrap(), first);
        }
        let log = world.log_after_stop().await;
        for stage in ["root", "intermediate", "mesh-ca"] {
            assert_eq!(log.decisions("issued").iter().filter(|entry| entry["stage"] == stage).count(), 1, "{stage}");
        }
    }
}

#[tokio::test]
async fn an_epoch_is_found_by_generation_and_by_transition() {
    let world = World::new(Where::Software).await;
    let ask = |by| GetChainRequest { authority: "athenz".to_owned(), epoch: Some(EpochSelector { by: Some(by) }) };
    let first = world.chain(ask(By::Generation(1))).await.unwrap();
    assert!(first.active);
    let transition = first.epoch.clone().unwrap().transition;
    assert_eq!(world.chain(ask(By::Transition(transition))).await.unwrap(), first);
    assert_eq!(world.chain(ask(By::Generation(2))).await.unwrap_err().code, 5);
}

#[tokio::test]
async fn intermediate_and_mesh_ca_share_subject_and_key_and_bind_their_epoch() {
    let world = World::new(Where::SoftHsm).await;
    let chain = world.chain(GetChainRequest { authority: "athenz".to_owned(), epoch: None }).await.unwrap();
    let file = |name: &str, der: &[u8]| {
        world.write(name, &hallmark_tests::tools::pem("CERTIFICATE", der));
        world.path(name).to_str().unwrap().to_owned()
    };
    let show = |path: &str, what: &[&str]| run("openssl", &[&["x509", "-noout", "-in", path], what].concat());
    let intermediate = file("i.pem", &chain.intermediate);
    let mesh = file("m.pem", &chain.mesh_ca);
    let root = file("r.pem", &chain.root);
    for what in [&["-subject"][..], &["-pubkey"], &["-ext", "subjectKeyIdentifier"]] {
        assert_eq!(show(&intermediate, what), show(&mesh, what));
    }
    let constraints = |path| show(path, &["-ext", "basicConstraints"]);
    assert!(constraints(&root).contains("CA:TRUE, pathlen:1"));
    assert!(constraints(&intermediate).contains("CA:TRUE, pathlen:0"));
    assert!(constraints(&mesh).contains("CA:TRUE, pathlen:0"));
    let transition = chain.epoch.unwrap().transition;
    for certificate in [&chain.intermediate, &chain.mesh_ca] {
        assert!(certificate.windows(32).any(|window| window == transition.as_ref()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sequence_numbers_of_an_issuer_have_no_gaps_under_load() {
    let mut world = World::new(Where::SoftHsm).await;
    let calls = (0..64).map(|number| {
        let mut request = Asked::sports_api().request();
        if number % 4 == 0 {
            request.lifetime_seconds = 99 * 86_400;
        }
        world.mint(request)
    });
    let results = join_all(calls).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 48);
    let log = world.log_after_stop().await;
    let leaves = log.decisions("issued").into_iter().filter(|entry| entry["stage"] == "leaf");
    let issuer = log.decisions("issued").last().unwrap()["issuer"]["spki-sha256"].clone();
    let sequence: Vec<_> = log
        .decisions("issued")
        .iter()
        .filter(|entry| entry["issuer"]["spki-sha256"] == issuer)
        .map(|entry| entry["issuer"]["sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(leaves.count(), 48);
    assert!(sequence.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{sequence:?}");
    results.iter().flatten().for_each(|minted| log.proves(minted));
}

trait ChainOf {
    async fn chain_not_before(&self) -> i64;
}

impl ChainOf for World {
    async fn chain_not_before(&self) -> i64 {
        let chain = self.chain(GetChainRequest { authority: "athenz".to_owned(), epoch: None }).await.unwrap();
        validity_of(&chain.intermediate).0
    }
}

#[tokio::test]
async fn the_leaf_carries_the_key_of_the_csr() {
    let world = World::new(Where::Software).await;
    let key = rcgen::KeyPair::generate().unwrap();
    let minted = world.mint(athenz(Asked::sports_api().csr_with(&key))).await.unwrap();
    use rcgen::PublicKeyData as _;
    let spki = key.subject_public_key_info();
    assert!(PublicKey::parse(&spki).is_ok());
    assert!(minted.certificate.windows(spki.len()).any(|window| window == spki));
}

/// The example policy with one more profile, which the coordinator may use.
fn policy_with(profile: &str) -> String {
    let policy = example_policy()
        .replace("profiles = [\"athenz-service\", \"mesh\"]", "profiles = [\"athenz-service\", \"mesh\", \"more\"]");
    policy
        + "\n[profile.more]\nauthority = \"athenz\"\nlifetime = { default = \"1d\", maximum = \"1d\" }\n\
           keys = [\"ecdsa-p256\"]\nusages = [\"server-auth\"]\npossession = \"caller\"\n"
        + profile
}

fn named(common_name: &str, names: &[Name]) -> MintCertificateRequest {
    MintCertificateRequest {
        common_name: common_name.to_owned(),
        subject_alt_names: names.iter().map(|name| SubjectAltName { name: Some(name.clone()) }).collect(),
        ..spki_request("more", p256_spki())
    }
}

#[tokio::test]
async fn openssl_prints_every_kind_of_name_as_it_was_approved_and_folded() {
    let profile = "case = \"fold\"\nnames = [{ dns = \"{host}.more.example\" }, { dns = \"*.{host}.more.example\" }, \
                   { ip = \"10.0.0.0/8\" }, { ip = \"2001:db8::/32\" }, { email = \"{host}@more.example\" }, \
                   { uri = \"spiffe://more.example/ns/{path}\" }]\n\
                   parts = { host = { shape = \"label\" }, path = { shape = \"path\" } }\n";
    let mut world = World::with_policy(Where::Software, &policy_with(profile)).await;
    let v6: std::net::Ipv6Addr = "2001:db8::7".parse().unwrap();
    let names = [
        Name::Dns("WEB.more.Example".to_owned()),
        Name::Dns("*.web.MORE.example".to_owned()),
        Name::Ip(vec![10, 1, 2, 3].into()),
        Name::Ip(v6.octets().to_vec().into()),
        Name::Email("web@more.example".to_owned()),
        Name::Uri("SPIFFE://more.example/ns/A/b".to_owned()),
    ];
    let minted = world.mint(named("", &names)).await.unwrap();
    let pem = Pem::write(&world.path("."), &minted);
    let said =
        run("openssl", &["x509", "-noout", "-in", pem.leaf.to_str().unwrap(), "-subject", "-ext", "subjectAltName"]);
    let said: Vec<_> = said.lines().map(str::trim).collect();
    let expected = "DNS:web.more.example, DNS:*.web.more.example, IP Address:10.1.2.3, IP Address:2001:DB8:0:0:0:0:0:7, \
                    email:web@more.example, URI:spiffe://more.example/ns/A/b";
    assert_eq!(said, ["subject=", "X509v3 Subject Alternative Name: critical", expected]);
    let log = world.log_after_stop().await;
    let entry = &log.entries[usize::try_from(minted.log_index).unwrap()];
    let logged = [
        "dns:web.more.example",
        "dns:*.web.more.example",
        "ip:10.1.2.3",
        "ip:2001:db8::7",
        "email:web@more.example",
        "uri:spiffe://more.example/ns/A/b",
    ];
    assert_eq!(entry["names"], serde_json::json!(logged), "what is logged is what is signed");
}

#[tokio::test]
async fn of_two_domains_that_are_written_alike_the_second_is_refused_and_touches_no_key() {
    let profile = "dashes = \"claimed\"\ncommon-name = \"{domain}:{service}\"\n\
                   names = [{ dns = \"{service}.{domain:dashes}.more.example\" }]\n";
    let world = World::with_policy(Where::SoftHsm, &policy_with(profile)).await;
    let asking = |domain: &str| named(&format!("{domain}:api"), &[Name::Dns("api.a-b-c.more.example".to_owned())]);
    world.mint(asking("a.b-c")).await.unwrap();
    let before = world.key_uses();
    let refused = world.mint(asking("a-b.c")).await.unwrap_err();
    assert_eq!((refused.code, refused.reasons), (6, vec!["NAME_CLAIMED".to_owned()]), "{}", refused.message);
    assert_eq!(world.key_uses(), before);
    world.mint(asking("a.b-c")).await.unwrap();
}
