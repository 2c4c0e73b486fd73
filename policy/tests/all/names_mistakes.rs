//! Mistakes about names in a policy file: each is told as a sentence with its place.

use hallmark_policy::{Policy, profile::Mistake};

fn policy(profile: &str, more: &str) -> String {
    format!(
        "version = 1\n\
         [authority.a]\n\
         root = {{ common-name = \"root\", lifetime = \"3650d\", key = \"ecdsa-p256\" }}\n\
         epoch = {{ common-name = \"epoch\", lifetime = \"365d\", key = \"ecdsa-p256\" }}\n\
         [profile.p]\n{}{profile}\n{more}",
        always("server-auth")
    )
}

fn always(usage: &str) -> String {
    format!(
        "authority = \"a\"\nlifetime = {{ default = \"1d\", maximum = \"1d\" }}\nkeys = [\"ecdsa-p256\"]\nusages = [\"{usage}\"]\n"
    )
}

fn mistakes(profile: &str, more: &str) -> Vec<String> {
    let found = Policy::parse(&policy(profile, more)).map_or_else(|error| error.mistakes, |_| Vec::new());
    assert!(found.iter().all(|mistake| mistake.line.is_some()), "every mistake has its line: {found:?}");
    found.into_iter().map(|mistake| Mistake { line: None, ..mistake }.to_string()).collect()
}

#[test]
fn every_mistake_about_names_is_told_with_its_place() {
    let dns = "{ dns = \"{service}.example.com\" }";
    for (profile, told) in [
        ("names = [{}]", "every entry of `names` has one of `dns`, `uri`, `ip` and `email`"),
        ("names = [{ dns = \"a.b\", ip = \"10.0.0.1\" }]", "every entry of `names` has one of"),
        ("names = [{ ip = \"10.0.0.1/8\" }]", "; write the block's first address"),
        ("names = [{ ip = \"{service}\" }]", "an address is written `192.0.2.1`"),
        ("names = [{ email = \"{service}.example.com\" }]", "a mail address has one `@`"),
        ("names = [{ uri = \"*.{service}\" }]", "a wildcard stands in a dNSName only"),
        ("names = [{ dns = \"x.*.{service}\" }]", "`*.` stands at its beginning only"),
        (&format!("common-name = \"*.{{service}}\"\nnames = [{dns}]"), "`common-name`: a wildcard stands"),
        (
            "names = [{ dns = \"{service}.example.com\", count = \"0\" }]",
            "`count` of `{service}.example.com` is written",
        ),
        (&format!("per-kind = {{ dns = \"0\" }}\nnames = [{dns}]"), "`per-kind.dns` is 0, and `names` has formats"),
        (&format!("per-kind = {{ dns = \"2\" }}\nnames = [{dns}]"), "the formats take 1 to 1: nothing fits both"),
        (&format!("per-kind = {{ uri = \"1..\" }}\nnames = [{dns}]"), "`per-kind.uri` is written"),
        (&format!("per-kind = {{ ip = \"+1\" }}\nnames = [{dns}]"), "`per-kind.ip` is written"),
        (&format!("dashes = \"claimed\"\nnames = [{dns}]"), "no format has `:dashes`"),
        (
            "dashes = \"claimed\"\nnames = [{ dns = \"{service}.{domain:dashes}.example.com\" }]",
            "needs `{domain}` in `common-name`",
        ),
        (
            "common-name = \"{domain}.{service}\"\nnames = [{ dns = \"{service}-{domain:dashes}.example.com\" }]",
            "`{service}-{domain:dashes}.example.com`: nothing tells where `{service}` ends and `{domain}` begins",
        ),
        (
            "common-name = \"{domain}.{service}\"\nnames = [{ dns = \"{domain:dashes}--{service}.example.com\" }]",
            "nothing tells where `{domain}` ends and `{service}` begins",
        ),
        (
            "common-name = \"{domain}.{service}\"\nnames = [{ dns = \"{service}.{domain:dashes}.example.com\" }, { dns = \"{domain}x{service:dashes}.example.com\" }]",
            "`{domain}x{service:dashes}.example.com`: nothing tells where `{domain}` ends and `{service}` begins",
        ),
        (
            "common-name = \"{domain}.{service}\"\nnames = [{ dns = \"{domain}x{mid}x{service:dashes}.example.com\" }]\nparts = { mid = { shape = \"dotted\" } }",
            "nothing tells where `{mid}` ends and `{service}` begins",
        ),
        (
            "names = [{ dns = \"{service}.{domain:dashes}.example.com\" }]\nparts = { domain = { shape = \"dotted\", none-of = [\"a-b\"] } }",
            "`parts.domain`: `a-b` has a dash, and no value of `{domain:dashes}` has any",
        ),
        (
            "names = [{ dns = \"{path}.example.com\" }]\nparts = { path = { shape = \"path\" } }",
            "`{path}` has the shape `path`, and stands in a format that is no URI",
        ),
        (
            &format!("names = [{dns}]\nparts = {{ service = {{ shape = \"label\", one-of = [\"a.b\"] }} }}"),
            "`parts.service`: `a.b` does not have the shape `label`",
        ),
        (
            &format!("names = [{dns}]\nparts = {{ service = {{ shape = \"label\", none-of = [\"API\"] }} }}"),
            "`parts.service`: `API` does not have the shape `label`",
        ),
        (
            &format!(
                "names = [{dns}]\nparts = {{ service = {{ shape = \"label\", one-of = [\"a\"], none-of = [\"a\"] }} }}"
            ),
            "`a` is in `one-of` and in `none-of`",
        ),
    ] {
        let found = mistakes(profile, "");
        assert!(
            found.iter().any(|mistake| mistake.starts_with("[profile.p]") && mistake.contains(told)),
            "{profile}\n{found:#?}"
        );
    }
}

