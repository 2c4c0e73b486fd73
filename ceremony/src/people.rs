//! The people at a ceremony, as far as it knows them.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use zeroize::Zeroizing;

use crate::{
    error::CeremonyError,
    facts::Fact,
    quorum::{QuorumRecord, ShareError},
    steps::Step,
};

/// Who is told what happens, and asked.
///
/// Contract: `before` returns only when everybody who must has let the step be done; whoever says no ends it with
/// [`CeremonyError::Declined`]. A PIN is never shown and never kept.
pub trait People {
    /// A step is about to be done: the `number`-th of `of`. Gives who let it be done; nobody where nobody is asked.
    ///
    /// # Errors
    /// If somebody says no, or cannot be asked.
    fn before(&mut self, step: &Step, number: usize, of: usize) -> Result<Vec<Confirmation>, CeremonyError>;

    /// A step was done.
    fn after(&mut self, step: &Step, facts: &[Fact]);

    /// The user PIN of the token.
    ///
    /// # Errors
    /// If it cannot be asked for.
    fn pin(&mut self, token: &str) -> Result<SecretString, CeremonyError>;

    /// The PIN of the token's security officer.
    ///
    /// # Errors
    /// If it cannot be asked for.
    fn so_pin(&mut self, token: &str) -> Result<SecretString, CeremonyError>;

    /// The share of one custodian more: `have` were given, and `problem` is what was wrong with the last one.
    ///
    /// # Errors
    /// If it cannot be asked for, or nobody has another.
    fn share(
        &mut self,
        record: &QuorumRecord,
        have: usize,
        problem: Option<&ShareError>,
    ) -> Result<Zeroizing<String>, CeremonyError>;
}

/// A witness let a step be done.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Confirmation {
    /// The witness.
    pub by: String,
    /// How: `initials`.
    pub how: String,
    /// The step.
    pub step: String,
    /// When, in milliseconds since 1970.
    pub at: i64,
}

/// Nobody: the ceremony waits for nothing, and its transcript says so.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl People for Nobody {
    fn before(&mut self, _: &Step, _: usize, _: usize) -> Result<Vec<Confirmation>, CeremonyError> {
        Ok(Vec::new())
    }

    fn after(&mut self, _: &Step, _: &[Fact]) {}

    fn pin(&mut self, _: &str) -> Result<SecretString, CeremonyError> {
        Err(CeremonyError::NoPin { sentence: "nobody can be asked for it".to_owned() })
    }

    fn so_pin(&mut self, token: &str) -> Result<SecretString, CeremonyError> {
        self.pin(token)
    }

    fn share(
        &mut self,
        _: &QuorumRecord,
        _: usize,
        _: Option<&ShareError>,
    ) -> Result<Zeroizing<String>, CeremonyError> {
        Err(CeremonyError::NoPin { sentence: "no custodian can be asked for a share".to_owned() })
    }
}
