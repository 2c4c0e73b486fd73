//! The transparency log as mathematics: Merkle tree, proofs, tiles, signed notes, checkpoints, receipts, and the audit
//! of a whole published log. The ledger writes with it and an outside auditor checks with it, so both mean the same.
//!
//! The formats are those of RFC 6962 and RFC 9162 (tree and proofs) and of C2SP (`signed-note`, `tlog-checkpoint`,
//! `tlog-tiles`, `tlog-proof`), so that tools which nobody here wrote can check the log too.
//!
//! It must never read a file, a socket, a clock or a source of randomness: whoever calls brings bytes, seeds and
//! storage ([`proof::NodeSource`], [`audit::LogFiles`]). It is `no_std`, so that the compiler holds this. It must never
//! panic on bytes from outside, never accept two spellings of the same thing, and never know what an entry says.

#![no_std]

extern crate alloc;

pub mod audit;
mod batch;
pub mod bundle;
pub mod checkpoint;
pub mod cosignature;
mod decimal;
pub mod entry;
pub mod frontier;
pub mod hash;
mod key;
mod nodes;
pub mod note;
mod path;
pub mod proof;
pub mod published;
pub mod receipt;
pub mod tile;
