//! `hallmark verify-chain`: what a data owner hears who trusts nobody.

use hallmark_policy::{
    authority::{statement_sha256, transition},
    key::SpkiDigest,
};
use insta::assert_snapshot;
use rcgen::KeyPair;

use crate::support::{
    Run, World,
    pki::{Authority, Binding},
};

const POLICY_HASH: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

const AT: &str = "--at 2026-11-15T12:00:00Z";

fn sha256(bytes: impl AsRef<[u8]>) -> [u8; 32] {
    *SpkiDigest::of(bytes.as_ref()).as_bytes()
}

fn pem(der: &[u8]) -> String {
    pem_rfc7468::encode_string("CERTIFICATE", pem_rfc7468::LineEnding::LF, der).unwrap()
}

/// The second epoch of an authority, with its leaf, in `bundle/`, and all that it is measured by.
struct Evidence {
    world: World,
    root: Authority,
}

impl Evidence {
    fn new() -> Self {
        let world = World::new();
        let names = r#"["api.sports.lab.athenz.cloud","athenz://instanceid/sys.auth.lab/i-1"]"#;
        let manifest = |names: &str| {
            format!("{{\"Policies\":{{\"{POLICY_HASH}\":{{\"SANs\":{names}}}}},\"WorkloadOwnerKeyDigests\":[]}}")
        };
        world.write("first.json", manifest("[]"));
        world.write("second.json", manifest(names));
        let [first, second] = ["first.json", "second.json"].map(|name| sha256(world.read(name)));
        let transition = transition(&second, &transition(&first, &[0; 32]));
        // Generation 2 was given up, and keeps its number.
        Self::bound(world, Binding { generation: 3, manifest: second, transition })
    }

    fn bound(world: World, binding: Binding) -> Self {
        let root = Authority::root("Lab Root");
        let (intermediate, mesh_ca) = root.epoch("Lab Issuing", binding);
        world.write("root.pem", root.pem());
        world.write("bundle/root.pem", root.pem());
        world.write("bundle/intermediate.pem", intermediate.pem());
        world.write("bundle/mesh-ca.pem", pem(&mesh_ca));
        let leaf = pem(&intermediate.leaf(&KeyPair::generate().unwrap()));
        world.write("leaf.pem", leaf + &intermediate.pem());
        Self { world, root }
    }

    fn run(&self, words: &str) -> Run {
        self.world.run(format!("verify-chain {words}").split_whitespace())
    }

    fn root_sha256(&self) -> String {
        hallmark_policy::hex(&sha256(self.root.der()))
    }

    fn told(&self, words: &str) -> String {
        self.run(words).told().replace(&self.root_sha256(), "ROOT-SHA-256")
    }
}

const ALL: &str = "--manifest first.json --manifest second.json --bundle bundle";

#[test]
fn everything_holds_and_it_is_said_what_these_files_do_not_show() {
    let evidence = Evidence::new();
    evidence.world.write("root.crl", evidence.root.crl(&[5]).0);
    let words = format!("--root root.pem {ALL} --leaf leaf.pem --policy-hash {POLICY_HASH} --root-crl root.crl {AT}");
    assert_snapshot!(evidence.told(&words));
    assert_eq!(evidence.run(&words).code, 0);
}

#[test]
fn a_root_can_be_pinned_by_its_digest_and_files_can_stand_anywhere() {
    let evidence = Evidence::new();
    let digest = evidence.root_sha256();
    assert_eq!(evidence.run(&format!("--root {digest} {ALL}")).code, 0);
    let apart = "--manifest first.json --manifest second.json --intermediate bundle/intermediate.pem --mesh-ca bundle/mesh-ca.pem";
    assert_snapshot!(evidence.told(&format!("--root {digest} {apart}")));
    assert_eq!(evidence.run(&format!("--root {digest} {apart} --root-certificate root.pem")).code, 0);
    assert_eq!(evidence.run(&format!("--root root.pem {apart}")).code, 0);
    let run = evidence.run(&format!("--root {} {ALL}", "ab".repeat(32)));
    assert!(run.code == 1 && run.stderr.contains("the root that was given has the SHA-256"), "{}", run.told());
}

#[test]
fn every_claim_that_does_not_hold_is_said_with_what_was_found() {
    let evidence = Evidence::new();
    evidence.world.write("root.crl", evidence.root.crl(&[7]).0);
    let words = format!(
        "--root root.pem --manifest second.json --manifest first.json --bundle bundle --leaf leaf.pem --policy-hash \
         {POLICY_HASH} --root-crl root.crl --at 2026-12-02T00:00:00Z"
    );
    assert_snapshot!(evidence.told(&words));
    assert_eq!(evidence.run(&words).code, 1);
    let json = evidence.run(&format!("{words} --json")).json();
    assert_eq!(json["result"], "failed");
    let failed = json["checks"].as_array().unwrap().iter().filter(|check| check["holds"] == false);
    let failed: Vec<_> = failed.map(|check| check["claim"].as_str().unwrap().to_owned()).collect();
    assert_eq!(failed, ["bound", "leaf-content", "leaf-names", "not-revoked"]);
    assert!(json["not-shown"].as_array().unwrap().iter().any(|limit| limit["code"] == "evidence"));
}

#[test]
fn a_history_can_begin_at_a_transition_and_says_what_that_leaves_unproven() {
    let evidence = Evidence::new();
    let from = hallmark_policy::hex(&transition(&sha256(evidence.world.read("first.json")), &[0; 32]));
    let words = format!("--root root.pem --from-transition {from} --manifest second.json --bundle bundle {AT}");
    assert_snapshot!(evidence.told(&words));
}

#[test]
fn an_authority_that_rotates_by_age_has_statements_in_the_place_of_manifests() {
    let [first, third] = [1, 3].map(|generation| statement_sha256("lab", generation));
    let binding =
        Binding { generation: 3, manifest: third, transition: transition(&third, &transition(&first, &[0; 32])) };
    let evidence = Evidence::bound(World::new(), binding);
    assert_snapshot!(evidence.told(&format!("--root root.pem --authority lab --generations 1,3 --bundle bundle {AT}")));
    let run = evidence.run(&format!("--root root.pem --authority lab --generations 1,2,3 --bundle bundle {AT}"));
    assert_eq!(run.code, 1, "generation 2 never was active: {}", run.told());
}

#[test]
fn files_that_cannot_be_read_are_no_judgement() {
    let evidence = Evidence::new();
    evidence.world.write("bad.json", "{\"Policies\":null}");
    for (words, code, sentence) in [
        (format!("--root nowhere.pem {ALL}"), 2, "`nowhere.pem` cannot be read"),
        ("--root root.pem --manifest nothing.json --bundle bundle".to_owned(), 2, "`nothing.json` cannot be read"),
        (format!("--root root.pem {ALL} --leaf first.json"), 1, "it is no X.509 certificate in DER"),
        (format!("--root root.pem {ALL} --root-crl first.json"), 1, "the CRL cannot be judged"),
        ("--root root.pem --manifest first.json --bundle nowhere".to_owned(), 2, "cannot be read"),
        (
            format!("--root root.pem --manifest bad.json --bundle bundle --leaf leaf.pem --policy-hash {POLICY_HASH}"),
            1,
            "`bad.json` cannot be looked into: it has 2 mistakes",
        ),
        ("--root root.pem --bundle bundle".to_owned(), 2, "required"),
        ("--root root.pem --manifest first.json".to_owned(), 2, "required"),
    ] {
        let run = evidence.run(&words);
        assert!(run.code == code && run.stderr.contains(sentence), "{words}: {}", run.told());
    }
}
