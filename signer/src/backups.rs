//! Backups that operators ask for: one at a time, in the background, while everything else goes on.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use hallmark_ledger::{BackedUp, BackupProgress, BackupWish, Event, UnixMillis, is_backup_name};
use hallmark_policy::{Reason, ReasonCode, reason::quote};
use hallmark_proto::{
    link::Reply,
    operator::{BackUpRequest, BackUpResponse},
};

use crate::{
    answer::{self, Failure},
    core::Inner,
    operate::decode,
    records::check_why,
};

/// Most backups in the directory: it is not where they are kept.
const BACKUPS_MAX: usize = 100;

/// Name of the policy in force in a backup.
const POLICY: &str = "policy.toml";

/// Where backups are made, and the last one.
pub(crate) struct Backups {
    directory: Option<PathBuf>,
    /// Files that go with each, by name.
    public_files: Vec<(String, PathBuf)>,
    last: Mutex<Option<Backup>>,
}

/// A backup that was begun by this run.
struct Backup {
    name: String,
    progress: Arc<BackupProgress>,
    /// Entry and receipt, once it stands in the log.
    logged: (u64, String),
    /// When it was begun.
    at: UnixMillis,
    /// What became of it; nothing while it is made.
    outcome: Option<Result<BackedUp, String>>,
}

impl Backups {
    pub(crate) fn new(directory: Option<PathBuf>, public_files: Vec<(String, PathBuf)>) -> Self {
        Self { directory, public_files, last: Mutex::default() }
    }

    fn last(&self) -> MutexGuard<'_, Option<Backup>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place of the one that is made, or says what there is.
    fn begin(&self, name: &str) -> Result<Begun, Failure> {
        let directory = self.directory.clone().ok_or_else(|| {
            let reason = differs("`ledger.backups` of signer.toml names no directory".to_owned());
            reason.allowing("an operator of the machine sets it, and restarts the daemon")
        })?;
        let mut last = self.last();
        match last.as_ref() {
            Some(backup) if backup.name == name => match &backup.outcome {
                Some(Err(sentence)) => {
                    let reason = Reason::new(ReasonCode::LedgerFailed, "name", sentence.clone());
                    // Whoever asks again has it tried again.
                    *last = None;
                    return Err(reason.into());
                }
                // One that was taken away since is none: whoever asks for that name wants another.
                Some(Ok(made)) if !made.directory.exists() => {}
                Some(Ok(_)) | None => return Ok(Begun::Before(Box::new(backup.answer()))),
            },
            Some(backup) if backup.outcome.is_none() => {
                let sentence = format!("the backup {} is being made", quote(&backup.name));
                return Err(differs(sentence).allowing("to wait until it is done").into());
            }
            Some(_) | None => {}
        }
        let kept = count(&directory).map_err(|error| {
            let sentence = format!("`{}` cannot be listed: {error}", directory.display());
            differs(sentence).allowing("to have it mended, or another directory for `ledger.backups`")
        })?;
        if kept >= BACKUPS_MAX {
            let reason = differs(format!("there are {BACKUPS_MAX} backups, and no more are kept on this machine"));
            return Err(reason
                .allowing("to take the oldest to another machine, and away from `ledger.backups`")
                .into());
        }
        let place = directory.join(name);
        if place.exists() {
            let reason = differs(format!("there is a backup {} already", quote(name)));
            return Err(reason.allowing("another name").into());
        }
        let progress = Arc::<BackupProgress>::default();
        let of_thread = Arc::clone(&progress);
        let (name, logged) = (name.to_owned(), (0, String::new()));
        *last = Some(Backup { name, progress, logged, at: UnixMillis(0), outcome: None });
        Ok(Begun::Now(directory, of_thread))
    }

    /// What is copied beside the database. A file that cannot be read is missed in a restore.
    fn public_files(&self) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        let read = |(name, path): &(String, PathBuf)| {
            let unreadable = |error| {
                let sentence = format!("`{}` cannot be read: {error}", path.display());
                let reason = Reason::new(ReasonCode::LedgerFailed, "name", sentence);
                Failure::from(reason.allowing("a file that is there, and that the daemon's user may read"))
            };
            Ok((name.clone(), fs::read(path).map_err(unreadable)?))
        };
        self.public_files.iter().map(read).collect()
    }

    fn set(&self, change: impl FnOnce(&mut Backup)) {
        if let Some(backup) = self.last().as_mut() {
            change(backup);
        }
    }

    fn give_up(&self) {
        *self.last() = None;
    }
}

/// What a call finds.
enum Begun {
    /// It is this call's to make it.
    Now(PathBuf, Arc<BackupProgress>),
    /// An earlier call began it.
    Before(Box<BackUpResponse>),
}

impl Backup {
    fn answer(&self) -> BackUpResponse {
        let (log_index, receipt) = self.logged.clone();
        let (pages_done, pages_total) = self.progress.pages();
        let at_millis = self.at.0;
        let response =
            BackUpResponse { log_index, receipt, pages_done, pages_total, at_millis, ..BackUpResponse::default() };
        match &self.outcome {
            Some(Ok(made)) => BackUpResponse {
                done: true,
                directory: made.directory.display().to_string(),
                log_size: made.size,
                log_root: made.root.as_bytes().to_vec().into(),
                database_bytes: made.bytes,
                removed: made.removed,
                ..response
            },
            Some(Err(_)) | None => response,
        }
    }
}

