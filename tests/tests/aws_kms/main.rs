//! The whole daemon with its keys in AWS KMS: moto, behind a relay that stops and starts.

mod ends;
mod incapable;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

use hallmark_test_aws_kms::{Fault, Kms, PROFILE, REGION, SECRET_ACCESS_KEY};
use hallmark_tests::{
    daemon::{Daemon, Laboratory, program, succeed},
    insisting::{AMPLE, CALLERS, CERTIFICATES, insist, mint_once},
    log::Log,
    tools::run,
};

/// Calls that KMS refuses because it is asked too often.
const THROTTLED: usize = 5;

/// A laboratory whose keys are in this account.
fn laboratory(kms: &Kms) -> Laboratory {
    let table = format!(
        "[backend.aws-kms]\nregion = \"{REGION}\"\nendpoint = \"{}\"\naccount = \"{}\"\ncredentials = {{ file = \"aws\" }}\n\
         profile = \"{PROFILE}\"\nsessions = 2\n",
        kms.endpoint(),
        kms.account()
    );
    let laboratory = Laboratory::with_backend(&table, |settings| {
        settings.replacen("[process]", "[process]\ncore-network = true", 1)
    });
    private(&laboratory.path("aws"), &Kms::credentials());
    laboratory
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn told(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), told)
}

fn check(laboratory: &Laboratory) -> (bool, String) {
    told(laboratory.hallmarkd().arg("check").arg(laboratory.path("signer.toml")))
}

/// Has the page's program write other credentials, which `aws` tells it.
fn renew(laboratory: &Laboratory, told: &str) {
    let program = page().split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap().to_owned();
    assert_eq!(program.matches("/var/lib/hallmark/aws-credentials").count(), 3);
    let program = program.replace("/var/lib/hallmark/aws-credentials", &laboratory.text("aws"));
    let (aws, path) = (laboratory.path("bin/aws"), std::env::var("PATH").unwrap());
    fs::create_dir(laboratory.path("bin")).unwrap();
    fs::write(
        &aws,
        format!(
            "#!/bin/sh\ntest \"$*\" = 'configure export-credentials --format env-no-export'\ncat <<'END'\n{told}\nEND\n"
        ),
    )
    .unwrap();
    fs::set_permissions(&aws, fs::Permissions::from_mode(0o700)).unwrap();
    let mut shell = Command::new("sh");
    succeed(shell.args(["-c", &program]).env("PATH", format!("{}:{path}", laboratory.text("bin"))));
}

