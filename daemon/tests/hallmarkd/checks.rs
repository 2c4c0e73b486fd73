//! `hallmarkd check`.

use std::{fs, os::unix::fs::symlink, path::Path};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use crate::world::{World, core_file_limits};

#[test]
fn check_says_who_may_do_what() {
    let world = World::new();
    world.check().done().says(&[
        "connect to 127.0.0.1:0 with TLS 1.3 and a client certificate",
        "their revocation is not looked up",
        "Operators",
        "uri:spiffe://hallmark.lab/operator may apply a policy and ask which one is in force",
        "live in encrypted files",
        "hallmarkd run` also wants --allow-software-keys",
        "`hallmarkd init` makes it",
        "Whatever is not named below is refused.",
        "Caller `coordinator`, whose certificate says uri:spiffe://hallmark.lab/coordinator",
        "may call MintCertificate, GetChain, ListEpochs and WatchEpochs",
        "It mints under `athenz-service` and `mesh`",
        "Profile `athenz-service` under authority `athenz`",
        "live for 30d, or as the request wishes up to 30d; a wish for more is refused",
        "1 dNSName: `{service}.{domain:dashes}.{provider.suffix}`",
        "`{namespace}` is one of `shop` and `billing`",
        "has no problem",
    ]);
}

#[test]
fn check_says_how_much_and_how_often() {
    let world = World::new();
    for setting in ["quota = {", "rate = {", "one-key-one-name", "rate = \""] {
        world.edit("policy.toml", &format!("# {setting}"), setting);
    }
    world.check().done().says(&[
        "At most 100000 certificates in an epoch.",
        "At most 5000 certificates for each caller in a day of UTC.",
        "At most 6/h certificates for one instance.",
        "A key stands under one set of names only.",
        "It makes 200/s calls; over that it waits.",
    ]);
}

#[test]
fn check_warns_where_a_theft_could_be_found_too_late_for_a_crl() {
    let world = World::new();
    let profile = "[profile.athenz-service]\n";
    world.edit("policy.toml", profile, &format!("{profile}instances = {{ intents = [\"register\", \"refresh\"] }}\n"));
    let settings = "[authority.athenz]\ncrl = { lifetime = \"7d\", refresh = \"1d\" }\n";
    let root = "[authority.athenz.root]";
    world.edit("policy.toml", root, &format!("{settings}\n{root}"));
    let check = world.check().done().says(&["has no problem"]);
    assert!(!check.stderr.contains("warning:"), "{}", check.stderr);
    world.edit("policy.toml", settings, &format!("{settings}retired-key = \"destroy\"\n"));
    let check = world.check().done().says(&["has no problem"]);
    assert!(
        check.stderr.contains("warning: authority `athenz` destroys the key of a replaced epoch"),
        "{}",
        check.stderr
    );
}

#[test]
fn operators_are_told_apart_from_callers() {
    let world = World::new();
    world.edit("signer.toml", "allow = [\"spiffe://hallmark.lab/operator\"]", "allow = [\"Operator\"]");
    world.check().failed_with(&["`operators.allow`: `Operator`: "]);
    world.init().done();
    world.run().failed_with(&["`operators.allow`: `Operator`: ", "hint: name URIs"]);
}

#[test]
fn check_touches_neither_device_nor_database() {
    let world = World::with_token();
    // Loading this module, or logging in with this PIN, would fail.
    world.edit("signer.toml", "/usr/lib/softhsm/libsofthsm2.so", world.path("policy.toml").to_str().unwrap());
    let before = world.files("");
    world.check().done().says(&["the token `daemon", "The PIN comes from the file"]);
    assert_eq!(world.files(""), before);
}

#[test]
fn check_says_what_a_module_is_given_and_what_it_is_not_believed_about() {
    let world = World::with_token();
    let place = "module = \"/usr/lib/softhsm/libsofthsm2.so\"\n";
    world.edit(
        "signer.toml",
        place,
        &format!("{place}module-arguments = \"configdir='sql:/nss'\"\nwaive = [\"CKA_LOCAL\"]\n"),
    );
    world.check().done().says(&[
        "The module is started with `configdir='sql:/nss'`.",
        "Of a key that is made in this module, `CKA_LOCAL` need not be true: it is believed less about the key's history, and about nothing else.",
    ]);
    world.edit("signer.toml", "[\"CKA_LOCAL\"]", "[\"CKA_LOCAL\", \"CKA_COPYABLE\", \"CKA_DESTROYABLE\"]");
    world.check().done().says(&[
        "`CKA_LOCAL` need not be true",
        "The module need not know `CKA_COPYABLE`: where it does not, whoever has the PIN can copy a key within its token.",
        "The module need not know `CKA_DESTROYABLE`: where it does not, whoever has the PIN can destroy every key, a root's too;",
    ]);
    world.edit("signer.toml", "\"CKA_LOCAL\", \"CKA_COPYABLE\", \"CKA_DESTROYABLE\"", "\"CKA_SENSITIVE\"");
    world.check().failed_with(&["unknown variant `CKA_SENSITIVE`", "`CKA_LOCAL`", "`CKA_NEVER_EXTRACTABLE`"]);
}

