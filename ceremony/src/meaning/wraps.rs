//! Tasks about keys that leave a token in wrapped form and come back: wrap keys, backups, and what is restored from them.

use std::path::PathBuf;

use hallmark_backends::{KeyLabel, KeyReference, Wrappers};
use hallmark_policy::key::SpkiDigest;

use super::{Reader, shares::Custodian};
use crate::{
    digest,
    file::{BackupTable, RestoreTable, WrapKeyTable},
};

/// A key that wraps others, and unwraps nothing.
#[derive(Clone, Debug)]
pub struct WrapKeyTask {
    /// Its label.
    pub label: KeyLabel,
    /// Where its value comes from.
    pub value: WrapKeyValue,
    /// Whether the security officer marks it as trusted.
    pub trusted: bool,
}

/// Where the value of a wrap key comes from. The token draws none: what such a key wrapped would come out of its wrapping nowhere.
#[derive(Clone, Debug)]
pub enum WrapKeyValue {
    /// It is drawn here, and split.
    Split {
        /// How many custodians have it together.
        threshold: usize,
        /// Where the record is written.
        record: PathBuf,
        /// The custodians.
        custodians: Vec<Custodian>,
    },
    /// Custodians bring it, to whom an earlier ceremony gave it.
    Quorum {
        /// The record.
        record: PathBuf,
    },
}

/// What wraps.
#[derive(Clone, Debug)]
pub enum WrapSource {
    /// A wrap key of the token.
    Token(KeyLabel),
    /// Custodians bring it; the token has it for the one call alone. This is the record of their quorum.
    Quorum(PathBuf),
}

/// A key that leaves its token in wrapped form.
#[derive(Clone, Debug)]
pub struct BackupTask {
    /// The key.
    pub key: KeyReference,
    /// Its public key.
    pub spki: SpkiDigest,
    /// What wraps it.
    pub by: WrapSource,
    /// Where it is written.
    pub backup: PathBuf,
}

/// A key that comes back out of its wrapping.
#[derive(Clone, Debug)]
pub struct RestoreTask {
    /// The file with it.
    pub backup: PathBuf,
    /// SHA-256 of that file.
    pub sha256: [u8; 32],
    /// The key.
    pub key: KeyReference,
    /// Its public key.
    pub spki: SpkiDigest,
    /// The record of the quorum that brings what unwraps it, for the one call alone.
    pub quorum: PathBuf,
}

impl Reader<'_> {
    pub(super) fn wrap_key(&mut self, table: &WrapKeyTable) -> Option<WrapKeyTask> {
        const PLACE: &str = "task.wrap-key";
        let label = self.label(PLACE, &table.label);
        let splits = table.threshold.is_some() || table.record.is_some() || !table.custodian.is_empty();
        let value = match (&table.quorum, splits) {
            (Some(_), true) => {
                let sentence =
                    "`quorum` stands beside `threshold`, `record` or `custodian`; the value is brought or drawn";
                self.mistake(PLACE, sentence);
                return None;
            }
            (Some(record), false) => WrapKeyValue::Quorum { record: self.path(record) },
            (None, false) => {
                let sentence = "nobody would have its value, by which alone a backup is restored: \
                                write `threshold`, `record` and `custodian`, or `quorum`";
                self.mistake(PLACE, sentence);
                return None;
            }
            (None, true) => {
                let Some((threshold, record)) = table.threshold.zip(table.record.as_ref()) else {
                    self.mistake(PLACE, "a value that is split needs `threshold`, `record` and `custodian`");
                    return None;
                };
                let custodians = self.custodians(PLACE, threshold, &table.custodian);
                WrapKeyValue::Split { threshold, record: self.path(record), custodians }
            }
        };
        Some(WrapKeyTask { label: label?, value, trusted: table.trusted })
    }

    pub(super) fn backup(&mut self, table: &BackupTable) -> Option<BackupTask> {
        const PLACE: &str = "task.backup";
        let (key, spki) = (self.reference(PLACE, &table.key), self.sha256(PLACE, &table.spki_sha256));
        let by = self.source(PLACE, table.wrap_key.as_deref(), table.quorum.as_ref());
        let backup = self.path(&table.backup);
        Some(BackupTask { key: key?, spki: SpkiDigest::from_bytes(spki?), by: by?, backup })
    }

    pub(super) fn restore(&mut self, table: &RestoreTable) -> Option<RestoreTask> {
        const PLACE: &str = "task.restore";
        let (key, spki) = (self.reference(PLACE, &table.key), self.sha256(PLACE, &table.spki_sha256));
        let sha256 = self.sha256(PLACE, &table.backup_sha256);
        let (backup, quorum) = (self.path(&table.backup), self.path(&table.quorum));
        Some(RestoreTask { backup, sha256: sha256?, key: key?, spki: SpkiDigest::from_bytes(spki?), quorum })
    }

    /// `wrappable`: whether a key may be wrapped, and by which keys.
    pub(super) fn wrappable(&mut self, place: &str, word: Option<&str>) -> Option<Wrappers> {
        match word? {
            "by-any" => Some(Wrappers::Any),
            "by-trusted" => Some(Wrappers::Trusted),
            other => {
                self.mistake(place, format!("`wrappable` is `{other}`; it is `by-any` or `by-trusted`"));
                None
            }
        }
    }

    pub(super) fn reference(&mut self, place: &str, text: &str) -> Option<KeyReference> {
        let read = text.parse::<KeyReference>().map_err(|error| self.mistake(place, error)).ok()?;
        if read.pkcs11_id().is_none() {
            self.mistake(place, format!("`{text}` is the name of a key in a file; name one in a token"));
        }
        Some(read)
    }

    pub(super) fn sha256(&mut self, place: &str, text: &str) -> Option<[u8; 32]> {
        let read = digest::from_hex(text).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        if read.is_none() {
            self.mistake(place, format!("`{text}` is no SHA-256: write its 64 lower-case hexadecimal digits"));
        }
        read
    }

    fn source(&mut self, place: &str, label: Option<&str>, quorum: Option<&PathBuf>) -> Option<WrapSource> {
        match (label, quorum) {
            (Some(label), None) => self.label(place, label).map(WrapSource::Token),
            (None, Some(record)) => Some(WrapSource::Quorum(self.path(record))),
            (Some(_), Some(_)) | (None, None) => {
                self.mistake(
                    place,
                    "one of `wrap-key`, which is in the token, and `quorum`, which brings one, is wanted",
                );
                None
            }
        }
    }
}
