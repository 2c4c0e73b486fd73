//! One thing wrong at a time: the claim that it breaks, and what is found.

use hallmark_chain::{History, Start};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, GeneralSubtree, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::world::{Which, World, binding, custom, failed, sha256};

/// Claims that do not hold, each with its findings.
type Failed<'a> = &'a [(&'a str, &'a [&'a str])];

type LeafMistake<'a> = (&'a str, &'a dyn Fn(&mut CertificateParams), Failed<'a>);

type RootChange<'a> = (&'a str, &'a dyn Fn(&mut CertificateParams), Failed<'a>);

type Mistake<'a> = (&'a str, Which, &'a dyn Fn(&mut CertificateParams), Failed<'a>);

fn critical(arcs: &[u32], der: Vec<u8>) -> CustomExtension {
    let mut extension = custom(arcs, der);
    extension.set_criticality(true);
    extension
}

fn subject(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

#[test]
fn a_certificate_that_is_not_what_it_must_be_breaks_its_claim_and_no_other() {
    let good = World::new();
    let unbound = |params: &mut CertificateParams| params.custom_extensions.clear();
    let bound = |version, generation| {
        let history = good.history.clone();
        move |params: &mut CertificateParams| params.custom_extensions = vec![binding(version, generation, &history)]
    };
    let critical_binding = |params: &mut CertificateParams| params.custom_extensions[0].set_criticality(true);
    let foreign = |params: &mut CertificateParams| params.custom_extensions.push(critical(&[1, 2, 3], vec![5, 0]));
    let constrained = |length: u8| {
        move |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(length))
    };
    let unconstrained = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let usages = |params: &mut CertificateParams| params.key_usages.push(KeyUsagePurpose::DigitalSignature);
    let free = |params: &mut CertificateParams| params.name_constraints = None;
    let wide = |params: &mut CertificateParams| {
        let constraints = params.name_constraints.as_mut().unwrap();
        constraints.permitted_subtrees.push(GeneralSubtree::DnsName("other.example".to_owned()));
    };
    let unnamed = |params: &mut CertificateParams| params.use_authority_key_identifier_extension = false;
    let long = |params: &mut CertificateParams| params.not_after = date_time_ymd(2037, 1, 1);
    let late = |params: &mut CertificateParams| params.not_before = date_time_ymd(2026, 6, 2);
    let policies = |params: &mut CertificateParams| {
        params.custom_extensions.push(custom(&[2, 5, 29, 32], b"\x30\x06\x30\x04\x06\x02\x2a\x03".to_vec()));
    };
    let (v2, g1) = (bound(2, 2), bound(1, 1));
    let (zero, one) = (constrained(0), constrained(1));
    let cases: [Mistake<'_>; 19] = [
        ("no binding", Which::Intermediate, &unbound, &[("bound", &["unbound"])]),
        ("no binding", Which::MeshCa, &unbound, &[("bound", &["unbound"])]),
        ("another version", Which::MeshCa, &v2, &[("bound", &["binding-version"])]),
        ("too early a generation", Which::MeshCa, &g1, &[("bound", &["generation-too-small"])]),
        (
            "critical binding",
            Which::MeshCa,
            &critical_binding,
            &[("authorities", &["unknown-critical"]), ("bound", &["binding-critical"])],
        ),
        ("critical stranger", Which::Intermediate, &foreign, &[("authorities", &["unknown-critical"])]),
        ("path length", Which::Root, &zero, &[("authorities", &["path-length"])]),
        ("path length", Which::MeshCa, &one, &[("authorities", &["path-length"])]),
        ("no path length", Which::MeshCa, &unconstrained, &[("authorities", &["path-length"])]),
        ("key usage", Which::MeshCa, &usages, &[("authorities", &["key-usage"])]),
        ("no constraints", Which::MeshCa, &free, &[("name-constraints", &["differ"])]),
        ("wider constraints", Which::MeshCa, &wide, &[("name-constraints", &["differ"])]),
        ("other policies", Which::MeshCa, &policies, &[("name-constraints", &["differ"])]),
        ("no key identifier of the issuer", Which::MeshCa, &unnamed, &[("key-identifiers", &["extension"])]),
        ("longer than the root", Which::MeshCa, &long, &[("validity-nested", &["beyond-issuer"])]),
        ("longer than the root", Which::Intermediate, &long, &[("validity-nested", &["beyond-issuer"])]),
        ("not yet valid", Which::MeshCa, &late, &[("current", &["not-current"]), ("leaf-content", &["beyond-issuer"])]),
        ("no key identifier of the issuer", Which::Leaf, &unnamed, &[("leaf-issued", &["extension", "extension"])]),
        ("critical stranger", Which::Leaf, &foreign, &[("leaf-content", &["unknown-critical"])]),
    ];
    for (name, which, change, expected) in cases {
        let world = World::with(&|at, params| {
            if at == which {
                change(params);
            }
        });
        let expected: Vec<_> = expected.iter().map(|(claim, findings)| (*claim, findings.to_vec())).collect();
        assert_eq!(failed(&world.judged(|_| {})), expected, "{name} in {which:?}");
    }
}

