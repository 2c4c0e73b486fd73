//! What an audit can find, in sentences that name file and entry.

use alloc::string::String;

use crate::{bundle::BundleError, hash::Hash, tile::TilePath};

/// Most findings that are kept. A log with more is not repaired one by one.
pub const FINDINGS_MAX: usize = 1_000;

/// One thing that is wrong with a published log. Entries are numbered from 0 in the whole log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A file that the signed size calls for is not there.
    #[error("`{path}` is missing; it holds what entries {first_entry} to {last_entry} are checked with")]
    Missing {
        /// Which file.
        path: TilePath,
        /// First entry that it stands for.
        first_entry: u64,
        /// Last entry that it stands for.
        last_entry: u64,
    },
    /// A bundle does not read.
    #[error("`{path}` cannot be read from entry {entry} on: {reason}")]
    BundleMalformed {
        /// Which file.
        path: TilePath,
        /// The entry at which reading ended.
        entry: u64,
        /// What is wrong.
        reason: BundleError,
    },
    /// A bundle has more or fewer entries than its path says.
    #[error("`{path}` has {found} entries instead of {wanted}, the first being entry {first_entry}")]
    EntryCount {
        /// Which file.
        path: TilePath,
        /// Its first entry.
        first_entry: u64,
        /// How many belong there.
        wanted: u64,
        /// How many are there.
        found: u64,
    },
    /// An entry and its leaf hash do not belong together.
    #[error("entry {entry} in `{bundle}` does not have the hash in `{tile}`; {}", blame(.altered.as_ref()))]
    EntryDiffers {
        /// The file of the entry.
        bundle: TilePath,
        /// The file of the hash.
        tile: TilePath,
        /// Which entry.
        entry: u64,
        /// Which of the two files the signed root speaks against, where it decides.
        altered: Option<TilePath>,
    },
    /// A hash tile is not as long as its width says.
    #[error("`{path}` has {found} bytes instead of {wanted}; it stands for entries from {first_entry} on")]
    TileLength {
        /// Which file.
        path: TilePath,
        /// The first entry it stands for.
        first_entry: u64,
        /// How many bytes belong there.
        wanted: u64,
        /// How many are there.
        found: u64,
    },
    /// A hash in a tile is not that of the entries below it.
    #[error("hash {position} in `{path}` is not that of entries {first_entry} to {last_entry}")]
    TileDiffers {
        /// Which file.
        path: TilePath,
        /// Which hash in it, from 0.
        position: u64,
        /// First entry under that hash.
        first_entry: u64,
        /// Last entry under that hash.
        last_entry: u64,
    },
    /// The entries do not give the signed root.
    #[error("the {size} entries give the root {computed}, but `checkpoint` signs {signed}")]
    RootDiffers {
        /// How many entries.
        size: u64,
        /// The root in the checkpoint.
        signed: Hash,
        /// The root of the entries.
        computed: Hash,
    },
    /// No root could be computed.
    #[error("no root can be computed: neither entries nor hashes from entry {first_entry} on can be read")]
    RootUnknown {
        /// First entry of the first gap.
        first_entry: u64,
    },
    /// An anchor is of another log.
    #[error("the anchor is a checkpoint of `{anchor}`, which is another log than `{origin}`")]
    AnchorOfAnotherLog {
        /// Origin of the anchor.
        anchor: String,
        /// Origin of this log.
        origin: String,
    },
    /// The log is shorter than it was.
    #[error("the log has {size} entries, but had {anchor_size} when the anchor was signed; entries were removed")]
    ShorterThanAnchor {
        /// Size now.
        size: u64,
        /// Size then.
        anchor_size: u64,
    },
    /// The log is not a continuation of what it was.
    #[error("the first {anchor_size} entries are not those that the anchor signs; the log was rewritten before that")]
    AnchorDiffers {
        /// Size of the anchor.
        anchor_size: u64,
    },
}

fn blame(altered: Option<&TilePath>) -> String {
    match altered {
        Some(path) => alloc::format!("by the signed root `{path}` was altered"),
        None => "one of the two files was altered".into(),
    }
}
