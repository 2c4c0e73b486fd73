//! What is done in a ceremony.

use std::path::PathBuf;

use hallmark_backends::{Exception, KeyLabel, KeyPurpose, KeyReference, Wrappers};
use hallmark_policy::{
    content::Serial,
    crl::RevocationReason,
    key::{KeyKind, SpkiDigest},
    time::{Span, UnixTime},
};
use hallmark_tlog::note::SignerKey;

use super::{
    Reader,
    shares::QuorumTask,
    wraps::{BackupTask, RestoreTask, WrapKeyTask, WrapKeyValue},
};
use crate::{
    digest,
    file::{
        CrlTable, CrossCertificateTable, DestroyTable, IntermediateTable, KeyTable, LogKeyTable, RootTable, TaskTable,
    },
};

/// What is done.
#[derive(Clone, Debug)]
pub enum Task {
    /// A root.
    Root(RootTask),
    /// An intermediate CA certificate for a signer elsewhere.
    Intermediate(IntermediateTask),
    /// A certificate for another root.
    CrossCertificate(CrossCertificateTask),
    /// The root's next CRL.
    Crl(CrlTask),
    /// A key.
    Key(KeyTask),
    /// The end of a key.
    Destroy(DestroyTask),
    /// A key of a log.
    LogKey(LogKeyTask),
    /// A PIN that is split.
    Quorum(QuorumTask),
    /// A key that wraps others.
    WrapKey(WrapKeyTask),
    /// A key that leaves its token in wrapped form.
    Backup(BackupTask),
    /// A key that comes back out of its wrapping.
    Restore(RestoreTask),
}

/// A root.
#[derive(Clone, Debug)]
pub struct RootTask {
    /// Label of its key.
    pub label: KeyLabel,
    /// Which keys may wrap it; none if not set.
    pub wrappable: Option<Wrappers>,
    /// When its certificate begins; when it is made if not set.
    pub not_before: Option<UnixTime>,
    /// Where the certificate is written.
    pub certificate: PathBuf,
}

/// An intermediate CA certificate.
#[derive(Clone, Debug)]
pub struct IntermediateTask {
    /// The root's certificate.
    pub issuer: PathBuf,
    /// The certification request.
    pub request: PathBuf,
    /// Lifetime; the policy's if not set.
    pub lifetime: Option<Span>,
    /// Where the certificate is written.
    pub certificate: PathBuf,
}

/// A certificate for another root.
#[derive(Clone, Debug)]
pub struct CrossCertificateTask {
    /// The root's certificate.
    pub issuer: PathBuf,
    /// The authority whose root is vouched for.
    pub subject_authority: String,
    /// The certificate of that root.
    pub subject: PathBuf,
    /// Lifetime.
    pub lifetime: Span,
    /// Where the certificate is written.
    pub certificate: PathBuf,
}

/// A CRL.
#[derive(Clone, Debug)]
pub struct CrlTask {
    /// The root's certificate.
    pub issuer: PathBuf,
    /// What is revoked before.
    pub revoke: Vec<Revoking>,
    /// What nextUpdate is to reach.
    pub next_update: Option<UnixTime>,
    /// Where it is written.
    pub crl: PathBuf,
}

/// A certificate that is to be revoked.
#[derive(Clone, Copy, Debug)]
pub struct Revoking {
    /// Its serial number.
    pub serial: Serial,
    /// Why.
    pub reason: RevocationReason,
}

/// A key.
#[derive(Clone, Debug)]
pub struct KeyTask {
    /// Its label.
    pub label: KeyLabel,
    /// Its kind.
    pub kind: KeyKind,
    /// Whether it may be destroyed later.
    pub destroyable: bool,
    /// Which keys may wrap it; none if not set.
    pub wrappable: Option<Wrappers>,
    /// Where the public key is written.
    pub public_key: PathBuf,
}

/// The end of a key.
#[derive(Clone, Debug)]
pub struct DestroyTask {
    /// The key.
    pub key: KeyReference,
    /// Its public key.
    pub spki: SpkiDigest,
}

/// A key of a log.
#[derive(Clone, Debug)]
pub struct LogKeyTask {
    /// Origin of the log.
    pub origin: String,
    /// Where the secret key is written.
    pub key: PathBuf,
    /// Where the public key is written.
    pub public_key: PathBuf,
}

