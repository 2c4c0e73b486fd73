//! Rates and quotas.

use std::time::Duration;

use hallmark_proto::signer::{GetChainRequest, MintCertificateRequest, SubjectAltName};
use hallmark_proto::signer::{mint_certificate_request::Subject, subject_alt_name::Name};
use hallmark_tests::{
    Where, World,
    asking::{Asked, Refused, athenz, caller_certificate, join_all, request_id},
    example_policy,
};
use rcgen::KeyPair;

/// gRPC's RESOURCE_EXHAUSTED.
const RESOURCE_EXHAUSTED: i32 = 8;

/// The example with further lines in a table.
fn with(table: &str, lines: &str) -> String {
    let header = format!("[{table}]\n");
    let policy = example_policy();
    assert!(policy.contains(&header), "{table}");
    policy.replacen(&header, &format!("{header}{lines}\n"), 1)
}

fn chain() -> GetChainRequest {
    GetChainRequest { authority: "athenz".to_owned(), epoch: None }
}

/// A request of the mesh's for that key.
fn mesh(workload: &str, key: &KeyPair) -> MintCertificateRequest {
    use rcgen::PublicKeyData as _;
    MintCertificateRequest {
        profile: "mesh".to_owned(),
        request_id: request_id(),
        subject: Some(Subject::Spki(key.subject_public_key_info().into())),
        subject_alt_names: vec![SubjectAltName { name: Some(Name::Dns(format!("{workload}.shop.mesh.internal"))) }],
        ..MintCertificateRequest::default()
    }
}

fn instance(id: &str) -> MintCertificateRequest {
    let mut asked = Asked::sports_api();
    asked.dns[1] = format!("{id}.instanceid.athenz.lab.athenz.cloud");
    asked.request()
}

fn is_over_rate(refused: &Refused) -> Duration {
    assert_eq!((refused.code, refused.reasons.as_slice()), (RESOURCE_EXHAUSTED, &["RATE_EXCEEDED".to_owned()][..]));
    assert!(refused.logged.is_none(), "it is not logged one by one");
    Duration::from_millis(refused.retry_after_millis.expect("it says when").into())
}

#[tokio::test]
async fn a_caller_over_its_rate_is_told_how_long_it_takes_until_the_call_would_pass() {
    let mut world = World::with_policy(Where::Software, &with("caller.coordinator", "rate = \"4/m\"")).await;
    for _ in 0..3 {
        world.mint(Asked::sports_api().request()).await.unwrap();
    }
    world.chain(chain()).await.unwrap();
    let uses = world.key_uses();
    for _ in 0..50 {
        // Nothing of the message is read: a CSR that is none would be refused for that.
        let refused = world.mint(athenz(b"no CSR".to_vec())).await.unwrap_err();
        assert_eq!(is_over_rate(&refused), Duration::from_secs(15));
    }
    world.clocks().pass(14);
    assert_eq!(is_over_rate(&world.chain(chain()).await.unwrap_err()), Duration::from_secs(1));
    assert_eq!(world.key_uses(), uses);
    world.clocks().pass(1);
    world.mint(Asked::sports_api().request()).await.unwrap();
    let log = world.log_after_stop().await;
    assert_eq!(log.decisions("refused").len(), 0);
    let mut aggregates: Vec<_> = log.of_type("aggregate").collect();
    aggregates.sort_by_key(|entry| entry["count"].as_u64());
    let told: Vec<_> = aggregates.iter().map(|entry| (&entry["method"], entry["count"].as_u64().unwrap())).collect();
    assert_eq!(told, [(&"GetChain".into(), 1), (&"MintCertificate".into(), 50)]);
    for entry in aggregates {
        assert_eq!((&entry["reason"], &entry["caller"]), (&"RATE_EXCEEDED".into(), &"coordinator".into()));
    }
}

#[tokio::test]
async fn the_rate_of_one_caller_is_not_that_of_another() {
    let world = World::with_policy(Where::Software, &with("caller.coordinator", "rate = \"1/h\"")).await;
    world.chain(chain()).await.unwrap();
    is_over_rate(&world.chain(chain()).await.unwrap_err());
    let viewer = caller_certificate("spiffe://hallmark.lab/viewer");
    for _ in 0..10 {
        let body = prost::Message::encode_to_vec(&chain());
        assert_eq!(world.unary("GetChain", &viewer, body, 1_000_000_000).await.code, 0);
    }
}

#[tokio::test]
async fn a_rate_counts_on_when_the_policy_changes_and_a_new_one_holds_at_once() {
    let world = World::with_policy(Where::Software, &with("caller.coordinator", "rate = \"1/h\"")).await;
    world.chain(chain()).await.unwrap();
    world.apply(&with("caller.coordinator", "rate = \"1/m\""), false).await.unwrap();
    assert_eq!(is_over_rate(&world.chain(chain()).await.unwrap_err()), Duration::from_secs(60));
    world.apply(&example_policy(), false).await.unwrap();
    world.chain(chain()).await.unwrap();
}

