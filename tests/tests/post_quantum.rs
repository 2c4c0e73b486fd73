//! ML-DSA (FIPS 204, RFC 9881): chains and CRLs of it, judged by Python's `cryptography` and the OpenSSL 4.0 that it brings.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use hallmark_devices::Device;
use hallmark_policy::{content::Serial, crl::RevocationReason};
use hallmark_signer::Ca;
use hallmark_test_token::Token;
use hallmark_tests::{
    Where, World,
    asking::Asked,
    daemon::{Daemon, Laboratory, program, succeed},
    example_policy,
    tools::{Pem, attempt, judge, pem},
};

/// The example with CRLs and these keys of root and epochs; services have ML-DSA keys, and no others.
fn policy(root: &str, epoch: &str, more: &str) -> String {
    let example = example_policy();
    let (head, rest) = example.split_once("[authority.athenz.root]").unwrap();
    let authority = format!("[authority.athenz]\ncrl = {{ lifetime = \"7d\", refresh = \"1d\" }}\n{more}\n");
    let keys = rest.replacen("key = \"ecdsa-p256\"", &format!("key = \"{root}\""), 1);
    let keys = keys.replacen("key = \"ecdsa-p256\"", &format!("key = \"{epoch}\""), 1);
    let (before, after) = keys.split_once("[profile.athenz-service]").unwrap();
    let (_, after) = after.split_once("\nkeys = [").unwrap();
    let (_, after) = after.split_once('\n').unwrap();
    format!(
        "{head}{authority}\n[authority.athenz.root]{before}[profile.athenz-service]\nauthority = \"athenz\"\n\
         lifetime = {{ default = \"30d\", maximum = \"30d\" }}\nkeys = [\"ml-dsa-44\", \"ml-dsa-65\", \"ml-dsa-87\"]\n{after}"
    )
}

/// What the judges say of a chain now.
fn judged(files: &[&Path]) -> (bool, String) {
    judged_at(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap(), files)
}

fn judged_at(secs: i64, files: &[&Path]) -> (bool, String) {
    let (script, at) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("judges/ml_dsa.py"), secs.to_string());
    let files = files.iter().map(|path| path.to_str().unwrap());
    let arguments: Vec<_> = [script.to_str().unwrap(), at.as_str()].into_iter().chain(files).collect();
    attempt(judge("python").to_str().unwrap(), &arguments)
}

/// Mints with the real client: a fresh key of that algorithm, and a CSR that it has signed.
fn mint(
    laboratory: &Laboratory,
    daemon: &Daemon,
    name: &str,
    algorithm: &'static rcgen::SignatureAlgorithm,
) -> PathBuf {
    let (csr, out) = (laboratory.path(&format!("{name}.csr")), laboratory.path(&format!("{name}.pem")));
    fs::write(&csr, pem("CERTIFICATE REQUEST", &csr_of(name, algorithm))).unwrap();
    let mut mint = laboratory.hallmark(daemon);
    succeed(mint.args(["mint", "--profile", "athenz-service", "--csr"]).arg(&csr).arg("--out").arg(&out));
    out
}

fn csr_of(name: &str, algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
    let names = vec![format!("{name}.sports.lab.athenz.cloud")];
    let mut parameters = rcgen::CertificateParams::new(names).unwrap();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, format!("sports.{name}"));
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    parameters.serialize_request(&key).unwrap().der().to_vec()
}

/// Set by `make test-devices`.
const HOW_MUCH: &str = "HALLMARK_DEVICES";

#[test]
fn an_authority_of_ml_dsa_mints_over_the_daemon_and_others_verify_leaf_chain_and_crls() {
    let laboratory = Laboratory::with_software_keys(&policy("ml-dsa-87", "ml-dsa-65", ""));
    mints(&laboratory, &["--allow-software-keys"]);
}

