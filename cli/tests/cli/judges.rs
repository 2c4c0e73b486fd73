//! `hallmark policy`: what it says about policies, requests and cases.

use insta::assert_snapshot;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SanType};

use crate::support::{Run, World};

const POLICY: &str = r#"version = 1

[authority.lab.root]
common-name = "Lab Root CA"
lifetime = "3650d"
key = "ecdsa-p256"

[authority.lab.epoch]
common-name = "Lab Issuing CA"
lifetime = "365d"
key = "rsa-3072"

[profile.host]
authority = "lab"
lifetime = { default = "24h", maximum = "30d" }
keys = ["ecdsa-p256"]
usages = ["server-auth"]
parts = { host = { shape = "label" } }
common-name = "{host}"
names = [{ dns = "{host}.lab.example" }]

[caller.me]
uri = "spiffe://lab.example/me"
methods = ["MintCertificate"]
profiles = ["host"]

[caller.viewer]
dns = "viewer.lab.example"
methods = ["GetChain"]
"#;

const CASES: &str = r#"at = "2026-01-31T12:00:00Z"

# The good one.
[[case]]
name = "a host gets its name"
caller = "me"
profile = "host"
common-name = "www"
dns = ["www.lab.example"]
expect = "approve"
names = ["cn:www", "dns:www.lab.example"]
lifetime-seconds = 86400

# Expects the wrong thing.
[[case]]
name = "a key that is not taken"
caller = "me"
profile = "host"
common-name = "www"
dns = ["www.lab.example"]
key = "ed25519"
expect = "approve"

[[case]]
name = "a case without expectations"
caller = "viewer"
profile = "host"
common-name = "www"
dns = ["ftp.lab.example"]
lifetime = "31d"
"#;

const AT: [&str; 2] = ["--at", "2026-01-31T12:00:00Z"];

fn world() -> World {
    let world = World::new();
    world.write("policy.toml", POLICY);
    world.write("policy.tests.toml", CASES);
    world
}

fn csr(world: &World, extension: Option<CustomExtension>) {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "www");
    params.subject_alt_names = vec![SanType::DnsName("www.lab.example".try_into().unwrap())];
    params.custom_extensions.extend(extension);
    let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    world.write("host.csr", request.pem().unwrap());
}

fn explain(world: &World, more: &[&str]) -> Run {
    let arguments = ["policy", "explain", "host.csr", "--policy", "policy.toml"];
    world.run([&arguments, more, &AT].concat())
}

/// Digests of keys that differ from run to run become `HEX`, and the sizes of what is signed become `N`.
fn told(run: &Run) -> String {
    let hex = |word: &str| word.len() >= 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').map(|word| if hex(word) { "HEX" } else { word }).collect();
        let line = words.join(" ");
        match line.split_once("a CSR of ") {
            Some((before, _)) => format!("{before}a CSR of N bytes"),
            None => line,
        }
    };
    run.told().lines().map(|text| line(text) + "\n").collect()
}

#[test]
fn the_provider_that_the_names_say_is_one_that_the_caller_speaks_for() {
    let world = World::new();
    world.write("policy.toml", include_str!("../../../examples/cookbook/athenz-all-shapes.toml"));
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "sports.api");
    params.subject_alt_names = vec![
        SanType::DnsName("api.sports.aws.athenz.example".try_into().unwrap()),
        SanType::URI("athenz://instanceid/sys.auth.aws/i-1".try_into().unwrap()),
    ];
    world.write("host.csr", params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap());
    let of = |caller: &str| {
        let run = explain(&world, &["--profile", "service", "--caller", caller]);
        let from = |line: &&str| !line.contains("  provider  ");
        let rows: Vec<_> = run.stdout.lines().skip_while(from).take(3).map(ToOwned::to_owned).collect();
        (run.code, rows)
    };
    let (code, rows) = of("zts");
    assert_eq!((code, rows[0].as_str()), (0, "pass  provider    `sys.auth.aws`"));
    let (code, rows) = of("zts-gcp");
    let told = [
        "FAIL  provider    `sys.auth.aws`",
        "                  PROVIDER_NOT_ALLOWED: the caller `zts-gcp` does not speak for the provider `sys.auth.aws`",
        "                  allowed: sys.auth.gcp",
    ];
    assert_eq!((code, rows), (1, told.map(ToOwned::to_owned).to_vec()));
}

