//! Rotating: what an owner signs, what is asked, checked, written and said.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::atomic::Ordering};

use hallmark_policy::{
    authority::transition,
    key::{PublicKey, SpkiDigest},
};
use hallmark_proto::signer::{EpochState, RotateIntermediateResponse};
use insta::assert_snapshot;
use tonic::{Code, Status};

use crate::support::{Run, World, signer::FakeSigner};

/// The transition that the fake signer says is active.
const ACTIVE: &str = "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0";

const POLICY_HASH: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const OWNER_DIGEST: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

const ROTATE: &str = "rotate --authority athenz --manifest manifest.json --root root.pem";

fn manifest(owners: &str) -> String {
    format!(
        "{{\"Policies\":{{\"{POLICY_HASH}\":{{\"SANs\":[\"web.mesh.example\"]}}}},\"WorkloadOwnerKeyDigests\":[{owners}]}}\n"
    )
}

/// A signer, a manifest and an owner with a key on P-256.
fn world() -> (World, FakeSigner) {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    world.write("root.pem", signer.state.root.pem());
    world.write("manifest.json", manifest(&format!("\"{OWNER_DIGEST}\"")));
    world.openssl("ecparam -name prime256v1 -genkey -out owner.pem");
    world.openssl("pkey -in owner.pem -pubout -out owner.pub");
    (world, signer)
}

fn named() -> String {
    format!("{ROTATE} --expected {ACTIVE}")
}

/// SHA-256 of a public key, PEM.
fn key_digest(world: &World, name: &str) -> String {
    let pem = world.read(name);
    SpkiDigest::of(&pem_rfc7468::decode_vec(pem.as_bytes()).unwrap().1).to_string()
}

fn root_key_digest(world: &World) -> String {
    world.openssl("x509 -in root.pem -noout -pubkey -out root.pub");
    key_digest(world, "root.pub")
}

fn told(world: &World, run: &Run) -> String {
    run.masked(&[(&root_key_digest(world), "ROOT-KEY"), (&key_digest(world, "owner.pub"), "OWNER-KEY")])
}

fn new_transition(world: &World) -> String {
    let digest = SpkiDigest::of(world.read("manifest.json").as_bytes());
    hallmark_policy::hex(&transition(digest.as_bytes(), &[0xc0; 32]))
}

#[test]
fn an_owner_sets_a_manifest_and_all_of_it_is_checked_written_and_said() {
    let (world, signer) = world();
    let words =
        format!("{} --owner-key owner.pem --lifetime 90d --revoke-previous --out epoch --log-key log.vkey", named());
    let run = world.run(signer.command(&words));
    assert_snapshot!(told(&world, &run));
    assert_eq!(run.code, 0);

    let seen = signer.state.rotated.lock().unwrap().pop().unwrap();
    assert_eq!((seen.authority.as_str(), seen.expected_transition.as_ref()), ("athenz", [0xc0; 32].as_slice()));
    assert_eq!(seen.manifest, world.read("manifest.json").as_bytes());
    assert_eq!((seen.lifetime_seconds, seen.revoke_previous), (7_776_000, true));
    let statement =
        format!("hallmark-rotate-v1\n{}\n{}\n7776000\n1\n", root_key_digest(&world), new_transition(&world));
    let key = PublicKey::parse(&seen.owner_key).unwrap();
    assert!(key.verifies_ecdsa_sha256(statement.as_bytes(), &seen.owner_signature), "the owner signed all of it");

    let written =
        fs::read_dir(world.path("epoch")).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut written: Vec<_> = written.collect();
    written.sort();
    assert_eq!(written, ["entry.json", "intermediate.pem", "mesh-ca.pem", "receipt.txt", "root.crl", "root.pem"]);
    assert_eq!(world.read("epoch/root.pem"), world.read("root.pem"));
    let receipt =
        world.run(["log", "receipt", "epoch/receipt.txt", "--entry", "epoch/entry.json", "--key", "log.vkey"]);
    assert_eq!(receipt.code, 0, "{}", receipt.told());
    let words =
        format!("verify-chain --root root.pem --from-transition {ACTIVE} --manifest manifest.json --bundle epoch");
    let run = world.run(words.split_whitespace());
    assert_eq!(run.code, 0, "what was written is what a data owner checks: {}", run.told());
}

#[test]
fn owners_sign_with_either_curve_and_either_form_of_key() {
    for curve in ["prime256v1", "secp384r1"] {
        for form in ["", " -noout"] {
            let (world, signer) = world();
            world.openssl(&format!("ecparam -name {curve} -genkey{form} -out sec1.pem"));
            world.openssl("pkcs8 -topk8 -nocrypt -in sec1.pem -out pkcs8.pem");
            for key in ["sec1.pem", "pkcs8.pem"] {
                let run = world.run(signer.command(&format!("{} --owner-key {key}", named())));
                assert_eq!(run.code, 0, "{curve} {key}: {}", run.told());
            }
            assert_eq!(signer.state.rotated.lock().unwrap().len(), 2);
        }
    }
}

