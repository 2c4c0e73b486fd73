//! What is counted and timed where the work is done, at a price that nobody notices: a few atomic additions, no lock for a duration, no name, no
//! text. Whoever shows it reads it and gives it a name.
//!
//! It must never hold anything up, never grow without a bound, and never keep what was measured, only how much of it there was.

mod histogram;
mod tally;

pub use histogram::{COUNTS, DURATIONS, Histogram, Reading};
pub use tally::Tally;