#[tokio::test]
async fn one_instance_does_not_get_certificates_faster_than_its_rate() {
    let policy = with("profile.athenz-service", "rate = { per-instance = \"2/h\" }");
    let mut world = World::with_policy(Where::Software, &policy).await;
    let first = instance("i-1");
    world.mint(first.clone()).await.unwrap();
    world.mint(instance("i-1")).await.unwrap();
    let refused = world.mint(instance("i-1")).await.unwrap_err();
    assert_eq!(is_over_rate(&refused), Duration::from_secs(1_800));
    world.mint(instance("i-2")).await.unwrap();
    assert!(world.mint(first).await.unwrap().replayed, "an answered request is answered again");
    let mut by_uri = Asked::sports_api();
    by_uri.dns.pop();
    by_uri.uris = vec!["athenz://instanceid/sys.auth.lab/i-1".to_owned()];
    is_over_rate(&world.mint(by_uri.request()).await.unwrap_err());
    let mut nameless = Asked::sports_api();
    nameless.dns.pop();
    world.mint(nameless.request()).await.unwrap();
    world.mint(nameless.request()).await.unwrap();
    is_over_rate(&world.mint(nameless.request()).await.unwrap_err());
    world.clocks().pass(1_800);
    world.mint(instance("i-1")).await.unwrap();
    let log = world.log_after_stop().await;
    assert_eq!(log.of_type("aggregate").map(|entry| entry["count"].as_u64().unwrap()).sum::<u64>(), 3);
    assert_eq!(log.decisions("refused").len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_100_racing_requests_a_quota_of_10_lets_exactly_10_through() {
    for quota in ["per-epoch", "per-caller-per-day"] {
        let policy = with("profile.athenz-service", &format!("quota = {{ {quota} = 10 }}"));
        let mut world = World::with_policy(Where::Software, &policy).await;
        let uses = world.key_uses();
        let answers = join_all((0..100).map(|_| world.mint(Asked::sports_api().request()))).await;
        let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
        assert_eq!(refused.len(), 90);
        for refused in &refused {
            assert_eq!(
                (refused.code, refused.reasons.as_slice()),
                (RESOURCE_EXHAUSTED, &["QUOTA_EXCEEDED".to_owned()][..])
            );
            assert!(refused.logged.is_some());
        }
        assert_eq!(world.key_uses(), uses + 10, "what is over the quota touches no key");
        world.restart().await;
        assert_eq!(world.mint(Asked::sports_api().request()).await.unwrap_err().reasons, ["QUOTA_EXCEEDED"]);
        // Another profile has a quota of its own, or none.
        world.mint(mesh("cart", &KeyPair::generate().unwrap())).await.unwrap();
        let log = world.log_after_stop().await;
        assert_eq!(log.decisions("refused").len(), 91);
    }
}

#[tokio::test]
async fn the_quota_of_a_day_is_there_again_the_next_day_and_validating_takes_none() {
    let policy = with("profile.athenz-service", "quota = { per-caller-per-day = 1 }");
    let world = World::with_policy(Where::Software, &policy).await;
    let validate = || MintCertificateRequest { validate_only: true, ..Asked::sports_api().request() };
    for _ in 0..3 {
        world.mint(validate()).await.unwrap();
    }
    let first = Asked::sports_api().request();
    world.mint(first.clone()).await.unwrap();
    let refused = world.mint(Asked::sports_api().request()).await.unwrap_err();
    let next_day = (world.clocks().now() / 86_400 + 1) * 86_400;
    let next_day_text = hallmark_policy::time::UnixTime::from_secs(next_day).to_string();
    assert_eq!(refused.allowed, [("QUOTA_EXCEEDED".to_owned(), format!("more from {next_day_text}"))]);
    assert_eq!(world.mint(validate()).await.unwrap_err().reasons, ["QUOTA_EXCEEDED"]);
    assert!(world.mint(first).await.unwrap().replayed);
    world.clocks().pass(u32::try_from(next_day - world.clocks().now()).unwrap());
    world.mint(Asked::sports_api().request()).await.unwrap();
    assert_eq!(world.mint(Asked::sports_api().request()).await.unwrap_err().reasons, ["QUOTA_EXCEEDED"]);
}

#[tokio::test]
async fn a_key_under_two_sets_of_names_is_refused_within_its_authority() {
    let policy = with("profile.mesh", "one-key-one-name = true");
    let mut world = World::with_policy(Where::Software, &policy).await;
    let key = KeyPair::generate().unwrap();
    let index = world.mint(mesh("cart", &key)).await.unwrap().log_index;
    world.mint(mesh("cart", &key)).await.unwrap();
    let refused = world.mint(mesh("till", &key)).await.unwrap_err();
    assert_eq!(refused.reasons, ["KEY_HAS_OTHER_NAMES"]);
    assert!(refused.message.contains(&format!("entry {index} of the log")), "{}", refused.message);
    world.mint(mesh("till", &KeyPair::generate().unwrap())).await.unwrap();
    // A key is remembered under the other profiles of the authority, too, where it may have other names.
    let other = KeyPair::generate().unwrap();
    world.mint(athenz(Asked::sports_api().csr_with(&other))).await.unwrap();
    world.restart().await;
    assert_eq!(world.mint(mesh("cart", &other)).await.unwrap_err().reasons, ["KEY_HAS_OTHER_NAMES"]);
    world.mint(athenz(Asked::sports_api().csr_with(&key))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_names_that_race_for_a_key_one_gets_it() {
    let policy = with("profile.mesh", "one-key-one-name = true");
    let world = World::with_policy(Where::Software, &policy).await;
    for _ in 0..10 {
        let key = KeyPair::generate().unwrap();
        let answers = join_all(["cart", "till"].map(|name| world.mint(mesh(name, &key))).into_iter()).await;
        let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].reasons, ["KEY_HAS_OTHER_NAMES"]);
    }
}
