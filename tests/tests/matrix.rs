//! Two epochs under one root: which leaf verifies where, by four verifiers that nobody here wrote.
//!
//! A client pins the root and is sent an intermediate with the leaf, or it trusts a mesh CA and nothing else. The answers must be
//! those of the table, in OpenSSL, in GnuTLS, in Python's `cryptography` and in rustls-webpki.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use hallmark_tests::{
    by_manifest::Mesh,
    daemon::{Laboratory, succeed},
    tools::attempt,
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// Which epoch something is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Epoch {
    Old,
    New,
}
use Epoch::{New, Old};

/// What a client trusts, and what it is sent with the leaf.
#[derive(Clone, Copy, Debug)]
enum Trust {
    /// It pins the root, and is sent the intermediate of an epoch.
    RootWith(Epoch),
    /// It pins the root, and is sent both intermediates.
    RootWithBoth,
    /// It pins the root, and is sent the leaf alone.
    RootAlone,
    /// It trusts the mesh CA of an epoch.
    MeshCa(Epoch),
    /// It trusts the intermediate of an epoch as it is, without the root.
    Intermediate(Epoch),
    /// It pins the root of another authority, and is sent the intermediate of an epoch.
    OtherRootWith(Epoch),
}

/// Whether the old leaf verifies, and whether the new one does.
const EXPECTED: [(Trust, bool, bool); 10] = [
    // Rotation alone takes nothing from a client that pins the root: the old leaf comes with its old intermediate until it expires, or
    // until the client looks at the root's CRL.
    (Trust::RootWith(Old), true, false),
    (Trust::RootWith(New), false, true),
    (Trust::RootWithBoth, true, true),
    (Trust::RootAlone, false, false),
    // This is what a manifest's own key is for.
    (Trust::MeshCa(Old), true, false),
    (Trust::MeshCa(New), false, true),
    (Trust::Intermediate(Old), true, false),
    (Trust::Intermediate(New), false, true),
    (Trust::OtherRootWith(Old), false, false),
    (Trust::OtherRootWith(New), false, false),
];

/// Two epochs of a real daemon, and the root of another authority.
struct World {
    mesh: Mesh,
    old: PathBuf,
    new: PathBuf,
    leaves: [PathBuf; 2],
    other_root: PathBuf,
}

/// A question to a verifier.
struct Question {
    anchor: PathBuf,
    intermediates: Vec<PathBuf>,
    leaf: PathBuf,
}

impl World {
    fn new() -> Self {
        let mesh = Mesh::new();
        let daemon = mesh.laboratory().start();
        let [first, second] = [("first.json", "a"), ("second.json", "b")]
            .map(|(name, names)| mesh.manifest(name, &["web.mesh.internal", &format!("{names}.mesh.internal")]));
        let old = mesh.rotate(&daemon, &first, "old", &["--genesis"]);
        let old_leaf = mesh.mint(&daemon, "old-leaf");
        let new = mesh.rotate(&daemon, &second, "new", &["--yes", "--revoke-previous"]);
        let new_leaf = mesh.mint(&daemon, "new-leaf");
        assert_eq!(fs::read(old.join("root.pem")).unwrap(), fs::read(new.join("root.pem")).unwrap(), "one root");
        assert_ne!(fs::read(old.join("mesh-ca.pem")).unwrap(), fs::read(new.join("mesh-ca.pem")).unwrap());
        let leaves = [old_leaf, new_leaf].map(|path| alone(&path));
        let (other, other_root) = (Laboratory::new(), mesh.laboratory().path("other-root.pem"));
        fs::copy(other.path("root.pem"), &other_root).expect("the other laboratory's root");
        Self { mesh, old, new, leaves, other_root }
    }

    fn question(&self, trust: Trust, leaf: Epoch) -> Question {
        let of = |epoch, name: &str| match epoch {
            Old => self.old.join(name),
            New => self.new.join(name),
        };
        let intermediate = |epoch| of(epoch, "intermediate.pem");
        let root = self.mesh.laboratory().path("root.pem");
        let (anchor, intermediates) = match trust {
            Trust::RootWith(epoch) => (root, vec![intermediate(epoch)]),
            Trust::RootWithBoth => (root, vec![intermediate(New), intermediate(Old)]),
            Trust::RootAlone => (root, vec![]),
            Trust::MeshCa(epoch) => (of(epoch, "mesh-ca.pem"), vec![]),
            Trust::Intermediate(epoch) => (intermediate(epoch), vec![]),
            Trust::OtherRootWith(epoch) => (self.other_root.clone(), vec![intermediate(epoch)]),
        };
        let [old, new] = &self.leaves;
        Question { anchor, intermediates, leaf: if leaf == Old { old.clone() } else { new.clone() } }
    }

