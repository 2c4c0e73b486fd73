//! `hallmark log range`: some entries, by number or by time, each proven to be in the log, without reading all of it.

use std::{cell::RefCell, collections::VecDeque, path::Path};

use hallmark_entry::Summary;
use hallmark_policy::time::UnixTime;
use hallmark_tlog::{
    audit::LogFiles,
    bundle,
    hash::Hash,
    proof::{prove_inclusion, verify_inclusion},
    published::PublishedNodes,
    tile::TILE_WIDTH,
};

use super::{entries::DISORDER_MILLIS_MAX, entries_of, opened::Opened, printer::Printer, source::Source};
use crate::{arguments::RangeArguments, exit::Exit, files::FileError, problem::Problem, screen::Screen, when};

/// Tiles that are kept: those of one bundle's proofs, in a log of any size, in both of their names. Some 0.5 MB.
const TILES_KEPT: usize = 64;

/// Prints them.
pub(crate) fn range(arguments: &RangeArguments, config: Option<&Path>, screen: &Screen) -> Result<Exit, Problem> {
    let opened = Opened::new(&arguments.log, config)?;
    let size = opened.head.size();
    // What is pruned is passed over, unless it is asked for by its number.
    let (from, last) =
        (arguments.from.unwrap_or(opened.pruned_before), arguments.to.unwrap_or(u64::MAX).min(size.saturating_sub(1)));
    if from >= size || from > last {
        return Err(Problem::NoSuchEntry { size, from });
    }
    let times = Times::of(arguments.since, arguments.until);
    let bundles = from / TILE_WIDTH..last / TILE_WIDTH + 1;
    let mut printer = Printer::new(screen, arguments.format)?;
    let tiles = Tiles::of(&opened.source);
    for index in times.first_bundle(&opened, &tiles, bundles.start, bundles.end)?..bundles.end {
        let entries = proven(&opened, &tiles, index, from, last)?;
        let is_over = entries.first().is_some_and(|(_, entry)| times.are_over(entry));
        for (number, entry) in entries.iter().filter(|(_, entry)| times.admit(entry)) {
            printer.print(*number, entry)?;
        }
        if is_over {
            break;
        }
    }
    let printed = printer.close()?;
    let each = if printed == 0 { "none is of that time" } else { "each proven to be there" };
    screen.say(&format!("{} of the {} in the log: {each}.", when::number(printed), entries_of(size)));
    if times.are_limits() {
        screen.say(
            "They were found by their times, which follow each other in a log that `hallmark log verify` finds good.",
        );
    }
    Ok(Exit::Done)
}

/// The times that are wanted, in milliseconds since 1970.
struct Times {
    since: Option<i64>,
    until: Option<i64>,
}

impl Times {
    fn of(since: Option<UnixTime>, until: Option<UnixTime>) -> Self {
        let millis = |time: UnixTime| time.secs().saturating_mul(1_000);
        Self { since: since.map(millis), until: until.map(|time| millis(time).saturating_add(999)) }
    }

    fn are_limits(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    fn admit(&self, entry: &[u8]) -> bool {
        if !self.are_limits() {
            return true;
        }
        let time = time_of(entry);
        time.is_some_and(|time| {
            self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until)
        })
    }

    /// Whether all that follows this entry is later: times lie a little behind those before them at most.
    fn are_over(&self, entry: &[u8]) -> bool {
        self.until.zip(time_of(entry)).is_some_and(|(until, time)| time > until.saturating_add(DISORDER_MILLIS_MAX))
    }

    /// The first of the bundles that may hold an entry of the times, by halves.
    fn first_bundle(&self, opened: &Opened, tiles: &Tiles<'_>, first: u64, end: u64) -> Result<u64, Problem> {
        let Some(since) = self.since else { return Ok(first) };
        let earliest = since.saturating_sub(DISORDER_MILLIS_MAX);
        let (mut low, mut high) = (first, end);
        while low < high {
            let middle = low + (high - low) / 2;
            let number = middle * TILE_WIDTH;
            let begins = proven(opened, tiles, middle, number, number)?;
            if begins.first().and_then(|(_, entry)| time_of(entry)).is_some_and(|time| time < earliest) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        // The bundle before begins too early, and may end late enough.
        Ok(low.saturating_sub(1).max(first))
    }
}

/// Hash tiles that were read last: the proofs of neighbours have them in common.
struct Tiles<'a> {
    source: &'a Source,
    read: RefCell<VecDeque<(String, Option<Vec<u8>>)>>,
}

impl<'a> Tiles<'a> {
    fn of(source: &'a Source) -> Self {
        Self { source, read: RefCell::default() }
    }
}

impl LogFiles for Tiles<'_> {
    type Error = FileError;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, FileError> {
        if let Some((_, content)) = self.read.borrow().iter().find(|(known, _)| known == path) {
            return Ok(content.clone());
        }
        let content = self.source.read(path)?;
        let mut read = self.read.borrow_mut();
        if read.len() == TILES_KEPT {
            read.pop_front();
        }
        read.push_back((path.to_owned(), content.clone()));
        Ok(content)
    }
}

fn time_of(entry: &[u8]) -> Option<i64> {
    Summary::parse(entry).ok().map(|entry| entry.time)
}

/// The entries of one bundle between the two indexes, each proven.
fn proven(
    opened: &Opened,
    tiles: &Tiles<'_>,
    bundle: u64,
    from: u64,
    last: u64,
) -> Result<Vec<(u64, Vec<u8>)>, Problem> {
    let (size, root) = (opened.head.size(), opened.head.root());
    let (path, bytes) = opened.source.bundle(bundle, size)?;
    let entries = bundle::decode(&bytes).map_err(|source| Problem::Bundle { path: path.clone(), source })?;
    let nodes = PublishedNodes::new(tiles, size);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_is_read_once_and_few_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let source = Source::Directory(directory.path().to_owned());
        let tiles = Tiles::of(&source);
        std::fs::write(directory.path().join("a"), "first").unwrap();
        assert_eq!(tiles.read("a").unwrap().as_deref(), Some(&b"first"[..]));
        std::fs::write(directory.path().join("a"), "second").unwrap();
        assert_eq!(tiles.read("a").unwrap().as_deref(), Some(&b"first"[..]), "it was kept");
        for number in 0..TILES_KEPT {
            assert_eq!(tiles.read(&number.to_string()).unwrap(), None);
        }
        assert_eq!(tiles.read("a").unwrap().as_deref(), Some(&b"second"[..]), "it was read again");
    }
}
