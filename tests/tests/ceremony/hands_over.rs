//! A root goes from its ceremony to the signer that serves under it: the decision log says so before anything else of the authority.

use std::time::{SystemTime, UNIX_EPOCH};

use hallmark_signer::{HandOver, OfflineRoot};
use hallmark_tests::{
    Where, World,
    tools::{der, sha256},
};
use hallmark_tlog::note::VerifierKey;

use crate::hall::{Hall, ORIGIN, policy};

fn world() -> World {
    let world = World::unmade(Where::SoftHsm, &policy());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    world.clocks().leap(i64::try_from(now).unwrap() + 1 - world.clocks().now());
    world
}

fn left(hall: &Hall, ceremony: &str, key: &Hall, certificate: &str) -> OfflineRoot {
    let read = |ending: &str| std::fs::read(hall.path(&format!("{ceremony}.transcript.json{ending}"))).unwrap();
    let hand_over = HandOver { transcript: read(""), entry: read(".entry"), receipt: read(".receipt") };
    let key = VerifierKey::parse(key.read("log/log.vkey").trim()).unwrap();
    OfflineRoot { certificate: der("CERTIFICATE", &hall.read(certificate)), ceremony: Some((hand_over, key)) }
}

#[tokio::test]
async fn the_decision_log_says_from_which_ceremony_a_root_comes_before_it_says_anything_else_of_it() {
    let hall = Hall::new();
    hall.root("athenz");
    let mut world = world();
    world.bring_root_of_ceremony(left(&hall, "athenz-root", &hall, "out/athenz.pem"));
    world.start(true).await.unwrap();
    let log = world.log_after_stop().await;
    let entries: Vec<_> = log.of_type("ceremony").collect();
    assert_eq!(entries.len(), 1);
    let entry = entries[0];
    let transcript = std::fs::read(hall.path("athenz-root.transcript.json")).unwrap();
    assert_eq!(entry["action"], "handed-over");
    assert_eq!(entry["transcript-sha256"], hallmark_policy::hex(&sha256(&transcript)));
    assert_eq!((&entry["origin"], &entry["authority"]), (&ORIGIN.into(), &"athenz".into()));
    let first = log.entries.iter().position(|entry| entry["authority"] == "athenz").unwrap();
    assert_eq!(log.entries[first]["type"], "ceremony", "before anything else of the authority");
    assert_eq!(log.entries[first + 1]["step"], "root-brought");
}

#[tokio::test]
async fn a_ceremony_that_does_not_speak_for_the_root_is_not_taken() {
    let (hall, other) = (Hall::new(), Hall::new());
    hall.root("athenz");
    hall.root("old");
    other.root("athenz");
    let key = "[task.key]\nlabel = \"spare\"\nkind = \"ecdsa-p256\"\npublic-key = \"out/spare.pub\"\n";
    hall.run(&hall.file("spare", "athenz", key)).good();
    let good = || left(&hall, "athenz-root", &hall, "out/athenz.pem");
    let with = |change: &dyn Fn(&mut HandOver)| {
        let mut root = good();
        change(&mut root.ceremony.as_mut().unwrap().0);
        root
    };
    let of_another = |name: &str| {
        let (hand_over, key) = left(&hall, name, &hall, "out/athenz.pem").ceremony.unwrap();
        OfflineRoot { ceremony: Some((hand_over, key)), ..good() }
    };
    let mut foreign = good();
    foreign.certificate = der("CERTIFICATE", &other.read("out/athenz.pem"));
    for (root, said) in [
        (left(&hall, "athenz-root", &other, "out/athenz.pem"), "does not hold under the key of the log of ceremonies"),
        (with(&|left| left.transcript.push(b' ')), "does not say that this transcript was finished"),
        (with(&|left| left.entry.push(b' ')), "does not hold under the key of the log of ceremonies"),
        (with(&|left| left.receipt.clear()), "does not hold under the key of the log of ceremonies"),
        (of_another("old-root"), "does not speak of this root's certificate"),
        (of_another("spare"), "does not speak of this root's certificate"),
        (foreign, "does not speak of this root's certificate"),
    ] {
        let mut world = world();
        world.bring_root_of_ceremony(root);
        let error = world.start(true).await.expect_err(said).to_string();
        assert!(error.contains(said), "{said}\nis not in\n{error}");
    }
}