/// The second half is for `make test-devices`, in a process of its own: building such a module takes minutes.
#[test]
fn a_token_that_lacks_ml_dsa_says_so_and_one_of_pkcs_11_3_2_holds_the_keys_of_an_authority() {
    if let Some(token) = Token::other() {
        return holds_keys(&token);
    }
    says_what_it_lacks();
    if env::var_os(HOW_MUCH).is_some() {
        let stand = Device::KryopticOwnOpenSsl.start();
        let this = "a_token_that_lacks_ml_dsa_says_so_and_one_of_pkcs_11_3_2_holds_the_keys_of_an_authority";
        let output = stand.command(env::current_exe().unwrap()).args(["--exact", this]).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}

/// SoftHSM 2.6.
fn says_what_it_lacks() {
    let (device, token) = (hallmark_faulty::Device::new(), Token::make("lacks"));
    let laboratory = Laboratory::behind(&device, &token, &policy("ml-dsa-87", "ml-dsa-65", ""));
    let mut doctor = Command::new(program("hallmark"));
    let output = doctor.arg("doctor").arg(laboratory.path("signer.toml")).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(said.contains("the policy wants keys of ml-dsa-65, ml-dsa-87, which the token does not make"), "{said}");
    let output = laboratory.init().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("CKR_MECHANISM_INVALID"), "{said}");
    assert!(token.labels().is_empty(), "nothing was made");
}

fn holds_keys(token: &Token) {
    let arguments = token.arguments().expect("kryoptic's configuration");
    let place = Path::new(arguments.trim_start_matches("kryoptic_conf=")).parent().unwrap();
    let table = format!(
        "[backend.pkcs11]\nmodule = {:?}\nmodule-arguments = {arguments:?}\ntoken = {:?}\npin = {{ file = \"pin\" }}\n",
        token.module(),
        token.label()
    );
    let laboratory = Laboratory::with_backend(&table, |settings| {
        settings.replacen("[process]", &format!("[process]\ncore-paths = [{place:?}]"), 1)
    });
    fs::write(laboratory.path("policy.toml"), policy("ml-dsa-87", "ml-dsa-65", "")).unwrap();
    fs::write(laboratory.path("pin"), token.pin()).unwrap();
    fs::set_permissions(laboratory.path("pin"), fs::Permissions::from_mode(0o600)).unwrap();
    succeed(&mut laboratory.init());
    mints(&laboratory, &[]);
    assert_eq!(token.labels().len(), 2, "the root's key and the epoch's");
    makes_a_root_in_a_ceremony(token, arguments);
}

