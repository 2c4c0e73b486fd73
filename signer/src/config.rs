//! The core's part of `signer.toml`: as it was typed, and as it is meant.

mod aws_kms;
mod backend;
mod ceremony;
mod error;
mod pkcs11;
mod traces;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use hallmark_backends::{BackendConfig, DeviceLogFindings};
use hallmark_ledger::{LedgerConfig, LogKeys, Private};
use hallmark_policy::{Policy, caller::Identity, key::KeyKind, time::Span};
use hallmark_tlog::note::SignerKey;
use secrecy::SecretString;
use serde::Deserialize;

pub use self::{
    aws_kms::AwsKmsTable,
    backend::{BackendTable, CommandLogWord, YubiHsmTable},
    pkcs11::{ChoiceWord, Pkcs11Table, ReplicaTable},
    traces::TracesTable,
};
use crate::secret::{SecretSource, read_private};

pub use ceremony::CeremonyTable;
pub use error::ConfigError;
pub use hallmark_backends::{HistoryWaiver, ModuleWaiver, NamedException, Waiver};

/// How long request ids are kept if the configuration does not say.
const RETENTION_DEFAULT: Span = Span::from_secs(86_400);

/// How long what has ended is kept if the configuration does not say.
const ENDED_RETENTION_DEFAULT: Span = Span::from_days(30);

/// What has just ended may still be presented, by clocks that differ, and stands on a CRL that is not made yet.
const ENDED_RETENTION_LEAST: Span = Span::from_secs(3_600);

/// How long a rotation waits for signatures that are in flight if the configuration does not say, and the least and the most that it may say:
/// whoever asked for the rotation waits as long.
const DRAIN_TIME_DEFAULT: Span = Span::from_secs(10);
const DRAIN_TIME_LEAST: Span = Span::from_secs(1);
const DRAIN_TIME_MOST: Span = Span::from_secs(60);

/// The core's tables of `signer.toml`, as typed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CoreFile {
    /// `[policy]`.
    pub policy: PolicyTable,
    /// `[ledger]`.
    pub ledger: LedgerTable,
    /// `[log]`.
    pub log: LogTable,
    /// `[backend.pkcs11]`, `[backend.yubihsm]`, `[backend.aws-kms]` or `[backend.software]`.
    pub backend: BackendTable,
    /// `[rotation]`.
    #[serde(default)]
    pub rotation: RotationTable,
    /// `[ceremony.NAME]`, by the names of authorities.
    #[serde(default)]
    pub ceremony: BTreeMap<String, CeremonyTable>,
    /// `[traces]`; without it nothing is traced.
    pub traces: Option<TracesTable>,
}

/// `[rotation]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RotationTable {
    /// How long a rotation waits for signatures that are in flight; `10s` if not set. What comes later is thrown away.
    pub drain_time_max: Option<String>,
}

/// `[policy]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PolicyTable {
    /// The policy file.
    pub file: PathBuf,
    /// Authorities of this signer whose certificates callers may present. Empty: a start where the callers' trust
    /// bundle chains to one of them is refused.
    #[serde(default)]
    pub callers_signed_here: Vec<String>,
    /// Authorities that are made and served although no ceremony speaks for their root: for laboratories.
    #[serde(default)]
    pub roots_without_ceremony: Vec<String>,
}

/// `[ledger]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LedgerTable {
    /// The SQLite database.
    pub database: PathBuf,
    /// How long request ids are answered again; `24h` if not set.
    pub retention: Option<String>,
    /// How long serial numbers and records of instances that have ended stay in the database; `30d` if not set. The log keeps
    /// them in any case, and instances that are revoked stay. At least `1h`.
    pub ended_retention: Option<String>,
    /// Directory in which backups are made; none are made if not set.
    pub backups: Option<PathBuf>,
    /// Most pages (of 4 KiB) that the database may take; unbounded if not set.
    pub pages_max: Option<u32>,
}

/// `[log]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LogTable {
    /// Origin of the log: the first line of every checkpoint and the name of its key.
    pub origin: String,
    /// The log key's file, mode 0600; `hallmarkd init` makes it.
    pub key: PathBuf,
    /// Directory in which the log is published.
    pub publish: PathBuf,
    /// The log key before this one: both sign for a time of overlap.
    pub previous_key: Option<PathBuf>,
    /// A file, on another volume than the database, that gets every published checkpoint.
    pub anchor: Option<PathBuf>,
    /// Members of entries in whose place salted commitments stand, such as `names`.
    #[serde(default)]
    pub private: Vec<String>,
}

