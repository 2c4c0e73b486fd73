//! `hallmark log range`: some entries, each proven to be in the log, without reading all of it.

use std::path::Path;

use hallmark_tlog::{
    bundle,
    hash::Hash,
    proof::{prove_inclusion, verify_inclusion},
    published::PublishedNodes,
    tile::TILE_WIDTH,
};

use super::{entries_of, opened::Opened, printer::Printer};
use crate::{arguments::RangeArguments, exit::Exit, problem::Problem, screen::Screen};

/// Prints them.
pub(crate) fn range(arguments: &RangeArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let opened = Opened::new(&arguments.log, config)?;
    let size = opened.head.size();
    let last = arguments.to.unwrap_or(u64::MAX).min(size.saturating_sub(1));
    if arguments.from >= size || arguments.from > last {
        return Err(Problem::NoSuchEntry { size, from: arguments.from });
    }
    let mut printer = Printer::new(screen, arguments.format)?;
    for index in arguments.from / TILE_WIDTH..=last / TILE_WIDTH {
        for (number, entry) in proven(&opened, index, arguments.from, last)? {
            printer.print(number, &entry)?;
        }
    }
    let printed = printer.close()?;
    screen.say(&format!("{}, each proven to be in the log of {}.", entries_of(printed), entries_of(size)));
    Ok(Exit::Done)
}

/// The entries of one bundle between the two indexes, each proven.
fn proven(opened: &Opened, bundle: u64, from: u64, last: u64) -> Result<Vec<(u64, Vec<u8>)>, Problem> {
    let (size, root) = (opened.head.size(), opened.head.root());
    let (path, bytes) = opened.source.bundle(bundle, size)?;
    let entries = bundle::decode(&bytes).map_err(|source| Problem::Bundle { path: path.clone(), source })?;
    let nodes = PublishedNodes::new(&opened.source, size);
    let mut found = Vec::new();
    for (entry, index) in entries.into_iter().zip(bundle * TILE_WIDTH..).filter(|(_, at)| (from..=last).contains(at)) {
        let proof = prove_inclusion(&nodes, index, size);
        let proof = proof.map_err(|error| Problem::Unproven { sentence: error.to_string() })?;
        let held = verify_inclusion(&Hash::of_leaf(entry), index, size, &proof, &root);
        held.map_err(|error| Problem::Unproven { sentence: format!("entry {index} in `{path}`: {error}") })?;
        found.push((index, entry.to_vec()));
    }
    Ok(found)
}
