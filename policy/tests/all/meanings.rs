//! What policies mean in sentences, for people: those of the cookbook and one with every setting, as `meanings.txt` has them.
//!
//! `BLESS=1 cargo test -p hallmark-policy meanings` writes the file anew.
#![expect(clippy::disallowed_methods, reason = "a test that reads and writes its snapshot")]

use std::fmt::Write as _;

use hallmark_policy::{Policy, meaning};

const POLICIES: [(&str, &str); 7] = [
    ("every setting", super::policies::FULL),
    ("examples/policy.toml", include_str!("../../../examples/policy.toml")),
    ("athenz-service", include_str!("../../../examples/cookbook/athenz-service.toml")),
    ("athenz-all-shapes", include_str!("../../../examples/cookbook/athenz-all-shapes.toml")),
    ("contrast-mesh", include_str!("../../../examples/cookbook/contrast-mesh.toml")),
    ("spiffe", include_str!("../../../examples/cookbook/spiffe.toml")),
    ("nobody may call", NOBODY),
];

/// What no other policy says: no callers, CRLs in partitions, manifests as Contrast's tools write them, refreshes alone.
const NOBODY: &str = r#"
version = 1

[authority.by-age]
crl = { lifetime = "7d", refresh = "1d", partitions = 4, distribution-point = true }
crl-urls = ["http://crl.test/{generation}/{partition}.crl"]
retired-key = "destroy"
root = { common-name = "Root", lifetime = "3650d", key = "rsa-2048", signature = "rsa-pss-sha256", path-length = 2 }
epoch = { common-name = "CA", lifetime = "365d", key = "ecdsa-p256" }

[authority.one]
rotates = "manifest"
owner-keys = ["2202e1c361f8287021ffd4f1697a1a820414bb2d6c7f7fa7b8da1db29a86fe4e"]
owner-signature = "contrast"
revoke-previous = true
manifest-names = { wildcards = true, single-labels = true }
crl = { lifetime = "7d", refresh = "1d" }
root = { common-name = "Root", lifetime = "3650d", key = "ecdsa-p256" }
epoch = { common-name = "CA", lifetime = "365d", key = "ecdsa-p256" }

[authority.two]
rotates = "manifest"
owner-keys = []
owner-signature = "contrast"
manifest-names = { single-labels = true }
mixed-chain = true
root = { common-name = "Root", lifetime = "3650d", key = "ml-dsa-87" }
epoch = { common-name = "CA", lifetime = "365d", key = "ecdsa-p256" }

[profile.fixed]
authority = "by-age"
lifetime = { default = "1h", maximum = "2h" }
keys = ["ecdsa-p256"]
usages = ["time-stamping"]
names = [{ dns = "fixed.test" }]
quota = { per-epoch = 3 }

[profile.workload]
authority = "one"
names-from = "manifest"
lifetime = { default = "1h", maximum = "2h" }
keys = ["ecdsa-p256"]
usages = ["server-auth"]
possession = "caller"
"#;

#[test]
fn what_a_policy_means_is_said_as_it_was() {
    let mut said = String::new();
    for (name, text) in POLICIES {
        let policy = Policy::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        writeln!(said, "== {name}").unwrap();
        for line in meaning::tell(&policy).lines.iter().filter(|line| !line.starts_with("Policy ")) {
            writeln!(said, "{line}").unwrap();
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/meanings.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &said).unwrap();
    }
    let was = std::fs::read_to_string(path).unwrap_or_default();
    assert!(said == was, "it is said otherwise now:\n{said}");
}

/// The example's services keep records of instances, under an authority with these settings.
#[cfg(test)]
fn with_records(settings: &str) -> Policy {
    let example = include_str!("../../../examples/policy.toml");
    let profile = "[profile.athenz-service]\n";
    let keeping = format!("{profile}instances = {{ intents = [\"register\", \"refresh\"] }}\n");
    let text = example.replacen(profile, &keeping, 1);
    let root = "[authority.athenz.root]";
    Policy::parse(&text.replacen(root, &format!("[authority.athenz]\n{settings}\n\n{root}"), 1)).unwrap()
}

#[test]
fn where_an_instance_s_certificate_outlives_the_key_that_could_revoke_it_there_is_a_warning() {
    const CRL: &str = "crl = { lifetime = \"7d\", refresh = \"1d\" }";
    let destroys = with_records(&format!("{CRL}\nretired-key = \"destroy\""));
    let [warning] = meaning::warnings(&destroys).try_into().expect("one");
    for part in ["authority `athenz`", "`athenz-service`", "on no CRL", "for up to 30d", "`retired-key = \"crl-only\"`"]
    {
        assert!(warning.contains(part), "{warning}");
    }
    for settings in ["retired-key = \"destroy\"", CRL, &format!("{CRL}\nretired-key = \"crl-only\"")] {
        assert!(meaning::warnings(&with_records(settings)).is_empty(), "{settings}");
    }
    for (name, text) in POLICIES {
        assert!(meaning::warnings(&Policy::parse(text).unwrap()).is_empty(), "{name}");
    }
}
