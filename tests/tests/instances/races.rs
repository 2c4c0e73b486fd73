//! Racing refreshes: one moves the record, and nobody with its key is revoked for having lost.

use hallmark_proto::signer::MintCertificateResponse;
use hallmark_tests::{
    EVERYWHERE, World,
    asking::join_all,
    instances::{Agent, key, policy, proven, register},
};
use rcgen::KeyPair;

use crate::{alarms, change, revoked};

const RACERS: usize = 32;

#[tokio::test(flavor = "multi_thread")]
async fn of_32_racing_refreshes_with_one_key_all_get_the_same_certificate_and_nobody_is_revoked_later() {
    for place in EVERYWHERE {
        let mut world = World::with_policy(place, &policy("")).await;
        let mut agent = Agent::registered(&world, "i-1").await.unwrap();
        let new = key();
        let requests: Vec<_> =
            (0..RACERS).map(|_| proven("i-1", &new, &agent.minted.certificate, &agent.key)).collect();
        let answers = join_all(requests.into_iter().map(|request| world.mint(request))).await;
        let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        assert!(answers.iter().all(|answer| answer.certificate == answers[0].certificate));
        assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1, "one moved the record");
        (agent.minted, agent.key) = (answers[0].clone(), new);
        for _ in 0..3 {
            agent.refresh(&world).await.unwrap();
        }
        let log = world.log_after_stop().await;
        assert!(alarms(&log).is_empty() && revoked(&log).is_empty());
        assert_eq!(log.of_type("outcome").filter(|entry| entry["result"] == "same-answer").count(), RACERS - 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_racing_refreshes_with_keys_of_their_own_one_moves_one_retries_and_30_are_refused() {
    for place in EVERYWHERE {
        let mut world = World::with_policy(place, &policy("")).await;
        let agent = Agent::registered(&world, "i-1").await.unwrap();
        let keys: Vec<_> = (0..RACERS).map(|_| key()).collect();
        let old = &agent.minted.certificate;
        let requests: Vec<_> = keys.iter().map(|key| proven("i-1", key, old, &agent.key)).collect();
        let answers = join_all(requests.into_iter().map(|request| world.mint(request))).await;
        let mut changes: Vec<_> = answers.iter().flatten().map(change).collect();
        changes.sort();
        assert_eq!(changes, ["moved", "retried"]);
        let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        assert_eq!(refused.len(), RACERS - 2);
        assert!(refused.iter().all(|refused| refused.reasons == ["INSTANCE_RETRY_USED"]));
        let winner = |word: &str| {
            let of = |(answer, key): (&Result<MintCertificateResponse, _>, &KeyPair)| {
                let minted = answer.as_ref().ok().filter(|minted| change(minted) == word)?.clone();
                let key = KeyPair::try_from(key.serialize_der()).unwrap();
                Some(Agent { id: "i-1".to_owned(), key, minted })
            };
            answers.iter().zip(&keys).find_map(of).unwrap()
        };
        let (mut displaced, mut retried) = (winner("moved"), winner("retried"));
        retried.refresh(&world).await.unwrap();
        // Both proved to have the key of the certificate before, and both go on: so two have keys of the instance.
        assert_eq!(displaced.refresh(&world).await.unwrap_err().reasons, ["INSTANCE_STOLEN"]);
        assert_eq!(retried.refresh(&world).await.unwrap_err().reasons, ["INSTANCE_REVOKED"]);
        let log = world.log_after_stop().await;
        assert_eq!(revoked(&log).len(), 4, "what the retry displaced, and all others");
        assert_eq!(alarms(&log), ["instance-retried", "instance-stolen"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_racing_registrations_one_begins_the_record() {
    let mut world = World::with_policy(EVERYWHERE[0], &policy("")).await;
    let same = key();
    let requests: Vec<_> = (0..RACERS)
        .map(|number| if number % 2 == 0 { register("i-1", &same) } else { register("i-2", &key()) })
        .collect();
    let answers = join_all(requests.into_iter().map(|request| world.mint(request))).await;
    let of = |parity: usize| answers.iter().skip(parity).step_by(2);
    let first = of(0).next().unwrap().as_ref().unwrap();
    assert!(of(0).all(|answer| answer.as_ref().unwrap().certificate == first.certificate), "one key, one certificate");
    assert_eq!(of(1).filter(|answer| answer.is_ok()).count(), 1, "many keys, one of them");
    let refused = of(1).filter_map(|answer| answer.as_ref().err());
    assert!(refused.into_iter().all(|refused| refused.reasons == ["INSTANCE_EXISTS"]));
    let log = world.log_after_stop().await;
    assert_eq!(log.decisions("issued").iter().filter(|entry| entry["instance"]["change"] == "registered").count(), 2);
}