fn page() -> String {
    fs::read_to_string(format!("{}/../docs/devices/aws-kms.md", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Whether openssl takes a minted certificate under the laboratory's root.
fn verify(laboratory: &Laboratory, certificate: &Path) {
    let (root, chain) = (laboratory.text("root.pem"), certificate.to_str().unwrap());
    run("openssl", &["verify", "-x509_strict", "-CAfile", &root, "-untrusted", chain, chain]);
}

/// Makes the authority. What a busy machine leaves half-done is gone on with.
fn init(laboratory: &Laboratory) {
    let began = Instant::now();
    loop {
        let (fine, said) = told(&mut laboratory.init());
        if fine {
            return;
        }
        assert!(began.elapsed() < AMPLE, "{said}");
    }
}

/// Has one minted for a new key, and verified, as often as it takes.
fn mints(laboratory: &Laboratory, daemon: &Daemon, name: &str) {
    let (csr, out) = (format!("{name}.csr"), format!("{name}.pem"));
    let mut request = Command::new("openssl");
    request.args(["req", "-new", "-noenc", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    request.args(["-subj", &format!("/CN=sports.{name}")]);
    request.args(["-addext", &format!("subjectAltName=DNS:{name}.sports.lab.athenz.cloud")]);
    succeed(request.arg("-keyout").arg(laboratory.path("leaf.key")).arg("-out").arg(laboratory.path(&csr)));
    let began = Instant::now();
    while !mint_once(laboratory, daemon, &csr, &out) {
        assert!(began.elapsed() < AMPLE, "nothing is minted");
    }
    verify(laboratory, &laboratory.path(&out));
}

/// How many leaves were decided to be issued.
fn leaves(log: &Log) -> usize {
    log.decisions("issued").iter().filter(|entry| entry["profile"] == "athenz-service").count()
}

#[test]
fn a_daemon_makes_its_authority_in_kms_and_mints_and_finds_its_keys_again() {
    let kms = Kms::new();
    let laboratory = laboratory(&kms);
    let (fine, said) = check(&laboratory);
    assert!(fine, "{said}");
    for sentence in [
        format!(
            "live in AWS KMS, in the region `{REGION}` of the account {}, which is spoken to at `{}`.",
            kms.account(),
            kms.endpoint()
        ),
        "2 calls sign at the same time.".to_owned(),
        "A key that is destroyed signs nothing from then on; AWS deletes it 7 days later".to_owned(),
        "which is read again when it changes.".to_owned(),
    ] {
        assert!(said.contains(&sentence), "`{sentence}` in {said}");
    }
    assert!(kms.calls().is_empty(), "a check asks nobody");
    init(&laboratory);
    let daemon = laboratory.start();
    mints(&laboratory, &daemon, "api");

    // Temporary credentials take the place of those that were there, and nobody has to do anything.
    kms.admit("ASIATEMPORARY0000001", Some("a/token=="));
    let temporary = [
        "AWS_ACCESS_KEY_ID=ASIATEMPORARY0000001".to_owned(),
        format!("AWS_SECRET_ACCESS_KEY={SECRET_ACCESS_KEY}"),
        "AWS_SESSION_TOKEN=a/token==".to_owned(),
    ];
    renew(&laboratory, &temporary.join("\n"));
    mints(&laboratory, &daemon, "next");
    assert!(daemon.terminate(), "it ended well");

    let daemon = laboratory.start();
    mints(&laboratory, &daemon, "web");
    let log = fs::read_to_string(laboratory.path("hallmarkd.log")).unwrap();
    assert!(log.contains(&format!("aws-kms {REGION} at http://127.0.0.1:")), "{log}");
    assert!(log.contains("a destroyed key signs nothing and is deleted after 7 days"), "{log}");
    assert!(!log.contains(SECRET_ACCESS_KEY) && !log.contains("a/token=="), "a secret is in the daemon's log");
}

#[test]
fn kms_stops_and_starts_under_load_and_every_caller_gets_what_it_wanted_at_last() {
    let kms = Kms::new();
    let laboratory = laboratory(&kms);
    init(&laboratory);
    let daemon = laboratory.start();
    mints(&laboratory, &daemon, "api");
    let before = kms.calls()["Sign"];
    let files = insist(&laboratory, &daemon, "api.csr", |insisting| {
        insisting.until_minted(2);
        kms.stop();
        insisting.until_refused();
        kms.start();
        insisting.until_minted(CALLERS * CERTIFICATES / 2);
        // And once it is only asked too often, or takes things and does not answer.
        kms.fault("Sign", Fault::Refuse(400, "ThrottlingException"), Some(THROTTLED));
        kms.fault("Sign", Fault::LoseAnswer, Some(1));
    });
    files.iter().for_each(|file| verify(&laboratory, &laboratory.path(file)));
    let calls = kms.calls()["Sign"] - before;
    assert!(daemon.terminate(), "it ended well");
    // No certificate without a call; and no call but one for each decision, one for each entry that something is signed again, and those that KMS
    // refused because they came too often.
    let log = Log::read(&laboratory.path("log"), &fs::read_to_string(laboratory.path("log.vkey")).unwrap());
    let again = log.of_type("outcome").filter(|entry| entry["result"] == "signing-again").count();
    // The first was minted before.
    let decided = leaves(&log) - 1;
    assert!(again > 0, "the lost answer is one");
    assert!(
        (CALLERS * CERTIFICATES..=decided + again + THROTTLED).contains(&calls),
        "{calls} calls for {decided} decisions, {again} of which were signed again"
    );
}

#[test]
fn credentials_that_aws_does_not_know_make_no_authority_and_are_told_to_nobody() {
    let kms = Kms::new();
    let laboratory = laboratory(&kms);
    private(&laboratory.path("aws"), &Kms::credentials_with("AKIANOBODYAT0ALL0000"));
    let output = laboratory.init().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("AWS does not accept the credentials") && said.contains("UnrecognizedClientException"),
        "{said}"
    );
    assert!(!said.contains(SECRET_ACCESS_KEY), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
}

/// A server of TLS with a certificate of an authority that nobody trusts, `ca.pem`; its address.
fn tls_server(directory: &Path) -> (Child, String) {
    let file = |name: &str| directory.join(name);
    let certify = |name: &str, subject: &str| {
        let mut request = Command::new("openssl");
        request.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "1"]);
        request.args(["-subj", subject, "-keyout"]).arg(file(&format!("{name}.key")));
        request.arg("-out").arg(file(&format!("{name}.pem")));
        request
    };
    succeed(&mut certify("ca", "/CN=an authority"));
    let mut leaf = certify("tls", "/CN=kms");
    leaf.args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"]);
    succeed(leaf.arg("-CA").arg(file("ca.pem")).arg("-CAkey").arg(file("ca.key")));
    let (key, certificate) = (file("tls.key"), file("tls.pem"));
    let mut server = Command::new("openssl");
    server.args(["s_server", "-accept", "127.0.0.1:0", "-www", "-key"]).arg(key).arg("-cert").arg(certificate);
    let mut server = server.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned)).expect("it listens");
    std::thread::spawn(move || lines.for_each(drop));
    (server, address)
}

#[test]
fn who_has_another_certificate_than_this_machine_trusts_is_not_spoken_to() {
    let kms = Kms::new();
    let laboratory = laboratory(&kms);
    let (mut server, address) = tls_server(&laboratory.path("."));
    let settings = fs::read_to_string(laboratory.path("signer.toml")).unwrap();
    let with_tls = settings.replacen(&kms.endpoint(), &format!("https://{address}"), 1);
    fs::write(laboratory.path("signer.toml"), with_tls).unwrap();
    let (_, said) = told(&mut laboratory.init());
    assert!(
        said.contains("invalid peer certificate: UnknownIssuer") && said.contains("AWS KMS is not reached"),
        "{said}"
    );
    // Whom it trusts it speaks to, though this one knows nothing of KMS.
    let (_, said) = told(laboratory.init().env("SSL_CERT_FILE", laboratory.path("ca.pem")).env_remove("SSL_CERT_DIR"));
    assert!(!said.contains("invalid peer certificate") && said.contains("GenerateRandom"), "{said}");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn doctor_looks_at_the_credentials_and_asks_aws_for_nothing() {
    let kms = Kms::new();
    let laboratory = laboratory(&kms);
    let doctor = || told(Command::new(program("hallmark")).arg("doctor").arg(laboratory.path("signer.toml"))).1;
    let said = doctor();
    for sentence in [format!("keys are in AWS KMS in {REGION} at http://127.0.0.1:"), format!("`[{PROFILE}]` of `")] {
        assert!(said.contains(&sentence), "`{sentence}` in {said}");
    }
    fs::set_permissions(laboratory.path("aws"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = doctor();
    assert!(said.contains("others can read them (mode 0644)"), "{said}");
    assert!(kms.calls().is_empty());
}

#[test]
fn a_core_without_the_network_and_credentials_that_cannot_be_used_are_told_of_before_it_starts() {
    let kms = Kms::new();
    let laboratory = laboratory(&kms);
    let settings = fs::read_to_string(laboratory.path("signer.toml")).unwrap();
    fs::write(laboratory.path("signer.toml"), settings.replacen("core-network = true\n", "", 1)).unwrap();
    private(&laboratory.path("aws"), "[default]\n");
    let (fine, said) = check(&laboratory);
    assert!(!fine, "{said}");
    for sentence in ["write `core-network = true` in [process]", "there is no `[hallmark]`"] {
        assert!(said.contains(sentence), "`{sentence}` in {said}");
    }
}

#[test]
fn what_a_policy_wants_and_kms_does_not_do_is_told_of_before_it_is_asked_for() {
    let kms = Kms::new();
    let laboratory = laboratory(&kms);
    let policy = fs::read_to_string(laboratory.path("policy.toml")).unwrap();
    let doctor = || told(Command::new(program("hallmark")).arg("doctor").arg(laboratory.path("signer.toml"))).1;
    let with_crl = policy.replacen(
        "[authority.athenz.root]",
        "[authority.athenz]\ncrl = { lifetime = \"7d\", refresh = \"1d\" }\n[authority.athenz.root]",
        1,
    );
    for (policy, kind, checked, examined) in [
        (
            &policy,
            "ml-dsa-65",
            "`root.key` is `ml-dsa-65`, which is not made in AWS KMS here",
            "keys of ml-dsa-65, which are not made",
        ),
        (
            &with_crl,
            "ed25519",
            "`epoch.key` is `ed25519`, with which AWS KMS signs 4096 bytes at most",
            "CRLs by a key of ed25519",
        ),
    ] {
        assert!(check(&laboratory).0 && !doctor().contains(examined));
        let changed = policy.replace("key = \"ecdsa-p256\"", &format!("key = \"{kind}\""));
        fs::write(laboratory.path("policy.toml"), changed).unwrap();
        let (fine, said) = check(&laboratory);
        assert!(!fine && said.contains(checked), "{said}");
        let said = doctor();
        assert!(said.contains(examined), "{said}");
        // Without the one or the other, nothing is wrong with either.
        fs::write(laboratory.path("policy.toml"), policy).unwrap();
    }
    assert!(check(&laboratory).0, "CRLs by ECDSA are signed as digests");
    assert!(kms.calls().is_empty());
}

#[test]
fn the_configuration_on_the_page_is_one() {
    let page = page();
    let block = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let (process, backend) = block.split_once("[backend.aws-kms]").unwrap();
    let process = process.trim().to_owned();
    let laboratory = Laboratory::with_backend(&format!("[backend.aws-kms]{backend}"), |settings| {
        settings.replacen("[process]", &process, 1)
    });
    private(&laboratory.path("aws-credentials"), &Kms::credentials());
    let (fine, said) = check(&laboratory);
    assert!(fine, "{said}");
}
