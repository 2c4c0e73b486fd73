//! A PKCS #11 module that stands in front of another one, forwards every call, and fails when a test tells it to.
//!
//! [`Device`] is the test's side: it lays a copy of the module out, with a copy of SoftHSM behind it, says what shall go
//! wrong, and reads what was called. Both sides share a file in memory, so that a device can be told and read from
//! another process than the one that loaded it, also after that one crashed. For tests only: everything on the test's
//! side ends the test when it fails, and nothing that is shipped depends on this crate.
//!
//! Without a [`Device`], the module itself (`libhallmark_faulty.so`) is told by two environment variables where it stands:
//! [`CONTROL_VARIABLE`] names the control file, [`MODULE_VARIABLE`] the module behind it.

mod board;
mod device;
mod fault;
mod function;
mod module;

pub use board::{CONTROL_VARIABLE, MODULE_VARIABLE, SOFTHSM};
pub use cryptoki_sys;
pub use device::{Counts, Device, Fault, Tally};
pub use fault::{Absence, Effect, Scope, Sessions, When};
pub use function::Function;
