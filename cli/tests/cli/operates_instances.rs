//! What operators do about instances and certificates.

use insta::assert_snapshot;

use crate::support::{World, signer::FakeSigner};

fn world() -> (World, FakeSigner) {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    (world, signer)
}

fn operated(signer: &FakeSigner) -> Vec<String> {
    std::mem::take(&mut *signer.state.operated.lock().unwrap())
}

#[test]
fn instances_are_listed_page_by_page() {
    let (world, signer) = world();
    let list = |more: &str| world.run(signer.command(&format!("instance list --authority athenz{more}")));
    assert_snapshot!(list("").told());
    assert_snapshot!(list(" --limit 1").told());
    assert_snapshot!(list(" --state alive --after-provider p --after i-1").told());
    let rare = list(" --service rare --json").json();
    let ids: Vec<_> = rare["instances"].as_array().unwrap().iter().map(|instance| &instance["id"]).collect();
    assert_eq!(ids, ["i-2", "x\u{1b}[31m"], "it asks on where an answer has none");
    let json = list(" --state revoked --json").json();
    assert_eq!((&json["result"], &json["more"]), (&"instances".into(), &false.into()));
    let instance = &json["instances"][0];
    assert_eq!((&instance["state"], &instance["revoked-index"]), (&"revoked".into(), &40.into()));
    assert_eq!(instance["current"]["serial"], "22".repeat(17));
}

#[test]
fn an_instance_is_shown_with_its_certificates() {
    let (world, signer) = world();
    let show = |words: &str| world.run(signer.command(&format!("instance show {words} --authority athenz")));
    assert_snapshot!(show("i-2 --provider sys.auth.lab").told());
    let missing = show("i-9 --provider sys.auth.lab");
    assert!(missing.code == 1 && missing.stderr.contains("no such instance"), "{}", missing.told());
    let json = show("i-2 --provider sys.auth.lab --json").json();
    assert_eq!((&json["result"], json["certificates"].as_array().unwrap().len()), (&"instance".into(), 2));
    assert!(json["next"].is_null(), "{json}");
}

#[test]
fn certificates_of_an_instance_come_in_pages_and_more_of_them_are_told() {
    let (world, signer) = world();
    let show = |more: &str| {
        world.run(signer.command(&format!("instance show i-2 --provider sys.auth.lab --authority athenz{more}")))
    };
    let first = show(" --limit 1");
    assert!(first.stdout.contains(&"22".repeat(17)) && !first.stdout.contains(&"20".repeat(17)), "{}", first.told());
    assert_eq!(first.stderr, "hint: there may be more certificates; give --before 34\n");
    let second = show(" --limit 1 --before 34");
    assert!(second.stdout.contains(&"20".repeat(17)) && second.stderr.is_empty(), "{}", second.told());
    assert_eq!(show(" --limit 1 --json").json()["next"], 34);
    assert_eq!(show(" --limit 1001").code, 2);
}

#[test]
fn an_instance_is_revoked_after_a_yes() {
    let (world, signer) = world();
    let words = |id: &str, more: &str| {
        let words = format!("instance revoke {id} --provider p --why stolen --authority athenz{more}");
        signer.command(&words)
    };
    assert_snapshot!(world.run(words("i-1", "")).told());
    let run = world.run_in_terminal(&words("i-1", ""), "no\n");
    assert!(run.code == 1 && run.stdout.contains("not confirmed"), "{}", run.told());
    assert_eq!(operated(&signer), [""; 0]);
    assert_snapshot!(world.run(words("i-1", " --reason key-compromise --yes")).told());
    assert_eq!(operated(&signer), ["revoke i-1 of p, key-compromise: stolen"]);
    assert_snapshot!(world.run(words("i-2", " --yes")).told());
    let json = world.run(words("i-1", " --yes --json")).json();
    assert_eq!((&json["result"], &json["certificates"]), (&"instance-revoked".into(), &2.into()));
    let wrong = world.run(words("i-1", " --reason ca-compromise --yes"));
    assert!(wrong.code == 2 && wrong.stderr.contains("possible values"), "{}", wrong.told());
}

#[test]
fn an_instance_is_allowed_after_a_yes() {
    let (world, signer) = world();
    let words =
        |more: &str| signer.command(&format!("instance allow i-2 --provider p --why anew --authority athenz{more}"));
    assert_eq!(world.run(words("")).code, 2);
    assert_eq!(operated(&signer), [""; 0]);
    assert_snapshot!(world.run(words(" --yes")).told());
    assert_eq!(operated(&signer), ["allow i-2 of p: anew"]);
    assert_eq!(world.run(words(" --yes --json")).json()["result"], "instance-allowed");
}

