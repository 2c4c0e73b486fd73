//! `hallmark log export`: a copy of a published log, with the salts of its private values or without.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use hallmark_tlog::{
    audit::LogFiles as _,
    tile::{self, CHECKPOINT_PATH, TILE_WIDTH, TileKind, TilePath},
};
use serde_json::json;

use super::{
    but_pruned, entries_of,
    leftovers::PRUNED_BEFORE,
    opened::Opened,
    openings,
    policies::{Policies, Texts},
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

/// Permissions of files: private values are for whoever exports them, everything else is for all.
const PUBLIC_FILE_MODE: u32 = 0o644;
const PRIVATE_FILE_MODE: u32 = 0o600;

/// Copies what the checkpoint calls for, checks the copy, and adds the policies that its entries name, the checkpoint last.
pub(crate) fn export(arguments: &ExportArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let opened = Opened::new(&arguments.log, config)?;
    let (source, head) = (&opened.source, &opened.head);
    let out = &arguments.out;
    if out.symlink_metadata().is_ok() {
        return Err(FileError::Exists { path: out.clone() }.into());
    }
    let mut openings = 0;
    let first = opened.pruned_before / TILE_WIDTH;
    let is_there = |path: &TilePath| path.kind() != TileKind::Entries || path.index() >= first;
    for path in tile::kinds(head.size()).flat_map(|kind| tile::changed(kind, 0, head.size())).filter(is_there) {
        copy_tile(source, path, out)?;
        if path.kind() == TileKind::Entries && !arguments.redact {
            openings += u64::from(copy_openings(source, path, out)?);
        }
    }
    if first > 0 {
        write(&out.join(PRUNED_BEFORE), format!("{}\n", first * TILE_WIDTH).as_bytes(), PUBLIC_FILE_MODE)?;
    }
    let Copied { private, opened: opened_values, policies } = check(&opened, &Source::Directory(out.clone()), screen)?;
    let write_text = |path: &str, text: &[u8]| write(&out.join(path), text, PUBLIC_FILE_MODE);
    let Texts { there: policies, missing, findings } = policies.read(source, write_text)?;
    if let Some(finding) = findings.kept().first() {
        return Err(Problem::Unclean { finding: finding.clone() });
    }
    write(&out.join(CHECKPOINT_PATH), opened.note.to_string().as_bytes(), PUBLIC_FILE_MODE)?;
    let word = screen.tone(Tone::Good, "exported:");
    let hidden = private - opened_values;
    screen.say(&format!(
        "{word} {} of `{}` with {} and {} of openings; {} private values are hidden. The copy holds.{}{}",
        entries_of(head.size()),
        printable(head.origin()),
        when::count(policies, "text") + " of policies",
        when::count(openings, "file"),
        when::number(hidden),
        if missing == 0 {
            String::new()
        } else {
            format!(" {} of policies are not there.", when::count(missing, "text"))
        },
        but_pruned(opened.pruned_before),
    ));
    screen.answer(&json!({
        "result": "exported",
        "size": head.size(),
        "policies": policies,
        "policies-missing": missing,
        "private": private,
        "hidden": hidden,
        "pruned-before": opened.pruned_before,
    }))?;
    Ok(Exit::Done)
}

/// What is in a copy.
#[derive(Default)]
struct Copied {
    /// Private values, and those of them that are opened.
    private: u64,
    opened: u64,
    policies: Policies,
}

/// Reads the copy, which has no checkpoint yet.
fn check(opened: &Opened, copy: &Source, screen: &Screen) -> Result<Copied, Problem> {
    let mut copied = Copied::default();
    let (head, pruned_before) = (&opened.head, opened.pruned_before);
    let scan = Scan { source: copy, head, anchors: Vec::new(), pruned_before, bar: bar(screen) };
    let scanned = scan.run(&seen::look, &mut |_, seen| {
        copied.private += u64::from(seen.private);
        copied.opened += u64::from(seen.opened);
        seen.policy.into_iter().for_each(|digest| copied.policies.add(digest));
    })?;
    unclean(&scanned)?;
    Ok(copied)
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
    write(&out.join(path), &bytes, PUBLIC_FILE_MODE)?;
    Ok(true)
}

/// Copies the openings of a bundle, if there are any and they are such.
fn copy_openings(source: &Source, bundle: TilePath, out: &Path) -> Result<bool, Problem> {
    for from in [bundle, bundle.full()] {
        let path = openings::path_of(from);
        let Some(bytes) = source.read(&path)? else { continue };
        if let Err(line) = openings::read(&bytes, bundle) {
            let finding = format!("`{path}`, line {line}, is no opening of this bundle");
            return Err(Problem::Unclean { finding });
        }
        write(&out.join(openings::path_of(bundle)), &bytes, PRIVATE_FILE_MODE)?;
        return Ok(true);
    }
    Ok(false)
}

fn write(path: &PathBuf, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let failed = |source| FileError::Write { path: path.clone(), source };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(bytes).map_err(failed)
}
