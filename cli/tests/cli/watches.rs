//! Watching epochs: one line a change, across lost connections.

use hallmark_proto::signer::{EpochState, EpochStatus, WatchEpochsResponse};
use insta::assert_snapshot;
use tonic::Status;

use crate::{
    lists::epoch,
    support::{World, signer::FakeSigner, timeless},
};

fn change(
    active: Option<EpochStatus>,
    next: Option<EpochStatus>,
    revision: &str,
) -> Result<WatchEpochsResponse, Status> {
    Ok(WatchEpochsResponse { active, next, revision: revision.as_bytes().to_vec().into() })
}

#[test]
fn every_change_is_a_line_and_a_lost_connection_is_taken_up_where_it_was_lost() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    let [one, two] = [epoch(1, EpochState::Active, 9), epoch(2, EpochState::Active, 99)];
    let prepared = epoch(2, EpochState::Prepared, 99);
    signer.state.watching.lock().unwrap().extend([
        vec![
            change(None, None, "r0"),
            change(Some(one.clone()), None, "r1"),
            Err(Status::deadline_exceeded("time is up")),
        ],
        vec![change(Some(one), Some(prepared), "r2"), Err(Status::unavailable("the daemon is stopping"))],
        vec![change(Some(two), None, "r3")],
    ]);
    let mut running = world.start(signer.command("epochs --authority athenz --watch"));
    let lines: String = (0..4).map(|_| running.line()).collect();
    assert_snapshot!(format!("{}--- stderr\n{}", timeless(&lines), running.end()));
    let watched = signer.state.watched.lock().unwrap();
    let revisions: Vec<_> = watched.iter().map(|request| request.after_revision.as_ref()).collect();
    assert_eq!(revisions[..3], [&b""[..], b"r1", b"r2"]);
}

#[test]
fn changes_are_json_lines_where_json_was_asked_for() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    let active = epoch(1, EpochState::Active, 9);
    signer.state.watching.lock().unwrap().push_back(vec![change(Some(active), None, "r1")]);
    let mut running = world.start(signer.command("epochs --authority athenz --watch --json"));
    let json: serde_json::Value = serde_json::from_str(&running.line()).unwrap();
    assert_eq!((&json["active"]["epoch"]["generation"], &json["next"]), (&1.into(), &serde_json::Value::Null));
    assert_eq!(running.end(), "");
}

#[test]
fn a_no_ends_it_and_so_does_what_never_worked() {
    let world = World::new();
    let signer = FakeSigner::start(&world);
    signer.state.watching.lock().unwrap().extend([
        vec![Err(Status::permission_denied("this caller may not"))],
        vec![Err(Status::unavailable("not now"))],
        vec![change(None, None, "r0"), Err(Status::permission_denied("this caller may not any more"))],
    ]);
    let run = || world.run(signer.command("epochs --authority athenz --watch"));
    let (never, not_now, no_more) = (run(), run(), run());
    assert!(never.code == 1 && never.stderr.contains("this caller may not"), "{}", never.told());
    assert!(not_now.code == 3 && not_now.stderr.contains("not now"), "{}", not_now.told());
    assert!(no_more.code == 1 && no_more.stdout.contains("athenz: none is active"), "{}", no_more.told());
}