#[test]
fn evidence_is_explained_with_the_key_that_verified_it() {
    const COOKBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/cookbook");
    let world = World::new();
    world.write("host.csr", std::fs::read(format!("{COOKBOOK}/evidence/api.csr")).unwrap());
    world.write("policy.toml", std::fs::read(format!("{COOKBOOK}/athenz-all-shapes.toml")).unwrap());
    let jwt = std::fs::read_to_string(format!("{COOKBOOK}/evidence/api.jwt")).unwrap();
    world.write("good.jwt", &jwt);
    world.write("unsigned.jwt", format!("{}.", jwt.rsplit_once('.').unwrap().0));
    world.write("empty.jwt", "\n");
    let row = |more: &[&str]| {
        let run = explain(&world, &[&["--profile", "attested-service", "--caller", "zts"], more].concat());
        let rows: Vec<_> = run.stdout.lines().skip_while(|line| !line.contains("  evidence  ")).take(2).collect();
        (run.code, rows.join("\n"))
    };
    let bytes = jwt.trim().len();
    let (code, told) = row(&["--evidence-jwt", "good.jwt"]);
    let good = format!("pass  evidence    a JWT of {bytes} bytes, verified by the key `2026-01`\n");
    assert!(code == 0 && told.starts_with(&good), "{told}");
    let (code, told) = row(&[]);
    assert!(code == 1 && told.ends_with("EVIDENCE_MISSING: there is no evidence"), "{told}");
    let (code, told) = row(&["--evidence-jwt", "unsigned.jwt"]);
    assert!(code == 1 && told.ends_with("its signature does not verify under the key `2026-01`"), "{told}");
    let run = explain(&world, &["--profile", "attested-service", "--caller", "zts", "--evidence-jwt", "empty.jwt"]);
    assert!(run.code == 2 && run.stderr.contains("`empty.jwt` holds no JWT"), "{}", run.told());
}

#[test]
fn a_good_policy_is_said_in_sentences() {
    assert_snapshot!(world().run(["policy", "check", "policy.toml"]).told());
}

#[test]
fn what_a_policy_lets_happen_is_warned_of() {
    let world = world();
    let profile = "[profile.athenz-service]\n";
    let records = format!("{profile}instances = {{ intents = [\"register\", \"refresh\"] }}\n");
    let root = "[authority.athenz.root]";
    let settings = "crl = { lifetime = \"7d\", refresh = \"1d\" }\nretired-key = \"destroy\"";
    let policy = include_str!("../../../examples/policy.toml").replacen(profile, &records, 1).replacen(
        root,
        &format!("[authority.athenz]\n{settings}\n\n{root}"),
        1,
    );
    world.write("records.toml", policy);
    let run = world.run(["policy", "check", "records.toml"]);
    assert_eq!(run.code, 0);
    assert_snapshot!(run.stderr);
    let run = world.run(["--json", "policy", "check", "records.toml"]);
    let answer: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(answer["warnings"].as_array().map(Vec::len), Some(1));
}

#[test]
fn every_mistake_is_told_at_its_line_with_a_hint() {
    let world = world();
    let bad = POLICY
        .replace("version = 1", "version = 2")
        .replace("maximum = \"30d\"", "maximum = \"31d\"")
        .replace("\"server-auth\"", "\"server\"")
        .replace("common-name = \"{host}\"", "common-nane = \"{host}\"")
        .replace("[\"GetChain\"]", "[\"GetChains\"]")
        .replace("uri = \"spiffe://lab.example/me\"\n", "");
    world.write("bad.toml", bad);
    let run = world.run(["policy", "check", "bad.toml"]);
    assert_snapshot!(run.told());
    let json = world.run(["policy", "check", "bad.toml", "--json"]).json();
    assert_eq!(json["result"], "bad");
    assert_eq!(json["mistakes"][0]["line"], 1);
    assert_eq!(json["mistakes"].as_array().unwrap().len(), run.stderr.matches("hint: ").count());
}

#[test]
fn text_that_is_no_toml_is_told_with_its_lines() {
    let world = world();
    world.write("bad.toml", "version = \n[profile.x\n");
    assert_snapshot!(world.run(["policy", "check", "bad.toml"]).told());
}

#[test]
fn a_file_that_is_not_there_is_said() {
    assert_snapshot!(world().run(["policy", "check", "nowhere.toml"]).told());
}

#[test]
fn an_approval_shows_the_certificate() {
    let world = world();
    csr(&world, None);
    assert_snapshot!(told(&explain(&world, &["--profile", "host", "--caller", "me"])));
}

