//! What operators see, revoke and allow.

use hallmark_proto::operator::{
    AllowInstanceRequest, AllowInstanceResponse, CertificateSelection, FindCertificatesRequest,
    FindCertificatesResponse, InstanceState, ListInstancesRequest, ListInstancesResponse, RevokeCertificatesRequest,
    RevokeCertificatesResponse, RevokeInstanceRequest, RevokeInstanceResponse, ShowInstanceRequest,
    ShowInstanceResponse,
};
use hallmark_signer::Ca;
use hallmark_tests::{
    AUTHORITY, EVERYWHERE, OPERATOR, Where, World,
    asking::{Refused, caller_certificate, decoded},
    instances::{Agent, PROVIDER, key, policy, register},
};
use prost::Message;

use crate::{alarms, codes, revoked, serial};

pub(crate) async fn ask<M: Message + Default>(
    world: &World,
    method: &str,
    request: &impl Message,
) -> Result<M, Refused> {
    decoded(world.operate(method, &caller_certificate(OPERATOR), request.encode_to_vec()).await)
}

pub(crate) fn revoke(id: &str) -> RevokeInstanceRequest {
    RevokeInstanceRequest {
        authority: AUTHORITY.to_owned(),
        provider: PROVIDER.to_owned(),
        id: id.to_owned(),
        reason: "key-compromise".to_owned(),
        why: "its disk was stolen".to_owned(),
    }
}

pub(crate) fn allow(id: &str) -> AllowInstanceRequest {
    AllowInstanceRequest {
        authority: AUTHORITY.to_owned(),
        provider: PROVIDER.to_owned(),
        id: id.to_owned(),
        why: "it was set up anew".to_owned(),
    }
}

async fn show(world: &World, id: &str) -> Result<ShowInstanceResponse, Refused> {
    let (authority, provider) = (AUTHORITY.to_owned(), PROVIDER.to_owned());
    let request = ShowInstanceRequest { authority, provider, id: id.to_owned(), ..ShowInstanceRequest::default() };
    ask(world, "ShowInstance", &request).await
}

async fn find(world: &World, selection: CertificateSelection) -> Vec<String> {
    let mut found = Vec::new();
    let mut before_index = 0;
    loop {
        let selection = Some(selection.clone());
        let request = FindCertificatesRequest { authority: AUTHORITY.to_owned(), selection, before_index, limit: 2 };
        let page: FindCertificatesResponse = ask(world, "FindCertificates", &request).await.unwrap();
        assert!(page.certificates.len() <= 2);
        found.extend(page.certificates.iter().map(|certificate| hallmark_policy::hex(&certificate.serial)));
        match page.next {
            Some(next) => before_index = next,
            None => return found,
        }
    }
}

fn selection(change: impl FnOnce(&mut CertificateSelection)) -> CertificateSelection {
    let mut selection = CertificateSelection::default();
    change(&mut selection);
    selection
}

fn revoke_all(selection: CertificateSelection, dry_run: bool, before_index: u64) -> RevokeCertificatesRequest {
    RevokeCertificatesRequest {
        authority: AUTHORITY.to_owned(),
        selection: Some(selection),
        reason: "affiliation-changed".to_owned(),
        why: "the team is gone".to_owned(),
        dry_run,
        before_index,
    }
}

