//! Backups that operators ask for: one at a time, in the background, while everything else goes on.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use hallmark_ledger::{BackedUp, BackupProgress, BackupWish, Event, is_backup_name};
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
                Some(Ok(_)) | None => return Ok(Begun::Before(Box::new(backup.answer()))),
            },
            Some(backup) if backup.outcome.is_none() => {
                let sentence = format!("the backup {} is being made", quote(&backup.name));
                return Err(differs(sentence).allowing("to wait until it is done").into());
            }
            Some(_) | None => {}
        }
        let place = directory.join(name);
        if place.exists() {
            let reason = differs(format!("there is a backup {} already", quote(name)));
            return Err(reason.allowing("another name").into());
        }
        let progress = Arc::<BackupProgress>::default();
        let of_thread = Arc::clone(&progress);
        *last = Some(Backup { name: name.to_owned(), progress, logged: (0, String::new()), outcome: None });
        Ok(Begun::Now(directory, of_thread))
    }

    /// What is copied beside the database. A file that cannot be read is missed in a restore.
    fn public_files(&self) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        let read = |(name, path): &(String, PathBuf)| {
            let unreadable = |error| {
                let sentence = format!("`{}` cannot be read: {error}", path.display());
                Failure::from(Reason::new(ReasonCode::LedgerFailed, "name", sentence))
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
        let response = BackUpResponse { log_index, receipt, pages_done, pages_total, ..BackUpResponse::default() };
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
        self.backups.set(|backup| backup.logged = logged.clone());
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
        Ok(answer::success(&BackUpResponse { log_index, receipt, ..BackUpResponse::default() }))
    }
}

fn differs(sentence: String) -> Reason {
    Reason::new(ReasonCode::StateDiffers, "name", sentence)
}
