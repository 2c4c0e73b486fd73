//! kryoptic, a token in software, built from its crate as a module.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use crate::{process::run, stand::Stand};

/// The module: built when it is first asked for, and kept with all else that is built.
#[must_use]
pub fn module() -> &'static Path {
    static MODULE: LazyLock<PathBuf> = LazyLock::new(built);
    &MODULE
}

fn built() -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| crates.join("../../target"), PathBuf::from).join("kryoptic");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // What this process inherited from its own build is not for another one.
    build.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").env("CARGO_TARGET_DIR", &target);
    let manifest = crates.join("../kryoptic/Cargo.toml");
    run(build.args(["build", "--quiet", "--locked", "--manifest-path"]).arg(manifest));
    target.join("debug/libkryoptic_pkcs11.so")
}

pub(crate) fn start() -> Stand {
    let mut stand = Stand::new(module());
    let database = stand.text("token.sql");
    stand.write("kryoptic.conf", &format!("[[slots]]\nslot = 1\ndbtype = \"sqlite\"\ndbargs = \"{database}\"\n"));
    // It would read the variable KRYOPTIC_CONF, too; so it is a module with arguments that every machine has.
    stand.arguments = Some(format!("kryoptic_conf={}", stand.text("kryoptic.conf")));
    stand
}