#[test]
fn a_refusal_shows_every_rule_that_was_not_kept() {
    let world = world();
    csr(&world, Some(CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0])));
    let run = explain(&world, &["--profile", "host", "--caller", "viewer", "--lifetime", "31d"]);
    assert_snapshot!(told(&run));
    world.write(
        "policy.toml",
        POLICY.replace("methods = [\"GetChain\"]", "methods = [\"MintCertificate\"]\nprofiles = [\"host\"]"),
    );
    let run = explain(&world, &["--profile", "host", "--caller", "viewer", "--lifetime", "31d"]);
    assert_snapshot!(told(&run));
}

#[test]
fn what_is_no_csr_fails_at_the_first_rule() {
    let world = world();
    world.write("host.csr", "nothing");
    assert_snapshot!(told(&explain(&world, &["--profile", "host", "--caller", "me"])));
}

#[test]
fn unknown_callers_and_profiles_are_said() {
    let world = world();
    csr(&world, None);
    assert_snapshot!(told(&explain(&world, &["--profile", "host", "--caller", "you"])));
    assert_snapshot!(told(&explain(&world, &["--profile", "ghost", "--caller", "uri:spiffe://lab.example/you"])));
}

#[test]
fn an_explanation_is_json_where_json_was_asked_for() {
    let world = world();
    csr(&world, None);
    let json = explain(&world, &["--profile", "host", "--caller", "me", "--json"]).json();
    assert_eq!(json["result"], "approved");
    assert_eq!(json["certificate"]["subject"], "CN = www");
    assert_eq!(json["certificate"]["names"][1], "dns:www.lab.example");
    assert_eq!(json["certificate"]["not-after"], "2026-02-01T12:00:00Z");
    assert!(json["rules"].as_array().unwrap().iter().all(|rule| rule["verdict"] != "fail"), "{json}");
    let json = explain(&world, &["--profile", "host", "--caller", "viewer", "--json"]).json();
    assert_eq!(json["result"], "refused");
    assert_eq!(json["rules"][2]["reasons"][0]["code"], "METHOD_NOT_ALLOWED");
}

const MANIFEST_POLICY: &str = r#"version = 1

[authority.mesh]
rotates = "manifest"
owner-keys = ["2202e1c361f8287021ffd4f1697a1a820414bb2d6c7f7fa7b8da1db29a86fe4e"]
root = { common-name = "Mesh Root CA", lifetime = "3650d", key = "ecdsa-p256" }
epoch = { common-name = "Mesh CA", lifetime = "365d", key = "ecdsa-p256" }

[profile.workload]
authority = "mesh"
names-from = "manifest"
workload-secret-id = true
lifetime = { default = "24h", maximum = "30d" }
keys = ["ecdsa-p256"]
usages = ["server-auth"]

[caller.me]
uri = "spiffe://lab.example/me"
methods = ["MintCertificate"]
profiles = ["workload"]
"#;

const HASH: &str = "1c24233516f95303d174b7d61dd4bb447a141468186dbcb9eed696cef4461dfc";

fn manifest_world() -> World {
    let world = world();
    world.write("policy.toml", MANIFEST_POLICY);
    let manifest = format!(
        "{{\"Policies\":{{\"{HASH}\":{{\"SANs\":[\"cart.shop.example\",\"10.1.2.3\"],\"WorkloadSecretID\":\"apps/cart\"}}}},\
         \"WorkloadOwnerPubKeys\":[]}}"
    );
    world.write("manifest.json", manifest);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    world.write("host.csr", request.pem().unwrap());
    world
}

#[test]
fn a_policy_with_manifests_is_said_in_sentences() {
    assert_snapshot!(manifest_world().run(["policy", "check", "policy.toml"]).told());
}

#[test]
fn a_workload_is_shown_with_the_names_of_its_manifest() {
    let world = manifest_world();
    let of = ["--profile", "workload", "--caller", "me"];
    let with = ["--manifest", "manifest.json", "--policy-hash", HASH];
    assert_snapshot!(told(&explain(&world, &[of, with].concat())));
    let json = explain(&world, &[&of[..], &with, &["--json"]].concat()).json();
    assert_eq!(json["certificate"]["names"], serde_json::json!(["dns:cart.shop.example", "ip:10.1.2.3"]));
    assert_snapshot!(told(&explain(&world, &[&of[..], &["--policy-hash", HASH]].concat())));
    let other = "0".repeat(64);
    let json =
        explain(&world, &[&of[..], &["--manifest", "manifest.json", "--policy-hash", &other, "--json"]].concat());
    assert_eq!(json.json()["rules"][7]["reasons"][0]["code"], "POLICY_HASH_UNKNOWN");
}

