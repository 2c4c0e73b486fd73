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
    /// The keys of the logs that it continues.
    pub(crate) previous_keys: Vec<VerifierKey>,
    /// The last checkpoints of those that were named, verified, each with its name on the command line.
    pub(crate) previous: Vec<(String, Checkpoint)>,
    /// Entries before this one have no bundles, by a stated policy; 0 if all have.
    pub(crate) pruned_before: u64,
}

impl Opened {
    /// Reads the keys, then the checkpoint, and verifies it.
    pub(crate) fn new(arguments: &LogArguments, config: Option<&Path>) -> Result<Self, Problem> {
        let keys = keys(&arguments.key, config)?;
        let source = Source::open(&arguments.log, arguments.ca.as_deref())?;
        let read = |source| Problem::Audit(AuditError::Read { path: CHECKPOINT_PATH.to_owned(), source });
        let bytes = source.checkpoint().map_err(read)?.ok_or(Problem::Audit(AuditError::NoCheckpoint))?;
        let (note, head) = open(&bytes, &keys).map_err(|error| Problem::Audit(AuditError::Checkpoint(error)))?;
        let mut previous_keys = Vec::new();
        for text_or_path in &arguments.previous_key {
            previous_keys.extend(key::read(text_or_path)?);
        }
        let (mut previous, mut earlier) = (Vec::new(), Vec::new());
        for named in &arguments.previous {
            let source = Source::open(named, arguments.ca.as_deref())?;
            let bytes = source.checkpoint()?.ok_or(Problem::Audit(AuditError::NoCheckpoint))?;
            let wrong = |source| Problem::Checkpoint { what: named.clone(), source };
            previous.push((named.clone(), open(&bytes, &previous_keys).map_err(wrong)?.1));
            earlier.push(source);
        }
        let source = if earlier.is_empty() { source } else { Source::Continued(Box::new(source), earlier) };
        let pruned_before = arguments.pruned_before.min(head.size());
        Ok(Self { source, keys, head, note, previous_keys, previous, pruned_before })
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
