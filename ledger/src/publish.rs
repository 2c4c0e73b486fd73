//! The thread that publishes the log as files (C2SP `tlog-tiles`): derived, and filled again wherever they are missing.

pub(crate) mod files;
pub(crate) mod tree;

use std::{
    fs,
    path::{Component, Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hallmark_tlog::{
    note::VerifierKey,
    tile::{self, CHECKPOINT_PATH, TILE_WIDTH, TileKind, TilePath},
};
use rusqlite::Connection;

use crate::{LedgerConfig, open, origin::Origin, shared::Shared, signing::Signed};
use files::{Files, PublishError};
use tree::{Tree, openings_path};

/// Least time between the beginnings of two publications while entries keep coming. What is committed is published within a second, as the documentation says.
const PUBLISH_EVERY: Duration = Duration::from_millis(300);

/// How long to wait before a failed publication is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often publishing is tried at the very end.
const LAST_TRIES: u32 = 3;

/// The newest signed checkpoint, handed from who signs to who publishes. Older ones that were not published are skipped.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    signed: Option<Signed>,
    stopping: bool,
}

impl Newest {
    /// There is a newer one.
    pub(crate) fn offer(&self, signed: Signed) {
        self.lock().signed = Some(signed);
        self.changed.notify_all();
    }

    /// Nothing newer comes.
    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    /// Waits for one that is not published, not before `earliest` unless it is the last; `None` at the end.
    fn wait(&self, earliest: Instant) -> Option<(Signed, bool)> {
        let mut state = self.lock();
        loop {
            let early = earliest.saturating_duration_since(Instant::now());
            match (&state.signed, state.stopping) {
                (None, true) => return None,
                (Some(_), true) => {}
                (Some(_), false) if early.is_zero() => {}
                (Some(_), false) => {
                    state = self.changed.wait_timeout(state, early).unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
                (None, false) => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
            }
            let last = state.stopping;
            return state.signed.take().map(|signed| (signed, last));
        }
    }

    /// Gives one back that could not be published, unless there is a newer one.
    fn put_back(&self, signed: Signed) {
        self.lock().signed.get_or_insert(signed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread owns.
pub(crate) struct Publishing {
    connection: Connection,
    shared: Arc<Shared>,
    files: Files,
    origin: Origin,
    database: PathBuf,
    verifiers: Vec<VerifierKey>,
    checkpoint: Kept,
    /// Gets every published checkpoint.
    anchor: Option<Kept>,
    is_anchored: bool,
    /// Size of the checkpoint that is published; 0 without one.
    published: u64,
}

/// A file that gets checkpoints, and nobody else's.
struct Kept {
    path: PathBuf,
    /// What this run wrote last.
    written: Option<Vec<u8>>,
}

impl Kept {
    fn new(path: PathBuf) -> Self {
        Self { path, written: None }
    }

    /// Whether it holds what this run wrote last.
    fn is_ours(&self) -> bool {
        self.written.as_ref().is_some_and(|ours| fs::read(&self.path).is_ok_and(|found| found == *ours))
    }
}

impl Publishing {
    /// Goes on from a published checkpoint of that size.
    pub(crate) fn new(
        connection: Connection,
        shared: Arc<Shared>,
        config: &LedgerConfig,
        (origin, verifiers): (Origin, Vec<VerifierKey>),
        published: u64,
    ) -> Self {
        let checkpoint = Kept::new(config.publish.join(CHECKPOINT_PATH));
        Self {
            connection,
            shared,
            files: Files::new(config.publish.clone()),
            origin,
            database: config.database.clone(),
            verifiers,
            checkpoint,
            anchor: config.anchor.clone().map(Kept::new),
            is_anchored: false,
            published,
        }
    }

    /// Works until [`Newest::stop`], to the very end.
    pub(crate) fn run(mut self, newest: &Newest) {
        let mut earliest = Instant::now();
        let mut last_tries = 0;
        while let Some((signed, last)) = newest.wait(earliest) {
            earliest = Instant::now() + PUBLISH_EVERY;
            if let Err(error) = self.publish(&signed) {
                if error.is_of_an_older_database() {
                    return self.shared.poison(error.to_string());
                }
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "the log could not be published; minting goes on, and it is tried again");
                earliest = Instant::now() + RETRY_AFTER;
                last_tries += u32::from(last);
                if last_tries < LAST_TRIES {
                    newest.put_back(signed);
                }
            }
        }
    }

    /// Brings the files up to that checkpoint. The checkpoint comes last, when all it signs is on the disk.
    fn publish(&mut self, signed: &Signed) -> Result<(), PublishError> {
        // An anchor that was configured since is there from the first checkpoint of a run on.
        let anchors = self.anchor.as_ref().is_some_and(|anchor| anchor.written.is_none());
        if signed.size == 0 || signed.size == self.published && !anchors {
            return Ok(());
        }
        let note = signed.note.to_string().into_bytes();
        let found = self.found_in(&self.checkpoint, signed)?;
        self.anchor.as_ref().map(|anchor| self.found_in(anchor, signed)).transpose()?;
        let tree = Tree { connection: &self.connection, files: &self.files, origin: self.origin };
        tree.publish(self.published.min(found), signed)?;
        self.checkpoint.written = Some(note.clone());
        if let Some(anchor) = &mut self.anchor {
            files::write_anchor(&anchor.path, &note)?;
            anchor.written = Some(note);
            if !self.is_anchored {
                self.shared.was_anchored()?;
                self.is_anchored = true;
            }
        }
        self.shared.was_published(signed.size);
        self.remove_partial(signed.size)?;
        self.published = signed.size;
        Ok(())
    }

    /// The size of the checkpoint that is to be replaced. Another than the last one is one of a daemon that has an older or newer copy of the database,
    /// or was put back from a backup: only one that this log continues is replaced.
    fn found_in(&self, kept: &Kept, signed: &Signed) -> Result<u64, PublishError> {
        if kept.is_ours() {
            return Ok(self.published);
        }
        let found = open::check_anchor(&self.database, &self.connection, signed.size, &self.verifiers, &kept.path);
        found.map(|size| size.unwrap_or(self.published)).map_err(|error| PublishError::Replaced(Box::new(error)))
    }

    /// Removes the partial files of what is published in full by now: whoever still reads an earlier size finds what it signs at the beginning of the full
    /// file (C2SP `tlog-tiles`, partial tiles).
    fn remove_partial(&self, current: u64) -> Result<(), PublishError> {
        let partial = |kind| {
            let last = tile::nodes(kind, self.published) / TILE_WIDTH;
            let full = tile::nodes(kind, current) / TILE_WIDTH;
            // The one before has some where an earlier run ended before it had removed them.
            (last.saturating_sub(1)..full.min(last + 1)).map(move |index| (kind, index))
        };
        for (kind, index) in tile::kinds(current).flat_map(partial) {
            let full = TilePath::of_row(kind, index, u64::MAX);
            self.files.remove_partial(&full.to_string())?;
            if kind == TileKind::Entries {
                self.files.remove_partial(&openings_path(full))?;
            }
        }
        Ok(())
    }
}

/// A directory in which another log is.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) directory: PathBuf,
}

/// The path of a directory without links, also if it is not there yet; none that goes back through what is not there.
fn resolved(directory: &Path) -> Option<PathBuf> {
    let directory = std::path::absolute(directory).ok()?;
    let (there, found) = directory.ancestors().find_map(|there| Some((there, there.canonicalize().ok()?)))?;
    let rest = directory.strip_prefix(there).ok()?;
    rest.components().all(|part| matches!(part, Component::Normal(_))).then(|| found.join(rest))
}

/// Whether a log of that name may be written into a directory: it is not the one that is in use, in it or above it, and has no checkpoint of another log. What does
/// not read as a checkpoint is somebody's, too.
pub(crate) fn is_free_for(origin: &str, directory: &Path, in_use: &Path) -> Result<(), Taken> {
    let taken = || Err(Taken { directory: directory.to_owned() });
    let (Some(wanted), Some(used)) = (resolved(directory), resolved(in_use)) else { return taken() };
    if wanted.starts_with(&used) || used.starts_with(&wanted) {
        return taken();
    }
    match fs::read(directory.join(CHECKPOINT_PATH)) {
        Ok(found) if found.split(|byte| *byte == b'\n').next() != Some(origin.as_bytes()) => taken(),
        // One that is not there, or no directory: writing says what is wrong.
        Ok(_) | Err(_) => Ok(()),
    }
}
