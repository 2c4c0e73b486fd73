//! Changing the policy while the signer serves.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use hallmark_policy::profile::PolicyDigest;
use hallmark_proto::operator::ApplyPolicyRequest;
use hallmark_tests::{
    EVERYWHERE, OPERATOR, Where, World,
    asking::{Asked, caller_certificate, join_all},
    daemon::{Laboratory, succeed},
    example_policy,
    log::Log,
};
use prost::Message;

/// Longest time that a daemon may take to hear a signal.
const HEARD_SECS_MAX: u64 = 20;

/// The example without the caller `viewer`.
fn without_viewer() -> String {
    let policy = example_policy();
    policy.split_once("[caller.viewer]").expect("the viewer").0.to_owned()
}

/// The example, in which the coordinator may only read.
fn without_minting() -> String {
    let changed = example_policy().replace("[\"MintCertificate\", ", "[");
    assert_ne!(changed, example_policy());
    changed
}

fn hex_of(policy: &str) -> String {
    PolicyDigest::of(policy).to_string()
}

#[tokio::test]
async fn a_policy_that_is_applied_decides_the_next_call_and_its_receipt_proves_since_when() {
    for place in EVERYWHERE {
        let mut world = World::new(place).await;
        world.mint(Asked::sports_api().request()).await.unwrap();
        let applied = world.apply(&without_minting(), false).await.unwrap();
        assert!(applied.in_force);
        let refused = world.mint(Asked::sports_api().request()).await.unwrap_err();
        assert_eq!(refused.reasons, ["METHOD_NOT_ALLOWED"]);
        let status = world.policy_status().await;
        assert_eq!(status.policy_sha256, applied.policy_sha256);
        assert_eq!((Some(status.log_index), status.applied_by), (applied.log_index, format!("uri:{OPERATOR}")));
        assert_eq!(status.in_force_since_millis, world.clocks().now() * 1_000);
        let index = applied.log_index.unwrap();
        let log = world.log_after_stop().await;
        let entry = &log.entries[usize::try_from(index).unwrap()];
        assert_eq!(entry["type"], "policy-loaded");
        assert_eq!(entry["policy-sha256"], hex_of(&without_minting()));
        assert_eq!(entry["by"], format!("uri:{OPERATOR}"));
        log.proves_entry(index, &applied.receipt, &applied.log_entry);
        assert_eq!(log.decisions("refused")[0]["policy-sha256"], hex_of(&without_minting()));
    }
}

#[tokio::test]
async fn reading_the_file_again_brings_it_into_force_and_the_same_file_changes_nothing() {
    let mut world = World::new(Where::Software).await;
    let news = world.core().reload_policy().await.unwrap();
    assert!(!news.changed);
    world.write("policy.toml", &without_minting());
    let news = world.core().reload_policy().await.unwrap();
    assert!(news.changed && news.notes.is_empty(), "{news:?}");
    assert_eq!(news.digest.to_string(), hex_of(&without_minting()));
    assert_eq!(world.mint(Asked::sports_api().request()).await.unwrap_err().reasons, ["METHOD_NOT_ALLOWED"]);
    let log = world.log_after_stop().await;
    let by: Vec<_> = log.of_type("policy-loaded").map(|entry| entry["by"].as_str().unwrap()).collect();
    assert_eq!(by, ["start", "reload"]);
}

