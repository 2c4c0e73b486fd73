//! What operators do about epochs.

use hallmark_proto::signer::{EpochState, EpochStatus};
use insta::assert_snapshot;

use crate::{
    lists::{epoch, fetched, three},
    support::{World, signer::FakeSigner},
};

fn world(epochs: Vec<EpochStatus>) -> (World, FakeSigner) {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    *signer.state.epochs.lock().unwrap() = epochs;
    world.write("root.pem", signer.state.root.pem());
    (world, signer)
}

fn operated(signer: &FakeSigner) -> Vec<String> {
    std::mem::take(&mut *signer.state.operated.lock().unwrap())
}

#[test]
fn a_prepared_epoch_is_written_and_what_comes_next_is_said() {
    let (world, signer) = world(three());
    let run = world.run(signer.command("epoch prepare --authority athenz --lifetime 90d --out next"));
    assert_snapshot!(run.masked(&[]));
    assert_eq!(operated(&signer), ["prepare, lifetime 7776000"]);
    for name in ["intermediate.pem", "mesh-ca.pem", "root.pem"] {
        assert_eq!(world.read(&format!("next/{name}")).matches("BEGIN CERTIFICATE").count(), 1, "{name}");
    }
}

#[test]
fn before_an_activation_it_is_said_whom_the_chain_has_reached() {
    let (world, signer) = world(three());
    let words = "epoch activate 3 --authority athenz --revoke-previous";
    let run = world.run(signer.command(words));
    assert_snapshot!(run.masked(&[]));
    assert_eq!(operated(&signer), [""; 0]);
    let run = world.run_in_terminal(&signer.command(words), "no\n");
    assert!(run.code == 1 && run.stdout.contains("not confirmed"), "{}", run.told());
    assert_eq!(operated(&signer), [""; 0]);
    let run = world.run_in_terminal(&signer.command(words), "yes\n");
    assert_eq!(run.code, 0, "{}", run.told());
    assert_eq!(operated(&signer), ["activate 3, revoke true"]);
    let run = world.run(signer.command("epoch activate 3 --authority athenz --yes"));
    assert_snapshot!(run.masked(&[]));
    assert_eq!(operated(&signer), ["activate 3, revoke false"]);
}

#[test]
fn where_everybody_has_fetched_it_nobody_is_warned_of() {
    let known = fetched(&["coordinator"]);
    let (world, signer) = world(vec![
        EpochStatus { fetched: known.clone(), ..epoch(2, EpochState::Prepared, 89) },
        EpochStatus { fetched: known, ..epoch(1, EpochState::Active, 9) },
    ]);
    let run = world.run(signer.command("epoch activate 2 --authority athenz --yes"));
    assert!(run.code == 0 && !run.stderr.contains("warning:") && !run.stderr.contains("not fetched"), "{}", run.told());
}

#[test]
fn an_epoch_that_is_active_already_is_the_signers_to_answer_and_nobody_is_asked() {
    let (world, signer) = world(three());
    let run = world.run(signer.command("epoch activate 2 --authority athenz"));
    assert_eq!((run.code, operated(&signer)), (0, vec!["activate 2, revoke false".to_owned()]), "{}", run.told());
    let run = world.run(signer.command("epoch activate 9 --authority athenz --yes"));
    assert!(run.code == 1 && run.stderr.contains("no epoch of generation 9"), "{}", run.told());
    assert_eq!(operated(&signer), [""; 0]);
}

#[test]
fn an_epoch_is_given_up_with_a_reason_and_a_yes() {
    let (world, signer) = world(three());
    let command = |more: &[&str]| {
        let words = ["epoch", "abort", "3", "--authority", "athenz", "--reason", "the wrong day"];
        [&words, more].concat().into_iter().map(str::to_owned).chain(signer.flags()).collect::<Vec<_>>()
    };
    assert_snapshot!(world.run(command(&[])).told());
    assert_eq!(operated(&signer), [""; 0]);
    assert_snapshot!(world.run(command(&["--yes"])).masked(&[]));
    assert_eq!(operated(&signer), ["abort 3: the wrong day"]);
}

#[test]
fn a_certificate_from_an_offline_root_is_brought() {
    let (world, signer) = world(three());
    let run = world.run(signer.command("epoch bring 3 --authority athenz --certificate root.pem"));
    assert_snapshot!(run.masked(&[]));
    let bytes = signer.state.root.der().len();
    assert_eq!(operated(&signer), [format!("bring {bytes} bytes for 3")]);
    let run = world.run(signer.command("epoch bring 3 --authority athenz --certificate coordinator.key"));
    assert!(run.code == 2 && run.stderr.contains("holds no CA certificate"), "{}", run.told());
}

#[test]
fn operators_list_epochs_as_callers_do_and_have_json() {
    let (world, signer) = world(three());
    let [of_operator, of_caller] =
        ["epoch list", "epochs"].map(|words| world.run(signer.command(&format!("{words} --authority athenz"))));
    assert_eq!(of_operator.told(), of_caller.told());
    let json = world.run(signer.command("epoch activate 3 --authority athenz --yes --json")).json();
    assert_eq!((&json["result"], &json["epoch"]["epoch"]["generation"]), (&"active".into(), &3.into()));
    assert!(json["notes"][0].as_str().unwrap().contains("950 us"), "{json}");
}

#[test]
fn a_backup_is_waited_for_until_it_is_whole() {
    let (world, signer) = world(Vec::new());
    let words = "backup --name monday --why weekly";
    assert_snapshot!(world.run(signer.command(words)).told());
    assert_eq!(operated(&signer), ["back up monday: weekly"; 2]);
    let json = world.run(signer.command(&format!("{words} --json"))).json();
    assert_eq!((&json["result"], &json["size"], &json["removed"]), (&"backed-up".into(), &1_204.into(), &1.into()));
    assert_eq!(json["root"], "07".repeat(32));
    assert_eq!(world.run(signer.command("backup --name monday")).code, 2, "why is for the log");
}

#[test]
fn forms_of_names_are_listed_page_by_page() {
    let (world, signer) = world(Vec::new());
    let list = |more: &str| world.run(signer.command(&format!("name list --authority athenz{more}")));
    assert_snapshot!(list(" --limit 2").told());
    assert_snapshot!(list(" --after news-eu-west").told());
    assert_snapshot!(list(" --after z").told());
    let json = list(" --limit 1 --json").json();
    let wanted = serde_json::json!({
        "result": "names",
        "authority": "athenz",
        "names": [{ "form": "media-sports", "name": "media.sports", "log-index": 7, "not-after": "2026-12-01T00:00:00Z" }],
        "more": true,
    });
    assert_eq!(json, wanted);
}

#[test]
fn a_form_is_freed_after_a_yes() {
    let (world, signer) = world(Vec::new());
    let words = |more: &str| {
        let words = format!("name release media-sports --name media.sports --reason moved --authority athenz{more}");
        signer.command(&words)
    };
    assert_snapshot!(world.run(words("")).told());
    let run = world.run_in_terminal(&words(" --force"), "no\n");
    assert!(run.code == 1 && run.stdout.contains("not confirmed") && run.stdout.contains("warning:"), "{}", run.told());
    assert_eq!(operated(&signer), [""; 0]);
    assert_snapshot!(world.run(words(" --yes --force")).told());
    assert_eq!(operated(&signer), ["release media-sports of media.sports, force true: moved"]);
    assert_eq!(world.run(words(" --yes --json")).json()["result"], "name-released");
}
