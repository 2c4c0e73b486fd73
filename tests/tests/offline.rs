//! A root whose key is elsewhere: its certificate is brought, and each epoch waits for the intermediate that it signs.

use hallmark_proto::signer::{EpochState, RotateIntermediateResponse};
use hallmark_tests::{
    OPERATOR, Where, World,
    asking::Asked,
    daemon::program,
    example_policy,
    mesh::{self, GENESIS, Owner, manifest, rotate, transition_of},
    tools::{attempt, der, judge, pem, run, tbs},
};

/// The example policy with its root elsewhere.
fn offline(policy: &str) -> String {
    policy.replacen("lifetime = \"3650d\"", "lifetime = \"3650d\"\noffline = true", 1)
}

/// An offline CA: openssl, with its key in a file of the world.
struct OfflineCa<'a> {
    world: &'a World,
    at: i64,
}

impl OfflineCa<'_> {
    fn path(&self, name: &str) -> String {
        self.world.path(name).to_str().unwrap().to_owned()
    }

    /// openssl knows no other clock than the machine's, so that the world's is told to it by faketime's means: dates in full.
    fn date(&self, days: i64) -> String {
        let text = hallmark_policy::time::UnixTime::from_secs(self.at + days * 86_400).to_string();
        text.chars().filter(char::is_ascii_digit).chain(['Z']).collect()
    }

    fn lay_out(&self) {
        for name in ["index.txt", "index.txt.attr"] {
            self.world.write(name, "");
        }
        self.world.write("serial.txt", "4711aabbccddeeff00112233445566778899aabb\n");
        let database = self.path("index.txt");
        let (serial, out) = (self.path("serial.txt"), self.world.path("").display().to_string());
        self.world.write(
            "ca.cnf",
            &format!(
                "[ca]\ndefault_ca=own\n[own]\ndatabase={database}\nserial={serial}\nnew_certs_dir={out}\ndefault_md=sha256\n\
                 policy=any\ncopy_extensions=copyall\nunique_subject=no\nstring_mask=utf8only\npreserve=yes\n\
                 [any]\norganizationName=optional\ncommonName=supplied\n\
                 [root]\nbasicConstraints=critical,CA:TRUE,pathlen:1\nkeyUsage=critical,keyCertSign,cRLSign\n\
                 subjectKeyIdentifier=hash\n[intermediate]\nauthorityKeyIdentifier=keyid:always\n\
                 [wide]\nauthorityKeyIdentifier=keyid:always\nextendedKeyUsage=serverAuth\n\
                 [deep]\nauthorityKeyIdentifier=keyid:always\nbasicConstraints=critical,CA:TRUE,pathlen:1\n\
                 [bound]\nauthorityKeyIdentifier=keyid:always\nnameConstraints=critical,permitted;DNS:example.com\n"
            ),
        );
    }

    /// The root's certificate, DER.
    fn root(&self, subject: &str) -> Vec<u8> {
        self.lay_out();
        let (key, csr, out) = (self.path("root.key"), self.path("root.csr"), self.path("root.pem"));
        let new = [
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-noenc",
            "-utf8",
            "-subj",
            subject,
        ];
        run("openssl", &[&new[..], &["-keyout", &key, "-out", &csr]].concat());
        self.sign(&["-selfsign", "-keyfile", &key, "-in", &csr, "-out", &out, "-extensions", "root"], 0, 3_000);
        der("CERTIFICATE", &std::fs::read_to_string(out).unwrap())
    }

    /// What the root signs for a request, DER.
    fn intermediate(&self, request: &[u8], extensions: &str, days: i64) -> Vec<u8> {
        self.otherwise(request, extensions, days, &[])
    }

    /// What the root signs for a request in which its own extensions come first, or its own words.
    fn overriding(&self, request: &[u8], extensions: &str, words: &[&str]) -> Vec<u8> {
        let config = std::fs::read_to_string(self.path("ca.cnf")).unwrap();
        self.world.write("ca.cnf", &config.replace("copyall", "copy"));
        let signed = self.otherwise(request, extensions, 300, words);
        self.world.write("ca.cnf", &config);
        signed
    }

    fn otherwise(&self, request: &[u8], extensions: &str, days: i64, words: &[&str]) -> Vec<u8> {
        self.world.write("epoch.csr", &pem("CERTIFICATE REQUEST", request));
        let said = run("openssl", &["req", "-in", &self.path("epoch.csr"), "-noout", "-verify"]);
        assert!(said.contains("verify OK"), "{said}");
        let (key, root, csr, out) =
            (self.path("root.key"), self.path("root.pem"), self.path("epoch.csr"), self.path("i.pem"));
        let whole = ["-keyfile", &key, "-cert", &root, "-in", &csr, "-out", &out, "-extensions", extensions];
        self.sign(&[&whole[..], words].concat(), 0, days);
        der("CERTIFICATE", &std::fs::read_to_string(out).unwrap())
    }

    fn sign(&self, arguments: &[&str], from: i64, days: i64) {
        let (config, from, until) = (self.path("ca.cnf"), self.date(from), self.date(days));
        let fixed = ["ca", "-batch", "-notext", "-config", &config, "-startdate", &from, "-enddate", &until];
        run("openssl", &[&fixed[..], arguments].concat());
    }
}

