//! The same sentences over a module that the environment names.

use std::{
    env,
    path::Path,
    process::{Command, Output},
};

use hallmark_test_token::{MODULE, OTHER_MODULE, OTHER_PIN, OTHER_SO_PIN, OTHER_TOKEN};
use tempfile::TempDir;

/// Sentences that hold over every backend, by how they begin: those that take no time.
const MANY: [&str; 2] = ["conformance::keys", "conformance::signing::a_key"];

/// One of them.
const ONE: [&str; 1] = ["conformance::keys::a_key_is_found_again"];

/// Some of them again, in a process that has this module for another one.
fn run(sentences: &[&str], directory: &Path, module: &Path, label: &str) -> Output {
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap().trim().to_owned();
    Command::new(env::current_exe().unwrap())
        .args(sentences)
        .env("SOFTHSM2_CONF", directory.join("softhsm/softhsm2.conf"))
        .env(OTHER_MODULE, module)
        .env(OTHER_TOKEN, label)
        .env(OTHER_PIN, read("pin"))
        .env(OTHER_SO_PIN, read("so-pin"))
        .output()
        .unwrap()
}

#[test]
fn what_holds_over_every_backend_holds_over_a_module_that_the_environment_names() {
    const LABEL: &str = "hallmark-test-other";
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    let make = Path::new(env!("CARGO_MANIFEST_DIR")).join("../softhsm-config/token");
    let made = Command::new(make).arg(path("softhsm")).arg(LABEL).args([path("pin"), path("so-pin")]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // A module of another path is another one to a process, with a state of its own.
    let module = path("module.so");
    std::fs::copy(MODULE, &module).unwrap();

    let shown = run(&MANY, directory.path(), &module, LABEL);
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stdout));
    for (module, label, why) in [
        (path("no-module.so"), LABEL, "the module `"),
        (module.clone(), "hallmark-test-none", "the other module has no token `hallmark-test-none`"),
        (module, "production", "everything in it would be destroyed"),
    ] {
        let failed = run(&ONE, directory.path(), &module, label);
        let told = String::from_utf8_lossy(&failed.stdout);
        assert!(!failed.status.success() && told.contains(why), "{told}");
    }
}