/// A root of ML-DSA, rehearsed in a token of the same module.
fn makes_a_root_in_a_ceremony(token: &Token, arguments: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let offline =
        policy("ml-dsa-87", "ml-dsa-65", "").replacen("key = \"ml-dsa-87\"", "key = \"ml-dsa-87\"\noffline = true", 1);
    fs::write(path("policy.toml"), offline).unwrap();
    fs::write(path("pin"), token.pin()).unwrap();
    fs::create_dir(path("out")).unwrap();
    let file = format!(
        "version = 1\nceremony = \"pq-root\"\n[policy]\nfile = \"policy.toml\"\nauthority = \"athenz\"\n\
         [device]\nmodule = {module:?}\nmodule-arguments = {arguments:?}\ntoken = {:?}\nserial = {:?}\npin-file = \"pin\"\n\
         [log]\norigin = \"ceremonies.hallmark.lab/pq\"\ndirectory = \"log\"\n[rehearsal]\nmodule = {module:?}\n\
         [task.root]\nlabel = \"pq-root\"\ncertificate = \"out/root.pem\"\n",
        token.label(),
        token.serial(),
        module = token.module(),
    );
    let run = |file: &str| {
        fs::write(path("root.toml"), file).unwrap();
        let mut run = Command::new(program("hallmark"));
        run.env("HOME", directory.path()).args(["ceremony", "run", "--unattended"]).arg(path("root.toml"));
        run
    };
    let (before, elsewhere) = (token.labels(), format!("[rehearsal]\nmodule = {:?}\n", token.module()));
    assert!(file.contains(&elsewhere), "{file}");
    let output = run(&file.replace(&elsewhere, "")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let sentence = "the rehearsal failed: the token cannot be used: it makes no keys of kind ml-dsa-87";
    assert!(!output.status.success() && said.contains(sentence) && token.labels() == before, "in SoftHSM: {said}");
    succeed(&mut run(&file));
    let (verified, said) = judged(&[&path("out/root.pem"), &path("out/root.pem")]);
    assert!(said.starts_with("2.16.840.1.101.3.4.3.19 4627"), "its own signature: {verified} {said}");
    let mut verify = Command::new(program("hallmark"));
    verify.args(["ceremony", "verify"]).arg(path("pq-root.transcript.json")).arg("--log").arg(path("log/public"));
    succeed(verify.arg("--key").arg(path("log/log.vkey")));
}

/// A leaf, and what comes with it, over the real programs.
fn mints(laboratory: &Laboratory, arguments: &[&str]) {
    let daemon = laboratory.start_with(arguments);
    let good = mint(laboratory, &daemon, "api", &rcgen::PKCS_ML_DSA_44);
    let paths = ["chain", "root", "mesh", "root-crl", "crl"].map(|name| laboratory.path(&format!("{name}.out")));
    let [intermediate, root, mesh, root_crl, crl] = &paths;

    let mut operator = laboratory.hallmark_operator(&daemon);
    let found = succeed(operator.args(["certificate", "find", "--authority", "athenz", "--living"]));
    assert!(found.contains("cn:sports.api"), "{found}");

    let mut chain = laboratory.hallmark(&daemon);
    chain.args(["chain", "--authority", "athenz", "--out"]).arg(intermediate).arg("--root-out").arg(root);
    chain.arg("--mesh-ca-out").arg(mesh).arg("--root-crl-out").arg(root_crl).arg("--crl-out").arg(crl);
    succeed(&mut chain);

    let (verified, said) = judged(&[root, &good, root_crl, crl]);
    // The leaf's signature is the intermediate's, whose own is the root's (FIPS 204, table 2).
    let lines =
        ["2.16.840.1.101.3.4.3.18 3309", "2.16.840.1.101.3.4.3.19 4627", "verified by cryptography and OpenSSL "];
    assert!(verified && said.lines().zip(lines).all(|(line, wanted)| line.starts_with(wanted)), "{said}");
    assert_eq!(said.lines().count(), lines.len(), "{said}");
    // Whoever trusts the mesh CA alone verifies the leaf.
    let alone = laboratory.path("alone.pem");
    let chain = fs::read_to_string(&good).unwrap();
    fs::write(&alone, chain.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap()).unwrap();
    let (verified, said) = judged(&[mesh, &alone]);
    assert!(verified, "{said}");
    let (verified, _) = judged(&[root, &alone]);
    assert!(!verified, "without the intermediate there is no chain");

    assert!(daemon.terminate());
    what_data_owners_and_auditors_see(laboratory, &good, [root, intermediate, mesh]);
}

/// Offline, trusting nobody: `verify-chain`, the log, and its receipts.
fn what_data_owners_and_auditors_see(laboratory: &Laboratory, leaf: &Path, [root, intermediate, mesh]: [&Path; 3]) {
    let mut owner = Command::new(program("hallmark"));
    owner.args(["verify-chain", "--authority", "athenz", "--generations", "1"]).arg("--root").arg(root);
    owner.arg("--intermediate").arg(intermediate).arg("--mesh-ca").arg(mesh).arg("--leaf").arg(leaf);
    succeed(&mut owner);
    let mut auditor = Command::new(program("hallmark"));
    auditor.args(["log", "verify", "--no-state"]).arg(laboratory.path("log"));
    succeed(auditor.arg("--key").arg(laboratory.path("log.vkey")));
}

#[tokio::test]
async fn every_set_signs_as_root_and_as_epoch_and_a_mixed_chain_is_made_where_the_policy_says_so() {
    let policies = [
        ("ml-dsa-44", "ml-dsa-87", "", [17, 19]),
        ("ml-dsa-65", "ml-dsa-44", "", [18, 17]),
        ("ml-dsa-87", "ml-dsa-65", "", [19, 18]),
        ("ecdsa-p384", "ml-dsa-65", "mixed-chain = true", [0, 18]),
    ];
    for (root, epoch, more, algorithms) in policies {
        let world = World::with_policy(Where::Software, &policy(root, epoch, more)).await;
        let csr = csr_of("api", &rcgen::PKCS_ML_DSA_87);
        let mut request = Asked::sports_api().request();
        request.subject = Some(hallmark_proto::signer::mint_certificate_request::Subject::Csr(csr.into()));
        let minted = world.mint(request).await.unwrap();
        let (pem, at) = (Pem::write(&world.path("."), &minted), world.clocks().now());
        let (verified, said) = judged_at(at, &[&pem.root, &pem.leaf, &pem.intermediate]);
        assert!(verified, "{root} over {epoch}: {said}");
        for (line, last) in said.lines().zip([algorithms[1], algorithms[0]]).filter(|(_, last)| *last != 0) {
            assert!(line.starts_with(&format!("2.16.840.1.101.3.4.3.{last} ")), "{root} over {epoch}: {said}");
        }
    }
}

#[tokio::test]
async fn a_revoked_leaf_is_refused_by_who_looks_at_the_crl_of_its_epoch() {
    let world = World::with_policy(Where::Software, &policy("ml-dsa-44", "ml-dsa-44", "")).await;
    let mut request = Asked::sports_api().request();
    let csr = csr_of("api", &rcgen::PKCS_ML_DSA_44);
    request.subject = Some(hallmark_proto::signer::mint_certificate_request::Subject::Csr(csr.into()));
    let minted = world.mint(request).await.unwrap();
    let (pem, core, epoch) = (Pem::write(&world.path("."), &minted), world.core(), Ca::Epoch { generation: 1 });
    let paths = ["root.crl", "epoch.crl"].map(|name| world.path(name));
    let mut said = Vec::new();
    for _ in 0..2 {
        for (path, ca) in paths.iter().zip([Ca::Root, epoch]) {
            let crl = core.sign_crl("athenz", ca, None).await.unwrap();
            fs::write(path, hallmark_tests::tools::pem("X509 CRL", &crl.der)).unwrap();
        }
        let files = [&pem.root, &pem.leaf, &pem.intermediate, &paths[0], &paths[1]].map(PathBuf::as_path);
        said.push(judged_at(world.clocks().now(), &files));
        let serial = Serial::from_stored(&minted.serial).unwrap();
        let _ = core.revoke_certificate("athenz", epoch, serial, RevocationReason::KeyCompromise, "a test").await;
    }
    assert!(said[0].0, "{}", said[0].1);
    assert!(!said[1].0 && said[1].1.contains("certificate revoked"), "{}", said[1].1);
}

#[tokio::test]
async fn the_same_request_id_gives_the_same_bytes_although_each_ml_dsa_signature_is_another() {
    let mut world = World::with_policy(Where::Software, &policy("ml-dsa-65", "ml-dsa-65", "")).await;
    let mut request = Asked::sports_api().request();
    let csr = csr_of("api", &rcgen::PKCS_ML_DSA_65);
    request.subject = Some(hallmark_proto::signer::mint_certificate_request::Subject::Csr(csr.into()));
    let first = world.mint(request.clone()).await.unwrap();
    world.restart().await;
    let again = world.mint(request).await.unwrap();
    assert!(again.replayed && again.certificate == first.certificate);
    let log = world.log_after_stop().await;
    log.proves(&first);
}