#[test]
fn where_a_list_tells_which_values_there_are_two_parts_do_not_run_together() {
    let profile = |parts: &str| {
        format!(
            "common-name = \"{{domain}}.{{service}}\"\nnames = [{{ dns = \"{{service}}-{{domain:dashes}}.example.com\" }}]\nparts = {{ {parts} }}"
        )
    };
    let runs_together =
        |parts: &str| mistakes(&profile(parts), "").iter().any(|mistake| mistake.contains("nothing tells where"));
    assert!(runs_together(""));
    assert!(!runs_together("service = { shape = \"label\", one-of = [\"api\", \"web\"] }"));
    assert!(!runs_together("domain = { shape = \"dotted\", one-of = [\"sports\"] }"));
}

#[test]
fn what_only_one_of_two_parts_could_hold_keeps_them_apart() {
    let profile = "common-name = \"{domain}.{service}\"\nnames = [{ dns = \"{domain}.{service:dashes}.example.com\" }]";
    let found = mistakes(profile, "");
    assert!(!found.iter().any(|mistake| mistake.contains("nothing tells where")), "{found:?}");
}

#[test]
fn words_that_do_not_exist_are_mistakes() {
    let names = "names = [{ dns = \"{service}.example.com\" }]";
    for line in [
        "case = \"lower\"",
        "dashes = \"loose\"",
        "per-kind = { cn = \"1\" }",
        "parts = { service = { shape = \"glob\" } }",
    ] {
        assert_eq!(mistakes(&format!("{line}\n{names}"), "").len(), 1, "{line}");
    }
    assert_eq!(mistakes(names, ""), Vec::<String>::new());
}

/// A profile that follows instances of services, and one beside it.
fn beside_instances(usage: &str, profile: &str) -> Vec<String> {
    let followed = "common-name = \"{domain}.{service}\"\n\
        names = [{ dns = \"{service}.example.com\" }, { uri = \"athenz://instanceid/{instance}\", count = \"0..1\" }, \
        { uri = \"spiffe://{domain}/sa/{service}\", count = \"0..1\" }, { ip = \"10.0.0.0/8\", count = \"0..1\" }]\n\
        parts = { domain = { shape = \"dotted\", none-of = [\"user\"] } }";
    mistakes(followed, &format!("[profile.q]\n{}{profile}\n", always(usage)))
}

