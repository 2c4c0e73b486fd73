//! First certificates: a record begins, and it begins once.

use hallmark_proto::signer::{MintCertificateRequest, MintCertificateResponse};
use hallmark_tests::{
    EVERYWHERE, Where, World,
    asking::{self, caller_certificate, join_all},
    instances::{Agent, asked, key, policy, refresh, register},
};

use crate::{alarms, change, codes, entry, revoked, serial};

/// Days of the example's certificates, in seconds.
const LIFETIME_SECS: u32 = 30 * 86_400;

#[tokio::test]
async fn an_instance_registers_and_its_entry_says_which_it_is() {
    for place in EVERYWHERE {
        let mut world = World::with_policy(place, &policy("")).await;
        let agent = Agent::registered(&world, "i-1").await.unwrap();
        let said = &entry(&agent.minted)["instance"];
        let expected = serde_json::json!({
            "intent": "register", "change": "registered", "provider": "sys.auth.lab", "id": "i-1", "service": "sports.api",
        });
        assert_eq!(*said, expected);
        let log = world.log_after_stop().await;
        log.proves(&agent.minted);
        assert!(alarms(&log).is_empty() && revoked(&log).is_empty());
    }
}

#[tokio::test]
async fn an_instance_that_is_alive_registers_no_second_time_and_after_its_end_it_may() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let mut agent = Agent::registered(&world, "i-1").await.unwrap();
    let refused = world.mint(register("i-1", &key())).await.unwrap_err();
    assert_eq!((refused.code, refused.reasons), (6, vec!["INSTANCE_EXISTS".to_owned()]));
    world.clocks().pass(LIFETIME_SECS / 2);
    agent.refresh(&world).await.unwrap();
    world.clocks().pass(LIFETIME_SECS / 2 + 1);
    assert_eq!(codes(world.mint(register("i-1", &key())).await), ["INSTANCE_EXISTS"], "its second one has not ended");
    world.restart().await;
    world.clocks().pass(LIFETIME_SECS / 2);
    let again = world.mint(register("i-1", &key())).await.unwrap();
    assert_eq!(change(&again), "registered");
    let late = refresh("i-1", &key(), &agent.minted.certificate);
    assert_eq!(codes(world.mint(late).await), ["INSTANCE_CERTIFICATE_EXPIRED"]);
    assert!(alarms(&world.log_after_stop().await).is_empty());
}

#[tokio::test]
async fn a_registration_asked_again_with_its_key_gives_the_same_certificate_until_the_first_refresh() {
    let mut world = World::with_policy(Where::SoftHsm, &policy("")).await;
    let mut agent = Agent::registered(&world, "i-1").await.unwrap();
    let uses = world.key_uses();
    let again = world.mint(register("i-1", &agent.key)).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.certificate, agent.minted.certificate);
    world.restart().await;
    let request = register("i-1", &agent.key);
    let again = world.mint(request.clone()).await.unwrap();
    assert_eq!((again.certificate, world.key_uses()), (agent.minted.certificate.clone(), 0));
    assert!(uses > 0);
    let first_key = agent.copied();
    agent.refresh(&world).await.unwrap();
    assert_eq!(codes(world.mint(register("i-1", &first_key.key)).await), ["INSTANCE_EXISTS"]);
    let bound = world.mint(request).await.unwrap();
    assert_eq!(bound.certificate, first_key.minted.certificate, "an id that was answered keeps its answer");
    let log = world.log_after_stop().await;
    let same: Vec<_> = log.of_type("outcome").filter(|entry| entry["result"] == "same-answer").collect();
    assert_eq!(same.len(), 2);
    assert!(same.iter().all(|entry| entry["decision-index"] == first_key.minted.log_index));
}

#[tokio::test]
async fn where_the_profile_allows_it_a_registration_takes_the_place_of_another_whose_certificates_are_superseded() {
    let mut world = World::with_policy(Where::Software, &policy(", replace = true")).await;
    let mut old = Agent::registered(&world, "i-1").await.unwrap();
    let first = serial(&old.minted);
    old.refresh(&world).await.unwrap();
    let mut new = Agent::registered(&world, "i-1").await.unwrap();
    assert_eq!(change(&new.minted), "replaced");
    let mut thief = old.copied();
    assert_eq!(thief.refresh(&world).await.unwrap_err().reasons, ["INSTANCE_DIFFERS"], "although it has the key");
    new.refresh(&world).await.unwrap();
    let log = world.log_after_stop().await;
    assert_eq!(alarms(&log), ["stray-certificate"]);
    let superseded = |serial: String| (serial, "superseded".to_owned());
    let mut expected = [superseded(first), superseded(serial(&old.minted))];
    expected.sort();
    let mut found = revoked(&log);
    found.sort();
    assert_eq!(found, expected, "relying parties are told");
}