const SUBJECT: &str = "/O=Hallmark Lab/CN=Athenz Lab Root CA";

#[tokio::test]
async fn a_rotation_stops_with_a_request_and_goes_on_when_the_signed_certificate_is_brought() {
    let owner = Owner::new();
    let mut world = World::unmade(Where::SoftHsm, &offline(&mesh::policy(&[&owner])));
    let error = world.start(true).await.expect_err("the root's certificate is missing").to_string();
    assert!(error.contains("offline") && error.contains("--root athenz=FILE"), "{error}");
    let at = world.clocks().now();
    let root = OfflineCa { world: &world, at }.root(SUBJECT);
    world.bring_root(root.clone());
    world.start(true).await.unwrap();

    let first = manifest("one", &[&owner]);
    let waiting = rotate(&world, &owner, GENESIS, &first).await.unwrap();
    assert_eq!((waiting.state(), waiting.root.as_ref()), (EpochState::Keyed, root.as_slice()));
    assert!(waiting.intermediate.is_empty() && !waiting.mesh_ca.is_empty() && waiting.log_index.is_none());
    assert_eq!(world.mint(Asked::sports_api().request()).await.unwrap_err().reasons, ["EPOCH_NOT_ACTIVE"]);
    world.restart().await;
    let again = rotate(&world, &owner, GENESIS, &first).await.unwrap();
    assert_eq!((&again.certification_request, &again.mesh_ca), (&waiting.certification_request, &waiting.mesh_ca));

    let (request, offline_ca) = (waiting.certification_request, OfflineCa { world: &world, at });
    let wide = offline_ca.intermediate(&request, "wide", 300);
    let long = offline_ca.intermediate(&request, "intermediate", 400);
    let good = offline_ca.intermediate(&request, "intermediate", 300);
    for (bad, why) in
        [(wide, "extensions"), (long, "lives longer"), (root.clone(), "differs"), (vec![0x30, 0], "does not read")]
    {
        let refused = world.bring_intermediate(1, &bad).await.unwrap_err();
        assert_eq!((refused.code, refused.reasons.as_slice()), (3, &["CERTIFICATE_UNFIT".to_owned()][..]));
        assert!(refused.message.contains(why) && refused.logged.is_some(), "{why}: {}", refused.message);
    }
    let brought = world.bring_intermediate(1, &good).await.unwrap();
    assert_eq!(brought.epoch.as_ref().unwrap().state(), EpochState::Active);
    assert_eq!(brought.intermediate, good.as_slice());
    assert!(world.bring_intermediate(1, &good).await.unwrap().notes[0].contains("before"));
    let active = rotate(&world, &owner, GENESIS, &first).await.unwrap();
    assert!(active.replayed && active.intermediate == good.as_slice() && active.mesh_ca == waiting.mesh_ca);
    verify_leaf(&world, &active, at).await;
    verify_chain(&world, &first, &active.mesh_ca, at);

    world.restart().await;
    verify_leaf(&world, &active, at).await;
    let two = rotate(&world, &owner, transition_of(&active), &manifest("two", &[&owner])).await.unwrap();
    assert_eq!(two.state(), EpochState::Keyed);
    verify_leaf(&world, &active, at).await;
    let revoking = mesh::request(&world, &owner, transition_of(&active), &manifest("two", &[&owner]), 0, true);
    assert_eq!(world.rotate(&revoking).await.unwrap_err().reasons, ["ROOT_OFFLINE"]);
    assert_eq!(world.token().labels().iter().filter(|label| label.contains("root")).count(), 0);
    let log = world.log_after_stop().await;
    let steps: Vec<_> = log.of_type("rotation").map(|entry| entry["step"].as_str().unwrap()).collect();
    assert_eq!(steps[..3], ["root-brought", "epoch-intent", "epoch-key"]);
    for step in ["intermediate-brought", "epoch-active"] {
        let entry = log.of_type("rotation").find(|entry| entry["step"] == step).unwrap();
        assert_eq!(entry["by"], format!("uri:{OPERATOR}"), "{step}");
    }
}

