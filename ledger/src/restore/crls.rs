//! CRLs that relying parties may have: those of the next log are numbered after them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use hallmark_policy::{crl::CRL_BYTES_MAX, key::PublicKey};
use rusqlite::Connection;

use super::{CrlNumber, RestoreError};
use crate::{AuthorityRecord, EpochRecord, Epochs, OpenError, publish::files::Files};

/// Where CRLs stand in a published log.
const CRLS: &str = "crl";

/// The newest that were found, by their paths in a published log.
pub(super) struct Crls(BTreeMap<String, Found>);

struct Found {
    /// cRLNumber under the key that the backup has for its issuer; none where it has none, such as of an epoch that came after it.
    number: Option<u64>,
    der: Vec<u8>,
}

impl Crls {
    /// Looks into published logs. Of two under one name the one with the larger number is the newer, whatever the dates of the files; of those whose
    /// issuer the backup does not know, the first.
    pub(super) fn look(
        connection: &Connection,
        published: &[&Path],
        number: CrlNumber<'_>,
    ) -> Result<Self, RestoreError> {
        let mut this = Self(BTreeMap::new());
        for directory in published.iter().map(|published| published.join(CRLS)) {
            for authority in names(&directory, fs::FileType::is_dir)? {
                let below = directory.join(&authority);
                for file in names(&below, fs::FileType::is_file)? {
                    let Some(issuer) = Issuer::of_file(&file) else { continue };
                    let key = issuer.key(connection, &authority)?;
                    this.take(format!("{CRLS}/{authority}/{file}"), &below.join(&file), key.as_ref(), number)?;
                }
            }
        }
        Ok(this)
    }

    fn take(
        &mut self,
        name: String,
        path: &Path,
        key: Option<&PublicKey>,
        number: CrlNumber<'_>,
    ) -> Result<(), RestoreError> {
        let der = read_bounded(path)?;
        let number = match key {
            None => None,
            // Where it is left out, the next ones could have numbers that relying parties have seen.
            Some(key) => Some(number(&der, key).ok_or_else(|| RestoreError::Crl { path: path.to_owned() })?),
        };
        if self.0.get(&name).is_none_or(|before| number > before.number) {
            self.0.insert(name, Found { number, der });
        }
        Ok(())
    }

    /// Writes them where the next log is published, each whole or not at all. What an earlier call wrote is written again.
    pub(super) fn write(self, publish: &Path) -> Result<(), RestoreError> {
        let files = Files::new(publish.to_owned());
        self.0.iter().try_for_each(|(name, found)| files.write(name, &found.der))?;
        Ok(files.sync_directories()?)
    }
}

/// Who signed a CRL, by the name of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Issuer {
    Root,
    Epoch(u64),
}

impl Issuer {
    /// `root.crl`, `epoch-GENERATION.crl` or `epoch-GENERATION-PARTITION.crl`; others are none.
    fn of_file(name: &str) -> Option<Self> {
        if name == "root.crl" {
            return Some(Self::Root);
        }
        let numbers = name.strip_prefix("epoch-")?.strip_suffix(".crl")?;
        let parsed = |digits: &str| digits.parse::<u64>().ok().filter(|number| number.to_string() == digits);
        match numbers.split_once('-') {
            Some((generation, partition)) => {
                parsed(partition).filter(|partition| *partition > 0)?;
                parsed(generation).map(Self::Epoch)
            }
            None => parsed(numbers).map(Self::Epoch),
        }
    }

    /// Its key, where the database has it.
    fn key(self, connection: &Connection, authority: &str) -> Result<Option<PublicKey>, RestoreError> {
        let stored = match self {
            Self::Root => AuthorityRecord::read(connection, Some(authority))?.pop().and_then(|found| found.key),
            Self::Epoch(generation) => {
                let found = EpochRecord::read(connection, authority, Epochs::Generation(generation))?.pop();
                found.and_then(|found| found.key)
            }
        };
        let parsed = stored.map(|key| PublicKey::parse(&key.spki)).transpose();
        parsed.map_err(|error| RestoreError::Key { authority: authority.to_owned(), detail: error.to_string() })
    }
}

/// The plain names in a directory that are of a kind, which a link is not; none where there is no such directory.
fn names(directory: &Path, is_wanted: fn(&fs::FileType) -> bool) -> Result<Vec<String>, RestoreError> {
    let failed = |source| failed(directory, source);
    let listed = match fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        listed => listed.map_err(failed)?,
    };
    let mut names = Vec::new();
    for found in listed {
        let found = found.map_err(failed)?;
        if is_wanted(&found.file_type().map_err(failed)?) {
            names.extend(found.file_name().into_string().ok().filter(|name| crate::is_backup_name(name)));
        }
    }
    names.sort();
    Ok(names)
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, RestoreError> {
    let mut der = Vec::new();
    let most = CRL_BYTES_MAX as u64 + 1;
    let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut der));
    match read.map_err(|source| failed(path, source))? {
        bytes if bytes > CRL_BYTES_MAX => Err(RestoreError::Crl { path: path.to_owned() }),
        _ => Ok(der),
    }
}

fn failed(path: &Path, source: io::Error) -> RestoreError {
    OpenError::Io { path: path.to_owned(), source }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_crl_by_the_names_that_the_signer_gives_and_no_other() {
        assert_eq!(Issuer::of_file("root.crl"), Some(Issuer::Root));
        assert_eq!(Issuer::of_file("epoch-7.crl"), Some(Issuer::Epoch(7)));
        assert_eq!(Issuer::of_file("epoch-7-12.crl"), Some(Issuer::Epoch(7)));
        for name in
            ["", "root", "root.crl.tmp", "epoch-.crl", "epoch-07.crl", "epoch-7-0.crl", "epoch-7-x.crl", "e.crl"]
        {
            assert_eq!(Issuer::of_file(name), None, "{name}");
        }
    }
}
