//! What the CA certificates of an epoch bound its leaves to, when the policy says something else by now.

use hallmark_proto::signer::MintCertificateRequest;
use hallmark_tests::{
    Where, World,
    asking::Asked,
    example_policy,
    tools::{Pem, run},
};

const DNS: &str = r#"dns = ["athenz.cloud", "mesh.internal"]"#;
const URI: &str = r#"uri = ["instanceid", "sports", "mesh.internal"]"#;

/// The example, with this in the table of its authority.
fn policy(settings: &str) -> String {
    const ROOT: &str = "[authority.athenz.root]";
    example_policy().replacen(ROOT, &format!("[authority.athenz]\n{settings}\n\n{ROOT}"), 1)
}

fn constraints(permitted: &[&str]) -> String {
    format!("name-constraints = {{ permitted = {{ {} }} }}", permitted.join(", "))
}

fn policies(oids: &[&str]) -> String {
    format!("policies = [{}]", oids.iter().map(|oid| format!("\"{oid}\"")).collect::<Vec<_>>().join(", "))
}

/// A service of this domain, with a SPIFFE ID whose host the domain is.
fn service(domain: &str) -> MintCertificateRequest {
    Asked {
        common_name: Some(format!("{domain}.api")),
        dns: vec![format!("api.{domain}.lab.athenz.cloud")],
        uris: vec![format!("spiffe://{domain}/sa/api")],
        ..Asked::default()
    }
    .request()
}

const OTHER_CONSTRAINTS: &str = "authority `athenz`: the policy has other name constraints than the certificates of epoch 1; until the next epoch leaves are held to both";
const OTHER_POLICIES: &str = "authority `athenz`: the policy has other certificate policies than the certificates of epoch 1; until the next epoch leaves assert only those that both have";

#[tokio::test]
async fn leaves_are_held_to_the_constraints_of_their_issuer_and_of_the_policy() {
    let made = policy(&constraints(&[DNS, URI]));
    let mut world = World::with_policy(Where::Software, &made).await;
    let refused = world.mint(service("media")).await.unwrap_err();
    assert_eq!(refused.reasons, ["NAME_CONSTRAINED"]);
    assert!(!refused.message.contains("epoch 1"), "the policy says so itself: {}", refused.message);

    let wider = policy(&constraints(&[DNS, r#"uri = ["instanceid", "sports", "media", "mesh.internal"]"#]));
    for wider in [example_policy(), wider] {
        let applied = world.apply(&wider, false).await.unwrap();
        assert_eq!(applied.notes, [OTHER_CONSTRAINTS]);
        let refused = world.mint(service("media")).await.unwrap_err();
        assert_eq!(refused.reasons, ["NAME_CONSTRAINED"]);
        let sentence = "in the certificates of epoch 1 of authority `athenz` would invalidate the uniformResourceIdentifier `spiffe://media/sa/api`";
        assert!(refused.message.contains(sentence), "{}", refused.message);
        let minted = world.mint(service("sports")).await.unwrap();
        let pem = Pem::write(&world.path(""), &minted);
        let [leaf, intermediate, root] = [&pem.leaf, &pem.intermediate, &pem.root].map(|path| path.to_str().unwrap());
        run("openssl", &["verify", "-x509_strict", "-CAfile", root, "-untrusted", intermediate, leaf]);
    }

    let narrower = policy(&constraints(&[DNS, r#"uri = ["instanceid", "media", "mesh.internal"]"#]));
    world.write("policy.toml", &narrower);
    assert_eq!(world.core().reload_policy().await.unwrap().notes, [OTHER_CONSTRAINTS]);
    for domain in ["sports", "media"] {
        assert_eq!(world.mint(service(domain)).await.unwrap_err().reasons, ["NAME_CONSTRAINED"], "{domain}");
    }
    world.stop().await;
    let report = world.start(false).await.unwrap();
    assert!(report.lines.iter().any(|line| line == OTHER_CONSTRAINTS), "{report:?}");
    assert_eq!(world.apply(&made, false).await.unwrap().notes, [""; 0]);
    world.mint(service("sports")).await.unwrap();
}

#[tokio::test]
async fn leaves_assert_the_policies_that_their_issuer_and_the_policy_have() {
    const FIRST: &str = "1.3.6.1.4.1.99999.1";
    const SECOND: &str = "1.3.6.1.4.1.99999.2";
    let world = World::with_policy(Where::Software, &policy(&policies(&[FIRST]))).await;
    let printed = async || {
        let pem = Pem::write(&world.path(""), &world.mint(service("sports")).await.unwrap());
        run("openssl", &["x509", "-noout", "-text", "-in", pem.leaf.to_str().unwrap()])
    };
    assert!(printed().await.contains(FIRST));
    let applied = world.apply(&policy(&policies(&[FIRST, SECOND])), false).await.unwrap();
    assert_eq!(applied.notes, [OTHER_POLICIES]);
    let text = printed().await;
    assert!(text.contains(FIRST) && !text.contains(SECOND), "{text}");
    for none in [policy(&policies(&[SECOND])), example_policy()] {
        assert_eq!(world.apply(&none, false).await.unwrap().notes, [OTHER_POLICIES]);
        let text = printed().await;
        assert!(!text.contains("Certificate Policies"), "{text}");
    }
}