/// Extension by extension, as a library that nobody here wrote reads both: the mesh CA says what its sibling is to say.
const COMPARE: &str = r#"
import sys
from cryptography import x509
request = x509.load_pem_x509_csr(open(sys.argv[1], "rb").read())
sibling = x509.load_pem_x509_certificate(open(sys.argv[2], "rb").read())
assert request.is_signature_valid
assert request.subject == sibling.subject
assert request.public_key() == sibling.public_key()
def extensions(of):
    return {e.oid.dotted_string: (e.critical, e.value.public_bytes()) for e in of.extensions}
asked, has = extensions(request), extensions(sibling)
assert has.pop("2.5.29.35"), "only the issuer can say its key identifier"
assert asked == has, (asked, has)
assert [a.oid.dotted_string for a in request.attributes] == ["1.2.840.113549.1.9.14"]
print("same", len(asked))
"#;

#[tokio::test]
async fn the_request_asks_for_every_extension_that_the_mesh_ca_has() {
    let owner = Owner::new();
    let more = "[authority.athenz]\npolicies = [\"1.3.6.1.4.1.99999.1\"]\n\
                name-constraints = { permitted = { dns = [\"athenz.cloud\", \"mesh.internal\"], \
                uri = [\"instanceid\", \"mesh.internal\"], ip = [\"10.0.0.0/8\"] } }";
    let policy = offline(&mesh::policy(&[&owner])).replacen("[authority.athenz]", more, 1);
    let mut world = World::unmade(Where::Software, &policy);
    let root = OfflineCa { world: &world, at: world.clocks().now() }.root(SUBJECT);
    world.bring_root(root);
    world.start(true).await.unwrap();
    let waiting = rotate(&world, &owner, GENESIS, &manifest("one", &[&owner])).await.unwrap();
    world.write("epoch.csr", &pem("CERTIFICATE REQUEST", &waiting.certification_request));
    world.write("mesh-ca.pem", &pem("CERTIFICATE", &waiting.mesh_ca));
    let path = |name: &str| world.path(name).to_str().unwrap().to_owned();
    let python = judge("python").to_str().unwrap().to_owned();
    assert_eq!(run(&python, &["-c", COMPARE, &path("epoch.csr"), &path("mesh-ca.pem")]).trim(), "same 6");
    let log = world.log_after_stop().await;
    let entries: Vec<_> = log.of_type("decision").filter(|entry| entry["stage"] == "request").collect();
    assert_eq!((entries.len(), &entries[0]["decision"]), (1, &"issued".into()));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, tbs(&waiting.certification_request));
    assert_eq!(entries[0]["tbs-sha256"], hallmark_policy::hex(digest.as_ref()));
}

async fn verify_leaf(world: &World, active: &RotateIntermediateResponse, at: i64) {
    let leaf = world.mint(Asked::sports_api().request()).await.unwrap();
    assert_eq!(leaf.epoch, active.epoch);
    for (name, certificate) in
        [("v-root.pem", &active.root), ("v-i.pem", &active.intermediate), ("v-leaf.pem", &leaf.certificate)]
    {
        world.write(name, &pem("CERTIFICATE", certificate));
    }
    let path = |name: &str| world.path(name).to_str().unwrap().to_owned();
    let at = (at + 60).to_string();
    let arguments = [
        "verify",
        "-x509_strict",
        "-attime",
        &at,
        "-CAfile",
        &path("v-root.pem"),
        "-untrusted",
        &path("v-i.pem"),
        &path("v-leaf.pem"),
    ];
    run("openssl", &arguments);
}

/// What a data owner sees: the root is pinned, and made by somebody else than the signer.
fn verify_chain(world: &World, manifest: &[u8], mesh_ca: &[u8], at: i64) {
    world.write("one.json", std::str::from_utf8(manifest).unwrap());
    world.write("v-mesh.pem", &pem("CERTIFICATE", mesh_ca));
    let path = |name: &str| world.path(name).to_str().unwrap().to_owned();
    let at = hallmark_policy::time::UnixTime::from_secs(at + 60).to_string();
    let arguments = [
        "verify-chain",
        "--root",
        &path("v-root.pem"),
        "--manifest",
        &path("one.json"),
        "--intermediate",
        &path("v-i.pem"),
        "--mesh-ca",
        &path("v-mesh.pem"),
        "--leaf",
        &path("v-leaf.pem"),
        "--at",
        &at,
    ];
    let (good, said) = attempt(program("hallmark").to_str().unwrap(), &arguments);
    assert!(good, "{said}");
}