#[test]
fn a_leaf_that_is_no_leaf_of_this_epoch_is_found() {
    let cases: [LeafMistake<'_>; 7] = [
        ("a CA", &|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)), &[("leaf-content", &["leaf-is-ca"])]),
        (
            "over its issuers' end",
            &|p| p.not_after = date_time_ymd(2027, 2, 1),
            &[("leaf-content", &["beyond-issuer", "beyond-issuer"])],
        ),
        ("expired", &|p| p.not_after = date_time_ymd(2026, 5, 30), &[("leaf-content", &["not-current"])]),
        (
            "outside the constraints",
            &|p| p.subject_alt_names = vec![dns("web.other.example")],
            &[("leaf-constrained", &["name-outside"]), ("leaf-names", &["name-extra", "name-missing"])],
        ),
        (
            "within what is excluded",
            &|p| p.subject_alt_names.push(dns("a.bad.mesh.example")),
            &[("leaf-constrained", &["name-outside"]), ("leaf-names", &["name-extra"])],
        ),
        ("one name more", &|p| p.subject_alt_names.push(dns("api.mesh.example")), &[("leaf-names", &["name-extra"])]),
        (
            "a name that nobody here writes",
            &|p| p.subject_alt_names.push(dns("WEB.mesh.example")),
            &[("leaf-constrained", &["name-unread"]), ("leaf-names", &["name-unread"])],
        ),
    ];
    for (name, change, expected) in cases {
        let world = World::with(&|at, params| {
            if at == Which::Leaf {
                change(params);
            }
        });
        let expected: Vec<_> = expected.iter().map(|(claim, findings)| (*claim, findings.to_vec())).collect();
        assert_eq!(failed(&world.judged(|_| {})), expected, "{name}");
    }
}

#[test]
fn parts_of_two_worlds_do_not_fit() {
    let (world, other) = (World::new(), World::new());
    let report = world.judged(|given| given.root = other.root.clone());
    assert_eq!(failed(&report)[0], ("root-pinned", vec!["other-root"]));
    assert!(failed(&report).contains(&("signatures", vec!["not-signed"])), "{:?}", failed(&report));
    let report = world.judged(|given| given.root_sha256 = [9; 32]);
    assert_eq!(failed(&report), [("root-pinned", vec!["other-root"])]);
    let report = world.judged(|given| given.mesh_ca = other.mesh_ca.clone());
    let expected =
        [("siblings", vec!["differ", "differ"]), ("leaf-issued", vec!["not-signed", "other-key-identifier"])];
    assert_eq!(failed(&report), expected);
    let report = world.judged(|given| given.leaf = Some(other.leaf.clone()));
    let both = ["not-signed", "other-key-identifier", "not-signed", "other-key-identifier"];
    assert_eq!(failed(&report), [("leaf-issued", both.to_vec())]);
}

