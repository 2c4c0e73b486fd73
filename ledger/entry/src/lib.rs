//! Entries of the decision log: how they are written, and how auditors read them.
//!
//! An entry is one canonical JSON object (RFC 8785: sorted keys, no spaces; only integers, ASCII keys), at most
//! [`ENTRY_BYTES_MAX`] bytes whatever the input. Long texts are cut and stand with their SHA-256; what is left out of
//! a list is counted. Writing never fails: what happened is always said, if in fewer words. Reading takes entries of
//! types and fields that are not known yet.
//!
//! Every entry has `version`, `type` and `time`. `docs/log-entries.md` has the whole table. A decision has:
//!
//! | key | what |
//! |---|---|
//! | `decision` | `issued`, `refused` or `validated` |
//! | `stage`, `authority`, `profile`, `method` | what was asked of whom |
//! | `caller`, `caller-identities`, `caller-certificate-sha256` | who asked |
//! | `request-id`, `request-sha256`, `possession`, `names`, `spki-sha256`, `policy-hash`, `evidence-sha256`, `evidence` | what was asked |
//! | `policy-sha256` | the policy that decided |
//! | `epoch` | `generation`, `transition` |
//! | `issuer` | `spki-sha256`, and the gapless `sequence` number of its certificates |
//! | `crl-number`, `entries`, `this-update`, `next-update`, `newest-revocation` | of a CRL |
//! | `serial`, `not-before`, `not-after`, `subject`, `algorithm`, `tbs-sha256` | what is to be signed; seconds since 1970 |
//! | `reasons`, `reasons-omitted` | why not: `code`, `field`, `sentence`, `allowed` |
//!
//! It must never know a database, a key or a network: an auditor links it.

mod bound;
pub mod decision;
mod json;
mod object;
pub mod privacy;
pub mod schema;
pub mod summary;
mod value;

pub use bound::{LIST_BYTES_MAX, TEXT_BYTES_MAX};
pub use decision::{Decision, Outcome, Warranted};
pub use json::is_canonical;
pub use object::{ENTRY_BYTES_MAX, ENTRY_VERSION, Object};
pub use summary::Summary;
pub use value::Value;

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}