#[tokio::test]
async fn only_what_the_policy_would_have_had_signed_is_taken_from_the_root() {
    let owner = Owner::new();
    let policy = offline(&mesh::policy(&[&owner]));
    let (mut world, elsewhere) = (World::unmade(Where::Software, &policy), World::unmade(Where::Software, &policy));
    let at = world.clocks().now();
    let root = OfflineCa { world: &world, at }.root(SUBJECT);
    world.bring_root(root);
    world.start(true).await.unwrap();
    let one = rotate(&world, &owner, GENESIS, &manifest("one", &[&owner])).await.unwrap();
    let ours = OfflineCa { world: &world, at };
    let of_one = ours.intermediate(&one.certification_request, "intermediate", 300);
    world.bring_intermediate(1, &of_one).await.unwrap();
    let active = rotate(&world, &owner, GENESIS, &manifest("one", &[&owner])).await.unwrap();
    let two = rotate(&world, &owner, transition_of(&active), &manifest("two", &[&owner])).await.unwrap();
    let request = &two.certification_request;
    let theirs = OfflineCa { world: &elsewhere, at };
    theirs.root(SUBJECT);
    let subject = ["-subj", "/O=Hallmark Lab/CN=Another Issuing CA"];
    for (what, certificate, why) in [
        ("another key", of_one, "subjectPublicKeyInfo"),
        ("another subject", ours.overriding(request, "intermediate", &subject), "in subject from"),
        ("a longer path", ours.overriding(request, "deep", &[]), "extension"),
        ("other constraints", ours.overriding(request, "bound", &[]), "extension"),
        ("another root", theirs.intermediate(request, "intermediate", 300), "not signed by the root of this authority"),
    ] {
        let refused = world.bring_intermediate(2, &certificate).await.unwrap_err();
        assert_eq!(refused.reasons, ["CERTIFICATE_UNFIT"], "{what}");
        assert!(refused.message.contains(why) && refused.logged.is_some(), "{what}: {}", refused.message);
    }
    let good = ours.intermediate(request, "intermediate", 300);
    assert_eq!(world.bring_intermediate(2, &good).await.unwrap().epoch.unwrap().state(), EpochState::Active);
}

#[tokio::test]
async fn an_authority_that_rotates_by_age_waits_for_its_offline_root_too() {
    let mut world = World::unmade(Where::Software, &offline(&example_policy()));
    let at = world.clocks().now();
    let root = OfflineCa { world: &world, at }.root(SUBJECT);
    world.bring_root(root);
    world.start(true).await.unwrap();
    let waiting = world.prepare_epoch(0).await.unwrap();
    assert_eq!(waiting.epoch.as_ref().unwrap().state(), EpochState::Keyed);
    let good = OfflineCa { world: &world, at }.intermediate(&waiting.certification_request, "intermediate", 300);
    let prepared = world.bring_intermediate(1, &good).await.unwrap();
    assert_eq!(prepared.epoch.unwrap().state(), EpochState::Prepared);
    world.activate_epoch(1, false).await.unwrap();
    assert!(world.mint(Asked::sports_api().request()).await.is_ok());
}

#[tokio::test]
async fn a_root_that_is_not_the_one_of_the_policy_is_not_taken() {
    let mut world = World::unmade(Where::Software, &offline(&example_policy()));
    let at = world.clocks().now();
    let offline_ca = OfflineCa { world: &world, at };
    let other = offline_ca.root("/O=Hallmark Lab/CN=Another Root CA");
    world.bring_root(other);
    let error = world.start(true).await.expect_err("another root").to_string();
    assert!(error.contains("its subject is not the one that the policy describes"), "{error}");
}

/// The example policy with its root elsewhere, and these name constraints.
fn constrained(dns: &str) -> String {
    let more = format!(
        "[authority.athenz]\nname-constraints = {{ permitted = {{ dns = [{dns}], uri = [\"instanceid\", \"mesh.internal\"] }} }}"
    );
    offline(&example_policy()).replacen("[authority.athenz.root]", &format!("{more}\n\n[authority.athenz.root]"), 1)
}

