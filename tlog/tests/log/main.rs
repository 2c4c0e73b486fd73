//! The log as its users meet it: proofs, audits and texts, against other implementations where there are any.

#![cfg(test)]

mod audits;
mod proves;
mod speaks;
mod world;
