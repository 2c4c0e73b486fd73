//! Minting: what is sent, checked, written and said.

use crate::support::{World, log, signer::FakeSigner};
use hallmark_proto::signer::{MintCertificateResponse, mint_certificate_request::Subject, subject_alt_name::Name};
use insta::assert_snapshot;
use rcgen::KeyPair;

const MINT: &str = "mint --profile athenz-service --csr service.csr --request-id r-1";

#[test]
fn a_minted_certificate_is_written_with_its_chain_and_described() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    let words = format!("{MINT} --out leaf.pem --chain-out chain.pem --receipt-out receipt.txt --log-key log.vkey");
    let run = world.run(signer.command(&words));
    assert_snapshot!(run.told());
    let leaf = world.read("leaf.pem");
    assert_eq!(leaf.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(leaf.ends_with(&world.read("chain.pem")));
    assert_eq!(world.read("receipt.txt"), signer.good.receipt);
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(world.path("leaf.pem").metadata().unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn without_an_out_file_the_certificate_is_all_that_stdout_has() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    let run = world.run(signer.command(MINT));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.starts_with("-----BEGIN CERTIFICATE-----\n"));
    assert!(run.stdout.ends_with("-----END CERTIFICATE-----\n"));
    assert!(run.stderr.contains("not verified: give the log's verifier key with --log-key"), "{}", run.stderr);
}

#[test]
fn everything_that_was_typed_is_sent() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    let digest = "c0".repeat(32);
    let words = format!(
        "mint --profile mesh/workload --spki service.pub --dns a.example --dns b.example --uri spiffe://x/y \
         --ip 10.0.0.1 --ip 2001:db8::1 --email a@b.example --common-name x --lifetime 24h --transition {digest} --evidence-sha256 {digest} --policy-hash {digest}"
    );
    assert_eq!(world.run(signer.command(&words)).code, 0);
    let seen = signer.state.minted.lock().unwrap().pop().unwrap();
    assert_eq!((seen.authority.as_str(), seen.profile.as_str()), ("mesh", "workload"));
    assert_eq!((seen.lifetime_seconds, seen.common_name.as_str()), (86_400, "x"));
    assert_eq!((seen.transition.as_ref(), seen.evidence_sha256.as_ref()), ([0xc0; 32].as_ref(), [0xc0; 32].as_ref()));
    assert_eq!(seen.policy_hash.as_ref(), [0xc0; 32]);
    let names: Vec<_> = seen.subject_alt_names.into_iter().map(|name| name.name.unwrap()).collect();
    let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let wanted = [
        Name::Dns("a.example".to_owned()),
        Name::Dns("b.example".to_owned()),
        Name::Uri("spiffe://x/y".to_owned()),
        Name::Ip(vec![10, 0, 0, 1].into()),
        Name::Ip(v6.to_vec().into()),
        Name::Email("a@b.example".to_owned()),
    ];
    assert_eq!(names, wanted);
    assert_eq!(seen.request_id.len(), 36, "a random one");
    let Some(Subject::Spki(spki)) = seen.subject else { panic!("an SPKI was sent") };
    assert_eq!(spki.first(), Some(&0x30), "as DER");
}

#[test]
fn evidence_is_sent_as_it_stands_in_its_file_without_the_space_around_it() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    world.write("api.jwt", "e30.e30.AA\n");
    assert_eq!(world.run(signer.command(&format!("{MINT} --evidence-jwt api.jwt"))).code, 0);
    assert_eq!(signer.state.minted.lock().unwrap().pop().unwrap().evidence_jwt, "e30.e30.AA");
    let run = world.run(signer.command(&format!("{MINT} --evidence-jwt missing.jwt")));
    assert!(run.code == 2 && run.stderr.contains("`missing.jwt` cannot be read"), "{}", run.told());
}

#[test]
fn names_go_with_a_bare_key_and_an_address_is_one() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    for (flags, told) in [
        ("--csr service.csr --ip 10.0.0.1", "the argument '--csr <FILE>' cannot be used with"),
        ("--csr service.csr --email a@b.example", "the argument '--csr <FILE>' cannot be used with"),
        ("--spki service.pub --ip 10.0.0", "invalid value '10.0.0' for '--ip <ADDRESS>'"),
        ("--spki service.pub --ip 10.0.0.0/8", "invalid value '10.0.0.0/8' for '--ip <ADDRESS>'"),
    ] {
        let run = world.run(signer.command(&format!("mint --profile mesh {flags}")));
        assert!(run.code == 2 && run.stderr.contains(told), "{flags}: {}", run.told());
    }
    assert!(signer.state.minted.lock().unwrap().is_empty(), "nothing was asked");
}

