//! What an interrupted run has left at the target.

use std::collections::BTreeSet;

use hallmark_tlog::tile::{self, TILE_WIDTH, TilePath};

use crate::{carry::OPENINGS, problem::Problem, target::Target};

/// Where bundles are.
const BUNDLES: &str = "tile/entries";

/// Bundles and openings of entries that are pruned, and still there.
pub(crate) async fn pruned(target: &Target, before: u64) -> Result<Vec<String>, Problem> {
    let mut found = target.list(BUNDLES).await?;
    found.extend(target.list(OPENINGS).await?);
    let is_pruned = |name: &String| {
        let bundle = name.replacen(OPENINGS, BUNDLES, usize::from(name.starts_with(OPENINGS)));
        TilePath::parse(&bundle).is_ok_and(|path| (path.index() + 1) * TILE_WIDTH <= before)
    };
    Ok(found.into_iter().filter(is_pruned).collect())
}

/// Partial files of the last row of each kind, and of the one before it.
pub(crate) async fn partial(target: &Target, size: u64) -> Result<BTreeSet<TilePath>, Problem> {
    let mut found = BTreeSet::new();
    for kind in tile::kinds(size) {
        let last = tile::nodes(kind, size) / TILE_WIDTH;
        for row in last.saturating_sub(1)..=last {
            let full = TilePath::of_row(kind, row, u64::MAX);
            let names = target.list(&format!("{full}.p")).await?;
            found.extend(names.iter().filter_map(|name| TilePath::parse(name).ok()));
        }
    }
    Ok(found)
}

/// Whether there are files of private values.
pub(crate) async fn has_openings(target: &Target) -> Result<bool, Problem> {
    target.has_any(OPENINGS).await
}
