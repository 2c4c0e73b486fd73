//! The CAs of an authority as issuers of CRLs: its root, and each of its epochs.

use std::fmt;

use hallmark_ledger::{AuthorityRecord, EpochRecord, EpochState, Epochs, StoredKey};
use hallmark_policy::{
    CrlIssuer, Issuer, Policy, Reason, ReasonCode, authority::Root, crl::CrlScope, key::PublicKey, profile::Authority,
    reason::quote, time::Interval,
};

use crate::{
    answer::Failure,
    authorities::{self, AuthorityError},
    core::Inner,
};

/// A CA of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ca {
    /// Its root, which signs intermediates.
    Root,
    /// One of its epochs, which signs leaves.
    Epoch {
        /// Generation, from 1.
        generation: u64,
    },
}

impl fmt::Display for Ca {
    /// As its files are called.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::Epoch { generation } => write!(f, "epoch-{generation}"),
        }
    }
}

/// A list of a CA's revoked certificates: whose, and with which scope. Each new CRL takes the place of the one before in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrlList {
    /// Whose.
    pub ca: Ca,
    /// About which of its certificates.
    pub scope: CrlScope,
}

impl From<Ca> for CrlList {
    /// The complete one.
    fn from(ca: Ca) -> Self {
        Self { ca, scope: CrlScope::Complete }
    }
}

impl fmt::Display for CrlList {
    /// As its files are called.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scope {
            CrlScope::Complete => self.ca.fmt(f),
            CrlScope::Partition(number) => write!(f, "{}-{number}", self.ca),
        }
    }
}

/// What the ledger knows of a CA.
pub(crate) struct CaRecord {
    pub(crate) authority: AuthorityRecord,
    /// None for the root.
    pub(crate) epoch: Option<EpochRecord>,
}

impl CaRecord {
    /// Its key, once it has one.
    pub(crate) fn key(&self) -> Option<&StoredKey> {
        match &self.epoch {
            None => self.authority.key.as_ref(),
            Some(epoch) => epoch.key.as_ref(),
        }
    }

    /// Its public key.
    pub(crate) fn public_key(&self) -> Result<PublicKey, AuthorityError> {
        authorities::stored_key(&self.authority.name, self.key())
    }

    /// Why it signs no CRLs at this point of its life.
    pub(crate) fn crl_objection(&self) -> Option<Reason> {
        let epoch = self.epoch.as_ref()?;
        let what = match epoch.state {
            EpochState::Prepared | EpochState::Active | EpochState::Retired => return None,
            EpochState::Intent | EpochState::Keyed => "has no CA certificates yet",
            EpochState::Destroyed => "is over, and its key is destroyed",
            EpochState::Aborted => "was given up",
        };
        let sentence = format!("epoch {} of authority `{}` {what}", epoch.generation, epoch.authority);
        Some(Reason::new(ReasonCode::EpochNotActive, "epoch", sentence))
    }

    /// The issuer, as the policy describes it and its certificates confirm.
    pub(crate) fn issuer(&self, policy: &Authority) -> Result<CaIssuer, AuthorityError> {
        match &self.epoch {
            None => Ok(CaIssuer::Root(authorities::root(&self.authority, &policy.root)?)),
            Some(epoch) => {
                let serving = authorities::serving(&self.authority, epoch, policy, self.public_key()?, None)?;
                Ok(CaIssuer::Epoch(serving.issuer))
            }
        }
    }
}

/// A CA that may sign CRLs.
pub(crate) enum CaIssuer {
    Root(Root),
    Epoch(Issuer),
}

impl CaIssuer {
    pub(crate) fn validity(&self) -> Interval {
        match self {
            Self::Root(root) => root.validity,
            Self::Epoch(issuer) => issuer.validity,
        }
    }

    pub(crate) fn for_crl(&self) -> CrlIssuer<'_> {
        match self {
            Self::Root(root) => CrlIssuer::Root(root),
            Self::Epoch(issuer) => CrlIssuer::Epoch(issuer),
        }
    }
}

impl Inner {
    /// What the ledger knows of a CA.
    pub(crate) fn ca(&self, authority: &str, ca: Ca) -> Result<CaRecord, Failure> {
        let failed = |error| self.ledger_failed(&error);
        let record = self.ledger.authority(authority).map_err(failed)?.ok_or_else(|| {
            let sentence = format!("there is no authority {}", quote(authority));
            Reason::new(ReasonCode::AuthorityUnknown, "authority", sentence)
        })?;
        let Ca::Epoch { generation } = ca else { return Ok(CaRecord { authority: record, epoch: None }) };
        let epoch = self.ledger.epoch(authority, Epochs::Generation(generation)).map_err(failed)?.ok_or_else(|| {
            let sentence = format!("authority {} has no epoch {generation}", quote(authority));
            Reason::new(ReasonCode::AuthorityUnknown, "epoch", sentence)
        })?;
        Ok(CaRecord { authority: record, epoch: Some(epoch) })
    }
}

/// What the policy in force says of an authority.
pub(crate) fn described<'a>(policy: &'a Policy, authority: &str) -> Result<&'a Authority, Reason> {
    policy.authority(authority).ok_or_else(|| {
        let sentence = format!("the policy has no authority {}", quote(authority));
        Reason::new(ReasonCode::AuthorityUnknown, "authority", sentence)
    })
}