#[test]
fn a_start_says_what_a_module_is_not_believed_about() {
    let world = World::with_token();
    let place = "module = \"/usr/lib/softhsm/libsofthsm2.so\"\n";
    world.edit("signer.toml", place, &format!("{place}waive = [\"CKA_LOCAL\", \"CKA_COPYABLE\"]\n"));
    world.init().done().says(&[
        "waived: of a key that is made in the module /usr/lib/softhsm/libsofthsm2.so, CKA_LOCAL need not be true",
        "waived: the module /usr/lib/softhsm/libsofthsm2.so need not know CKA_COPYABLE; where it does not, whoever has the PIN can copy a key within its token",
    ]);
}

#[test]
fn every_configuration_in_the_pages_of_devices_is_good_up_to_the_module_that_is_not_here() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/devices");
    let mut tried = 0;
    for page in fs::read_dir(pages).unwrap() {
        let path = page.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for table in text.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0) {
            if !table.contains("[backend.pkcs11]") {
                continue;
            }
            tried += 1;
            let world = World::with_token();
            let own = world.read("signer.toml");
            let (before, rest) = own.split_once("[backend.pkcs11]").unwrap();
            let (_, after) = rest.split_once("\n\n").unwrap_or((rest, ""));
            world.write("signer.toml", &format!("{before}{table}\n{after}"));
            let module = table.split_once("module = \"").unwrap().1.split_once('"').unwrap().0;
            let checked = world.check();
            if Path::new(module).is_file() {
                checked.done().says(&["live in the token", module]);
                continue;
            }
            // All else is as it should be: the one problem is that the module is not installed.
            let sentence = format!("`backend.pkcs11.module`: there is no file `{module}`");
            checked.failed_with(&[&sentence, "1 problem(s)"]);
        }
    }
    assert!(tried >= 6, "{tried}");
}

#[test]
fn every_page_of_a_device_says_first_what_was_tried_and_what_was_not() {
    let says = [
        "Tried here",
        "Tried in `make test-devices`",
        "**Untried on hardware.**",
        "**What was tried, and what was not.**",
    ];
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/devices");
    let paths = fs::read_dir(pages).unwrap().map(|page| page.unwrap().path());
    for path in paths.filter(|path| !path.ends_with("README.md")) {
        let text = fs::read_to_string(&path).unwrap();
        let begins: Vec<_> = text.lines().take(6).collect();
        assert!(says.iter().any(|words| begins.iter().any(|line| line.starts_with(words))), "{}", path.display());
    }
}

#[test]
fn check_says_where_links_lead_and_what_a_front_that_runs_does_not_follow() {
    let world = World::new();
    let plain = world.check().done();
    assert!(!plain.stdout.contains("reached by the link") && !plain.stdout.contains("is a link"), "{}", plain.stdout);
    let archive = tempfile::tempdir().unwrap();
    let root = archive.path().canonicalize().unwrap();
    fs::rename(world.path("server.pem"), root.join("server1.pem")).unwrap();
    symlink(root.join("server1.pem"), world.path("server.pem")).unwrap();
    fs::create_dir(world.path("release-1")).unwrap();
    fs::rename(world.path("callers-ca.pem"), world.path("release-1/callers-ca.pem")).unwrap();
    symlink("release-1", world.path("current")).unwrap();
    world.edit("signer.toml", "\"callers-ca.pem\"", "\"current/callers-ca.pem\"");
    let (current, server) = (world.path("current"), world.path("server.pem"));
    let checked = world.check().done().says(&[
        &format!("TLS files are reached by the link `{}`: a front goes on reading where it leads", current.display()),
        &format!("`{}` is a link into `{}`: a front reads all that is below there", server.display(), root.display()),
        "has no problem",
    ]);
    assert_eq!(checked.stdout.matches("is a link into").count(), 1, "both listeners have it: {}", checked.stdout);
}

