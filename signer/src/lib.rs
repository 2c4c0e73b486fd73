//! The core: the order of events from a caller's bytes to a certificate, CRLs, and the start that checks every key first.
//!
//! It decodes requests, has them decided by policy, committed by the ledger, signed by a backend, and answers. It listens
//! on nothing and knows nothing of TLS: bytes come in through [`Core::call`] and [`Core::operate`] and go out the same way. It must never
//! hand a backend anything that the ledger did not commit, never sign with a key that was not compared with the one
//! on record, and never leave work half-done because a caller went away.

mod age;
mod aggregate;
mod answer;
mod apply;
mod authorities;
mod backups;
mod being_kept;
mod bring;
mod ca;
mod certificates;
mod chain;
mod claims;
pub mod clock;
pub mod config;
mod core;
mod crl;
mod crl_due;
mod crl_files;
mod crl_refresh;
mod device_log;
mod epoch;
mod epochs;
mod expiry;
mod fence;
mod freeze;
mod fronts;
mod genesis;
mod handed_over;
mod held;
mod in_flight;
mod in_force;
mod instances;
mod later_epochs;
mod lookup;
mod making;
mod meters;
mod metrics;
mod mint;
mod operate;
mod order;
mod owners;
mod proven;
mod published;
mod rates;
mod recording;
mod records;
mod retire;
mod revoke;
mod rotate;
pub mod secret;
mod spoken_for;
mod standing;
mod start;
mod traced;
mod waits;

pub use self::core::Core;
pub use aggregate::WINDOW;
pub use apply::{PolicyNews, PolicyNotTaken};
pub use authorities::AuthorityError;
pub use bring::{BroughtRoot, Roots};
pub use ca::{Ca, CrlList};
pub use clock::{Clock, SystemClock};
pub use crl::{Crl, NotDone};
pub use fronts::FrontDoor;
pub use hallmark_backends::{
    Ability, Health, Lack, PIN_DIGEST_BYTES, PinDigest, RefusedPins, SoftwareKeys, TokenStatus, yubihsm_needs,
};
pub use hallmark_ledger::{
    LedgerConfig, NextLog, RebuildError, Rebuilt, RestoreError, RestoreWish, Restored, RollError, Rolled, UnixMillis,
};
pub use hallmark_traces::Endpoint as TracesEndpoint;
pub use handed_over::{HandOver, HandOverError};
pub use held::{Held, compare_held};
pub use making::MakingError;
pub use published::{rebuild_closed_log, rebuild_log, restore_ledger, roll_log};
pub use revoke::RevokedCertificate;
pub use standing::Standing;
pub use start::{CaCertificate, StartError, StartOptions, StartReport};
