//! A backup of a world's machine, put back in its place.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::World;

/// Stops the world, copies database and published log, and starts it again.
///
/// # Panics
/// If files cannot be copied, or the core does not start.
pub async fn back_up(world: &mut World) {
    world.stop().await;
    parts(world).iter().for_each(|(here, there)| copy(here, there));
    world.start(false).await.expect("the core starts again");
}

/// Stops the world, puts the backup in the place of what there is now, and starts it again.
///
/// # Panics
/// If files cannot be copied, or the core does not start.
pub async fn restore(world: &mut World) {
    world.stop().await;
    for (here, there) in parts(world) {
        if here.is_dir() {
            fs::remove_dir_all(&here).expect("a directory is removed");
        }
        copy(&there, &here);
    }
    world.start(false).await.expect("the core starts on the older database");
}

/// Database and published log: what a backup of the machine has.
fn parts(world: &World) -> [(PathBuf, PathBuf); 2] {
    ["ledger.sqlite", "log"].map(|name| (world.path(name), world.path(&format!("backup-{name}"))))
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("a directory is made");
        for entry in fs::read_dir(from).expect("a directory is read") {
            let entry = entry.expect("an entry of a directory");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).expect("a file is copied");
    }
}