impl Task {
    /// What it is, in one word, as the file calls it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Root(_) => "root",
            Self::Intermediate(_) => "intermediate",
            Self::CrossCertificate(_) => "cross-certificate",
            Self::Crl(_) => "crl",
            Self::Key(_) => "key",
            Self::Destroy(_) => "destroy",
            Self::LogKey(_) => "log-key",
            Self::Quorum(_) => "quorum",
            Self::WrapKey(_) => "wrap-key",
            Self::Backup(_) => "backup",
            Self::Restore(_) => "restore",
        }
    }

    /// For what a key is made, where one is.
    #[must_use]
    pub fn purpose(&self) -> KeyPurpose {
        match self {
            Self::Root(RootTask { wrappable: Some(by), .. }) | Self::Key(KeyTask { wrappable: Some(by), .. }) => {
                KeyPurpose::Wrappable(*by)
            }
            Self::Key(KeyTask { destroyable: true, .. }) => KeyPurpose::Epoch,
            Self::Root(_)
            | Self::Key(_)
            | Self::Intermediate(_)
            | Self::CrossCertificate(_)
            | Self::Crl(_)
            | Self::Destroy(_)
            | Self::LogKey(_)
            | Self::Quorum(_)
            | Self::WrapKey(_)
            | Self::Backup(_)
            | Self::Restore(_) => KeyPurpose::Root,
        }
    }

    /// In what the key that this is about may differ from others: whoever reviewed the file knows.
    pub(crate) fn exception(&self) -> Option<Exception> {
        match self {
            Self::Root(RootTask { wrappable: Some(_), .. })
            | Self::Key(KeyTask { wrappable: Some(_), .. })
            | Self::Backup(_) => Some(Exception::Wrappable),
            Self::Restore(_) => Some(Exception::Restored),
            Self::Root(_)
            | Self::Key(_)
            | Self::Intermediate(_)
            | Self::CrossCertificate(_)
            | Self::Crl(_)
            | Self::Destroy(_)
            | Self::LogKey(_)
            | Self::Quorum(_)
            | Self::WrapKey(_) => None,
        }
    }

    /// The label of the key that is made.
    #[must_use]
    pub fn label(&self) -> Option<&KeyLabel> {
        match self {
            Self::Root(task) => Some(&task.label),
            Self::Key(task) => Some(&task.label),
            Self::Restore(task) => Some(task.key.label()),
            Self::Intermediate(_)
            | Self::CrossCertificate(_)
            | Self::Crl(_)
            | Self::Destroy(_)
            | Self::LogKey(_)
            | Self::Quorum(_)
            | Self::WrapKey(_)
            | Self::Backup(_) => None,
        }
    }

    /// Every file that it writes, with what it is.
    #[must_use]
    pub fn outputs(&self) -> Vec<(&'static str, PathBuf)> {
        match self {
            Self::Root(RootTask { certificate, .. })
            | Self::Intermediate(IntermediateTask { certificate, .. })
            | Self::CrossCertificate(CrossCertificateTask { certificate, .. }) => {
                vec![("certificate", certificate.clone())]
            }
            Self::Crl(CrlTask { crl, .. }) => vec![("crl", crl.clone())],
            Self::Key(KeyTask { public_key, .. }) => vec![("public-key", public_key.clone())],
            Self::Destroy(_)
            | Self::Restore(_)
            | Self::WrapKey(WrapKeyTask { value: WrapKeyValue::Quorum { .. }, .. }) => Vec::new(),
            Self::Backup(BackupTask { backup, .. }) => vec![("backup", backup.clone())],
            Self::Quorum(QuorumTask { record, custodians, .. })
            | Self::WrapKey(WrapKeyTask { value: WrapKeyValue::Split { record, custodians, .. }, .. }) => {
                let shares = custodians.iter().map(|custodian| ("share", custodian.share.clone()));
                std::iter::once(("quorum-record", record.clone())).chain(shares).collect()
            }
            Self::LogKey(LogKeyTask { key, public_key, .. }) => {
                vec![("secret-log-key", key.clone()), ("log-key", public_key.clone())]
            }
        }
    }
}