#[tokio::test]
async fn a_bad_file_leaves_the_old_policy_in_force_and_says_so() {
    let mut world = World::new(Where::Software).await;
    let example = example_policy();
    let other_root = example.replacen("Athenz Lab Root CA", "Another Root CA", 1);
    let other_epoch = example.replacen("Athenz Lab Issuing CA", "Another Issuing CA", 1);
    let dropped = example
        .replace("[authority.athenz.", "[authority.other.")
        .replace("authority = \"athenz\"", "authority = \"other\"");
    let bad = [
        ("no policy at all", "expected"),
        (&example.replacen("keys = [", "kyes = [", 1), "there is no setting `kyes` here"),
        (&example.replacen("\"server-auth\"", "\"server\"", 1), "there is no usage `server`"),
        (&other_root, "the policy describes its root otherwise than its certificate says"),
        (&other_epoch, "the policy describes its epoch otherwise than its certificate says"),
        (&dropped, "authority `athenz` is served, and the policy does not have it"),
    ];
    for (text, sentence) in &bad {
        world.write("policy.toml", text);
        let error = world.core().reload_policy().await.unwrap_err().to_string();
        assert!(error.contains(sentence), "{sentence}: {error}");
        let refused = world.apply(text, false).await.unwrap_err();
        assert!(refused.message.contains(sentence), "{sentence}: {}", refused.message);
        let expected = if sentence.contains("authority") || sentence.contains("otherwise") {
            (9, "POLICY_DIFFERS")
        } else {
            (3, "POLICY_INVALID")
        };
        assert_eq!((refused.code, refused.reasons[0].as_str()), expected);
        assert!(refused.logged.is_some(), "it stands in the log");
        world.mint(Asked::sports_api().request()).await.unwrap();
    }
    std::fs::remove_file(world.path("policy.toml")).unwrap();
    let error = world.core().reload_policy().await.unwrap_err().to_string();
    assert!(error.contains("policy.toml` cannot be read: No such file"), "{error}");
    world.write("policy.toml", &example);
    assert_eq!(world.policy_status().await.applied_by, "start");
    let log = world.log_after_stop().await;
    assert_eq!(log.of_type("policy-loaded").count(), 1);
    let refused: Vec<_> = log.of_type("policy-refused").collect();
    assert_eq!(refused.len(), bad.len() * 2 + 1);
    assert_eq!((&refused[0]["by"], &refused[1]["by"]), (&"reload".into(), &format!("uri:{OPERATOR}").into()));
    for (entry, (text, sentence)) in refused.iter().zip(bad.iter().flat_map(|bad| [bad, bad])) {
        assert_eq!(entry["refused-sha256"], hex_of(text));
        assert!(entry["sentences"].to_string().contains(&sentence.replace('"', "\\\"")), "{entry}");
    }
}

