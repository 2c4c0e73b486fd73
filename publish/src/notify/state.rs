//! How far the log was sent, in a file: what begins there is sent by the next run.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use hallmark_tlog::{frontier::Frontier, hash::Hash};

use crate::problem::Problem;

/// How far a log was looked at: its first entries, so many, and their root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) next: u64,
    /// None before the first look.
    pub(super) root: Option<Hash>,
}

impl Position {
    pub(super) fn of(frontier: &Frontier) -> Self {
        Self { next: frontier.size(), root: Some(frontier.root()) }
    }

    /// Nothing before the first run.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Problem> {
        let file = |source| Problem::File { path: path.to_owned(), source };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file(error)),
        };
        let invalid =
            || file(io::Error::new(io::ErrorKind::InvalidData, "it holds no number of entries with their root"));
        let mut lines = text.lines();
        let next = lines.next().and_then(|next| next.parse().ok()).ok_or_else(invalid)?;
        let root = lines.next().map(|root| Hash::from_base64(root).ok_or_else(invalid)).transpose()?;
        Ok(Some(Self { next, root }))
    }

    pub(super) fn write(self, path: &Path) -> Result<(), Problem> {
        let root = self.root.map(|root| format!("{root}\n")).unwrap_or_default();
        replace(path, &format!("{}\n{root}", self.next))
    }
}

/// Writes a file beside its place and moves it there: it is whole after a crash.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), Problem> {
    let write = || {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".tmp");
        let mut file = fs::File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| Problem::File { path: path.to_owned(), source })
}
