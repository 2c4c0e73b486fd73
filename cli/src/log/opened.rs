//! A log whose checkpoint was opened: whose it is, how large, and with which root.

use std::path::Path;

use hallmark_tlog::{
    audit::AuditError,
    checkpoint::Checkpoint,
    note::{Note, VerifierKey},
    tile::CHECKPOINT_PATH,
};

use super::{key, source::Source};
use crate::{
    arguments::LogArguments,
    config::Config,
    problem::Problem,
    settings::{SettingsError, first},
};

/// A log under its checkpoint.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) source: Source,
    pub(crate) keys: Vec<VerifierKey>,
    pub(crate) head: Checkpoint,
    pub(crate) note: Note,
}

impl Opened {
    /// Reads the keys, then the checkpoint, and verifies it.
    pub(crate) fn new(arguments: &LogArguments, config: Option<&Path>) -> Result<Self, Problem> {
        let keys = keys(&arguments.key, config)?;
        let source = Source::open(&arguments.log, arguments.ca.as_deref())?;
        let read = |source| Problem::Audit(AuditError::Read { path: CHECKPOINT_PATH.to_owned(), source });
        let bytes = source.checkpoint().map_err(read)?.ok_or(Problem::Audit(AuditError::NoCheckpoint))?;
        let (note, head) = open(&bytes, &keys).map_err(|error| Problem::Audit(AuditError::Checkpoint(error)))?;
        Ok(Self { source, keys, head, note })
    }
}

/// The keys that were given, or those of the configuration file.
pub(crate) fn keys(typed: &Option<String>, config: Option<&Path>) -> Result<Vec<VerifierKey>, Problem> {
    let config = Config::load(config)?;
    let key = first(typed, &config.log_key).ok_or_else(SettingsError::no_log_key)?;
    Ok(key::read(&key)?)
}

fn open(bytes: &[u8], keys: &[VerifierKey]) -> Result<(Note, Checkpoint), hallmark_tlog::checkpoint::CheckpointError> {
    let note = Note::parse(bytes)?;
    let head = Checkpoint::open_note(&note, keys)?;
    Ok((note, head))
}
