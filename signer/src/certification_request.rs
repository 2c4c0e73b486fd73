//! The certification request of an epoch's key: for a root that is not on this device (RFC 2986).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hallmark_ledger::EpochRecord;
use hallmark_policy::{Decision, Reason, ReasonCode, content::EpochBinding, decide_request};

use crate::{
    answer::Failure,
    ca::Ca,
    core::{Core, Inner},
    crl::{NotDone, interrupted},
    order::{self, Keep, Outcome},
};

/// How long the signature may take.
const SIGN_SECS_MAX: u64 = 60;

impl Core {
    /// The certification request for the key of an epoch that is in the making, DER. The same one, however often it is asked for.
    ///
    /// # Errors
    /// See [`NotDone`].
    pub async fn certification_request(&self, authority: &str, generation: u64) -> Result<Vec<u8>, NotDone> {
        let (inner, authority) = (Arc::clone(&self.inner), authority.to_owned());
        let work = inner.begin();
        let signing = tokio::spawn(async move {
            let signed = inner.certification_request(&authority, generation).await;
            drop(work);
            signed
        });
        signing.await.unwrap_or_else(|_| Err(interrupted())).map_err(NotDone::from)
    }
}

impl Inner {
    /// The certification request for the key of an epoch that is in the making, DER.
    pub(crate) async fn certification_request(
        self: &Arc<Self>,
        authority: &str,
        generation: u64,
    ) -> Result<Vec<u8>, Failure> {
        let epoch = self.ca(authority, Ca::Epoch { generation })?.epoch.ok_or_else(interrupted)?;
        let key = self.open_key(authority, epoch.key.clone()).await.map_err(|error| self.making_failed(&error))?;
        let policy = self.policy();
        let approved = match decide_request(&policy, authority, binding(&epoch), &key) {
            Decision::Approve(approved) => *approved,
            Decision::Refuse(reasons) => return Err(Failure { reasons, logged: None, retry_after: None }),
        };
        let now = self.trusted_clock().await?;
        let deadline = Instant::now() + Duration::from_secs(SIGN_SECS_MAX);
        match order::certify(self, approved, now, deadline, Keep::BeforeReply, None).await? {
            Outcome::Certified(certified) => Ok(certified.certificate),
            Outcome::Validated(_) => {
                Err(Reason::new(ReasonCode::Defect, "epoch", "a request was only validated").into())
            }
        }
    }
}

fn binding(epoch: &EpochRecord) -> EpochBinding {
    EpochBinding { generation: epoch.generation, manifest: epoch.manifest_sha256, transition: epoch.transition }
}