#[test]
fn a_manifest_that_cannot_be_set_is_told_problem_by_problem() {
    let world = manifest_world();
    world.write(
        "manifest.json",
        format!("{{\n  \"Policies\": {{\"{HASH}\": {{\"SANs\": [\"cart\", \"*\"]}}}},\n  \"WorkloadOwnerPubKeys\": null\n}}\n"),
    );
    let arguments = ["--profile", "workload", "--caller", "me", "--manifest", "manifest.json", "--policy-hash", HASH];
    let run = explain(&world, &arguments);
    assert_eq!(run.code, 1);
    assert_snapshot!(run.told());
    let json = explain(&world, &[&arguments[..], &["--json"]].concat()).json();
    assert_eq!((&json["result"], &json["problems"][0]["line"]), (&"bad".into(), &2.into()));
    assert_eq!(json["problems"][0]["pointer"], format!("/Policies/{HASH}/SANs/0"));
    assert_eq!(json["problems"].as_array().unwrap().len(), 3);
    let case = format!(
        "manifest = \"manifest.json\"\n[[case]]\nname = \"x\"\ncaller = \"me\"\nprofile = \"workload\"\npolicy-hash = \"{HASH}\"\n"
    );
    world.write("policy.tests.toml", case);
    let run = world.run(["policy", "test", "policy.toml"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("manifest.json:2:") && run.stderr.contains("has 3 mistakes"), "{}", run.stderr);
}

#[test]
fn cases_that_differ_are_shown_and_can_be_blessed() {
    let world = world();
    let run = world.run(["policy", "test", "policy.toml"]);
    assert_eq!(run.code, 1);
    assert_snapshot!(run.told());
    let json = world.run(["policy", "test", "policy.toml", "--json"]).json();
    assert_eq!((&json["result"], &json["policies"][0]["cases"][0]["passes"]), (&"bad".into(), &true.into()));
    assert_eq!(world.read("policy.tests.toml"), CASES, "without --bless nothing is written");
    assert_snapshot!(world.run(["policy", "test", "policy.toml", "--bless"]).told());
    assert_snapshot!(world.read("policy.tests.toml"));
    assert_snapshot!(world.run(["policy", "test", "policy.toml"]).told());
}

#[test]
fn cases_can_stand_in_another_file() {
    let world = world();
    let path = world.write("elsewhere.toml", CASES.split("# Expects").next().unwrap());
    assert_eq!(world.run(["policy", "test", "policy.toml", "--cases", &path]).code, 0);
    let two = world.run(["policy", "test", "policy.toml", "policy.toml", "--cases", &path]);
    assert_snapshot!(two.told());
}

#[test]
fn cases_that_cannot_be_run_are_said() {
    let world = world();
    let case = "[[case]]\nname = \"x\"\ncaller = \"me\"\nprofile = \"host\"\n";
    for (more, cause) in [
        ("key = \"dsa\"", "there is no key kind `dsa`"),
        ("dns = [\"ä.example\"]", "`ä.example` cannot be written into a CSR or certificate"),
        ("ip = [\"1.2.3\"]", "`1.2.3` cannot be written"),
        ("lifetime = \"1 month\"", "is no span of time"),
        ("at = \"today\"", "is no point in time"),
        ("claims = [{ oid = \"1.2.3\", value = \"0x\" }]", "`0x` of a claim is no DER"),
        ("csr = \"no.csr\"", "no.csr` cannot be read"),
        ("csr = \"no.csr\"\nkey = \"ed25519\"", "`csr` names a file"),
        ("possession = \"caller\"\nip = [\"::g\"]", "`::g` cannot be written"),
        ("policy-hash = \"0x\"", "`0x` is no policy hash"),
    ] {
        world.write("policy.tests.toml", format!("{case}{more}\n"));
        let run = world.run(["policy", "test", "policy.toml"]);
        assert_eq!(run.code, 2, "{more}");
        assert!(run.stderr.contains("error: the case `x` of `policy.tests.toml` cannot be run"), "{}", run.stderr);
        assert!(run.stderr.contains(cause) && run.stderr.contains("hint: "), "{}", run.stderr);
    }
    world.write("policy.tests.toml", format!("{case}exspect = \"approve\"\n"));
    assert_snapshot!(world.run(["policy", "test", "policy.toml"]).told());
    world.write("policy.tests.toml", "");
    assert_snapshot!(world.run(["policy", "test", "policy.toml"]).told());
}