impl Reader<'_> {
    pub(super) fn task(&mut self, table: &TaskTable) -> Option<Task> {
        Some(match table {
            TaskTable::Root(table) => Task::Root(self.root(table)?),
            TaskTable::Intermediate(table) => Task::Intermediate(self.intermediate(table)),
            TaskTable::CrossCertificate(table) => Task::CrossCertificate(self.cross_certificate(table)?),
            TaskTable::Crl(table) => Task::Crl(self.crl(table)),
            TaskTable::Key(table) => Task::Key(self.key(table)?),
            TaskTable::Destroy(table) => Task::Destroy(self.destroy(table)?),
            TaskTable::LogKey(table) => Task::LogKey(self.log_key(table)),
            TaskTable::Quorum(table) => Task::Quorum(self.quorum(table)),
            TaskTable::WrapKey(table) => Task::WrapKey(self.wrap_key(table)?),
            TaskTable::Backup(table) => Task::Backup(self.backup(table)?),
            TaskTable::Restore(table) => Task::Restore(self.restore(table)?),
        })
    }

    fn root(&mut self, table: &RootTable) -> Option<RootTask> {
        const PLACE: &str = "task.root";
        let not_before = self.time(PLACE, table.not_before.as_deref());
        let certificate = self.path(&table.certificate);
        let wrappable = self.wrappable(PLACE, table.wrappable.as_deref());
        Some(RootTask { label: self.label(PLACE, &table.label)?, wrappable, not_before, certificate })
    }

    fn intermediate(&mut self, table: &IntermediateTable) -> IntermediateTask {
        IntermediateTask {
            issuer: self.path(&table.issuer),
            request: self.path(&table.request),
            lifetime: self.span("task.intermediate", table.lifetime.as_deref()),
            certificate: self.path(&table.certificate),
        }
    }

    fn cross_certificate(&mut self, table: &CrossCertificateTable) -> Option<CrossCertificateTask> {
        Some(CrossCertificateTask {
            issuer: self.path(&table.issuer),
            subject_authority: table.subject_authority.clone(),
            subject: self.path(&table.subject),
            lifetime: self.span("task.cross-certificate", Some(&table.lifetime))?,
            certificate: self.path(&table.certificate),
        })
    }

    fn crl(&mut self, table: &CrlTable) -> CrlTask {
        const PLACE: &str = "task.crl";
        let mut revoke = Vec::new();
        for entry in &table.revoke {
            let serial = digest::from_hex(&entry.serial).and_then(|bytes| Serial::from_stored(&bytes));
            if serial.is_none() {
                let sentence =
                    format!("`{}` is no serial number: write its lower-case hexadecimal digits", entry.serial);
                self.mistake(PLACE, sentence);
            }
            let reason = RevocationReason::ALL.into_iter().find(|reason| reason.name() == entry.reason);
            if reason.is_none() {
                let known = RevocationReason::ALL.map(RevocationReason::name).join(", ");
                self.mistake(PLACE, format!("`{}` is no reason of a revocation; there are {known}", entry.reason));
            }
            revoke.extend(serial.zip(reason).map(|(serial, reason)| Revoking { serial, reason }));
        }
        let next_update = self.time(PLACE, table.next_update.as_deref());
        CrlTask { issuer: self.path(&table.issuer), revoke, next_update, crl: self.path(&table.crl) }
    }

    fn key(&mut self, table: &KeyTable) -> Option<KeyTask> {
        const PLACE: &str = "task.key";
        let kind = KeyKind::from_name(&table.kind);
        if kind.is_none() {
            let known = KeyKind::ALL.map(KeyKind::name).join(", ");
            self.mistake(PLACE, format!("`{}` is no kind of key; there are {known}", table.kind));
        }
        let label = self.label(PLACE, &table.label);
        let public_key = self.path(&table.public_key);
        let (wrappable, destroyable) = (self.wrappable(PLACE, table.wrappable.as_deref()), table.destroyable);
        if wrappable.is_some() && destroyable {
            self.mistake(PLACE, "a key that is `wrappable` cannot be `destroyable`: a copy of it would be left");
        }
        Some(KeyTask { label: label?, kind: kind?, destroyable, wrappable, public_key })
    }

    fn destroy(&mut self, table: &DestroyTable) -> Option<DestroyTask> {
        const PLACE: &str = "task.destroy";
        let key = table.key.parse::<KeyReference>().map_err(|error| self.mistake(PLACE, error));
        let spki = self.sha256(PLACE, &table.spki_sha256);
        Some(DestroyTask { key: key.ok()?, spki: SpkiDigest::from_bytes(spki?) })
    }

    fn log_key(&mut self, table: &LogKeyTable) -> LogKeyTask {
        if let Err(error) = SignerKey::generate(&table.origin, [1; 32]) {
            self.mistake("task.log-key", format!("`origin`: {error}"));
        }
        LogKeyTask {
            origin: table.origin.clone(),
            key: self.path(&table.key),
            public_key: self.path(&table.public_key),
        }
    }

    pub(super) fn label(&mut self, place: &str, text: &str) -> Option<KeyLabel> {
        KeyLabel::parse(text).map_err(|error| self.mistake(place, format!("`{text}`: {error}"))).ok()
    }
}