/// The core's configuration: everything is read and checked.
#[derive(Debug)]
pub struct CoreConfig {
    pub(crate) policy: Policy,
    pub(crate) ledger: LedgerConfig,
    pub(crate) log_key: LogKeys,
    pub(crate) backend: BackendConfig,
    pub(crate) callers_signed_here: Vec<String>,
    pub(crate) roots_without_ceremony: Vec<String>,
    pub(crate) policy_file: PathBuf,
    pub(crate) operators: Vec<Identity>,
    pub(crate) monitors: Vec<Identity>,
    pub(crate) drain_time_max: Duration,
    pub(crate) backups: Option<PathBuf>,
    pub(crate) public_files: Vec<(String, PathBuf)>,
    pub(crate) traces: Option<hallmark_traces::Setting>,
}

impl CoreConfig {
    /// The same, with these files, by name, in every backup: none of them has a secret.
    #[must_use]
    pub fn with_public_files(mut self, files: Vec<(String, PathBuf)>) -> Self {
        self.public_files = files;
        self
    }

    /// Where what is found in the device's own command log is counted and waits to be logged, if the device has one.
    #[must_use]
    pub fn device_log_findings(&self) -> Option<DeviceLogFindings> {
        self.backend.device_log_findings()
    }

    /// The same, with these operators; without it there are none.
    #[must_use]
    pub fn with_operators(mut self, operators: Vec<Identity>) -> Self {
        self.operators = operators;
        self
    }

    /// The same, with these who may read metrics at the operators' door; without it operators alone may.
    #[must_use]
    pub fn with_monitors(mut self, monitors: Vec<Identity>) -> Self {
        self.monitors = monitors;
        self
    }
}

impl CoreFile {
    /// The same, with this secret where the key backend's is typed or is a credential; without a secret, the same.
    #[must_use]
    pub fn given(mut self, secret: Option<SecretString>) -> Self {
        let source = self.backend.secret_mut();
        if let (SecretSource::Typed | SecretSource::Credential(_), Some(secret)) = (&source, secret) {
            *source = SecretSource::Given(secret);
        }
        self
    }

    /// Reads everything that the tables name, beside the configuration file in `directory`.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(&self, directory: &Path) -> Result<CoreConfig, ConfigError> {
        let policy_file = directory.join(&self.policy.file);
        let policy = read_policy(&policy_file)?;
        if let Some(name) = self.policy.callers_signed_here.iter().find(|name| policy.authority(name).is_none()) {
            return Err(ConfigError::UnknownAuthority(name.clone()));
        }
        if let Some(name) = self.policy.roots_without_ceremony.iter().find(|name| self.ceremony.contains_key(*name)) {
            return Err(ConfigError::WithAndWithoutCeremony(name.clone()));
        }
        Ok(CoreConfig {
            ledger: self.read_ledger(directory)?,
            log_key: self.log.read_keys(directory)?,
            backend: self.backend.read(directory)?.of_kinds(kinds_here(&policy)),
            callers_signed_here: self.policy.callers_signed_here.clone(),
            roots_without_ceremony: self.policy.roots_without_ceremony.clone(),
            policy_file,
            operators: Vec::new(),
            monitors: Vec::new(),
            drain_time_max: Duration::from_secs(self.rotation.drain_time_max()?.secs()),
            backups: self.ledger.backups.as_ref().map(|path| directory.join(path)),
            public_files: Vec::new(),
            policy,
            traces: self.traces.as_ref().map(|table| table.setting(&self.log.origin)).transpose()?,
        })
    }

    /// Where the ledger is kept and published.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read_ledger(&self, directory: &Path) -> Result<LedgerConfig, ConfigError> {
        let retention = self.ledger.retention.as_deref().map_or(Ok(RETENTION_DEFAULT), Span::parse);
        Ok(LedgerConfig {
            ended_retention: self.ledger.ended_retention()?,
            database: directory.join(&self.ledger.database),
            publish: directory.join(&self.log.publish),
            retention: retention.map_err(|source| ConfigError::Span { field: "ledger.retention", source })?,
            anchor: self.log.anchor.as_ref().map(|path| directory.join(path)),
            private: Private::new(&self.log.private).map_err(ConfigError::Private)?,
            pages_max: self.ledger.pages_max,
            accept_missing_checkpoint: false,
            accept_missing_anchor: false,
        })
    }
}