#[test]
fn check_tells_every_problem_at_once() {
    let world = World::with_token();
    fs::remove_file(world.path("pin")).unwrap();
    world.edit("signer.toml", "/usr/lib/softhsm/libsofthsm2.so", "/nowhere/module.so");
    world.edit("signer.toml", "\"24h\"", "\"24 hours\"");
    world.edit("signer.toml", "\"hallmark.db\"", "\"no-directory/hallmark.db\"");
    world.edit("policy.toml", "key = \"ecdsa-p256\"", "key = \"ecdsa-p512\"");
    world.edit("policy.toml", "authority = \"athenz\"", "authority = \"athens\"");
    world.write("server.pem", "");
    let ended = world.check().failed_with(&[
        "`backend.pkcs11.pin`",
        "there is no file `/nowhere/module.so`",
        "`ledger.retention`",
        "no-directory`",
        "[authority.athenz.root]",
        "there is no authority `athens`",
        "server.pem` holds no readable certificate",
        "problem(s)",
    ]);
    assert!(ended.stdout.contains("Callers"), "what can be said is said all the same: {}", ended.stdout);
}

#[test]
fn a_misspelt_setting_is_shown_with_its_line() {
    let world = World::new();
    world.edit("signer.toml", "retention =", "retentoin =");
    let text = world.read("signer.toml");
    let hint = "hint: examples/signer.toml has every setting";
    let (before, _) = text.split_once("retentoin").unwrap();
    let line = format!("line {}, column 1: unknown field", before.lines().count() + 1);
    world.check().failed_with(&[&line, "unknown field `retentoin`, expected one of", hint]);
    world.run().failed_with(&["unknown field `retentoin`"]);
}

#[test]
fn a_secret_that_was_typed_into_the_configuration_is_never_printed() {
    const TYPED: &str = "73502946";
    let token = World::with_token();
    let software = World::new();
    let worlds = [(&token, "pin = { file = \"pin\" }"), (&software, "passphrase = { file = \"passphrase\" }")];
    for (world, place) in worlds {
        let (name, _) = place.split_once(" = ").unwrap();
        let good = world.read("signer.toml");
        for typed in [
            format!("{name} = \"{TYPED}\""),
            format!("{name} = {TYPED}"),
            format!("{name} = {TYPED}x"),
            format!("{name} = \"{TYPED}"),
            format!("{name} = {{ file = {TYPED} }}"),
            format!("{name} = {{ value = \"{TYPED}\" }}"),
            format!("{name} = {{ env = \"{TYPED}\" }}"),
            format!("{name} = {{ file = \"pin\", value = \"{TYPED}\" }}"),
            format!("x{name} = \"{TYPED}\""),
            format!("{name}.x = \"{TYPED}\""),
            format!("{name} = \"{TYPED}\"\n{name} = \"{TYPED}\""),
            format!("{place}\nsessions = \"{TYPED}\""),
            format!("{place}\nsecret = \"{TYPED}\""),
        ] {
            world.edit("signer.toml", place, &typed);
            for ended in [world.check(), world.run(), world.init()] {
                assert!(!format!("{ended:?}").contains(TYPED), "`{typed}`: {}", ended.stderr);
                ended.failed_with(&["signer.toml` is no configuration", "\nline "]);
            }
            world.write("signer.toml", &good);
        }
    }
}

#[test]
fn a_server_certificate_that_is_over_is_a_problem() {
    let world = World::new();
    let key = KeyPair::from_pem(&world.read("server.key")).unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2020, 12, 31);
    world.write("server.pem", &params.self_signed(&key).unwrap().pem());
    world.check().failed_with(&["is valid from 2020-01-01T00:00:00Z to 2020-12-31T00:00:00Z and not now"]);
}

#[test]
fn a_secret_that_others_can_read_is_a_problem_and_not_shown() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    fs::set_permissions(world.path("passphrase"), fs::Permissions::from_mode(0o640)).unwrap();
    let ended = world.check().failed_with(&["passphrase` can be read by others (mode 0640); hint: chmod 600"]);
    let secret = world.read("passphrase");
    assert!(!ended.stdout.contains(secret.trim()) && !ended.stderr.contains(secret.trim()));
}