#[tokio::test]
async fn an_operator_revokes_an_instance_with_all_its_certificates_and_allows_it_again() {
    for place in EVERYWHERE {
        let mut world = World::with_policy(place, &policy("")).await;
        let mut agent = Agent::registered(&world, "i-1").await.unwrap();
        let mut other = Agent::registered(&world, "i-2").await.unwrap();
        agent.refresh(&world).await.unwrap();
        let first: RevokeInstanceResponse = ask(&world, "RevokeInstance", &revoke("i-1")).await.unwrap();
        assert_eq!((first.certificates, first.before), (2, false));
        let again: RevokeInstanceResponse = ask(&world, "RevokeInstance", &revoke("i-1")).await.unwrap();
        assert_eq!((again.log_index, again.before), (first.log_index, true));
        assert_eq!(agent.refresh(&world).await.unwrap_err().reasons, ["INSTANCE_REVOKED"]);
        assert_eq!(codes(world.mint(register("i-1", &key())).await), ["INSTANCE_REVOKED"]);
        other.refresh(&world).await.unwrap();
        let crl = world.core().sign_crl(AUTHORITY, Ca::Epoch { generation: 1 }, None).await.unwrap();
        assert_eq!(crl.entries, 2);
        let shown = show(&world, "i-1").await.unwrap();
        let instance = shown.instance.unwrap();
        assert_eq!((instance.state(), instance.revoked_index), (InstanceState::Revoked, Some(first.log_index)));
        assert!(shown.certificates.iter().all(|certificate| certificate.revocation_reason == "key-compromise"));
        world.restart().await;
        let allowed: AllowInstanceResponse = ask(&world, "AllowInstance", &allow("i-1")).await.unwrap();
        assert_eq!(show(&world, "i-1").await.unwrap_err().reasons, ["INSTANCE_UNKNOWN"]);
        let mut new = Agent::registered(&world, "i-1").await.unwrap();
        assert_eq!(agent.refresh(&world).await.unwrap_err().reasons, ["INSTANCE_DIFFERS"], "its thief revokes nobody");
        new.refresh(&world).await.unwrap();
        let log = world.log_after_stop().await;
        log.proves_entry(allowed.log_index, &allowed.receipt, &log.raw[allowed.log_index as usize].clone());
        let actions: Vec<_> = log.of_type("instance").map(|entry| entry["action"].clone()).collect();
        assert_eq!(actions, ["revoked", "allowed"]);
        assert_eq!(log.of_type("instance").next().unwrap()["by"], "uri:spiffe://hallmark.lab/operator");
        assert_eq!(revoked(&log).len(), 2);
        assert_eq!(alarms(&log), ["stray-certificate"]);
    }
}

#[tokio::test]
async fn an_instance_is_shown_with_its_certificates_and_how_it_moved() {
    let world = World::with_policy(Where::Software, &policy("")).await;
    let mut agent = Agent::registered(&world, "i-1").await.unwrap();
    let first = agent.copied();
    world.clocks().pass(86_400);
    agent.refresh(&world).await.unwrap();
    let shown = show(&world, "i-1").await.unwrap();
    let instance = shown.instance.unwrap();
    assert_eq!((instance.service.as_str(), instance.moves, instance.state()), ("sports.api", 1, InstanceState::Alive));
    assert_eq!(instance.current.as_ref().unwrap().serial, agent.minted.serial);
    assert_eq!(instance.previous.as_ref().unwrap().serial, first.minted.serial);
    assert_eq!(instance.moved_at_millis - instance.registered_at_millis, 86_400_000);
    let serials: Vec<_> = shown.certificates.iter().map(|certificate| certificate.serial.clone()).collect();
    assert_eq!(serials, [agent.minted.serial.clone(), first.minted.serial.clone()]);
    assert_eq!(shown.certificates[0].names[0], "cn:sports.api");
    assert_eq!(show(&world, "i-9").await.unwrap_err().reasons, ["INSTANCE_UNKNOWN"]);
    let refused: Result<ShowInstanceResponse, _> = ask(&world, "ShowInstance", &ShowInstanceRequest::default()).await;
    assert_eq!(refused.unwrap_err().reasons, ["FIELD_MISSING"]);
}