/// Reads and checks a policy file.
///
/// # Errors
/// [`ConfigError::Unreadable`] and [`ConfigError::Policy`].
pub fn read_policy(path: &Path) -> Result<Policy, ConfigError> {
    let text = read_policy_text(path)?;
    Policy::parse(&text).map_err(|source| ConfigError::Policy { path: path.to_owned(), source })
}

/// The kinds of keys that a policy wants where this signer's keys are.
#[must_use]
pub fn kinds_here(policy: &Policy) -> Vec<KeyKind> {
    let profiles = policy.authorities().flat_map(|authority| [&authority.root, &authority.epoch]);
    let wanted: BTreeSet<_> = profiles.filter(|profile| !profile.offline).map(|profile| profile.key).collect();
    wanted.into_iter().collect()
}

/// The text of a policy file.
pub(crate) fn read_policy_text(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })
}

impl RotationTable {
    /// How long a rotation waits.
    ///
    /// # Errors
    /// [`ConfigError::Span`] and [`ConfigError::DrainTime`].
    pub fn drain_time_max(&self) -> Result<Span, ConfigError> {
        let parsed = self.drain_time_max.as_deref().map_or(Ok(DRAIN_TIME_DEFAULT), Span::parse);
        let typed = parsed.map_err(|source| ConfigError::Span { field: "rotation.drain-time-max", source })?;
        let fits = (DRAIN_TIME_LEAST.secs()..=DRAIN_TIME_MOST.secs()).contains(&typed.secs());
        if fits { Ok(typed) } else { Err(ConfigError::DrainTime { typed }) }
    }
}

impl LedgerTable {
    /// How long what has ended stays in the database.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn ended_retention(&self) -> Result<Span, ConfigError> {
        let parsed = self.ended_retention.as_deref().map_or(Ok(ENDED_RETENTION_DEFAULT), Span::parse);
        let typed = parsed.map_err(|source| ConfigError::Span { field: "ledger.ended-retention", source })?;
        if typed.secs() >= ENDED_RETENTION_LEAST.secs() {
            Ok(typed)
        } else {
            Err(ConfigError::EndedRetention { typed })
        }
    }
}

impl LogTable {
    /// Reads the log key, and the one before it if there is one.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read_keys(&self, directory: &Path) -> Result<LogKeys, ConfigError> {
        let current = self.read_key(directory)?;
        match &self.previous_key {
            Some(previous) => Ok(LogKeys::with_previous(current, self.read_key_at(directory.join(previous))?)),
            None => Ok(current.into()),
        }
    }

    /// Reads the log key.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read_key(&self, directory: &Path) -> Result<SignerKey, ConfigError> {
        self.read_key_at(directory.join(&self.key))
    }

    fn read_key_at(&self, path: PathBuf) -> Result<SignerKey, ConfigError> {
        if !path.exists() {
            return Err(ConfigError::NoLogKey { path });
        }
        let text = read_private(&path).map_err(|source| ConfigError::Secret { field: "log.key", source })?;
        let wrong = |detail: String| ConfigError::LogKey { path: path.clone(), origin: self.origin.clone(), detail };
        let key = SignerKey::parse(text.trim_end()).map_err(|error| wrong(error.to_string()))?;
        if key.verifier().name() == self.origin {
            Ok(key)
        } else {
            Err(wrong(format!("its name is `{}`", key.verifier().name())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_stays_in_the_database_for_an_hour_at_least() {
        let read = |typed: Option<&str>| {
            let ended_retention = typed.map(str::to_owned);
            let table = LedgerTable {
                database: PathBuf::new(),
                retention: None,
                ended_retention,
                backups: None,
                pages_max: None,
            };
            table.ended_retention().map_err(|error| error.to_string())
        };
        assert_eq!(read(None), Ok(ENDED_RETENTION_DEFAULT));
        assert_eq!(read(Some("1h")), Ok(ENDED_RETENTION_LEAST));
        let told = "`ledger.ended-retention` is 59m, and is 1h at least: what has just ended may still be presented, and must be known";
        assert_eq!(read(Some("59m")), Err(told.to_owned()));
        for typed in ["0s", "1s"] {
            assert!(read(Some(typed)).unwrap_err().contains("at least"), "{typed}");
        }
        assert!(read(Some("soon")).unwrap_err().starts_with("`ledger.ended-retention`: "));
    }
}
