//! What the ledger has to count for an approval, and whose rate it counts against.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends by panicking")]

use hallmark_policy::{
    Approved, Caller, Decision, Issuer, NameInput, Policy, Request, RequestInput, SubjectInput, decide, hex,
    key::SignatureAlgorithm,
    limits::{InstanceRate, Limits},
};

use crate::world::{WORLD, now, serial};

/// A policy with three profiles: names as in Copper Argos, names without an instance, and an instance in the common name.
fn policy(instances: &str, plain: &str) -> Policy {
    let always = "authority = \"a\"\nlifetime = { default = \"1d\", maximum = \"7d\" }\nkeys = [\"ecdsa-p256\"]\n\
                  usages = [\"client-auth\"]\npossession = \"caller\"\n";
    let text = format!(
        "version = 1\n\
         [authority.a]\n\
         root = {{ common-name = \"root\", lifetime = \"3650d\", key = \"ecdsa-p256\" }}\n\
         epoch = {{ common-name = \"epoch\", lifetime = \"365d\", key = \"ecdsa-p256\" }}\n\
         [authority.b]\n\
         root = {{ common-name = \"root\", lifetime = \"3650d\", key = \"ecdsa-p256\" }}\n\
         epoch = {{ common-name = \"epoch\", lifetime = \"365d\", key = \"ecdsa-p256\" }}\n\
         [profile.instances]\n{always}{instances}\n\
         common-name = \"{{service}}.sports\"\n\
         names = [{{ dns = \"{{service}}.a.test\" }}, {{ dns = \"{{instance}}.id.a.test\", count = \"0..1\" }}, \
         {{ uri = \"x://id/{{instance}}\", count = \"0..1\" }}]\n\
         parts = {{ service = {{ shape = \"label\" }}, instance = {{ shape = \"label\" }} }}\n\
         [profile.subject]\n{always}{instances}\n\
         common-name = \"{{instance}}.subject\"\n\
         names = [{{ dns = \"fixed.b.test\", count = \"0..1\" }}]\n\
         parts = {{ instance = {{ shape = \"label\" }} }}\n\
         [profile.plain]\n{always}{plain}\n\
         names = [{{ dns = \"{{host}}.c.test\", count = \"1..3\" }}]\n\
         parts = {{ host = {{ shape = \"dotted\", one-of = [\"a\"] }} }}\n\
         [profile.elsewhere]\n{}one-key-one-name = true\n\
         names = [{{ dns = \"fixed.d.test\" }}]\n\
         [caller.coordinator]\nuri = \"spiffe://lab/coordinator\"\nmethods = [\"MintCertificate\"]\n\
         profiles = [\"instances\", \"subject\", \"plain\"]\n",
        always.replace("\"a\"", "\"b\"")
    );
    Policy::parse(&text).unwrap_or_else(|error| panic!("{error}"))
}

fn ask(policy: &Policy, profile: &str, common_name: &str, names: &[&str]) -> Approved {
    let names = names.iter().map(|name| match name.contains("://") {
        true => NameInput::Uri((*name).to_owned()),
        false => NameInput::Dns((*name).to_owned()),
    });
    let spki = WORLD.subject.spki().to_vec();
    let input = RequestInput {
        authority: "a".to_owned(),
        profile: profile.to_owned(),
        request_id: "r-1".to_owned(),
        subject: SubjectInput::Spki { spki, common_name: common_name.to_owned(), names: names.collect() },
        ..RequestInput::default()
    };
    let caller: Caller = WORLD.caller.clone();
    let issuer = Issuer { authority: "a".to_owned(), ..WORLD.issuer(SignatureAlgorithm::EcdsaSha256, now()) };
    match decide(policy, &Request::parse(caller, input).unwrap(), &issuer, now(), serial()) {
        Decision::Approve(approved) => *approved,
        Decision::Refuse(reasons) => panic!("{reasons:?}"),
    }
}

fn sha256(text: &str) -> [u8; 32] {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref().try_into().unwrap()
}

#[test]
fn quotas_are_those_of_the_profile() {
    let policy = policy("", "quota = { per-epoch = 7, per-caller-per-day = 5 }");
    let limits = ask(&policy, "plain", "", &["a.c.test"]).conditions().limits.clone();
    let expected =
        Limits { profile: "plain".to_owned(), per_epoch: Some(7), per_caller_per_day: Some(5), key_names: None };
    assert_eq!(limits, expected);
    let limits = ask(&policy, "instances", "x.sports", &["x.a.test"]).conditions().limits.clone();
    assert_eq!((limits.profile.as_str(), limits.per_epoch, limits.per_caller_per_day), ("instances", None, None));
}

#[test]
fn a_key_is_remembered_with_its_names_as_soon_as_one_profile_of_the_authority_wants_to_know() {
    let without = policy("", "");
    let limits = ask(&without, "plain", "", &["a.c.test"]).conditions().limits.clone();
    assert_eq!(limits.key_names, None, "that of another authority does not count");
    let policy = policy("", "one-key-one-name = true");
    let key_names = |profile: &str, common_name: &str, names: &[&str]| {
        let key_names = ask(&policy, profile, common_name, names).conditions().limits.key_names.unwrap();
        assert_eq!(key_names.spki, WORLD.subject.digest());
        (key_names.names_sha256, key_names.only)
    };
    assert_eq!(key_names("plain", "", &["a.c.test"]), (sha256("dns:a.c.test\0"), true));
    let both = sha256("cn:x.sports\0dns:i-1.id.a.test\0dns:x.a.test\0");
    assert_eq!(key_names("instances", "x.sports", &["x.a.test", "i-1.id.a.test"]), (both, false));
    assert_eq!(key_names("instances", "x.sports", &["i-1.id.a.test", "x.a.test"]), (both, false), "in any order");
}

#[test]
fn an_instance_has_a_rate_by_its_name_wherever_it_stands() {
    let policy = policy("rate = { per-instance = \"6/h\" }", "");
    let rate = |profile: &str, common_name: &str, names: &[&str]| {
        let approved = ask(&policy, profile, common_name, names);
        approved.instance_rate().map(|InstanceRate { rate, profile, instance }| {
            assert_eq!((rate.calls(), rate.period_nanos()), (6, 3_600_000_000_000));
            format!("{profile}: {instance}")
        })
    };
    assert_eq!(rate("plain", "", &["a.c.test"]), None);
    let of_instance = Some("instances: instance i-1".to_owned());
    assert_eq!(rate("instances", "x.sports", &["x.a.test", "i-1.id.a.test"]), of_instance);
    assert_eq!(rate("instances", "x.sports", &["x://id/i-1", "x.a.test"]), of_instance);
    let of_names = format!("instances: {}", hex(&sha256("cn:x.sports\0dns:x.a.test\0")));
    assert_eq!(rate("instances", "x.sports", &["x.a.test"]), Some(of_names), "without one: by all names");
    assert_eq!(rate("subject", "i-2.subject", &["fixed.b.test"]).as_deref(), Some("subject: instance i-2"));
    assert_eq!(rate("subject", "i-2.subject", &[]).as_deref(), Some("subject: instance i-2"));
}
