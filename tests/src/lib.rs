//! One door for scenario tests: a [`World`] owns a signer with its keys, ledger, clock and log, and speaks to it as the
//! front would. For tests only: what cannot be set up ends the test.

pub mod asking;
pub mod backup;
pub mod by_manifest;
pub mod client;
pub mod daemon;
pub mod insisting;
pub mod instances;
pub mod log;
pub mod mesh;
pub mod metrics;
pub mod minters;
pub mod replay;
pub mod terminal;
pub mod tools;
mod world;

pub use world::{AUTHORITY, Clocks, EVERYWHERE, MONITOR, OPERATOR, ORIGIN, Where, World, example_policy};
