//! Freezing an authority: what operators do first when they do not trust what is asked for in its name.

use std::sync::Arc;

use bytes::Bytes;
use hallmark_ledger::{FreezeWish, Frozen};
use hallmark_policy::{Reason, ReasonCode};
use hallmark_proto::{
    link::Reply,
    operator::{FreezeAuthorityRequest, FreezeAuthorityResponse, ThawAuthorityRequest, ThawAuthorityResponse},
};

use crate::{
    answer::{self, Failure},
    core::Inner,
    epochs,
    fence::Drained,
    operate::decode,
    records::check_why,
};

impl Inner {
    /// Freezes an authority. When this answers, no leaf that was under way comes any more.
    pub(crate) async fn freeze_authority(self: &Arc<Self>, operator: &str, body: Bytes) -> Result<Reply, Failure> {
        let FreezeAuthorityRequest { authority, why } = decode(body)?;
        epochs::known(self, &authority)?;
        check_why(&why)?;
        let wish = FreezeWish { authority: authority.clone(), by: operator.to_owned(), why };
        let frozen = self.ledger.freeze_authority(wish, self.clock.wall().millis).await;
        let answer = match frozen.map_err(|error| self.ledger_failed(&error))? {
            Frozen::Now(logged) => {
                let receipt = self.receipt_or_none(logged).await;
                let (log_index, receipt) = (receipt.log_index, receipt.text);
                FreezeAuthorityResponse { log_index, receipt, ..FreezeAuthorityResponse::default() }
            }
            Frozen::Before { log_index } => {
                FreezeAuthorityResponse { log_index, before: true, ..FreezeAuthorityResponse::default() }
            }
            Frozen::Unknown => {
                let sentence = format!("authority `{authority}` has no root yet, and signs nothing");
                return Err(Reason::new(ReasonCode::EpochNotActive, "authority", sentence).into());
            }
        };
        // Also where it was frozen before: that call may have ended before its drain.
        let thrown_away = self.drain(&authority).await;
        Ok(answer::success(&FreezeAuthorityResponse { thrown_away, ..answer }))
    }

    /// Waits for what was committed before, and bars what does not come in time: how much that is.
    async fn drain(&self, authority: &str) -> u64 {
        // Whoever decides or signs again has passed the ledger, and is in the drain, or comes after it and is refused.
        drop(self.in_force.alone().await);
        match self.fences.freeze(authority, self.drain_time_max).await {
            Drained::Whole => 0,
            Drained::Barred(left) => {
                tracing::error!(
                    authority,
                    left,
                    "the device did not give every signature in time; what comes is thrown away"
                );
                left
            }
        }
    }

    /// Lets a frozen authority issue again.
    pub(crate) async fn thaw_authority(&self, operator: &str, body: Bytes) -> Result<Reply, Failure> {
        let ThawAuthorityRequest { authority, why } = decode(body)?;
        epochs::known(self, &authority)?;
        check_why(&why)?;
        let wish = FreezeWish { authority: authority.clone(), by: operator.to_owned(), why };
        let thawed = self.ledger.thaw_authority(wish, self.clock.wall().millis).await;
        let logged = thawed.map_err(|error| self.ledger_failed(&error))?.ok_or_else(|| {
            let sentence = format!("authority `{authority}` is not frozen");
            Reason::new(ReasonCode::AuthorityServes, "authority", sentence)
        })?;
        let receipt = self.receipt_or_none(logged).await;
        let (log_index, receipt) = (receipt.log_index, receipt.text);
        Ok(answer::success(&ThawAuthorityResponse { log_index, receipt }))
    }
}
