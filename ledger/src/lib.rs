//! Durable truth.

mod committed;

pub use committed::Committed;
