//! What is found years later when a transcript, a file, the log or a signature was changed.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hallmark_tests::tools::{run, sha256};

use crate::hall::{Hall, WITNESSES, root_task};

/// A finished ceremony with witnesses, one of whom has a key.
fn finished() -> Hall {
    let hall = Hall::new();
    let key = hall.text("ada");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &key]).status().unwrap();
    assert!(made.success());
    let public = hall.read("ada.pub");
    let witnesses =
        WITNESSES.replacen("initials = \"AL\"", &format!("initials = \"AL\"\nssh-key = \"{}\"", public.trim()), 1);
    let file = hall.file("athenz-root", "athenz", &format!("{witnesses}{}", root_task("athenz")));
    hall.attended(&file).good();
    hall
}

fn sign(hall: &Hall, key: &str, namespace: &str) {
    let transcript = hall.text("athenz-root.transcript.json");
    let signed =
        Command::new("ssh-keygen").args(["-q", "-Y", "sign", "-f", key, "-n", namespace, &transcript]).status();
    assert!(signed.unwrap().success());
    fs::rename(format!("{transcript}.sig"), format!("{transcript}.AL.sig")).unwrap();
}

#[test]
fn a_transcript_holds_once_its_witnesses_have_signed_it_and_not_with_another_s_signature() {
    let hall = finished();
    hall.verify("athenz-root").refused(1, "Ada Lovelace did not sign the transcript");
    sign(&hall, &hall.text("ada"), "hallmark-ceremony");
    let good = hall.verify("athenz-root").good();
    for sentence in ["every step was confirmed by Ada Lovelace, Grace Hopper", "Ada Lovelace signed the transcript"] {
        assert!(good.stderr.contains(&format!("holds: {sentence}")), "{}", good.stderr);
    }
    sign(&hall, &hall.text("ada"), "file");
    hall.verify("athenz-root").refused(1, "its signature is for another purpose");
    let other = hall.text("eve");
    assert!(
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &other]).status().unwrap().success()
    );
    sign(&hall, &other, "hallmark-ceremony");
    hall.verify("athenz-root").refused(1, "its signature is by another key");
}

/// A certificate for a key of that kind, at `NAME.pem`, and its key at `NAME.key`, by openssl.
fn certificate(hall: &Hall, name: &str, options: &[&str], usage: &str) -> String {
    let (key, out) = (hall.text(&format!("{name}.key")), hall.text(&format!("{name}.pem")));
    let usage = format!("keyUsage={usage}");
    let start = ["req", "-x509", "-noenc", "-days", "30", "-subj", "/CN=A witness", "-addext", &usage];
    run("openssl", &[&start[..], options, &["-keyout", &key, "-out", &out]].concat());
    hall.read(&format!("{name}.pem"))
}

const P256: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
const P384: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
const RSA: &[&str] = &["-newkey", "rsa:2048"];
const ED25519: &[&str] = &["-newkey", "ed25519"];

fn witness(initials: &str, key: &str) -> String {
    format!("[[witness]]\nname = \"Witness {initials}\"\ninitials = \"{initials}\"\n{key}\n")
}

fn in_pem(text: &str) -> String {
    format!("certificate = \"\"\"\n{text}\"\"\"")
}

#[test]
fn witnesses_sign_with_the_keys_of_their_certificates_by_the_commands_that_the_run_ends_with() {
    let hall = Hall::new();
    let kinds = [("PA", P256), ("PB", P384), ("RS", RSA), ("ED", ED25519)];
    let witnesses: String = kinds
        .iter()
        .map(|(initials, options)| {
            witness(initials, &in_pem(&certificate(&hall, initials, options, "digitalSignature")))
        })
        .collect();
    let file = hall.file("athenz-root", "athenz", &format!("{witnesses}{}", root_task("athenz")));
    let came = hall.answering(&"PA\nPB\nRS\nED\n".repeat(20), &["run", "--countdown", "0", &file]).good();
    for (initials, _) in kinds {
        hall.verify("athenz-root").refused(1, &format!("Witness {initials} did not sign the transcript"));
        let told = came.stderr.split(&format!("Witness {initials} signs it: `")).nth(1).unwrap();
        let command = told.split('`').next().unwrap().replace("KEY", &hall.text(&format!("{initials}.key")));
        let words: Vec<&str> = command.split(' ').collect();
        run(words[0], &words[1..]);
    }
    let good = hall.verify("athenz-root").good();
    for (initials, _) in kinds {
        assert!(good.stderr.contains(&format!("holds: Witness {initials} signed the transcript")), "{}", good.stderr);
    }
    fs::copy(hall.path("athenz-root.transcript.json.PB.sig"), hall.path("athenz-root.transcript.json.PA.sig")).unwrap();
    hall.verify("athenz-root").refused(1, "Witness PA did not sign the transcript: its signature is wrong");
    let of_file = hall.text("athenz-root.transcript.json.PA.sig");
    run("openssl", &["dgst", "-sha256", "-sign", &hall.text("PA.key"), "-out", &of_file, &file]);
    hall.verify("athenz-root").refused(1, "Witness PA did not sign the transcript: its signature is wrong");
}

