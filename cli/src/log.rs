//! `hallmark log`: published decision logs, from their files alone.

mod directory;
mod entries;
pub(crate) mod key;
pub(crate) mod receipt;
mod revocations;
pub(crate) mod show;
pub(crate) mod verify;