#[test]
fn a_statement_is_printed_signed_elsewhere_and_brought() {
    let (world, signer) = world();
    let words = format!("{} --lifetime 1h", named());
    let printed = world.run(format!("{words} --print-statement").split_whitespace());
    let expected = format!("hallmark-rotate-v1\n{}\n{}\n3600\n0\n", root_key_digest(&world), new_transition(&world));
    assert_eq!(
        (printed.code, &printed.stdout, printed.stderr.as_str()),
        (0, &expected, ""),
        "these bytes and no other"
    );
    world.write("statement", &printed.stdout);
    world.openssl("dgst -sha256 -sign owner.pem -out statement.sig statement");
    let brought = "--owner-signature statement.sig --owner-public-key owner.pub";
    let run = world.run(signer.command(&format!("{words} {brought}")));
    assert_eq!(run.code, 0, "{}", run.told());
    // Another lifetime than the one that was signed.
    let run = world.run(signer.command(&format!("{} {brought}", named())));
    assert_snapshot!(told(&world, &run));
    assert_eq!(signer.state.rotated.lock().unwrap().len(), 1, "what does not verify is not sent");
    let json = world.run(format!("{words} --print-statement --json").split_whitespace()).json();
    assert_eq!((&json["statement"], &json["transition"]), (&expected.into(), &new_transition(&world).into()));
}

#[test]
fn an_owner_of_contrasts_signs_the_bare_transition() {
    let (world, signer) = world();
    let printed = world.run(format!("{} --contrast --print-statement", named()).split_whitespace());
    assert_eq!(printed.stdout, new_transition(&world), "no newline: it is what Contrast's tools sign");
    assert_eq!(world.run(signer.command(&format!("{} --contrast --owner-key owner.pem", named()))).code, 0);
    let seen = signer.state.rotated.lock().unwrap().pop().unwrap();
    let key = PublicKey::parse(&seen.owner_key).unwrap();
    assert!(key.verifies_ecdsa_sha256(printed.stdout.as_bytes(), &seen.owner_signature));
    let run = world.run(signer.command(&format!("{} --contrast --owner-key owner.pem --revoke-previous", named())));
    assert_eq!(run.code, 2, "{}", run.told());
}

#[test]
fn the_active_transition_is_asked_for_and_replaced_only_with_a_yes() {
    let (world, signer) = world();
    let words = format!("{ROTATE} --owner-key owner.pem");
    let run = world.run(signer.command(&words));
    assert_snapshot!(told(&world, &run));
    assert!(signer.state.rotated.lock().unwrap().is_empty());
    let run = world.run_in_terminal(&signer.command(&words), "y\n");
    assert_snapshot!(told(&world, &run));
    assert_eq!((run.code, signer.state.rotated.lock().unwrap().len()), (1, 0));
    let run = world.run_in_terminal(&signer.command(&words), "yes\n");
    assert_eq!((run.code, signer.state.rotated.lock().unwrap().len()), (0, 1), "{}", run.told());
    assert_eq!(world.run(signer.command(&format!("{words} --yes"))).code, 0);
    let json = world.run(signer.command(&format!("{words} --json")));
    assert_eq!((json.code, json.json()["result"].as_str()), (2, Some("error")));
}

#[test]
fn a_manifest_without_owners_is_set_only_with_a_yes() {
    let (world, signer) = world();
    world.write("manifest.json", manifest(""));
    let words = format!("{} --owner-key owner.pem", named());
    let run = world.run(signer.command(&words));
    assert_snapshot!(told(&world, &run));
    assert!(signer.state.rotated.lock().unwrap().is_empty());
    assert_eq!(world.run(signer.command(&format!("{words} --yes"))).code, 0);
}

#[test]
fn a_manifest_with_mistakes_is_not_signed_and_not_sent() {
    let (world, signer) = world();
    world.write("manifest.json", "{\"Policies\": {},\n \"policies\": {}, \"WorkloadOwnerKeyDigests\": null}");
    assert_snapshot!(world.run(signer.command(&format!("{} --owner-key owner.pem", named()))).told());
    assert!(signer.state.rotated.lock().unwrap().is_empty());
}