impl Inner {
    /// Begins a backup, or says how far it is. What is begun goes on, whether anybody asks or not.
    pub(crate) async fn back_up(self: &Arc<Self>, operator: &str, body: Bytes) -> Result<Reply, Failure> {
        let BackUpRequest { name, why } = decode(body)?;
        check_why(&why)?;
        if !is_backup_name(&name) {
            let reason = Reason::new(ReasonCode::FieldOutOfLimits, "name", format!("{} is no name", quote(&name)));
            let allowed = "letters, digits, `.`, `-` and `_`, 100 bytes at most, no `.` at the beginning";
            return Err(reason.allowing(allowed).into());
        }
        let (directory, progress) = match self.backups.begin(&name)? {
            Begun::Now(directory, progress) => (directory, progress),
            Begun::Before(answer) => return Ok(answer::success(answer.as_ref())),
        };
        let begun = self.begin_backup(operator, (name, why), directory, progress).await;
        begun.inspect_err(|_| self.backups.give_up())
    }

    async fn begin_backup(
        self: &Arc<Self>,
        operator: &str,
        (name, why): (String, String),
        directory: PathBuf,
        progress: Arc<BackupProgress>,
    ) -> Result<Reply, Failure> {
        let mut files = self.backups.public_files()?;
        files.push((POLICY.to_owned(), self.policy().text().as_bytes().to_vec()));
        let event = Event::BackUp { name: name.clone(), by: operator.to_owned(), why };
        let at = self.clock.wall().millis;
        let logged = self.ledger.record(event, at).await.map_err(|error| self.ledger_failed(&error))?;
        let receipt = self.receipt_or_none(logged).await;
        let logged = (receipt.log_index, receipt.text);
        self.backups.set(|backup| (backup.logged, backup.at) = (logged.clone(), at));
        let making = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let wish = BackupWish { directory, name, files };
            let made = making.ledger.back_up(&wish, &progress, at);
            match &made {
                Ok(made) => tracing::info!(directory = %made.directory.display(), size = made.size, "a backup is made"),
                Err(error) => tracing::error!(%error, "a backup could not be made; nothing of it is left"),
            }
            making.backups.set(|backup| backup.outcome = Some(made.map_err(|error| error.to_string())));
        });
        let (log_index, receipt) = logged;
        Ok(answer::success(&BackUpResponse { log_index, receipt, at_millis: at.0, ..BackUpResponse::default() }))
    }
}

/// How many there are in a directory; none where there is no such directory yet.
fn count(directory: &Path) -> io::Result<usize> {
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        listed => listed?,
    };
    let mut count = 0;
    for found in listed {
        count += usize::from(found?.file_name().to_str().is_some_and(is_backup_name));
    }
    Ok(count)
}

fn differs(sentence: String) -> Reason {
    Reason::new(ReasonCode::StateDiffers, "name", sentence)
}

#[cfg(test)]
mod tests {
    use hallmark_tlog::hash::Hash;

    use super::*;

    /// What the disk has and the process remembers once a backup is made.
    fn make(backups: &Backups, directory: PathBuf, size: u64) {
        fs::create_dir(&directory).unwrap();
        let root = Hash::of_empty_tree();
        let made = BackedUp { directory, size, root, bytes: 4_096, removed: 0 };
        backups.set(|backup| backup.outcome = Some(Ok(made)));
    }

    #[test]
    fn a_backup_that_was_taken_away_is_made_anew_under_the_same_name_and_one_that_is_there_is_the_answer() {
        let place = tempfile::tempdir().unwrap();
        let backups = Backups::new(Some(place.path().to_owned()), Vec::new());
        let weekly = place.path().join("weekly");
        assert!(matches!(backups.begin("weekly"), Ok(Begun::Now(..))));
        let Ok(Begun::Before(answer)) = backups.begin("weekly") else { panic!("it is being made") };
        assert!(!answer.done);
        make(&backups, weekly.clone(), 7);
        let Ok(Begun::Before(answer)) = backups.begin("weekly") else { panic!("it is there") };
        assert!(answer.done && answer.log_size == 7);
        fs::rename(&weekly, place.path().join("taken-away")).unwrap();
        assert!(matches!(backups.begin("weekly"), Ok(Begun::Now(..))), "nobody hears of last week's again");
        make(&backups, weekly, 9);
        let Ok(Begun::Before(answer)) = backups.begin("weekly") else { panic!("it is there") };
        assert_eq!(answer.log_size, 9);
    }

    #[test]
    fn as_many_backups_as_may_be_there_are_followed_by_none() {
        let place = tempfile::tempdir().unwrap();
        let backups = Backups::new(Some(place.path().to_owned()), Vec::new());
        fs::create_dir(place.path().join(".half.unfinished")).unwrap();
        for number in 1..BACKUPS_MAX {
            fs::create_dir(place.path().join(format!("weekly-{number}"))).unwrap();
        }
        assert!(matches!(backups.begin("last"), Ok(Begun::Now(..))));
        make(&backups, place.path().join("last"), 7);
        assert!(matches!(backups.begin("last"), Ok(Begun::Before(_))), "that it is made is said again");
        assert!(backups.begin("more").is_err());
        fs::remove_dir(place.path().join("weekly-1")).unwrap();
        assert!(matches!(backups.begin("more"), Ok(Begun::Now(..))));
    }
}