#[tokio::test]
async fn certificates_of_an_instance_are_shown_page_by_page_and_none_is_left_out() {
    let world = World::with_policy(Where::Software, &policy("")).await;
    let mut agent = Agent::registered(&world, "i-1").await.unwrap();
    let mut serials = vec![agent.minted.serial.clone()];
    for _ in 0..102 {
        agent.refresh(&world).await.unwrap();
        serials.push(agent.minted.serial.clone());
    }
    serials.reverse();
    let page = async |before_index, limit| {
        let (authority, provider, id) = (AUTHORITY.to_owned(), PROVIDER.to_owned(), "i-1".to_owned());
        let request = ShowInstanceRequest { authority, provider, id, before_index, limit };
        ask::<ShowInstanceResponse>(&world, "ShowInstance", &request).await
    };
    let of = |page: &ShowInstanceResponse| -> Vec<_> {
        page.certificates.iter().map(|certificate| certificate.serial.clone()).collect()
    };
    let newest = page(0, 0).await.unwrap();
    assert_eq!((of(&newest), newest.next.is_some()), (serials[..100].to_vec(), true));
    let oldest = page(newest.next.unwrap(), 50).await.unwrap();
    assert_eq!((of(&oldest), oldest.next), (serials[100..].to_vec(), None));
    assert_eq!(page(0, 1_001).await.unwrap_err().reasons, ["FIELD_OUT_OF_LIMITS"]);
}

#[tokio::test]
async fn instances_are_listed_page_by_page_by_state_and_service() {
    let world = World::with_policy(Where::Software, &policy("")).await;
    for number in 0..5 {
        Agent::registered(&world, &format!("i-{number}")).await.unwrap();
    }
    let _: RevokeInstanceResponse = ask(&world, "RevokeInstance", &revoke("i-3")).await.unwrap();
    let list = async |change: &dyn Fn(&mut ListInstancesRequest)| {
        let mut request = ListInstancesRequest { authority: AUTHORITY.to_owned(), ..ListInstancesRequest::default() };
        change(&mut request);
        let listed: ListInstancesResponse = ask(&world, "ListInstances", &request).await.unwrap();
        let ids: Vec<_> = listed.instances.into_iter().map(|instance| instance.id).collect();
        (ids, listed.more)
    };
    let page = list(&|request| request.limit = 3).await;
    assert_eq!(page, (vec!["i-0".to_owned(), "i-1".to_owned(), "i-2".to_owned()], true));
    let rest = list(&|request| {
        (request.after_provider, request.after_id) = (PROVIDER.to_owned(), "i-2".to_owned());
    })
    .await;
    assert_eq!(rest, (vec!["i-3".to_owned(), "i-4".to_owned()], false));
    assert_eq!(list(&|request| request.set_state(InstanceState::Revoked)).await.0, ["i-3"]);
    assert_eq!(list(&|request| request.set_state(InstanceState::Alive)).await.0.len(), 4);
    assert!(list(&|request| request.service = "sports.web".to_owned()).await.0.is_empty());
    world.clocks().pass(31 * 86_400);
    assert_eq!(list(&|request| request.set_state(InstanceState::Ended)).await.0.len(), 4);
    let long =
        ListInstancesRequest { authority: AUTHORITY.to_owned(), limit: 1_001, ..ListInstancesRequest::default() };
    let refused: Result<ListInstancesResponse, _> = ask(&world, "ListInstances", &long).await;
    assert_eq!(refused.unwrap_err().reasons, ["FIELD_OUT_OF_LIMITS"]);
}

#[tokio::test]
async fn certificates_are_found_by_serial_number_name_instance_key_caller_and_time() {
    use rcgen::PublicKeyData as _;
    let world = World::with_policy(Where::Software, &policy("")).await;
    let mut agent = Agent::registered(&world, "i-1").await.unwrap();
    let first = agent.copied();
    agent.refresh(&world).await.unwrap();
    let between = world.clocks().now() * 1_000 + 500;
    world.clocks().pass(3_600);
    let other = Agent::registered(&world, "i-2").await.unwrap();
    let [one, two, three] = [&first.minted, &agent.minted, &other.minted].map(serial);
    let all = [three.clone(), two.clone(), one.clone()];
    let name = "i-1.instanceid.athenz.lab.athenz.cloud";
    let spki = hallmark_policy::key::SpkiDigest::of(&agent.key.subject_public_key_info());
    for (selection, expected) in [
        (selection(|_| ()), all.to_vec()),
        (selection(|s| s.serial = first.minted.serial.clone()), vec![one.clone()]),
        (selection(|s| s.serial = vec![7; 17].into()), vec![]),
        (selection(|s| s.name = format!("dns:{name}")), vec![two.clone(), one.clone()]),
        (selection(|s| s.name = name.to_owned()), vec![two.clone(), one.clone()]),
        (selection(|s| s.name = "dns:instanceid.athenz.lab.athenz.cloud".to_owned()), vec![]),
        (
            selection(|s| (s.provider, s.instance_id) = (PROVIDER.to_owned(), "i-1".to_owned())),
            vec![two.clone(), one.clone()],
        ),
        (selection(|s| s.spki_sha256 = spki.as_bytes().to_vec().into()), vec![two.clone()]),
        (selection(|s| s.caller = "coordinator".to_owned()), all.to_vec()),
        (selection(|s| s.caller = "viewer".to_owned()), vec![]),
        (selection(|s| s.profile = "athenz-service".to_owned()), all.to_vec()),
        (selection(|s| s.since_millis = between), vec![three.clone()]),
        (selection(|s| s.until_millis = between), vec![two.clone(), one.clone()]),
    ] {
        assert_eq!(find(&world, selection.clone()).await, expected, "{selection:?}");
    }
}

