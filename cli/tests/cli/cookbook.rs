//! The cookbook: every policy in it is good, and every case beside it goes as expected.

use std::{fs, path::PathBuf};

use crate::support::World;

const POLICIES: [&str; 6] = ["athenz-service", "athenz-all-shapes", "contrast-mesh", "spiffe", "lab", "post-quantum"];

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/cookbook")
}

fn path(name: &str) -> String {
    directory().join(name).to_str().unwrap().to_owned()
}

#[test]
fn the_cookbook_has_these_policies_each_with_its_cases() {
    let entries = fs::read_dir(directory()).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let mut files: Vec<String> = files.map(|entry| entry.file_name().into_string().unwrap()).collect();
    files.sort();
    let mut expected: Vec<String> =
        POLICIES.iter().flat_map(|name| [format!("{name}.tests.toml"), format!("{name}.toml")]).collect();
    expected.push("contrast-mesh.manifest.json".to_owned());
    expected.sort();
    assert_eq!(files, expected);
}

#[test]
fn every_policy_of_the_cookbook_is_good() {
    let world = World::new();
    for name in POLICIES {
        let run = world.run(["policy", "check", &path(&format!("{name}.toml"))]);
        assert_eq!(run.code, 0, "{name}: {}", run.stderr);
    }
}

#[test]
fn every_case_of_the_cookbook_goes_as_expected() {
    let world = World::new();
    let files: Vec<String> = POLICIES.iter().map(|name| path(&format!("{name}.toml"))).collect();
    let run = world.run(["policy", "test"].into_iter().map(str::to_owned).chain(files));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.matches("  pass  ").count() > 40, "{}", run.stdout);
}

#[test]
fn the_example_policy_is_good() {
    let world = World::new();
    let run = world.run(["policy", "check", &path("../policy.toml")]);
    assert_eq!(run.code, 0, "{}", run.stderr);
}
