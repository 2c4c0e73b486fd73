//! Entries of a time, from a log that is not read for it.

use std::fs;

use hallmark_entry::Object;

use crate::support::{
    Run, World,
    log::{self, THEN_MILLIS},
};

fn range(world: &World, more: &[&str]) -> Run {
    world.run([&["log", "range", "log", "--key", "log.vkey"][..], more].concat())
}

#[test]
fn a_range_of_time_is_found_without_reading_the_log_and_proven_entry_by_entry() {
    let world = World::new();
    // One entry a second, but for every tenth, which was overtaken by those that began later.
    let seconds = |index: i64| index - if index % 10 == 9 { 20 } else { 0 };
    let all: Vec<Vec<u8>> =
        (0..2_000).map(|index| Object::new().into_entry("heartbeat", THEN_MILLIS + seconds(index) * 1_000)).collect();
    log::publish_any(&world, &all);
    let found = |more: &[&str]| -> Vec<i64> {
        let run = range(&world, &[more, &["--format", "json"]].concat());
        assert_eq!(run.code, 0, "{}", run.told());
        let lines = run.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.map(|line| line["index"].as_i64().unwrap()).collect()
    };
    let within =
        |from: i64, to: i64| (0..2_000).filter(|index| (from..=to).contains(&seconds(*index))).collect::<Vec<_>>();
    // 06:00:00 and so many seconds.
    let at = |secs: i64| hallmark_policy::time::UnixTime::from_secs(THEN_MILLIS / 1_000 + secs).to_string();
    for (from, to) in [(0, 3), (250, 260), (511, 512), (1_000, 1_300), (1_990, 1_999)] {
        assert_eq!(found(&["--since", &at(from), "--until", &at(to)]), within(from, to), "{from} to {to}");
    }
    assert_eq!(found(&["--since", &at(1_900)]), within(1_900, 1_999));
    assert_eq!(found(&["--until", &at(100)]), within(-20, 100));
    assert_eq!(found(&["--from", "300", "--since", &at(10), "--to", "302"]), [300, 301, 302]);
    for damaged in ["tile/entries/000", "tile/entries/001", "tile/entries/002"] {
        fs::remove_file(world.path(&format!("log/{damaged}"))).unwrap();
    }
    assert_eq!(
        found(&["--since", &at(1_800), "--until", &at(1_802)]),
        within(1_800, 1_802),
        "no more is read than that"
    );
    assert_eq!(found(&["--since", &at(5_000)]), [0_i64; 0]);
    assert_eq!(range(&world, &[]).code, 2);
}