#[tokio::test]
async fn many_certificates_are_counted_first_and_then_revoked_and_newer_ones_are_left_alone() {
    for place in EVERYWHERE {
        let mut world = World::with_policy(place, &policy("")).await;
        for number in 0..4 {
            Agent::registered(&world, &format!("i-{number}")).await.unwrap();
        }
        let by_profile = selection(|s| s.profile = "athenz-service".to_owned());
        let counted: RevokeCertificatesResponse =
            ask(&world, "RevokeCertificates", &revoke_all(by_profile.clone(), true, 0)).await.unwrap();
        assert_eq!((counted.certificates, counted.next, counted.log_index), (4, None, None));
        let newer = Agent::registered(&world, "i-new").await.unwrap();
        let request = revoke_all(by_profile.clone(), false, counted.log_size);
        let done: RevokeCertificatesResponse = ask(&world, "RevokeCertificates", &request).await.unwrap();
        assert_eq!(done.certificates, 4);
        let again: RevokeCertificatesResponse = ask(&world, "RevokeCertificates", &request).await.unwrap();
        assert_eq!((again.certificates, again.log_index), (0, None));
        assert_eq!(find(&world, selection(|s| s.living = true)).await, [serial(&newer.minted)]);
        let log = world.log_after_stop().await;
        let command = log.of_type("operator-command").next().unwrap();
        assert_eq!((command["command"].as_str(), command["count"].as_i64()), (Some("revoke-certificates"), Some(4)));
        assert_eq!(command["selection"], serde_json::json!(["profile:athenz-service"]));
        assert_eq!(done.log_index, log.entries.iter().position(|entry| entry == command).map(|at| at as u64));
        assert!(revoked(&log).iter().all(|(_, reason)| reason == "affiliation-changed"));
    }
}

#[tokio::test]
async fn what_has_ended_for_long_is_forgotten_by_the_database_and_kept_by_the_log_and_who_is_revoked_is_remembered() {
    const DAY: u32 = 86_400;
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let mut agent = Agent::registered(&world, "i-1").await.unwrap();
    Agent::registered(&world, "i-2").await.unwrap();
    let _: RevokeInstanceResponse = ask(&world, "RevokeInstance", &revoke("i-2")).await.unwrap();
    world.clocks().pass(20 * DAY);
    agent.refresh(&world).await.unwrap();
    let serves = async |world: &World, name: &str| {
        for number in 0..8 {
            Agent::registered(world, &format!("{name}-{number}")).await.unwrap();
        }
    };
    world.clocks().pass(59 * DAY);
    serves(&world, "early").await;
    assert_eq!(show(&world, "i-1").await.unwrap().certificates.len(), 1, "its first one is forgotten");
    world.clocks().pass(2 * DAY);
    serves(&world, "late").await;
    assert_eq!(show(&world, "i-1").await.unwrap_err().reasons, ["INSTANCE_UNKNOWN"]);
    assert_eq!(show(&world, "i-2").await.unwrap().instance.unwrap().state(), InstanceState::Revoked);
    assert_eq!(codes(world.mint(register("i-2", &key())).await), ["INSTANCE_REVOKED"]);
    let number = agent.minted.serial.clone();
    assert_eq!(
        find(&world, selection(|s| s.serial = number)).await,
        [serial(&agent.minted)],
        "the newest are found for longer"
    );
    Agent::registered(&world, "i-1").await.unwrap();
    assert!(alarms(&world.log_after_stop().await).is_empty());
}