#[test]
fn json_has_everything_and_people_nothing() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    let json = world.run(signer.command(&format!("{MINT} --json --log-key log.vkey"))).json();
    assert_eq!(json["result"], "minted");
    assert_eq!(json["serial"], "5a".repeat(17));
    assert_eq!(json["receipt-verified"], true);
    assert_eq!(json["epoch"]["generation"], 1);
    assert_eq!(json["not-after"], "2026-12-01T00:00:00Z");
    assert_eq!(json["receipt"], signer.good.receipt);
}

#[test]
fn a_file_that_exists_is_not_overwritten_and_nothing_is_asked() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    world.write("leaf.pem", "theirs");
    let run = world.run(signer.command(&format!("{MINT} --out leaf.pem")));
    assert_snapshot!(run.told());
    assert_eq!((world.read("leaf.pem").as_str(), signer.state.minted.lock().unwrap().len()), ("theirs", 0));
    assert_eq!(world.run(signer.command(&format!("{MINT} --out leaf.pem --force"))).code, 0);
    assert!(world.read("leaf.pem").starts_with("-----BEGIN"));
}

/// The good answer without a signature.
fn validated(signer: &FakeSigner) -> MintCertificateResponse {
    let entry = log::validated(log::THEN_MILLIS);
    let receipt = log::receipt(std::slice::from_ref(&entry), 0);
    let (certificate, serial) = Default::default();
    MintCertificateResponse { certificate, serial, receipt, log_entry: entry.into(), ..signer.good.clone() }
}

#[test]
fn an_instance_registers_and_refreshes_with_the_certificate_that_it_replaces() {
    use hallmark_proto::signer::{InstanceRefresh, InstanceRegister, instance_intent::Intent};
    let world = World::new();
    let signer = FakeSigner::start(&world);
    let run = world.run(signer.command(&format!("{MINT} --register --out leaf.pem")));
    assert_eq!(run.code, 0, "{}", run.told());
    let intent = || signer.state.minted.lock().unwrap().pop().unwrap().instance.and_then(|instance| instance.intent);
    assert_eq!(intent(), Some(Intent::Register(InstanceRegister {})));
    world.write("proof", "signature");
    let run = world.run(signer.command(&format!("{MINT} --refresh leaf.pem --refresh-proof proof --out new.pem")));
    assert_eq!(run.code, 0, "{}", run.told());
    let refresh = InstanceRefresh {
        current_certificate: signer.good.certificate.clone(),
        possession_signature: b"signature".as_ref().into(),
    };
    assert_eq!(intent(), Some(Intent::Refresh(refresh)));
    assert_eq!(world.run(signer.command(MINT)).code, 0);
    assert_eq!(intent(), None);
    for (wrong, told) in [
        ("--register --refresh leaf.pem", "cannot be used with"),
        ("--refresh-proof proof", "--refresh <FILE>"),
        ("--refresh service.csr", "`service.csr` holds no certificate"),
    ] {
        let run = world.run(signer.command(&format!("{MINT} {wrong}")));
        assert!(run.code == 2 && run.stderr.contains(told), "{}", run.told());
    }
}

