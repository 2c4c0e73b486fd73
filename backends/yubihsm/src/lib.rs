//! A YubiHSM 2, over HTTP through its connector or by USB: sessions, and the commands that a signer needs, as bytes and numbers.
//!
//! It stands apart from the other backends because the client library is of an older family of crates, of which no type leaves this crate. It knows
//! nothing of authorities, messages or references. It must never try a password twice, let a panic of the library out (a connector may answer
//! anything), or send a command that it was not asked for: what is retried, and when, is decided above.

mod capability;
mod chain;
mod connector;
mod error;
mod object;
mod session;

pub use capability::Capabilities;
pub use chain::{ChainEnd, CommandLog, LogEntry, SIGNING_COMMANDS};
pub use connector::{CONNECT_TIME_MAX, Connector, Place, PlaceError, probe};
pub use error::{DeviceCode, Error};
pub use object::{Algorithm, DeviceInfo, Domains, LABEL_BYTES, NewKey, Object, Origin, PublicPart};
pub use session::{COMMANDS_MAX, EDDSA_MESSAGE_BYTES_MAX, IDLE_TIME_MAX, RANDOM_BYTES_MAX, Session, Signing, Way};

/// Sessions that a device has.
pub const SESSIONS_OF_A_DEVICE: usize = 16;
