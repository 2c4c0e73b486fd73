//! What the key of an epoch asks an offline root for: a certification request that says what the intermediate is to say.

use std::{fs, path::Path, process::Command};

use hallmark_policy::ReasonCode;
use hallmark_tests::{
    EVERYWHERE, Where, World,
    asking::Asked,
    example_policy,
    tools::{Pem, attempt, judge, pem, run},
};

const AUTHORITY: &str = "athenz";

/// The example, and everything that a policy can put into an intermediate.
fn policy() -> String {
    let table = "[authority.athenz]\npolicies = [\"1.3.6.1.4.1.99999.1\"]\n\
                 name-constraints = { permitted = { dns = [\"athenz.cloud\", \"mesh.internal\"], \
                 uri = [\"instanceid\", \"mesh.internal\"], ip = [\"10.0.0.0/8\"] } }\n\n[authority.athenz.root]";
    example_policy().replacen("[authority.athenz.root]", table, 1)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[tokio::test]
async fn openssl_verifies_the_request_and_it_is_the_same_one_however_often_it_is_asked_for() {
    for place in EVERYWHERE {
        let mut world = World::with_policy(place, &policy()).await;
        world.prepare_epoch(0).await.unwrap();
        let der = world.core().certification_request(AUTHORITY, 2).await.unwrap();
        let path = world.path("epoch.csr");
        fs::write(&path, pem("CERTIFICATE REQUEST", &der)).unwrap();
        let said = run("openssl", &["req", "-in", text(&path), "-noout", "-verify", "-text"]);
        for wanted in [
            "self-signature verify OK",
            "CA:TRUE, pathlen:0",
            "Certificate Sign, CRL Sign",
            "X509v3 Name Constraints: critical",
            "1.3.6.1.4.1.32473.9901.1",
        ] {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
        let uses = world.key_uses();
        assert_eq!(world.core().certification_request(AUTHORITY, 2).await.unwrap(), der);
        assert_eq!(world.key_uses(), uses, "it is kept");
        world.restart().await;
        assert_eq!(world.core().certification_request(AUTHORITY, 2).await.unwrap(), der);
        let log = world.log_after_stop().await;
        let entries: Vec<_> = log.of_type("decision").filter(|entry| entry["stage"] == "request").collect();
        assert_eq!(entries.len(), 1);
        assert_eq!((&entries[0]["decision"], &entries[0]["epoch"]["generation"]), (&"issued".into(), &2.into()));
        let to_be_signed = hallmark_tests::tools::tbs(&der);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, to_be_signed);
        assert_eq!(entries[0]["tbs-sha256"], hallmark_policy::hex(digest.as_ref()));
    }
}

/// Extension by extension, as a library that nobody here wrote reads both.
const COMPARE: &str = r#"
import sys
from cryptography import x509
request = x509.load_pem_x509_csr(open(sys.argv[1], "rb").read())
intermediate = x509.load_pem_x509_certificate(open(sys.argv[2], "rb").read())
assert request.is_signature_valid
assert request.subject == intermediate.subject
assert request.public_key() == intermediate.public_key()
def extensions(of):
    return {e.oid.dotted_string: (e.critical, e.value.public_bytes()) for e in of.extensions}
asked, has = extensions(request), extensions(intermediate)
assert has.pop("2.5.29.35"), "only the issuer can say its key identifier"
assert asked == has, (asked, has)
assert [a.oid.dotted_string for a in request.attributes] == ["1.2.840.113549.1.9.14"]
print("same", len(asked))
"#;

#[tokio::test]
async fn it_asks_for_every_extension_that_the_intermediate_of_an_online_root_has() {
    let world = World::with_policy(Where::Software, &policy()).await;
    let prepared = world.prepare_epoch(0).await.unwrap();
    let der = world.core().certification_request(AUTHORITY, 2).await.unwrap();
    let (csr, intermediate) = (world.path("epoch.csr"), world.path("intermediate.pem"));
    fs::write(&csr, pem("CERTIFICATE REQUEST", &der)).unwrap();
    fs::write(&intermediate, pem("CERTIFICATE", &prepared.intermediate)).unwrap();
    let output = Command::new(judge("python")).args(["-c", COMPARE, text(&csr), text(&intermediate)]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "same 6");
}

#[tokio::test]
async fn what_an_offline_root_makes_of_it_carries_the_leaves_of_the_epoch() {
    let world = World::with_policy(Where::Software, &policy()).await;
    world.prepare_epoch(0).await.unwrap();
    let der = world.core().certification_request(AUTHORITY, 2).await.unwrap();
    world.activate_epoch(2, false).await.unwrap();
    let minted = world.mint(Asked::sports_api().request()).await.unwrap();
    let leaf = Pem::write(&world.path("."), &minted).leaf;
    let (csr, key, root, signed) =
        (world.path("epoch.csr"), world.path("offline.key"), world.path("offline.pem"), world.path("signed.pem"));
    fs::write(&csr, pem("CERTIFICATE REQUEST", &der)).unwrap();
    const USAGE: &str = "keyUsage=critical,keyCertSign,cRLSign";
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-noenc"];
    let files =
        ["-keyout", text(&key), "-out", text(&root), "-days", "30", "-subj", "/CN=Offline Root", "-addext", USAGE];
    run("openssl", &[&["req", "-x509"][..], &curve, &files].concat());
    let copied = ["-copy_extensions", "copyall", "-CA", text(&root), "-CAkey", text(&key), "-days", "20"];
    run("openssl", &[&["x509", "-req", "-in", text(&csr), "-out", text(&signed)][..], &copied].concat());
    // The world's clock is not the machine's, so that only the chain is looked at.
    let chain = ["verify", "-x509_strict", "-no_check_time", "-CAfile", text(&root), "-untrusted", text(&signed)];
    let (verified, said) = attempt("openssl", &[&chain[..], &[text(&leaf)]].concat());
    assert!(verified, "{said}");
}

#[tokio::test]
async fn nothing_is_requested_for_an_epoch_that_is_not_in_the_making() {
    let world = World::with_policy(Where::Software, &policy()).await;
    let asked = world.core().certification_request(AUTHORITY, 1).await.unwrap_err();
    assert_eq!(asked.reasons[0].code, ReasonCode::EpochNotActive, "{asked}");
    for (authority, generation) in [(AUTHORITY, 2), ("other", 1)] {
        let asked = world.core().certification_request(authority, generation).await.unwrap_err();
        assert_eq!(asked.reasons[0].code, ReasonCode::AuthorityUnknown, "{asked}");
    }
}