#[test]
fn keys_and_signatures_that_do_not_serve_are_said() {
    let (world, signer) = world();
    world.openssl("pkey -in owner.pem -aes256 -passout pass:secret -out encrypted.pem");
    world.openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem");
    world.openssl("pkey -in rsa.pem -pubout -out rsa.pub");
    world.openssl("ecparam -name secp521r1 -genkey -out p521.pem");
    world.write("garbage", [0x30; 300]);
    let mut told = String::new();
    for words in [
        "--owner-key encrypted.pem",
        "--owner-key rsa.pem",
        "--owner-key p521.pem",
        "--owner-key owner.pub",
        "--owner-key nothing.pem",
        "--owner-signature garbage --owner-public-key owner.pub",
        "--owner-signature owner.pub --owner-public-key rsa.pub",
        "--owner-signature owner.pub --owner-public-key garbage",
        "--owner-signature owner.pub --owner-public-key owner.pub",
    ] {
        let run = world.run(signer.command(&format!("{} {words}", named())));
        told.push_str(&format!("{words}\n{}\n", run.told()));
    }
    assert_snapshot!(told);
    assert!(signer.state.rotated.lock().unwrap().is_empty());
}

#[test]
fn nothing_of_a_private_key_is_ever_said() {
    let (world, signer) = world();
    let secret = world.read("owner.pem");
    let middle = secret.lines().find(|line| !line.starts_with('-') && line.len() > 40).unwrap();
    world.write("broken.pem", secret.replacen("-----END EC PRIVATE", "-----FIN EC PRIVATE", 1));
    for words in ["--owner-key owner.pem --json", "--owner-key owner.pem", "--owner-key broken.pem"] {
        let run = world.run(signer.command(&format!("{} {words}", named())));
        assert!(!run.told().contains(middle), "{words}");
    }
}

#[test]
fn a_key_that_others_may_read_is_said_to_be_so() {
    let (world, signer) = world();
    let words = format!("{} --owner-key owner.pem", named());
    for (mode, warned) in [(0o600, false), (0o640, true), (0o604, true)] {
        fs::set_permissions(world.path("owner.pem"), fs::Permissions::from_mode(mode)).unwrap();
        let run = world.run(signer.command(&words));
        let said = run.stderr.contains("warning: others may read the owner's key `owner.pem`; chmod 600 it");
        assert_eq!((run.code, said), (0, warned), "{mode:o}: {}", run.told());
    }
}

#[test]
fn before_the_first_epoch_the_root_has_to_be_known() {
    let (world, signer) = world();
    let words = "rotate --authority athenz --manifest manifest.json --genesis --owner-key owner.pem";
    assert_snapshot!(world.run(signer.command(words)).told());
    let run = world.run(signer.command(&format!("{words} --root root.pem")));
    assert_eq!(run.code, 0, "{}", run.told());
    assert_eq!(signer.state.rotated.lock().unwrap().pop().unwrap().expected_transition.as_ref(), [0; 32]);
}

#[test]
fn another_root_than_the_one_that_was_known_is_no_success() {
    let (world, signer) = world();
    let other = crate::support::pki::Authority::root("Other Root");
    world.write("root.pem", other.pem());
    let run = world.run(signer.command(&format!("{ROTATE} --owner-key owner.pem --yes")));
    assert!(run.code == 1 && run.stderr.contains("not the one that was known before"), "{}", run.told());
    assert!(signer.state.rotated.lock().unwrap().is_empty(), "seen before anything was asked for");
    let run = world.run(signer.command(&format!("{} --owner-key owner.pem", named())));
    assert!(run.code == 1 && run.stderr.contains("not the one that was known before"), "{}", run.told());
}

#[test]
fn an_answer_that_does_not_hold_is_no_success_and_is_not_written() {
    type Change = fn(&mut RotateIntermediateResponse);
    let cases: [(&str, Change); 15] = [
        ("the CRL cannot be judged", |a| a.root_crl = a.mesh_ca.clone()),
        ("is not the one that was known before", |a| a.root = a.mesh_ca.clone()),
        ("of another generation than its certificates", |a| a.epoch.as_mut().unwrap().generation = 3),
        ("not of the authority or the manifest", |a| a.epoch.as_mut().unwrap().authority = "other".to_owned()),
        ("not of the authority or the manifest", |a| a.epoch.as_mut().unwrap().manifest_sha256 = vec![1; 32].into()),
        ("not of the authority or the manifest", |a| a.epoch = None),
        ("not of the transition that was named", |a| a.epoch.as_mut().unwrap().transition = vec![1; 32].into()),
        ("the mesh CA names another issuer than itself; and 2 more", |a| a.mesh_ca = a.intermediate.clone()),
        ("the intermediate names another issuer than the subject of the root", |a| a.intermediate = a.mesh_ca.clone()),
        ("the intermediate cannot be judged", |a| a.intermediate.clear()),
        ("neither active nor waiting", |a| a.set_state(EpochState::Prepared)),
        ("does not say that this epoch is active", |a| a.log_index = None),
        ("the log entry cannot be read", |a| a.log_entry.clear()),
        ("the answer has no receipt", |a| a.receipt.clear()),
        ("the receipt is for entry 0, not for entry 3", |a| a.log_index = Some(3)),
    ];
    let (world, signer) = world();
    for (sentence, change) in cases {
        signer.change_rotations(move |mut answer| {
            change(&mut answer);
            Ok(answer)
        });
        let run =
            world.run(signer.command(&format!("{} --owner-key owner.pem --out epoch --log-key log.vkey", named())));
        assert!(run.code == 1 && run.stderr.contains(sentence), "{sentence}: {}", run.told());
        assert_eq!(fs::read_dir(world.path("epoch")).unwrap().count(), 0);
    }
}

