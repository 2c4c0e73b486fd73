//! kryoptic, a token in software, built from its crate as a module: with the system's OpenSSL, and with one of its own that has more.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use serde_json::Value;

use crate::{process::run, stand::Stand};

/// The crate with OpenSSL's sources, as Cargo has unpacked it.
const OPENSSL_CRATE: &str = "openssl-src";

/// Cargo's words for the module with an OpenSSL of its own.
const WITH_ITS_OWN: [&str; 3] = ["--no-default-features", "--features", "own-openssl"];

/// What is left out of OpenSSL, since a token does not call it. Not shared libraries: without them, nothing is fit for being part of one.
const LEFT_OUT: [&str; 6] = ["no-apps", "no-deprecated", "no-docs", "no-dso", "no-module", "no-tests"];

/// The module: built when it is first asked for, and kept with all else that is built.
#[must_use]
pub fn module() -> &'static Path {
    static MODULE: LazyLock<PathBuf> = LazyLock::new(|| built("kryoptic", &mut cargo(&["build", "--quiet"])));
    &MODULE
}

/// The module that has what OpenSSL 4 has: ML-DSA, and Ed25519. Building it takes minutes.
fn module_with_its_own_openssl() -> &'static Path {
    static MODULE: LazyLock<PathBuf> = LazyLock::new(|| {
        let mut build = cargo(&[&["build", "--quiet"][..], &WITH_ITS_OWN].concat());
        built("kryoptic-own-openssl", build.env("KRYOPTIC_OPENSSL_SOURCES", openssl()))
    });
    &MODULE
}

pub(crate) fn start() -> Stand {
    stand(module())
}

pub(crate) fn start_with_its_own_openssl() -> Stand {
    stand(module_with_its_own_openssl())
}

fn built(name: &str, build: &mut Command) -> PathBuf {
    let place = target().join(name);
    run(build.env("CARGO_TARGET_DIR", &place));
    place.join("debug/libkryoptic_pkcs11.so")
}

fn target() -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR"));
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| crates.join("../../target"), PathBuf::from)
}

fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What this process inherited from its own build is not for another one.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kryoptic/Cargo.toml");
    cargo.args(arguments).args(["--locked", "--manifest-path"]).arg(manifest);
    cargo
}

/// A copy of OpenSSL's sources with a library built in it, since the crate's own are not to be written to.
fn openssl() -> PathBuf {
    let place = target().join("kryoptic-openssl");
    if !place.join("libcrypto.a").is_file() {
        let _ = fs::remove_dir_all(&place);
        run(Command::new("cp").arg("-r").arg(sources()).arg(&place));
        run(Command::new("./Configure").args(LEFT_OUT).current_dir(&place));
        for goal in ["build_generated", "libcrypto.a"] {
            run(Command::new("make").args(["-s", "-j2", goal]).current_dir(&place));
        }
    }
    place
}

fn sources() -> PathBuf {
    let mut metadata = cargo(&[&["metadata", "--format-version", "1"][..], &WITH_ITS_OWN].concat());
    let output = metadata.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = read.get("packages").and_then(Value::as_array).expect("packages");
    let is_openssl = |package: &&Value| package.get("name").is_some_and(|name| name == OPENSSL_CRATE);
    let found = packages.iter().find(is_openssl).expect("OpenSSL's sources");
    let manifest = found.get("manifest_path").and_then(Value::as_str).expect("a path");
    Path::new(manifest).with_file_name("openssl")
}

fn stand(module: &Path) -> Stand {
    let mut stand = Stand::new(module);
    let database = stand.text("token.sql");
    stand.write("kryoptic.conf", &format!("[[slots]]\nslot = 1\ndbtype = \"sqlite\"\ndbargs = \"{database}\"\n"));
    // It would read the variable KRYOPTIC_CONF, too; so it is a module with arguments that every machine has.
    stand.arguments = Some(format!("kryoptic_conf={}", stand.text("kryoptic.conf")));
    stand
}