#[test]
fn a_certificate_that_did_not_hold_on_the_day_signs_no_transcript() {
    let hall = Hall::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut old = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    (old.not_before, old.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
    hall.write("old.key", &key.serialize_pem());
    let old = witness("AL", &in_pem(&old.self_signed(&key).unwrap().pem()));
    let file = hall.file("athenz-root", "athenz", &format!("{old}{}", root_task("athenz")));
    hall.answering(&"AL\n".repeat(20), &["run", "--countdown", "0", &file]).good();
    let (transcript, out) = (hall.text("athenz-root.transcript.json"), hall.text("athenz-root.transcript.json.AL.sig"));
    run("openssl", &["dgst", "-sha256", "-sign", &hall.text("old.key"), "-out", &out, &transcript]);
    hall.verify("athenz-root").refused(1, "its certificate did not hold when the ceremony ended");
}

#[test]
fn a_key_by_which_nobody_could_sign_is_a_mistake_in_the_file() {
    let hall = Hall::new();
    let good = certificate(&hall, "good", P256, "digitalSignature");
    let cases = [
        (in_pem("nothing\n"), "the key of `Witness AL`: it is no X.509 certificate in PEM"),
        (in_pem(&good.replacen("CERTIFICATE", "PUBLIC KEY", 2)), "it is no X.509 certificate in PEM"),
        (in_pem(&certificate(&hall, "ca", P256, "keyCertSign")), "keyUsage has to have digitalSignature"),
        (
            in_pem(&certificate(
                &hall,
                "p521",
                &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"],
                "digitalSignature",
            )),
            "the key of its certificate is not taken",
        ),
        (format!("ssh-key = \"ssh-ed25519 AAAA\"\n{}", in_pem(&good)), "has an `ssh-key` and a `certificate`"),
        ("ssh-key = \"ssh-ed25519 AAAA\"".to_owned(), "it is no public SSH key; copy the whole line"),
        (
            format!("ssh-key = \"{}\"", ssh_public(&hall, &["-t", "rsa", "-b", "2048"])),
            "it is neither an Ed25519 key nor one on P-256 or P-384",
        ),
    ];
    for (key, said) in cases {
        let file = hall.file("athenz-root", "athenz", &format!("{}{}", witness("AL", &key), root_task("athenz")));
        hall.ceremony(&["plan", &file]).refused(1, said);
    }
}

/// A key of ssh-keygen at `witness`, and its public half.
fn ssh_public(hall: &Hall, options: &[&str]) -> String {
    let key = hall.text("witness");
    let _ = fs::remove_file(&key);
    run("ssh-keygen", &[&["-q", "-N", "", "-f", &key], options].concat());
    hall.read("witness.pub").trim().to_owned()
}

/// A message becomes a signature.
type Signing = dyn Fn(&[u8]) -> Vec<u8>;

/// What signs as a FIDO token does, in software (OpenSSH, PROTOCOL.u2f).
struct SecurityKey {
    kind: &'static str,
    /// The public key, as SSH writes it.
    public: Vec<u8>,
    sign: Box<Signing>,
}

/// Bytes with their length before them (RFC 4251, section 5).
fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn number(digits: &[u8]) -> Vec<u8> {
    let digits = &digits[digits.iter().take_while(|digit| **digit == 0).count()..];
    if digits[0] < 0x80 { string(digits) } else { string(&[&[0], digits].concat()) }
}

const APPLICATION: &str = "ssh:";

impl SecurityKey {
    fn ed25519() -> Self {
        let (kind, pair) = ("sk-ssh-ed25519@openssh.com", Ed25519KeyPair::generate().unwrap());
        let key = string(pair.public_key().as_ref());
        let public = [string(kind.as_bytes()), key, string(APPLICATION.as_bytes())].concat();
        Self { kind, public, sign: Box::new(move |message| pair.sign(message).as_ref().to_vec()) }
    }

    fn p256() -> Self {
        let (kind, pair) =
            ("sk-ecdsa-sha2-nistp256@openssh.com", EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
        let (curve, point) = (string(b"nistp256"), string(pair.public_key().as_ref()));
        let public = [string(kind.as_bytes()), curve, point, string(APPLICATION.as_bytes())].concat();
        let sign = move |message: &[u8]| {
            let signed = pair.sign(&SystemRandom::new(), message).unwrap();
            let (first, second) = signed.as_ref().split_at(32);
            [number(first), number(second)].concat()
        };
        Self { kind, public, sign: Box::new(sign) }
    }

    fn line(&self) -> String {
        format!("{} {} witness", self.kind, BASE64_STANDARD.encode(&self.public))
    }

    /// An armoured signature over a message (OpenSSH, PROTOCOL.sshsig). `flags`: 1 where somebody touched the token.
    fn signature(&self, message: &[u8], namespace: &str, flags: u8) -> String {
        let digest = sha256(message);
        let signed =
            [b"SSHSIG".to_vec(), string(namespace.as_bytes()), string(b""), string(b"sha256"), string(&digest)]
                .concat();
        let counter = 7_u32.to_be_bytes();
        let by_token = [&sha256(APPLICATION.as_bytes())[..], &[flags], &counter, &sha256(&signed)].concat();
        let signature =
            [string(self.kind.as_bytes()), string(&(self.sign)(&by_token)), vec![flags], counter.to_vec()].concat();
        let whole = [
            b"SSHSIG".to_vec(),
            1_u32.to_be_bytes().to_vec(),
            string(&self.public),
            string(namespace.as_bytes()),
            string(b""),
            string(b"sha256"),
            string(&signature),
        ]
        .concat();
        let text = BASE64_STANDARD.encode(whole);
        let rows: Vec<&str> = text.as_bytes().chunks(70).map(|row| std::str::from_utf8(row).unwrap()).collect();
        format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", rows.join("\n"))
    }
}

#[test]
fn fido_tokens_sign_transcripts_where_somebody_touches_them() {
    for key in [SecurityKey::ed25519(), SecurityKey::p256()] {
        let hall = Hall::new();
        let line = format!("ssh-key = \"{}\"", key.line());
        let file = hall.file("athenz-root", "athenz", &format!("{}{}", witness("AL", &line), root_task("athenz")));
        hall.answering(&"AL\n".repeat(20), &["run", "--countdown", "0", &file]).good();
        let transcript = fs::read(hall.path("athenz-root.transcript.json")).unwrap();
        let signs = |text: &str| {
            hall.write("athenz-root.transcript.json.AL.sig", text);
            // OpenSSH is the judge of what this test makes.
            hall.write("signers", &format!("witness namespaces=\"hallmark-ceremony\" {}\n", key.line()));
            let (signers, signature) = (hall.text("signers"), hall.text("athenz-root.transcript.json.AL.sig"));
            let arguments =
                ["-Y", "verify", "-f", &signers, "-I", "witness", "-n", "hallmark-ceremony", "-s", &signature];
            let mut judge = Command::new("ssh-keygen")
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            judge.stdin.take().unwrap().write_all(&transcript).unwrap();
            (hall.verify("athenz-root"), judge.wait().unwrap().success())
        };
        let good = key.signature(&transcript, "hallmark-ceremony", 1);
        let (came, judged) = signs(&good);
        assert!(came.good().stderr.contains("holds: Witness AL signed the transcript") && judged, "{}", key.kind);
        let untouched = key.signature(&transcript, "hallmark-ceremony", 0);
        signs(&untouched).0.refused(1, "its signature is wrong");
        let (came, judged) = signs(&key.signature(b"something else", "hallmark-ceremony", 1));
        came.refused(1, "its signature is wrong");
        assert!(!judged);
        signs(&key.signature(&transcript, "file", 1)).0.refused(1, "its signature is for another purpose");
    }
}

#[test]
fn ssh_keys_on_curves_of_nist_sign_transcripts_too() {
    for bits in ["256", "384"] {
        let hall = Hall::new();
        let line = format!("ssh-key = \"{}\"", ssh_public(&hall, &["-t", "ecdsa", "-b", bits]));
        let file = hall.file("athenz-root", "athenz", &format!("{}{}", witness("AL", &line), root_task("athenz")));
        hall.answering(&"AL\n".repeat(20), &["run", "--countdown", "0", &file]).good();
        sign(&hall, &hall.text("witness"), "hallmark-ceremony");
        hall.verify("athenz-root").good();
        hall.write(
            "athenz-root.transcript.json",
            &hall.read("athenz-root.transcript.json").replace("\"runs\":1", "\"runs\":2"),
        );
        hall.verify("athenz-root").refused(1, "the log has no entry with the digest of this transcript");
    }
}

#[test]
fn whatever_is_changed_afterwards_is_found() {
    let hall = Hall::new();
    hall.root("athenz");
    let name = "athenz-root.transcript.json";
    let good = hall.read(name);
    for (from, to, said) in [
        ("\"runs\":1", "\"runs\":2", "the log has no entry with the digest of this transcript"),
        ("\"runs\":1", "\"runs\": 1", "is no transcript in canonical JSON"),
        ("\"runs\":1", "\"runs\":1,\"more\":1", "is no transcript in canonical JSON"),
    ] {
        assert!(good.contains(from));
        hall.write(name, &good.replacen(from, to, 1));
        let came = hall.verify("athenz-root");
        assert!(came.code != 0 && came.stderr.contains(said), "{said}\nis not in\n{}", came.stderr);
    }
    hall.write(name, &good);
    let certificate = hall.read("out/athenz.pem");
    hall.write("out/athenz.pem", &format!("{certificate}\n"));
    hall.verify("athenz-root").refused(1, "is another file than was written");
    fs::remove_file(hall.path("out/athenz.pem")).unwrap();
    hall.verify("athenz-root").refused(1, "cannot be read");
    hall.write("out/athenz.pem", &certificate);
    hall.verify("athenz-root").good();

    let other = Hall::new();
    other.root("athenz");
    let (transcript, log) = (hall.text(name), hall.text("log/public"));
    let verify = |log: &str, key: &str| hall.ceremony(&["verify", &transcript, "--log", log, "--key", key]);
    verify(&log, &other.text("log/log.vkey")).refused(1, "the log of ceremonies that was made does not hold");
    verify(&other.text("log/public"), &other.text("log/log.vkey")).refused(1, "names another key of the log");
}

#[test]
fn the_token_is_compared_with_what_the_transcript_says_of_its_key() {
    let hall = Hall::new();
    hall.root("athenz");
    let name = "athenz-root.transcript.json";
    let (transcript, key, log) = (hall.text(name), hall.text("log/log.vkey"), hall.text("log/public"));
    let verify = || hall.ceremony(&["verify", &transcript, "--log", &log, "--key", &key, "--device"]);
    let good = verify().good();
    for sentence in ["the token holds `pkcs11:id=", "CKA_EXTRACTABLE is false", "CKA_DESTROYABLE is false"] {
        assert!(good.stderr.contains(&format!("holds: {sentence}")), "{sentence}\nis not in\n{}", good.stderr);
    }
    hall.token.make_twin("athenz-root");
    verify().refused(3, "more than one object is called");
    // Its twin alone is another key, and not as strictly kept.
    let other = Hall::new();
    other.root("athenz");
    let foreign = hall
        .read(name)
        .replace(hall.token.label(), other.token.label())
        .replace(hall.token.serial(), other.token.serial());
    hall.write("foreign.transcript.json", &foreign);
    let foreign = hall.text("foreign.transcript.json");
    let came = hall.ceremony(&["verify", &foreign, "--log", &log, "--key", &key, "--device"]);
    came.refused(1, "broken: there is no key `pkcs11:id=");
}

#[test]
fn a_page_for_the_binder_says_what_the_transcript_says_and_nothing_in_it_is_taken_for_html() {
    let hall = Hall::new();
    let witness = WITNESSES.replacen("Ada Lovelace", "Ada <script>alert(1)</script>", 1);
    let file = hall.file("athenz-root", "athenz", &format!("{witness}{}", root_task("athenz")));
    hall.attended(&file).good();
    let transcript = hall.text("athenz-root.transcript.json");
    hall.ceremony(&["report", &transcript, "--out", &hall.text("report.html")]).good();
    let page = hall.read("report.html");
    let words = hallmark_ceremony::aloud(&sha256(&fs::read(&transcript).unwrap()));
    for expected in
        ["CKA_NEVER_EXTRACTABLE", "out/athenz.pem", "Grace Hopper (GH)", &words[0], &words[5], "&lt;script&gt;"]
    {
        assert!(page.contains(expected), "{expected}");
    }
    assert!(!page.contains("<script") && !page.contains("http"), "it loads and runs nothing");
    hall.ceremony(&["report", &transcript, "--out", &hall.text("report.html")]).refused(2, "report.html");
}