#[tokio::test]
async fn a_policy_takes_the_place_of_the_expected_one_and_of_no_other() {
    let mut world = World::new(Where::Software).await;
    let example = PolicyDigest::of(&example_policy());
    let next = format!("{}\n# next\n", example_policy());
    for dry_run in [true, false] {
        let refused = world.apply_in_place_of(&[7; 32], &next, dry_run).await.unwrap_err();
        assert_eq!((refused.code, refused.reasons.as_slice()), (9, ["POLICY_STALE".to_owned()].as_slice()));
        assert_eq!(refused.allowed, [("POLICY_STALE".to_owned(), example.to_string())]);
        assert_eq!(refused.logged.is_some(), !dry_run);
    }
    for wrong in [&[7; 31][..], &[7; 33]] {
        let refused = world.apply_in_place_of(wrong, &next, false).await.unwrap_err();
        assert_eq!((refused.code, refused.reasons[0].as_str()), (3, "FIELD_OUT_OF_LIMITS"));
    }
    assert_eq!(world.policy_status().await.policy_sha256.as_ref(), example.as_bytes());
    let applied = world.apply_in_place_of(example.as_bytes(), &next, false).await.unwrap();
    assert_eq!(applied.previous_sha256.as_ref(), example.as_bytes());
    let again = world.apply_in_place_of(example.as_bytes(), &next, false).await.unwrap();
    assert_eq!((again.in_force, again.log_index), (true, applied.log_index), "the answer had been lost");
    let log = world.log_after_stop().await;
    assert_eq!((log.of_type("policy-loaded").count(), log.of_type("policy-refused").count()), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_operators_who_replace_the_same_policy_at_the_same_time_one_does() {
    const OPERATORS: usize = 8;
    let world = World::new(Where::Software).await;
    let expected = PolicyDigest::of(&example_policy());
    let candidates: Vec<_> = (0..OPERATORS).map(|number| format!("{}\n# {number}\n", example_policy())).collect();
    let applying = candidates.iter().map(|policy| world.apply_in_place_of(expected.as_bytes(), policy, false));
    let answers = join_all(applying).await;
    let (applied, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((applied.len(), refused.len()), (1, OPERATORS - 1));
    assert!(refused.iter().all(|refused| refused.as_ref().unwrap_err().reasons == ["POLICY_STALE"]));
    let applied = applied[0].as_ref().unwrap();
    assert_eq!(world.policy_status().await.policy_sha256, applied.policy_sha256);
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_leaves_no_entry() {
    let mut world = World::new(Where::Software).await;
    let checked = world.apply(&without_minting(), true).await.unwrap();
    assert!(!checked.in_force && checked.log_index.is_none() && checked.receipt.is_empty());
    assert_eq!(checked.policy_sha256.as_ref(), PolicyDigest::of(&without_minting()).as_bytes());
    assert_eq!(world.apply("version = 2", true).await.unwrap_err().reasons, ["POLICY_INVALID"]);
    world.mint(Asked::sports_api().request()).await.unwrap();
    let log = world.log_after_stop().await;
    assert_eq!((log.of_type("policy-loaded").count(), log.of_type("policy-refused").count()), (1, 0));
}

#[tokio::test]
async fn an_authority_that_this_run_does_not_serve_is_told() {
    let world = World::new(Where::Software).await;
    let more = format!(
        "{}\n[authority.second.root]\ncommon-name = \"Second Root\"\nlifetime = \"100d\"\nkey = \"ecdsa-p256\"\n\
         [authority.second.epoch]\ncommon-name = \"Second Epoch\"\nlifetime = \"100d\"\nkey = \"ecdsa-p256\"\n",
        example_policy()
    );
    let applied = world.apply(&more, false).await.unwrap();
    assert!(applied.notes.len() == 1 && applied.notes[0].contains("authority `second` is not served"), "{applied:?}");
    world.mint(Asked::sports_api().request()).await.unwrap();
}

#[tokio::test]
async fn nobody_but_the_operators_of_the_configuration_operates() {
    let mut world = World::new(Where::Software).await;
    let request = ApplyPolicyRequest { policy: without_minting(), ..ApplyPolicyRequest::default() }.encode_to_vec();
    let strangers = ["spiffe://hallmark.lab/coordinator", "spiffe://hallmark.lab/operator/x"];
    for uri in strangers {
        let reply = world.operate("ApplyPolicy", &caller_certificate(uri), request.clone()).await;
        assert_eq!(reply.code, 7, "{}", reply.message);
    }
    let operator = caller_certificate(OPERATOR);
    assert_eq!(world.operate("MintCertificate", &operator, Vec::new()).await.code, 12, "operators do not mint");
    let reply = world.unary("ApplyPolicy", &operator, request, 1_000_000_000).await;
    assert_eq!(reply.code, 12, "callers have no such method: {}", reply.message);
    world.mint(Asked::sports_api().request()).await.unwrap();
    let log = world.log_after_stop().await;
    let refused = log.decisions("refused");
    assert_eq!(refused.len(), strangers.len() + 2);
    assert_eq!(refused[0]["reasons"][0]["code"], "CALLER_UNKNOWN");
    assert_eq!(refused[0]["method"], "ApplyPolicy");
}

/// Every decision names a policy that the log has before it; and what is issued, the newest of them.
fn decided_under_logged_policies(log: &Log) -> BTreeMap<String, usize> {
    let (mut loaded, mut issued): (Vec<&str>, _) = (Vec::new(), BTreeMap::new());
    for entry in &log.entries {
        match entry["type"].as_str().unwrap() {
            "policy-loaded" => loaded.push(entry["policy-sha256"].as_str().unwrap()),
            "decision" => {
                let policy = entry["policy-sha256"].as_str().unwrap();
                assert!(loaded.contains(&policy), "decided before it was logged: {entry}");
                if entry["decision"] == "issued" {
                    assert_eq!(loaded.last(), Some(&policy), "issued under an older policy: {entry}");
                    *issued.entry(policy.to_owned()).or_default() += 1;
                }
            }
            _ => {}
        }
    }
    issued
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_decision_is_made_under_a_policy_that_is_not_in_the_log_yet() {
    const MINTERS: usize = 32;
    const CHANGES: usize = 20;
    let mut world = World::new(Where::Software).await;
    let (done, minted) = (AtomicBool::new(false), AtomicUsize::new(0));
    let minting = async {
        join_all((0..MINTERS).map(async |_| {
            while !done.load(Ordering::SeqCst) {
                let answer = world.mint(Asked::sports_api().request()).await;
                answer.unwrap_or_else(|refused| panic!("a change of policy fails no caller: {refused:?}"));
                minted.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        }))
        .await
    };
    let changing = async {
        for change in 0..CHANGES {
            let before = minted.load(Ordering::SeqCst);
            let applied = world.apply(&format!("{}\n# change {change}\n", example_policy()), false).await.unwrap();
            assert!(applied.in_force);
            while minted.load(Ordering::SeqCst) < before + 2 * MINTERS {
                tokio::task::yield_now().await;
            }
        }
        done.store(true, Ordering::SeqCst);
    };
    tokio::join!(minting, changing);
    let log = world.log_after_stop().await;
    let issued = decided_under_logged_policies(&log);
    assert_eq!(log.of_type("policy-loaded").count(), CHANGES + 1);
    assert!(issued.len() > CHANGES, "certificates were issued under every policy: {issued:?}");
    assert_eq!(log.decisions("refused").len(), 0);
}

#[test]
fn operators_apply_a_policy_over_their_own_listener() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    std::fs::write(laboratory.path("next.toml"), without_viewer()).unwrap();
    let in_force = std::fs::read_to_string(laboratory.path("policy.toml")).unwrap();
    let told = |command: &mut Command| {
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let apply = |dry: &[&str]| {
        let mut command = laboratory.hallmark_operator(&daemon);
        command.args(["policy", "apply"]).arg(laboratory.path("next.toml")).args(dry);
        command
    };
    let (code, text) = told(&mut apply(&["--dry-run"]));
    assert!(code == Some(0) && text.starts_with(&format!("good: {}", hex_of(&without_viewer()))), "{text}");
    let (code, text) = told(&mut apply(&["--expect", &hex_of(&without_minting())]));
    assert!(code == Some(1) && text.contains("POLICY_STALE") && text.contains(&hex_of(&in_force)), "{text}");
    let (code, text) = told(&mut apply(&["--expect", &hex_of(&in_force)]));
    assert!(code == Some(0) && text.starts_with(&format!("in force: {}", hex_of(&without_viewer()))), "{text}");
    let status = succeed(laboratory.hallmark_operator(&daemon).args(["policy", "status", "--json"]));
    assert!(status.contains(&hex_of(&without_viewer())) && status.contains(OPERATOR), "{status}");
    std::fs::write(laboratory.path("next.toml"), "version = 1\nauthorty = {}").unwrap();
    let (code, text) = told(&mut apply(&[]));
    assert!(
        code == Some(1) && text.contains("POLICY_INVALID") && text.contains("there is no setting `authorty` here"),
        "{text}"
    );
    // The coordinators' listener has no such service, and operators are not trusted there.
    let (code, text) = told(laboratory.hallmark(&daemon).args(["policy", "status"]));
    assert!(code == Some(1) && text.contains("UNIMPLEMENTED"), "{text}");
    let (code, text) = told(
        apply(&[])
            .env("HALLMARK_CERT", laboratory.path("coordinator.pem"))
            .env("HALLMARK_KEY", laboratory.path("coordinator.key")),
    );
    assert!(code != Some(0) && text.contains("does not trust the CA that issued it"), "{text}");
    assert!(daemon.terminate());
}

#[test]
fn hanging_up_reads_the_policy_again() {
    let laboratory = Laboratory::new();
    let daemon = laboratory.start();
    let hang_up_until = |text: &str| {
        succeed(Command::new("kill").args(["-HUP", &daemon.id().to_string()]));
        let began = Instant::now();
        loop {
            let log = std::fs::read_to_string(laboratory.path("hallmarkd.log")).unwrap();
            if log.contains(text) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(HEARD_SECS_MAX), "{text} in {log}");
            thread::yield_now();
        }
    };
    std::fs::write(laboratory.path("policy.toml"), without_viewer()).unwrap();
    hang_up_until(&format!("SIGHUP: another policy is in force: {}", hex_of(&without_viewer())));
    std::fs::write(laboratory.path("policy.toml"), "version = 3").unwrap();
    hang_up_until("SIGHUP: the old policy stays in force");
    hang_up_until("`version` is 3");
    drop(laboratory.mint(&daemon, "api", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]));
    assert!(daemon.terminate());
}