#[tokio::test]
async fn everything_that_was_issued_between_two_moments_is_counted_and_revoked() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let mut moments = Vec::new();
    for number in 0..3 {
        moments.push(world.clocks().now() * 1_000);
        Agent::registered(&world, &format!("i-{number}")).await.unwrap();
        world.clocks().pass(3_600);
    }
    let between = selection(|s| (s.since_millis, s.until_millis) = (moments[1], moments[2] - 1));
    let counted: RevokeCertificatesResponse =
        ask(&world, "RevokeCertificates", &revoke_all(between.clone(), true, 0)).await.unwrap();
    assert_eq!(counted.certificates, 1);
    let request = revoke_all(between, false, counted.log_size);
    let done: RevokeCertificatesResponse = ask(&world, "RevokeCertificates", &request).await.unwrap();
    assert_eq!(done.certificates, 1);
    assert_eq!(revoked(&world.log_after_stop().await).len(), 1);
}

#[tokio::test]
async fn what_would_revoke_too_much_or_nothing_is_refused() {
    let world = World::with_policy(Where::Software, &policy("")).await;
    Agent::registered(&world, "i-1").await.unwrap();
    let everything = revoke_all(selection(|s| s.since_millis = 1), false, 0);
    let until = revoke_all(selection(|s| s.until_millis = i64::MAX), false, 0);
    let backwards = revoke_all(selection(|s| (s.since_millis, s.until_millis) = (2, 1)), false, 0);
    let unknown = revoke_all(selection(|s| s.serial = vec![7; 17].into()), false, 0);
    let of_a_ca = RevokeCertificatesRequest {
        reason: "ca-compromise".to_owned(),
        ..revoke_all(selection(|s| s.caller = "coordinator".to_owned()), false, 0)
    };
    let silent = RevokeCertificatesRequest { why: String::new(), ..of_a_ca.clone() };
    let silent = RevokeCertificatesRequest { reason: String::new(), ..silent };
    for (request, code) in [
        (everything, "FIELD_MISSING"),
        (until, "FIELD_MISSING"),
        (backwards, "FIELD_OUT_OF_LIMITS"),
        (unknown, "CERTIFICATE_UNKNOWN"),
        (of_a_ca, "FIELD_OUT_OF_LIMITS"),
        (silent, "FIELD_OUT_OF_LIMITS"),
    ] {
        let refused: Result<RevokeCertificatesResponse, _> = ask(&world, "RevokeCertificates", &request).await;
        assert_eq!(refused.unwrap_err().reasons, [code]);
    }
    let stranger = caller_certificate("spiffe://hallmark.lab/coordinator");
    for method in ["ListInstances", "RevokeInstance", "AllowInstance", "RevokeCertificates", "ResumeAuthority"] {
        let refused: Result<ShowInstanceResponse, _> =
            decoded(world.operate(method, &stranger, ShowInstanceRequest::default().encode_to_vec()).await);
        assert_eq!(refused.unwrap_err().reasons, ["CALLER_UNKNOWN"], "{method}");
    }
}