#[test]
fn a_profile_without_instances_may_not_give_names_of_one_with_them() {
    for profile in [
        "common-name = \"{domain}.{service}\"",
        "common-name = \"sports.{service}\"",
        "names = [{ dns = \"{service}.example.com\" }]",
        "names = [{ dns = \"*.com\" }, { dns = \"*.example.com\" }]",
        "names = [{ uri = \"spiffe://{domain}/{path}\" }]\nparts = { path = { shape = \"path\" } }",
        "common-name = \"user.{service}\"\nnames = [{ ip = \"10.1.0.0/16\" }]",
    ] {
        let found = beside_instances("server-auth", profile);
        assert!(
            found
                .iter()
                .any(|mistake| mistake.starts_with("[profile.q]") && mistake.contains("of profile `p` takes, too")),
            "{profile}\n{found:#?}"
        );
    }
}

#[test]
fn fixed_text_an_excluded_value_or_another_usage_tells_profiles_apart() {
    for (usage, profile) in [
        ("server-auth", "common-name = \"user.{service}\""),
        ("server-auth", "common-name = \"{domain}:role.{service}\""),
        ("server-auth", "names = [{ uri = \"spiffe://{domain}/ra/{service}\" }]"),
        ("server-auth", "names = [{ dns = \"{service}.example.org\" }, { ip = \"192.0.2.0/24\" }]"),
        ("server-auth", "common-name = \"{domain}.{service}\"\nnames = [{ uri = \"athenz://instanceid/{instance}\" }]"),
        ("client-auth", "common-name = \"{domain}.{service}\""),
    ] {
        assert_eq!(beside_instances(usage, profile), Vec::<String>::new(), "{profile}");
    }
}

#[test]
fn the_policies_of_the_corpus_the_example_and_the_fuzzer_have_no_mistake() {
    let permissive = include_str!("../../../fuzz/fixtures/permissive.toml");
    for text in [include_str!("../names-policy.toml"), include_str!("../../../examples/policy.toml"), permissive] {
        assert!(Policy::parse(text).is_ok(), "{:?}", Policy::parse(text).unwrap_err());
    }
}

#[test]
fn a_callers_providers_are_those_of_its_profiles_and_leave_each_of_them_one() {
    let with = |providers: &str| {
        let profile = "providers = [\"one\", \"two\"]\nnames = [{ dns = \"{service}.{provider.suffix}\" }]";
        let other = "providers = [\"three\"]\nnames = [{ dns = \"{service}.x.{provider.suffix}\" }]\n";
        let more = format!(
            "[profile.other]\n{}{other}\
             [provider.one]\ndns-suffixes = [\"one.test\"]\n[provider.two]\ndns-suffixes = [\"two.test\"]\n\
             [provider.three]\ndns-suffixes = [\"three.test\"]\n\
             [caller.c]\nuri = \"spiffe://c\"\nmethods = [\"MintCertificate\"]\nprofiles = [\"p\"]\n{providers}\n",
            always("server-auth")
        );
        mistakes(profile, &more)
    };
    assert_eq!(with("providers = [\"two\"]"), Vec::<String>::new());
    for (providers, told) in [
        ("providers = []", "`providers` is empty"),
        ("providers = [\"one\", \"one\"]", "`providers` has `one` twice"),
        ("providers = [\"one\", \"three\"]", "no profile of this caller has the provider `three`"),
        ("providers = [\"one\", \"four\"]", "no profile of this caller has the provider `four`"),
        ("providers = [\"four\"]", "`providers` leaves none of those that profile `p` has"),
    ] {
        let found = with(providers);
        let expected = |mistake: &String| mistake.starts_with("[caller.c]") && mistake.contains(told);
        assert!(found.iter().any(expected), "{providers}\n{found:#?}");
    }
}

#[test]
fn a_wildcard_may_not_cover_the_names_of_instances() {
    let more = "[provider.one]\ndns-suffixes = [\"one.test\"]\n";
    let profile = |parts: &str, wildcard: &str| {
        format!(
            "providers = [\"one\"]\ncommon-name = \"{{domain}}.{{service}}\"\n{parts}\n\
             names = [{{ dns = \"{wildcard}\", count = \"0..1\" }}, {{ dns = \"{{instance}}.instanceid.athenz.{{provider.suffix}}\" }}]"
        )
    };
    let of_service = "*.{service}.{domain:dashes}.{provider.suffix}";
    let found = mistakes(&profile("", of_service), more);
    let told =
        "its `*.{service}.{domain:dashes}.{provider.suffix}` covers names of its own `{instance}.instanceid.athenz.";
    assert!(found.iter().any(|mistake| mistake.starts_with("[profile.p]") && mistake.contains(told)), "{found:#?}");
    for (parts, wildcard) in [
        ("parts = { domain = { shape = \"dotted\", none-of = [\"athenz\"] } }", of_service),
        ("parts = { service = { shape = \"label\", none-of = [\"instanceid\"] } }", of_service),
        ("", "*.{service}.web.test"),
    ] {
        assert_eq!(mistakes(&profile(parts, wildcard), more), Vec::<String>::new(), "{parts} {wildcard}");
    }
}