#[test]
fn a_validation_writes_nothing() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    signer.answer(Some(Ok(validated(&signer))));
    let words = format!("{MINT} --validate-only --log-key log.vkey");
    let run = world.run(signer.command(&format!("{words} --out leaf.pem --chain-out chain.pem")));
    assert_snapshot!(run.told());
    assert!(!world.path("leaf.pem").exists() && !world.path("chain.pem").exists());
    let json = world.run(signer.command(&format!("{words} --json"))).json();
    assert_eq!(json["result"], "validated");
    assert_eq!(json["subject"], "CN=sports.api");
    assert_eq!(json["names"], serde_json::json!(["dns:api.sports.lab.athenz.cloud"]));
    assert_eq!((&json["serial"], &json["certificate"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    assert_eq!((&json["not-after"], &json["epoch"]["generation"]), (&"2026-12-01T00:00:00Z".into(), &1.into()));
}

#[test]
fn a_validation_is_compared_with_the_transition_that_was_named() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    signer.answer(Some(Ok(validated(&signer))));
    let with = |digest: &str| world.run(signer.command(&format!("{MINT} --validate-only --transition {digest}")));
    let run = with(&"c0".repeat(32));
    assert_eq!(run.code, 0, "{}", run.told());
    let run = with(&"ab".repeat(32));
    assert!(run.code == 1 && run.stderr.contains("not of the transition that was named"), "{}", run.told());
}

#[test]
fn a_validation_that_does_not_hold_is_no_success() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    let other = FakeSigner::start(&World::new()).good.clone();
    type Change<'a> = &'a dyn Fn(&mut MintCertificateResponse);
    let cases: [(&str, Change<'_>); 8] = [
        ("it has a certificate or a serial number", &|a| a.certificate = other.certificate.clone()),
        ("it has a certificate or a serial number", &|a| a.serial = other.serial.clone()),
        ("does not say from when to when", &|a| (a.not_before, a.not_after) = (0, 0)),
        ("its intermediate certificate is missing", &|a| a.chain.clear()),
        ("is not signed by the root", &|a| a.root = other.root.clone()),
        ("the log entry is not about this", &|a| a.not_after += 1),
        ("the log entry is not about this", &|a| a.epoch = None),
        ("the log entry is not about this", &|a| a.log_entry = other.log_entry.clone()),
    ];
    for (sentence, change) in cases {
        let mut answer = validated(&signer);
        change(&mut answer);
        signer.answer(Some(Ok(answer)));
        let run = world.run(signer.command(&format!("{MINT} --validate-only")));
        assert!(run.code == 1 && run.stderr.contains(sentence), "{sentence}: {}", run.told());
    }
}

#[test]
fn an_answer_that_does_not_hold_is_no_success_and_is_not_written() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    let good = &signer.good;
    let other = FakeSigner::start(&World::new()).good.clone();
    let answer = |change: &dyn Fn(&mut MintCertificateResponse)| {
        let mut answer = good.clone();
        change(&mut answer);
        answer
    };
    let cases = [
        (answer(&|a| a.certificate = other.certificate.clone()), "over another key"),
        (answer(&|a| a.certificate.clear()), "its leaf certificate is missing"),
        (answer(&|a| a.root = other.root.clone()), "the intermediate certificate is not signed by the root"),
        (answer(&|a| a.chain = other.chain.clone()), "the leaf certificate is not signed by the intermediate"),
        (answer(&|a| a.not_after += 1), "serial number or validity"),
        (answer(&|a| a.log_entry = other.log_entry.clone()), "the log entry is not about this certificate"),
        (answer(&|a| a.log_entry.clear()), "the log entry cannot be read"),
        (answer(&|a| a.log_index = 3), "the receipt is for entry 0, not for entry 3"),
        (answer(&|a| a.receipt.clear()), "the answer has no receipt"),
        (answer(&|a| (a.replayed, a.receipt) = (true, String::new())), "the answer has no receipt"),
        (answer(&|a| a.receipt = other.receipt.clone()), "the proof in the receipt does not hold"),
    ];
    for (answer, sentence) in cases {
        signer.answer(Some(Ok(answer)));
        let run = world.run(signer.command(&format!("{MINT} --out leaf.pem --log-key log.vkey")));
        assert!(run.code == 1 && run.stderr.contains(sentence), "{sentence}: {}", run.told());
        assert!(!world.path("leaf.pem").exists());
    }
}

#[test]
fn a_receipt_under_another_key_is_no_success() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    world.write("other.vkey", log::log_key(2).verifier().to_string());
    let run = world.run(signer.command(&format!("{MINT} --log-key other.vkey")));
    assert_snapshot!(run.told());
}

#[test]
fn an_answer_about_another_epoch_is_no_success() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    let run = world.run(signer.command(&format!("{MINT} --transition {}", "ab".repeat(32))));
    assert!(run.code == 1 && run.stderr.contains("not of the transition that was named"), "{}", run.told());
}

#[test]
fn a_csr_that_cannot_be_read_here_is_still_the_signers_to_judge() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    world.write("service.csr", "garbage");
    signer.answer(Some(Err(tonic::Status::invalid_argument("the CSR does not decode"))));
    let run = world.run(signer.command(MINT));
    assert!(run.code == 1 && run.stderr.contains("the CSR does not decode"), "{}", run.told());
    signer.answer(Some(Ok(signer.good.clone())));
    let run = world.run(signer.command(MINT));
    assert!(run.code == 1 && run.stderr.contains("the two keys cannot be compared"), "{}", run.told());
    world.write("service.csr", crate::support::pki::csr(&KeyPair::generate().unwrap()));
    assert!(world.run(signer.command(MINT)).stderr.contains("over another key"));
}

#[test]
fn chains_are_checked_and_written() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    let words = "chain --authority athenz --out intermediate.pem --root-out root.pem --mesh-ca-out mesh-ca.pem";
    assert_snapshot!(world.run(signer.command(words)).told());
    for name in ["intermediate.pem", "root.pem", "mesh-ca.pem"] {
        assert_eq!(world.read(name).matches("BEGIN CERTIFICATE").count(), 1, "{name}");
    }
    assert_eq!(world.run(signer.command("chain --authority athenz --root-crl-out root.crl")).code, 0);
    world.openssl("crl -in root.crl -noout -CAfile root.pem");
    let run = world.run(signer.command("chain --authority athenz --crl-out epoch.crl"));
    assert!(run.code == 1 && run.stderr.contains("the epoch has signed no CRL"), "{}", run.told());
    let run = world.run(signer.command("chain --authority nobody"));
    assert!(run.code == 1 && run.stderr.contains("NOT_FOUND, there is no such authority"), "{}", run.told());
}
