//! AWS KMS, over HTTPS through its official client library: the calls that a signer needs, as bytes and names.
//!
//! It stands apart from the other backends so that no type of the client library leaves this crate. It knows nothing of authorities, messages or
//! references. It must never call what it was not asked for, try a call twice by itself, or wait longer than it was told: what is tried again, and
//! when, is decided above. Credentials are read from where the configuration says, and nowhere else: neither the environment nor a machine's metadata
//! is asked for any.

mod client;
mod connector;
mod credentials;
mod error;
mod key;
mod list;
mod place;

pub use client::Client;
pub use credentials::{CREDENTIALS_BYTES_MAX, Credentials, CredentialsError, CredentialsPlace};
pub use error::{Code, Error};
pub use key::{
    Algorithm, Input, Key, KeyId, NewKey, RANDOM_BYTES_MAX, RAW_MESSAGE_BYTES_MAX, STATE_ENABLED,
    STATE_PENDING_DELETION, Spec,
};
pub use place::{Account, Place, PlaceError};
