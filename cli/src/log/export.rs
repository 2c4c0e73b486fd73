//! `hallmark log export`: a copy of a published log, with the salts of its private values or without.

use std::{
    fs,
    path::{Path, PathBuf},
};

use hallmark_tlog::{
    audit::LogFiles as _,
    tile::{self, CHECKPOINT_PATH, TileKind, TilePath},
};
use serde_json::json;

use super::{
    entries_of,
    leftovers::POLICIES,
    opened::Opened,
    openings,
    scan::{Scan, bar},
    seen,
    source::Source,
    unclean,
};
use crate::{
    arguments::ExportArguments,
    exit::Exit,
    files::FileError,
    problem::Problem,
    screen::{Screen, Tone, printable},
    when,
};

/// Copies what the checkpoint calls for, the checkpoint last, and checks the copy.
pub(crate) fn export(arguments: &ExportArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let opened = Opened::new(&arguments.log, config)?;
    let (source, head) = (&opened.source, &opened.head);
    let out = &arguments.out;
    if out.symlink_metadata().is_ok() {
        return Err(FileError::Exists { path: out.clone() }.into());
    }
    let mut openings = 0;
    for path in tile::kinds(head.size()).flat_map(|kind| tile::changed(kind, 0, head.size())) {
        copy_tile(source, path, out)?;
        if path.kind() == TileKind::Entries && !arguments.redact {
            openings += u64::from(copy(source, &openings::path_of(path), out)?);
        }
    }
    let policies = copy_policies(source, out)?;
    write(&out.join(CHECKPOINT_PATH), opened.note.to_string().as_bytes())?;
    let (private, opened_values) = check(&Source::Directory(out.clone()), head, screen)?;
    let word = screen.tone(Tone::Good, "exported:");
    let hidden = private - opened_values;
    screen.say(&format!(
        "{word} {} of `{}` with {} and {} of openings; {} private values are hidden. The copy holds.",
        entries_of(head.size()),
        printable(head.origin()),
        when::count(policies, "text") + " of policies",
        when::count(openings, "file"),
        when::number(hidden),
    ));
    screen.answer(&json!({
        "result": "exported",
        "size": head.size(),
        "policies": policies,
        "private": private,
        "hidden": hidden,
    }))?;
    Ok(Exit::Done)
}

/// The number of private values in the copy, and of those that are opened.
fn check(copy: &Source, head: &hallmark_tlog::checkpoint::Checkpoint, screen: &Screen) -> Result<(u64, u64), Problem> {
    let (mut private, mut opened) = (0, 0);
    let scan = Scan { source: copy, head, anchors: Vec::new(), pruned_before: 0, bar: bar(screen) };
    let scanned = scan.run(&seen::look, &mut |_, seen| {
        private += u64::from(seen.private);
        opened += u64::from(seen.opened);
    })?;
    unclean(&scanned)?;
    Ok((private, opened))
}

/// A tile, under the name that the size calls for.
fn copy_tile(source: &Source, path: TilePath, out: &Path) -> Result<(), Problem> {
    if copy(source, &path.to_string(), out)? || copy(source, &path.full().to_string(), out)? {
        return Ok(());
    }
    let finding = format!("`{path}` is missing");
    Err(Problem::Unclean { finding })
}

/// Copies a file; whether there was one.
fn copy(source: &Source, path: &str, out: &Path) -> Result<bool, Problem> {
    let Some(bytes) = source.read(path)? else { return Ok(false) };
    write(&out.join(path), &bytes)?;
    Ok(true)
}

/// The texts of policies, where they can be listed: in a directory.
fn copy_policies(source: &Source, out: &Path) -> Result<u64, Problem> {
    let Some(directory) = source.directory().map(|directory| directory.join(POLICIES)).filter(|path| path.is_dir())
    else {
        return Ok(0);
    };
    let failed = |source| FileError::Read { path: directory.clone(), source };
    let mut copied = 0;
    for file in fs::read_dir(&directory).map_err(failed)? {
        let name = file.map_err(failed)?.file_name();
        if let Some(name) = name.to_str() {
            copied += u64::from(copy(source, &format!("{POLICIES}/{name}"), out)?);
        }
    }
    Ok(copied)
}

fn write(path: &PathBuf, bytes: &[u8]) -> Result<(), FileError> {
    let failed = |source| FileError::Write { path: path.clone(), source };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::write(path, bytes).map_err(failed)
}
