//! The durable truth: decision log, serial numbers, revocations, request ids, authorities and epochs, in one SQLite database.
//!
//! A warrant becomes [`Committed`] here and nowhere else: its conditions are checked and its entry, serial and request
//! id are written in one transaction, which is durable before anybody hears of it.

mod acceptance;
mod authority;
mod backup;
mod batch;
mod certificate;
mod claim;
mod committed;
mod config;
mod crl;
mod error;
mod event;
mod found;
mod freeze;
mod genuine;
mod handle;
mod instance;
mod issue;
mod limits;
mod meters;
mod nodes;
mod open;
mod opening;
mod operation;
mod origin;
mod outcome;
mod proven;
mod publish;
mod readers;
mod rebuild;
mod record;
mod request;
mod restore;
mod resume;
mod revocation;
mod roll;
mod room;
mod schema;
mod seal;
mod shared;
mod signing;
mod stage;
mod step;
mod sweep;
mod threads;
mod wal;
mod writer;

pub use hallmark_entry::privacy::{NotPrivate, Private};

pub use acceptance::{Acceptance, Unlogged};
pub use authority::{AuthorityRecord, AuthorityState, CaKey, EpochRecord, EpochState, Epochs, Fetch, StoredKey};
pub use backup::{BackedUp, BackupFault, BackupProgress, BackupWish, is_backup_name};
pub use certificate::{CertificateFilter, CertificatePage, CertificateRecord};
pub use claim::{ClaimedName, NameRelease, Released};
pub use committed::Committed;
pub use config::{Head, LedgerConfig, LogKeys, Opened, Recovery, UnixMillis};
pub use crl::{CrlRecord, CrlStatus};
pub use error::{LedgerError, OpenError, QUEUE_OPERATIONS_MAX};
pub use event::{
    BroughtKey, CeremonyAction, CeremonyEvent, Consent, DeviceAlarm, EpochIntent, Event, KeyAction, Statement, Step,
};
pub use freeze::{FreezeWish, Frozen};
pub use handle::Ledger;
pub use instance::{
    Allowed, InstanceFilter, InstancePage, InstanceRecord, InstanceRevocation, InstanceRevoked, InstanceState,
};
pub use meters::LedgerReading;
pub use origin::KeyChange;
pub use outcome::{Answer, Found, Issued, Logged, ReceiptHandle};
pub use publish::files::PublishError;
pub use rebuild::{RebuildError, Rebuilt};
pub use restore::{CrlNumber, RestoreError, RestoreWish, Restored};
pub use revocation::{REVOCATIONS_MAX, Revoke, RevokeAt, Revoked};
pub use roll::{NextLog, RollError, Rolled};
pub use room::Room;
pub use seal::Seal;
