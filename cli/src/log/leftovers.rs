//! Files of a published directory that its checkpoint does not call for: partial files of earlier sizes must be the beginning
//! of what came after, policy texts must have their names' digests, and what else lies there is said. Links are not followed: a
//! copy of a log has none.

use std::{fs, path::Path};

use hallmark_entry::sha256;
use hallmark_tlog::tile::{self, CHECKPOINT_PATH, TileKind, TilePath};

use super::{findings::Findings, openings, policies, source::read_file};
use crate::files::{self, FileError};

/// Where the log says itself how many entries have no bundles.
pub(crate) const PRUNED_BEFORE: &str = "pruned-before";

/// Longest file of that name that is read, in bytes: a number of 20 digits and a newline.
const PRUNED_BYTES_MAX: usize = 64;

/// Directories within each other that are looked into.
const DEPTH_MAX: usize = 16;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// What is wrong.
    pub(crate) findings: Findings,
    /// Files that belong to no published log, and links.
    pub(crate) others: u64,
    /// How many entries have no bundles, as the file of that name says.
    pub(crate) pruned_before: Option<u64>,
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
        let file = file.map_err(failed)?;
        let (path, kind) = (file.path(), file.file_type().map_err(failed)?);
        match path.strip_prefix(root).ok().and_then(Path::to_str) {
            _ if kind.is_dir() => walk(root, &path, size, depth, found)?,
            Some(name) if kind.is_file() => look_at(root, name, size, found)?,
            Some(_) | None => found.others += 1,
        }
    }
    Ok(())
}

fn look_at(root: &Path, name: &str, size: u64, found: &mut Leftovers) -> Result<(), FileError> {
    if name == CHECKPOINT_PATH {
        return Ok(());
    }
    if name == PRUNED_BEFORE {
        return look_at_pruned(root, size, found);
    }
    if let Some(digest) = name.strip_prefix(policies::DIRECTORY).and_then(|rest| rest.strip_prefix('/')) {
        return look_at_policy(root, name, digest, found);
    }
    let bundle = name.strip_prefix(openings::DIRECTORY).map(|rest| format!("tile/entries{rest}"));
    let Ok(path) = TilePath::parse(bundle.as_deref().unwrap_or(name)) else {
        found.others += 1;
        return Ok(());
    };
    let current = TilePath::of_row(path.kind(), path.index(), tile::nodes(path.kind(), size));
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
        found.findings.add(&format!("`{name}` is left from another size and does not begin as `{current}` does"));
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

/// A text of a policy. Files of other names are none.
fn look_at_policy(root: &Path, name: &str, digest: &str, found: &mut Leftovers) -> Result<(), FileError> {
    if crate::hex::digest(digest).is_err() {
        found.others += 1;
        return Ok(());
    }
    let text = read_file(&root.join(name))?.unwrap_or_default();
    if hallmark_policy::hex(&sha256(&text)) != digest {
        found.findings.add(&format!("`{name}` does not have the SHA-256 that its name says"));
    }
    Ok(())
}

fn look_at_pruned(root: &Path, size: u64, found: &mut Leftovers) -> Result<(), FileError> {
    let text = files::read_up_to(&root.join(PRUNED_BEFORE), PRUNED_BYTES_MAX)?;
    let number = std::str::from_utf8(&text).ok().and_then(|text| text.strip_suffix('\n'));
    found.pruned_before = number.and_then(|number| number.parse().ok()).filter(|number| *number <= size);
    if found.pruned_before.is_none() {
        found.findings.add(&format!("`{PRUNED_BEFORE}` holds no number of entries of this log"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_strangers_and_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["one", "two", "three"] {
            symlink(directory.path(), directory.path().join(name)).unwrap();
        }
        fs::create_dir(directory.path().join("policies")).unwrap();
        symlink("/etc/passwd", directory.path().join("policies").join("ab".repeat(32))).unwrap();
        let found = look(directory.path(), 5).unwrap();
        assert_eq!((found.others, found.findings.kept()), (4, &[][..]));
    }

    #[test]
    fn what_is_said_to_be_pruned_is_a_number_of_entries() {
        let directory = tempfile::tempdir().unwrap();
        let said = |text: &str| {
            fs::write(directory.path().join(PRUNED_BEFORE), text).unwrap();
            look(directory.path(), 500).unwrap()
        };
        assert_eq!((said("256\n").pruned_before, said("256\n").others), (Some(256), 0));
        for wrong in ["", "256", "501\n", "-1\n", "many\n"] {
            assert_eq!(said(wrong).findings.kept(), ["`pruned-before` holds no number of entries of this log"]);
        }
    }
}