#[tokio::test]
async fn a_service_has_no_more_instances_than_its_quota_also_when_many_register_at_once() {
    let world = World::with_policy(Where::Software, &policy(", alive-per-service = 3")).await;
    let ids: Vec<_> = (0..12).map(|number| format!("i-{number}")).collect();
    let keys: Vec<_> = ids.iter().map(|_| key()).collect();
    let asked = ids.iter().zip(&keys).map(|(id, key)| world.mint(register(id, key)));
    let answers = join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    for refused in answers.into_iter().filter_map(Result::err) {
        assert_eq!((refused.code, refused.reasons), (8, vec!["QUOTA_EXCEEDED".to_owned()]));
    }
    world.clocks().pass(LIFETIME_SECS + 1);
    world.mint(register("i-new", &key())).await.unwrap();
}

#[tokio::test]
async fn a_request_for_an_instance_that_says_neither_is_refused() {
    let world = World::with_policy(Where::Software, &policy("")).await;
    let request = asking::athenz(asked("i-1").csr());
    assert_eq!(codes(world.mint(request).await), ["INSTANCE_INTENT_NOT_ALLOWED"]);
}

#[tokio::test]
async fn what_is_only_validated_registers_and_moves_nothing() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let mut request = register("i-1", &key());
    request.validate_only = true;
    world.mint(request).await.unwrap();
    let agent = Agent::registered(&world, "i-1").await.unwrap();
    let mut request = refresh("i-1", &key(), &agent.minted.certificate);
    request.validate_only = true;
    world.mint(request).await.unwrap();
    let mut stray = refresh("i-2", &key(), &agent.minted.certificate);
    stray.validate_only = true;
    assert_eq!(codes(world.mint(stray).await), ["INSTANCE_UNKNOWN"]);
    let moved = world.mint(refresh("i-1", &key(), &agent.minted.certificate)).await.unwrap();
    assert_eq!(change(&moved), "moved");
    assert!(alarms(&world.log_after_stop().await).is_empty());
}

#[tokio::test]
async fn the_same_content_without_a_request_id_is_the_same_request_for_a_minute() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let mut request = register("i-1", &key());
    request.request_id = String::new();
    let first = world.mint(request.clone()).await.unwrap();
    assert!(!first.replayed);
    let key = key();
    let mut request = refresh("i-1", &key, &first.certificate);
    request.request_id = String::new();
    let moved = world.mint(request.clone()).await.unwrap();
    world.clocks().pass(59);
    let again = world.mint(request.clone()).await.unwrap();
    assert_eq!((again.certificate, again.replayed), (moved.certificate.clone(), true));
    assert_eq!(again.log_index, moved.log_index, "it was the same request, and not a retry by the serial rule");
    world.clocks().pass(2);
    let later = world.mint(request).await.unwrap();
    assert_eq!(later.certificate, moved.certificate, "now the serial rule says so");
    let log = world.log_after_stop().await;
    assert_eq!(log.of_type("outcome").filter(|entry| entry["result"] == "same-answer").count(), 1);
}

/// Mints until everything that is old enough was looked at, and forgotten.
async fn serve(world: &World, name: &str) {
    for number in 0..10 {
        Agent::registered(world, &format!("{name}-{number}")).await.unwrap();
    }
}