#[test]
fn siblings_of_other_names_keys_or_identifiers_are_none() {
    let renamed = World::with(&|at, params| {
        if at == Which::MeshCa {
            params.distinguished_name = subject("Lab Issuing 2");
        }
    });
    let expected = [("siblings", vec!["differ"]), ("leaf-issued", vec!["other-issuer"])];
    assert_eq!(failed(&renamed.judged(|_| {})), expected);
    let identified = World::with(&|at, params| {
        if at == Which::MeshCa {
            params.key_identifier_method = KeyIdMethod::PreSpecified(vec![1; 20]);
        }
    });
    let expected = [("siblings", vec!["differ"]), ("leaf-issued", vec!["other-key-identifier"])];
    assert_eq!(failed(&identified.judged(|_| {})), expected);
    let (key, mesh_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let keyed = World::with_keys(&|_, _| {}, &key, Some(&mesh_key));
    assert_eq!(failed(&keyed.judged(|_| {}))[0], ("siblings", vec!["differ", "differ"]));
}

#[test]
fn another_manifest_another_order_and_one_manifest_less_are_found() {
    let world = World::new();
    let history = |manifests: &[&[u8]]| {
        manifests.iter().fold(History::new(Start::Genesis), |history, manifest| history.then(sha256(manifest)))
    };
    for (manifests, codes) in [
        (vec![&b"manifest-A"[..], b"manifest-B "], vec!["other-transition", "other-manifest"]),
        (vec![b"manifest-B", b"manifest-A"], vec!["other-transition", "other-manifest"]),
        (vec![b"manifest-B", b"manifest-B"], vec!["other-transition"]),
        (vec![b"manifest-B"], vec!["other-transition"]),
    ] {
        let history = history(&manifests);
        let twice = [codes.clone(), codes].concat();
        assert_eq!(failed(&world.judged(|given| given.history = history)), [("bound", twice)]);
    }
}

#[test]
fn a_policy_that_the_manifest_does_not_have_is_found() {
    let world = World::new();
    let report = world.judged(|given| given.entry = Some(([8; 32], None)));
    assert_eq!(failed(&report), [("leaf-names", vec!["policy-unknown"])]);
}

#[test]
fn no_cut_and_no_flipped_bit_of_a_certificate_passes() {
    let world = World::new();
    for length in 0..world.mesh_ca.len() {
        let cut = &world.mesh_ca[..length];
        assert!(!world.judged(|given| given.mesh_ca = cut.to_vec()).holds(), "{length}");
    }
    for at in 0..world.mesh_ca.len() {
        let mut flipped = world.mesh_ca.clone();
        flipped[at] ^= 1;
        assert!(!world.judged(|given| given.mesh_ca = flipped).holds(), "byte {at}");
    }
    let report = world.judged(|given| given.root = b"nothing".to_vec());
    assert_eq!(failed(&report), [("readable", vec!["unreadable"])]);
}

#[test]
fn a_root_that_the_signer_takes_is_a_root_here_too() {
    let unconstrained = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let roomy = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(3));
    let usages = |params: &mut CertificateParams| params.key_usages.push(KeyUsagePurpose::DigitalSignature);
    let unnamed = |params: &mut CertificateParams| params.use_authority_key_identifier_extension = false;
    let no_crls = |params: &mut CertificateParams| params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let leaf = |params: &mut CertificateParams| params.is_ca = IsCa::ExplicitNoCa;
    let stranger = |params: &mut CertificateParams| {
        params.use_authority_key_identifier_extension = false;
        let identifier = [&[0x30, 0x16, 0x80, 0x14], [7; 20].as_slice()].concat();
        params.custom_extensions.push(custom(&[2, 5, 29, 35], identifier));
    };
    let cases: [RootChange<'_>; 7] = [
        ("no path length", &unconstrained, &[]),
        ("a longer path", &roomy, &[]),
        ("more usages", &usages, &[]),
        ("no authorityKeyIdentifier", &unnamed, &[]),
        ("no cRLSign", &no_crls, &[("authorities", &["key-usage"])]),
        ("no CA", &leaf, &[("authorities", &["not-ca"])]),
        ("another's key", &stranger, &[("key-identifiers", &["other-key-identifier"])]),
    ];
    for (name, change, expected) in cases {
        let world = World::with(&|at, params| {
            if at == Which::Root {
                change(params);
            }
        });
        let expected: Vec<_> = expected.iter().map(|(claim, findings)| (*claim, findings.to_vec())).collect();
        assert_eq!(failed(&world.judged(|_| {})), expected, "{name}");
    }
}
