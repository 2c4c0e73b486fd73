//! Openings of private values, where they are published: `openings/` has a file for each bundle with private values.

use std::collections::BTreeMap;

use hallmark_entry::{
    Value,
    privacy::{COMMITMENT, Opening},
};
use hallmark_tlog::{audit::LogFiles as _, tile::TilePath};

use super::source::Source;

/// Where they are, in the place of `tile/entries`.
pub(crate) const DIRECTORY: &str = "openings";

/// The file of openings that goes with a bundle.
pub(crate) fn path_of(bundle: TilePath) -> String {
    bundle.to_string().replacen("tile/entries", DIRECTORY, 1)
}

/// The openings that go with one bundle. They are read when the first private value is met.
pub(crate) struct Bundle<'a> {
    source: &'a Source,
    path: TilePath,
    /// How a commitment begins.
    mark: String,
    read: Option<BTreeMap<u64, Vec<Opening>>>,
    strays: Vec<String>,
    /// Entries with private values that were met.
    met: Vec<u64>,
}

impl<'a> Bundle<'a> {
    pub(crate) fn new(source: &'a Source, path: TilePath) -> Self {
        let mark = format!("{{\"{COMMITMENT}\":\"");
        Self { source, path, mark, read: None, strays: Vec::new(), met: Vec::new() }
    }

    /// The openings that open something of this entry. Others are strays.
    pub(crate) fn of(&mut self, index: u64, entry: &[u8]) -> &[Opening] {
        // What is not UTF-8 is no entry, and has nothing private. Texts are searched many bytes at once.
        let has_private = std::str::from_utf8(entry).is_ok_and(|entry| entry.contains(self.mark.as_str()));
        if !has_private {
            return &[];
        }
        self.met.push(index);
        if self.read.is_none() {
            self.read = Some(self.load());
        }
        let Some(openings) = self.read.as_mut().and_then(|read| read.get_mut(&index)) else { return &[] };
        let value = Value::read(entry);
        let (path, strays) = (path_of(self.path), &mut self.strays);
        openings.retain(|opening| {
            let opens = value.as_ref().is_some_and(|entry| opening.opens(entry));
            if !opens {
                strays
                    .push(format!("`{path}` has an opening of `{}` that is not that of entry {index}", opening.key()));
            }
            opens
        });
        openings
    }

    /// What is wrong with the file. Openings of entries without private values are wrong, too.
    pub(crate) fn into_strays(mut self) -> Vec<String> {
        let (path, met) = (path_of(self.path), &self.met);
        let others = self.read.iter().flatten().map(|(index, _)| index).filter(|index| !met.contains(index));
        let others =
            others.map(|index| format!("`{path}` opens something of entry {index}, which has nothing private"));
        self.strays.extend(others);
        self.strays
    }

    fn load(&mut self) -> BTreeMap<u64, Vec<Opening>> {
        let mut found: BTreeMap<u64, Vec<Opening>> = BTreeMap::new();
        let bundles = [self.path, self.path.full()];
        let first = self.path.index() * hallmark_tlog::tile::TILE_WIDTH;
        let range = first..first + hallmark_tlog::tile::TILE_WIDTH;
        for path in bundles.into_iter().map(path_of) {
            let bytes = match self.source.read(&path) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(error) => {
                    self.strays.push(error.to_string());
                    continue;
                }
            };
            for (line, number) in bytes.split_inclusive(|byte| *byte == b'\n').zip(1_usize..) {
                let opening = line.strip_suffix(b"\n").map(Opening::parse);
                match opening {
                    Some(Ok((index, opening))) if range.contains(&index) => {
                        found.entry(index).or_default().push(opening)
                    }
                    Some(_) | None => {
                        self.strays.push(format!("`{path}`, line {number}, is no opening of this bundle"))
                    }
                }
            }
            return found;
        }
        found
    }
}