#[tokio::test]
async fn an_id_that_another_request_s_certificate_answers_keeps_its_answer_for_a_retention_of_its_own() {
    const HOUR: u32 = 3_600;
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let agent = Agent::registered(&world, "i-1").await.unwrap();
    let other = Agent::registered(&world, "i-2").await.unwrap();
    let new = key();
    let moved = world.mint(refresh("i-2", &new, &other.minted.certificate)).await.unwrap();
    world.clocks().pass(24 * HOUR - 60);
    let late = [register("i-1", &agent.key), refresh("i-2", &new, &other.minted.certificate)];
    let answers = [agent.minted.certificate.clone(), moved.certificate.clone()];
    for (request, answer) in late.iter().zip(&answers) {
        let asked = world.mint(request.clone()).await.unwrap();
        assert_eq!((&asked.certificate, asked.replayed), (answer, true), "the serial rule says so");
    }
    for hours in [1, 22] {
        world.clocks().pass(hours * HOUR);
        serve(&world, &format!("after-{hours}")).await;
        for (request, answer) in late.iter().zip(&answers) {
            let again = world.mint(request.clone()).await.unwrap();
            assert_eq!((&again.certificate, again.replayed), (answer, true), "{hours} hours later");
        }
        world.restart().await;
    }
    world.clocks().pass(2 * HOUR);
    serve(&world, "much-later").await;
    let [registered, refreshed] = late;
    assert_eq!(codes(world.mint(registered).await), ["INSTANCE_EXISTS"], "its own retention is over, too");
    assert_eq!(change(&world.mint(refreshed).await.unwrap()), "reissued");
    assert!(alarms(&world.log_after_stop().await).is_empty());
}

#[tokio::test]
async fn what_the_serial_rule_answered_without_a_request_id_is_the_same_request_for_a_minute_of_its_own() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let first = Agent::registered(&world, "i-1").await.unwrap();
    let request =
        MintCertificateRequest { request_id: String::new(), ..refresh("i-1", &key(), &first.minted.certificate) };
    let moved = world.mint(request.clone()).await.unwrap();
    world.clocks().pass(100);
    let to_the_end_of_a_minute = u32::try_from(119 - world.clocks().now() % 60).unwrap();
    world.clocks().pass(to_the_end_of_a_minute);
    for _ in 0..2 {
        assert_eq!(world.mint(request.clone()).await.unwrap().certificate, moved.certificate);
        world.clocks().pass(15);
    }
    let log = world.log_after_stop().await;
    let bound = log.of_type("outcome").filter(|entry| entry["result"] == "same-answer").count();
    assert_eq!(bound, 1, "what is asked 15 s after it was answered is the same request");
}

#[tokio::test]
async fn without_a_request_id_a_difference_in_csr_caller_profile_lifetime_or_presented_certificate_is_another_request()
{
    let text = policy("");
    let (_, profile) = text.split_once("[profile.athenz-service]").unwrap();
    let (profile, _) = profile.split_once("\n[").unwrap();
    let twin = format!("[profile.twin]{profile}\n");
    let text = text.replace("profiles = [\"athenz-service\", ", "profiles = [\"athenz-service\", \"twin\", ");
    let more = "[caller.second]\nuri = \"spiffe://hallmark.lab/second\"\nmethods = [\"MintCertificate\"]\nprofiles = [\"athenz-service\"]\n";
    let world = World::with_policy(Where::Software, &format!("{text}\n{twin}{more}")).await;
    let agent = Agent::registered(&world, "i-1").await.unwrap();
    let other = Agent::registered(&world, "i-2").await.unwrap();
    let new = key();
    let ask = |key: &rcgen::KeyPair, certificate: &[u8]| MintCertificateRequest {
        request_id: String::new(),
        ..refresh("i-1", key, certificate)
    };
    let request = ask(&new, &agent.minted.certificate);
    let first = world.mint(request.clone()).await.unwrap();
    let is_same = |answer: &MintCertificateResponse| answer.log_index == first.log_index;
    assert!(is_same(&world.mint(request.clone()).await.unwrap()), "all are the same");
    let shorter = MintCertificateRequest { lifetime_seconds: 7_200, ..request.clone() };
    assert!(!is_same(&world.mint(shorter).await.unwrap()), "lifetime");
    let profile = MintCertificateRequest { profile: "twin".to_owned(), ..request.clone() };
    assert!(!is_same(&world.mint(profile).await.unwrap()), "profile");
    let presented = world.mint(ask(&new, &other.minted.certificate)).await;
    assert_eq!(codes(presented), ["INSTANCE_DIFFERS"], "presented certificate");
    let second = caller_certificate("spiffe://hallmark.lab/second");
    let by_other = world.mint_as(&second, request.clone()).await.unwrap();
    assert!(!is_same(&by_other), "caller");
    let key = world.mint(ask(&key(), &agent.minted.certificate)).await.unwrap();
    assert!(!is_same(&key), "CSR");
}
