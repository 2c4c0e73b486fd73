//! Openings of private values, where they are published: `openings/` has a file for each bundle with private values.

use std::collections::BTreeMap;

use hallmark_entry::{
    Value,
    privacy::{COMMITMENT, Opening},
};
use hallmark_tlog::{
    audit::LogFiles as _,
    tile::{TILE_WIDTH, TilePath},
};

use super::{findings::Findings, show, source::Source};

/// Where they are, in the place of `tile/entries`.
pub(crate) const DIRECTORY: &str = "openings";

/// The file of openings that goes with a bundle.
pub(crate) fn path_of(bundle: TilePath) -> String {
    bundle.to_string().replacen("tile/entries", DIRECTORY, 1)
}

/// Most openings of one entry. There are fewer members that can be private; later versions may have more.
const OPENINGS_OF_ENTRY_MAX: usize = 64;

/// What a file opens, by the index of the entry.
pub(crate) type Opened = BTreeMap<u64, Vec<Opening>>;

/// Reads a file of openings. Its first line that does not belong there makes all of it worthless: the number of that line is given.
pub(crate) fn read(bytes: &[u8], bundle: TilePath) -> Result<Opened, usize> {
    let first = bundle.index().saturating_mul(TILE_WIDTH);
    let range = first..first.saturating_add(TILE_WIDTH);
    let mut found = Opened::new();
    for (line, number) in bytes.split_inclusive(|byte| *byte == b'\n').zip(1_usize..) {
        let opening = line.strip_suffix(b"\n").and_then(|line| Opening::parse(line).ok());
        let (index, opening) = opening.filter(|(index, _)| range.contains(index)).ok_or(number)?;
        let of_entry = found.entry(index).or_default();
        let is_known = of_entry.iter().any(|known| known.key() == opening.key());
        if is_known || of_entry.len() == OPENINGS_OF_ENTRY_MAX {
            return Err(number);
        }
        of_entry.push(opening);
    }
    Ok(found)
}

/// The openings that go with one bundle. They are read when the first private value is met.
pub(crate) struct Bundle<'a> {
    source: &'a Source,
    path: TilePath,
    /// How a commitment begins.
    mark: String,
    read: Option<Opened>,
    strays: Findings,
    /// Entries with private values that were met.
    met: Vec<u64>,
}

impl<'a> Bundle<'a> {
    pub(crate) fn new(source: &'a Source, path: TilePath) -> Self {
        let mark = format!("{{\"{COMMITMENT}\":\"");
        Self { source, path, mark, read: None, strays: Findings::default(), met: Vec::new() }
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
                let key = show::cut(opening.key());
                strays.add(&format!("`{path}` has an opening of `{key}` that is not that of entry {index}"));
            }
            opens
        });
        openings
    }

    /// What is wrong with the file. Openings of entries without private values are wrong, too: where files cost nothing to look for,
    /// they are looked for also if nothing private was met.
    pub(crate) fn into_strays(mut self) -> Findings {
        if self.read.is_none() && self.source.directory().is_some() {
            self.read = Some(self.load());
        }
        let path = path_of(self.path);
        // A full file may stand in for a partial one: what comes after the signed size is not looked at.
        let end = self.path.index().saturating_mul(TILE_WIDTH).saturating_add(u64::from(self.path.width()));
        let others = self.read.iter().flatten().map(|(index, _)| *index);
        for index in others.filter(|index| *index < end && !self.met.contains(index)) {
            self.strays.add(&format!("`{path}` opens something of entry {index}, which has nothing private"));
        }
        self.strays
    }

    fn load(&mut self) -> Opened {
        for bundle in [self.path, self.path.full()] {
            let path = path_of(bundle);
            let opened = match self.source.read(&path) {
                Ok(Some(bytes)) => read(&bytes, bundle),
                Ok(None) => continue,
                Err(error) => {
                    self.strays.add(&error.to_string());
                    continue;
                }
            };
            return opened.unwrap_or_else(|line| {
                self.strays.add(&format!(
                    "`{path}`, line {line}, is no opening of this bundle, and nothing of that file counts"
                ));
                Opened::new()
            });
        }
        Opened::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(index: u64, key: &str) -> String {
        Opening::new(key.to_owned(), [7; 32], "[\"a\"]".to_owned()).to_line(index)
    }

    #[test]
    fn a_file_of_openings_is_taken_whole_or_not_at_all() {
        let bundle = TilePath::entries(1, 256).unwrap();
        let good = line(256, "names") + &line(256, "subject") + &line(511, "names");
        assert_eq!(read(good.as_bytes(), bundle).map(|read| read.len()), Ok(2));
        for (wrong, at) in
            [(line(255, "names"), 4), (line(512, "names"), 4), (line(256, "names"), 4), ("\n".repeat(4_000_000), 4)]
        {
            assert_eq!(read((good.clone() + &wrong).as_bytes(), bundle).map(|_| ()), Err(at));
        }
        assert_eq!(read(good.trim_end().as_bytes(), bundle).map(|_| ()), Err(3), "a line has an end");
        let many: String = (0..65).map(|number| line(300, &format!("key-{number}"))).collect();
        assert_eq!(read(many.as_bytes(), bundle).map(|_| ()), Err(65));
    }
}