#[test]
fn no_core_file_can_hold_a_secret_that_check_reads() {
    let world = World::new();
    // With a problem elsewhere the secret is read once, here through a pipe that waits for it.
    world.edit("signer.toml", "\"24h\"", "\"24 hours\"");
    fs::remove_file(world.path("passphrase")).unwrap();
    let made = std::process::Command::new("mkfifo").args(["-m", "600"]).arg(world.path("passphrase")).status();
    assert!(made.unwrap().success());
    let checking = world.begin_check();
    // It is opened when both ends are there: now the secret is about to be read.
    let pipe = fs::OpenOptions::new().write(true).open(world.path("passphrase")).unwrap();
    let limits = fs::read_to_string(format!("/proc/{}/limits", checking.id())).unwrap();
    drop(pipe);
    assert_eq!(core_file_limits(&limits), ["0", "0"]);
    assert_eq!(checking.wait_with_output().unwrap().status.code(), Some(1));
}

#[test]
fn a_file_that_is_not_there_is_told_with_a_hint() {
    let ended = crate::world::hallmarkd(&["check", "/nowhere/signer.toml"]);
    ended.failed_with(&["`/nowhere/signer.toml` cannot be read; hint: ", "No such file"]);
}

#[test]
fn check_says_where_traces_go_and_what_of_that_cannot_be() {
    let world = World::new();
    let good = world.read("signer.toml");
    assert!(!world.check().done().stdout.contains("Traces"), "nothing is traced without a table");
    let with = |table: &str| {
        world.write("signer.toml", &format!("{good}\n[traces]\n{table}\n"));
        world.check()
    };
    with("endpoint = \"unix:/run/otlp.sock\"\nratio = 0.25").done().says(&[
        "Traces",
        "Spans are sent to `unix:/run/otlp.sock` by OTLP over gRPC.",
        "A share of 0.25 of all calls is traced; no caller decides whether its calls are.",
        "The spans of 2048 calls wait for the receiver; what is beyond is dropped.",
    ]);
    with("endpoint = \"unix:/run/otlp.sock\"\ncallers-decide = true\nqueue = 7").done().says(&[
        "A share of 1 of all calls is traced, and those that their callers record: a caller can have all of its calls traced.",
        "The spans of 7 calls wait",
    ]);
    let place = "endpoint = \"unix:/run/otlp.sock\"";
    for (table, problem) in [
        ("ratio = 0.5", "missing field `endpoint`"),
        ("endpoint = \"otlp.sock\"", "problem: `traces.endpoint` is no place of a receiver; write `unix:/PATH`"),
        ("endpoint = \"https://127.0.0.1:4317\"", "problem: `traces.endpoint` wants TLS"),
        (
            "endpoint = \"http://127.0.0.1:4317/v1/traces\"",
            "problem: `traces.endpoint` has more than a host and a port",
        ),
        ("endpoint = \"http://127.0.0.1:4317\"", "or write `core-network = true` in [process]"),
        (
            &format!("{place}\nratio = 1.5"),
            "problem: `traces.ratio`: `1.5` is no share of calls; write a number from 0.0",
        ),
        (&format!("{place}\nratio = \"half\""), "invalid type"),
        (&format!("{place}\nqueue = 0"), "problem: `traces.queue` is 0; 1 to 65536 calls may wait"),
        (&format!("{place}\nqueue = -1"), "invalid value"),
        (&format!("{place}\nsample = 1.0"), "unknown field `sample`"),
    ] {
        with(table).failed_with(&[problem]);
    }
    world.write("signer.toml", &good.replacen("[process]", "[process]\ncore-network = true", 1));
    let good = world.read("signer.toml");
    world.write("signer.toml", &format!("{good}\n[traces]\nendpoint = \"http://collector.example.com\"\n"));
    world
        .check()
        .done()
        .says(&["Spans are sent to `http://collector.example.com:4317`", "They leave this machine in clear"]);
}

#[test]
fn the_table_of_traces_that_the_page_shows_is_good() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring.md")).unwrap();
    let (_, shown) = page.split_once("\n    [traces]\n").unwrap();
    let shown = shown.split_once("\n\n").unwrap().0.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let world = World::new();
    world.write("signer.toml", &format!("{}\n[traces]\n{shown}\n", world.read("signer.toml")));
    world.check().done().says(&["Spans are sent to `unix:/run/otelcol/otlp.sock`", "A share of 0.01 of all calls"]);
}

#[test]
fn a_start_with_traces_that_cannot_be_is_refused() {
    let world = World::new();
    let good = world.read("signer.toml");
    world.write("signer.toml", &format!("{good}\n[traces]\nendpoint = \"https://127.0.0.1:4317\"\n"));
    world.init().failed_with(&["`traces.endpoint` wants TLS", "hint: "]);
}