#[test]
fn certificates_that_are_bound_to_something_else_are_no_success() {
    let (world, signer) = world();
    // Everything fits together, and it is the epoch before.
    let old = signer.good.clone();
    signer.change_rotations(move |answer| {
        Ok(RotateIntermediateResponse { intermediate: old.chain[0].clone(), mesh_ca: old.mesh_ca.clone(), ..answer })
    });
    assert_snapshot!(told(&world, &world.run(signer.command(&format!("{} --owner-key owner.pem", named())))));
}

#[test]
fn what_has_no_answer_is_asked_again_over_the_same_transition() {
    let (world, signer) = world();
    signer.state.silent.store(true, Ordering::SeqCst);
    let words = format!("{ROTATE} --owner-key owner.pem --yes --timeout 1s");
    let silence = told(&world, &world.run(signer.command(&words)));
    assert_snapshot!(silence.replace(&signer.address.to_string(), "ADDRESS"));
    signer.state.silent.store(false, Ordering::SeqCst);
    signer.change_rotations(|_| Err(Status::new(Code::Unavailable, "the device is away")));
    assert_snapshot!(told(&world, &world.run(signer.command(&words))));
    signer.change_rotations(|_| Err(Status::new(Code::PermissionDenied, "no")));
    let run = world.run(signer.command(&words));
    assert!(run.code == 1 && !run.stderr.contains("what was begun goes on"), "a no is a no: {}", run.told());
}

#[test]
fn a_rotation_that_was_done_before_is_said_to_be() {
    let (world, signer) = world();
    signer.change_rotations(|answer| Ok(RotateIntermediateResponse { replayed: true, ..answer }));
    let run = world.run(signer.command(&format!("{} --owner-key owner.pem", named())));
    assert!(run.code == 0 && run.stderr.contains("rotated before: athenz generation 2 is active"), "{}", run.told());
}

#[test]
fn a_root_that_is_offline_gets_a_request_to_sign() {
    let (world, signer) = world();
    signer.state.offline.store(true, Ordering::SeqCst);
    let words = format!("{} --owner-key owner.pem --out epoch", named());
    let run = world.run(signer.command(&words));
    assert_snapshot!(told(&world, &run));
    assert!(!world.path("epoch/intermediate.pem").exists());
    world.openssl("req -in epoch/intermediate.csr -verify -noout");
    signer.change_rotations(|answer| {
        let certification_request = answer.mesh_ca.clone();
        Ok(RotateIntermediateResponse { certification_request, ..answer })
    });
    let run = world.run(signer.command(&format!("{words} --force")));
    assert!(run.code == 1 && run.stderr.contains("the certification request is missing"), "{}", run.told());
}

#[test]
fn json_has_everything_of_a_rotation() {
    let (world, signer) = world();
    let json =
        world.run(signer.command(&format!("{} --owner-key owner.pem --json --log-key log.vkey", named()))).json();
    assert_eq!((&json["result"], &json["receipt-verified"]), (&"rotated".into(), &true.into()));
    assert_eq!((&json["epoch"]["generation"], &json["replaced-transition"]), (&2.into(), &ACTIVE.into()));
    assert_eq!(json["epoch"]["transition"], new_transition(&world));
    assert_eq!(
        (&json["root"], &json["certification-request"]),
        (&world.read("root.pem").into(), &serde_json::Value::Null)
    );
}

#[test]
fn files_that_exist_are_not_overwritten_and_nothing_is_asked() {
    let (world, signer) = world();
    world.write("epoch/mesh-ca.pem", "theirs");
    let words = format!("{} --owner-key owner.pem --out epoch", named());
    let run = world.run(signer.command(&words));
    assert!(run.code == 2 && run.stderr.contains("mesh-ca.pem` exists"), "{}", run.told());
    assert_eq!((world.read("epoch/mesh-ca.pem").as_str(), signer.state.rotated.lock().unwrap().len()), ("theirs", 0));
    assert_eq!(world.run(signer.command(&format!("{words} --force"))).code, 0);
    let mode = fs::metadata(world.path("epoch/mesh-ca.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}