#[tokio::test]
async fn who_revokes_what_a_destroyed_key_signed_is_told_that_no_crl_names_it() {
    let policy = policy("").replacen("[authority.athenz]\n", "[authority.athenz]\nretired-key = \"destroy\"\n", 1);
    let mut world = World::with_policy(Where::Software, &policy).await;
    let mut agent = Agent::registered(&world, "i-1").await.unwrap();
    world.prepare_epoch(0).await.unwrap();
    world.activate_epoch(2, false).await.unwrap();
    agent.refresh(&world).await.unwrap();
    let selection = CertificateSelection { caller: "coordinator".to_owned(), ..CertificateSelection::default() };
    let request = RevokeCertificatesRequest {
        authority: AUTHORITY.to_owned(),
        selection: Some(selection),
        dry_run: true,
        ..RevokeCertificatesRequest::default()
    };
    let counted: RevokeCertificatesResponse = ask(&world, "RevokeCertificates", &request).await.unwrap();
    assert_eq!((counted.certificates, counted.unlisted), (2, 1), "one is of each epoch");
    let revoked: RevokeInstanceResponse = ask(&world, "RevokeInstance", &revoke("i-1")).await.unwrap();
    assert_eq!((revoked.certificates, revoked.unlisted), (2, 1));
    let log = world.log_after_stop().await;
    assert_eq!(log.of_type("instance").next().unwrap()["unlisted"].as_u64(), Some(1), "and so is who reads the log");
}

#[tokio::test]
async fn a_theft_that_is_found_after_a_rotation_says_in_the_log_what_no_crl_names() {
    for (word, unlisted) in [("destroy", Some(2)), ("crl-only", None)] {
        let settings = format!("[authority.athenz]\nretired-key = \"{word}\"\n");
        let policy = policy("").replacen("[authority.athenz]\n", &settings, 1);
        let mut world = World::with_policy(Where::Software, &policy).await;
        let mut agent = Agent::registered(&world, "i-1").await.unwrap();
        let mut thief = agent.copied();
        agent.refresh(&world).await.unwrap();
        world.prepare_epoch(0).await.unwrap();
        world.activate_epoch(2, false).await.unwrap();
        agent.refresh(&world).await.unwrap();
        assert_eq!(thief.refresh(&world).await.unwrap_err().reasons, ["INSTANCE_STOLEN"]);
        let again: RevokeInstanceResponse = ask(&world, "RevokeInstance", &revoke("i-1")).await.unwrap();
        assert!(again.before);
        let crl = world.core().sign_crl(AUTHORITY, Ca::Epoch { generation: 2 }, None).await.unwrap();
        assert_eq!(crl.entries, 1, "what the living key signed is listed");
        let listed = world.core().sign_crl(AUTHORITY, Ca::Epoch { generation: 1 }, None).await.map(|crl| crl.entries);
        assert_eq!(listed.ok(), unlisted.is_none().then_some(2), "{word}");
        let log = world.log_after_stop().await;
        let entry = log.of_type("instance").next().unwrap();
        assert_eq!((entry["action"].as_str(), entry["by"].as_str()), (Some("revoked"), Some("signer")));
        assert_eq!(entry["unlisted"].as_u64(), unlisted, "{word}: {entry}");
        assert_eq!(revoked(&log).len(), 3, "in the log they are revoked, all of them");
    }
}

#[tokio::test]
async fn a_wall_clock_that_runs_ahead_spares_no_certificate_of_an_instance_nor_of_many() {
    let mut world = World::with_policy(Where::Software, &policy("")).await;
    let mut agent = Agent::registered(&world, "i-1").await.unwrap();
    agent.refresh(&world).await.unwrap();
    Agent::registered(&world, "i-2").await.unwrap();
    let ahead = 400 * 86_400;
    world.clocks().leap(ahead);
    let one: RevokeInstanceResponse = ask(&world, "RevokeInstance", &revoke("i-1")).await.unwrap();
    assert_eq!((one.certificates, one.left), (2, 0));
    let by_profile = selection(|s| s.profile = "athenz-service".to_owned());
    let counted: RevokeCertificatesResponse =
        ask(&world, "RevokeCertificates", &revoke_all(by_profile.clone(), true, 0)).await.unwrap();
    assert_eq!(counted.certificates, 1);
    let many: RevokeCertificatesResponse =
        ask(&world, "RevokeCertificates", &revoke_all(by_profile, false, counted.log_size)).await.unwrap();
    assert_eq!(many.certificates, 1);
    world.clocks().leap(-ahead);
    world.stop().await;
    world.start_with(false, true).await.unwrap();
    let crl = world.core().sign_crl(AUTHORITY, Ca::Epoch { generation: 1 }, None).await.unwrap();
    assert_eq!(crl.entries, 3);
}
