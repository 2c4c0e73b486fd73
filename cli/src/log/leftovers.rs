//! Files of a published directory that its checkpoint does not call for: partial files of earlier sizes must be the beginning
//! of what came after, policy texts must have their names' digests, and what else lies there is said.

use std::{fs, path::Path};

use hallmark_entry::sha256;
use hallmark_tlog::tile::{CHECKPOINT_PATH, TILE_WIDTH, TileKind, TilePath};

use super::{openings, source::read_file};
use crate::files::FileError;

/// Where policy texts are, each under its SHA-256.
pub(crate) const POLICIES: &str = "policies";

/// Directories within each other that are looked into.
const DEPTH_MAX: usize = 16;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// What is wrong.
    pub(crate) findings: Vec<String>,
    /// Policy texts that have their digests.
    pub(crate) policies: u64,
    /// Files that belong to no published log.
    pub(crate) others: u64,
}

/// Looks at all files below a directory, for a log of `size` entries.
pub(crate) fn look(directory: &Path, size: u64) -> Result<Leftovers, FileError> {
    let mut found = Leftovers::default();
    walk(directory, directory, size, DEPTH_MAX, &mut found)?;
    Ok(found)
}

fn walk(root: &Path, directory: &Path, size: u64, depth: usize, found: &mut Leftovers) -> Result<(), FileError> {
    let failed = |source| FileError::Read { path: directory.to_owned(), source };
    let Some(depth) = depth.checked_sub(1) else { return Ok(()) };
    for file in fs::read_dir(directory).map_err(failed)? {
        let path = file.map_err(failed)?.path();
        if path.is_dir() {
            walk(root, &path, size, depth, found)?;
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            look_at(root, name, size, found)?;
        }
    }
    Ok(())
}

fn look_at(root: &Path, name: &str, size: u64, found: &mut Leftovers) -> Result<(), FileError> {
    if name == CHECKPOINT_PATH {
        return Ok(());
    }
    if let Some(digest) = name.strip_prefix(POLICIES).and_then(|rest| rest.strip_prefix('/')) {
        return look_at_policy(root, name, digest, found);
    }
    let bundle = name.strip_prefix(openings::DIRECTORY).map(|rest| format!("tile/entries{rest}"));
    let Ok(path) = TilePath::parse(bundle.as_deref().unwrap_or(name)) else {
        found.others += 1;
        return Ok(());
    };
    let current = TilePath::of_row(path.kind(), path.index(), nodes(path.kind(), size));
    if path == current || path == current.full() {
        return Ok(());
    }
    let place = |path: TilePath| if bundle.is_some() { openings::path_of(path) } else { path.to_string() };
    let later = match read_file(&root.join(place(current)))? {
        Some(later) => Some(later),
        None => read_file(&root.join(place(current.full())))?,
    };
    let earlier = read_file(&root.join(name))?;
    if let (Some(earlier), Some(later)) = (earlier, later)
        && !agree(&earlier, &later, path, bundle.is_some())
    {
        let current = place(current);
        found.findings.push(format!("`{name}` is left from another size and does not begin as `{current}` does"));
    }
    Ok(())
}

/// Whether one is the beginning of the other, and the earlier one as long as its width says.
fn agree(one: &[u8], other: &[u8], path: TilePath, openings: bool) -> bool {
    let common = one.len().min(other.len());
    let begins = one.get(..common) == other.get(..common);
    let width = usize::from(path.width());
    let whole = match path.kind() {
        _ if openings => true,
        TileKind::Hashes { .. } => one.len() == width * hallmark_tlog::hash::HASH_BYTES,
        TileKind::Entries => hallmark_tlog::bundle::decode(one).is_ok_and(|entries| entries.len() == width),
    };
    begins && whole
}

fn look_at_policy(root: &Path, name: &str, digest: &str, found: &mut Leftovers) -> Result<(), FileError> {
    let text = read_file(&root.join(name))?.unwrap_or_default();
    if hallmark_policy::hex(&sha256(&text)) == digest {
        found.policies += 1;
    } else {
        found.findings.push(format!("`{name}` does not have the SHA-256 that its name says"));
    }
    Ok(())
}

/// Nodes or entries in the row of that kind.
fn nodes(kind: TileKind, size: u64) -> u64 {
    match kind {
        TileKind::Entries => size,
        TileKind::Hashes { level } => size.checked_shr(u32::from(level) * TILE_WIDTH.ilog2()).unwrap_or(0),
    }
}