#[tokio::test]
async fn a_policy_that_changes_while_the_root_signs_makes_no_siblings_that_differ() {
    let mut world = World::unmade(Where::Software, &constrained(r#""athenz.cloud", "mesh.internal""#));
    let at = world.clocks().now();
    let root = OfflineCa { world: &world, at }.root(SUBJECT);
    world.bring_root(root);
    world.start(true).await.unwrap();
    let waiting = world.prepare_epoch(0).await.unwrap();
    let late = OfflineCa { world: &world, at }.intermediate(&waiting.certification_request, "intermediate", 300);
    let other = constrained(r#""athenz.cloud", "mesh.internal", "more.internal""#);
    world.apply(&other, false).await.unwrap();
    for refused in [world.bring_intermediate(1, &late).await.unwrap_err(), world.prepare_epoch(0).await.unwrap_err()] {
        assert_eq!((refused.code, refused.reasons.as_slice()), (9, &["STATE_DIFFERS".to_owned()][..]));
        let sentence = "abort it and prepare another";
        assert!(refused.message.contains("changed since epoch 1 was begun") && refused.message.contains(sentence));
    }
    world.abort_epoch(1, "the policy changed").await.unwrap();
    let again = world.prepare_epoch(0).await.unwrap();
    let good = OfflineCa { world: &world, at }.intermediate(&again.certification_request, "intermediate", 300);
    world.bring_intermediate(2, &good).await.unwrap();
    assert_eq!(world.activate_epoch(2, false).await.unwrap().epoch.unwrap().state(), EpochState::Active);
}

#[tokio::test]
async fn bringing_goes_on_where_a_failure_stopped_it() {
    let owner = Owner::new();
    let mut world = World::unmade(Where::Software, &offline(&mesh::policy(&[&owner])));
    let at = world.clocks().now();
    let root = OfflineCa { world: &world, at }.root(SUBJECT);
    world.bring_root(root);
    world.start(true).await.unwrap();
    let refused = world.mint(Asked::sports_api().request()).await.unwrap_err();
    assert!(refused.allowed[0].1.contains("hallmark rotate --genesis"), "{:?}", refused.allowed);
    let waiting = rotate(&world, &owner, GENESIS, &manifest("one", &[&owner])).await.unwrap();
    let refused = world.mint(Asked::sports_api().request()).await.unwrap_err();
    assert!(refused.allowed[0].1.contains("hallmark epoch bring 1 --authority athenz"), "{:?}", refused.allowed);
    let good = OfflineCa { world: &world, at }.intermediate(&waiting.certification_request, "intermediate", 300);
    let database = rusqlite::Connection::open(world.path("ledger.sqlite")).unwrap();
    for state in ["prepared", "active"] {
        let fault = format!(
            "CREATE TRIGGER fault BEFORE UPDATE OF state ON epoch WHEN new.state = '{state}' BEGIN SELECT RAISE(ABORT, 'injected'); END"
        );
        database.execute_batch(&fault).unwrap();
        assert_eq!(world.bring_intermediate(1, &good).await.unwrap_err().reasons, ["LEDGER_FAILED"], "{state}");
        database.execute_batch("DROP TRIGGER fault").unwrap();
    }
    let brought = world.bring_intermediate(1, &good).await.unwrap();
    assert_eq!(brought.epoch.unwrap().state(), EpochState::Active);
    assert!(world.bring_intermediate(1, &good).await.unwrap().notes[0].contains("brought before"));
}

#[tokio::test]
async fn an_owner_s_consent_is_looked_at_again_when_the_root_has_signed() {
    let owner = Owner::new();
    let policy = offline(&mesh::policy(&[&owner]));
    let mut world = World::unmade(Where::Software, &policy);
    let at = world.clocks().now();
    let root = OfflineCa { world: &world, at }.root(SUBJECT);
    world.bring_root(root);
    world.start(true).await.unwrap();
    let waiting = rotate(&world, &owner, GENESIS, &manifest("one", &[&owner])).await.unwrap();
    let good = OfflineCa { world: &world, at }.intermediate(&waiting.certification_request, "intermediate", 300);
    // Now an owner would have signed something else.
    let contrast = policy.replacen("owner-keys", "owner-signature = \"contrast\"\nowner-keys", 1);
    world.apply(&contrast, false).await.unwrap();
    let refused = world.bring_intermediate(1, &good).await.unwrap_err();
    assert_eq!(refused.reasons, ["OWNER_SIGNATURE_WRONG"], "{}", refused.message);
    world.apply(&policy, false).await.unwrap();
    let brought = world.bring_intermediate(1, &good).await.unwrap();
    assert_eq!(brought.epoch.unwrap().state(), EpochState::Active);
}