#[test]
fn certificates_are_looked_for_until_there_are_enough() {
    let (world, signer) = world();
    let find = |more: &str| world.run(signer.command(&format!("certificate find --authority athenz{more}")));
    assert_snapshot!(find("").told());
    assert_snapshot!(find(" --limit 1").told());
    assert_snapshot!(find(" --before 5").told());
    let by_name = find(" --before 5 --name dns:a.example");
    assert!(by_name.stderr.contains("the log has it, see `hallmark log query`"), "{}", by_name.told());
    let json = find(" --name dns:a.example --json").json();
    assert_eq!((&json["result"], json["certificates"].as_array().unwrap().len()), (&"certificates".into(), 2));
    assert_eq!(json["certificates"][1]["revocation-reason"], "key-compromise");
    for (wrong, told) in [(" --serial xyz", "1 to 20 pairs"), (" --instance i-1", "--provider <NAME>")] {
        let run = find(wrong);
        assert!(run.code == 2 && run.stderr.contains(told), "{}", run.told());
    }
}

#[test]
fn certificates_are_counted_before_anybody_is_asked_and_only_those_are_revoked() {
    let (world, signer) = world();
    let words = |more: &str| signer.command(&format!("certificate revoke --why gone --authority athenz{more}"));
    let run = world.run(words(""));
    assert!(run.code == 2 && run.stderr.contains("required arguments were not provided"), "{}", run.told());
    assert_snapshot!(world.run(words(" --caller old --dry-run")).told());
    let counted = ["count below 0 of old, unspecified: gone", "count below 200 of old, unspecified: gone"];
    assert_eq!(operated(&signer), counted);
    let run = world.run_in_terminal(&words(" --caller old"), "no\n");
    assert!(run.code == 1 && run.stdout.contains("1,012 certificates"), "{}", run.told());
    assert_eq!(operated(&signer), counted);
    assert_snapshot!(world.run(words(" --caller old --reason superseded --yes")).told());
    let done = operated(&signer);
    assert_eq!(done[2..], ["revoke below 500 of old, superseded: gone", "revoke below 200 of old, superseded: gone"]);
    assert_snapshot!(world.run(words(" --caller nobody --yes")).told());
    assert_eq!(operated(&signer).len(), 1, "nothing was to be revoked");
    let json = world.run(words(" --caller old --yes --json")).json();
    assert_eq!((&json["result"], &json["certificates"]), (&"certificates-revoked".into(), &1_012.into()));
}

#[test]
fn the_intermediate_of_an_epoch_that_is_over_is_revoked_after_a_yes() {
    let (world, signer) = world();
    let words = |more: &str| {
        signer.command(&format!("epoch revoke 3 --authority athenz --reason key-compromise --why sold{more}"))
    };
    let refused = world.run(words("")).told();
    assert!(refused.contains("cannot be undone") && operated(&signer).is_empty(), "{refused}");
    let told = world.run(words(" --yes")).told();
    assert!(told.contains("revoked: the intermediate of athenz generation 3") && told.contains("4b07"), "{told}");
    assert_eq!(operated(&signer), ["revoke epoch 3 of athenz: key-compromise, sold"]);
    let json = world.run(words(" --yes --json")).json();
    assert_eq!((&json["result"], &json["serial"]), (&"epoch-revoked".into(), &"4b07".into()));
}

#[test]
fn a_stopped_authority_is_resumed_after_a_yes() {
    let (world, signer) = world();
    let words = |more: &str| signer.command(&format!("authority resume --authority athenz --why lost{more}"));
    assert_snapshot!(world.run(words("")).told());
    assert_snapshot!(world.run(words(" --yes")).told());
    assert_eq!(operated(&signer), ["resume athenz: lost"]);
    assert_eq!(world.run(words(" --yes --json")).json()["log-index"], 43);
}

#[test]
fn an_authority_is_frozen_at_once_and_thawed_after_a_yes() {
    let (world, signer) = world();
    let words =
        |verb: &str, more: &str| signer.command(&format!("authority {verb} --authority athenz --why lost{more}"));
    assert_snapshot!(world.run(words("freeze", "")).told());
    assert_snapshot!(world.run(words("thaw", "")).told());
    assert_snapshot!(world.run(words("thaw", " --yes")).told());
    assert_eq!(operated(&signer), ["freeze athenz: lost", "thaw athenz: lost"]);
    let json = world.run(words("freeze", " --json")).json();
    assert_eq!(
        (&json["result"], &json["log-index"], &json["thrown-away"]),
        (&"authority-frozen".into(), &45.into(), &2.into())
    );
    assert_eq!(world.run(words("thaw", " --yes --json")).json()["result"], "authority-thawed");
}