    /// Holds a verifier's answers against the table.
    fn judge(&self, name: &str, verifies: impl Fn(&Question) -> (bool, String)) {
        for (trust, old, new) in EXPECTED {
            for (leaf, expected) in [(Old, old), (New, new)] {
                let (verified, said) = verifies(&self.question(trust, leaf));
                assert_eq!(verified, expected, "{name}: {leaf:?} leaf under {trust:?}: {said}");
            }
        }
    }
}

/// The first certificate of a file, in a file of its own.
fn alone(path: &Path) -> PathBuf {
    const END: &str = "-----END CERTIFICATE-----\n";
    let text = fs::read_to_string(path).unwrap();
    let (first, _) = text.split_once(END).unwrap();
    let alone = path.with_extension("leaf.pem");
    fs::write(&alone, [first, END].concat()).unwrap();
    alone
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn openssl(question: &Question, more: &[&str]) -> (bool, String) {
    let mut arguments = vec![
        "verify",
        "-x509_strict",
        "-partial_chain",
        "-no-CApath",
        "-no-CAstore",
        "-CAfile",
        text(&question.anchor),
    ];
    arguments.extend(question.intermediates.iter().flat_map(|path| ["-untrusted", text(path)]));
    arguments.extend(more);
    arguments.push(text(&question.leaf));
    attempt("openssl", &arguments)
}

/// GnuTLS wants the chain in one file.
fn gnutls(question: &Question) -> (bool, String) {
    let chain: String = [&question.leaf]
        .into_iter()
        .chain(&question.intermediates)
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let file = question.leaf.with_extension("chain.pem");
    fs::write(&file, chain).unwrap();
    attempt("certtool", &["--verify", "--load-ca-certificate", text(&question.anchor), "--infile", text(&file)])
}

fn webpki(question: &Question) -> (bool, String) {
    let read = |path: &PathBuf| CertificateDer::from_pem_file(path).unwrap();
    let (anchor, leaf) = (read(&question.anchor), read(&question.leaf));
    let intermediates: Vec<_> = question.intermediates.iter().map(read).collect();
    let anchors = [anchor_from_trusted_cert(&anchor).unwrap()];
    let now = UnixTime::since_unix_epoch(SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
    let end_entity = EndEntityCert::try_from(&leaf).unwrap();
    let verified = end_entity.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &intermediates,
        now,
        KeyUsage::client_auth(),
        None,
        None,
    );
    (verified.is_ok(), format!("{:?}", verified.err()))
}

/// Python, and the script that asks its `cryptography`.
fn pyca(question: &Question) -> (bool, String) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let programs = succeed(&mut Command::new(here.join("../scripts/judges")));
    let (python, script) = (Path::new(programs.trim()).join("python"), here.join("judges/pyca.py"));
    let mut arguments = vec![text(&script), text(&question.anchor), text(&question.leaf)];
    arguments.extend(question.intermediates.iter().map(|path| text(path)));
    attempt(text(&python), &arguments)
}

#[test]
fn leaves_verify_under_their_own_epoch_and_no_other_in_openssl_gnutls_pyca_and_webpki() {
    let world = World::new();
    world.judge("OpenSSL", |question| openssl(question, &[]));
    world.judge("GnuTLS", gnutls);
    world.judge("rustls-webpki", webpki);
    world.judge("cryptography", pyca);
    the_roots_crl_reaches_who_pins_the_root_and_looks_at_it(&world);
}

/// The old intermediate is revoked: a client that pins the root and looks at its CRL refuses the old leaf; one that trusts the old
/// mesh CA never sees that CRL.
fn the_roots_crl_reaches_who_pins_the_root_and_looks_at_it(world: &World) {
    let crl = world.new.join("root.crl");
    let of_root = ["-crl_check_all", "-CRLfile", text(&crl)];
    // Leaves have no CRL of their own here, so that the intermediate is checked as if it were the end of the chain.
    let intermediate = |epoch: &Path| Question {
        anchor: world.mesh.laboratory().path("root.pem"),
        intermediates: vec![],
        leaf: epoch.join("intermediate.pem"),
    };
    let (verified, said) = openssl(&intermediate(&world.old), &of_root);
    assert!(!verified && said.contains("certificate revoked"), "{said}");
    let (verified, said) = openssl(&intermediate(&world.new), &of_root);
    assert!(verified, "{said}");
    // Whoever trusts a mesh CA and looks at CRLs finds that the root's is none for its leaves.
    let old = world.question(Trust::MeshCa(Old), Old);
    let (verified, said) = openssl(&old, &["-crl_check", "-CRLfile", text(&crl)]);
    assert!(!verified && said.contains("unable to get certificate CRL") && !said.contains("revoked"), "{said}");
    let (verified, said) = openssl(&old, &[]);
    assert!(verified, "{said}");
}