#[test]
fn names_of_a_manifest_stand_beside_no_profile_that_follows_instances() {
    let told = |followed: &str, of: &str| {
        let text = format!(
            "version = 1\n\
             [authority.a]\nrotates = \"manifest\"\nowner-keys = []\n\
             root = {{ common-name = \"root\", lifetime = \"3650d\", key = \"ecdsa-p256\" }}\n\
             epoch = {{ common-name = \"epoch\", lifetime = \"365d\", key = \"ecdsa-p256\" }}\n\
             [profile.free]\nauthority = \"a\"\nlifetime = {{ default = \"1d\", maximum = \"1d\" }}\nkeys = [\"ecdsa-p256\"]\n\
             usages = [\"{of}\"]\nnames-from = \"manifest\"\n\
             [profile.followed]\n{}{followed}\n[provider.p]\ndns-suffixes = [\"p.example.net\"]\n",
            always("server-auth")
        );
        let found = Policy::parse(&text).map_or_else(|error| error.mistakes, |_| Vec::new());
        found.into_iter().map(|mistake| Mistake { line: None, ..mistake }.to_string()).collect::<Vec<_>>()
    };
    let sentence = "its names come from manifests, which could name instances that profile `followed` follows";
    let named = "names = [{ dns = \"{instance}.example.com\" }]";
    let mistakes = told(named, "server-auth");
    assert!(mistakes.iter().any(|mistake| mistake.contains(sentence)), "{mistakes:?}");
    let others = |mistakes: Vec<String>| mistakes.into_iter().filter(|mistake| mistake.contains(sentence)).count();
    assert_eq!(others(told(named, "client-auth")), 0, "another usage");
    assert_eq!(others(told("names = [{ dns = \"{service}.example.com\" }]", "server-auth")), 0, "no instances");
    let recorded = "common-name = \"{domain}.{service}\"\nproviders = [\"p\"]\n\
                    names = [{ uri = \"athenz://instanceid/{provider}/{instance}\" }]\ninstances = { intents = [\"register\"] }";
    assert_eq!(
        others(told(recorded, "client-auth")),
        1,
        "a record is of a workload, whatever its certificates are used for"
    );
}

#[test]
fn a_form_that_is_claimed_is_not_given_to_plain_text_of_the_same_authority() {
    let told = |names: &str, authority: &str| {
        let other = format!("[profile.free]\n{}names = [{names}]", always("server-auth"))
            .replace("authority = \"a\"", &format!("authority = \"{authority}\""));
        let b = "[authority.b]\nroot = { common-name = \"root b\", lifetime = \"3650d\", key = \"ecdsa-p256\" }\n\
                 epoch = { common-name = \"epoch b\", lifetime = \"365d\", key = \"ecdsa-p256\" }\n";
        let claiming = "dashes = \"claimed\"\ncommon-name = \"{domain}.{service}\"\nnames = [{ dns = \"{service}.{domain:dashes}.example.com\" }]";
        mistakes(claiming, &format!("{other}\n{b}"))
    };
    let plain = told("{ dns = \"{service}.x.example.com\" }", "a");
    assert!(
        plain
            .iter()
            .any(|mistake| mistake
                .contains("its `{service}.x.example.com` takes names that profile `p` gives away once")),
        "{plain:?}"
    );
    assert_eq!(
        told("{ dns = \"{service}.x.example.com\" }", "b"),
        Vec::<String>::new(),
        "another authority has forms of its own"
    );
    assert_eq!(told("{ dns = \"{service}.example.net\" }", "a"), Vec::<String>::new());
}
